"""HTTP/2 from those who mean harm, or don't know better: what breaks a connection ends it, what breaks a stream ends that
stream, and nobody else notices."""

import asyncio
import struct

import pytest

from tests.support.edge import FRONT, OUTSIDE, RunningEdge, until
from tests.support.http2_peer import Http2Peer
from tests.support.wire import Backend, End, Ended
from tests.wire.conftest import BuildEdge
from tests.wire.test_http2 import GRPC, STATUS, accepted, front, h2c

pytestmark = pytest.mark.asyncio

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A field as HPACK has it without compression (RFC 7541 §6.2.2)."""
    return b"\0" + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes((len(text),)) + text
    left, out = len(text) - 127, b"\x7f"
    while left >= 128:
        out += bytes((left % 128 + 128,))
        left //= 128
    return out + bytes((left,)) + text


def block(*fields: tuple[bytes, bytes], **pseudo: bytes) -> bytes:
    named = {"method": b"POST", "scheme": b"http", "authority": b"shop.miosa.app", "path": b"/"} | pseudo
    head = b"".join(literal(b":" + name.encode(), value) for name, value in named.items())
    return head + b"".join(literal(*field) for field in fields)


def request(stream: int = 1, flags: int = 5) -> bytes:
    return frame(1, flags, stream, block())


async def raw(edge: RunningEdge, source: str = OUTSIDE) -> End:
    """A client that has said the preface and its settings."""
    client = await edge.client(source)
    await client.send(PREFACE + SETTINGS)
    return client


async def goaway(end: End) -> int:
    """The code that the connection ends with."""
    data = b""
    try:
        while True:
            data += await end.read_some()
    except Ended:
        pass
    codes = []
    while len(data) >= 9:
        size = 9 + int.from_bytes(data[:3], "big")
        if data[3] == 7:
            codes.append(int.from_bytes(data[13:17], "big"))
        data = data[size:]
    assert codes, "no GOAWAY"
    return codes[-1]


async def goaway_or_end(end: End) -> None:
    """Read to the end."""
    while True:
        try:
            await end.read_some()
        except Ended:
            return


# (what is sent behind preface and settings, the code of the GOAWAY)
CONNECTION_FAULTS = {
    "a frame that is too large": (frame(0, 0, 1, b"")[:0] + b"\x01\x00\x01\0\0\0\0\0\1", 6),
    "DATA of the connection": (frame(0, 0, 0, b"x"), 1),
    "DATA of an idle stream": (frame(0, 0, 7, b"x"), 1),
    "HEADERS of the connection": (frame(1, 5, 0, block()), 1),
    "an even stream": (frame(1, 5, 2, block()), 1),
    "padding longer than the frame": (frame(1, 0xD, 1, b"\xff" + block()[:20]), 1),
    "a block that is no HPACK": (frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff"), 9),
    "an index beyond the table": (frame(1, 5, 1, b"\xff\x80\x01"), 9),
    "a header section that is interrupted": (frame(1, 1, 1, block()) + frame(6, 0, 0, b"12345678"), 1),
    "CONTINUATION of another stream": (frame(1, 1, 1, block()) + frame(9, 4, 3, b""), 1),
    "CONTINUATION of nothing": (frame(9, 4, 1, b""), 1),
    "PRIORITY of the connection": (frame(2, 0, 0, b"12345"), 1),
    "RST_STREAM of an idle stream": (frame(3, 0, 9, b"\0\0\0\0"), 1),
    "RST_STREAM of a wrong size": (request() + frame(3, 0, 1, b"\0"), 6),
    "SETTINGS of a stream": (frame(4, 0, 1, b""), 1),
    "SETTINGS of a wrong size": (frame(4, 0, 0, b"12345"), 6),
    "an acknowledgement with a payload": (frame(4, 1, 0, b"123456"), 6),
    "a window beyond 2^31": (frame(4, 0, 0, b"\0\4\xff\xff\xff\xff"), 3),
    "a frame size beyond its bounds": (frame(4, 0, 0, b"\0\5\0\0\0\1"), 1),
    "push that is neither on nor off": (frame(4, 0, 0, b"\0\2\0\0\0\2"), 1),
    "PUSH_PROMISE": (frame(5, 4, 1, b"\0\0\0\2"), 1),
    "PING of a stream": (frame(6, 0, 1, b"12345678"), 1),
    "PING of a wrong size": (frame(6, 0, 0, b"1234"), 6),
    "GOAWAY of a stream": (frame(7, 0, 1, b"\0" * 8), 1),
    "WINDOW_UPDATE of nothing": (frame(8, 0, 0, b"\0\0\0\0"), 1),
    "WINDOW_UPDATE of a wrong size": (frame(8, 0, 0, b"\0\0"), 6),
    "a connection's window that overflows": (frame(8, 0, 0, b"\x7f\xff\xff\xff"), 3),
    "WINDOW_UPDATE of an idle stream": (frame(8, 0, 5, b"\0\0\0\1"), 1),
    "a header section without an end": (frame(1, 1, 1, block()) + frame(9, 0, 1, b"x" * 16000) * 6, 11),
    "a header list beyond its limit": (frame(1, 1, 1, block()) + frame(9, 4, 1, b"\x82" * 3000), 9),
    "a flood of pings": (frame(6, 0, 0, b"12345678") * 5000, 11),
    "a flood of settings": (frame(4, 0, 0) * 5000, 11),
    "more settings than there are": (frame(4, 0, 0, b"\0\4\0\0\1\0" * 100), 11),
    "a flood of empty CONTINUATION": (frame(1, 1, 1, block()) + frame(9, 0, 1) * 5000, 11),
    "a flood of empty DATA": (request(flags=4) + frame(0, 0, 1) * 5000, 11),
    "a flood of WINDOW_UPDATE": (frame(8, 0, 0, b"\0\0\0\1") * 5000, 11),
    "a flood of priorities": (frame(2, 0, 3, b"\0\0\0\0\0") * 5000, 11),
    "a flood of what is unknown": (frame(0x77, 0, 0, b"x") * 5000, 11),
    "a flood of streams that are reset": (
        b"".join(request(number) + frame(3, 0, number, b"\0\0\0\x08") for number in range(1, 4001, 2)),
        11,
    ),
}


@pytest.mark.parametrize(("sent", "code"), CONNECTION_FAULTS.values(), ids=CONNECTION_FAULTS)
async def test_what_breaks_a_connection_ends_it(edge: RunningEdge, sent: bytes, code: int) -> None:
    """GOAWAY with the code that RFC 9113 names, and the end; a neighbour's connection goes on."""
    backend = edge.backend("shop")
    client = await raw(edge)
    sending = asyncio.create_task(_send(client, sent), name="test: sending")
    assert await goaway(client) == code
    await sending
    neighbour = await edge.client()
    await neighbour.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    while True:
        end = await backend.accept()
        try:
            request_head = await end.read_head()
        except Ended:  # of the exchange that was cut off
            continue
        if request_head.method == b"GET":
            break
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert (await neighbour.read_response()).body == b"ok"


async def _send(client: End, data: bytes) -> None:
    try:
        await client.send(data)
    except Ended:
        return


async def test_settings_must_come_first(edge: RunningEdge) -> None:
    """Behind the preface nothing else may stand."""
    client = await edge.client()
    await client.send(PREFACE + frame(6, 0, 0, b"12345678"))
    assert await goaway(client) == 1


async def test_a_preface_that_comes_byte_by_byte(edge: RunningEdge) -> None:
    """However it is cut, it is HTTP/2."""
    edge.backend("shop", listening=False)
    client = await edge.client()
    await client.dribble(PREFACE + SETTINGS + request())
    data = b""
    while b"port_closed" not in data:
        data += await client.read_some()


async def test_a_preface_after_a_request_is_none(edge: RunningEdge) -> None:
    """A connection of HTTP/1.1 stays one (RFC 9113 §3.4 is about its beginning)."""
    client = await edge.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: none.miosa.app\r\n\r\n")
    assert (await client.read_response()).status == 404
    await client.send(PREFACE + SETTINGS)
    assert (await client.read_response()).status in (400, 505)


async def test_a_preface_without_an_end(build_edge: BuildEdge) -> None:
    """It has as long as a head."""
    edge = await build_edge()
    client = await edge.client()
    await client.send(PREFACE[:20])
    await until(lambda: bool(edge.proxy._worker.http2_clients))
    edge.advance(edge.limits.head_time + 1)
    await goaway_or_end(client)


# (a header block, or None where the frames are whole; what is sent) that resets one stream
MALFORMED = {
    "upper case": block((b"X-Upper", b"a")),
    "a line end in a value": block((b"x-a", b"b\r\nx-smuggled: 1")),
    "a NUL in a value": block((b"x-a", b"b\0c")),
    "a blank in a name": block((b"x a", b"b")),
    "a colon in a name": block((b"x:a", b"b")),
    "an empty name": block((b"", b"b")),
    "a blank before a value": block((b"x-a", b" b")),
    "transfer-encoding": block((b"transfer-encoding", b"chunked")),
    "connection": block((b"connection", b"close")),
    "upgrade": block((b"upgrade", b"websocket")),
    "te that is not trailers": block((b"te", b"gzip")),
    "a path with a line end": block(path=b"/ HTTP/1.1\r\nx: y"),
    "a path with a blank": block(path=b"/a b"),
    "no path": block(path=b""),
    "an authority with a line end": block(authority=b"shop.miosa.app\r\nx: y"),
    "a method with a blank": block(method=b"GET /"),
    "a pseudo-header twice": block() + literal(b":path", b"/b"),
    "a pseudo-header behind a field": block((b"x-a", b"b")) + literal(b":path", b"/b"),
    "one of a response": block() + literal(b":status", b"200"),
    "two hosts that differ": block((b"host", b"other.miosa.app")),
    "two lengths that differ": block((b"content-length", b"1"), (b"content-length", b"2")),
    "a length that is no number": block((b"content-length", b"+1")),
    "a length without a body": block((b"content-length", b"5")),
    "no method": b"".join(literal(b":" + n, v) for n, v in ((b"scheme", b"http"), (b"path", b"/"))),
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_request_is_reset_and_the_next_one_served(edge: RunningEdge, fields: bytes) -> None:
    """Nothing of it reaches a backend, and the connection, which may carry other visitors, goes on."""
    backend = edge.backend("shop")
    client = await raw(edge)
    await client.send(frame(1, 5, 1, fields) + frame(1, 5, 3, block(path=b"/good")))
    end = await backend.accept()
    head = await end.read_head()
    assert head.target == b"/good"
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")
    data = b""
    while b"body" not in data:
        data += await client.read_some()
    assert frame(3, 0, 1, b"\0\0\0\1") in data
    assert not backend.has_visitor()


@pytest.mark.parametrize(
    ("length", "bodies"),
    [(b"3", [b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n"]), (b"10", [b"short"]), (b"0", [b"x"])],
)
async def test_a_body_that_is_not_as_long_as_it_says(edge: RunningEdge, length: bytes, bodies: list[bytes]) -> None:
    """It is reset: what is too much never becomes a request of its own."""
    backend = edge.backend("shop")
    client = await raw(edge)
    sent = frame(1, 4, 1, block((b"content-length", length)))
    await client.send(sent + b"".join(frame(0, 0, 1, body) for body in bodies[:-1]) + frame(0, 1, 1, bodies[-1]))
    data = b""
    while frame(3, 0, 1, b"\0\0\0\1") not in data:
        data += await client.read_some()
    client.close()
    await edge.idle()
    assert [exchange.method for exchange in edge.finished] == [b"POST"]
    backend.has_visitor()


async def test_more_than_a_window_is_reset(edge: RunningEdge) -> None:
    """A client that ignores its window loses that stream; what is held for it stays bounded."""
    edge.backend("shop", listening=False)
    backend = edge.backend("slow")
    client = await raw(edge)
    await client.send(frame(1, 4, 1, block(authority=b"slow.miosa.app")))
    sending = asyncio.create_task(_send(client, frame(0, 0, 1, b"x" * 16000) * 200), name="test: sending")
    data = b""
    while frame(3, 0, 1, b"\0\0\0\3") not in data:
        data += await client.read_some()
    await sending
    assert edge.held() < 600_000
    backend.has_visitor()


# Backends.


async def hostile(edge: RunningEdge) -> tuple[Backend, End, Http2Peer, int]:
    """A backend whose connection is ours to misuse, with one call under way."""
    backend = h2c(edge)
    client = await front(edge)
    stream = await client.request(*GRPC, body=b"x")
    end = await backend.accept()
    await end.send(SETTINGS)
    await end.read_until(b"SM\r\n\r\n")
    data = b""
    while b"/" not in data:
        data += await end.read_some()
    return backend, end, client, stream


FROM_BACKENDS = {
    "a flood of pings": frame(6, 0, 0, b"12345678") * 5000,
    "a flood of settings": frame(4, 0, 0) * 5000,
    "a flood of interim responses": frame(1, 4, 1, literal(b":status", b"103")) * 5000,
    "a flood of empty DATA": frame(1, 4, 1, literal(b":status", b"200")) + frame(0, 0, 1) * 5000,
    "CONTINUATION without an end": frame(1, 0, 1, literal(b":status", b"200")) + frame(9, 0, 1) * 5000,
    "PUSH_PROMISE": frame(5, 4, 1, b"\0\0\0\2" + block()),
    "a stream of its own": frame(1, 5, 2, literal(b":status", b"200")),
    "HTTP/1.1": b"HTTP/1.1 200 OK\r\n\r\n",
    "a response with a line end in a value": frame(
        1, 5, 1, literal(b":status", b"200") + literal(b"x-a", b"b\r\nset-cookie: c")
    ),
    "no status": frame(1, 5, 1, literal(b"x-a", b"b")),
    "a status that is none": frame(1, 5, 1, literal(b":status", b"2000")),
    "101": frame(1, 4, 1, literal(b":status", b"101")),
    "DATA before a head": frame(0, 1, 1, b"x"),
    "a length that is too short": frame(1, 4, 1, literal(b":status", b"200") + literal(b"content-length", b"2"))
    + frame(0, 1, 1, b"longer"),
    "RST_STREAM": frame(3, 0, 1, b"\0\0\0\2"),
    "GOAWAY that leaves it out": frame(7, 0, 0, b"\0\0\0\0\0\0\0\0"),
}


@pytest.mark.parametrize("said", FROM_BACKENDS.values(), ids=FROM_BACKENDS)
async def test_a_backend_that_misbehaves_fails_its_own_calls(edge: RunningEdge, said: bytes) -> None:
    """The client gets an end that it understands, and its connection goes on for others."""
    other = h2c(edge, "other")
    _, end, client, stream = await hostile(edge)
    sending = asyncio.create_task(_send(end, said), name="test: sending")
    answer = await client.whole(stream)
    assert (answer.get(b"grpc-status"), answer.reset) in ((b"14", None), (None, 2)) or answer.reset is not None
    await sending
    good = await client.request(*GRPC, authority=b"other.miosa.app", body=b"x")
    server = await accepted(other)
    await server.respond(await server.until_new(), (b":status", b"200"), body=b"y", trailers=STATUS)
    assert (await client.whole(good)).body == b"y"
    assert edge.endings[0][0] in "BE"


async def test_a_backend_that_does_not_read(edge: RunningEdge) -> None:
    """What it would have to acknowledge does not pile up here."""
    _, end, client, stream = await hostile(edge)
    client.reads = True

    async def flood() -> None:
        ping = frame(6, 0, 0, b"12345678") * 100 + frame(0, 0, 1, b"x")
        await _send(end, frame(1, 4, 1, literal(b":status", b"200")) + ping * 2000)

    sending = asyncio.create_task(flood(), name="test: flood")
    message = client.messages[stream]
    async with asyncio.timeout(20):
        while not message.ended and message.reset is None:
            await client.read()
    await sending


async def test_a_neighbour_is_served_beside_a_flood(edge: RunningEdge) -> None:
    """A trusted front's connection may carry anybody's resets; each turn of the loop takes few of them."""
    backend = edge.backend("shop")
    client = await raw(edge, FRONT)
    flood = b"".join(request(number) + frame(3, 0, number, b"\0\0\0\x08") for number in range(1, 3001, 2))
    sending = asyncio.create_task(_send(client, flood), name="test: flood")
    neighbour = await edge.client()
    await neighbour.send(b"GET /neighbour HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    served = False
    while not served:
        end = await backend.accept()
        try:
            head = await end.read_head()
        except Ended:
            continue
        if head.target == b"/neighbour":
            await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            served = True
    assert (await neighbour.read_response()).body == b"ok"
    await sending
    client.close()
    await edge.idle()


async def test_bytes_one_by_one_are_held_together(build_edge: BuildEdge) -> None:
    """A backend that sends frames of one byte to a client that does not read takes as much memory as one with large frames,
    not a hundred times as much."""
    edge = await build_edge(buffer=4096, whole_body=4096)
    backend = h2c(edge)
    client = await front(edge, initial_window_size=0)
    await client.request(*GRPC, body=b"x")
    end = await backend.accept()
    await end.send(SETTINGS)
    await end.read_until(b"SM\r\n\r\n")
    data = b""
    while b"/" not in data:
        data += await end.read_some()
    count = 30_000
    await end.send(frame(1, 4, 1, literal(b":status", b"200")))
    await end.send(frame(0, 0, 1, b"x") * count)
    worker = edge.proxy._worker
    streams = [stream for one in (*worker.http2_backends, *worker.http2_clients) for stream in one.transports]

    def held() -> int:
        return sum(sum(size for _, size in stream._held) + stream._queued for stream in streams)

    await until(lambda: held() == count, held)
    assert sum(len(stream._held) + len(stream._queue) for stream in streams) < 20


async def test_a_window_given_byte_by_byte_is_shared(edge: RunningEdge) -> None:
    """Streams that a connection's window holds up have it in turn, and only those are looked at that get some of it."""
    backend = edge.backend("shop")
    client = await raw(edge, FRONT)
    grown = frame(4, 0, 0, b"\0\4\0\x10\0\0")  # each stream's window, not the connection's
    await client.send(grown + b"".join(request(number) for number in (1, 3, 5)))
    for _ in range(3):
        end = await backend.accept()
        await end.read_head()
        await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 80000\r\n\r\n" + b"x" * 80000)
    await until(lambda: len(_blocked(edge)) == 3, lambda: _blocked(edge))
    data = b""
    while data.count(b"x") < 65_535:
        data += await client.read_some()
    turns = []
    for _ in range(6):
        await client.send(frame(8, 0, 0, b"\0\0\0\1"))
        data = b""
        while len(data) < 10:
            data += await client.read_some()
        turns.append(int.from_bytes(data[5:9], "big"))
    assert sorted(turns[:3]) == [1, 3, 5]
    assert turns[3:] == turns[:3]
    client.close()
    await edge.idle()


def _blocked(edge: RunningEdge) -> list[object]:
    return [stream for client in edge.proxy._worker.http2_clients for stream in client._blocked]
