"""A client's connection: reads requests one after the other, writes answers in that order.

One exchange at a time. What a client sends behind a request that is still being answered (pipelining) waits in
`buffer`, with reading paused, so it is never more than one read. A request is taken up only when the one before it is
over, and not at all after one that was refused.
"""

import asyncio
import math
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from router import errors
from router.http1.bodies import ChunkedReader, FramingError, chunk, last_chunk
from router.http1.heads import CHUNKED, RefusedError
from router.http1.requests import NO_HEAD, RequestHead, check_start
from router.http1.upgrade import settle_upgrade
from router.proxy.exchange import Exchange

if TYPE_CHECKING:
    from router.http1.forwarding import Origin
    from router.proxy.edge import Edge

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: close with a reset
_AHEAD: Final = 16 * 1024  # bytes that a client may send behind a request that is being answered
_LINGER: Final = 2.0  # seconds that a client may go on sending after an answer that ends its connection


class ClientConnection:
    """See the module. An asyncio.Protocol in all but name: a class that is compiled has no base that is not.

    `deadline` is an instant of the monotonic clock, kept by the sweep.
    """

    __slots__ = (
        "_body_left",
        "_chunks",
        "_linger_until",
        "_lingering",
        "_looked",
        "_paused",
        "_pumping",
        "buffer",
        "closing",
        "deadline",
        "edge",
        "eof",
        "exchange",
        "origin",
        "origin_of",
        "peer",
        "request_done",
        "started",
        "transport",
        "trusted",
        "write_paused",
    )

    transport: asyncio.Transport
    origin: "Origin"  # of the last request, whose Host and forwarding headers are `origin_of`

    def __init__(self, edge: "Edge") -> None:
        self.edge = edge
        self.exchange: Exchange | None = None
        self.buffer = b""
        self.peer = ""
        self.trusted = False
        self.deadline = math.inf
        self.started = 0.0
        self.closing = False
        self.eof = False
        self.request_done = True
        self.write_paused = False
        self.origin_of: tuple[bytes, dict[bytes, bytes] | None] | None = None
        self._body_left = 0
        self._chunks: ChunkedReader | None = None
        self._paused = False
        self._pumping = False
        self._lingering = False
        self._linger_until = 0.0
        self._looked = 0  # bytes of `buffer` in which no head ends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        edge = self.edge
        self.transport.set_write_buffer_limits(edge.high_water)
        edge.clients.add(self)
        peer = transport.get_extra_info("peername")
        if peer is None:  # reset before it was accepted; what it sent may still be read, and nobody knows from whom
            self.closing = True
            self.transport.abort()
            return
        self.peer, self.trusted = edge.forwarder.peer(peer[0])
        self.deadline = edge.now + edge.limits.head_time
        if len(edge.clients) + len(edge.tunnels) > edge.limits.connections:
            self.started = edge.time()
            self._refuse(errors.OVERLOADED, "connections")

    # Reading.

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return  # lingering: read and thrown away
        exchange = self.exchange
        if exchange is None:
            if not self.buffer:
                self.started = self.edge.time()
                # Nearly always one whole head and nothing else: it is taken up at once, past the buffer.
                if (
                    0 < data.find(b"\r\n\r\n") == len(data) - 4
                    and not self.write_paused
                    and not data.startswith(b"\r\n")
                ):
                    self._read_head(data)
                    return
                self.deadline = self.edge.now + self.edge.limits.head_time
            self.buffer += data
            if self.write_paused:  # the client does not read its answers: what it asks meanwhile waits in the kernel
                self.pause()
            self._pump()
        elif self.request_done or exchange.outgoing is None:
            # Read on for a while: only a connection that is read tells that its client has gone.
            self.buffer += data
            if len(self.buffer) > _AHEAD:
                self.pause()
                self.deadline = min(self.deadline, self.edge.now + self.edge.body_idle)  # nor waited for for ever
        else:
            content = self.read_body(data)
            if content:
                exchange.send_body(content)

    def _pump(self) -> None:
        """Take up requests while there are whole heads and nothing under way. A loop, since answers of our own end at
        once and a thousand of them may stand in one read."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self.buffer and self.exchange is None and not self.closing and not self.write_paused:
                if not self._take_up():
                    break
        finally:
            self._pumping = False

    def _take_up(self) -> bool:
        """Begin with the request at the front of the buffer; False where its head is not complete."""
        data = self.buffer
        limits = self.edge.limits
        begin = 2 if data.startswith(b"\r\n") else 0  # RFC 9112 §2.2: one empty line before it may be passed over
        try:
            end = data.find(b"\r\n\r\n", max(begin, self._looked))
            if end < 0:
                check_start(data[begin:], limits)
                self._looked = max(0, len(data) - 3)
                return False
        except RefusedError as error:
            self._refuse(error.problem, str(error))
            return True
        self._looked = 0
        self.buffer = data[end + 4 :]
        self._read_head(data[begin : end + 4])
        return True

    def _read_head(self, raw: bytes) -> None:
        try:
            head = self.edge.requests.read(raw)
        except RefusedError as error:
            self._refuse(error.problem, str(error))
            return
        if head.upgrade:
            settle_upgrade(head)
        self._begin(head)

    def _begin(self, head: RequestHead) -> None:
        framing = head.framing
        if framing == 0:
            self.request_done = True
        else:
            self.request_done = False
            if framing == CHUNKED:
                self._chunks = ChunkedReader(self.edge.limits.headers)
            else:
                self._body_left = framing
        self.deadline = math.inf
        self.exchange = exchange = Exchange(self.edge, self, head, self.started)
        exchange.half_closed = self.eof
        exchange.begin()

    def _refuse(self, problem: errors.Problem, why: str) -> None:
        """Answer what is not a request, and end the connection: nothing behind it can be trusted."""
        self.request_done = False
        self.buffer = b""
        self.exchange = exchange = Exchange(self.edge, self, NO_HEAD, self.started)
        exchange.refuse(problem, why)

    def read_body(self, data: bytes) -> bytes:
        """What of `data` belongs to the request's body, framed for the backend; the rest goes to `buffer`."""
        exchange = cast(Exchange, self.exchange)
        self.deadline = self.edge.now + self.edge.body_idle
        if self._chunks is not None:
            return self._read_chunks(exchange, self._chunks, data)
        size = len(data)
        if size < self._body_left:
            self._body_left -= size
        else:
            if size > self._body_left:
                self.buffer = data[self._body_left :]
                data = data[: self._body_left]
                self.pause()
            self._body_left = 0
            self._end_of_request(exchange)
        exchange.received += len(data)
        return data

    def _read_chunks(self, exchange: Exchange, chunks: ChunkedReader, data: bytes) -> bytes:
        try:
            content = chunks.feed(data)
        except FramingError as error:
            exchange.bad_body(errors.BAD_REQUEST, str(error))
            return b""
        exchange.received += len(content)
        most = self.edge.most_body
        if most and exchange.received > most:
            exchange.bad_body(errors.PAYLOAD_TOO_LARGE, "chunked body too large")
            return b""
        out = chunk(content) if content else b""
        if chunks.done:
            out += last_chunk(chunks.trailers)
            self._chunks = None
            if chunks.rest:
                self.buffer = chunks.rest
                self.pause()
            self._end_of_request(exchange)
        return out

    def _end_of_request(self, exchange: Exchange) -> None:
        self.request_done = True
        exchange.wait_for_answer()

    # Writing.

    def write(self, data: bytes) -> None:
        if not self.closing:
            self.transport.write(data)

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.exchange is not None:
            self.exchange.pause_backend()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.exchange is not None:
            self.exchange.resume_backend()
        elif not self.closing:
            self.exchange_over(keep_alive=True)

    def pause(self) -> None:
        """Read no more until `resume`."""
        if not self._paused and not self.closing:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused and not self.closing:
            self._paused = False
            self.transport.resume_reading()

    # The end of an exchange, and of the connection.

    def exchange_over(self, *, keep_alive: bool) -> None:
        """The exchange has ended and its answer is written: on to the next request, or to the end."""
        self.exchange = None
        if not keep_alive or (self.eof and not self.buffer):
            self.finish()
            return
        edge = self.edge
        if self.write_paused:  # the client does not read its answers: no further request until it does
            self.deadline = edge.now + edge.body_idle
            return
        if self.buffer:
            self.started = edge.time()
            self.deadline = edge.now + edge.limits.head_time
            self._pump()
            if self._busy():
                return
        if self.eof and not self._pumping:  # what is left will never be a request
            self.finish()
            return
        if not self.buffer:
            if edge.draining and not edge.patient:
                self.finish()
                return
            self.deadline = edge.now + edge.client_idle
        self.resume()

    def _busy(self) -> bool:
        return self.exchange is not None or self.closing

    def finish(self) -> None:
        """Close after what is written has gone out.

        A client that is still sending would get a reset, and lose the answer with it, if the socket closed now (RFC
        9112 §9.6). So the sending side closes first, and what arrives for a while is read and thrown away.
        """
        if self.closing:
            return
        self.closing = True
        edge = self.edge
        if self.eof or (self.request_done and not self.buffer):
            self.deadline = edge.now + edge.body_idle  # a client that does not read is not waited for for ever
            self.transport.close()
            return
        self.buffer = b""
        self._lingering = True
        self._linger_until = edge.now + edge.body_idle
        self.deadline = edge.now + _LINGER
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def abort(self) -> None:
        """Reset the connection: for an answer that was cut off and must not look complete."""
        self.closing = True
        if not self.transport.is_closing():
            # Without this the kernel would say goodbye properly, which HTTP/1.0 takes for the end of an answer.
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def eof_received(self) -> bool:
        """The client will send no more. It may still read: an answer under way goes on for a while (half-close)."""
        if self._lingering or self.closing:
            self.transport.close()
            return False
        self.eof = True
        exchange = self.exchange
        if exchange is None:
            if self.buffer:
                self.request_done = False
                Exchange(self.edge, self, NO_HEAD, self.started).client_gone()
            self.closing = True
            return False
        if not self.request_done:
            exchange.client_gone()
            self.abort()
            return False
        exchange.client_half_closed()
        return True

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closing = True
        self.edge.clients.discard(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()
        elif self.buffer and not self.eof:
            Exchange(self.edge, self, NO_HEAD, self.started).client_gone()

    def expired(self) -> None:
        """The deadline has passed. Called by the sweep."""
        self.deadline = math.inf
        now = self.edge.now
        if self._lingering and now < self._linger_until and self.transport.get_write_buffer_size():
            self.deadline = now + _LINGER  # it is still taking the answer
        elif self.closing:
            self.transport.abort()
        elif self.exchange is not None:
            self.exchange.timed_out()
        elif self.write_paused:
            self.abort()
        elif self.buffer:
            self._refuse(errors.REQUEST_TIMEOUT, "head took too long")
        else:
            self.finish()
