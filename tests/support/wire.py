"""Both ends of the wire as bytes: raw connections, and a strict reader of HTTP/1.1 that shares no code with ours.

Sockets are read only when a test asks, so that a test can be the client that does not keep up. Every operation has a
deadline. The reader takes exactly what RFC 9112 generates: a byte that a careful sender would not send is a failure.
"""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Self

DEADLINE = 30.0  # seconds for any one operation: a machine may stall for a while

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.1")
_HEADER = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_CHUNK = re.compile(rb"[1-9a-f][0-9a-f]{0,15}")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,18}")


class WireError(AssertionError):
    """Bytes that are not what RFC 9112 has a sender send."""


class Ended(WireError):  # noqa: N818 - an ending, which tests expect as often as not
    """The other side closed, cleanly or with a reset, before what was waited for had come."""

    def __init__(self, so_far: bytes, *, reset: bool) -> None:
        self.so_far = so_far
        self.reset = reset
        super().__init__(f"{'reset' if reset else 'closed'} after {so_far[-200:]!r}")


@dataclass
class Message:
    """A request or an answer as it was on the wire. `headers` keep order, case and duplicates."""

    first: bytes
    headers: list[tuple[bytes, bytes]]
    raw_head: bytes
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.first[9:12])

    @property
    def method(self) -> bytes:
        return self.first.partition(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.first.split(b" ")[1]

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: bytes) -> bytes | None:
        """The value of a header that stands once; None where it does not stand at all."""
        values = self.all(name)
        if len(values) > 1:
            raise WireError(f"{name!r} stands {len(values)} times: {values}")
        return values[0] if values else None

    def besides_id(self) -> list[tuple[bytes, bytes]]:
        """The headers of an answer without the request's id, which every answer has."""
        return [header for header in self.headers if header[0] != b"X-Request-ID"]

    def names(self) -> list[bytes]:
        """The names in their order, as they are spelled."""
        return [name for name, _ in self.headers]


def parse_head(raw: bytes) -> Message:
    """A head up to and with its empty line. Raises WireError."""
    if not raw.endswith(b"\r\n\r\n"):
        raise WireError(f"no empty line: {raw!r}")
    lines = raw[:-4].split(b"\r\n")
    if not (_STATUS_LINE.fullmatch(lines[0]) or _REQUEST_LINE.fullmatch(lines[0])):
        raise WireError(f"first line: {lines[0]!r}")
    message = Message(lines[0], [parse_header(line) for line in lines[1:]], raw)
    lengths, codings = message.all(b"content-length"), message.all(b"transfer-encoding")
    if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
        raise WireError(f"framing: {lengths} {codings}")
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise WireError(f"Content-Length: {lengths[0]!r}")
    if codings and codings[0] != b"chunked":
        raise WireError(f"Transfer-Encoding: {codings[0]!r}")
    return message


def parse_header(line: bytes) -> tuple[bytes, bytes]:
    """One header line without its end. Raises WireError."""
    match = _HEADER.fullmatch(line)
    if match is None:
        raise WireError(f"header: {line!r}")
    return match[1], match[2]


class End:
    """One end of a connection: ours, held by a test. Use as a context manager, or let the bench close it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.buffer = b""
        self.seen = 0  # bytes that ever arrived

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Sending.

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises Ended where the other side has gone."""
        try:
            async with asyncio.timeout(DEADLINE):
                await asyncio.get_running_loop().sock_sendall(self.sock, data)
        except (BrokenPipeError, ConnectionResetError):
            raise Ended(self.buffer, reset=True) from None

    async def dribble(self, data: bytes) -> None:
        """Send byte by byte, each for itself on its way before the next. Stops early where the other side has gone."""
        with contextlib.suppress(Ended):
            for at in range(len(data)):
                await self.send(data[at : at + 1])
                # Loopback delivers at once; two turns of the loop let the proxy read what is there.
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    def send_some(self, data: bytes) -> int:
        """As much as the kernel takes now; 0 where it takes none."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    # Reading.

    async def _more(self) -> None:
        try:
            data = await asyncio.get_running_loop().sock_recv(self.sock, 65536)
        except ConnectionResetError:
            raise Ended(self.buffer, reset=True) from None
        if not data:
            raise Ended(self.buffer, reset=False)
        self.buffer += data
        self.seen += len(data)

    async def read_until(self, mark: bytes) -> bytes:
        """Up to and with `mark`. Raises Ended."""
        async with asyncio.timeout(DEADLINE):
            while mark not in self.buffer:
                await self._more()
        end = self.buffer.index(mark) + len(mark)
        data, self.buffer = self.buffer[:end], self.buffer[end:]
        return data

    async def read_exactly(self, size: int) -> bytes:
        """So many bytes. Raises Ended."""
        parts = [self.buffer]
        have = len(self.buffer)
        self.buffer = b""
        async with asyncio.timeout(DEADLINE):
            while have < size:
                try:
                    await self._more()
                except Ended as ended:
                    raise Ended(b"".join(parts), reset=ended.reset) from None
                parts.append(self.buffer)
                have += len(self.buffer)
                self.buffer = b""
        data = b"".join(parts)
        data, self.buffer = data[:size], data[size:]
        return data

    async def read_some(self) -> bytes:
        """Whatever is there, at least a byte. Raises Ended."""
        if not self.buffer:
            async with asyncio.timeout(DEADLINE):
                await self._more()
        data, self.buffer = self.buffer, b""
        return data

    async def read_until_close(self) -> bytes:
        """Everything up to a clean close. Raises Ended where it was a reset."""
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    await self._more()
        except Ended as ended:
            if ended.reset:
                raise
        data, self.buffer = self.buffer, b""
        return data

    async def read_until_gone(self) -> bytes:
        """Everything up to a close or a reset; what there was."""
        try:
            return await self.read_until_close()
        except Ended as ended:
            self.buffer = b""
            return ended.so_far

    async def read_head(self) -> Message:
        """A head and nothing of what follows."""
        return parse_head(await self.read_until(b"\r\n\r\n"))

    async def read_response(self, method: bytes = b"GET") -> Message:
        """A final answer with its body; a 1xx comes back without one."""
        message = await self.read_head()
        if message.status < 200 or message.status in (204, 304) or method == b"HEAD":
            return message
        await self._read_body(message, until_close=True)
        return message

    async def read_request(self) -> Message:
        """A request with its body."""
        message = await self.read_head()
        await self._read_body(message, until_close=False)
        return message

    async def _read_body(self, message: Message, *, until_close: bool) -> None:
        length = message.get(b"content-length")
        if message.get(b"transfer-encoding") is not None:
            await self.read_chunked(message)
        elif length is not None:
            message.body = await self.read_exactly(int(length))
        elif until_close:
            message.body = await self.read_until_close()

    async def read_chunk(self) -> bytes:
        """The content of one chunk; empty for the last one, whose trailers stay unread."""
        line = await self.read_until(b"\r\n")
        if line == b"0\r\n":
            return b""
        if _CHUNK.fullmatch(line[:-2]) is None:
            raise WireError(f"chunk size: {line!r}")
        content = await self.read_exactly(int(line[:-2], 16))
        if await self.read_exactly(2) != b"\r\n":
            raise WireError("no CRLF behind a chunk")
        return content

    async def read_chunked(self, message: Message) -> None:
        """A chunked body with its trailers."""
        while content := await self.read_chunk():
            message.chunks.append(content)
        message.body = b"".join(message.chunks)
        while (line := await self.read_until(b"\r\n")) != b"\r\n":
            message.trailers.append(parse_header(line[:-2]))

    def arrived(self) -> bytes:
        """What has arrived and was not read yet; without waiting. A close is not told from silence."""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while data := self.sock.recv(65536):
                self.buffer += data
                self.seen += len(data)
        data, self.buffer = self.buffer, b""
        return data

    # Ending.

    def half_close(self) -> None:
        """Send no more; go on reading."""
        with contextlib.suppress(OSError):  # the other side may have gone altogether
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close. Unread data makes a reset of it, as the kernel does."""
        self.sock.close()

    def reset(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Backend:
    """A program behind the proxy, played by the test: it accepts when told to and says what the test says."""

    def __init__(
        self, address: str = "127.0.0.1", *, listening: bool = True, receive_buffer: int | None = None
    ) -> None:
        self._listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self._listener.setblocking(False)
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind((address, 0))
        self.address = address
        self.port: int = self._listener.getsockname()[1]
        self.ends: list[End] = []
        self._fillers: list[socket.socket] = []
        if listening:
            self.listen()

    def listen(self, queue: int = 128) -> None:
        """Accept connections from now on; before, they are refused."""
        self._listener.listen(queue)

    def listen_full(self) -> None:
        """Listen with a full queue: the kernel answers no dial. Accepting makes room again."""
        self.listen(0)
        # A queue of none takes one connection all the same, and one more may be half open.
        for _ in range(4):
            filler = socket.socket(self._listener.family)
            filler.setblocking(False)
            filler.connect_ex((self.address, self.port))
            self._fillers.append(filler)

    async def accept(self) -> End:
        """The next connection."""
        async with asyncio.timeout(DEADLINE):
            sock, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        end = End(sock)
        self.ends.append(end)
        return end

    async def request(self) -> tuple[End, Message]:
        """The next connection, and the request that it brings."""
        end = await self.accept()
        return end, await end.read_request()

    def has_visitor(self) -> bool:
        """Whether a connection waits to be accepted; it is accepted then."""
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return False
        self.ends.append(End(sock))
        return True

    @contextlib.asynccontextmanager
    async def serving(self, response: bytes) -> AsyncIterator[list[Message]]:
        """Meanwhile every connection is accepted, and each of its requests gets `response`; the requests so far."""
        seen: list[Message] = []

        async def serve(end: End) -> None:
            with contextlib.suppress(Ended):
                while True:
                    seen.append(await end.read_request())
                    await end.send(response)

        async def accept() -> None:
            loop = asyncio.get_running_loop()
            async with asyncio.TaskGroup() as connections:
                while True:
                    sock, _ = await loop.sock_accept(self._listener)
                    self.ends.append(End(sock))
                    connections.create_task(serve(self.ends[-1]), name="test: serve")

        accepting = asyncio.create_task(accept(), name="test: accept")
        try:
            yield seen
        finally:
            accepting.cancel()
            await asyncio.wait([accepting])

    async def answer(self, response: bytes) -> tuple[End, Message]:
        """Accept, read one request, send `response`; the connection and the request."""
        end, request = await self.request()
        await end.send(response)
        return end, request

    def close(self) -> None:
        """Listen no more and close every connection."""
        self._listener.close()
        for one in (*self.ends, *self._fillers):
            one.close()
