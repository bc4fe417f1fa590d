"""A stream of HTTP/2 as a connection of HTTP/1.1.

`ClientConnection` and `BackendConnection` read and write messages of HTTP/1.1 on a transport. This is such a transport: what
is written to it becomes frames, and what frames bring is handed on as text. So one story holds for both protocols: routes,
limits, deadlines, refusals, records. Like a kept connection it carries one message after the other, each in a stream of its
own.

What is different from a socket: there is no descriptor (the ends of streams are always heard, since the connection is
always read), and a message that is cut off is reset rather than closed.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from router.http1.bodies import LAST_CHUNK, ChunkedReader, chunk
from router.http2.grpc import is_grpc, status_fields
from router.http2.heads import (
    CHUNKED,
    Field,
    MalformedError,
    request_to_http1,
    request_to_http2,
    response_to_http1,
    response_to_http2,
    trailers_to_http1,
    trailers_to_http2,
)
from router.http2.session import CANCEL, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR
from router.observe.refused import BACKEND, CLIENT
from router.proxy.refusal_notes import note_malformed

if TYPE_CHECKING:
    from router.proxy.backend import BackendConnection
    from router.proxy.client import ClientConnection
    from router.proxy.h2_connection import Http2Connection

_AT_ONCE: Final = 64 * 1024  # bytes of one stream that are sent before others have their turn
# Bytes up to which pieces that are held are joined: a window full of frames of one byte each would take 100 times its size.
_JOINED: Final = 4096
_CUT: Final = status_fields("The program behind this address broke off its response.")


class StreamTransport:
    """See the module. A `Stream` of its session."""

    def __init__(self, owner: "Http2Connection", protocol: "ClientConnection | BackendConnection") -> None:
        self.owner = owner
        self.session = owner.session
        self.protocol = protocol
        self.method = b""
        self.number = 0
        self.send_window = self.receive_window = self.owed = 0
        self.sending = self.receiving = self.begun = False
        # What we send.
        self._queue: deque[bytes] = deque()
        self._queued = 0  # bytes in it
        self._in_body = False  # of what is written
        self._left = 0  # of a sized body
        self._chunks: ChunkedReader | None = None
        self._complete = True  # what is written is a whole message, or nothing
        self._trailers: list[Field] | None = None
        self._grpc = False
        self._high = 64 * 1024
        self._write_paused = False
        # What we receive.
        self._paused = False
        self._held: deque[tuple[bytes, int]] = deque()  # as `_hand_on` gets it
        self._expected = 0  # bytes of a sized body, or CHUNKED
        self._closing = False
        self._lost = False
        self._error: Exception | None = None

    def start(self) -> None:
        """Hand the transport to its protocol."""
        self.owner.transports.add(self)
        self.protocol.connection_made(cast(asyncio.BaseTransport, self))

    # What is asked of an asyncio.Transport.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The connection's addresses. A stream has no socket."""
        return default if name == "socket" else self.owner.transport.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int) -> None:
        """As in asyncio."""
        self._high = high

    def get_write_buffer_size(self) -> int:
        """Bytes that the other side's windows have not let go yet."""
        return self._queued

    def is_closing(self) -> bool:
        """As in asyncio."""
        return self._closing

    def is_reading(self) -> bool:
        """As in asyncio."""
        return not self._paused

    def can_write_eof(self) -> bool:
        """As in asyncio."""
        return True

    def pause_reading(self) -> None:
        """What arrives is held, at most a window full."""
        self._paused = True

    def resume_reading(self) -> None:
        """Hand on what is held, in the next turn of the loop."""
        self._paused = False
        if self._held or self._error is not None:
            self.owner.soon(self._hand_on_held)

    def write(self, data: bytes) -> None:
        """Part of a message of HTTP/1.1; a head is always whole."""
        while data and not self._closing:
            if not self._in_body:
                end = data.find(b"\r\n\r\n") + 4
                if end < 4:
                    raise ValueError("a head in pieces")
                head, data = data[:end], data[end:]
                self._complete = False
                self._send_head(head)
                continue
            if self._chunks is not None:
                content = self._chunks.feed(data)
                data = b""
                if content:
                    self._enqueue(content)
                if self._chunks.done:
                    trailers = trailers_to_http2(self._chunks.trailers)
                    self._chunks = None
                    self._end_message(trailers or None)
            else:
                content, data = data[: self._left], data[self._left :]
                self._left -= len(content)
                self._enqueue(content)
                if self._left == 0:
                    self._end_message(None)
        self.pump()
        if self._queued > self._high and not self._write_paused:
            self._write_paused = True
            self.protocol.pause_writing()

    def _enqueue(self, content: bytes) -> None:
        queue = self._queue
        self._queued += len(content)
        if queue and len(queue[-1]) < _JOINED:
            queue[-1] += content
        else:
            queue.append(content)

    def _send_head(self, head: bytes) -> None:
        raise NotImplementedError

    def _begin_body(self, body: int) -> None:
        """The head's body follows, or there is none."""
        if body == CHUNKED:
            self._in_body = True
            self._chunks = ChunkedReader(self.owner.worker.limits.headers)
        elif body > 0:
            self._in_body = True
            self._left = body
        else:
            self._complete = True

    def _end_message(self, trailers: list[Field] | None) -> None:
        self._in_body = False
        self._complete = True
        self._trailers = trailers

    def pump(self) -> None:
        """Send of what is queued as much as the windows and the connection take."""
        session, owner, queue = self.session, self.owner, self._queue
        sent = 0
        while self.sending:
            if not queue:
                if self._complete:
                    trailers, self._trailers = self._trailers, None
                    if trailers is not None:
                        session.send_head(self, trailers, end=True)
                    else:
                        session.send_data(self, b"", end=True)
                    owner.flush_soon()
                    self._settle()
                break
            room = session.may_send(self)
            if room == 0:
                if session.send_window <= 0:
                    owner.wait(self, blocked=True)
                break  # else its own window wakes it
            if owner.write_paused or sent >= _AT_ONCE:
                owner.wait(self, blocked=False)
                break
            piece = queue[0]
            if len(piece) > room:
                queue[0] = piece[room:]
                piece = piece[:room]
            else:
                queue.popleft()
            self._queued -= len(piece)
            sent += len(piece)
            last = not queue and self._complete and self._trailers is None
            session.send_data(self, piece, end=last)
            owner.sent(len(piece))
            if last:
                self._settle()
        if self._write_paused and self._queued <= self._high // 4:
            self._write_paused = False
            owner.soon(self._resume_writing)

    def _resume_writing(self) -> None:
        if not self._write_paused and not self._lost:
            self.protocol.resume_writing()

    def close(self) -> None:
        """Once all is sent that was written."""
        if self._closing:
            return
        self._closing = True
        if not self.number:
            self._lose(None)
        elif not self._complete:
            self._cut_off()
        elif not self.sending:
            self._settle()

    def write_eof(self) -> None:
        """Nothing follows, and what still comes is not wanted."""
        self.close()

    def abort(self) -> None:
        """End it now; what is not sent yet is dropped."""
        if not self._lost:
            self._closing = True
            if self.number:
                self.session.reset(self, CANCEL)
                self.owner.flush_soon()
            self._lose(None)

    def _cut_off(self) -> None:
        """The message is not complete and never will be, which the other side must notice."""
        raise NotImplementedError

    def _settle(self) -> None:
        """Part of a message has come to its end: ours, theirs or both."""
        if self._closing and not self.sending:
            if self.number:  # the rest of a request whose response is complete (RFC 9113 §8.1)
                self.session.reset(self, NO_ERROR)
                self.owner.flush_soon()
            self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._queue.clear()
        self._queued = 0
        self._held.clear()
        self.owner.drop_stream(self)
        self.owner.soon(self._report_loss, error)
        self.owner.one_less()

    def _report_loss(self, error: Exception | None) -> None:
        self.protocol.connection_lost(error)

    def connection_lost(self, error: Exception | None) -> None:
        """The connection that carries it is gone, or its stream was reset. What has arrived is handed on first."""
        if self._held and not self._closing:
            self._error = error or ConnectionResetError("the connection was closed")
        else:
            self._lose(error or ConnectionResetError("the connection was closed"))

    # What is asked of a Stream.

    def on_head(self, fields: list[Field], *, ended: bool) -> None:
        """A head."""
        raise NotImplementedError

    def _hand_on(self, data: bytes, taken: int = 0) -> None:
        """Text for the protocol. Or content, as it came: of a body that has no length it gets its chunk only when it is handed
        on. `taken` is how many bytes of it count in the stream's window: all of them or none."""
        if self._lost:
            return
        held = self._held
        if self._paused or held:
            if taken and held and 0 < held[-1][1] < _JOINED:
                before, more = held.pop()
                data = before + data
                taken += more
            held.append((data, taken))
            return
        self._hand_over(data, taken)

    def _hand_over(self, data: bytes, taken: int) -> None:
        number = self.number
        self.protocol.data_received(chunk(data) if taken and self._expected == CHUNKED else data)
        if taken and not self._lost and self.number == number:  # and not of the next message
            self.session.taken(self, taken)

    def _hand_on_held(self) -> None:
        while self._held and not self._paused and not self._lost:
            data, taken = self._held.popleft()
            self._hand_over(data, taken)
            if taken:
                self.owner.flush_soon()
        if not self._held and self._error is not None and not self._lost:
            self._lose(self._error)

    def on_data(self, data: bytes, *, ended: bool) -> None:
        """Part of a body, framed as the head has said."""
        size = len(data)
        chunked = self._expected == CHUNKED
        if not chunked:
            self._expected -= size
            if self._expected < 0 or (ended and self._expected > 0):
                self._malformed()
                return
        if not ended:
            self._hand_on(data, size)
            return
        if chunked:
            data = chunk(data) + LAST_CHUNK if data else LAST_CHUNK
        if data:
            self._hand_on(data)  # nothing follows that would need its window
        self._ended()

    def on_trailers(self, fields: list[Field]) -> None:
        """The end of a body."""
        try:
            trailers = trailers_to_http1(fields)
        except MalformedError:
            self._malformed()
            return
        if self._expected == CHUNKED:
            self._hand_on(b"0\r\n" + trailers)
        elif self._expected > 0:
            self._malformed()
            return
        self._ended()

    def _ended(self) -> None:
        """Their half is complete."""
        self._settle()

    def _malformed(self) -> None:
        """RFC 9113 §8.1.1: the stream is reset, and no other."""
        self.session.reset(self, PROTOCOL_ERROR)
        self._lose(ConnectionResetError("a malformed message"))

    def on_reset(self, code: int) -> None:
        """It is over, in the middle."""
        if not self._closing:
            self.connection_lost(ConnectionResetError(f"the stream was reset: {code}"))
        else:
            self._lose(None)

    def on_window(self) -> None:
        """The other side takes more."""
        if self._queue:
            self.pump()


class ClientStream(StreamTransport):
    """For requests: a client's streams, one after the other."""

    def on_head(self, fields: list[Field], *, ended: bool) -> None:
        """A request."""
        try:
            head, self._expected = request_to_http1(fields, ended=ended)
        except MalformedError as error:
            note_malformed(
                self.protocol, CLIENT, str(error), fields, lambda count: request_to_http1(fields[:count], ended=ended)
            )
            self._malformed()
            return
        self.method = head[: head.find(b" ")]
        self._in_body = False
        self._complete = False  # the response
        self._grpc = False
        self._hand_on(head)
        exchange = self.protocol.exchange
        if exchange is not None:
            exchange.version = 2  # for the record; what it reads is a head of HTTP/1.1

    def connection_lost(self, error: Exception | None) -> None:
        """Of a client that has left nothing is wanted any more."""
        self._lose(error or ConnectionResetError("the connection was closed"))

    def _send_head(self, head: bytes) -> None:
        status, fields, body = response_to_http2(head, self.method)
        if status < 200:
            self.session.send_head(self, fields, end=False)
            self.owner.flush_soon()
            return
        self._grpc = any(name == b"content-type" and is_grpc(value) for name, value in fields)
        self._begin_body(body)
        self.session.send_head(self, fields, end=self._complete)
        self.owner.flush_soon()
        if self._complete:
            self._settle()

    def _settle(self) -> None:
        super()._settle()
        if not self.number and not self._lost:
            self.owner.free(self)

    def _cut_off(self) -> None:
        if self._grpc and self.sending:
            self._end_message(list(_CUT))
            self.pump()
            return
        self.session.reset(self, INTERNAL_ERROR)
        self.owner.flush_soon()
        self._lose(None)


class BackendStream(StreamTransport):
    """For responses: streams that we begin, one after the other."""

    def __init__(self, owner: "Http2Connection", protocol: "BackendConnection") -> None:
        super().__init__(owner, protocol)
        self.waiting: tuple[list[Field], bool] | None = None  # a head that waits until one more stream may be open

    def _send_head(self, head: bytes) -> None:
        if self.number:  # of the message before, whose end has not come yet, and is not needed
            self.session.reset(self, CANCEL)
        if self.session.left:
            self._lose(ConnectionResetError("the backend takes no more streams"))
            return
        self.method, fields, body = request_to_http2(head, self.owner.scheme)
        self._held.clear()
        self._begin_body(body)
        self.waiting = fields, self._complete
        self.owner.begin(self)

    def begin(self) -> None:
        """There is room for one more stream."""
        if self.waiting is None:
            return
        (fields, complete), self.waiting = self.waiting, None
        self.session.open(self)
        self.session.send_head(self, fields, end=complete)
        self.owner.flush_soon()
        self.pump()

    def on_head(self, fields: list[Field], *, ended: bool) -> None:
        """A response, or an interim one."""
        try:
            status, head, expected = response_to_http1(fields, self.method, ended=ended)
        except MalformedError as error:
            method = self.method
            note_malformed(
                self.protocol,
                BACKEND,
                str(error),
                fields,
                lambda count: response_to_http1(fields[:count], method, ended=ended),
            )
            self._malformed()
            return
        if status >= 200:
            self._expected = expected
        self._hand_on(head)
        if ended:
            self._ended()

    def _ended(self) -> None:
        super()._ended()
        self.owner.begin_waiting()
        self._leave()

    def _hand_on_held(self) -> None:
        super()._hand_on_held()
        self._leave()

    def _leave(self) -> None:
        """After its message, where the backend has said GOAWAY: no other may follow on it."""
        if self.session.left and not self.number and not self._held and not self._lost:
            self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        self.waiting = None
        if self.protocol.exchange is None:  # kept, but no exchange may take it any more, not even in this turn
            self.protocol.retire()
        super()._lose(error)

    def _cut_off(self) -> None:
        self.session.reset(self, CANCEL)
        self.owner.flush_soon()
        self._lose(None)
