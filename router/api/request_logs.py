"""Request records: what became of each request to a resource or a domain, as pages and as a stream."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal, TypedDict, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field

from router.api.authorization import authorize, tenant_of
from router.api.cursors import matches
from router.api.deployments import authorized_deployment
from router.api.machines import authorized_machine
from router.api.models import MAX_PAGE_SIZE, HostName, Id, Moment, Out, Query, at_most_100, read_number
from router.api.operations import Call, Data, Event, EventStream, Handlers, operation
from router.api.principal import Access
from router.domains.custom_domains import CustomDomains
from router.errors import NOT_SERVED_HERE, VALIDATION_FAILED, RouterError
from router.hostname import InvalidNameError, canonical_name
from router.observe.endings import COMBINATIONS
from router.records.fields import EPOCH, FAULTS, fields_of
from router.records.record import Record, RecordFilter
from router.records.request_logs import RequestLogs
from router.routes.records import Kind
from router.tenancy.deployments import Deployments
from router.tenancy.resource_service import Resources

_STATUS = re.compile(r"[1-5]xx|0|[1-5][0-9]{2}")
RECORD_ID = re.compile(r"[0-9]{1,18}|[1-8][0-9]{18}")  # below 2^63

Fault = Literal["edge", "application", "client"]
_Text = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
Milliseconds = Annotated[float, Field(ge=0)]


def _known_ending(text: str) -> str:
    if text not in COMBINATIONS:
        raise ValueError("is invalid")
    return text


class Times(TypedDict, total=False):
    """Conditions on when a request ended, in microseconds since 1970."""

    since: int | None
    until: int | None


class RecordConditions(Query):
    """Conditions; each narrows."""

    host: Annotated[HostName | None, Field(description="Requests to this host.")] = None
    method: Annotated[str, Field(pattern=r"^[A-Z]{1,32}$")] | None = None
    path_contains: Annotated[_Text | None, Field(description="Requests with this text in their path.")] = None
    status: Annotated[
        Annotated[str, AfterValidator(matches(_STATUS))] | None,
        Field(
            description="A status, or a class of them: `404`, `5xx`. `0`: no answer was sent.",
            json_schema_extra={"pattern": f"^({_STATUS.pattern})$", "examples": ["5xx"]},
        ),
    ] = None
    ending: Annotated[
        Annotated[str, AfterValidator(_known_ending)] | None,
        Field(
            description="How it ended, as `ending` of a record says.",
            # No `enum`: generators of clients make names of its values, and `CR` and `cR` would be one.
            json_schema_extra={"pattern": f"^({'|'.join(COMBINATIONS)})$", "examples": ["BH"]},
        ),
    ] = None
    fault: Annotated[Fault | None, Field(description="Who ended it early, or answered with an error.")] = None
    min_duration_ms: Annotated[
        Annotated[int, Field(ge=0, le=10**9), BeforeValidator(read_number)] | None,
        Field(description="Requests that took at least so long."),
    ] = None
    request_id: _Text | None = None

    def where(self, tenant_id: str, resource_id: str | None = None, host: str | None = None) -> RecordFilter:
        """As the store is asked. Raises RouterError VALIDATION_FAILED."""
        asked = self.host
        if asked is not None:
            try:
                asked = canonical_name(asked)
            except InvalidNameError as error:
                raise RouterError(VALIDATION_FAILED, fields={"host": [str(error)]}) from None
        if host is not None and asked not in {None, host}:
            raise RouterError(VALIDATION_FAILED, fields={"host": ["is another one than the path's"]})
        return RecordFilter(
            tenant=UUID(tenant_id).bytes,
            resource=None if resource_id is None else UUID(resource_id).bytes,
            host=host or asked,
            method=self.method,
            path_contains=self.path_contains,
            status=None if self.status is None else _statuses(self.status),
            ending=self.ending,
            fault=None if self.fault is None else FAULTS[self.fault],
            min_total=None if self.min_duration_ms is None else self.min_duration_ms * 1000,
            request_id=self.request_id,
            **self.times(),
        )

    def times(self) -> Times:
        """Conditions on the time."""
        return {}


class RecordQuery(RecordConditions):
    """A page of records."""

    since: Annotated[Moment | None, Field(description="Requests that ended then or later.")] = None
    until: Annotated[Moment | None, Field(description="Requests that ended before.")] = None
    limit: Annotated[int, Field(ge=1), BeforeValidator(at_most_100)] = MAX_PAGE_SIZE
    cursor: Annotated[
        Annotated[str, AfterValidator(matches(RECORD_ID))] | None,
        Field(
            description="`next_cursor` of the answer before.",
            json_schema_extra={"pattern": f"^({RECORD_ID.pattern})$"},
        ),
    ] = None

    def times(self) -> Times:
        return {"since": microseconds(self.since), "until": microseconds(self.until)}


class TenantRecordQuery(RecordQuery):
    resource_id: Id | None = None


class TenantRecordConditions(RecordConditions):
    resource_id: Id | None = None


class RequestLogOut(Out):
    """What became of one request; or, of `type` `gap`, that `lost` records are missing around `at`. `ended_at` is when the exchange
    ended, `ending` how: who × phase, with `ending_text` in words. `fault`: who ended it early or answered with an error, null where
    nothing went wrong. Durations are in milliseconds; `first_byte_ms` null where no answer began; `queue_ms`, `dial_ms` and `wake_ms` what of it was spent
    waiting for a place at the resource, for a connection to it, and for it to start. `captured`: its headers and bodies may be read under
    `/request-logs/{id}/capture`. `replay`: it was sent by `/request-logs/{id}/replay`. `represents` is above 1 where a flood was sampled."""

    id: str
    type: Literal["request", "gap"]
    ended_at: str
    resource_id: str
    request_id: str | None
    host: str | None
    method: str | None
    path: str | None
    status: int | None
    ending: str | None
    ending_text: str | None
    fault: Fault | None
    error: str | None
    bytes_in: int
    bytes_out: int
    duration_ms: Milliseconds
    first_byte_ms: Milliseconds | None
    queue_ms: Milliseconds
    dial_ms: Milliseconds
    wake_ms: Milliseconds
    cold_start: bool
    tunnel: bool
    captured: bool
    replay: bool
    client_network: str | None
    version_id: str | None
    trace_id: str | None
    represents: int
    lost: int


class RequestLogPage(Out):
    """The newest first. `next_cursor` null: there are no older ones."""

    items: list[RequestLogOut]
    next_cursor: str | None


Conditions = TypeVar("Conditions", bound=RecordConditions)


def microseconds(moment: datetime | None) -> int | None:
    """A moment as records have it."""
    return None if moment is None else (moment - EPOCH) // timedelta(microseconds=1)


def shown(record: Record) -> RequestLogOut:
    """A record as responses show it."""
    return RequestLogOut(**fields_of(record))


def _statuses(text: str) -> tuple[int, int]:
    if text.endswith("xx"):
        return int(text[0]) * 100, int(text[0]) * 100 + 99
    return int(text), int(text)


class _RecordHandlers(Handlers):
    """What all of them share: whose records, and how they are shown."""

    def __init__(
        self, *, logs: RequestLogs, resources: Resources, deployments: Deployments, domains: CustomDomains
    ) -> None:
        self._logs = logs
        self._resources = resources
        self._deployments = deployments
        self._domains = domains

    async def _page(self, query: RecordQuery, where: RecordFilter) -> Data[RequestLogPage]:
        before = None if query.cursor is None else int(query.cursor)
        records, following = await self._logs.page(where, limit=query.limit, before=before)
        cursor = None if following is None else str(following)
        return Data(RequestLogPage(items=[shown(record) for record in records], next_cursor=cursor))

    async def _listen(
        self, call: Call[Any, Any], find: Callable[[], Awaitable[RecordFilter]]
    ) -> EventStream[RequestLogOut]:
        where = await find()
        last = int(call.last_event_id) if RECORD_ID.fullmatch(call.last_event_id) else None
        records = await self._logs.listen(where, last)

        async def events() -> AsyncGenerator[Event[RequestLogOut] | None, None]:
            async with aclosing(records):
                async for record in records:
                    if record is None:
                        yield None
                    else:
                        found = shown(record)
                        yield Event(found.id, found.type, found)

        return EventStream(events(), find)

    async def _of_machine(self, call: Call[None, Conditions], kind: Kind) -> RecordFilter:
        machine = await authorized_machine(self._resources, call, kind)
        return call.query.where(machine.tenant_id, machine.id)

    async def _of_deployment(self, call: Call[None, Conditions]) -> RecordFilter:
        deployment = await authorized_deployment(self._deployments, call)
        return call.query.where(deployment.resource.tenant_id, deployment.id)

    async def _of_domain(self, call: Call[None, Conditions]) -> RecordFilter:
        domain = await self._domains.get(call.ids["id"])
        authorize(call.principal, domain, "domain")
        return call.query.where(domain.tenant_id, None, domain.fqdn)


_OFF = (NOT_SERVED_HERE,)


class TenantRequestLogs(_RecordHandlers):
    tag = "Request logs"
    prefix = "/api/v1/request-logs"

    @operation("GET", "", "List requests to all resources", access=Access.TENANT, problems=_OFF)
    async def list(self, call: Call[None, TenantRecordQuery]) -> Data[RequestLogPage]:
        """The newest first. Records are kept for a day, unless the platform says otherwise."""
        return await self._page(call.query, call.query.where(tenant_of(call.principal), call.query.resource_id))

    @operation("GET", "/stream", "Listen to requests to all resources", access=Access.TENANT, problems=_OFF)
    async def stream(self, call: Call[None, TenantRecordConditions]) -> EventStream[RequestLogOut]:
        """Events `request` and `gap`, within about two seconds. Last-Event-ID goes on where a stream has ended."""

        async def find() -> RecordFilter:
            return call.query.where(tenant_of(call.principal), call.query.resource_id)

        return await self._listen(call, find)


class SandboxRequestLogs(_RecordHandlers):
    tag = "Sandbox request logs"
    prefix = "/api/v1/sandboxes/{id}/request-logs"

    @operation("GET", "", "List requests to a sandbox", problems=_OFF)
    async def list(self, call: Call[None, RecordQuery]) -> Data[RequestLogPage]:
        """The newest first, of all its ports."""
        return await self._page(call.query, await self._of_machine(call, Kind.SANDBOX))

    @operation("GET", "/stream", "Listen to requests to a sandbox", problems=_OFF)
    async def stream(self, call: Call[None, RecordConditions]) -> EventStream[RequestLogOut]:
        """As the stream of all resources."""
        return await self._listen(call, partial(self._of_machine, call, Kind.SANDBOX))


class ComputerRequestLogs(_RecordHandlers):
    tag = "Computer request logs"
    prefix = "/api/v1/computers/{id}/request-logs"

    @operation("GET", "", "List requests to a computer", problems=_OFF)
    async def list(self, call: Call[None, RecordQuery]) -> Data[RequestLogPage]:
        """The newest first, of all its ports and domains."""
        return await self._page(call.query, await self._of_machine(call, Kind.COMPUTER))

    @operation("GET", "/stream", "Listen to requests to a computer", problems=_OFF)
    async def stream(self, call: Call[None, RecordConditions]) -> EventStream[RequestLogOut]:
        """As the stream of all resources."""
        return await self._listen(call, partial(self._of_machine, call, Kind.COMPUTER))


class DeploymentRequestLogs(_RecordHandlers):
    tag = "Deployment request logs"
    prefix = "/api/v1/deployments/{id}/request-logs"

    @operation("GET", "", "List requests to a deployment", problems=_OFF)
    async def list(self, call: Call[None, RecordQuery]) -> Data[RequestLogPage]:
        """The newest first, of all its versions and domains."""
        return await self._page(call.query, await self._of_deployment(call))

    @operation("GET", "/stream", "Listen to requests to a deployment", problems=_OFF)
    async def stream(self, call: Call[None, RecordConditions]) -> EventStream[RequestLogOut]:
        """As the stream of all resources."""
        return await self._listen(call, partial(self._of_deployment, call))


class DomainRequestLogs(_RecordHandlers):
    tag = "Domain request logs"
    prefix = "/api/v1/custom-domains/{id}/request-logs"

    @operation("GET", "", "List requests to a custom domain", problems=_OFF)
    async def list(self, call: Call[None, RecordQuery]) -> Data[RequestLogPage]:
        """The newest first, whatever it led to."""
        return await self._page(call.query, await self._of_domain(call))

    @operation("GET", "/stream", "Listen to requests to a custom domain", problems=_OFF)
    async def stream(self, call: Call[None, RecordConditions]) -> EventStream[RequestLogOut]:
        """As the stream of all resources."""
        return await self._listen(call, partial(self._of_domain, call))


HANDLERS = (TenantRequestLogs, SandboxRequestLogs, ComputerRequestLogs, DeploymentRequestLogs, DomainRequestLogs)
