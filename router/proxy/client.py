"""A client's connection: reads requests one after the other, writes responses in that order.

One exchange at a time. What a client sends after a request whose response is not complete (pipelining) waits in `buffer`,
with reading paused, so it is never more than one read. A request is started only when the one before it is over, and not
at all after one that was refused.
"""

import asyncio
import math
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from router import errors
from router.http1.bodies import ChunkedReader, FramingError, chunk, last_chunk
from router.http1.body_copies import BodyCopy, CopiedBody, CopiedChunks
from router.http1.heads import CHUNKED, RefusedError
from router.http1.requests import NO_HEAD, RequestHead, check_start, refused_head
from router.http1.upgrade import settle_upgrade
from router.observe import endings
from router.observe.refused import CLIENT
from router.proxy.exchange import Exchange
from router.proxy.refusal_notes import note_body, note_request
from router.proxy.socket_state import file_of, unsent
from router.proxy.turn_budget import Paced
from router.records.record import REPLAY

if TYPE_CHECKING:
    from router.http1.forwarding import ClientInfo
    from router.proxy.backend import BackendConnection
    from router.proxy.connection_limits import Share
    from router.proxy.worker_state import WorkerState

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: close with a reset
_EMPTY_LINE: Final = (b"\r", b"\r\n")
_FIRST_CHECK: Final = 1.0  # seconds after the last response until the first check of whether the client has taken it
_PER_TURN: Final = 16  # requests of one connection that are started in one turn of the loop
_MAX_AHEAD: Final = 16 * 1024  # bytes that a client may send after a request whose response is not complete


class ClientConnection(Paced):
    """See the module.

    `deadline` is an instant of the monotonic clock, enforced by the sweep.
    """

    __slots__ = (
        "_body_left",
        "_checked_deadline",
        "_linger_until",
        "_pumping",
        "_searched",
        "_taken_at",
        "_untaken",
        "bound",
        "buffer",
        "chunks",
        "client_info",
        "counted",
        "deadline",
        "eof",
        "exchange",
        "lingering",
        "peer",
        "request_done",
        "share",
        "started",
        "told",
        "told_host",
        "trusted",
        "worker",
        "write_paused",
    )

    client_info: "ClientInfo"  # of the last request, whose Host and forwarding headers are `told_host` and `told`

    def __init__(self, worker: "WorkerState") -> None:
        super().__init__(worker.budget)
        self.worker = worker
        self.exchange: Exchange | None = None
        self.buffer = b""
        self.bound: BackendConnection | None = None  # on which the last request has begun a login
        self.peer = ""
        self.share: Share | None = None  # what its visitor holds
        self.deadline = math.inf
        self.started = 0.0
        self.told_host: bytes | None = None
        self.told: dict[bytes, bytes] | None = None
        self._body_left = 0
        self.chunks: ChunkedReader | None = None
        self._linger_until = 0.0
        self._untaken = 0  # bytes written that the client had not taken at the last check
        self._checked_deadline = (
            math.inf
        )  # the deadline at that check: another one now means that bytes have passed since
        self._taken_at = 0.0  # when it was last seen to take some
        self._searched = 0  # bytes of `buffer` in which no head ends
        # Flags as in `Paced`.
        self.trusted = False
        self.counted = False  # as a connection of `share`
        self.eof = False
        self.request_done = True
        self.write_paused = False
        self._pumping = False
        self.lingering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        worker = self.worker
        self.transport.set_write_buffer_limits(worker.high_water)
        worker.clients[self] = None
        peer = transport.get_extra_info("peername")
        if peer is None:  # reset before it was accepted: what it sent could still be read, but we do not know who it is
            self.closing = True
            self.transport.abort()
            return
        self.peer, self.trusted = worker.forwarder.peer(peer[0])
        self.deadline = worker.now + worker.head_time
        room = worker.connection_limits.enter(self)
        if room == "flooded":
            self.closing = True
            self.transport.abort()
        elif room != "served":
            self.started = worker.time()
            self._refuse(errors.OVERLOADED if room == "full" else errors.TOO_MANY_REQUESTS, "connections")

    # Reading.

    def data_received(self, data: bytes) -> None:
        if self.closing:  # lingering: read and dropped
            if self.lingering:
                self.deadline = min(self._linger_until, self.worker.now + self.worker.linger_idle)
            return
        exchange = self.exchange
        if exchange is None:
            if not self.buffer:
                self.started = self.worker.time()
                # Nearly always one whole head and nothing else: it is read at once, without the buffer.
                if (
                    data.endswith(b"\r\n\r\n")
                    and not self.write_paused
                    and not data.startswith(b"\r\n")
                    and self._read_head(data)
                ):
                    return
                self.deadline = self.worker.now + self.worker.head_time
            self.buffer += data
            if self.write_paused:  # the client does not read its responses: its further requests wait in the kernel
                self.pause()
            self._pump()
        elif self.request_done or exchange.outgoing is None:
            if exchange.whole_body is not None:
                exchange.whole_body.take(data)
            else:
                self._hold(data)
        else:
            content = self.read_body(data)
            if content:
                exchange.send_body(content)

    def _pump(self) -> None:
        """Start requests while there are whole heads and no exchange. A loop, since responses of our own end at once and
        a thousand requests may be in one read: after a few, the rest joins the queue of `turn_budget.py`."""
        if self._pumping:
            return
        self._pumping = True
        left = _PER_TURN
        try:
            while self.buffer and self.exchange is None and not self.closing and not self.write_paused:
                if left == 0:
                    self._next_read = self.budget.held
                    self.rest()
                    break
                left -= 1
                if not self._take_up():
                    break
        finally:
            self._pumping = False

    def go_on(self) -> None:
        """Its turn has come: continue with the requests that wait, and then with reading."""
        if not self._resting:
            return
        if self.eof:
            self._resting = False
        else:
            super().go_on()
        if self.buffer and self.exchange is None and not self.closing:
            self._next_request()

    def resume(self) -> None:
        """Read on, unless the client has ended: the loop would only report that again."""
        if not self.eof:
            super().resume()

    def _take_up(self) -> bool:
        """Start the request at the front of the buffer; False if its head is not complete."""
        data = self.buffer
        limits = self.worker.limits
        begin = 2 if data.startswith(b"\r\n") else 0  # RFC 9112 §2.2: one empty line before it may be passed over
        try:
            end = data.find(b"\r\n\r\n", max(begin, self._searched))
            if end < 0:
                check_start(data[begin:], limits)
                self._searched = max(0, len(data) - 3)
                return False
        except RefusedError as error:
            self._refuse(error.problem, str(error), refused_head(error.lines), data[begin:])
            return True
        self._searched = 0
        self.buffer = data[end + 4 :]
        self._read_head(data[begin : end + 4])
        return True

    def _read_head(self, raw: bytes) -> bool:
        """Start a request; False if `raw` is more than its head."""
        try:
            head = self.worker.requests.read(raw)
        except RefusedError as error:
            if not (raw.startswith(b"PRI * HTTP/2.0\r\n") and self._speak_http2(raw)):
                self._refuse(error.problem, str(error), refused_head(error.lines), raw)
            return True
        if head is None:
            return False
        if head.upgrade:
            settle_upgrade(head)
        self._begin(head)
        return True

    def _speak_http2(self, raw: bytes) -> bool:
        """`raw` may be the beginning of HTTP/2 (RFC 9113 §3.4): hand the connection over, where nothing came before."""
        speak = self.worker.speak_http2
        if speak is None or self.told_host is not None or raw != b"PRI * HTTP/2.0\r\n\r\n":
            return False
        begun, self.buffer = raw + self.buffer, b""
        speak(self, begun)
        return True

    def _begin(self, head: RequestHead) -> None:
        framing = head.framing
        if framing == 0:
            self.request_done = True
        else:
            self.request_done = False
            if framing == CHUNKED:
                self.chunks = ChunkedReader(self.worker.limits.headers)
            else:
                self._body_left = framing
        self.deadline = math.inf
        self.exchange = exchange = Exchange(self.worker, self, head, self.started)
        exchange.half_closed = self.eof
        exchange.begin()

    def replay(self, head: RequestHead) -> Exchange:
        """Begin with a request that was captured: no socket has it, and who sends it is as sure as if a trusted proxy had said so."""
        self.worker.connection_limits.leave(self)
        self.trusted = True
        self.started = self.worker.time()
        self.request_done = head.framing == 0
        self._body_left = head.framing
        self.deadline = math.inf
        self.exchange = exchange = Exchange(self.worker, self, head, self.started)
        exchange.marks = REPLAY
        exchange.begin()
        return exchange

    def _refuse(self, problem: errors.Problem, why: str, head: RequestHead = NO_HEAD, raw: bytes = b"") -> None:
        """Respond to something that is not a request, and end the connection: nothing after it can be trusted. `raw` are the bytes
        that were refused, where it was for their sake."""
        self.request_done = False
        self.buffer = b""
        self.exchange = exchange = Exchange(self.worker, self, head, self.started)
        exchange.method = b""  # it never became one
        exchange.refuse(problem, why)
        if raw:
            note_request(self, why, raw, exchange.request_id)

    def read_body(self, data: bytes) -> bytes:
        """What of `data` belongs to the request's body, framed for the backend; the rest goes to `buffer`."""
        exchange = cast(Exchange, self.exchange)
        self.deadline = self.worker.now + self.worker.body_idle
        if self.chunks is not None:
            return self._read_chunks(exchange, self.chunks, data)
        size = len(data)
        if size < self._body_left:
            self._body_left -= size
        else:
            if size > self._body_left:
                self._hold(data[self._body_left :])
                data = data[: self._body_left]
            self._body_left = 0
            self._end_of_request(exchange)
        exchange.received += len(data)
        return data

    def _read_chunks(self, exchange: Exchange, chunks: ChunkedReader, data: bytes) -> bytes:
        if exchange.head.framing == CHUNKED:
            size = chunks.canonical(data)
            if size >= 0:
                return data if self._has_read(exchange, chunks, size) and not exchange.due else b""
        content = self.read_content(exchange, chunks, data)
        if exchange.over or exchange.due:
            return b""
        if exchange.head.framing != CHUNKED:  # `chunks` reads a sized body
            return content
        out = chunk(content) if content else b""
        return out + last_chunk(chunks.trailers) if chunks.done else out

    def copy_body(self, copy: BodyCopy) -> None:
        """Keep the beginning of the request's body, of which nothing has been read yet."""
        if self.chunks is not None:
            self.chunks = CopiedChunks(copy, self.worker.limits.headers)
        elif not self.request_done:
            self.chunks = CopiedBody(copy, self._body_left)

    def read_content(self, exchange: Exchange, chunks: ChunkedReader, data: bytes) -> bytes:
        """The content in more of a chunked body; the exchange is over where that is refused."""
        try:
            content = chunks.feed(data)
        except FramingError as error:
            note_body(exchange, CLIENT, str(error), chunks, data)
            exchange.bad_body(errors.BAD_REQUEST, str(error))
            return b""
        return content if self._has_read(exchange, chunks, len(content)) else b""

    def _has_read(self, exchange: Exchange, chunks: ChunkedReader, size: int) -> bool:
        """So many bytes more of a chunked body's content; whether they may go on."""
        exchange.received += size
        max_body = self.worker.max_body
        if max_body and exchange.received > max_body:
            exchange.bad_body(errors.PAYLOAD_TOO_LARGE, "chunked body too large")
            return False
        if chunks.done:
            self.chunks = None
            if chunks.rest:
                self._hold(chunks.rest)
            self._end_of_request(exchange)
        return True

    def _hold(self, data: bytes) -> None:
        """Keep what came after the current request. While we read we notice at once when the client leaves, so reading
        goes on up to a limit; after that the sweep asks the kernel (`hung_up`)."""
        self.buffer += data
        if len(self.buffer) > _MAX_AHEAD:
            self.pause()

    def _end_of_request(self, exchange: Exchange) -> None:
        self.request_done = True
        exchange.wait_for_response()

    # Writing.

    def write(self, data: bytes) -> None:
        if not self.closing:
            self.put(data)

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.exchange is not None:
            self.exchange.pause_backend()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.write_paused = False
        if self.exchange is not None:
            self.exchange.resume_backend()
        elif not self.closing:
            self.exchange_over(keep_alive=True)

    # The end of an exchange, and of the connection.

    def exchange_over(self, *, keep_alive: bool) -> None:
        """The exchange has ended and its response is written: go on to the next request, or finish."""
        self.exchange = None
        if not keep_alive or (self.eof and not self.buffer):
            self.finish()
            return
        self._next_request()

    def _next_request(self) -> None:
        worker = self.worker
        if self._held_back():
            return
        if self.buffer:
            self.started = worker.time()
            self.deadline = worker.now + worker.head_time
            if self._pumping:
                return  # its loop goes on with that
            self._pump()
            if self._busy() or self._resting:
                return
            if self._held_back():
                return
        if self.eof and not self._pumping:  # what is left will never become a request
            self.finish()
            return
        if not self.buffer:
            if worker.draining and not worker.patient:
                self.finish()
                return
            self.deadline = worker.now + worker.client_idle
        self.resume()

    def _begun(self) -> bool:
        """Whether part of a request has arrived. An empty line, as some send after a body, does not count (RFC 9112 §2.2)."""
        return bool(self.buffer) and self.buffer not in _EMPTY_LINE

    def _held_back(self) -> bool:
        """Whether the client does not read its responses; no further request is started until it does."""
        if self.write_paused:
            self.deadline = self.worker.now + self.worker.body_idle
        return self.write_paused

    def _busy(self) -> bool:
        return self.exchange is not None or self.closing

    def finish(self) -> None:
        """Close once everything written has been sent.

        If the socket closed now, a client that is still sending would get a reset, and might lose the response with it (RFC
        9112 §9.6). So we shut down our sending side first, and read and drop what arrives for `linger` seconds, as long
        as no pause is longer than `linger_idle`.
        """
        if self.closing:
            return
        self.closing = True
        worker, transport = self.worker, self.transport
        self._taken_at = worker.now
        if self.eof or (self.request_done and not self.buffer):
            self.deadline = worker.now + worker.body_idle  # for a client that does not read
            # Where the kernel has all of it, this closes in the loop's next turn: what is not taken yet need not be known, and
            # to ask is a tenth of what a connection with one request costs.
            if transport.get_write_buffer_size():
                self._untaken = unsent(transport)
            transport.close()
            return
        self.buffer = b""
        self.lingering = True
        self._untaken = unsent(transport) + 1  # the FIN
        self._linger_until = worker.now + worker.limits.linger
        self.deadline = worker.now + min(_FIRST_CHECK, worker.linger_idle)
        if self._paused:
            self._paused = False
            if not self._resting:
                self.transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()

    def _go_on_closing(self, now: float) -> None:
        """A client that still takes its response gets all of it; once it has it, it may go on sending for a while."""
        worker, left = self.worker, unsent(self.transport)
        if left < self._untaken:
            self._taken_at = now
            self._linger_until = now + worker.limits.linger
            self.deadline = now + worker.linger_idle
        if left:
            self.deadline = min(self._taken_at + worker.body_idle, now + worker.limits.linger)
        self._untaken = left
        if self.deadline <= now or self.deadline == math.inf:
            self.transport.abort()

    def abort(self) -> None:
        """Reset the connection, so that a response that was cut off does not look complete."""
        self.closing = True
        if not self.transport.is_closing():
            # Otherwise the kernel would close in order, which HTTP/1.0 takes for the end of a response.
            sock = self.transport.get_extra_info("socket")
            if sock is not None:  # a stream of HTTP/2 has none, and is reset by itself
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def eof_received(self) -> bool:
        """The client will send no more. It may still read, so a response goes on for a while (half-close)."""
        if self.lingering or self.closing:
            self.transport.close()
            return False
        self.eof = True
        exchange = self.exchange
        if exchange is None:
            if self._begun():
                self.request_done = False
                Exchange(self.worker, self, NO_HEAD, self.started).client_gone()
            self.closing = True
            return False
        if not self.request_done and not exchange.due:
            exchange.client_gone()
            self.abort()
            return False
        exchange.client_half_closed()
        return True

    @property
    def timed(self) -> bool:
        """Whether the time without progress is limited, of this exchange or of this client's reading."""
        return (self.exchange is not None or self.write_paused) and not self.closing and self.deadline != math.inf

    def note_progress(self) -> None:
        """If the other side has taken bytes since the last check, it is not silent: postpone the deadline. Called by the
        sweep from time to time. What we have passed on says little, since the kernel buffers megabytes."""
        exchange, worker = self.exchange, self.worker
        if exchange is not None and exchange.held:  # it has until its deadline, whatever moves
            return
        left = unsent(self.transport) if exchange is None or exchange.phase == endings.BODIES else 0
        limit = worker.body_idle
        if exchange is not None:
            outgoing = exchange.outgoing
            if outgoing is not None and not outgoing.closing:
                left += unsent(outgoing.transport)
            if exchange.phase != endings.BODIES:
                if exchange.half_closed:  # it has `half_close` seconds, whatever moves
                    return
                if self.request_done:
                    limit = exchange.prepared.first_byte  # counted from when the backend has all of the request
        if left < self._untaken and self.deadline == self._checked_deadline:
            self.deadline = max(self.deadline, worker.now + limit)
        self._untaken = left
        self._checked_deadline = self.deadline

    def note_use(self, now: float) -> None:
        """Its exchange may be using a resource. Called by the sweep from time to time."""
        if self.exchange is not None:
            self.exchange.note_use(now)

    def _still_taken(self, exchange: Exchange, due: float) -> bool:
        """Whether the backend may still be taking the request: the time for its response counts from the end of that. If
        that time is shorter than from one check to the next, check once more."""
        if (
            exchange.phase != endings.RESPONSE_HEAD
            or not self.request_done
            or exchange.half_closed
            or exchange.outgoing is None
        ):
            return False
        left = unsent(exchange.outgoing.transport)
        if not left or (due == self._checked_deadline and left >= self._untaken):
            return False
        self._untaken = left
        self._checked_deadline = self.deadline = self.worker.now + exchange.prepared.first_byte
        return True

    @property
    def unread(self) -> bool:
        """Whether there is an exchange and the client is not being read from, so that we would not notice its end or reset."""
        return self.exchange is not None and (self._paused or self.eof) and not self.closing

    def client_file(self) -> int:
        """The descriptor of the client's socket, -1 where that is closed."""
        return file_of(self.transport)

    def hung_up(self, *, broken: bool) -> None:
        """The kernel has received the client's end, or its reset. Called by the sweep on each pass while `unread`."""
        exchange = self.exchange
        if exchange is None or self.closing:
            return
        if broken:
            exchange.client_gone()
            self.abort()
        elif not exchange.half_closed:
            exchange.client_half_closed()
        elif exchange.phase != endings.BODIES or not unsent(
            self.transport
        ):  # a body that went on meanwhile has postponed it
            self.deadline = min(self.deadline, self.worker.now + self.worker.limits.half_close)

    def drop(self) -> None:
        """End the connection after a fault of ours, whatever state it is in."""
        self.closing = True
        self.transport.abort()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closing = True
        self.worker.clients.pop(self, None)
        self.worker.connection_limits.leave(self)
        if self.bound is not None:
            self.bound.close()
            self.bound = None
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()
        elif self._begun() and not self.eof:
            Exchange(self.worker, self, NO_HEAD, self.started).client_gone()

    def expired(self) -> None:
        """The deadline has passed. Called by the sweep."""
        now, due, exchange = self.worker.now, self.deadline, self.exchange
        self.deadline = math.inf
        if self.closing:
            self._go_on_closing(now)
        elif exchange is not None:
            if not self._still_taken(exchange, due):
                exchange.timed_out()
        elif self.write_paused:
            self.abort()
        elif self._begun():
            self._refuse(errors.REQUEST_TIMEOUT, "head took too long")
        else:
            self.finish()
