"""Captures: what is kept of an exchange while its bytes pass, and that they pass as if nothing was kept."""

import gzip
from typing import Any

import pytest

from router.proxy import capture
from router.records.captures import Body, value_of
from tests.support.access import plain, policies, secret
from tests.support.edge import FRONT, RunningEdge
from tests.support.wire import Backend
from tests.unit.observe.test_recorder import value
from tests.wire.test_http2 import GRPC, STATUS, accepted, front, h2c
from tests.wire.test_upgrade import OFFER, SWITCH

pytestmark = pytest.mark.asyncio

GET = b"GET /a?b=1 HTTP/1.1\r\nHost: shop.miosa.app\r\nAccept: text/html\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
SIZES = (0, 1, 10 * 1024, 10 * 1024 + 1, 300_000)


def until(edge: RunningEdge, seconds: float = 600.0) -> float:
    return edge.clock.now().timestamp() + seconds


def captured(edge: RunningEdge, **changes: Any) -> Backend:
    """The shop, whose exchanges are captured."""
    return edge.backend("shop", capture_until=until(edge), **changes)


def sized(size: int) -> bytes:
    return bytes(range(32, 127)) * (size // 95) + b"x" * (size % 95)


def chunked(body: bytes, step: int = 7000) -> bytes:
    parts = [body[at : at + step] for at in range(0, len(body), step)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def beginning(body: bytes) -> Body:
    """What is kept of a body that passed whole."""
    return Body(body[: 10 * 1024], len(body), whole=len(body) <= 10 * 1024)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", ["sized", "chunked"])
async def test_bodies_of_requests(edge: RunningEdge, size: int, framing: str) -> None:
    """The program gets every byte, framed as it was sent; the first 10 KiB are kept, and the size of all."""
    backend, body = captured(edge), sized(size)
    head = b"POST /in HTTP/1.1\r\nHost: shop.miosa.app\r\nContent-Type: text/plain\r\n"
    client = await edge.client()
    if framing == "sized":
        await client.send(head + b"Content-Length: %d\r\n\r\n" % size)
        await client.send(body)
    else:
        await client.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
        await client.send(chunked(body))
    end, request = await backend.request()
    assert request.body == body
    assert (request.get(b"transfer-encoding") is not None) == (
        framing == "chunked" and request.get(b"content-length") is None
    )
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    (found,) = await edge.captures()
    assert (found.request.method, found.request.target, found.request.upgrade) == ("POST", "/in", False)
    assert found.request.body == beginning(body)
    assert found.response is not None
    assert (found.response.status, found.response.body) == (200, Body(b"ok", 2, whole=True))
    # The connection goes on to its next request.
    await client.send(GET)
    await end.read_request()
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    assert (await edge.captures(2))[1].request.body == Body(b"", 0, whole=True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", ["sized", "chunked", "until close"])
async def test_bodies_of_responses(edge: RunningEdge, size: int, framing: str) -> None:
    """The visitor gets every byte; the first 10 KiB are kept, and the size of all."""
    backend, body = captured(edge), sized(size)
    client = await edge.client()
    await client.send(GET)
    end, _ = await backend.request()
    lines = {
        "sized": b"Content-Length: %d\r\n" % size,
        "chunked": b"Transfer-Encoding: chunked\r\n",
        "until close": b"Connection: close\r\n",
    }
    await end.send(b"HTTP/1.1 200 OK\r\n" + lines[framing] + b"\r\n")
    await edge.turns()
    await end.send(chunked(body) if framing == "chunked" else body)
    if framing == "until close":
        end.close()
    assert (await client.read_response()).body == body
    (found,) = await edge.captures()
    assert found.response is not None
    assert found.response.body == beginning(body)
    assert edge.endings == ["--"]


async def test_what_comes_byte_by_byte(edge: RunningEdge) -> None:
    """In either direction, with trailers, and kept connections kept."""
    backend = captured(edge)
    client = await edge.client()
    body = chunked(b"hello", 2).removesuffix(b"\r\n") + b"X-A: b\r\n\r\n"
    for number in range(2):
        await client.dribble(b"PUT / HTTP/1.1\r\nHost: shop.miosa.app\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        end, request = (await backend.request()) if number == 0 else (end, await end.read_request())  # noqa: F821
        assert request.body == b"hello"
        await end.dribble(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n" + body)
        answer = await client.read_response()
        assert (answer.body, answer.trailers) == (b"hello", [(b"X-A", b"b")])
    found = await edge.captures(2)
    assert [one.request.body.content for one in found] == [b"hello", b"hello"]
    assert [one.response and one.response.body.content for one in found] == [b"hello", b"hello"]


async def test_an_upgrade_leaves_its_heads(edge: RunningEdge) -> None:
    """Nothing of what passes through the tunnel is kept."""
    backend = captured(edge)
    client = await edge.client()
    await client.send(OFFER)
    end, _ = await backend.answer(SWITCH + b"hidden")
    assert (await client.read_head()).status == 101
    await client.send(b"hidden too")
    assert await end.read_exactly(10) == b"hidden too"
    client.close()
    end.close()
    (found,) = await edge.captures()
    assert found.request.upgrade
    assert found.response is not None
    assert found.response.status == 101
    assert value_of(found.response.headers, "x-a") == "b"
    assert b"hidden" not in found.response.body.content + found.request.body.content
    assert "hidden" not in str(edge.captured)


async def test_an_event_stream_whose_visitor_leaves(edge: RunningEdge) -> None:
    """What has passed is kept, and that it was not all."""
    backend = captured(edge)
    client = await edge.client()
    await client.send(GET)
    end, _ = await backend.request()
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    await end.send(b"9\r\ndata: 1\n\n\r\n")
    assert b"data: 1" in await client.read_until(b"data: 1")
    assert edge.captured == []
    client.close()
    (found,) = await edge.captures()
    assert found.response is not None
    assert found.response.body == Body(b"data: 1\n\n", 9, whole=False)
    assert edge.endings == ["CB"]


async def test_compressed_bodies_stay_as_they_are(edge: RunningEdge) -> None:
    """With the header that says how they are compressed."""
    packed = gzip.compress(b'{"a": "b"}')
    backend = captured(edge)
    client = await edge.client()
    await client.send(GET)
    head = b"Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    await backend.answer(b"HTTP/1.1 200 OK\r\n" + head + packed)
    assert (await client.read_response()).body == packed
    (found,) = await edge.captures()
    assert found.response is not None
    assert found.response.body == Body(packed, len(packed), whole=True)
    assert value_of(found.response.headers, "content-encoding") == "gzip"


async def test_grpc_and_http2(edge: RunningEdge) -> None:
    """A stream of HTTP/2 on both sides is captured as any exchange is, with its version."""
    backend = h2c(edge)
    edge.point("shop", backend, protocols={backend.port: "h2c"}, capture_until=until(edge))
    client = await front(edge)
    stream = await client.request(*GRPC, path=b"/pb.Greeter/Hello", body=b"\0\0\0\0\2hi")
    server = await accepted(backend)
    call = await server.whole(await server.until_new())
    assert call.body == b"\0\0\0\0\2hi"
    head = ((b":status", b"200"), (b"content-type", b"application/grpc"))
    await server.respond(1, *head, body=b"\0\0\0\0\3you", trailers=STATUS)
    answer = await client.whole(stream)
    assert (answer.status, answer.body, answer.trailers) == (200, b"\0\0\0\0\3you", STATUS)
    (found,) = await edge.captures()
    assert (found.request.version, found.request.body.content) == (2, b"\0\0\0\0\2hi")
    assert found.response is not None
    assert found.response.body.content == b"\0\0\0\0\3you"


async def test_what_opens_the_preview_is_not_in_it(edge: RunningEdge) -> None:
    """Neither as a header of ours, nor as the Authorization that was ours, nor as a cookie of ours; a program's own cookies are masked."""
    backend = captured(edge, policies=policies(secret("ci"), identity=False))
    client = await edge.client(FRONT)
    await client.send(
        b"GET /a?token=hush HTTP/1.1\r\nHost: shop.miosa.app\r\nX-Forwarded-Proto: https\r\nX-Miosa-Preview-Token: %b\r\n"
        b"Cookie: __Host-miosa-preview=ours; session=hush\r\nX-Miosa-Replay: forged\r\nX-A: b\r\n\r\n"
        % plain("ci").encode()
    )
    await backend.answer(b"HTTP/1.1 200 OK\r\nSet-Cookie: session=hush\r\nContent-Length: 0\r\n\r\n")
    assert (await client.read_response()).status == 200
    (found,) = await edge.captures()
    assert plain("ci") not in str(edge.captured)
    assert "miosa-preview" not in str(edge.captured)
    assert "forged" not in str(edge.captured)
    assert "hush" not in str(found)
    assert value_of(found.request.headers, "x-a") == "b"
    assert found.request.scheme == "https"


async def test_who_may_not_come_in_is_not_captured(edge: RunningEdge) -> None:
    """The developers of a private preview do not get what strangers sent to its door."""
    captured(edge, policies=policies(secret("ci")))
    client = await edge.client(FRONT)
    await client.send(GET)
    assert (await client.read_response()).status == 401
    await edge.ended(1)
    assert await edge.captures() == []


async def test_what_the_router_answers_in_the_place_of_the_program(edge: RunningEdge) -> None:
    """The request is captured, and that the program sent no response."""
    captured(edge, listening=False)
    client = await edge.client()
    await client.send(GET)
    assert (await client.read_response()).status == 502
    (found,) = await edge.captures()
    assert (found.request.target, found.response) == ("/a?b=1", None)


async def test_long_headers_are_cut(edge: RunningEdge) -> None:
    """A value behind its first KiB, and all that comes behind 32 KiB."""
    backend = captured(edge)
    client = await edge.client()
    many = b"".join(b"X-%d: %b\r\n" % (number, b"v" * 900) for number in range(40))
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\nX-Long: " + b"v" * 1025 + b"\r\n" + many + b"\r\n")
    _, request = await backend.answer(OK)
    assert request.get(b"x-long") == b"v" * 1025
    await client.read_response()
    (found,) = await edge.captures()
    long = next(header for header in found.request.headers if header.name == "X-Long")
    assert (len(long.value), long.cut) == (1024, True)
    assert found.request.headers_cut
    assert sum(len(header.value) for header in found.request.headers) < 32 * 1024


async def test_it_ends_by_itself(edge: RunningEdge) -> None:
    """From then on the route is an ordinary one again."""
    backend = edge.backend("shop", capture_until=until(edge, 5.0))
    client = await edge.client()
    await client.send(GET)
    end, _ = await backend.answer(OK)
    await client.read_response()
    assert len(await edge.captures()) == 1
    edge.advance(6.0)
    await client.send(GET)
    await end.read_request()
    await end.send(OK)
    await client.read_response()
    assert len(await edge.captures(2)) == 1
    route = edge.finished[1].route
    assert route is not None
    assert (route.special, route.capture_until) == (False, 0.0)
    assert [exchange.marks for exchange in edge.finished] == [4, 0]


async def test_it_is_switched_off_meanwhile(edge: RunningEdge) -> None:
    """Of an exchange that is under way then nothing is kept."""
    backend = captured(edge)
    client = await edge.client()
    await client.send(GET)
    end, _ = await backend.request()
    edge.point("shop", backend)
    await edge.resolver.resolve(b"shop.miosa.app")
    await end.send(OK)
    await client.read_response()
    assert await edge.captures() == []


async def test_its_route_is_due_to_be_looked_up_again(edge: RunningEdge) -> None:
    """As after some minutes of a stream: it is captured all the same."""
    backend = captured(edge)
    client = await edge.client()
    await client.send(GET)
    end, _ = await backend.request()
    route = edge.resolver.peek(b"shop.miosa.app")
    assert route is not None
    route.expires = route.fresh_until = 0.0
    assert edge.resolver.peek(b"shop.miosa.app") is None
    await end.send(OK)
    await client.read_response()
    assert len(await edge.captures()) == 1


async def test_a_flood_is_captured_in_part(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held is bounded; all requests are served."""
    monkeypatch.setattr(capture, "_PER_SECOND", 2)
    monkeypatch.setattr(capture, "_MAX_OPEN_OF_RESOURCE", 1)
    backend = captured(edge)
    first, second = await edge.client(), await edge.client()
    await first.send(GET)
    slow, _ = await backend.request()
    await second.send(GET)
    await backend.answer(OK)
    await second.read_response()
    await slow.send(OK)
    await first.read_response()
    assert len(await edge.captures(2)) == 1
    assert value(edge.metrics, 'request_captures_total{result="skipped"}') == 1
