"""Captures: the headers of an exchange and the beginning of its bodies, for the developers of a resource who have asked for
that for a while (`capture_until` of its route).

    Captures.begin    an exchange has been admitted to such a resource
    answered          its response's head has come; the bodies are copied as they pass (`http1/body_copies.py`)
    Captures.consume  it has ended: what was kept is handed on, off the path of requests

What is captured is what the program gets and sends, so nothing of ours is in it: our cookies, tokens and keys were taken out of the
head before. Secrets of the program's own are masked where captures are stored (`records/masking.py`). Only what was admitted is captured: not
the request of somebody who may not open the resource.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from router.http1.body_copies import COPIED, BodyCopy, CopiedBody, CopiedChunks
from router.http1.heads import CHUNKED, NONE, value_of
from router.observe import endings
from router.observe.ended_exchange import Finished
from router.proxy.guard import Visit
from router.records.record import CAPTURED

if TYPE_CHECKING:
    from router.http1.responses import ResponseHead
    from router.observe.metrics import Metrics
    from router.proxy.backend import BackendConnection
    from router.proxy.exchange import Exchange
    from router.routes.route import Route

MAX_BODY: Final = 10 * 1024  # bytes of each body that are kept
MAX_VALUE: Final = 1024  # of a header's value
MAX_HEADERS: Final = 200  # of one head
MAX_HEAD: Final = 32 * 1024  # bytes of all of them
_MAX_TARGET: Final = 8192
_MAX_OPEN: Final = 256  # exchanges of one worker that are being captured
_MAX_OPEN_OF_RESOURCE: Final = 32
_PER_SECOND: Final = 20  # exchanges of one resource that one worker begins to capture

Send = Callable[[dict[str, Any]], object]  # to where captures are stored, by this process or another


class ExchangeCapture:
    """What is kept of one exchange."""

    __slots__ = (
        "_at",
        "_head",
        "_max_trailers",
        "_request_body",
        "_response_body",
        "_response_headers",
        "_status",
        "exchange",
        "resource_id",
        "tenant_id",
    )

    def __init__(self, exchange: "Exchange", tenant_id: str, resource_id: str, at: float) -> None:
        self.exchange = exchange
        self.tenant_id = tenant_id
        self.resource_id = resource_id
        self._at = at
        self._head = exchange.head
        self._max_trailers = exchange.worker.limits.headers
        self._request_body = BodyCopy(MAX_BODY)
        self._response_body = BodyCopy(MAX_BODY)
        self._response_headers: list[list[Any]] | None = None
        self._status = 0
        if not exchange.incoming.request_done:
            exchange.incoming.copy_body(self._request_body)

    def answered(self, head: "ResponseHead", data: bytes, backend: "BackendConnection") -> int:
        """The program's response has begun, and `data` came behind its head: the framing that its body is to be read by."""
        self._status = head.status
        self._response_headers = headers_of(head.lines)
        self._response_body = copy = BodyCopy(MAX_BODY)
        length = head.framing
        if length == NONE:
            return length
        if length == len(data):
            copy.take(data)
            return length
        backend.chunks = (
            CopiedChunks(copy, self._max_trailers, lenient=True) if length == CHUNKED else CopiedBody(copy, length)
        )
        return COPIED

    def switched(self, head: "ResponseHead") -> None:
        """It has become a tunnel, of which nothing more is kept."""
        self._status = head.status
        self._response_headers = headers_of(head.lines)

    def told(self) -> dict[str, Any]:
        """What was kept, as `records.captures` reads it."""
        exchange, head = self.exchange, self._head
        request: dict[str, Any] = {
            "method": _text(head.method),
            "target": _text(head.target[:_MAX_TARGET]),
            "target_cut": len(head.target) > _MAX_TARGET,
            "scheme": exchange.scheme,
            "version": exchange.version,
            "headers": headers_of(head.lines),
            "upgrade": bool(head.upgrade),
            **_body(self._request_body, whole=exchange.incoming.request_done or exchange.status == 101),
        }
        answered = self._response_headers is not None
        return {
            "tenant": self.tenant_id,
            "resource": self.resource_id,
            "request_id": exchange.request_id,
            "host": "" if exchange.route is None else exchange.route.host,
            "at": self._at,
            "request": request,
            "response": None
            if not answered
            else {
                "status": self._status,
                "headers": self._response_headers,
                **_body(self._response_body, whole=exchange.ending == endings.COMPLETE),
            },
        }


class Captures:
    """Those of one worker. `send` takes what was kept, and returns whether that got anywhere."""

    def __init__(self, send: Send, metrics: "Metrics") -> None:
        self._send = send
        self._metrics = metrics
        self._open: list[ExchangeCapture] = []
        self._second = 0
        self._begun: dict[str, int] = {}  # in that second, by resource

    def begin(self, exchange: "Exchange", route: "Route") -> None:
        """The exchange was admitted to a resource whose exchanges are captured."""
        resource, worker = route.resource, exchange.worker
        now = worker.date()
        if resource is None or now >= route.capture_until:
            route.end_capture()
            return
        visit = exchange.visit
        if visit is not None and visit.capture is not None:
            return  # it has waited for a place, or for its resource; where it leads elsewhere now, nothing is kept
        if not self._has_room(resource.id, int(now)):
            self._metrics.count("request_captures", "skipped")
            return
        visit = exchange.visit = Visit(restricted=False) if visit is None else visit.own()
        visit.capture = capture = ExchangeCapture(exchange, resource.tenant_id, resource.id, now)
        exchange.marks |= CAPTURED
        self._open.append(capture)

    def consume(self, _batch: Sequence[Finished]) -> None:
        """Hand on what was kept of those that have ended."""
        if not self._open:
            return
        ended = [capture for capture in self._open if capture.exchange.over]
        if not ended:
            return
        self._open = [capture for capture in self._open if not capture.exchange.over]
        for capture in ended:
            if _is_wanted(capture) and not self._send(capture.told()):
                self._metrics.count("request_captures", "lost")

    def _has_room(self, resource_id: str, second: int) -> bool:
        if second != self._second:
            self._second = second
            self._begun.clear()
        begun = self._begun[resource_id] = self._begun.get(resource_id, 0) + 1
        if begun > _PER_SECOND or len(self._open) >= _MAX_OPEN:
            return False
        return sum(capture.resource_id == resource_id for capture in self._open) < _MAX_OPEN_OF_RESOURCE


def headers_of(lines: Sequence[bytes]) -> list[list[Any]]:
    """Each header as its name, its value, and whether that was cut; a last one without a name where some are missing."""
    found: list[list[Any]] = []
    size = 0
    for line in lines:
        name, value = line[: line.find(b":")], value_of(line)
        kept = value[:MAX_VALUE]
        size += len(name) + len(kept)
        if size > MAX_HEAD or len(found) >= MAX_HEADERS:
            found.append(["", "", True])
            break
        found.append([_text(name), _text(kept), len(kept) < len(value)])
    return found


def _body(copy: BodyCopy, *, whole: bool) -> dict[str, Any]:
    return {
        "body": b64encode(copy.kept).decode("ascii"),
        "body_size": copy.size,
        "body_whole": whole and copy.size == len(copy.kept),
    }


def _is_wanted(capture: ExchangeCapture) -> bool:
    """Whether the exchange went to where it was captured for, and that is still wanted: not where it was switched off meanwhile, or
    where that is not known."""
    exchange = capture.exchange
    route = exchange.route
    if route is None or route.resource is None or route.resource.id != capture.resource_id or not exchange.ending:
        return False
    current = exchange.worker.resolver.peek(exchange.head.host)
    if current is None and route.current:  # it is due to be looked up again, and no change has been heard of
        current = route
    now = None if current is None else current.resource
    return now is not None and now.id == capture.resource_id and now.capture_until > 0


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")
