"""An HTTP/1.1 client of raw bytes for one connection, with or without TLS."""

import asyncio
import ssl
from types import TracebackType
from typing import Self

PIECE = 256 * 1024


class Answer:
    """The head of an answer, and its body as it arrives."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader, method: str) -> None:
        first, *self.lines = head[:-4].decode("latin-1").split("\r\n")
        self.status = int(first.split(" ", 2)[1])
        self._reader = reader
        framing = (self.header("transfer-encoding") or "").lower()
        length = self.header("content-length")
        self._chunked = "chunked" in framing
        self._left = int(length) if length is not None else None
        self._over = method == "HEAD" or self.status in (101, 204, 304) or self._left == 0

    def values(self, name: str) -> list[str]:
        pairs = [line.partition(":") for line in self.lines]
        return [value.strip() for key, _, value in pairs if key.lower() == name]

    def header(self, name: str) -> str | None:
        return next(iter(self.values(name)), None)

    async def read(self) -> bytes:
        """The next piece; empty at the end. Raises asyncio.IncompleteReadError where the body breaks off."""
        if self._over:
            return b""
        if self._chunked:
            return await self._read_chunk()
        piece = await self._reader.read(PIECE if self._left is None else min(self._left, PIECE))
        if self._left is not None:
            if not piece:
                raise asyncio.IncompleteReadError(b"", self._left)
            self._left -= len(piece)
        self._over = self._left == 0 or not piece
        return piece

    async def _read_chunk(self) -> bytes:
        size = int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size:
            return (await self._reader.readexactly(size + 2))[:-2]
        while await self._reader.readuntil(b"\r\n") != b"\r\n":
            pass
        self._over = True
        return b""

    async def read_all(self) -> bytes:
        pieces = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)


class Http1:
    """One connection to `port` of loopback for the host `name`, from the address `source` where it is given."""

    def __init__(
        self, port: int, name: str, context: ssl.SSLContext | None = None, *, source: str | None = None
    ) -> None:
        self._source = source
        self._port = port
        self._name = name
        self._context = context

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1",
            self._port,
            ssl=self._context,
            server_hostname=self._name if self._context else None,
            local_addr=None if self._source is None else (self._source, 0),
            limit=4 * PIECE,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def request(self, method: str, path: str, *lines: str, body: bytes = b"") -> Answer:
        """One whole request, and the head of its answer."""
        sized = [f"Content-Length: {len(body)}"] if body else []
        head = [f"{method} {path} HTTP/1.1", f"Host: {self._name}", *sized, *lines]
        await self.send("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)
        return await self.answer(method)

    async def answer(self, method: str = "GET") -> Answer:
        return Answer(await self.reader.readuntil(b"\r\n\r\n"), self.reader, method)
