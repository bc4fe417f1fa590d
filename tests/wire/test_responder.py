"""The responder on its sockets: answers, floods, hostile clients, a store that is away."""

import asyncio
import contextlib
import os

import dns.message
import dns.rcode
import pytest

from router.errors import StoreUnavailableError
from router.responder.connections import MAX_CONNECTIONS, MAX_OF_NETWORK, MAX_QUERIES
from router.responder.rate_limit import BURST, RATE
from tests.support.responder import RunningResponder, Sender, framed, one_message
from tests.support.responder_zone import OTHER, TOKEN, ZONE, query, said
from tests.support.waiting import PAUSE, eventually

pytestmark = pytest.mark.asyncio

TXT = f"{TOKEN}.{ZONE}"
FOUND = ("NOERROR", True, [f'"{"x" * 43}"', f'"{"y" * 43}"'])


async def test_udp_and_tcp() -> None:
    """Say the same, and a value that is new in the store is answered within a second or so."""
    async with RunningResponder() as responder:
        assert said(await responder.udp(query(TXT))) == FOUND
        assert said(await responder.tcp(query(TXT))) == FOUND
        assert said(await responder.udp(query(f"{OTHER}.{ZONE}"))) == ("NXDOMAIN", True, [])
        responder.orders.values = {OTHER: ("new",)}
        async with asyncio.timeout(2.5):  # answers are remembered for a second
            while said(await responder.udp(query(f"{OTHER}.{ZONE}")))[0] == "NXDOMAIN":
                await asyncio.sleep(PAUSE)
        assert said(await responder.udp(query(TXT))) == ("NXDOMAIN", True, [])
        assert responder.orders.reads <= 4
        assert (responder.counted("txt"), responder.counted("fixed")) == (3, 0)


async def test_an_answer_leaves_from_the_address_that_was_asked() -> None:
    """Also where the socket is bound to all of them: resolvers drop what comes from elsewhere."""
    async with RunningResponder("0.0.0.0:0") as responder:
        # The library refuses an answer from another address.
        assert said(await responder.udp(query(TXT), "127.0.3.4")) == FOUND
    async with RunningResponder("[::]:0") as responder:
        assert said(await responder.udp(query(TXT), "::1")) == FOUND
        assert said(await responder.udp(query(TXT), "127.0.3.4")) == FOUND


async def test_a_store_that_is_away() -> None:
    """Tokens get SERVFAIL, the rest of the zone is answered, and the values are back with the store."""
    async with RunningResponder() as responder:
        responder.orders.error = StoreUnavailableError("gone")
        for send in (responder.udp, responder.tcp):
            assert said(await send(query(TXT))) == ("SERVFAIL", False, [])
            assert (await send(query(ZONE, "SOA"))).rcode() == dns.rcode.NOERROR
        responder.orders.error = None
        deadline = asyncio.get_running_loop().time() + 10
        while said(await responder.udp(query(TXT))) != FOUND:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)


async def test_a_store_that_hangs() -> None:
    """Holds up whoever asks first, for a second at most; who asks then hears at once that it is away."""
    async with RunningResponder() as responder:
        responder.orders.hold = asyncio.Event()
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert said(await responder.udp(query(TXT))) == ("SERVFAIL", False, [])
        assert loop.time() - started < 5
        reads = responder.orders.reads
        started = loop.time()
        for _ in range(20):
            assert said(await responder.udp(query(TXT))) == ("SERVFAIL", False, [])
        assert responder.orders.reads - reads <= 1 + (loop.time() - started)
        responder.orders.hold.set()


async def test_invented_tokens_cost_one_reading() -> None:
    """However many there are: none is looked up by itself."""
    async with RunningResponder() as responder:
        letters = "abcdefghijklmnopqrstuvwxyz234567"
        for place in range(100):
            token = "".join(letters[byte % 32] for byte in os.urandom(32))
            assert said(await responder.udp(query(f"{token}.{ZONE}")))[0] == "NXDOMAIN", place
        assert responder.orders.reads <= 5


async def test_a_flood_of_one_network() -> None:
    """Is answered as far as its share goes, then told to use TCP or dropped, and gets no more bytes than it sent; others are
    answered meanwhile."""
    wire = query(ZONE, "NS").to_wire()
    async with RunningResponder() as responder:
        loop = asyncio.get_running_loop()
        with Sender(responder.port, "127.0.7.1") as flood, Sender(responder.port, "127.0.8.1") as other:
            started = loop.time()
            answers: list[bytes] = []
            while responder.counted("limited") <= BURST:
                assert loop.time() - started < 30, "never limited"
                for _ in range(20):
                    flood.send(wire)
                await asyncio.sleep(0.005)
                answers += flood.received()
            asked = 0
            while not (heard := other.received()):  # what the kernel drops is asked again, as resolvers do
                other.send(wire)
                asked += 1
                assert asked < 100
                await asyncio.sleep(0.1)
            assert dns.message.from_wire(heard[0]).answer
            took = loop.time() - started
            answers += flood.received()
            whole = [one for one in answers if not one[2] & 0x02]
            assert BURST <= len(whole) <= BURST + RATE * (took + 1)
            cut = [one for one in answers if one[2] & 0x02]
            assert cut
            assert all(len(one) <= len(wire) for one in cut)
        # Who was told so gets its answer over TCP.
        assert (await responder.tcp(query(ZONE, "NS"))).answer


async def test_an_end_while_the_store_is_read() -> None:
    """The query that waits for it goes unanswered, and nothing is left behind."""
    async with RunningResponder() as responder:
        responder.orders.hold = asyncio.Event()
        with Sender(responder.port) as sender:
            sender.send(query(TXT).to_wire())
            await eventually(lambda: responder.orders.reads, "the store is read")
            _, writer = await responder.open()
            writer.write(framed(query(TXT).to_wire()))
    writer.close()


async def test_responses_and_garbage() -> None:
    """A response is not answered, or two servers could talk for ever; neither is less than a header. What follows is."""
    async with RunningResponder() as responder:
        with Sender(responder.port) as sender:
            response = dns.message.make_response(query(ZONE, "SOA")).to_wire()
            for wire in (response, b"", b"\0", os.urandom(2) + b"\x80" + os.urandom(60), b"x" * 3000):
                sender.send(wire)
            asked = query(ZONE, "SOA")
            sender.send(asked.to_wire())
            assert asked.is_response(dns.message.from_wire(await sender.receive()))
            assert sender.received() == []
            assert responder.counted("dropped") == 5


@pytest.mark.parametrize("kind", ["ANY", "AXFR", "IXFR"])
async def test_what_would_give_the_zone_away(kind: str) -> None:
    """Is refused, over TCP too: nobody can list the names of customers' orders."""
    wire = query(ZONE, kind).to_wire()
    async with RunningResponder() as responder:
        with Sender(responder.port) as sender:
            sender.send(wire)
            over_udp = await sender.receive()
        reader, writer = await responder.open()
        writer.write(framed(wire))
        over_tcp = await one_message(reader)
        writer.close()
        await writer.wait_closed()
    for answer in (over_udp, over_tcp):
        message = dns.message.from_wire(answer)
        assert (message.rcode(), message.answer) == (dns.rcode.REFUSED, [])


async def test_pipelined_queries() -> None:
    """Come in one packet or byte by byte, and are answered in their order, so many on one connection; then it is closed."""
    async with RunningResponder() as responder:
        reader, writer = await responder.open()
        asked = [query(TXT) for _ in range(MAX_QUERIES + 5)]
        for byte in framed(asked[0].to_wire()):
            writer.write(bytes([byte]))
            await writer.drain()
        writer.write(b"".join(framed(one.to_wire()) for one in asked[1:]))
        for one in asked[:MAX_QUERIES]:
            assert one.is_response(dns.message.from_wire(await one_message(reader)))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await one_message(reader)
        writer.close()


@pytest.mark.parametrize(
    "sent", [b"", b"\0", b"\0\x40" + b"x" * 20, b"\0\x03abc", b"\xff\xff" + b"x" * 100, b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_a_connection_that_says_nothing_sound(sent: bytes) -> None:
    """Is closed, at once or after a while, with no answer."""
    async with RunningResponder(idle=0.2) as responder:
        reader, writer = await responder.open()
        writer.write(sent)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):  # it closed with bytes of ours unread
                assert await reader.read() == b""
        writer.close()


async def test_a_hoarder_of_connections() -> None:
    """From many networks: who comes after gets in, in the place of the oldest."""
    async with RunningResponder() as responder:
        hoarded = []
        for number in range(MAX_CONNECTIONS):
            source = (f"127.1.{number // MAX_OF_NETWORK}.1", 0)
            hoarded.append(await asyncio.open_connection("127.0.0.1", responder.port, local_addr=source))
        assert said(await responder.tcp(query(TXT))) == FOUND
        async with asyncio.timeout(5):
            assert await hoarded[0][0].read() == b""
        assert responder.counted("limited") == 1
        for _, writer in hoarded:
            writer.close()


async def test_a_response_over_tcp() -> None:
    """Ends the connection."""
    async with RunningResponder() as responder:
        reader, writer = await responder.open()
        writer.write(framed(dns.message.make_response(query(ZONE, "SOA")).to_wire()))
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_connections_are_bounded() -> None:
    """Those of one network too many are closed at once; when others have gone there is room again, and UDP goes on."""
    async with RunningResponder() as responder:
        opened = [await responder.open() for _ in range(MAX_OF_NETWORK + 3)]
        await eventually(lambda: responder.counted("limited") == 3, "three were refused")
        ended = [reader for reader, _ in opened if reader.at_eof()]
        assert len(ended) <= 3
        assert said(await responder.udp(query(TXT))) == FOUND
        for _, writer in opened:
            writer.close()

        async def answered() -> bool:
            try:
                return said(await responder.tcp(query(TXT))) == FOUND
            except (EOFError, OSError):
                return False

        deadline = asyncio.get_running_loop().time() + 10
        while not await answered():
            assert asyncio.get_running_loop().time() < deadline
