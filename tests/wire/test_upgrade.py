"""Upgrades: what is offered on, what becomes a tunnel, and how a tunnel ends."""

import asyncio
import contextlib
import gc

import pytest

from router.errors import HOST_NOT_FOUND
from router.proxy.exchange import Exchange
from router.proxy.tunnel import Tunnel
from router.proxy.turn_budget import Paced
from tests.support.edge import RunningEdge, until
from tests.support.wire import Backend, End, Ended
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

OFFER = (
    b"GET /chat?room=1 HTTP/1.1\r\nHost: shop.miosa.app\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nsec-websocket-KEY: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate;  client_max_window_bits\r\nSec-WebSocket-Protocol: chat, superchat\r\n"
    b"Origin: https://shop.miosa.app\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-A: b\r\n\r\n"
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /smuggled HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n"
GOODBYE = b"\x88\x02\x03\xe9"  # a close frame with 1001


async def tunnel(edge: RunningEdge, offer: bytes = OFFER, answer: bytes = SWITCH) -> tuple[End, End, Backend]:
    """A client and a backend with a tunnel between them."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(offer)
    end, _ = await backend.answer(answer)
    assert (await client.read_head()).status == 101
    return client, end, backend


async def test_the_handshake_is_passed_on_as_it_is(edge: RunningEdge) -> None:
    """Every header that speaks of the new protocol, byte for byte; the hop's own are said anew, both ways."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(OFFER)
    end, request = await backend.answer(SWITCH)
    assert request.target == b"/chat?room=1"
    for line in OFFER.split(b"\r\n")[4:-2]:
        assert line in request.raw_head.split(b"\r\n")
    assert (request.get(b"connection"), request.get(b"upgrade")) == (b"Upgrade", b"websocket")
    answer = await client.read_head()
    assert answer.first == b"HTTP/1.1 101 Switching Protocols"
    assert (answer.get(b"connection"), answer.get(b"upgrade")) == (b"Upgrade", b"websocket")
    assert answer.get(b"sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer.get(b"x-a") == b"b"
    client.close()
    end.close()
    await edge.settled()


@pytest.mark.parametrize(
    ("connection", "upgrade"),
    [
        (b"Upgrade", b"websocket"),
        (b"upgrade", b"WebSocket"),
        (b"close, UPGRADE", b"websocket"),
        (b"a,, upgrade ,b", b"foo/1"),
    ],
)
async def test_offers_come_in_many_spellings(edge: RunningEdge, connection: bytes, upgrade: bytes) -> None:
    """Connection is a list of words in any case; any protocol may be offered."""
    offer = (
        b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\nConnection: "
        + connection
        + b"\r\nUpgrade: "
        + upgrade
        + b"\r\n\r\n"
    )
    answer = b"HTTP/1.1 101 OK\r\nConnection: upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n"
    client, end, _ = await tunnel(edge, offer, answer)
    await client.send(b"ping")
    assert await end.read_exactly(4) == b"ping"
    client.close()
    end.close()


async def test_a_tunnel_keeps_no_header_lines(edge: RunningEdge) -> None:
    """They were sent to the backend, and a tunnel may be open for hours."""
    client, end, _ = await tunnel(edge)
    (open_,) = edge.proxy._worker.tunnels
    assert (open_.exchange.head.lines, open_.exchange.client_info.block) == ([], b"")
    client.close()
    end.close()


async def test_bytes_pass_both_ways_as_they_are(edge: RunningEdge) -> None:
    """Nothing is looked at: not even what would be a request, or what would be a chunk."""
    client, end, backend = await tunnel(edge)
    for data in (b"\x81\x05hello", GET, b"0\r\n\r\n", bytes(range(256)) * 1000):
        await client.send(data)
        assert await end.read_exactly(len(data)) == data
        await end.send(data[::-1])
        assert await client.read_exactly(len(data)) == data[::-1]
    client.close()
    assert await end.read_until_close() == b""
    end.close()
    await edge.settled()
    assert not backend.has_visitor()
    (finished,) = edge.finished
    assert finished.received == finished.sent == 7 + len(GET) + 5 + 256_000
    assert (finished.ending, finished.status, finished.tunnel) == ("--", 101, True)


async def test_bytes_around_the_handshake_are_not_lost(edge: RunningEdge) -> None:
    """What the client sends before the 101, and what comes in one piece with it."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(OFFER + b"early")
    end = await backend.accept()
    await end.read_head()
    assert end.arrived() == b""
    await client.send(b"-bird")
    await edge.turns()
    await end.send(SWITCH + b"welcome")
    assert (await client.read_head()).status == 101
    assert await client.read_exactly(7) == b"welcome"
    assert await end.read_exactly(10) == b"early-bird"
    client.close()
    end.close()
    await edge.settled()
    assert (edge.finished[0].received, edge.finished[0].sent) == (10, 7)


@pytest.mark.parametrize("first", ["client", "backend"])
async def test_each_side_may_close_its_half(edge: RunningEdge, first: str) -> None:
    """The other goes on until it has said all."""
    client, end, _ = await tunnel(edge)
    one, other = (client, end) if first == "client" else (end, client)
    await one.send(b"last words")
    one.half_close()
    assert await other.read_until_close() == b"last words"
    await other.send(b"noted")
    assert await one.read_exactly(5) == b"noted"
    other.half_close()
    assert await one.read_until_close() == b""
    await edge.settled()
    assert edge.endings == ["--"]


@pytest.mark.parametrize(("who", "ending"), [("client", "CT"), ("backend", "BT")])
async def test_a_reset_ends_both_sides(edge: RunningEdge, who: str, ending: str) -> None:
    """The other side is not left with a connection that nobody is behind."""
    client, end, _ = await tunnel(edge)
    one, other = (client, end) if who == "client" else (end, client)
    one.reset()
    assert await other.read_until_gone() == b""
    await edge.settled()
    assert edge.endings == [ending]


@pytest.mark.parametrize("who", ["client", "backend"])
async def test_a_side_that_does_not_read_stops_the_other(edge: RunningEdge, who: str) -> None:
    """A tunnel holds a bounded part, and goes on where it stopped."""
    client, end, _ = await tunnel(edge)
    fast, slow = (end, client) if who == "client" else (client, end)
    sent = quiet = 0
    while quiet < 50:
        took = fast.send_some(b"x" * 65536)
        sent += took
        quiet = 0 if took else quiet + 1
        assert sent < 64 * 1024 * 1024
        assert edge.held_by_tunnels() <= edge.limits.buffer + 512 * 1024
        await asyncio.sleep(0.002 if quiet > 5 else 0)  # the kernel's turn
    assert await slow.read_exactly(sent) == b"x" * sent
    await fast.send(b"more")
    assert await slow.read_exactly(4) == b"more"
    await slow.send(b"back")
    assert await fast.read_exactly(4) == b"back"
    client.close()
    end.close()


@pytest.mark.parametrize("who", ["client", "backend"])
async def test_messages_and_much_at_once_arrive_whole(edge: RunningEdge, who: str) -> None:
    """Small messages are read by themselves; what is more is read in shares, until only small ones come again."""
    client, end, _ = await tunnel(edge)
    (open_,) = edge.proxy._worker.tunnels
    sender, receiver = (client, end) if who == "client" else (end, client)
    transport = (open_.client if who == "client" else open_.backend).transport
    much = bytes(range(256)) * 2048

    async def say(count: int) -> None:
        for number in range(count):
            message = b"message %06d" % number
            await sender.send(message)
            assert await receiver.read_exactly(len(message)) == message

    assert not isinstance(transport.get_protocol(), Paced)
    for _ in range(2):
        await say(3)
        assert not isinstance(transport.get_protocol(), Paced)
        sending = asyncio.create_task(sender.send(much), name="test: sending")
        assert await receiver.read_exactly(len(much)) == much
        await sending
        assert isinstance(transport.get_protocol(), Paced)
        await say(70)
    await receiver.send(b"back")
    assert await sender.read_exactly(4) == b"back"
    client.close()
    await edge.ended(1)
    end.close()


async def test_a_tunnel_that_may_hold_little_reads_no_more_than_that(build_edge: BuildEdge) -> None:
    """Small messages are read with more room than that, which is for when little comes."""
    edge = await build_edge(buffer=65536)
    await tunnel(edge)
    (open_,) = edge.proxy._worker.tunnels
    assert all(isinstance(one.transport.get_protocol(), Paced) for one in (open_.client, open_.backend))


async def test_a_side_that_is_stopped_is_read_in_shares(edge: RunningEdge) -> None:
    """What is read while the other side does not keep up is held, so it is less."""
    client, end, _ = await tunnel(edge)
    (open_,) = edge.proxy._worker.tunnels
    open_.client.pause()
    assert isinstance(open_.client.transport.get_protocol(), Paced)
    open_.client.resume()
    await client.send(b"on")
    assert await end.read_exactly(2) == b"on"


@pytest.mark.parametrize("who", ["client", "backend"])
async def test_bytes_around_the_handshake_fill_the_same_bounds(build_edge: BuildEdge, who: str) -> None:
    """A side that was slow before there was a tunnel stops the other one from its beginning."""
    edge = await build_edge(buffer=65536)
    backend = edge.backend("shop", receive_buffer=4096)
    client = await edge.client(receive_buffer=4096)
    await client.send(OFFER)
    end = await backend.accept()
    await end.read_head()
    if who == "backend":
        while client.send_some(b"x" * 65536):  # early; waits in the proxy and in the kernel
            await edge.turns(3)
    piled = b"x" * 4_000_000 if who == "client" else b""
    sender = asyncio.create_task(end.send(SWITCH + piled), name="test: sender")
    await until(lambda: bool(edge.proxy._worker.tunnels))
    fast = end if who == "client" else client
    quiet = 0
    while quiet < 50:
        took = fast.send_some(b"x" * 65536) if who == "backend" or sender.done() else 0
        quiet = 0 if took else quiet + 1
        assert edge.held_by_tunnels() <= edge.limits.buffer + 1024 * 1024
        await asyncio.sleep(0.002 if quiet > 5 else 0)  # the kernel's turn
    client.reset()
    with contextlib.suppress(Ended):
        await sender
    end.close()


async def test_another_answer_is_an_answer(edge: RunningEdge) -> None:
    """A backend that does not switch is relayed like any other, and both connections go on."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(OFFER)
    end, _ = await backend.answer(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno")
    answer = await client.read_response()
    assert (answer.status, answer.body, answer.get(b"www-authenticate")) == (401, b"no", b"Basic")
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    await end.read_request()
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    assert edge.endings == ["--", "--"]


async def test_426_says_what_to_upgrade_to(edge: RunningEdge) -> None:
    """RFC 9110 §15.5.22: without Upgrade it would mean nothing."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    await backend.answer(
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n"
    )
    answer = await client.read_response()
    assert (answer.get(b"upgrade"), answer.get(b"connection")) == (b"websocket", b"Upgrade")


async def test_bytes_behind_an_offer_that_is_turned_down_are_no_request(edge: RunningEdge) -> None:
    """They may be meant for the new protocol, so they are for nobody: the connection ends with the answer."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(OFFER + GET)
    end, _ = await backend.answer(OK)
    answer = await client.read_response()
    assert (answer.status, answer.get(b"connection")) == (200, b"close")
    assert await client.read_until_close() == b""
    client.close()
    await edge.settled()
    assert end.arrived() == b""
    assert len(edge.finished) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 OK\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket, foo\r\n\r\n",
    ],
)
async def test_a_101_to_something_else_is_502(edge: RunningEdge, answer: bytes) -> None:
    """Only what was offered can be accepted."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(OFFER)
    end, _ = await backend.answer(answer + b"hello")
    assert (await client.read_response()).status == 502
    await end.read_until_gone()
    await edge.idle()
    assert edge.endings == ["BH"]


async def test_an_upgrade_takes_a_kept_connection_and_never_gives_it_back(edge: RunningEdge) -> None:
    """After the tunnel there is nothing left of it."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    end, _ = await backend.answer(OK)
    await client.read_response()
    await client.send(OFFER)
    await end.read_request()
    await end.send(SWITCH)
    await client.read_head()
    await client.send(b"ping")
    assert await end.read_exactly(4) == b"ping"
    client.close()
    await end.read_until_gone()
    end.close()
    await edge.settled()
    assert edge.kept() == 0
    assert edge.finished[1].reused


async def test_tunnels_have_places_of_their_own(build_edge: BuildEdge) -> None:
    """As long as they live; the next one finds no room, and then it does. They take none from requests."""
    edge = await build_edge(exchanges_per_resource=1, tunnels_per_resource=1)
    client, end, backend = await tunnel(edge)
    visitor = await edge.client()
    await visitor.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    await backend.answer(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert (await visitor.read_response()).status == 200
    other = await edge.client()
    await other.send(OFFER)
    answer = await other.read_response()
    assert (answer.status, answer.get(b"retry-after")) == (429, b"1")
    client.close()
    end.close()
    await until(lambda: not edge.proxy._worker.tunnels)
    await other.send(OFFER)
    again, _ = await backend.answer(SWITCH)
    assert (await other.read_head()).status == 101
    other.close()
    again.close()


async def test_tunnels_count_as_connections_of_the_worker(build_edge: BuildEdge) -> None:
    """A socket is a socket: those that were upgraded leave less room for others."""
    edge = await build_edge(connections=2)
    client, end, _ = await tunnel(edge)
    second = await edge.client()
    await until(lambda: len(edge.proxy._worker.clients) == 1)
    third = await edge.client()
    assert (await third.read_response()).status == 503
    third.close()
    second.close()
    client.close()
    end.close()


async def test_an_idle_tunnel_ends_and_a_websocket_is_told(edge: RunningEdge) -> None:
    """1001 (going away) to both sides, masked towards the backend as a client's frames are."""
    client, end, _ = await tunnel(edge)
    edge.advance(edge.limits.tunnel_idle + 1)
    assert await client.read_until_close() == GOODBYE
    frame = await end.read_until_close()
    assert frame[:2] == b"\x88\x82"
    assert bytes(byte ^ frame[2 + place] for place, byte in enumerate(frame[6:])) == b"\x03\xe9"
    await edge.settled()
    assert edge.endings == ["cT"]


async def test_an_idle_tunnel_of_another_protocol_just_ends(edge: RunningEdge) -> None:
    """A frame of a WebSocket would be garbage in it; who owed an answer is said in the record."""
    offer = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n"
    client, end, _ = await tunnel(edge, offer, b"HTTP/1.1 101 OK\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n")
    await client.send(b"ping")
    assert await end.read_exactly(4) == b"ping"
    edge.advance(edge.limits.tunnel_idle + 1)
    assert await client.read_until_close() == b""
    assert await end.read_until_close() == b""
    await edge.settled()
    assert edge.endings == ["bT"]


async def test_a_websocket_in_the_middle_of_a_frame_is_not_written_into(build_edge: BuildEdge) -> None:
    """A goodbye there would be read as the frame's content: the connection just ends."""
    edge = await build_edge(tunnel_idle=1_000_000.0)
    client, end, _ = await tunnel(edge)
    edge.advance(edge.limits.tunnel_lifetime - 0.3)
    edge.clock.shift += 0.5  # the coarse clock has not noticed yet when the next byte comes
    await end.send(b"\x82\x7e\xff\xff beginning of a large frame")
    await client.read_until(b"large frame")
    edge.advance(0.1)
    assert await client.read_until_close() == b""
    await edge.settled()
    assert edge.endings == ["ET"]


async def test_a_tunnel_in_use_is_not_idle(edge: RunningEdge) -> None:
    """Any byte in either direction keeps it."""
    client, end, _ = await tunnel(edge)
    for one, other in [(client, end), (end, client)] * 3:
        edge.advance(edge.limits.tunnel_idle - 1)
        await one.send(b"x")
        assert await other.read_exactly(1) == b"x"
    assert edge.endings == []
    client.close()
    end.close()


async def test_a_tunnel_has_a_longest_life(edge: RunningEdge) -> None:
    """However busy it is."""
    client, end, _ = await tunnel(edge)
    for _ in range(int(edge.limits.tunnel_lifetime / 3000)):
        edge.advance(3000)
        await client.send(b"x")
        assert await end.read_exactly(1) == b"x"
    edge.advance(3000)
    assert await end.read_until_close() != b"x"
    await edge.settled()
    assert edge.endings == ["ET"]


async def test_a_tunnel_ends_with_its_route(edge: RunningEdge) -> None:
    """A resource that is deleted, blocked or hidden has no visitors left a moment later."""
    client, end, _ = await tunnel(edge)
    edge.advance(1)  # quiet for long enough to stand between two frames
    edge.resolver.drop(edge.records.remove("slug:shop"))
    assert await client.read_until_close() == GOODBYE
    await end.read_until_gone()
    await edge.settled()
    assert edge.endings == ["ET"]


async def test_a_tunnel_survives_a_change_that_leaves_its_route(edge: RunningEdge) -> None:
    """A new generation takes new visitors; the old program still has its own."""
    client, end, backend = await tunnel(edge)
    edge.point("shop", backend, generation="boot-2")
    await edge.turns(50)
    await client.send(b"ping")
    assert await end.read_exactly(4) == b"ping"
    client.close()
    end.close()


async def test_an_unknown_host_is_no_tunnel(edge: RunningEdge) -> None:
    """An offer to nobody gets the answer that everything gets."""
    client = await edge.client()
    await client.send(OFFER.replace(b"shop", b"nothing"))
    assert (await client.read_response()).status == HOST_NOT_FOUND.status


async def test_a_tunnel_that_is_over_leaves_nothing_to_the_collector(edge: RunningEdge) -> None:
    """It was old, and what is old the collector hardly ever looks at: thousands a day would fill the memory."""
    client, end, _ = await tunnel(edge)
    await client.send(b"ping")
    assert await end.read_exactly(4) == b"ping"
    gc.collect()
    gc.disable()
    try:
        client.close()
        end.close()
        await edge.settled()
        edge.recorder.flush()
        await edge.turns()
        left = [thing for thing in gc.get_objects() if type(thing) in (Tunnel, Exchange)]
        assert not left
    finally:
        gc.enable()
