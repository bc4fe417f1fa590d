"""An HTTP/2 client for one connection over TLS, down to extended CONNECT (RFC 8441), which httpx does not speak."""

import asyncio
import ssl
from types import TracebackType
from typing import Self

import h2.config
import h2.connection
import h2.events
import h2.settings

WINDOW = 8 * 1024 * 1024


class Stream:
    """One exchange. `status` and `headers` are there after `answered()`."""

    def __init__(self, connection: "Http2", number: int) -> None:
        self.number = number
        self.headers: list[tuple[str, str]] = []
        self._connection = connection
        self._answered = asyncio.Event()
        self._data: asyncio.Queue[bytes | Exception] = asyncio.Queue()

    @property
    def status(self) -> int:
        return int(self.values(":status")[0])

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    async def answered(self) -> Self:
        await self._answered.wait()
        if not self.headers:
            await self.read()  # raises what ended it
        return self

    async def read(self) -> bytes:
        """The next piece of the body; empty at its end."""
        piece = await self._data.get()
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def read_all(self) -> bytes:
        pieces = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)

    async def send(self, data: bytes, *, end: bool = False) -> None:
        await self._connection.send(self, data, end=end)

    def receive(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.headers = [(name.decode(), value.decode()) for name, value in event.headers or ()]
            self._answered.set()
        elif isinstance(event, h2.events.DataReceived):
            self._data.put_nowait(bytes(event.data or b""))
        elif isinstance(event, h2.events.StreamEnded):
            self._data.put_nowait(b"")
        elif isinstance(event, h2.events.StreamReset):
            self.fail(ConnectionError(f"stream reset: {event.error_code!r}"))

    def fail(self, error: Exception) -> None:
        self._data.put_nowait(error)
        self._answered.set()


class Http2:
    """One connection to `port` of loopback that asked for `name` by SNI."""

    def __init__(self, port: int, name: str, context: ssl.SSLContext) -> None:
        self._port = port
        self._name = name
        self.authority = name  # of its requests
        self._context = context
        self._streams: dict[int, Stream] = {}
        self._window = asyncio.Condition()
        self._settled = asyncio.Event()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, server_hostname=self._name
        )
        chosen = self._writer.get_extra_info("ssl_object").selected_alpn_protocol()
        assert chosen == "h2", f"the server chose {chosen}"
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
        self.h2.increment_flow_control_window(WINDOW)
        self._flush()
        self._task = asyncio.create_task(self._read(), name="http2 client")
        await asyncio.wait_for(self._settled.wait(), 10)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.transport.abort()

    @property
    def connects(self) -> bool:
        """Whether the server takes extended CONNECT."""
        return self.h2.remote_settings.enable_connect_protocol == 1

    def request(
        self, method: str, path: str, headers: tuple[tuple[str, str], ...] = (), *, body: bool = False
    ) -> Stream:
        """Begin an exchange; with `body`, `Stream.send` follows. Extended CONNECT: method `CONNECT`, `:protocol` first."""
        stream = Stream(self, self.h2.get_next_available_stream_id())
        self._streams[stream.number] = stream
        pseudo = [(":method", method), (":scheme", "https"), (":authority", self.authority), (":path", path)]
        special = [(name, value) for name, value in headers if name.startswith(":")]
        plain = [(name, value) for name, value in headers if not name.startswith(":")]
        self.h2.send_headers(stream.number, [*pseudo, *special, *plain], end_stream=not body)
        self._flush()
        return stream

    async def send(self, stream: Stream, data: bytes, *, end: bool) -> None:
        view = memoryview(data)
        while view:
            room = min(self.h2.local_flow_control_window(stream.number), self.h2.max_outbound_frame_size)
            if room == 0:
                async with self._window:
                    await asyncio.wait_for(self._window.wait(), 60)
                continue
            self.h2.send_data(stream.number, bytes(view[:room]))
            view = view[room:]
            self._flush()
            await self._writer.drain()
        if end:
            self.h2.end_stream(stream.number)
            self._flush()

    def _flush(self) -> None:
        self._writer.write(self.h2.data_to_send())

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(1 << 18):
                for event in self.h2.receive_data(data):
                    self._receive(event)
                self._flush()
                async with self._window:
                    self._window.notify_all()
            error: Exception = ConnectionError("the server closed the connection")
        except OSError as broken:
            error = broken
        for stream in self._streams.values():
            stream.fail(error)

    def _receive(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self._settled.set()
        if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
        stream = self._streams.get(getattr(event, "stream_id", None) or 0)
        if stream is not None:
            stream.receive(event)
