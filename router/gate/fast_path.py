"""The fast path of ask and of `/certificate`: requests as Caddy sends them are recognised by their bytes and answered at once.

Caddy (Go's HTTP client) sends the same head each time, but for the name. A connection whose requests look like that is
served here; the first request that looks any different, and all after it, go to `hand_over`: the listener's ordinary
server, which knows every path, method and spelling, these among them. So nothing is read loosely here: what
matches is a complete well-formed request without a body; everything else is for the ordinary server.

    GET /ask?domain=NAME HTTP/1.1        or /tls/ask; NAME of visible characters without & % + # ;
    Host: 127.0.0.1:8082                 once
    …                                    any other fields but those that change how the message is read

    GET /certificate?cipher_suites=…&local_ip=…&server_name=NAME&signature_schemes=… HTTP/1.1
                                         server_name once, beside any others; NAME of letters, digits, - . _
    Host: …, …                           as above; from this machine also none that a proxy or a browser adds (`peers.py`)

`/certificate` has private keys in its answers. It gives them to clients of this machine, or on a listener of its own to those
that show a certificate (`peers.py`); Caddy takes any other answer than 200 and 204 as a failure of the handshake.

A line that ends with a bare LF goes to the ordinary server at once, which refuses it. A connection that has not sent a
whole head after `idle` seconds is closed, here and there.

While a name is looked up its connection is not read, so that responses keep their order; nor is a connection whose
client does not read responses.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, cast

from router.base.tasks import Tasks
from router.gate.peers import NO_CERTIFICATE, Certificates, is_direct
from router.gate.policy import Verdict

_HANDSHAKE_TIMEOUT: Final = 10.0  # seconds
IDLE = 75.0  # seconds without a whole request; Caddy itself keeps idle connections for 90 or less

_PATHS: Final = (b"GET /ask?domain=", b"GET /tls/ask?domain=")
_END: Final = b" HTTP/1.1"
_CERTIFICATE: Final = b"GET /certificate?"
_BEGINNINGS: Final = (*_PATHS, _CERTIFICATE)
_MAX_HEAD: Final = 4096  # bytes of a head
_NAME: Final = re.compile(rb"[!\"$'-*,-:<-~]*")  # visible, without # % & + ;
_PARAMETER: Final = rb"(?!server_name=)[a-z_]+=[!\"$-%'-*,-:<-~]*"
_FETCH: Final = re.compile(
    rb"GET /certificate\?(?:%b&)*server_name=([A-Za-z0-9._-]*)(?:&%b)* HTTP/1\.1" % (_PARAMETER, _PARAMETER)
)
_FIELD: Final = re.compile(rb"([A-Za-z0-9-]+):[ \t]*[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_OTHERWISE = frozenset(
    (b"connection", b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer")
)
_BARE: Final = re.compile(rb"(?<!\r)\n")
_MAX_HANDED_OVER: Final = 65536  # bytes in which the end of a head is looked for that is read elsewhere
_MAX_FIELDS = 64  # blocks of fields that have been looked at before

_STATUS = {
    200: b"200 OK",
    400: b"400 Bad Request",
    403: b"403 Forbidden",
    404: b"404 Not Found",
    429: b"429 Too Many Requests",
    503: b"503 Service Unavailable",
}


class Answers(Protocol):
    """The gate."""

    def at_once(self, domains: Sequence[str], caddy: str) -> Verdict | None:
        """The verdict, or None where something has to be looked up first."""

    def answer(self, domains: Sequence[str], caddy: str) -> Awaitable[Verdict]:
        """The verdict."""


class FastPath:
    """A listener for ask (unless `gate` is None) and `/certificate`, and for everything else by `hand_over`, which makes the
    protocol of one connection. With `tls` it speaks TLS."""

    def __init__(
        self,
        gate: Answers | None,
        certificates: Certificates,
        *,
        hand_over: Callable[[], asyncio.BaseProtocol],
        tls: ssl.SSLContext | None = None,
        idle: float = IDLE,
    ) -> None:
        self.gate = gate
        self.certificates = certificates
        self.hand_over = hand_over
        self._tls = tls
        self.idle = idle
        self.tasks = Tasks("ask")
        self.open: set[FastPathConnection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, listening: socket.socket) -> None:
        """Take connections from a socket that is bound."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: cast(asyncio.Protocol, FastPathConnection(self)),
            sock=listening,
            ssl=self._tls,
            ssl_handshake_timeout=None if self._tls is None else _HANDSHAKE_TIMEOUT,
        )

    async def close(self) -> None:
        """Take none any more, and close those that are served here."""
        if self._server is not None:
            self._server.close()
        await self.tasks.close()
        for connection in tuple(self.open):
            connection.close()


class FastPathConnection:
    """One connection, as a protocol of asyncio: a class that is compiled has no base that is not."""

    def __init__(self, fast_path: FastPath) -> None:
        self._fast_path = fast_path
        self._transport: asyncio.Transport
        self._peer = ""
        self._buffer = b""
        self._waiting = False  # for a verdict
        self._choked = False  # too many answers are not read
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._peer = self._fast_path.certificates.named(transport.get_extra_info("peername"))
        self._fast_path.open.add(self)
        self._timer = self._loop.call_later(self._fast_path.idle, self._look)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason makes no difference
        self._leave()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        self._read()

    def eof_received(self) -> bool:
        """Who asks no more is gone: what is written goes out, and the connection ends."""
        return False

    def pause_writing(self) -> None:
        self._choked = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._choked = False
        self._go_on()

    def close(self) -> None:
        """End the connection."""
        self._transport.close()

    def _read(self) -> None:
        """Answer every whole request that has come, as far as that is ours to do."""
        while self._buffer and not self._waiting and not self._choked:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0 and len(self._buffer) <= _MAX_HEAD and self._may_be_ours():
                return
            head = self._buffer[:end] if 0 <= end <= _MAX_HEAD else b""
            if head.startswith(_CERTIFICATE):
                wanted = _read_fetch(head, self._fast_path.certificates)
                if wanted is None:
                    self._hand_over()
                    return
                self._advance(end)
                answer = self._fast_path.certificates.fetch(wanted, self._peer)
                self._transport.write(NO_CERTIFICATE if answer is None else answer)
                continue
            gate = self._fast_path.gate
            name = None if gate is None else _read_head(head)
            if name is None or gate is None:
                self._hand_over()
                return
            self._advance(end)
            verdict = gate.at_once((name,), self._peer)
            if verdict is not None:
                self._transport.write(_written(verdict))
            else:
                self._waiting = True
                self._transport.pause_reading()
                self._fast_path.tasks.start("look up", self._answer(gate, name))

    def _advance(self, end: int) -> None:
        """A whole request was read, whose head ends there."""
        self._buffer = self._buffer[end + 4 :]
        self._since = self._loop.time()

    async def _answer(self, gate: Answers, name: str) -> None:
        verdict = await gate.answer((name,), self._peer)
        self._waiting = False
        if not self._transport.is_closing():
            self._transport.write(_written(verdict))
            self._go_on()

    def _go_on(self) -> None:
        """Read what comes, unless something has to be waited for still."""
        self._read()
        if not self._waiting and not self._choked and not self._transport.is_closing():
            self._transport.resume_reading()

    def _may_be_ours(self) -> bool:
        buffer = self._buffer
        begun = any(path.startswith(buffer) or buffer.startswith(path) for path in _BEGINNINGS)
        return begun and _BARE.search(buffer) is None

    def _hand_over(self) -> None:
        """The ordinary server reads from here on, including what has come."""
        self._leave()
        other = cast(asyncio.Protocol, self._fast_path.hand_over())
        if b"\r\n\r\n" in self._buffer:
            self._transport.set_protocol(other)
            other.connection_made(self._transport)
            other.data_received(self._buffer)
        else:
            begun = Begun(self._transport, other, self._fast_path.idle)
            self._transport.set_protocol(cast(asyncio.Protocol, begun))
            begun.start(self._buffer)

    def _leave(self) -> None:
        self._fast_path.open.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """Close what has been idle for too long; else look again when it would be."""
        left = self._since + self._fast_path.idle - self._loop.time()
        if left > 0 or self._waiting:
            self._timer = self._loop.call_later(max(left, 1.0), self._look)
        else:
            self._transport.abort()  # a close would wait for a client that reads no responses


class Begun:
    """A connection that was handed over before its head was whole: passes everything on, and cuts it off where the rest
    does not come in time. The ordinary server has no deadline of its own for that."""

    def __init__(self, transport: asyncio.Transport, other: asyncio.Protocol, within: float) -> None:
        self._transport = transport
        self._other = other
        self._head = b""
        self._timer = asyncio.get_running_loop().call_later(within, transport.abort)

    def start(self, data: bytes) -> None:
        """Pass on what has come before."""
        self._other.connection_made(self._transport)
        self.data_received(data)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" in self._head or len(self._head) > _MAX_HANDED_OVER:
            self._timer.cancel()
            self._head = b""
            self._transport.set_protocol(self._other)
        self._other.data_received(data)

    def eof_received(self) -> bool | None:
        return self._other.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._other.connection_lost(exc)

    def pause_writing(self) -> None:
        self._other.pause_writing()

    def resume_writing(self) -> None:
        self._other.resume_writing()


_known: Final[dict[bytes, "_Fields"]] = {}  # blocks of fields that came before


def _read_head(head: bytes) -> str | None:
    """The name that a head asks about; None where the ordinary server should read it."""
    line, _, fields = head.partition(b"\r\n")
    ask, tls_ask = _PATHS
    path = ask if line.startswith(ask) else tls_ask
    if not line.startswith(path) or not line.endswith(_END):
        return None
    name = line[len(path) : -len(_END)]
    if _NAME.fullmatch(name) is None:
        return None
    return name.decode("ascii") if _fields_of(fields).plain else None


def _read_fetch(head: bytes, certificates: Certificates) -> str | None:
    """The name of a handshake that a head wants a certificate for; None where the ordinary server should read it."""
    line, _, fields = head.partition(b"\r\n")
    match = _FETCH.fullmatch(line)
    if match is None:
        return None
    found = _fields_of(fields)
    name: bytes = match[1]
    return name.decode("ascii") if found.plain and (found.direct or certificates.authenticated) else None


def _fields_of(fields: bytes) -> "_Fields":
    known = _known.get(fields)
    if known is None:
        known = _Fields(fields)
        if len(_known) >= _MAX_FIELDS:
            _known.clear()
        _known[fields] = known
    return known


class _Fields:
    """The fields of a head: whether they are `plain`, see `_is_plain`, and come from their client directly (`peers.py`)."""

    def __init__(self, fields: bytes) -> None:
        self.plain = _is_plain(fields)
        self.direct = self.plain and is_direct(_pairs(fields))


def _pairs(fields: bytes) -> list[tuple[str, str]]:
    pairs = [line.partition(b":") for line in fields.split(b"\r\n")]
    return [(name.decode("latin-1"), value.decode("latin-1").strip()) for name, _, value in pairs]


def _is_plain(fields: bytes) -> bool:
    """Whether these are well-formed fields, Host once among them, none of which changes how the message is read."""
    found = [_FIELD.fullmatch(line) for line in fields.split(b"\r\n")]
    names = [match[1].lower() for match in found if match is not None]
    return len(names) == len(found) and names.count(b"host") == 1 and _OTHERWISE.isdisjoint(names)


_answers: Final[dict[Verdict, bytes]] = {}  # those without a time, of which there are as many as there are reasons


def _written(verdict: Verdict) -> bytes:
    known = _answers.get(verdict)
    if known is not None:
        return known
    retry = b"" if verdict.retry_after is None else b"Retry-After: %d\r\n" % verdict.retry_after
    reason = verdict.reason.encode("ascii")
    head = b"HTTP/1.1 %b\r\nContent-Length: 0\r\n%bX-Ask-Reason: %b\r\n\r\n" % (_STATUS[verdict.status], retry, reason)
    if verdict.retry_after is None:
        _answers[verdict] = head
    return head
