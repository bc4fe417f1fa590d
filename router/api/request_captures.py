"""Captures: a resource's exchanges with their headers and bodies. Developers switch them on for a while, and read what was captured."""

import codecs
from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from router.api.authorization import authorize, tenant_of
from router.api.deployments import authorized_deployment
from router.api.machines import authorized_machine
from router.api.models import Exact, Flag, Instant, Out, Query
from router.api.operations import Call, Data, Handlers, operation
from router.api.request_logs import RECORD_ID
from router.errors import CONFLICT, NOT_FOUND, NOT_SERVED_HERE, RouterError
from router.observe.endings import COMBINATIONS
from router.records.captures import Body, Capture, CapturedResponse, Header, value_of
from router.records.record import Record
from router.records.replays import Changes, Replays
from router.records.request_logs import RequestLogs
from router.routes.records import Kind
from router.tenancy.deployments import Deployments
from router.tenancy.request_captures import MAX_SECONDS, RequestCaptures
from router.tenancy.resource_service import Resources
from router.tenancy.resources import Resource

_OFF = (NOT_SERVED_HERE,)


class PutCapture(Exact):
    """Each call counts from its own time."""

    duration_seconds: Annotated[
        int, Field(ge=1, le=MAX_SECONDS, description="Then it ends by itself; an hour is the most.")
    ] = 900


class StopQuery(Query):
    purge: Annotated[Flag, Field(description="Also delete what was captured.")] = False


class RequestCaptureOut(Out):
    """Whether the exchanges of the resource are captured, and until when; of one that has ended by itself, when that was. `started_by` is
    who wanted it: the id of a key, or the subject of a token."""

    resource_id: str
    active: bool
    started_at: Instant | None
    ends_at: Instant | None
    started_by: str | None


class HeaderOut(Out):
    """`cut`: only the first KiB of the value is kept. `masked`: the value, or something in it, is a secret, and was replaced by `***`."""

    name: str
    value: str
    cut: bool
    masked: bool


class BodyOut(Out):
    """At most the first 10 KiB. `text` where it is text in UTF-8, else `base64`. `size` is how many bytes passed, as `content_encoding` had
    them; `whole` whether all of them are here, and the body was sent to its end. `masked`: secret fields were replaced by `***`."""

    text: str | None
    base64: str | None
    size: int
    whole: bool
    masked: bool
    content_type: str | None
    content_encoding: str | None


class CapturedRequestOut(Out):
    """As the program got it, without what the router adds. `target` has the query, with secrets masked. `headers_cut`: there were more."""

    method: str
    target: str
    scheme: Literal["http", "https"]
    version: int
    headers: list[HeaderOut]
    headers_cut: bool
    upgrade: bool
    body: BodyOut


class CapturedResponseOut(Out):
    """As the program sent it."""

    status: int
    headers: list[HeaderOut]
    headers_cut: bool
    body: BodyOut


class CapturedOut(Out):
    """One exchange. `response` null: the program has sent none; what the router answered in its place stands in the record."""

    id: str
    resource_id: str
    request_id: str
    host: str
    request: CapturedRequestOut
    response: CapturedResponseOut | None


_Values = Annotated[dict[Annotated[str, Field(min_length=1, max_length=255)], str | None], Field(max_length=64)]


class PostReplay(Exact):
    """What takes the place of what was masked: of each header and each parameter of the query, by its name, its value, or null to send the
    request without it; and the whole body, as text, where fields of it were. `headers` may also have `Authorization` or `X-Miosa-Preview-Token`,
    for a preview that is not public."""

    headers: _Values = Field(default_factory=dict)
    query: _Values = Field(default_factory=dict)
    body: Annotated[str, Field(max_length=10 * 1024)] | None = None


class ReplayOut(Out):
    """What became of it. `id` is that of its record; null where that is not stored yet: ask for its `request_id`. `status` 0: no answer came.
    `in_time` false: it was given up after half a minute. `response` is what a visitor would have got."""

    id: str | None
    replay_of: str
    resource_id: str
    request_id: str
    status: int
    ending: str | None
    ending_text: str | None
    error: str | None
    in_time: bool
    response: CapturedResponseOut | None


class _CaptureHandlers(Handlers):
    """What all of them share."""

    def __init__(
        self, *, captures: RequestCaptures, logs: RequestLogs, resources: Resources, deployments: Deployments
    ) -> None:
        self._captures = captures
        self._logs = logs
        self._resources = resources
        self._deployments = deployments

    async def _start(self, resource: Resource, call: Call[PutCapture]) -> Data[RequestCaptureOut]:
        self._logs.check_captures()
        seconds, by = call.body.duration_seconds, call.principal.id
        return self._shown(await self._captures.start(resource.id, seconds=seconds, by=by))

    async def _stop(self, resource: Resource, call: Call[None, StopQuery]) -> Data[RequestCaptureOut]:
        stopped = await self._captures.stop(resource.id)
        if call.query.purge:
            await self._logs.forget(UUID(resource.tenant_id).bytes, UUID(resource.id).bytes)
        return self._shown(stopped)

    def _shown(self, resource: Resource) -> Data[RequestCaptureOut]:
        found = RequestCaptureOut(
            resource_id=resource.id,
            active=self._captures.is_on(resource),
            started_at=resource.capture_since,
            ends_at=resource.capture_until,
            started_by=resource.capture_by,
        )
        return Data(found)


class SandboxCaptures(_CaptureHandlers):
    tag = "Sandbox request logs"
    prefix = "/api/v1/sandboxes/{id}/request-capture"

    @operation("GET", "", "Get whether requests to a sandbox are captured")
    async def state(self, call: Call) -> Data[RequestCaptureOut]:
        """Until when, and who wanted it."""
        return self._shown(await authorized_machine(self._resources, call, Kind.SANDBOX))

    @operation("PUT", "", "Capture requests to a sandbox", problems=_OFF)
    async def start(self, call: Call[PutCapture]) -> Data[RequestCaptureOut]:
        """From now on for `duration_seconds`, the headers (1 KiB of a value) and the beginning of the bodies (10 KiB of each) of
        requests are kept with their records, with secrets masked; where there are very many, of some. `captured` of a record says of which.
        """
        return await self._start(await authorized_machine(self._resources, call, Kind.SANDBOX), call)

    @operation("DELETE", "", "Stop capturing requests to a sandbox", problems=_OFF)
    async def stop(self, call: Call[None, StopQuery]) -> Data[RequestCaptureOut]:
        """What is under way is not captured any more. With `purge=true` all that was captured of it is deleted at once; else that goes
        with its records. Stopping again changes nothing."""
        return await self._stop(await authorized_machine(self._resources, call, Kind.SANDBOX), call)


class ComputerCaptures(_CaptureHandlers):
    tag = "Computer request logs"
    prefix = "/api/v1/computers/{id}/request-capture"

    @operation("GET", "", "Get whether requests to a computer are captured")
    async def state(self, call: Call) -> Data[RequestCaptureOut]:
        """Until when, and who wanted it."""
        return self._shown(await authorized_machine(self._resources, call, Kind.COMPUTER))

    @operation("PUT", "", "Capture requests to a computer", problems=_OFF)
    async def start(self, call: Call[PutCapture]) -> Data[RequestCaptureOut]:
        """As of a sandbox."""
        return await self._start(await authorized_machine(self._resources, call, Kind.COMPUTER), call)

    @operation("DELETE", "", "Stop capturing requests to a computer", problems=_OFF)
    async def stop(self, call: Call[None, StopQuery]) -> Data[RequestCaptureOut]:
        """As of a sandbox."""
        return await self._stop(await authorized_machine(self._resources, call, Kind.COMPUTER), call)


class DeploymentCaptures(_CaptureHandlers):
    tag = "Deployment request logs"
    prefix = "/api/v1/deployments/{id}/request-capture"

    @operation("GET", "", "Get whether requests to a deployment are captured")
    async def state(self, call: Call) -> Data[RequestCaptureOut]:
        """Until when, and who wanted it."""
        return self._shown((await authorized_deployment(self._deployments, call)).resource)

    @operation("PUT", "", "Capture requests to a deployment", problems=_OFF)
    async def start(self, call: Call[PutCapture]) -> Data[RequestCaptureOut]:
        """As of a sandbox."""
        return await self._start((await authorized_deployment(self._deployments, call)).resource, call)

    @operation("DELETE", "", "Stop capturing requests to a deployment", problems=_OFF)
    async def stop(self, call: Call[None, StopQuery]) -> Data[RequestCaptureOut]:
        """As of a sandbox."""
        return await self._stop((await authorized_deployment(self._deployments, call)).resource, call)


async def authorized_record(logs: RequestLogs, resources: Resources, call: Call[Any, Any]) -> tuple[Record, Resource]:
    """The record of the path, of a resource that the caller may see, and that. Raises RouterError: NOT_FOUND, FORBIDDEN."""
    asked = call.ids["record_id"]
    if RECORD_ID.fullmatch(asked) is None:
        raise RouterError(NOT_FOUND, "request log not found")
    record = await logs.record(UUID(tenant_of(call.principal)).bytes, int(asked))
    resource = await resources.get(str(UUID(bytes=record.resource)))
    authorize(call.principal, resource, "request log")
    return record, resource


class CapturedRequests(Handlers):
    tag = "Request logs"
    prefix = "/api/v1/request-logs/{record_id:text}"

    def __init__(self, *, logs: RequestLogs, replays: Replays, resources: Resources) -> None:
        self._logs = logs
        self._replays = replays
        self._resources = resources

    @operation("GET", "/capture", "Get the headers and bodies of a request", problems=_OFF)
    async def capture(self, call: Call) -> Data[CapturedOut]:
        """What was captured of it: the id is that of its record. 404 where nothing was, or it is no longer kept."""
        record, resource = await authorized_record(self._logs, self._resources, call)
        return Data(captured(record, resource, await self._logs.capture(record)))

    @operation("POST", "/replay", "Send a request once more", problems=(CONFLICT, *_OFF))
    async def replay(self, call: Call[PostReplay]) -> Data[ReplayOut]:
        """A request that was captured, to the host that it was sent to, through the router: what is private, blocked, suspended or limited now
        is so for it. The program sees it with `X-Miosa-Replay`, the id of the first one, and from the address of who calls this. 409 where something
        of the request was not captured, it was an upgrade, or its host leads elsewhere by now; 422 where something of it was masked, and nothing
        is given in its place. 30 a minute.
        """
        record, resource = await authorized_record(self._logs, self._resources, call)
        body = call.body
        changes = Changes({name.lower(): value for name, value in body.headers.items()}, body.query, body.body)
        client = "127.0.0.1" if call.client == "unknown" else call.client
        done = await self._replays.send(record, changes, client=client)
        shown = ReplayOut(
            id=None if done.record_id is None else str(done.record_id),
            replay_of=str(record.id),
            resource_id=resource.id,
            request_id=done.request_id,
            status=done.status,
            ending=done.ending or None,
            ending_text=COMBINATIONS.get(done.ending),
            error=done.error or None,
            in_time=done.in_time,
            response=None if done.response is None else response_shown(done.response),
        )
        return Data(shown)


def captured(record: Record, resource: Resource, capture: Capture) -> CapturedOut:
    """A capture as responses show it."""
    request = capture.request
    return CapturedOut(
        id=str(record.id),
        resource_id=resource.id,
        request_id=record.request_id,
        host=capture.host,
        request=CapturedRequestOut(
            method=request.method,
            target=request.target,
            scheme="https" if request.scheme == "https" else "http",
            version=request.version,
            headers=_headers(request.headers),
            headers_cut=request.headers_cut,
            upgrade=request.upgrade,
            body=_body(request.body, request.headers),
        ),
        response=None if capture.response is None else response_shown(capture.response),
    )


def response_shown(response: CapturedResponse) -> CapturedResponseOut:
    """A program's response as ours show it."""
    return CapturedResponseOut(
        status=response.status,
        headers=_headers(response.headers),
        headers_cut=response.headers_cut,
        body=_body(response.body, response.headers),
    )


def _headers(headers: Sequence[Header]) -> list[HeaderOut]:
    return [HeaderOut(name=one.name, value=one.value, cut=one.cut, masked=one.masked) for one in headers]


def _body(body: Body, headers: Sequence[Header]) -> BodyOut:
    text = _text(body)
    return BodyOut(
        text=text,
        base64=None if text is not None else b64encode(body.content).decode("ascii"),
        size=body.size,
        whole=body.whole,
        masked=body.masked,
        content_type=value_of(headers, "content-type") or None,
        content_encoding=value_of(headers, "content-encoding") or None,
    )


def _text(body: Body) -> str | None:
    """What it says, where it is text; the last character may have been cut."""
    try:
        text, used = codecs.utf_8_decode(body.content, "strict", body.whole)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text or (body.content and not used) else text


HANDLERS = (SandboxCaptures, ComputerCaptures, DeploymentCaptures)
