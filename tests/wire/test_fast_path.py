"""Ask by its short way: raw bytes in, raw bytes out, and everything that is not exactly Caddy's handed over."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import cast

import pytest
import pytest_asyncio

from router.base.clock import SystemClock
from router.gate.fast_path import FastPath
from router.gate.peers import NO_CERTIFICATE, Certificates
from router.gate.policy import VERDICTS, Verdict
from router.node.sockets import listen
from router.observe.metrics import Metrics
from tests.support.held_table import HEAD, HeldAnswers
from tests.support.waiting import eventually
from tests.support.wire import DEADLINE

pytestmark = pytest.mark.asyncio

FIELDS = b"Host: 127.0.0.1:8082\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n"
ISSUED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Ask-Reason: issued\r\n\r\n"
CHAIN = b"chain and key\n"
BIG = b"x" * 100_000
CERTIFICATE = HEAD % len(CHAIN) + CHAIN
MANY = 150_000  # questions: the answers are more than the system takes
LATER = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nX-Ask-Reason: not_verified\r\n\r\n"


def question(name: bytes, path: bytes = b"/ask") -> bytes:
    return b"GET " + path + b"?domain=" + name + b" HTTP/1.1\r\n" + FIELDS


def fetch(name: bytes) -> bytes:
    """As Caddy 2.11 sends it for a client of OpenSSL 3."""
    return (
        b"GET /certificate?cipher_suites=1302%2C1303%2C1301%2Cc02c%2Cff&local_ip=127.0.0.1&server_name="
        + name
        + b"&signature_schemes=403%2C503%2C603%2C807 HTTP/1.1\r\n"
        + FIELDS
    )


class Gate:
    """Knows every name but `later.org`, which it looks up until it is told that it may answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = asyncio.Event()
        self.verdict = VERDICTS["issued"]

    def at_once(self, domains: Sequence[str], caddy: str) -> Verdict | None:
        assert caddy == "loopback"
        self.asked += domains
        return None if domains[0] == "later.org" else self.verdict

    async def answer(self, domains: Sequence[str], caddy: str) -> Verdict:
        assert caddy == "loopback"
        await self.go.wait()
        return VERDICTS["not_verified"]


class Other(asyncio.Protocol):
    """Whoever is handed a connection: says what it got."""

    got: list[bytes]

    def __init__(self, got: list[bytes]) -> None:
        self.got = got

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        self.got.append(data)
        self.transport.write(b"other\n")


class Listener:
    """FastPath on a free port, with a gate and somebody else."""

    def __init__(self, idle: float = 75.0) -> None:
        self.gate = Gate()
        self.other: list[bytes] = []
        self.held = HeldAnswers({"box.zone.example": CHAIN, "big.zone.example": BIG})
        certificates = Certificates(self.held, metrics=Metrics(), clock=SystemClock())
        self.lanes = FastPath(self.gate, certificates, hand_over=lambda: Other(self.other), idle=idle)
        self.port = 0

    async def start(self) -> None:
        listening = listen("admin", "127.0.0.1:0")
        self.port = listening.getsockname()[1]
        await self.lanes.start(listening)

    @asynccontextmanager
    async def client(
        self, receives: int | None = None
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """`receives` is how many bytes the system takes before they are read."""
        connection = socket.socket()
        if receives is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            async with asyncio.timeout(DEADLINE):
                yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@pytest_asyncio.fixture
async def listener() -> AsyncIterator[Listener]:
    made = Listener()
    await made.start()
    yield made
    await made.lanes.close()


@pytest.mark.parametrize("path", [b"/ask", b"/tls/ask"])
async def test_a_question_as_caddy_asks_it(listener: Listener, path: bytes) -> None:
    """An empty body of known length and the reason; the connection is used again."""
    async with listener.client() as (reader, writer):
        for name in (b"a.org", b"5173-B.sandbox.org", b"a_b", b"-", b""):
            writer.write(question(name, path))
            assert await reader.readexactly(len(ISSUED)) == ISSUED
    assert listener.gate.asked == ["a.org", "5173-B.sandbox.org", "a_b", "-", ""]
    assert listener.other == []


async def test_a_certificate_as_caddy_fetches_it(listener: Listener) -> None:
    """The held one, or 204; on the connection that ask uses too, in order, and however the bytes are cut."""
    async with listener.client() as (reader, writer):
        writer.write(fetch(b"box.zone.example") + question(b"later.org") + fetch(b"other.org") + question(b"a.org"))
        assert await reader.readexactly(len(CERTIFICATE)) == CERTIFICATE
        listener.gate.go.set()
        rest = LATER + NO_CERTIFICATE + ISSUED
        assert await reader.readexactly(len(rest)) == rest
        for byte in fetch(b"box.zone.example"):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert await reader.readexactly(len(CERTIFICATE)) == CERTIFICATE
        writer.write(fetch(b""))
        assert await reader.readexactly(len(NO_CERTIFICATE)) == NO_CERTIFICATE
    names = ["box.zone.example", "other.org", "box.zone.example", ""]
    assert listener.held.fetched == [(name, "loopback") for name in names]
    assert listener.other == []


async def test_who_reads_no_certificates_fills_no_memory() -> None:
    """As with ask: nothing more is read from that client."""
    listener = Listener(idle=0.5)
    await listener.start()
    async with listener.client(receives=4096) as (_, writer):
        writer.transport.pause_reading()
        writer.write(fetch(b"big.zone.example") * 2000)
        await eventually(lambda: listener.held.fetched, "some are answered")
        await eventually(lambda: not listener.lanes.open, "closed")
        assert 0 < len(listener.held.fetched) < 200
        writer.transport.abort()
    await listener.lanes.close()


@pytest.mark.parametrize("reason", sorted(VERDICTS))
async def test_every_verdict_can_be_said(listener: Listener, reason: str) -> None:
    """With its status, and with a time where it has one."""
    found = VERDICTS[reason]
    listener.gate.verdict = Verdict(found.status, reason, 90) if found.status == 429 else found
    async with listener.client() as (reader, writer):
        for _ in range(2):
            writer.write(question(b"a.org"))
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            assert head[0].startswith(f"HTTP/1.1 {found.status} ")
            assert f"X-Ask-Reason: {reason}" in head
            assert ("Retry-After: 90" in head) == (found.status == 429)


async def test_byte_by_byte_and_all_at_once(listener: Listener) -> None:
    """However the bytes are cut."""
    async with listener.client() as (reader, writer):
        for byte in question(b"a.org"):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert await reader.readexactly(len(ISSUED)) == ISSUED
        writer.write(question(b"b.org") * 20 + question(b"c.org")[:-3])
        assert await reader.readexactly(20 * len(ISSUED)) == 20 * ISSUED
        writer.write(question(b"c.org")[-3:])
        assert await reader.readexactly(len(ISSUED)) == ISSUED
    assert listener.gate.asked == ["a.org", *["b.org"] * 20, "c.org"]


async def test_answers_keep_their_order(listener: Listener) -> None:
    """What has to be looked up is waited for; what was asked after it comes after it."""
    async with listener.client() as (reader, writer):
        writer.write(question(b"a.org") + question(b"later.org") + question(b"b.org"))
        assert await reader.readexactly(len(ISSUED)) == ISSUED
        assert listener.gate.asked == ["a.org", "later.org"]
        listener.gate.go.set()
        assert await reader.readexactly(len(LATER + ISSUED)) == LATER + ISSUED


async def test_who_asks_no_more_is_let_go_in_peace(listener: Listener) -> None:
    """The end of what a client sends is the end of its connection, and nothing to complain about."""
    wrong: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    async with listener.client() as (reader, writer):
        writer.write(question(b"a.org"))
        writer.write_eof()
        assert await reader.read() == ISSUED
    await eventually(lambda: not listener.lanes.open, "it is closed")
    assert wrong == []


async def test_who_leaves_while_something_is_looked_up(listener: Listener) -> None:
    """Nothing is left of it."""
    async with listener.client() as (_, writer):
        writer.write(question(b"later.org"))
        await eventually(lambda: listener.gate.asked, "asked")
    listener.gate.go.set()
    await eventually(lambda: not listener.lanes.open and not len(listener.lanes.tasks), "nothing is left")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /metrics HTTP/1.1\r\n" + FIELDS,
        b"HEAD /ask?domain=a.org HTTP/1.1\r\n" + FIELDS,
        b"POST /ask?domain=a.org HTTP/1.1\r\n" + FIELDS,
        b"GET /ask HTTP/1.1\r\n" + FIELDS,
        b"GET /ask?x=1&domain=a.org HTTP/1.1\r\n" + FIELDS,
        question(b"a.org&domain=b.org"),
        question(b"b%C3%BCcher.example"),
        question(b"a+b.org"),
        question(b"a.org#x"),
        question(b"a;b"),
        question(b"a b"),
        question("bücher.example".encode()),
        question(b"a.org\x00"),
        question(b"a.org").replace(b"HTTP/1.1", b"HTTP/1.0"),
        question(b"a.org").replace(b"\r\n", b"\n"),
        question(b"a.org").replace(b"\r\n", b"\n") + b"\r\n\r\n",
        question(b"a.org")[:-2] + b"\n",
        question(b"a.org").replace(b"HTTP/1.1\r\n", b"HTTP/1.1\n"),
        b"GET /ask?domain=a.org HTTP/1.1\n",
        b"GET /ask?domain=a.org\n",
        b"GET /ask?\ndomain",
        b"\nGET /ask",
        question(b"a.org").replace(b"Host: 127.0.0.1:8082\r\n", b""),
        question(b"a.org").replace(b"Host: 127.0.0.1:8082", b"Host: x\r\nHost: y"),
        question(b"a.org").replace(b"User-Agent:", b"Content-Length: 3\r\nX:"),
        question(b"a.org").replace(b"User-Agent:", b"Transfer-Encoding: chunked\r\nX:"),
        question(b"a.org").replace(b"User-Agent:", b"Connection: close\r\nX:"),
        question(b"a.org").replace(b"User-Agent:", b"Upgrade: h2c\r\nX:"),
        question(b"a.org").replace(b"User-Agent:", b"User-Agent :"),
        question(b"a.org").replace(b"User-Agent:", b" folded:"),
        question(b"a.org").replace(b"User-Agent:", b"X:\x01"),
        b"GET /certificate HTTP/1.1\r\n" + FIELDS,
        b"GET /certificate? HTTP/1.1\r\n" + FIELDS,
        b"GET /certificates?server_name=a.org HTTP/1.1\r\n" + FIELDS,
        b"HEAD /certificate?server_name=a.org HTTP/1.1\r\n" + FIELDS,
        b"POST /certificate?server_name=a.org HTTP/1.1\r\n" + FIELDS,
        fetch(b"a.org").replace(b"local_ip=127.0.0.1", b"server_name=b.org"),
        fetch(b"a.org").replace(b"signature_schemes=", b"server_name="),
        fetch(b"a.org").replace(b"local_ip", b"Server_Name"),
        fetch(b"a.org").replace(b"local_ip=127.0.0.1", b"local_ip"),
        fetch(b"a%2eorg"),
        fetch(b"a.org;b"),
        fetch(b"a.org\x00"),
        fetch("bücher.example".encode()),
        fetch(b"a.org").replace(b"HTTP/1.1", b"HTTP/1.0"),
        fetch(b"a.org").replace(b"\r\n", b"\n"),
        fetch(b"a.org").replace(b"User-Agent:", b"X-Forwarded-For:"),
        fetch(b"a.org").replace(b"User-Agent:", b"Origin:"),
        fetch(b"a.org").replace(b"Host: 127.0.0.1:8082", b"Host: rebound.example:8082"),
        fetch(b"a.org").replace(b"User-Agent:", b"Content-Length: 3\r\nX:"),
        fetch(b"a" * 5000),
        b"GET /certificatex",
        b"\x16\x03\x01\x02\x00",
        question(b"a" * 5000),
        b"GET /ask?domain=" + b"a" * 5000,
    ],
)
async def test_everything_else_is_handed_over(listener: Listener, request_: bytes) -> None:
    """With all its bytes, and with all that come after them on that connection."""
    async with listener.client() as (reader, writer):
        writer.write(question(b"a.org"))
        assert await reader.readexactly(len(ISSUED)) == ISSUED
        writer.write(request_)
        assert await reader.readline() == b"other\n"
        writer.write(question(b"b.org"))
        await eventually(lambda: b"".join(listener.other) == request_ + question(b"b.org"), "handed over")
    assert listener.gate.asked == ["a.org"]


async def test_the_idle_are_closed() -> None:
    """Also who begins a question and does not end it."""
    listener = Listener(idle=0.05)
    await listener.start()
    async with listener.client() as (reader, writer), listener.client() as (quiet, _):
        writer.write(question(b"a.org") + b"GET /ask?dom")
        assert await reader.read() == ISSUED
        assert await quiet.read() == b""
    await listener.lanes.close()


@pytest.mark.parametrize(
    "begun", [b"\x16\x03\x01", b"GET /metr", b"GET /ask?domain=a.org HTTP/1.1\nHost: x", b"POST /ask"]
)
async def test_a_head_that_never_ends_is_cut_off_elsewhere_too(begun: bytes) -> None:
    """The ordinary server would wait for ever. One that ends in time goes on as long as that server likes."""
    listener = Listener(idle=0.2)
    await listener.start()
    async with listener.client() as (reader, writer), listener.client() as (whole, second):
        writer.write(begun)
        second.write(begun)
        assert await reader.readline() == b"other\n"
        assert await whole.readline() == b"other\n"
        second.write(b"\r\n\r\n")
        assert await whole.readline() == b"other\n"
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        second.write(b"more")
        assert await whole.readline() == b"other\n"
    await listener.lanes.close()


async def test_who_reads_no_answers_is_not_read_either() -> None:
    """They fill no memory, and the connection is closed when it has been idle for too long."""
    listener = Listener(idle=0.5)
    await listener.start()
    async with listener.client(receives=4096) as (_, writer):
        writer.transport.pause_reading()
        writer.write(question(b"a.org") * MANY)
        await eventually(lambda: listener.gate.asked, "some are answered")
        (lane,) = listener.lanes.open
        await eventually(lambda: not listener.lanes.open, "closed")
        answered = len(listener.gate.asked)
        assert 0 < answered < MANY
        assert lane._transport.is_closing()
        writer.transport.abort()
    await listener.lanes.close()


async def test_who_reads_late_gets_every_answer(listener: Listener) -> None:
    """In their order, what had to be looked up among them."""
    async with listener.client(receives=4096) as (reader, writer):
        writer.transport.pause_reading()
        writer.write(question(b"a.org") * MANY + question(b"later.org") + question(b"b.org"))
        await eventually(lambda: listener.lanes.open, "connected")
        (lane,) = listener.lanes.open
        await eventually(lambda: lane._choked, "answers wait")
        listener.gate.go.set()
        # Through a small buffer it would take seconds; it has done what it was for.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        writer.transport.resume_reading()
        got = await reader.readexactly(MANY * len(ISSUED) + len(LATER + ISSUED))
    whole = got == ISSUED * MANY + LATER + ISSUED
    assert whole


async def test_the_end_closes_what_is_open(listener: Listener) -> None:
    """And no connection is taken any more."""
    async with listener.client() as (reader, writer):
        writer.write(question(b"later.org"))
        await eventually(lambda: listener.gate.asked, "asked")
        await listener.lanes.close()
        assert await reader.read() == b""
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", listener.port)
