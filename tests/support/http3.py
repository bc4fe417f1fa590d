"""An HTTP/3 client: one connection for each request, resumed where it can be."""

import asyncio
from pathlib import Path

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent
from aioquic.tls import SessionTicket

_DEADLINE = 20.0


class Answer:
    """What came back; `resumed` is whether the connection began with a ticket of an earlier one."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.resumed = False

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)

    @property
    def status(self) -> int:
        return int(self.header(b":status") or b"0")


class _Exchange(QuicConnectionProtocol):
    def __init__(self, *args: object, **fields: object) -> None:
        super().__init__(*args, **fields)
        self.http: H3Connection | None = None
        self.answer = Answer()
        self.over = asyncio.Event()

    def ask(self, method: bytes, host: str, path: bytes, headers: tuple[tuple[bytes, bytes], ...], body: bytes) -> None:
        self.http = H3Connection(self._quic)
        stream = self._quic.get_next_available_stream_id()
        names = (b":method", b":scheme", b":authority", b":path")
        head = zip(names, (method, b"https", host.encode(), path), strict=True)
        self.http.send_headers(stream, [*head, *headers], end_stream=not body)
        if body:
            self.http.send_data(stream, body, end_stream=True)
        self.transmit()

    def quic_event_received(self, event: QuicEvent) -> None:
        assert self.http is not None
        for found in self.http.handle_event(event):
            if isinstance(found, HeadersReceived):
                self.answer.headers += found.headers
            elif isinstance(found, DataReceived):
                self.answer.body += found.data
            if getattr(found, "stream_ended", False):
                self.answer.resumed = self._quic.tls.session_resumed
                self.over.set()


class Http3:
    """A client that trusts the certificates of `roots` and remembers the tickets that it is given."""

    def __init__(self, port: int, roots: Path) -> None:
        self._port = port
        self._roots = roots
        self.tickets: list[SessionTicket] = []

    async def request(
        self, method: bytes, host: str, path: bytes = b"/", *headers: tuple[bytes, bytes], body: bytes = b""
    ) -> Answer:
        ticket = self.tickets[-1] if self.tickets else None
        settings = QuicConfiguration(alpn_protocols=H3_ALPN, server_name=host, session_ticket=ticket)
        settings.load_verify_locations(cafile=str(self._roots))
        async with (
            asyncio.timeout(_DEADLINE),
            connect(
                "127.0.0.1",
                self._port,
                configuration=settings,
                create_protocol=_Exchange,
                session_ticket_handler=self.tickets.append,
            ) as exchange,
        ):
            exchange.ask(method, host, path, headers, body)
            await exchange.over.wait()
            return exchange.answer
