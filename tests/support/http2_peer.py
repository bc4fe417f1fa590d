"""The other end of a connection of HTTP/2, by the library h2, which shares no code with ours. Nothing is read unless asked."""

import asyncio
from dataclasses import dataclass, field
from typing import Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

from tests.support.wire import DEADLINE, End, Ended

Fields = list[tuple[bytes, bytes]]


@dataclass
class Message:
    """What has come on one stream. `ended`: its last byte has come too."""

    fields: Fields = field(default_factory=list)
    interim: list[Fields] = field(default_factory=list)
    body: bytes = b""
    unread: int = 0  # bytes whose window has not been given back
    trailers: Fields | None = None
    ended: bool = False
    reset: int | None = None

    def get(self, name: bytes) -> bytes | None:
        """The value of the first field of that name, of the head or the trailers."""
        return next((value for key, value in (*self.fields, *(self.trailers or ())) if key == name), None)

    @property
    def status(self) -> int:
        return int(self.get(b":status") or 0)


class Http2Peer:
    """One end. `reads`: windows are given back as bytes come."""

    def __init__(self, end: End, *, client: bool, reads: bool = True, **settings: int) -> None:
        self.end = end
        self.reads = reads
        config = h2.config.H2Configuration(
            client_side=client,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.connection = h2.connection.H2Connection(config)
        names = {name.lower(): code for name, code in h2.settings.SettingCodes.__members__.items()}
        values = {names[name]: value for name, value in settings.items()}
        self.connection.local_settings = h2.settings.Settings(client=client, initial_values=values)
        self.messages: dict[int, Message] = {}
        self.new: list[int] = []  # streams that the other side has begun
        self.goaway: tuple[int, int] | None = None  # the last stream, and the code
        self._raw = b""
        self._greeted = False
        self.pings = 0

    async def start(self) -> Self:
        """Say the preface and the settings."""
        self.connection.initiate_connection()
        await self.flush()
        return self

    async def flush(self) -> None:
        """Send what there is to say."""
        data = self.connection.data_to_send()
        if data:
            await self.end.send(data)

    async def request(self, *fields: tuple[bytes, bytes], body: bytes | None = b"", **pseudo: bytes) -> int:
        """Begin a request, and end it unless `body` is None; its stream."""
        stream = self.connection.get_next_available_stream_id()
        named = {b"method": b"POST", b"scheme": b"http", b"authority": b"shop.miosa.app", b"path": b"/"}
        named |= {name.encode(): value for name, value in pseudo.items()}
        head = [(b":" + name, value) for name, value in named.items()]
        self.connection.send_headers(stream, [*head, *fields], end_stream=body == b"")
        self.messages[stream] = Message()
        if body:
            self.connection.send_data(stream, body, end_stream=True)
        await self.flush()
        return stream

    async def respond(
        self, stream: int, *fields: tuple[bytes, bytes], body: bytes = b"", trailers: Fields | None = None
    ) -> None:
        """A whole response; `fields` begin with the status."""
        self.connection.send_headers(stream, list(fields), end_stream=not body and trailers is None)
        if body:
            self.connection.send_data(stream, body, end_stream=trailers is None)
        if trailers is not None:
            self.connection.send_headers(stream, trailers, end_stream=True)
        await self.flush()

    async def send(self, stream: int, data: bytes = b"", *, end: bool = False) -> None:
        """Part of a body, as the windows let it."""
        async with asyncio.timeout(DEADLINE):
            while True:
                room = min(self.connection.local_flow_control_window(stream), self.connection.max_outbound_frame_size)
                piece, data = data[:room], data[room:]
                if piece or not data:
                    self.connection.send_data(stream, piece, end_stream=end and not data)
                    await self.flush()
                if not data:
                    return
                if room == 0:
                    await self.read()

    async def reset(self, stream: int, code: int = 8) -> None:
        self.connection.reset_stream(stream, code)
        await self.flush()

    async def read(self) -> None:
        """Take what comes next. Raises Ended."""
        self._raw += await self.end.read_some()
        for event in self.connection.receive_data(self._frames()):
            self._note(event)
        await self.flush()

    def _frames(self) -> bytes:
        """The whole frames that have come. Without GOAWAY, after which h2 takes nothing more, though streams go on."""
        frames = b""
        if not self.connection.config.client_side and not self._greeted:
            if len(self._raw) < 24:
                return b""
            frames, self._raw, self._greeted = self._raw[:24], self._raw[24:], True
        while len(self._raw) >= 9 and len(self._raw) >= (size := 9 + int.from_bytes(self._raw[:3], "big")):
            frame, self._raw = self._raw[:size], self._raw[size:]
            if frame[3] == 7:
                self.goaway = int.from_bytes(frame[9:13], "big"), int.from_bytes(frame[13:17], "big")
            else:
                frames += frame
        return frames

    def _note(self, event: h2.events.Event) -> None:
        number = getattr(event, "stream_id", None) or 0
        message = self.messages.setdefault(number, Message())
        match event:
            case h2.events.RequestReceived():
                message.fields = list(event.headers)
                self.new.append(number)
            case h2.events.ResponseReceived():
                message.fields = list(event.headers)
            case h2.events.InformationalResponseReceived():
                message.interim.append(list(event.headers))
            case h2.events.DataReceived():
                message.body += event.data
                size = event.flow_controlled_length
                if self.reads and size:
                    self.connection.acknowledge_received_data(size, number)
                else:
                    message.unread += size
            case h2.events.TrailersReceived():
                message.trailers = list(event.headers)
            case h2.events.StreamEnded():
                message.ended = True
            case h2.events.StreamReset():
                message.reset = int(event.error_code)
            case h2.events.PingAckReceived():
                self.pings += 1

    async def until_new(self) -> int:
        """The next stream that the other side begins."""
        async with asyncio.timeout(DEADLINE):
            while not self.new:
                await self.read()
        return self.new.pop(0)

    async def whole(self, stream: int) -> Message:
        """What came on a stream, once it is complete or was reset."""
        message = self.messages.setdefault(stream, Message())
        async with asyncio.timeout(DEADLINE):
            while not message.ended and message.reset is None:
                await self.read()
        return message

    async def until_closed(self) -> None:
        """Read to the end of the connection."""
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    await self.read()
        except (Ended, h2.exceptions.ProtocolError):
            return
