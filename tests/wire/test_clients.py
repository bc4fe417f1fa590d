"""Clients' connections: one request after the other, in order, each judged for itself; and HTTP/1.0."""

import pytest

from tests.support.edge import RunningEdge
from tests.support.wire import Backend, End, Message

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HOST = b"Host: shop.miosa.app\r\n"


def get(target: bytes = b"/", lines: bytes = b"") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + lines + b"\r\n"


async def serve(client: End, end: End, target: bytes) -> Message:
    """Answer the next request, which must be for `target`, with its own name."""
    request = await end.read_request()
    assert request.target == target
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))
    assert (await client.read_response()).body == target
    return request


# Pipelining.


async def test_pipelined_requests_are_answered_in_order(edge: RunningEdge) -> None:
    """One at a time: the second is not begun before the first is answered."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(b"".join(get(b"/%d" % number) for number in range(10)))
    end = await backend.accept()
    for number in range(10):
        assert (await end.read_request()).target == b"/%d" % number
        await edge.turns()
        assert end.arrived() == b""
        await end.send(OK)
    for _ in range(10):
        assert (await client.read_response()).body == b"ok"
    assert not backend.has_visitor()
    assert len(edge.finished) == 10


MIXED = [
    (b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 11\r\n\r\n" + b"GET /no HTT", b"/a", b"GET /no HTT"),
    (b"\r\nGET /b HTTP/1.1\r\n" + HOST + b"\r\n", b"/b", b""),
    (
        b"PUT /c HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
        b"/c",
        b"abcde",
    ),
    (b"POST /d HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n", b"/d", b""),
    (b"GET /e HTTP/1.1\r\n" + HOST + b"\r\n", b"/e", b""),
]


async def test_requests_end_where_they_end_however_they_arrive(edge: RunningEdge) -> None:
    """A stream of five, cut in two at every place: the same five requests with the same bodies."""
    stream = b"".join(raw for raw, _, _ in MIXED)
    backend = edge.backend("shop")
    client = await edge.client()
    end = None
    for cut in range(1, len(stream)):
        await client.send(stream[:cut])
        await edge.turns(3)
        await client.send(stream[cut:])
        for _, target, body in MIXED:
            end = end or await backend.accept()
            request = await serve(client, end, target)
            assert request.body == body
    assert not backend.has_visitor()
    assert set(edge.endings) == {"--"}


async def test_a_stream_of_requests_byte_by_byte(edge: RunningEdge) -> None:
    """The slowest way to say the same."""
    backend = edge.backend("shop")
    client = await edge.client()
    end = None
    for raw, target, body in MIXED:
        await client.dribble(raw)
        end = end or await backend.accept()
        assert (await serve(client, end, target)).body == body


async def test_answers_of_ours_stand_in_line_too(edge: RunningEdge) -> None:
    """A thousand requests in one go, every other one to nobody: each gets its answer, in its place."""
    backend = edge.backend("shop")
    client = await edge.client()
    known, unknown = get(b"/x"), get(b"/x").replace(b"shop", b"nobody")
    await client.send((unknown + known + unknown) * 100)
    end = None
    for _ in range(100):
        assert (await client.read_response()).status == 404
        end = end or await backend.accept()
        await serve(client, end, b"/x")
        assert (await client.read_response()).status == 404


async def test_a_flood_of_requests_to_nobody(edge: RunningEdge) -> None:
    """Answers of ours end at once; thousands behind each other use no stack."""
    client = await edge.client()
    await client.send(get().replace(b"shop", b"nobody") * 3000)
    for _ in range(3000):
        assert (await client.read_response()).status == 404


async def test_nothing_runs_behind_a_refused_request(edge: RunningEdge) -> None:
    """The first is answered, the second refused, the third is bytes."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(get(b"/a") + get(b"/b", b"Transfer-Encoding: identity\r\n") + get(b"/smuggled"))
    end = await backend.accept()
    await serve(client, end, b"/a")
    assert (await client.read_response()).status == 400
    assert await client.read_until_close() == b""
    client.close()
    await edge.settled()
    assert end.arrived() == b""


# Keep-alive.


@pytest.mark.parametrize("said", [b"close", b"Close", b"keep-alive, close", b"close, x"])
async def test_connection_close_is_carried_out(edge: RunningEdge, said: bytes) -> None:
    """The answer says so, the connection ends, and what was sent behind the request is for nobody."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(get(b"/a", b"Connection: " + said + b"\r\n") + get(b"/smuggled"))
    end, request = await backend.answer(OK)
    assert request.get(b"connection") is None
    answer = await client.read_response()
    assert answer.get(b"connection") == b"close"
    assert await client.read_until_close() == b""
    client.close()
    await edge.settled()
    assert end.arrived() == b""
    assert edge.kept() == 1


async def test_a_backend_that_closes_does_not_close_the_client(edge: RunningEdge) -> None:
    """Connection is between two hops: each decides for itself."""
    backend = edge.backend("shop")
    client = await edge.client()
    for _ in range(3):
        await client.send(get())
        end, _ = await backend.answer(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        answer = await client.read_response()
        assert (answer.body, answer.get(b"connection")) == (b"ok", None)
        end.close()


async def test_an_answer_of_ours_keeps_the_connection(edge: RunningEdge) -> None:
    """404 is an answer like another."""
    client = await edge.client()
    for _ in range(3):
        await client.send(get().replace(b"shop", b"nobody"))
        answer = await client.read_response()
        assert (answer.status, answer.get(b"connection")) == (404, None)


@pytest.mark.parametrize(
    "body",
    [b"Content-Length: 100\r\n\r\n" + get(b"/smuggled"), b"Transfer-Encoding: chunked\r\n\r\n" + get(b"/smuggled")],
)
async def test_the_body_of_a_request_that_was_turned_down_is_no_request(edge: RunningEdge, body: bytes) -> None:
    """An answer of ours before the body has come ends the connection."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(b"POST / HTTP/1.1\r\nHost: nobody.miosa.app\r\n" + body)
    answer = await client.read_response()
    assert (answer.status, answer.get(b"connection")) == (404, b"close")
    await client.send(get(b"/smuggled"))
    assert await client.read_until_close() == b""
    client.close()
    await edge.settled()
    assert not backend.has_visitor()
    assert len(edge.finished) == 1


async def test_the_body_of_a_request_that_was_turned_down_may_have_come_already(edge: RunningEdge) -> None:
    """Sent in one go, the request is complete: whether the connection goes on, nothing of its body is a request."""
    backend = edge.backend("shop")
    client = await edge.client()
    inner = get(b"/smuggled")
    await client.send(
        b"POST / HTTP/1.1\r\nHost: nobody.miosa.app\r\nContent-Length: %d\r\n\r\n%b" % (len(inner), inner)
    )
    assert (await client.read_response()).status == 404
    client.half_close()
    assert await client.read_until_close() == b""
    assert not backend.has_visitor()
    assert len(edge.finished) == 1


async def test_a_client_that_connects_and_leaves_is_no_exchange(edge: RunningEdge) -> None:
    """Port checks and pre-connects are not worth a line."""
    for way in ("close", "reset", "half_close"):
        client = await edge.client()
        getattr(client, way)()
        if way == "half_close":
            assert await client.read_until_close() == b""
    await edge.settled()
    assert edge.finished == []


@pytest.mark.parametrize("way", ["close", "reset", "half_close"])
async def test_a_client_that_leaves_in_mid_head_is_one(edge: RunningEdge, way: str) -> None:
    """Something was asked, if not to the end."""
    client = await edge.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: sh")
    await edge.turns()
    getattr(client, way)()
    await edge.settled()
    assert edge.endings == ["CR"]


# HTTP/1.0.


async def ask_1_0(edge: RunningEdge, lines: bytes = b"", answer: bytes = OK) -> tuple[Backend, End, Message]:
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(b"GET / HTTP/1.0\r\n" + HOST + lines + b"\r\n")
    await backend.answer(answer)
    return backend, client, await client.read_response()


async def test_http_1_0_closes_by_default(edge: RunningEdge) -> None:
    """The answer is HTTP/1.1's (RFC 9110 §2.5), its end is the connection's."""
    _, client, answer = await ask_1_0(edge)
    assert (answer.first, answer.body, answer.get(b"connection")) == (b"HTTP/1.1 200 OK", b"ok", b"close")
    assert await client.read_until_close() == b""


async def test_http_1_0_may_keep_alive(edge: RunningEdge) -> None:
    """Where it asks to, it is told that it was heard."""
    backend, client, answer = await ask_1_0(edge, b"Connection: Keep-Alive\r\n")
    assert (answer.body, answer.get(b"connection")) == (b"ok", b"keep-alive")
    await client.send(b"GET / HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n\r\n")
    await backend.ends[0].read_request()
    await backend.ends[0].send(OK)
    assert (await client.read_response()).get(b"connection") == b"keep-alive"


async def test_http_1_0_with_a_body(edge: RunningEdge) -> None:
    """Sized bodies are all that there is."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(b"POST / HTTP/1.0\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello")
    _, request = await backend.answer(OK)
    assert (request.first, request.body) == (b"POST / HTTP/1.1", b"hello")
    assert (await client.read_response()).body == b"ok"


async def test_an_answer_of_ours_to_http_1_0(edge: RunningEdge) -> None:
    """It is sized, and ends the connection unless asked not to."""
    client = await edge.client()
    await client.send(b"GET / HTTP/1.0\r\nHost: nobody.miosa.app\r\nConnection: keep-alive\r\n\r\n")
    assert (await client.read_response()).get(b"connection") == b"keep-alive"
    await client.send(b"GET / HTTP/1.0\r\nHost: nobody.miosa.app\r\n\r\n")
    assert (await client.read_response()).get(b"connection") == b"close"
    assert await client.read_until_close() == b""
