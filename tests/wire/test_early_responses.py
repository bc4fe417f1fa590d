"""Answers that come before the request is complete: refused uploads. The refusal reaches whoever sends, each time."""

import asyncio
import fcntl
import struct
import termios

import pytest

from router.proxy import socket_state
from tests.support.edge import RunningEdge, until
from tests.support.wire import Backend, End, Ended
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

POST = b"POST / HTTP/1.1\r\nHost: shop.miosa.app\r\n"
SIZED = b"Content-Length: 100000000\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
PIECES = {SIZED: b"x" * 65536, CHUNKED: b"10000\r\n" + b"x" * 65536 + b"\r\n"}
LONG = b"y" * 50_000  # what a backend can have sent into our kernel before it closes

ANSWERS = {
    "sized": (b"HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nbig", b"big"),
    "as Python says it": (b"HTTP/1.0 413 No\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig", b"big"),
    "chunked": (b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", b"no"),
    "bare": (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", b""),
    "long": (b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + LONG, LONG),
}


async def refuse(backend: Backend, answer: bytes, way: str, *, read: bool = True) -> None:
    """Read a head, or some of the body too, answer, and close with the rest unread."""
    end = await backend.accept()
    await end.read_head()
    if read:
        await end.read_some()
    await end.send(answer)
    getattr(end, way)()


async def upload(client: End, framing: bytes) -> None:
    """Send a body until the other side takes no more of it."""
    await client.send(POST + framing)
    for _ in range(30):
        await client.send(PIECES[framing])


@pytest.mark.parametrize("framing", [SIZED, CHUNKED], ids=["sized", "chunked"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("read", [True, False], ids=["some read", "only the head read"])
async def test_an_upload_that_is_refused_gets_the_refusal(
    edge: RunningEdge, framing: bytes, answer: tuple[bytes, bytes], read: bool
) -> None:
    """The backend closes with most of it unread, so that writing to it fails: what it said was said before."""
    raw, body = answer
    backend = edge.backend("shop")
    for _ in range(8):
        client = await edge.client()
        refusing = asyncio.create_task(refuse(backend, raw, "close", read=read), name="test: backend")
        await upload(client, framing)
        await refusing
        got = await client.read_response()
        assert (got.status, got.body) == (int(raw[9:12]), body)
        client.close()
    await edge.settled()
    assert set(edge.endings) == {"--"}
    assert edge.kept() == 0


async def full(edge: RunningEdge) -> tuple[End, int]:
    """A client that reads nothing and still sends, and how much of its long answer had reached us when the backend
    broke the connection."""
    backend = edge.backend("shop")
    client = await edge.client(receive_buffer=65536)
    await client.send(POST + SIZED)
    end = await backend.accept()
    await end.read_head()
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    await client.read_head()
    sent = quiet = 0
    while quiet < 50:
        took = end.send_some(LONG)
        sent += took
        quiet = 0 if took else quiet + 1
        await edge.turns(2)
    await client.send(b"x" * 65536)  # the backend does not read it
    await edge.turns()
    sent -= unsent(end)
    end.close()
    for _ in range(20):
        await client.send(b"x" * 65536)
        await edge.turns(2)
    return client, sent


def unsent(end: End) -> int:
    """Bytes that the other side's kernel has not acknowledged."""
    return int(struct.unpack("i", fcntl.ioctl(end.sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])


async def test_what_was_said_before_a_reset_waits_for_a_slow_client(edge: RunningEdge) -> None:
    """It stays in the kernel until the client has taken what is in front of it, and arrives to the last byte."""
    client, sent = await full(edge)
    assert edge.held() <= edge.limits.buffer + 256 * 1024
    assert not edge.finished
    assert len(await client.read_until_gone()) >= sent
    assert edge.endings == ["BB"]


async def test_a_client_may_leave_while_a_broken_backend_is_read(edge: RunningEdge) -> None:
    """What is left of the answer is dropped, and its socket closed."""
    client, _ = await full(edge)
    client.reset()
    await edge.settled()
    assert edge.endings == ["CB"]


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 413 No\r\nContent-Le", b"nonsense\r\n\r\n"])
async def test_a_backend_that_breaks_without_an_answer_is_502(edge: RunningEdge, answer: bytes) -> None:
    """Nothing, or nothing whole, was said before the connection broke."""
    backend = edge.backend("shop")
    client = await edge.client()
    refusing = asyncio.create_task(refuse(backend, answer, "close"), name="test: backend")
    await upload(client, SIZED)
    await refusing
    assert (await client.read_response()).status == 502
    assert edge.endings == ["BH"]


async def test_an_answer_that_broke_off_stays_cut(edge: RunningEdge) -> None:
    """What was said before a reset is passed on, and does not look complete."""
    backend = edge.backend("shop")
    client = await edge.client()
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
    refusing = asyncio.create_task(refuse(backend, half, "close"), name="test: backend")
    await upload(client, SIZED)
    await refusing
    with pytest.raises(Ended) as ended:
        await client.read_response()
    assert ended.value.so_far == b"hello"
    assert edge.endings == ["BB"]


async def taken(edge: RunningEdge) -> None:
    """Wait until the client's kernel has acknowledged all that was said to it."""
    (client,) = edge.proxy._worker.clients
    await until(lambda: socket_state.unsent(client.transport) == 0)


async def test_a_slow_sender_gets_the_refusal_of_its_upload(build_edge: BuildEdge) -> None:
    """Our own answer too: what the client goes on sending is read and dropped, for `linger` seconds."""
    edge = await build_edge(body=1000)
    client = await edge.client()
    await client.send(POST + b"Content-Length: 1000000\r\n\r\n")
    await edge.ended(1)
    for _ in range(7):
        edge.advance(edge.limits.linger_idle - 1)
        await client.send(b"x" * 1000)
        await edge.turns()
    answer = await client.read_response()
    assert (answer.status, await client.read_until_close()) == (413, b"")
    assert edge.proxy._worker.clients
    await taken(edge)
    for _ in range(2):
        edge.advance(edge.limits.linger_idle - 1)
    await until(lambda: not edge.proxy._worker.clients)


async def test_a_sender_that_pauses_after_its_refusal_is_closed(build_edge: BuildEdge) -> None:
    """It has had its answer for `linger_idle` seconds."""
    edge = await build_edge(body=1000)
    client = await edge.client()
    await client.send(POST + b"Content-Length: 1000000\r\n\r\n")
    assert (await client.read_response()).status == 413
    await taken(edge)
    edge.advance(1.1)  # it is seen that it has taken the answer
    edge.advance(edge.limits.linger_idle + 0.1)
    await until(lambda: not edge.proxy._worker.clients)
