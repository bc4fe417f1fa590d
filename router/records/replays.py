"""Replays: a request that was captured, sent once more through the node's own proxy.

What was captured is not always what was sent: long values and bodies were cut, and secrets masked. So a replay is refused where
something of the request is missing, unless the caller gives what takes the place of what was masked. It goes to the host that was
recorded, and to none else; where that leads to another resource by now, nothing is sent (`proxy/replay.py` looks).
"""

import asyncio
import re
import uuid
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote

from router.base.clock import Clock
from router.errors import (
    CONFLICT,
    NOT_SERVED_HERE,
    RATE_LIMITED,
    UNAVAILABLE,
    VALIDATION_FAILED,
    RouterError,
    StoreUnavailableError,
)
from router.observe.secrets import MASK
from router.records.captures import Capture, CaptureCodec, CapturedRequest, CapturedResponse, value_of
from router.records.record import Record, RecordFilter
from router.records.request_logs import RequestLogs

# Sends an order, and tells what became of it, as `proxy.replay.replay` does. Raises ConnectionError or TimeoutError where no process carries traffic.
Carrier = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]

PER_MINUTE: Final = 30  # of one tenant, on this node
_AT_ONCE: Final = 8  # of all tenants
_AT_ONCE_OF_TENANT: Final = 2  # whose programs may take all the time that there is
_MINUTE: Final = 60.0
_MAX_TENANTS: Final = 10_000
_RECORD_TIME: Final = 3.0  # seconds until the new record is looked for no more
_LOOK_EVERY: Final = 0.2
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")

# What opens a private preview was taken out of the request before it was captured: it may be given anew.
_OPENS: Final = ("authorization", "x-miosa-preview-token")
# Of the hop, or said anew for the one that is sent.
_DROPPED: Final = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "trailer", "expect", "max-forwards", "x-request-id"}
)
_REFUSED: Final = {
    "elsewhere": "The host leads to another resource now, or to none.",
    "malformed": "The request is none that the router would pass on.",
}


@dataclass(frozen=True, slots=True)
class Changes:
    """What takes the place of what was masked, by lower-case name; None leaves it out."""

    headers: Mapping[str, str | None] = field(default_factory=dict)
    query: Mapping[str, str | None] = field(default_factory=dict)
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of it. `record_id` None: its record is not stored yet. `in_time`: it was read to its end, or its beginning was.
    `status` 0: no answer came."""

    request_id: str
    record_id: int | None
    status: int
    ending: str
    error: str
    in_time: bool
    response: CapturedResponse | None


class Replays:
    """`carrier` None: this node carries no traffic."""

    def __init__(
        self, logs: RequestLogs, clock: Clock, *, codec: CaptureCodec | None, carrier: Carrier | None = None
    ) -> None:
        self._logs = logs
        self._now = clock.monotonic
        self._codec = codec
        self._carrier = carrier
        self._sent: dict[bytes, deque[float]] = {}  # when each tenant has sent some, within the last minute
        self._under_way: Counter[bytes] = Counter()

    async def send(self, record: Record, changes: Changes, *, client: str) -> Replayed:
        """Send the request of this record, as of a client with that address.

        Raises RouterError: NOT_SERVED_HERE; NOT_FOUND where nothing was captured of it; CONFLICT where it can't be sent again;
        VALIDATION_FAILED where something takes the place of nothing, or nothing of what was masked; RATE_LIMITED; UNAVAILABLE.
        StoreUnavailableError.
        """
        capture = await self._logs.capture(record)
        if self._carrier is None or self._codec is None:
            raise RouterError(NOT_SERVED_HERE, "This node carries no traffic, so it replays none.")
        order = order_of(record, capture, changes, client)
        self._take_place(record.tenant)
        self._under_way[record.tenant] += 1
        try:
            told = await self._carrier(order)
        except (ConnectionError, TimeoutError) as error:
            raise RouterError(UNAVAILABLE, "No process of this node carries traffic right now.") from error
        finally:
            self._under_way -= Counter((record.tenant,))  # and forget a tenant without any
        refused = told["refused"]
        if refused in _REFUSED:
            raise RouterError(CONFLICT, _REFUSED[refused])
        if refused:
            raise RouterError(UNAVAILABLE, "This node is about to restart. Try again shortly.")
        response = None if told["response"] is None else self._codec.response(told["response"])
        request_id = order["request_id"]
        return Replayed(
            request_id,
            await self._record(record, request_id),
            told["status"],
            told["ending"],
            told["error"],
            told["in_time"],
            response,
        )

    async def _record(self, of: Record, request_id: str) -> int | None:
        """The id of the new record, once it is stored; None where that takes long, or the store is away: the request was sent."""
        where = RecordFilter(tenant=of.tenant, resource=of.resource, request_id=request_id)
        try:
            async with asyncio.timeout(_RECORD_TIME):
                while True:
                    found, _ = await self._logs.page(where, limit=1, before=None)
                    if found:
                        return found[0].id
                    await asyncio.sleep(_LOOK_EVERY)
        except (TimeoutError, StoreUnavailableError):
            return None

    def _take_place(self, tenant: bytes) -> None:
        now = self._now()
        if tenant not in self._sent and len(self._sent) >= _MAX_TENANTS:
            self._sent = {one: sent for one, sent in self._sent.items() if sent and sent[-1] > now - _MINUTE}
        sent = self._sent.setdefault(tenant, deque())
        while sent and sent[0] <= now - _MINUTE:
            sent.popleft()
        if len(sent) >= PER_MINUTE:
            wait = int(sent[0] + _MINUTE - now) + 1
            raise RouterError(RATE_LIMITED, f"{PER_MINUTE} replays a minute.", retry_after=wait)
        if self._under_way[tenant] >= _AT_ONCE_OF_TENANT or self._under_way.total() >= _AT_ONCE:
            raise RouterError(RATE_LIMITED, "Other replays are under way.", retry_after=1)
        sent.append(now)


def order_of(record: Record, capture: Capture, changes: Changes, client: str) -> dict[str, Any]:
    """What is to be sent. Raises RouterError: CONFLICT, VALIDATION_FAILED."""
    request = capture.request
    _check_whole(request)
    wrong: dict[str, list[str]] = {}
    headers = _headers(request, changes, wrong)
    target = _target(request, changes, wrong)
    body = _body(request, changes, wrong)
    if wrong:
        raise RouterError(VALIDATION_FAILED, fields=wrong)
    return {
        "original": record.request_id,
        "request_id": f"replay-{uuid.uuid4().hex}",
        "tenant": str(uuid.UUID(bytes=record.tenant)),
        "resource": str(uuid.UUID(bytes=record.resource)),
        "host": capture.host,
        "client": client,
        "scheme": request.scheme,
        "method": request.method,
        "target": target,
        "headers": headers,
        "body": b64encode(body).decode("ascii"),
    }


def _check_whole(request: CapturedRequest) -> None:
    """Refuse what lacks something that nobody can give."""
    cut = [header.name for header in request.headers if header.cut]
    missing = None
    if request.upgrade:
        missing = "An upgrade can't be replayed."
    elif request.target_cut:
        missing = "Its path and query were too long to be captured whole."
    elif MASK in request.target.partition("?")[0] and request.target_masked:
        missing = "Its path has a key, which was masked."
    elif request.headers_cut:
        missing = "It had more headers than were captured."
    elif cut:
        missing = f"Of its header {cut[0]} only the beginning was captured."
    elif not request.body.whole:
        missing = f"Of its body of {request.body.size} bytes only {len(request.body.content)} were captured."
    if missing is not None:
        raise RouterError(CONFLICT, missing)


def _headers(request: CapturedRequest, changes: Changes, wrong: dict[str, list[str]]) -> list[list[str]]:
    masked = {header.name.lower() for header in request.headers if header.masked}
    for name, value in changes.headers.items():
        if name not in masked and name not in _OPENS:
            wrong[f"headers.{name}"] = ["was not masked"]
        elif value is not None and _HEADER_VALUE.fullmatch(value) is None:
            wrong[f"headers.{name}"] = ["is no value of a header"]
    for name in sorted(masked - changes.headers.keys()):
        wrong[f"headers.{name}"] = ["was masked: give its value, or null to send it without"]
    kept = [
        [header.name, header.value]
        for header in request.headers
        if header.name.lower() not in _DROPPED and header.name.lower() not in changes.headers
    ]
    return kept + [[name, value] for name, value in changes.headers.items() if value is not None]


def _target(request: CapturedRequest, changes: Changes, wrong: dict[str, list[str]]) -> str:
    path, mark, query = request.target.partition("?")
    parts: list[str] = []
    masked: set[str] = set()
    for part in re.split(r"([&;])", query):
        if not (request.target_masked and MASK in part):
            parts.append(part)
            continue
        written, equals, _ = part.partition("=")
        name = unquote(written)
        masked.add(name)
        given = changes.query.get(name)
        if name not in changes.query:
            wrong[f"query.{name}"] = ["was masked: give its value, or null to send it without"]
        elif given is not None:
            # A key without a name, or in the place of one, is given in its own place.
            parts.append((f"{written}=" if equals and MASK not in written else "") + quote(given, safe=""))
        else:
            parts.append("")
    for name in changes.query.keys() - masked:
        wrong[f"query.{name}"] = ["was not masked"]
    return path + mark + "".join(parts)


def _body(request: CapturedRequest, changes: Changes, wrong: dict[str, list[str]]) -> bytes:
    if changes.body is None:
        if request.body.masked:
            wrong["body"] = ["had secrets that were masked: give the whole body"]
        return request.body.content
    if not request.body.masked or value_of(request.headers, "content-encoding"):
        wrong["body"] = ["was not masked"]
    return changes.body.encode()
