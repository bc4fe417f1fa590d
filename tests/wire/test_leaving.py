"""Clients that leave: whatever they had said, and whatever their backend does, the exchange ends within `half_close`."""

import asyncio
import random
from collections.abc import Callable

import pytest

from tests.support.edge import RunningEdge, until
from tests.support.wire import Backend, End, Ended
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

HOST = b"Host: shop.miosa.app\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nhi"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"

OFFER = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
SWITCH = b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

WAYS = ["close", "reset", "half_close"]


async def gone(edge: RunningEdge, seconds: float | None = None) -> None:
    """Wait until no exchange is under way, with the clock put forward by `half_close`, and a sweep before and after."""
    await edge.turns()
    edge.advance(0.1)
    edge.advance(edge.limits.half_close + 0.1 if seconds is None else seconds)
    await until(lambda: not under_way(edge), edge.busy)
    edge.advance(0.1)
    assert edge.proxy._worker.without_client == 0


def under_way(edge: RunningEdge) -> list[str]:
    return [what for what in edge.busy() if what.startswith(("exchange", "load", "task", "tunnel"))]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "said",
    [
        POST + b"\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + GET,
        CHUNKED + POST + CHUNKED,
        GET + GET,
        GET + b"GET / HT",
        GET + b"\0" * 100,
        GET * 1000,
        POST + POST * 600,
        POST + b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 50000\r\n\r\n" + b"x" * 50000,
    ],
)
async def test_a_client_that_leaves_a_silent_backend(edge: RunningEdge, said: bytes, way: str) -> None:
    """More than a request has arrived, in one piece: however much waits behind it, the end is heard."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(said)
    end = await backend.accept()
    await end.read_request()
    await edge.turns()
    getattr(client, way)()
    await gone(edge)
    assert edge.endings[0] == "CH"
    assert await end.read_until_gone() == b""


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_client_that_leaves_while_its_upload_is_held_up(edge: RunningEdge, way: str) -> None:
    """The backend reads nothing, so that the client is not read either."""
    backend = edge.backend("shop", receive_buffer=4096)
    client = await edge.client()
    await client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100000000\r\n\r\n")
    end = await backend.accept()
    await end.read_head()
    await until(lambda: not client.send_some(b"x" * 65536) and edge.held() > 0)
    await edge.turns(100)
    if way == "close":  # what does not fit into our kernel hides the end behind it: let that through first
        client.half_close()
        while await asyncio.wait_for(asyncio.get_running_loop().sock_recv(end.sock, 1 << 16), 5):
            await edge.turns(2)
            edge.advance(0)
            if edge.proxy._worker.without_client:
                break
        client.close()
    else:
        client.reset()
    await gone(edge)
    assert edge.endings == ["CH"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_leaves_a_dial_with_its_body_unread(build_edge: BuildEdge, way: str) -> None:
    """Nothing of the body is read before there is where to put it: the end behind it is heard all the same."""
    edge = await build_edge(dial=30.0, half_close=0.5)
    backend = edge.backend("shop", listening=False)
    backend.listen_full()
    client = await edge.client()
    await client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 50000\r\n\r\n")
    await until(lambda: any("dial" in what for what in edge.busy()), edge.busy)
    await client.send(b"x" * 50000)
    await edge.turns()
    getattr(client, way)()
    await gone(edge)
    assert edge.endings == ["CD"]


async def test_a_stream_whose_client_is_reset_after_its_end(edge: RunningEdge) -> None:
    """It said that it sends no more, was sent something, and was not there: the next word need not come."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(GET)
    end, _ = await backend.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await client.read_head()
    client.half_close()
    await edge.turns()
    client.close()
    await end.send(b"2\r\nhi\r\n")
    await edge.turns()
    edge.advance(0.1)
    await until(lambda: not under_way(edge), edge.busy)
    assert edge.endings == ["CB"]


# What does not fit into our kernel hides a close behind it, but never a reset.
@pytest.mark.parametrize(("way", "stuck"), [("close", False), ("half_close", False), ("reset", False), ("reset", True)])
async def test_a_client_that_leaves_its_websocket(edge: RunningEdge, way: str, stuck: bool) -> None:
    """Also where the backend reads nothing more, so that the client is read no more, and closes nothing."""
    backend = edge.backend("shop", receive_buffer=4096)
    client = await edge.client()
    await client.send(OFFER)
    await backend.answer(SWITCH)
    await client.read_head()
    if stuck:
        await until(lambda: not client.send_some(b"x" * 65536) and edge.held_by_tunnels() > 0)
        await edge.turns(100)
    getattr(client, way)()
    await edge.turns()
    edge.advance(0.1)
    edge.advance(edge.limits.half_close + 0.1)
    edge.advance(edge.limits.body_idle + 0.1)  # what the backend did not take
    await until(lambda: not under_way(edge), edge.busy)
    assert edge.endings == ["CT" if way == "reset" else "--"]


async def test_what_a_backend_said_before_its_tunnel_broke(edge: RunningEdge) -> None:
    """A close frame in front of a reset arrives, whoever notices the reset first."""
    backend = edge.backend("shop")
    for _ in range(8):
        client = await edge.client()
        await client.send(OFFER)
        end, _ = await backend.answer(SWITCH)
        await client.read_head()
        await client.send(b"a")
        await edge.turns()
        await client.send(b"b" * 65536)
        await end.send(b"\x88\x02\x03\xe8")
        end.close()
        assert await client.read_until_gone() == b"\x88\x02\x03\xe8"
        client.close()
        await edge.settled()


# Any of it, in any order.

PIECES: list[Callable[[random.Random], bytes]] = [
    lambda _: GET,
    lambda _: POST,
    lambda _: CHUNKED,
    lambda _: b"\r\n",
    lambda pick: GET[: pick.randrange(len(GET))],
    lambda pick: POST[: pick.randrange(len(POST))],
    lambda pick: CHUNKED[: pick.randrange(len(CHUNKED))],
    lambda pick: GET * pick.randrange(400),
    lambda pick: (
        b"POST / HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 40000\r\n\r\n"
        + b"x" * pick.choice((0, 1, 10000, 39999, 40000, 40002))
    ),
    lambda _: GET.replace(b"shop", b"nobody"),
    lambda _: GET.replace(b"shop", b"closed"),
    lambda _: GET.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
    lambda _: GET.replace(b" HTTP/1.1", b" HTTP/1.0"),
    lambda _: OFFER,
    lambda pick: OFFER + b"x" * pick.randrange(50000),
    lambda pick: pick.randbytes(pick.randrange(30)),
]

SAID = [
    b"",
    b"H",
    SWITCH,
    SWITCH + b"x" * 100,
    OK[:20],
    OK,
    OK * 2,
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nabc",
    b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno",
]


async def serve(backend: Backend, pick: random.Random) -> None:
    """Accept each connection; on each be silent, read or not, and say something at some time, and perhaps close."""
    while True:
        sock, _ = await asyncio.get_running_loop().sock_accept(backend._listener)
        end = End(sock)
        backend.ends.append(end)
        for _ in range(pick.randrange(4)):
            await asyncio.sleep(0)
        if pick.random() < 0.7:
            end.arrived()
        end.send_some(pick.choice(SAID))
        if pick.random() < 0.2:
            end.close()


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_was_under_way_when_a_client_leaves(edge: RunningEdge, seed: int) -> None:
    """Random pieces of requests against backends that answer at random, cut off at any point, by an end or a reset."""
    pick = random.Random(seed)
    backend = edge.backend("shop")
    edge.backend("closed", listening=False)
    serving = asyncio.create_task(serve(backend, pick), name="test: backend")
    try:
        for number in range(60):
            client = await edge.client()
            said = b"".join(pick.choice(PIECES)(pick) for _ in range(pick.randrange(1, 5)))[:60000]
            at = 0
            while at < len(said):
                size = pick.choice((1, 7, 100, 10000, 60000))
                try:
                    await client.send(said[at : at + size])
                except Ended:
                    break
                at += size
                await edge.turns(pick.randrange(4))
            way = pick.choice(WAYS)
            getattr(client, way)()
            edge.advance(0.1)
            await edge.turns()
            for _ in range(8):  # what waited behind is taken up when the one before it has gone
                edge.advance(edge.limits.half_close + 0.1)
                await edge.turns()
            edge.advance(edge.limits.dial_window + edge.limits.dial)
            await until(lambda: not under_way(edge), lambda at=number, what=said, how=way: (at, how, what, edge.busy()))
            client.close()
    finally:
        serving.cancel()
        await asyncio.wait([serving])
    await edge.settled()
