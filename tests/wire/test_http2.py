"""HTTP/2 on either side: streams become exchanges like any other, and what was said goes on as it was said."""

import asyncio

import pytest

from tests.support.edge import FRONT, RunningEdge, until
from tests.support.http2_peer import Http2Peer
from tests.support.wire import Backend
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

GRPC = (
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
    (b"grpc-timeout", b"5S"),
    (b"x-custom-bin", b"AAEC"),
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STATUS = [(b"grpc-status", b"0"), (b"grpc-message", b"fine")]


async def front(edge: RunningEdge, source: str = FRONT, **options: int) -> Http2Peer:
    """A client that speaks HTTP/2."""
    return await Http2Peer(await edge.client(source), client=True, **options).start()


def h2c(edge: RunningEdge, slug: str = "shop", **options: object) -> Backend:
    """A program on a port that is set to h2c."""
    backend = edge.backend(slug, **options)
    edge.point(slug, backend, protocols={backend.port: "h2c"})
    return backend


async def accepted(backend: Backend, **options: int) -> Http2Peer:
    """The connection that is dialled, with its preface and settings said."""
    return await Http2Peer(await backend.accept(), client=False, **options).start()


# From end to end.


async def test_a_call(edge: RunningEdge) -> None:
    """A unary call of gRPC: head, messages and trailers go through, and it is an exchange in the log."""
    backend = h2c(edge)
    client = await front(edge)
    stream = await client.request(*GRPC, path=b"/pkg.Service/Call", body=b"\0\0\0\0\2hi")
    server = await accepted(backend)
    call = await server.whole(await server.until_new())
    assert [call.get(name) for name in (b":method", b":scheme", b":path", b":authority")] == [
        b"POST",
        b"http",
        b"/pkg.Service/Call",
        b"shop.miosa.app",
    ]
    for name, value in GRPC:
        assert call.get(name) == value
    assert call.get(b"x-forwarded-host") == b"shop.miosa.app"
    assert {b"connection", b"transfer-encoding", b"host"}.isdisjoint(name for name, _ in call.fields)
    assert call.body == b"\0\0\0\0\2hi"
    await server.respond(
        1, (b":status", b"200"), (b"content-type", b"application/grpc"), body=b"\0\0\0\0\3you", trailers=STATUS
    )
    answer = await client.whole(stream)
    assert (answer.status, answer.body, answer.trailers) == (200, b"\0\0\0\0\3you", STATUS)
    assert answer.get(b"content-type") == b"application/grpc"
    (exchange,) = await edge.ended(1)
    assert (exchange.ending, exchange.received, exchange.sent, exchange.status) == ("--", 7, 8, 200)
    assert exchange.version == 2


async def test_trailers_only(edge: RunningEdge) -> None:
    """A response that is one head stays one head."""
    backend = h2c(edge)
    client = await front(edge)
    stream = await client.request(*GRPC, body=b"\0\0\0\0\0")
    server = await accepted(backend)
    await server.respond(
        await server.until_new(), (b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"5")
    )
    answer = await client.whole(stream)
    assert (answer.trailers, answer.body, answer.get(b"grpc-status")) == (None, b"", b"5")


async def test_many_at_once_share_a_connection(edge: RunningEdge) -> None:
    """A hundred calls over one connection on each side; each gets its own answer."""
    backend = h2c(edge)
    client = await front(edge)
    streams = [await client.request(*GRPC, path=b"/%d" % number, body=b"x") for number in range(100)]
    server = await accepted(backend)
    for _ in streams:
        stream = await server.until_new()
        path = server.messages[stream].get(b":path") or b""
        await server.respond(stream, (b":status", b"200"), body=path, trailers=STATUS)
    for number, stream in enumerate(streams):
        assert (await client.whole(stream)).body == b"/%d" % number
    assert not backend.has_visitor()


async def test_both_directions_at_once(edge: RunningEdge) -> None:
    """Full duplex: the response begins before the request ends, and each message goes on as it comes."""
    backend = h2c(edge)
    client = await front(edge)
    stream = await client.request(*GRPC, body=None)
    server = await accepted(backend)
    there = await server.until_new()
    server.connection.send_headers(there, [(b":status", b"200"), (b"content-type", b"application/grpc")])
    await server.flush()
    here, answer = server.messages[there], client.messages[stream]
    for number in range(20):
        await client.send(stream, b"ping%02d" % number)
        while not here.body.endswith(b"%02d" % number):
            await server.read()
        await server.send(there, b"pong%02d" % number)
        while not answer.body.endswith(b"%02d" % number):
            await client.read()
    await client.send(stream, end=True)
    await server.whole(there)
    server.connection.send_headers(there, STATUS, end_stream=True)
    await server.flush()
    assert (await client.whole(stream)).trailers == STATUS
    assert edge.endings == ["--"]


async def test_a_response_before_the_end_of_the_request(edge: RunningEdge) -> None:
    """The response is passed on whole; then the client is told to stop, and so is nobody else."""
    backend = h2c(edge)
    client = await front(edge)
    stream = await client.request(*GRPC, body=None)
    server = await accepted(backend)
    there = await server.until_new()
    await server.respond(there, (b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"3"))
    answer = await client.whole(stream)
    assert (answer.get(b"grpc-status"), answer.ended) == (b"3", True)
    while answer.reset is None:
        await client.read()
    assert answer.reset == 0
    again = await client.request(*GRPC, body=b"x")
    second = await server.until_new()
    await server.respond(second, (b":status", b"200"), body=b"y", trailers=STATUS)
    assert (await client.whole(again)).body == b"y"


@pytest.mark.parametrize("cut", ["reset", "close"])
async def test_a_client_that_leaves_cancels(edge: RunningEdge, cut: str) -> None:
    """The backend hears CANCEL for that stream, and the others go on."""
    backend = h2c(edge)
    client, other = await front(edge), await front(edge)
    stream = await client.request(*GRPC, body=None)
    server = await accepted(backend)
    there = await server.until_new()
    staying = await other.request(*GRPC, body=b"x")
    second = await server.until_new()
    if cut == "reset":
        await client.reset(stream)
    else:
        client.end.close()
    while server.messages[there].reset is None:
        await server.read()
    assert server.messages[there].reset == 8
    await server.respond(second, (b":status", b"200"), body=b"y", trailers=STATUS)
    assert (await other.whole(staying)).body == b"y"
    assert sorted(exchange.ending for exchange in await edge.ended(2)) == ["--", "CH"]


async def test_a_backend_that_resets_in_the_middle(edge: RunningEdge) -> None:
    """A call of gRPC ends with a status; any other response is reset, so that it does not look complete."""
    backend = h2c(edge)
    client = await front(edge)
    server: Http2Peer | None = None
    for kind, expected in ((b"application/grpc", b"14"), (b"text/plain", None)):
        stream = await client.request((b"content-type", kind), body=b"x")
        server = server or await accepted(backend)
        there = await server.until_new()
        server.connection.send_headers(there, [(b":status", b"200"), (b"content-type", kind)])
        server.connection.send_data(there, b"half")
        await server.flush()
        answer = client.messages[stream]
        while answer.body != b"half":
            await client.read()
        await server.reset(there, 2)
        await client.whole(stream)
        assert answer.get(b"grpc-status") == expected
        assert (answer.reset is None) == (expected is not None)
    assert [exchange.ending for exchange in await edge.ended(2)] == ["BB", "BB"]


# Windows.


async def test_a_client_that_does_not_read_stops_its_backend_only(edge: RunningEdge) -> None:
    """What we hold of its response is bounded, and another stream of the same two connections goes on."""
    backend = h2c(edge)
    client = await front(edge)
    client.reads = False
    stream = await client.request(*GRPC, body=b"x")
    server = await accepted(backend)
    there = await server.until_new()
    server.connection.send_headers(there, [(b":status", b"200")])
    sent = 0
    idle = 0
    while idle < 50:
        room = min(server.connection.local_flow_control_window(there), server.connection.max_outbound_frame_size)
        if room:
            server.connection.send_data(there, b"z" * room)
            sent += room
            idle = 0
        await server.flush()
        await edge.turns(5)
        idle += 1
        try:
            async with asyncio.timeout(0.01):
                await server.read()
        except TimeoutError:
            pass
    assert sent < 1_000_000
    assert edge.held() < 600_000
    again = await client.request(*GRPC, path=b"/other", body=b"x")
    second = await server.until_new()
    await server.respond(second, (b":status", b"200"), trailers=STATUS)
    assert (await client.whole(again)).trailers == STATUS
    # It reads after all, and all of it comes.
    message = client.messages[stream]
    client.reads = True
    client.connection.acknowledge_received_data(message.unread, stream)
    await client.flush()
    left = 2_000_000 - sent

    async def send_rest() -> None:
        await server.send(there, b"z" * left, end=True)

    sending = asyncio.create_task(send_rest(), name="test: rest")
    assert len((await client.whole(stream)).body) == 2_000_000
    await sending


async def test_a_large_upload(edge: RunningEdge) -> None:
    """Windows open as the backend takes bytes."""
    backend = h2c(edge)
    client = await front(edge)
    size = 3_000_000
    stream = await client.request(*GRPC, body=None)
    server = await accepted(backend)
    there = await server.until_new()
    sending = asyncio.create_task(client.send(stream, b"u" * size, end=True), name="test: upload")
    assert len((await server.whole(there)).body) == size
    await sending
    await server.respond(there, (b":status", b"200"), trailers=STATUS)
    assert (await client.whole(stream)).trailers == STATUS


async def test_streams_wait_for_room(edge: RunningEdge) -> None:
    """A backend that takes two at once gets two at once; the others wait, and none is lost."""
    backend = h2c(edge)
    client = await front(edge)
    first = await client.request(*GRPC, body=b"x")
    server = await accepted(backend, max_concurrent_streams=2)
    await server.respond(await server.until_new(), (b":status", b"200"), trailers=STATUS)
    await client.whole(first)
    streams = [await client.request(*GRPC, path=b"/%d" % number, body=b"x") for number in range(6)]
    for _ in range(3):
        two = [await server.until_new(), await server.until_new()]
        await edge.turns()
        assert not server.new
        for there in two:
            await server.respond(there, (b":status", b"200"), trailers=STATUS)
    for stream in streams:
        assert (await client.whole(stream)).trailers == STATUS


async def test_those_that_leave_wait_no_longer(edge: RunningEdge) -> None:
    """Neither for room at the backend nor for a window: nothing is kept for them."""
    backend = h2c(edge)
    client = await front(edge)
    client.reads = False
    first = await client.request(*GRPC, body=b"x")
    server = await accepted(backend, max_concurrent_streams=1)
    there = await server.until_new()
    for _ in range(20):
        stream = await client.request(*GRPC, body=b"x")
        await client.reset(stream)
    server.connection.send_headers(there, [(b":status", b"200")])
    for _ in range(3):
        server.connection.send_data(there, b"z" * 16_384)
    await server.flush()
    await edge.ended(20)
    (dialled,) = edge.proxy._worker.http2_backends
    (accepted_one,) = edge.proxy._worker.http2_clients
    await client.reset(first)
    await edge.ended(21)
    assert not dialled._waiting_to_begin
    assert not accepted_one._blocked
    assert not accepted_one._waiting


# Ends of connections.


async def test_a_backend_that_says_goaway(edge: RunningEdge) -> None:
    """Open streams go on; the next exchange dials anew."""
    backend = h2c(edge)
    client = await front(edge)
    stream = await client.request(*GRPC, body=b"x")
    server = await accepted(backend)
    there = await server.until_new()
    last = there.to_bytes(4, "big")
    await server.end.send(b"\0\0\x08\7\0\0\0\0\0" + last + b"\0\0\0\0")
    await edge.turns()
    again = await client.request(*GRPC, body=b"x")
    second = await accepted(backend)
    await second.respond(await second.until_new(), (b":status", b"200"), body=b"new", trailers=STATUS)
    assert (await client.whole(again)).body == b"new"
    await server.respond(there, (b":status", b"200"), body=b"old", trailers=STATUS)
    assert (await client.whole(stream)).body == b"old"
    await server.until_closed()


async def test_a_kept_connection_that_has_gone(edge: RunningEdge) -> None:
    """The next exchange dials anew, after an orderly end and after a reset."""
    backend = h2c(edge)
    client = await front(edge)
    for _ in range(3):
        stream = await client.request(*GRPC, body=b"x")
        server = await accepted(backend)
        await server.respond(await server.until_new(), (b":status", b"200"), trailers=STATUS)
        assert (await client.whole(stream)).trailers == STATUS
        server.end.close()
        await until(lambda: not edge.proxy._worker.http2_backends)


async def test_idle_connections_are_closed(edge: RunningEdge) -> None:
    """To backends after `backend_idle`, of clients after `client_idle`; both are told."""
    backend = h2c(edge)
    client = await front(edge)
    stream = await client.request(*GRPC, body=b"x")
    server = await accepted(backend)
    await server.respond(await server.until_new(), (b":status", b"200"), trailers=STATUS)
    await client.whole(stream)
    edge.advance(edge.limits.backend_idle + 1)
    await edge.turns()
    edge.advance(1)
    await server.until_closed()
    assert server.goaway is not None
    edge.advance(edge.limits.client_idle + 1)
    edge.advance(edge.limits.client_idle + 1)
    await client.until_closed()
    assert client.goaway is not None


async def test_a_drain(edge: RunningEdge) -> None:
    """GOAWAY at once, open streams to their end, then the connection closes."""
    backend = h2c(edge)
    client = await front(edge)
    stream = await client.request(*GRPC, body=b"x")
    server = await accepted(backend)
    there = await server.until_new()
    draining = asyncio.create_task(edge.proxy.drain(5, 5), name="test: drain")
    while client.goaway is None:
        await client.read()
    await server.respond(there, (b":status", b"200"), body=b"last", trailers=STATUS)
    assert (await client.whole(stream)).body == b"last"
    await client.until_closed()
    await draining


# One side speaks HTTP/1.1.


async def test_a_request_of_http1_for_a_port_of_http2(edge: RunningEdge) -> None:
    """A browser or a health check reaches it too."""
    backend = h2c(edge)
    client = await edge.client()
    await client.send(b"POST /x?y HTTP/1.1\r\nHost: shop.miosa.app\r\nX-A: B\r\nContent-Length: 2\r\n\r\nhi")
    server = await accepted(backend)
    there = await server.until_new()
    call = await server.whole(there)
    assert (call.get(b":path"), call.get(b"x-a"), call.get(b"content-length"), call.body) == (
        b"/x?y",
        b"B",
        b"2",
        b"hi",
    )
    await server.respond(there, (b":status", b"200"), (b"x-c", b"d"), body=b"yo", trailers=[(b"x-late", b"1")])
    answer = await client.read_response()
    assert (answer.status, answer.body, answer.trailers) == (200, b"yo", [(b"x-late", b"1")])
    await client.send(b"HEAD / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    there = await server.until_new()
    await server.respond(there, (b":status", b"200"), (b"content-length", b"7"))
    answer = await client.read_response(b"HEAD")
    assert answer.get(b"content-length") == b"7"
    assert [exchange.reused for exchange in edge.finished] == [False, True]


@pytest.mark.parametrize("protocol", ["h2c", "http1"])
async def test_a_resource_that_moves_while_it_is_dialled(build_edge: BuildEdge, protocol: str) -> None:
    """What waited for the old address goes to the new one, and nothing more to the old: the dial there is given up."""
    edge = await build_edge(dial=60)
    left = h2c(edge)
    client = await edge.client()
    await client.send(b"GET /x HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    old = await left.accept()
    await old.read_until(b"SM\r\n\r\n")  # the dial is over with the settings, which do not come
    other = Backend()
    edge.point("shop", other, "boot-2", protocols={other.port: protocol})
    if protocol == "h2c":
        server = await accepted(other)
        there = await server.until_new()
        assert server.messages[there].get(b":path") == b"/x"
        await server.respond(there, (b":status", b"200"), body=b"ok")
    else:
        await other.answer(OK)
    assert (await client.read_response()).body == b"ok"
    await old.read_until_gone()
    await until(lambda: not any("dial" in what for what in edge.busy()), edge.busy)
    other.close()


async def test_a_request_of_http2_for_a_port_of_http1(edge: RunningEdge) -> None:
    """It is translated, its trailers too."""
    backend = edge.backend("shop")
    client = await front(edge)
    stream = await client.request((b"cookie", b"a=b"), (b"cookie", b"c=d"), path=b"/p?q", body=b"hello")
    end = await backend.accept()
    request = await end.read_request()
    assert (request.first, request.body) == (b"POST /p?q HTTP/1.1", b"hello")
    assert (request.get(b"host"), request.get(b"cookie")) == (b"shop.miosa.app", b"a=b; c=d")
    await end.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: B\r\n\r\n5\r\nworld\r\n0\r\nGrpc-Status: 0\r\n\r\n"
    )
    answer = await client.whole(stream)
    assert (answer.status, answer.body, answer.trailers) == (200, b"world", [(b"grpc-status", b"0")])
    assert answer.get(b"x-a") == b"B"


# Errors of ours.


async def test_errors_of_ours_are_for_grpc_what_it_understands(edge: RunningEdge) -> None:
    """Trailers only: 200, UNAVAILABLE, a message, and the code of ours."""
    edge.backend("shop", listening=False, protocols={})
    client = await front(edge)
    for authority, code in ((b"shop.miosa.app", b"port_closed"), (b"none.miosa.app", b"host_not_found")):
        answer = await client.whole(await client.request(*GRPC, authority=authority, body=b"x"))
        assert (answer.status, answer.get(b"grpc-status"), answer.body) == (200, b"14", b"")
        assert answer.get(b"content-type") == b"application/grpc"
        assert answer.get(b"x-miosa-error") == code
        assert b" " in (answer.get(b"grpc-message") or b"")
        assert answer.trailers is None
    web = await client.whole(await client.request((b"content-type", b"application/grpc-web+proto"), body=b"x"))
    assert web.status == 502


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", b"", b"\0\0\0\6\0\0\0\0\0"])
async def test_a_program_that_does_not_speak_http2(edge: RunningEdge, said: bytes) -> None:
    """It is named as that."""
    backend = h2c(edge)
    client = await edge.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    end = await backend.accept()
    await end.read_until(b"SM\r\n\r\n")
    if said:
        await end.send(said)
    else:
        end.close()
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error")) == (502, b"wrong_protocol")
    assert [exchange.ending for exchange in await edge.ended(1)] == ["BD"]


async def test_a_program_that_says_nothing(build_edge: BuildEdge) -> None:
    """Its settings are waited for as long as a dial may take; all that wait hear the same."""
    edge = await build_edge(dial=0.3)
    backend = h2c(edge)
    clients = [await edge.client() for _ in range(3)]
    for client in clients:
        await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    await backend.accept()
    for client in clients:
        assert (await client.read_response()).get(b"x-miosa-error") == b"backend_timeout"
    assert not backend.has_visitor()
    assert [exchange.ending for exchange in await edge.ended(3)] == ["bD"] * 3


async def test_requests_without_any_headers_leave_nothing(edge: RunningEdge) -> None:
    """One after the other they share what a stream needs, as those with headers do."""
    backend = edge.backend()
    client = await front(edge)
    stream = await client.request(path=b"/0", method=b"GET")
    end = await backend.accept()
    for number in range(5):
        if number:
            stream = await client.request(path=b"/%d" % number, method=b"GET")
        assert (await end.read_head()).target == b"/%d" % number
        await end.send(OK)
        assert (await client.whole(stream)).body == b"ok"
    assert len(edge.proxy._worker.clients) == 1
