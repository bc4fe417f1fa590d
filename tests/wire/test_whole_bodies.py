"""Chunked request bodies that come whole, or nearly at once: what programs see that read CONTENT_LENGTH only."""

import pytest

from tests.support.edge import RunningEdge
from tests.support.wire import End
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

HEAD = b"POST /a HTTP/1.1\r\nHost: shop.miosa.app\r\nTransfer-Encoding: chunked\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATIENT = {"whole_body_time": 60.0}  # tests that want a body to be waited for don't depend on how fast they are


def chunks(*contents: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(content), content) for content in contents) + end


async def served(edge: RunningEdge, *pieces: bytes) -> tuple[End, End]:
    """A client that sends these pieces, and the backend's end of it."""
    backend = edge.backend("shop")
    client = await edge.client()
    for piece in pieces:
        await client.send(piece)
        await edge.turns(5)
    return client, await backend.accept()


WHOLE = [
    ([HEAD + b"\r\n" + chunks(b"hello")], b"hello"),
    ([HEAD + b"\r\n", chunks(b"he", b"llo")], b"hello"),
    ([HEAD + b"\r\n" + chunks(b"he", end=b""), chunks(b"llo", end=b""), b"0\r\n", b"\r\n"], b"hello"),
    ([HEAD + b"\r\n" + chunks()], b""),
    ([HEAD + b"\r\n" + chunks(b"5 bytes", end=b"0;x=y\r\n\r\n")], b"5 bytes"),
    ([HEAD + b"\r\n" + chunks(b"x" * 65536)], b"x" * 65536),
    ([HEAD + b"X: y\r\n\r\n" + chunks(b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n")], b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
]


@pytest.mark.parametrize(("pieces", "body"), WHOLE)
async def test_a_whole_body_has_its_length(build_edge: BuildEdge, pieces: list[bytes], body: bytes) -> None:
    """Content-Length stands where the coding did, and the body is plain; the client's connection serves on."""
    edge = await build_edge(**PATIENT)
    client, end = await served(edge, *pieces)
    request = await end.read_request()
    assert (request.get(b"content-length"), request.get(b"transfer-encoding")) == (b"%d" % len(body), None)
    assert request.names()[:2] == [b"Host", b"Content-Length"]
    assert request.body == body
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    await client.send(NEXT)
    assert (await end.read_request()).target == b"/next"
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    assert [done.received for done in edge.finished] == [len(body), 0]


async def test_a_request_behind_a_whole_body_is_the_next(build_edge: BuildEdge) -> None:
    """What stands behind the last chunk is a request of its own."""
    edge = await build_edge(**PATIENT)
    client, end = await served(edge, HEAD + b"\r\n" + chunks(b"hello") + NEXT)
    assert (await end.read_request()).body == b"hello"
    await end.send(OK)
    await client.read_response()
    assert (await end.read_request()).target == b"/next"
    await end.send(OK)
    await client.read_response()


FLOWING = [
    b"Expect: 100-continue\r\n",
    b"Connection: TE\r\nTE: trailers\r\n",
    b"Trailer: X-Sum\r\n",
    b"Connection: Upgrade\r\nUpgrade: tcp\r\n",
    b"Content-Type: application/grpc+proto\r\n",
    b"Content-Type: application/grpc-web\r\n",
    b"content-type:application/x-ndjson; charset=utf-8\r\n",
    b"Content-Type: Text/Event-Stream\r\n",
    b"Content-Type: video/mp4\r\n",
]


@pytest.mark.parametrize("line", FLOWING)
async def test_what_is_made_to_flow_is_not_waited_for(build_edge: BuildEdge, line: bytes) -> None:
    """It goes on chunked, and at once: here a body would be waited for longer than the test has time."""
    edge = await build_edge(**PATIENT)
    client, end = await served(edge, HEAD + line + b"\r\n" + chunks(b"one", end=b""))
    assert (await end.read_head()).get(b"transfer-encoding") == b"chunked"
    assert await end.read_chunk() == b"one"
    await client.send(chunks(b"two"))
    assert await end.read_chunk() == b"two"
    assert await end.read_chunk() == b""


async def test_trailers_stay(build_edge: BuildEdge) -> None:
    """Only a chunked body can have them."""
    edge = await build_edge(**PATIENT)
    _, end = await served(edge, HEAD + b"\r\n" + chunks(b"hello", end=b"0\r\nX-Sum: 1\r\n\r\n"))
    assert (await end.read_head()).get(b"transfer-encoding") == b"chunked"
    assert await end.read_until(b"\r\n\r\n") == b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"


async def test_a_large_body_is_not_kept(build_edge: BuildEdge) -> None:
    """One byte more than may be: it flows, and nothing of it is lost."""
    edge = await build_edge(**PATIENT)
    client, end = await served(edge, HEAD + b"\r\n" + chunks(b"x" * 60_000, b"y" * 5537, end=b""))
    head = await end.read_head()
    assert head.get(b"transfer-encoding") == b"chunked"
    await client.send(chunks(b"z"))
    await end.read_chunked(head)
    assert head.body == b"x" * 60_000 + b"y" * 5537 + b"z"


async def test_a_stream_is_waited_for_once_and_briefly(edge: RunningEdge) -> None:
    """Its first bytes come a tenth of a second late, without its end; what follows is not held."""
    client, end = await served(edge, HEAD + b"\r\n" + chunks(b"one", end=b""))
    assert (await end.read_head()).get(b"transfer-encoding") == b"chunked"
    assert await end.read_chunk() == b"one"
    for content in (b"two", b"three"):
        await client.send(chunks(content, end=b""))
        assert await end.read_chunk() == content


@pytest.mark.parametrize("way", ["leaves", "breaks"])
async def test_a_body_that_never_comes_whole_reaches_nobody(build_edge: BuildEdge, way: str) -> None:
    """While it is waited for, no backend knows of it."""
    edge = await build_edge(**PATIENT)
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(HEAD + b"\r\n" + chunks(b"one", end=b""))
    await edge.turns()
    if way == "breaks":
        await client.send(b"zz\r\n")
        assert (await client.read_response()).status == 400
    client.close()
    await edge.settled()
    assert not backend.has_visitor()
    assert edge.endings == ["CA" if way == "leaves" else "EA"]


async def test_many_at_once_keep_apart(build_edge: BuildEdge) -> None:
    """Each waits for its own end."""
    edge = await build_edge(**PATIENT)
    backend = edge.backend("shop")
    clients = [await edge.client() for _ in range(20)]
    for number, client in enumerate(clients):
        await client.send(HEAD + b"\r\n" + chunks(b"%d" % number, end=b""))
    await edge.turns()
    for number, client in reversed(list(enumerate(clients))):
        await client.send(chunks(b"-%d" % number))
    async with backend.serving(OK) as requests:
        for client in clients:
            assert (await client.read_response()).body == b"ok"
    assert all(request.get(b"content-length") == b"%d" % len(request.body) for request in requests)
    assert {request.body for request in requests} == {b"%d-%d" % (number, number) for number in range(20)}
