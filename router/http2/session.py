"""One connection of HTTP/2 (RFC 9113): frames to calls of its streams, and what we say to frames.

A `Session` is fed with bytes and keeps what is to be sent; it knows no socket and no clock. Frames are taken apart a few at
a time (`step`), so that the loop decides how much work one turn has.

Whose fault what is:

    a frame that breaks the rules of the connection     ConnectionFault: GOAWAY, and the end of all its streams
    a message or a window that breaks its own stream    RST_STREAM; the others, which may be other visitors', go on
    more frames about nothing than about something      ConnectionFault, ENHANCE_YOUR_CALM (`_cost`)

Windows: the connection's is large and refilled at once; a stream's is what it may hold in memory, and is refilled as its
bytes are taken (`Stream.taken`). So one stream that is not read holds up no other.
"""

from typing import Final, Protocol

from router.http2.compression import CompressionError, FieldReader, FieldWriter

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Types of frames and flags (RFC 9113 §6).
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9
END_STREAM: Final = 1
ACK: Final = 1
END_HEADERS: Final = 4
PADDED: Final = 8
HAS_PRIORITY: Final = 32

# Error codes (§7).
NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11

# Settings (§6.5.2).
_HEADER_TABLE_SIZE: Final = 1
_ENABLE_PUSH: Final = 2
_MAX_STREAMS: Final = 3
_INITIAL_WINDOW: Final = 4
_MAX_FRAME: Final = 5
_MAX_HEADER_LIST: Final = 6

WINDOW: Final = 128 * 1024  # bytes that a stream may send us ahead of what is taken
_CONNECTION_WINDOW: Final = 16 * 1024 * 1024
_MAX_WINDOW: Final = (1 << 31) - 1
_FIRST_WINDOW: Final = 65_535
_SMALLEST_FRAME: Final = 16_384
_FRAME: Final = 64 * 1024  # of what we receive: a frame is kept until it is whole
_LARGEST_FRAME: Final = 256 * 1024  # of what we send, whatever the other side allows
STREAMS: Final = 128  # that a client may have open at once
_MAX_SETTINGS: Final = 64 * 6  # bytes
_LAST_ID: Final = 1 << 30  # a connection that has come so far takes no more streams
_LARGE: Final = 4096  # bytes of a frame that are as much work as one more
_STREAMS: Final = 16  # streams for which SETTINGS are as much work as one more frame

# A frame about nothing costs one; what carries something pays for two. Pings, settings and resets come with real traffic too,
# so what a connection may owe is ample. The time that they take is bounded elsewhere: by what one turn of the loop takes.
_MAX_DEBT: Final = 4000
_REMEMBERED: Final = 256  # streams that we have reset: what is on its way for them is passed over


class ConnectionFault(Exception):  # noqa: N818 - the fault of a connection
    """The connection cannot go on: GOAWAY with `code`, and `str()` for the log."""

    def __init__(self, code: int, why: str) -> None:
        self.code = code
        super().__init__(why)


class Stream(Protocol):
    """One stream, as its owner continues it: what the session keeps of it, and what it is told. `number` 0 is none."""

    number: int
    send_window: int
    receive_window: int
    owed: int  # bytes taken that their window has not been told of
    sending: bool  # our half is open
    receiving: bool  # theirs is
    begun: bool  # their head has come

    def on_head(self, fields: list[tuple[bytes, bytes]], *, ended: bool) -> None:
        """A head: of a request, or of a response."""

    def on_data(self, data: bytes, *, ended: bool) -> None:
        """Part of the body; its window is refilled by `Session.taken`."""

    def on_trailers(self, fields: list[tuple[bytes, bytes]]) -> None:
        """The end of the message."""

    def on_reset(self, code: int) -> None:
        """The stream is over, in the middle. It is no longer the session's."""

    def on_window(self) -> None:
        """More may be sent than before."""


class Owner(Protocol):
    """Whose session it is."""

    def on_new_stream(self) -> Stream | None:
        """A client has begun a stream; None refuses it."""

    def on_settings(self) -> None:
        """The other side has said how much it takes."""

    def on_window(self) -> None:
        """The connection's window has grown, and perhaps no stream's."""

    def on_goaway(self, last: int) -> None:
        """The other side takes no stream beyond `last`."""


class Session:
    """See the module. `out` is what is to be sent."""

    def __init__(self, owner: Owner, *, client: bool, max_headers: int, trusted: bool = False) -> None:
        """`client`: we begin the streams. `max_headers` bounds a header section, in bytes. `trusted`: the other side speaks
        for many visitors, so that resets are not held against it."""
        self.owner = owner
        self.client = client
        self.out: list[bytes] = []
        self.streams: dict[int, Stream] = {}
        self.peer_streams = 100  # until it says something else
        self.settled = False  # its settings have come
        self.send_window = _FIRST_WINDOW
        self.max_frame = _SMALLEST_FRAME
        self.last = 0  # the highest stream of theirs
        self.left = False  # we have said GOAWAY
        self._next = 1
        self._buffer = b""
        self._at = 0
        self._preface = not client
        self._receive_window = _CONNECTION_WINDOW
        self._initial_window = _FIRST_WINDOW
        self._max_headers = max_headers
        self._trusted = trusted
        self._debt = 0
        self._block: list[bytes] = []
        self._block_size = 0
        self._block_of = 0
        self._block_ends = False
        self._reset: dict[int, None] = {}
        self._writer = FieldWriter()
        self._reader = FieldReader(max_headers)
        settings = [(_INITIAL_WINDOW, WINDOW), (_MAX_FRAME, _FRAME), (_MAX_HEADER_LIST, max_headers)]
        settings.append((_ENABLE_PUSH, 0) if client else (_MAX_STREAMS, STREAMS))
        payload = b"".join([key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in settings])
        if client:
            self.out.append(PREFACE)
        self._send(SETTINGS, 0, 0, payload)
        self._send(WINDOW_UPDATE, 0, 0, (_CONNECTION_WINDOW - _FIRST_WINDOW).to_bytes(4, "big"))

    # What is sent.

    def _send(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self.out.append(
            bytes((size >> 16, (size >> 8) & 255, size & 255, kind, flags)) + number.to_bytes(4, "big") + payload
        )

    def open(self, stream: Stream) -> None:
        """Begin `stream`, as a client. There must be `room`."""
        self._take(stream, self._next)
        self._next += 2

    @property
    def room(self) -> bool:
        """Whether one more stream may be begun now."""
        return len(self.streams) < self.peer_streams

    @property
    def used_up(self) -> bool:
        """Whether the numbers of streams come to an end."""
        return self._next >= _LAST_ID or self.last >= _LAST_ID

    def _take(self, stream: Stream, number: int) -> None:
        stream.number = number
        stream.send_window = self._initial_window
        stream.receive_window = WINDOW
        stream.sending = stream.receiving = True
        stream.begun = False
        stream.owed = 0
        self.streams[number] = stream

    def send_head(self, stream: Stream, fields: list[tuple[bytes, bytes]], *, end: bool) -> None:
        """A header section: a head, or trailers with `end`."""
        if not stream.sending:
            return
        block = self._writer.write(fields)
        flags = END_STREAM if end else 0
        most = self.max_frame
        if len(block) <= most:
            self._send(HEADERS, flags | END_HEADERS, stream.number, block)
        else:
            self._send(HEADERS, flags, stream.number, block[:most])
            at = most
            while at < len(block):
                last = at + most >= len(block)
                self._send(CONTINUATION, END_HEADERS if last else 0, stream.number, block[at : at + most])
                at += most
        if end:
            self._sent_all(stream)

    def may_send(self, stream: Stream) -> int:
        """How many bytes of its body may be sent now, in one frame."""
        return max(0, min(stream.send_window, self.send_window, self.max_frame))

    def send_data(self, stream: Stream, data: bytes, *, end: bool) -> None:
        """At most `may_send` bytes of a body."""
        if not stream.sending:
            return
        size = len(data)
        stream.send_window -= size
        self.send_window -= size
        self._send(DATA, END_STREAM if end else 0, stream.number, data)
        if self._debt > 0:
            self._debt -= 2
        if end:
            self._sent_all(stream)

    def _sent_all(self, stream: Stream) -> None:
        stream.sending = False
        if not stream.receiving:
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        self.streams.pop(stream.number, None)
        stream.number = 0
        stream.sending = stream.receiving = False

    def reset(self, stream: Stream, code: int) -> None:
        """End a stream in its middle. Its owner hears nothing of it."""
        if stream.number:
            self._send_reset(stream.number, code)
            self._forget(stream)

    def _send_reset(self, number: int, code: int) -> None:
        self._send(RST_STREAM, 0, number, code.to_bytes(4, "big"))
        if len(self._reset) >= _REMEMBERED:
            del self._reset[next(iter(self._reset))]
        self._reset[number] = None

    def taken(self, stream: Stream, size: int) -> None:
        """So many bytes of its body are no longer held: let as many come."""
        if not stream.receiving:
            return
        stream.owed += size
        if stream.owed >= WINDOW // 2:
            self._send(WINDOW_UPDATE, 0, stream.number, stream.owed.to_bytes(4, "big"))
            stream.receive_window += stream.owed
            stream.owed = 0

    def leave(self, code: int = NO_ERROR) -> None:
        """Take no more streams of theirs: those that are open go on."""
        if not self.left or code != NO_ERROR:
            self.left = True
            self._send(GOAWAY, 0, 0, self.last.to_bytes(4, "big") + code.to_bytes(4, "big"))

    # What is received.

    def receive(self, data: bytes) -> None:
        """More bytes, for `step`."""
        self._buffer = self._buffer[self._at :] + data if self._at < len(self._buffer) else data
        self._at = 0

    @property
    def held(self) -> int:
        """Bytes that no step has taken yet."""
        return len(self._buffer) - self._at

    def forgive(self, debt: int) -> None:
        """Some time has passed."""
        self._debt = max(0, self._debt - debt)

    def step(self, frames: int) -> bool:
        """Take apart so many frames at most, large ones and settings of many streams counted several times; whether there
        may be more. Raises ConnectionFault."""
        if self._preface:
            start = self._buffer[self._at : self._at + len(PREFACE)]
            if not PREFACE.startswith(start):
                raise ConnectionFault(PROTOCOL_ERROR, "no preface")
            if len(start) < len(PREFACE):
                return False
            self._preface = False
            self._at += len(PREFACE)
        while frames > 0:
            buffer, at = self._buffer, self._at
            if len(buffer) - at < 9:
                return False
            size = (buffer[at] << 16) | (buffer[at + 1] << 8) | buffer[at + 2]
            kind, flags = buffer[at + 3], buffer[at + 4]
            if not self.settled and kind != SETTINGS:
                raise ConnectionFault(PROTOCOL_ERROR, "the first frame is not SETTINGS")
            if size > _FRAME:
                raise ConnectionFault(FRAME_SIZE_ERROR, "frame too large")
            end = at + 9 + size
            if len(buffer) < end:
                return False
            number = int.from_bytes(buffer[at + 5 : at + 9], "big") & _MAX_WINDOW
            self._at = end
            frames -= 1 + size // _LARGE
            if kind == SETTINGS:
                frames -= len(self.streams) // _STREAMS
            self._frame(kind, flags, number, buffer[at + 9 : end])
        return True

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block_of and (kind != CONTINUATION or number != self._block_of):
            raise ConnectionFault(PROTOCOL_ERROR, "a header section is interrupted")
        if kind == DATA:
            self._on_data(flags, number, payload)
        elif kind == HEADERS:
            self._on_headers(flags, number, payload)
        elif kind == WINDOW_UPDATE:
            self._cost(1)
            self._on_window_update(number, payload)
        elif kind == SETTINGS:
            self._cost(1)
            self._on_settings(flags, number, payload)
        elif kind == PING:
            self._cost(1)
            if number or len(payload) != 8:
                raise ConnectionFault(FRAME_SIZE_ERROR if not number else PROTOCOL_ERROR, "PING")
            if not flags & ACK:
                self._send(PING, ACK, 0, payload)
        elif kind == RST_STREAM:
            self._on_reset(number, payload)
        elif kind == CONTINUATION:
            self._cost(1)
            if not self._block_of:
                raise ConnectionFault(PROTOCOL_ERROR, "CONTINUATION of nothing")
            self._add_to_block(payload, whole=bool(flags & END_HEADERS))
        elif kind == GOAWAY:
            self._cost(1)
            if number or len(payload) < 8:
                raise ConnectionFault(FRAME_SIZE_ERROR if not number else PROTOCOL_ERROR, "GOAWAY")
            self.owner.on_goaway(int.from_bytes(payload[:4], "big") & _MAX_WINDOW)
        elif kind == PRIORITY:
            self._cost(1)
            if not number:
                raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY of the connection")
            if len(payload) != 5:
                self._fault_of_stream(number, FRAME_SIZE_ERROR)
        elif kind == PUSH_PROMISE:
            raise ConnectionFault(PROTOCOL_ERROR, "PUSH_PROMISE")
        else:
            self._cost(1)  # an extension, which we pass over (§4.1)

    def _cost(self, cost: int) -> None:
        self._debt += cost
        if self._debt > _MAX_DEBT:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "more frames about nothing than about something")

    def _fault_of_stream(self, number: int, code: int) -> None:
        """RST_STREAM, whether it is open or not; its owner is told."""
        if self._idle(number):
            raise ConnectionFault(PROTOCOL_ERROR, "a frame of an idle stream")
        stream = self.streams.get(number)
        self._send_reset(number, code)
        if stream is not None:
            self._forget(stream)
            stream.on_reset(code)

    def _idle(self, number: int) -> bool:
        ours = bool(number & 1) == self.client
        return number >= self._next if ours else number > self.last

    def _closed(self, number: int, what: str) -> None:
        """A frame of a stream that is over."""
        if self._idle(number):
            raise ConnectionFault(PROTOCOL_ERROR, f"{what} of an idle stream")
        self._cost(2)
        if number not in self._reset:
            self._send_reset(number, STREAM_CLOSED)

    @staticmethod
    def _unpadded(flags: int, payload: bytes) -> bytes:
        if not flags & PADDED:
            return payload
        if not payload or payload[0] >= len(payload):
            raise ConnectionFault(PROTOCOL_ERROR, "padding")
        return payload[1 : len(payload) - payload[0]]

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFault(PROTOCOL_ERROR, "DATA of the connection")
        size = len(payload)
        self._receive_window -= size
        if self._receive_window < 0:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "more than the connection's window")
        if self._receive_window < _CONNECTION_WINDOW // 2:
            self._send(WINDOW_UPDATE, 0, 0, (_CONNECTION_WINDOW - self._receive_window).to_bytes(4, "big"))
            self._receive_window = _CONNECTION_WINDOW
        data = self._unpadded(flags, payload)
        stream = self.streams.get(number)
        if stream is None or not stream.receiving:
            self._closed(number, "DATA")
            if stream is not None:
                self._forget(stream)
                stream.on_reset(STREAM_CLOSED)
            return
        if not stream.begun:
            self._fault_of_stream(number, PROTOCOL_ERROR)
            return
        stream.receive_window -= size
        if stream.receive_window < 0:
            self._fault_of_stream(number, FLOW_CONTROL_ERROR)
            return
        ended = bool(flags & END_STREAM)
        if data:
            if self._debt > 0:
                self._debt -= 2
        elif not ended:
            self._cost(1)
        if size > len(data):
            self.taken(stream, size - len(data))
        if ended:
            self._received_all(stream)
        if data or ended:
            stream.on_data(data, ended=ended)

    def _received_all(self, stream: Stream) -> None:
        stream.receiving = False
        if not stream.sending:
            self._forget(stream)

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFault(PROTOCOL_ERROR, "HEADERS of the connection")
        payload = self._unpadded(flags, payload)
        if flags & HAS_PRIORITY:
            if len(payload) < 5:
                raise ConnectionFault(FRAME_SIZE_ERROR, "HEADERS")
            payload = payload[5:]
        self._block_of = number
        self._block_ends = bool(flags & END_STREAM)
        self._add_to_block(payload, whole=bool(flags & END_HEADERS))

    def _add_to_block(self, payload: bytes, *, whole: bool) -> None:
        self._block.append(payload)
        self._block_size += len(payload)
        if self._block_size > self._max_headers:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "header section too large")
        if not whole:
            return
        block = b"".join(self._block)
        number, ended = self._block_of, self._block_ends
        self._block = []
        self._block_size = self._block_of = 0
        try:
            # Also of a stream that nobody wants: the reader's table belongs to the connection.
            fields = self._reader.read(block)
        except CompressionError as error:
            raise ConnectionFault(COMPRESSION_ERROR, f"header compression: {error}") from None
        self._on_section(number, fields, ended=ended)

    def _on_section(self, number: int, fields: list[tuple[bytes, bytes]], *, ended: bool) -> None:
        stream = self.streams.get(number)
        if stream is None:
            stream = self._begun_by_client(number)
            if stream is None:
                return
        elif not stream.receiving:
            self._fault_of_stream(number, STREAM_CLOSED)
            return
        if stream.begun:
            if not ended:
                self._fault_of_stream(number, PROTOCOL_ERROR)
                return
            self._received_all(stream)
            stream.on_trailers(fields)
            return
        # An interim response is followed by another head.
        interim = self.client and any(name == b":status" and value[:1] == b"1" for name, value in fields[:1])
        stream.begun = not interim
        if interim:
            self._cost(1)
        if ended:
            self._received_all(stream)
        stream.on_head(fields, ended=ended)

    def _begun_by_client(self, number: int) -> Stream | None:
        """The stream that a HEADERS frame begins; None where it is refused or over."""
        if self.client or number <= self.last:
            self._closed(number, "HEADERS")
            return None
        if not number & 1:
            raise ConnectionFault(PROTOCOL_ERROR, "an even stream of a client")
        self.last = number
        # Those beyond our GOAWAY or beyond what we take at once have not been acted on: the client may try again.
        stream = None if self.left or len(self.streams) >= STREAMS else self.owner.on_new_stream()
        if stream is None:
            self._cost(1)
            self._send_reset(number, REFUSED_STREAM)
            return None
        self._take(stream, number)
        return stream

    def _on_window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "WINDOW_UPDATE")
        more = int.from_bytes(payload, "big") & _MAX_WINDOW
        if not number:
            if more == 0 or self.send_window + more > _MAX_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR if more else PROTOCOL_ERROR, "the connection's window")
            self.send_window += more
            self.owner.on_window()
            return
        stream = self.streams.get(number)
        if stream is None:
            if self._idle(number):
                raise ConnectionFault(PROTOCOL_ERROR, "WINDOW_UPDATE of an idle stream")
        elif more == 0:
            self._fault_of_stream(number, PROTOCOL_ERROR)
        elif stream.send_window + more > _MAX_WINDOW:
            self._fault_of_stream(number, FLOW_CONTROL_ERROR)
        else:
            stream.send_window += more
            stream.on_window()

    def _on_reset(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "RST_STREAM")
        if not number or self._idle(number):
            raise ConnectionFault(PROTOCOL_ERROR, "RST_STREAM of an idle stream")
        if not self._trusted:
            self._cost(5)
        stream = self.streams.get(number)
        if stream is not None:
            self._forget(stream)
            stream.on_reset(int.from_bytes(payload, "big"))

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS of a stream")
        if flags & ACK:
            if payload or not self.settled:
                raise ConnectionFault(FRAME_SIZE_ERROR if payload else PROTOCOL_ERROR, "SETTINGS")
            return
        if len(payload) % 6:
            raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS")
        if len(payload) > _MAX_SETTINGS:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "more settings than there are")
        window = self._initial_window
        for at in range(0, len(payload), 6):
            key, value = int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big")
            if key == _INITIAL_WINDOW:
                window = value
            self._set(key, value)
        if window != self._initial_window:
            self._change_windows(window)
        self._send(SETTINGS, ACK, 0, b"")
        self.settled = True
        self.owner.on_settings()

    def _set(self, key: int, value: int) -> None:
        if key == _INITIAL_WINDOW:
            if value > _MAX_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "initial window")
        elif key == _MAX_FRAME:
            if not _SMALLEST_FRAME <= value <= 0xFFFFFF:
                raise ConnectionFault(PROTOCOL_ERROR, "frame size")
            self.max_frame = min(value, _LARGEST_FRAME)
        elif key == _MAX_STREAMS:
            self.peer_streams = value
        elif key == _ENABLE_PUSH:
            if value > 1 or (self.client and value):
                raise ConnectionFault(PROTOCOL_ERROR, "push")
        elif key == _HEADER_TABLE_SIZE:
            self._writer.limit(value)

    def _change_windows(self, initial: int) -> None:
        """Of all streams, by as much as new ones get more (§6.9.2). Once for each SETTINGS, however often it says so."""
        change = initial - self._initial_window
        self._initial_window = initial
        for stream in self.streams.values():
            stream.send_window += change
            if stream.send_window > _MAX_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "initial window")
