"""A connection to a backend: writes requests, reads answers, one exchange at a time.

What arrives while no exchange is under way means that the backend is confused, or that something of an earlier
exchange is left: such a connection is closed and never used (a later visitor would read it as their answer).
"""

import asyncio
from typing import TYPE_CHECKING, cast

from router.http1.bodies import ChunkedReader, FramingError
from router.http1.heads import RefusedError

if TYPE_CHECKING:
    from router.proxy.edge import Edge
    from router.proxy.exchange import Exchange
    from router.proxy.pool import Pool


class BackendConnection:
    """See the module, and `ClientConnection` for why this inherits nothing.

    `left` counts down a sized body; `chunks` reads a chunked one; `until_close` has no end.
    """

    __slots__ = (
        "_paused",
        "buffer",
        "chunks",
        "closing",
        "edge",
        "exchange",
        "idle_since",
        "left",
        "pool",
        "transport",
        "until_close",
        "write_paused",
    )

    transport: asyncio.Transport

    def __init__(self, edge: "Edge", pool: "Pool") -> None:
        self.edge = edge
        self.pool = pool
        self.exchange: Exchange | None = None
        self.buffer = b""
        self.left = 0
        self.chunks: ChunkedReader | None = None
        self.until_close = False
        self.closing = False
        self.idle_since = 0.0
        self.write_paused = False
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.closing:  # forgotten while it was dialled
            self.transport.abort()
            return
        self.transport.set_write_buffer_limits(self.edge.high_water)
        self.edge.backends.add(self)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            self.close()
        elif self.left:
            self._sized(exchange, data)
        elif self.chunks is not None:
            self._chunked(exchange, self.chunks, data)
        elif self.until_close:
            exchange.relay(data)
        else:
            self._head(exchange, self.buffer + data if self.buffer else data)

    def _head(self, exchange: "Exchange", data: bytes) -> None:
        limits = self.edge.limits
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                if len(data) > limits.headers:
                    exchange.bad_answer("head too large")
                else:
                    self.buffer = data
                return
            try:
                head = self.edge.responses.read(data[: end + 4], exchange.head.method)
            except RefusedError as error:
                exchange.bad_answer(str(error))
                return
            data = data[end + 4 :]
            if head.status >= 200:
                self.buffer = b""
                exchange.answered(head, data)
                return
            if head.status == 101:
                self.buffer = b""
                exchange.switch(head, data)
                return
            if not exchange.interim(head):
                return
            if not data:
                self.buffer = b""
                return

    def _sized(self, exchange: "Exchange", data: bytes) -> None:
        size = len(data)
        if size < self.left:
            self.left -= size
            exchange.relay(data)
            return
        extra = size > self.left
        if extra:
            data = data[: self.left]
        self.left = 0
        exchange.relay(data)
        exchange.complete(clean=not extra)

    def _chunked(self, exchange: "Exchange", chunks: ChunkedReader, data: bytes) -> None:
        try:
            content = chunks.feed(data)
        except FramingError as error:
            exchange.bad_answer(str(error))
            return
        if chunks.done:
            self.chunks = None
            exchange.relay_last(content, chunks.trailers)
            exchange.complete(clean=not chunks.rest)
        elif content:
            exchange.relay(content)

    def read_body(self, framing: int, data: bytes) -> None:
        """Begin with an answer's body; `data` came behind its head. `framing` as in ResponseHead, but never NONE."""
        if framing > 0:
            self.left = framing
        elif framing == -1:
            self.chunks = ChunkedReader(self.edge.limits.headers)
        else:
            self.until_close = True
        if data:
            self.data_received(data)

    def write(self, data: bytes) -> None:
        if not self.closing:
            self.transport.write(data)

    def eof_received(self) -> bool:
        """The backend will send no more. Before an answer is complete that is its end."""
        exchange = self.exchange
        if exchange is not None:
            exchange.backend_ended(None)
        self.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self.edge.backends.discard(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.backend_ended(exc)

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.exchange is not None:
            self.exchange.pause_client()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.exchange is not None:
            self.exchange.resume_client()

    def pause(self) -> None:
        """Read no more until `resume`: the client does not keep up."""
        if not self._paused and not self.closing:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused and not self.closing:
            self._paused = False
            self.transport.resume_reading()

    def forget(self) -> None:
        """Nobody waits for this connection any more, whether it came up or not."""
        if self in self.edge.backends:
            self.edge.backends.discard(self)
            self.close()
        self.closing = True

    def close(self) -> None:
        """Give up the connection at once; what is not sent yet is for nobody."""
        if not self.closing:
            self.closing = True
            self.transport.abort()
