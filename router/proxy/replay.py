"""Replays: a request that was captured is sent once more, by the worker that gets the order, as if a visitor had sent it.

It is an exchange like any other, at a client's connection that has no socket (`ReplayConnection`): what the routes, policies and limits of
today say holds for it. It has one header more, `X-Miosa-Replay`, which no visitor can send (`http1/names.py`: OURS).
"""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

from router.errors import BAD_REQUEST, Problem
from router.http1.bodies import ChunkedReader, FramingError
from router.http1.body_copies import BodyCopy, CopiedBody, CopiedChunks
from router.http1.heads import CHUNKED, NONE, RefusedError
from router.http1.requests import RequestHead
from router.http1.responses import ResponseHead, read_response_head
from router.proxy.capture import MAX_BODY, headers_of
from router.proxy.client import ClientConnection
from router.proxy.worker_state import WorkerState

TIME: Final = 30.0  # seconds for the whole of it
_MAX_READ: Final = 1024 * 1024  # bytes of a response's body after which nobody listens any more

MARK: Final = b"X-Miosa-Replay"

# Why nothing was sent.
ELSEWHERE: Final = "elsewhere"  # the host leads to another resource now, or to none
MALFORMED: Final = "malformed"  # the request is none that is passed on
DRAINING: Final = "draining"


async def replay(worker: WorkerState, order: Mapping[str, Any]) -> dict[str, Any]:
    """Send what `order` says (`records/replays.py`), and tell what became of it: `refused`, one of the words above, or its status, ending
    and response, of which the beginning is read."""
    if worker.draining:
        return {"refused": DRAINING}
    route = await worker.resolver.resolve(order["host"].encode("ascii"))
    if route.resource is None or route.resource.id != order["resource"]:
        return {"refused": ELSEWHERE}
    body = b64decode(order["body"])
    try:
        head = _head(worker, order, len(body))
    except RefusedError as error:
        return {"refused": MALFORMED, "why": str(error)}
    client = ClientConnection(worker)
    connection = ReplayConnection(worker, head.method)
    client.connection_made(connection)
    exchange = None
    if not client.closing:
        exchange = client.replay(head)
        if body:
            client.data_received(body)
    try:
        async with asyncio.timeout(TIME):
            await connection.over.wait()
        in_time = True
    except TimeoutError:
        in_time = False
    finally:
        client.connection_lost(None)
    return {
        "refused": "",
        "in_time": in_time,
        "status": connection.status if exchange is None else exchange.status,
        "ending": "" if exchange is None else exchange.ending,
        "error": _code(None if exchange is None else exchange.problem),
        "response": connection.told(),
    }


def _code(problem: Problem | None) -> str:
    return "" if problem is None else problem.code


def _head(worker: WorkerState, order: Mapping[str, Any], length: int) -> RequestHead:
    """The head of the request. Raises RefusedError."""
    lines = [f"{order['method']} {order['target']} HTTP/1.1", f"Host: {order['host']}"]
    lines += [f"{name}: {value}" for name, value in order["headers"]]
    lines += [
        f"X-Forwarded-For: {order['client']}",
        f"X-Forwarded-Proto: {order['scheme']}",
        f"X-Request-ID: {order['request_id']}",
        "Connection: close",
    ]
    if length or order["method"] in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {length}")
    raw = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    read = worker.requests.read(raw)
    if read is None or read.framing == CHUNKED or read.upgrade:
        raise RefusedError(BAD_REQUEST, "it is more than one request, or an upgrade")
    head = read.with_line(read.method, read.target)  # a section that is remembered is others' too
    head.lines = [*read.lines, MARK + b": " + order["original"].encode("latin-1", "replace")]
    head.block = None
    return head


class ReplayConnection(asyncio.Transport):
    """The client's end of a replay: takes what is written to a client, and keeps the beginning. `over` is set when nothing more is read."""

    def __init__(self, worker: WorkerState, method: bytes) -> None:
        super().__init__()
        self._method = method
        self._limits = worker.limits
        self._buffer = b""
        self._head: ResponseHead | None = None
        self._reader: ChunkedReader | None = None
        self._copy = BodyCopy(MAX_BODY)
        self._whole = False
        self._closing = False
        self.over = asyncio.Event()

    @property
    def status(self) -> int:
        """Of the response; 0 where none came."""
        return 0 if self._head is None else self._head.status

    def told(self) -> dict[str, Any] | None:
        """The response, as `ExchangeCapture.told` has one."""
        if self._head is None:
            return None
        return {
            "status": self._head.status,
            "headers": headers_of(self._head.lines),
            "body": b64encode(self._copy.kept).decode("ascii"),
            "body_size": self._copy.size,
            "body_whole": self._whole and self._copy.size == len(self._copy.kept),
        }

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """More of the response."""
        if self._closing:
            return
        try:
            self._read(bytes(data))
        except (
            RefusedError,
            FramingError,
        ):  # what we pass on is read by whoever is strict; this is not worth more than its beginning
            self.over.set()

    def _read(self, data: bytes) -> None:
        if self._head is None:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            raw, data = self._buffer[:end], self._buffer[end:]
            self._buffer = b""
            head = read_response_head(raw, self._method, self._limits)
            if head.status < 200:
                self._read(data)
                return
            self._head = head
            framing = head.framing
            self._whole = framing == NONE
            if framing == CHUNKED:
                self._reader = CopiedChunks(self._copy, self._limits.headers)
            elif framing != NONE:
                self._reader = CopiedBody(self._copy, framing)
        if self._reader is not None and not self._whole and data:
            self._reader.feed(data)
            self._whole = self._reader.done
        if self._copy.size > _MAX_READ:
            self.over.set()

    # What is asked of an asyncio.Transport.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """It comes from this machine. There is no socket."""
        return ("127.0.0.1", 0) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As in asyncio. Nothing waits here."""

    def get_write_buffer_size(self) -> int:
        """As in asyncio."""
        return 0

    def is_closing(self) -> bool:
        """As in asyncio."""
        return self._closing

    def is_reading(self) -> bool:
        """As in asyncio."""
        return True

    def pause_reading(self) -> None:
        """There is nothing to read: the request has been handed over."""

    def resume_reading(self) -> None:
        """Likewise."""

    def can_write_eof(self) -> bool:
        """As in asyncio."""
        return True

    def write_eof(self) -> None:
        """Nothing follows."""
        self._end()

    def close(self) -> None:
        """As in asyncio."""
        self._end()
        self._closing = True

    def abort(self) -> None:
        """As in asyncio; the response may have been cut off."""
        self._closing = True
        self.over.set()

    def _end(self) -> None:
        if self._reader is not None and self._reader.only_end_missing:
            self._whole = True
        self.over.set()
