"""Small backends of raw bytes: what a sandbox's program sees, and exactly what it says."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

CHUNK = 256 * 1024


class Visit:
    """One request on a backend's connection. Header names are in lower case; `lines` has them as they came."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *self.lines = head[:-4].split(b"\r\n")
        self.method, self.target, self.version = first.split(b" ", 2)
        self.reader = reader
        self.writer = writer
        self.headers: dict[bytes, list[bytes]] = {}
        for line in self.lines:
            name, _, value = line.partition(b":")
            self.headers.setdefault(name.lower(), []).append(value.strip())

    def header(self, name: bytes) -> bytes | None:
        values = self.headers.get(name)
        return None if values is None else b", ".join(values)

    async def body(self) -> AsyncIterator[bytes]:
        """The request's body as it arrives, without its framing."""
        if b"chunked" in (self.header(b"transfer-encoding") or b""):
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                yield (await self.reader.readexactly(size + 2))[:-2]
            while await self.reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return
        left = int(self.header(b"content-length") or b"0")
        while left:
            piece = await self.reader.read(min(left, CHUNK))
            if not piece:
                raise ConnectionError("the body ended early")
            left -= len(piece)
            yield piece

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"", status: bytes = b"200 OK", *lines: bytes) -> None:
        """A whole answer with a Content-Length."""
        head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *lines]
        await self.send(b"\r\n".join(head) + b"\r\n\r\n" + body)


Handler = Callable[[Visit], Awaitable[None]]


class Backend:
    """Answers with `handler` on a free port of loopback while it is entered, by TLS where that is given; connections are kept
    alive."""

    address = "127.0.0.1"

    def __init__(self, handler: Handler, *, tls: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._tls = tls
        self._connections: set[asyncio.StreamWriter] = set()
        self.visits = 0
        self.accepted = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.address, 0, limit=CHUNK * 4, ssl=self._tls)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in tuple(self._connections):
            writer.transport.abort()
        await self._server.wait_closed()

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        self.accepted += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.visits += 1
                await self._handler(Visit(head, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # whoever dialled has gone, as they may
        finally:
            self._connections.discard(writer)
            writer.close()
