"""Those who are slow but go on: a buffer that drains, ours or the kernel's, is a sign of life."""

import asyncio
import contextlib
import time

import pytest

from tests.support.edge import RunningEdge, until
from tests.support.wire import DEADLINE, End, Ended
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

HOST = b"Host: shop.miosa.app\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
OFFER = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
SWITCH = b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PART = b"x" * 65536


async def fill(edge: RunningEdge, sender: End) -> int:
    """Send until nothing is taken any more, by us or by any kernel; how much."""
    sent = quiet = 0
    while quiet < 100:
        took = sender.send_some(PART)
        sent += took
        quiet = 0 if took else quiet + 1
        await edge.turns(2)
    return sent


async def sip(edge: RunningEdge, reader: End, seconds: float, most: int = 1 << 30) -> int:
    """Read a little every so many seconds until there is nothing for now; how much."""
    read = 0
    while read < most:
        took = await some(edge, reader)
        if not took:
            break
        read += took
        edge.advance(seconds)
        await edge.turns(5)
    return read


async def some(edge: RunningEdge, reader: End) -> int:
    """Up to 128 KB of what has arrived, 0 where nothing comes."""
    taken = 0
    for _ in range(200):
        with contextlib.suppress(BlockingIOError):
            data = reader.sock.recv(131072 - taken)
            if not data:
                return taken
            taken += len(data)
        if taken == 131072:
            break
        await edge.turns(2)
    return taken


async def test_a_client_that_reads_slowly_gets_all_of_it(edge: RunningEdge) -> None:
    """Each time it takes something it has `body_idle` again, though nothing new fits in behind it for long."""
    backend = edge.backend("shop")
    client = await edge.client(receive_buffer=65536)
    await client.send(GET)
    end, _ = await backend.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    await client.read_head()
    sent = await fill(edge, end)
    assert await sip(edge, client, edge.limits.body_idle * 0.6, sent // 2) >= sent // 2
    assert edge.finished == []
    await fill(edge, end)
    edge.advance(edge.limits.body_idle * 0.2)  # and then it stops
    edge.advance(edge.limits.body_idle * 1.1)
    await until(lambda: edge.endings == ["cB"], lambda: (edge.endings, edge.busy()))


async def test_a_backend_that_reads_slowly_gets_all_of_it(edge: RunningEdge) -> None:
    """An upload goes on as long as some of it is taken, and `first_byte` counts from when all of it has been."""
    backend = edge.backend("shop", receive_buffer=65536)
    client = await edge.client()
    await client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100000000\r\n\r\n")
    end = await backend.accept()
    await end.read_head()
    sent = await fill(edge, client)
    assert await sip(edge, end, edge.limits.body_idle * 0.6, sent // 2) >= sent // 2
    assert edge.finished == []
    await fill(edge, client)  # else all of it may have gone to the backend's kernel, and the client owes the next byte
    edge.advance(edge.limits.body_idle * 0.2)
    edge.advance(edge.limits.body_idle * 1.1)
    await until(lambda: edge.endings == ["bH"], lambda: (edge.endings, edge.busy()))


async def test_the_time_for_an_answer_begins_when_the_backend_has_the_request(edge: RunningEdge) -> None:
    """What the kernel holds of the request has not reached it yet."""
    backend = edge.backend("shop", receive_buffer=65536, first_byte=10.0)
    client = await edge.client()
    size = 1_000_000
    await client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % size)
    end = await backend.accept()
    await end.read_head()
    await client.send(b"x" * size)
    await edge.turns(100)
    edge.advance(0)
    assert await sip(edge, end, 8.0) == size
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"


async def test_a_last_answer_is_taken_slowly(edge: RunningEdge) -> None:
    """The connection is to close when all is sent: not before."""
    backend = edge.backend("shop")
    client = await edge.client(receive_buffer=65536)
    await client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    end, _ = await backend.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await client.read_head()
    sent = 0
    while not edge.held():
        await end.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        sent += len(b"4000\r\n\r\n") + 0x4000
        await edge.turns(3)
    await end.send(b"0\r\n\r\n")
    sent += 5
    read = 0
    while read < sent:
        took = await sip(edge, client, edge.limits.body_idle * 0.6, 262144)
        assert took, (read, sent, edge.endings)
        read += took
    assert edge.endings == ["--"]


@pytest.mark.parametrize("slow", ["client", "backend"])
async def test_a_tunnel_whose_side_reads_slowly_is_not_idle(build_edge: BuildEdge, slow: str) -> None:
    """Bytes that are being taken pass through it, whichever buffer they stand in."""
    edge = await build_edge(tunnel_idle=300.0)
    backend = edge.backend("shop", receive_buffer=65536)
    client = await edge.client(receive_buffer=65536)
    await client.send(OFFER)
    end, _ = await backend.answer(SWITCH)
    await client.read_head()
    reader, sender = (client, end) if slow == "client" else (end, client)
    sent = await fill(edge, sender)
    assert await sip(edge, reader, edge.limits.tunnel_idle * 0.6, sent // 2) >= sent // 2
    assert edge.finished == []
    edge.advance(edge.limits.tunnel_idle * 0.2)
    edge.advance(edge.limits.tunnel_idle * 1.1)
    await until(lambda: bool(edge.finished))
    with contextlib.suppress(Ended):  # what was on its way when it ended goes on, while it is being taken
        await sip(edge, reader, edge.limits.body_idle * 0.6)


# (request, head of the response, bytes that one byte of content is)
SMALL_PIECES = {
    "a response without a length": (
        GET,
        b"HTTP/1.1 200 OK\r\n\r\n",
        len(b"1\r\nx\r\n"),
    ),
    "a tunnel": (
        OFFER,
        SWITCH,
        1,
    ),
}


@pytest.mark.parametrize(("request_head", "response_head", "size"), SMALL_PIECES.values(), ids=SMALL_PIECES)
async def test_few_small_pieces_wait_for_a_client_that_does_not_read(
    build_edge: BuildEdge, request_head: bytes, response_head: bytes, size: int
) -> None:
    """Each that is written alone takes far more memory than its bytes, so their number is bounded, not only their bytes; what
    was said arrives all the same."""
    edge = await build_edge(buffer=320 * 1024)
    backend = edge.backend("shop")
    client = await edge.client(receive_buffer=4096)
    await client.send(request_head)
    end, _ = await backend.answer(response_head)

    def waiting() -> int:
        return max(edge.held(), edge.held_by_tunnels())

    sent = 0
    async with asyncio.timeout(DEADLINE):
        while not waiting():
            await end.send(b"x" * 4096)
            sent += 4096
            await edge.turns(4)
    before = waiting()
    for _ in range(1000):
        await end.send(b"x")
        sent += 1
        await edge.turns(4)
    assert waiting() - before < 300 * size
    end.close()
    received = 0
    while received < sent:
        received += (await client.read_some()).count(b"x")


@pytest.mark.parametrize("protocol", ["http", "h2c"])
async def test_a_connection_that_came_up_while_the_process_stood_still_is_used(
    edge: RunningEdge, protocol: str
) -> None:
    """A machine that gives us no processor for half a second is not a backend that does not answer: one dial is enough."""
    backend = edge.backend("shop")
    edge.point("shop", backend, protocols={backend.port: protocol})
    client = await edge.client()
    await client.send(GET)
    await until(backend.has_visitor)  # the kernel has connected, and the loop has not seen it
    time.sleep(0.5)
    (end,) = backend.ends
    said = b"PRI * HTTP/2.0\r\n" if protocol == "h2c" else b"GET / HTTP/1.1\r\n"
    assert await end.read_until(b"\r\n") == said
    assert not backend.has_visitor()
    client.close()
