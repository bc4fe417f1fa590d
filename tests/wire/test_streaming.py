"""Bodies both ways: passed on as they come, held back when the other side is slow, and cut when a side goes away."""

import asyncio
import hashlib
import random

import pytest

from tests.support.edge import RunningEdge, until
from tests.support.wire import End, Ended, Message
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

GET = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: shop.miosa.app\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

MiB = 1024 * 1024


async def visit(edge: RunningEdge, request: bytes = GET) -> tuple[End, End]:
    """A client whose request has reached a backend; both ends."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(request)
    end = await backend.accept()
    await end.read_head()
    return client, end


# As it comes.


async def test_a_sized_upload_reaches_the_backend_as_it_comes(edge: RunningEdge) -> None:
    """The head goes on before the body is there, and each part of the body before the next."""
    client, end = await visit(edge, POST + b"Content-Length: 9\r\n\r\n")
    for part in (b"abc", b"def", b"ghi"):
        await client.send(part)
        assert await end.read_exactly(3) == part
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    assert edge.finished[0].received == 9


async def test_a_chunked_upload_reaches_the_backend_chunk_by_chunk(edge: RunningEdge) -> None:
    """Nothing waits for more, and the end comes with its trailers."""
    client, end = await visit(edge, POST + CHUNKED)
    for part in (b"a", b"bc", b"def"):
        await client.send(b"%X\r\n%b\r\n" % (len(part), part))
        assert await end.read_chunk() == part
    await client.send(b"0\r\nX-Sum: 6\r\n\r\n")
    assert await end.read_until(b"\r\n\r\n") == b"0\r\nX-Sum: 6\r\n\r\n"
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    assert edge.finished[0].received == 6


async def test_a_sized_answer_reaches_the_client_as_it_comes(edge: RunningEdge) -> None:
    """The head does not wait for the body."""
    client, end = await visit(edge)
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
    assert (await client.read_head()).get(b"content-length") == b"6"
    for part in (b"abc", b"def"):
        await end.send(part)
        assert await client.read_exactly(3) == part
    await edge.ended(1)
    assert edge.kept() == 1


async def test_server_sent_events_are_flushed_one_by_one(edge: RunningEdge) -> None:
    """Each chunk goes out when it comes in, and trailers come behind the last."""
    client, end = await visit(edge)
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + CHUNKED)
    assert (await client.read_head()).get(b"content-type") == b"text/event-stream"
    for number in range(5):
        event = b"data: %d\n\n" % number
        await end.send(b"%X;ext=1\r\n%b\r\n" % (len(event), event))
        assert await client.read_chunk() == event
    await end.send(b"0\r\nX-Sum: 5\r\nContent-Length: 7\r\n\r\n")
    assert await client.read_until(b"\r\n\r\n") == b"0\r\nX-Sum: 5\r\n\r\n"
    assert edge.endings == ["--"]
    assert edge.kept() == 1


async def test_chunks_that_we_would_write_go_on_as_they_stand(edge: RunningEdge) -> None:
    """In one read they are neither joined nor cut; what is counted is their content."""
    client, end = await visit(edge)
    chunks = b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
    await end.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED + chunks)
    await client.read_head()
    assert await client.read_exactly(len(chunks)) == chunks
    await edge.ended(1)
    assert edge.finished[0].sent == 5
    assert edge.kept() == 1


async def test_chunks_of_an_upload_that_we_would_write_go_on_as_they_stand(edge: RunningEdge) -> None:
    """As those of a response; what follows the body is the next request."""
    client, end = await visit(edge, POST + b"Content-Type: text/event-stream\r\n" + CHUNKED)
    await client.send(b"2\r\nab\r\n3\r\ncde\r\n")
    assert await end.read_exactly(15) == b"2\r\nab\r\n3\r\ncde\r\n"
    await client.send(b"0\r\n\r\n")
    assert await end.read_exactly(5) == b"0\r\n\r\n"
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    assert edge.finished[0].received == 5


async def test_an_answer_without_framing_is_chunked_to_the_client(edge: RunningEdge) -> None:
    """It streams, its end is the backend's close, and the client's connection lives on."""
    client, end = await visit(edge)
    await end.send(b"HTTP/1.0 200 OK\r\n\r\n")
    head = await client.read_head()
    assert head.get(b"transfer-encoding") == b"chunked"
    for part in (b"abc", b"def"):
        await end.send(part)
        assert await client.read_chunk() == part
    end.close()
    assert await client.read_until(b"\r\n\r\n") == b"0\r\n\r\n"
    assert edge.endings == ["--"]
    assert edge.kept() == 0
    assert len(edge.proxy._worker.clients) == 1


async def test_bodies_are_never_decoded(edge: RunningEdge) -> None:
    """Content codings are between the two ends; what says gzip need not even be it."""
    client, end = await visit(edge, POST + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n\x1f\x8b\x08\x00\xff")
    assert await end.read_exactly(5) == b"\x1f\x8b\x08\x00\xff"
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: br, gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x00")
    answer = await client.read_response()
    assert (answer.get(b"content-encoding"), answer.body) == (b"br, gzip", b"\x1f\x8b\x00")


async def test_large_bodies_pass_unchanged(edge: RunningEdge) -> None:
    """Eight megabytes up and down at once, in pieces of any size, sized and chunked."""
    data = random.Random(1).randbytes(8 * MiB)
    for up, down in [
        (b"Content-Length: %d\r\n\r\n" % len(data), CHUNKED),
        (CHUNKED, b"Content-Length: %d\r\n\r\n" % len(data)),
    ]:
        backend = edge.backend("shop")
        client = await edge.client()
        await client.send(POST + up)
        end = await backend.accept()
        request = await end.read_head()
        sender = asyncio.create_task(send_in_pieces(client, data, chunked=up == CHUNKED))
        assert await digest(end, request) == hashlib.sha256(data).digest()
        await sender
        await end.send(b"HTTP/1.1 200 OK\r\n" + down)
        sender = asyncio.create_task(send_in_pieces(end, data, chunked=down == CHUNKED))
        assert await digest(client, await client.read_head()) == hashlib.sha256(data).digest()
        await sender
    assert [(exchange.received, exchange.sent) for exchange in edge.finished] == [(len(data), len(data))] * 2


async def send_in_pieces(end: End, data: bytes, *, chunked: bool) -> None:
    sizes = random.Random(2)
    at = 0
    while at < len(data):
        piece = data[at : at + sizes.choice((1, 17, 4096, 65536, 300_000))]
        at += len(piece)
        await end.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
    if chunked:
        await end.send(b"0\r\n\r\n")


async def digest(end: End, head: Message) -> bytes:
    """The hash of a body, without keeping it."""
    seen = hashlib.sha256()
    if head.get(b"transfer-encoding"):
        while piece := await end.read_chunk():
            seen.update(piece)
        await end.read_until(b"\r\n")
    else:
        left = int(head.get(b"content-length") or b"0")
        while left:
            piece = await end.read_exactly(min(left, 65536))
            seen.update(piece)
            left -= len(piece)
    return seen.digest()


# Backpressure.

FLOOD = 64 * MiB  # more than all buffers on the way, the kernel's four included


async def flood(edge: RunningEdge, end: End, data: bytes) -> int:
    """Send until nothing is taken any more; how much was. Checks all the while that the proxy holds a bounded part."""
    sent = quiet = 0
    while quiet < 50:
        took = end.send_some(data)
        sent += took
        quiet = 0 if took else quiet + 1
        assert sent < FLOOD
        assert edge.held() <= edge.limits.buffer + 512 * 1024
        await asyncio.sleep(0.002 if quiet > 5 else 0)
    return sent


async def test_a_client_that_does_not_read_stops_the_backend(edge: RunningEdge) -> None:
    """The proxy holds a bounded part of the answer, and goes on where it stopped when the client reads again."""
    client, end = await visit(edge)
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % FLOOD)
    sent = await flood(edge, end, b"x" * 65536)
    head = await client.read_head()
    assert head.status == 200
    assert await client.read_exactly(sent) == b"x" * sent
    await end.send(b"y" * 1000)
    assert await client.read_exactly(1000) == b"y" * 1000
    end.close()
    with pytest.raises(Ended):
        await client.read_exactly(1)


async def test_a_backend_that_does_not_read_stops_the_client(edge: RunningEdge) -> None:
    """The proxy holds a bounded part of the request's body, and goes on where it stopped."""
    client, end = await visit(edge, POST + b"Content-Length: %d\r\n\r\n" % FLOOD)
    sent = await flood(edge, client, b"x" * 65536)
    assert await end.read_exactly(sent) == b"x" * sent
    await client.send(b"y" * 1000)
    assert await end.read_exactly(1000) == b"y" * 1000
    client.reset()
    with pytest.raises(Ended):
        await end.read_exactly(1)


async def test_a_client_that_reads_no_answers_is_not_served_further(edge: RunningEdge) -> None:
    """Pipelined requests wait until the client takes the answers that it has coming."""
    backend = edge.backend("shop")
    client = await edge.client(receive_buffer=4096)
    body = b"z" * MiB
    await client.send(GET * 200)
    end = await backend.accept()
    served = 0
    while served < 200:
        try:
            async with asyncio.timeout(0.3):
                await end.read_until(b"\r\n\r\n")
        except TimeoutError:
            break
        await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        served += 1
        assert edge.held() <= edge.limits.buffer + 2 * MiB
    assert served < 200


# 1xx.


async def test_100_continue_is_the_backends_to_say(edge: RunningEdge) -> None:
    """The expectation goes on, the backend's 100 comes back, then the body flows."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    end = await backend.accept()
    assert (await end.read_head()).get(b"expect") == b"100-continue"
    await end.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert (await client.read_head()).status == 100
    await client.send(b"hello")
    assert await end.read_exactly(5) == b"hello"
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    assert edge.kept() == 1


async def test_a_final_answer_instead_of_100_ends_the_connection(edge: RunningEdge) -> None:
    """The client may send its body all the same: it is never taken for a request."""
    client, end = await visit(edge, POST + b"Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n")
    await end.send(b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno")
    answer = await client.read_response()
    assert (answer.status, answer.body, answer.get(b"connection")) == (417, b"no", b"close")
    await client.send(GET * 5)
    assert await client.read_until_close() == b""
    client.close()
    await end.read_until_gone()
    await edge.settled()
    assert len(edge.finished) == 1
    assert edge.kept() == 0


async def test_early_hints_are_relayed(edge: RunningEdge) -> None:
    """Each 1xx comes at once with its headers, but for what is between two hops or ours."""
    client, end = await visit(edge)
    for number in range(3):
        await end.send(
            b"HTTP/1.1 103 Early Hints\r\nLink: </%d.css>\r\nConnection: X-Hop\r\nX-Hop: a\r\nX-Miosa-A: b\r\n\r\n"
            % number
        )
        hint = await client.read_head()
        assert (hint.first, hint.headers) == (b"HTTP/1.1 103 Early Hints", [(b"Link", b"</%d.css>" % number)])
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    assert edge.kept() == 1


async def test_an_http_1_0_client_gets_no_1xx(edge: RunningEdge) -> None:
    """RFC 9110 §15.2: it would not know what they are."""
    client, end = await visit(edge, b"GET / HTTP/1.0\r\nHost: shop.miosa.app\r\n\r\n")
    await end.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
    assert (await client.read_response()).status == 200


async def test_as_many_1xx_as_allowed(edge: RunningEdge) -> None:
    """The limit is the last that passes."""
    client, end = await visit(edge)
    most = edge.limits.interim_responses
    await end.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * most + OK)
    assert [(await client.read_head()).status for _ in range(most)] == [103] * most
    assert (await client.read_response()).status == 200


# Answers without a body.


@pytest.mark.parametrize("framing", [b"Content-Length: 12345\r\n", CHUNKED[:-2], b""])
async def test_the_answer_to_head_has_no_body(edge: RunningEdge, framing: bytes) -> None:
    """Its headers speak of the body that GET would get; the connections go on."""
    client, end = await visit(edge, b"HEAD / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    await end.send(b"HTTP/1.1 200 OK\r\nX-A: b\r\n" + framing + b"\r\n")
    head = await client.read_response(b"HEAD")
    if framing.startswith(b"Content-Length"):
        assert head.get(b"content-length") == b"12345"
    await client.send(GET)
    await end.read_request()
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_204_and_304_have_no_body(edge: RunningEdge, status: bytes) -> None:
    """They end with their head; the connections go on."""
    client, end = await visit(edge)
    await end.send(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n")
    assert (await client.read_response()).besides_id() == [(b"ETag", b"x")]
    await client.send(GET)
    await end.read_request()
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    assert edge.endings == ["--", "--"]


async def test_a_304_keeps_the_length_that_it_tells_of(edge: RunningEdge) -> None:
    """RFC 9110 §8.6: it is the length that a 200 would have; a 204 has none."""
    client, end = await visit(edge)
    await end.send(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n")
    assert (await client.read_response()).get(b"content-length") == b"7"
    await client.send(GET)
    await end.read_request()
    await end.send(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
    assert (await client.read_response()).get(b"content-length") is None


# Both directions at once.


async def test_an_answer_may_begin_while_the_body_still_flows(edge: RunningEdge) -> None:
    """Echo: each side goes on at its own pace; the client's connection ends, since it was not clear that it would."""
    client, end = await visit(edge, POST + CHUNKED)
    await end.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED)
    await client.read_head()
    for part in (b"one", b"two", b"three"):
        await client.send(b"%x\r\n%b\r\n" % (len(part), part))
        assert await end.read_chunk() == part
        await end.send(b"%x\r\n%b\r\n" % (len(part), part))
        assert await client.read_chunk() == part
    await client.send(b"0\r\n\r\n")
    assert await end.read_until(b"\r\n\r\n") == b"0\r\n\r\n"
    await end.send(b"0\r\n\r\n")
    assert await client.read_until_close() == b"0\r\n\r\n"
    assert edge.endings == ["--"]


async def test_an_early_answer_ends_the_upload(edge: RunningEdge) -> None:
    """413 in the middle of an upload: the answer arrives whole, nothing is reused, what follows is not a request."""
    client, end = await visit(edge, POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000)
    await end.read_exactly(1000)
    await end.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
    answer = await client.read_response()
    assert (answer.status, answer.body, answer.get(b"connection")) == (413, b"big", b"close")
    await client.send(GET * 5)
    assert await client.read_until_close() == b""
    client.close()
    assert b"HTTP/1.1" not in await end.read_until_gone()
    await edge.settled()
    assert edge.endings == ["--"]
    assert edge.kept() == 0


async def test_a_backend_that_closes_after_an_early_answer(edge: RunningEdge) -> None:
    """Its answer is the client's, whatever became of the rest of the upload."""
    client, end = await visit(edge, POST + b"Content-Length: 1000000\r\n\r\nx")
    await end.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
    end.close()
    assert (await client.read_response()).body == b"no"


# Half-close.


async def test_a_client_that_shuts_its_sending_side_gets_its_answer(edge: RunningEdge) -> None:
    """Half-close says that no more comes, not that nobody listens; afterwards the connection is over."""
    client, end = await visit(edge)
    client.half_close()
    await asyncio.sleep(0)
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    assert await client.read_until_close() == b""
    await edge.settled()
    assert edge.endings == ["--"]


async def test_a_half_closed_client_gets_a_stream_to_its_end(edge: RunningEdge) -> None:
    """Also where the answer has begun already."""
    client, end = await visit(edge)
    await end.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED)
    await client.read_head()
    client.half_close()
    for part in (b"one", b"two"):
        await end.send(b"3\r\n%b\r\n" % part)
        assert await client.read_chunk() == part
    await end.send(b"0\r\n\r\n")
    assert await client.read_until_close() == b"0\r\n\r\n"


# Going away.


@pytest.mark.parametrize("way", ["close", "reset", "half_close"])
@pytest.mark.parametrize(
    "body", [b"Content-Length: 10\r\n\r\nhello", CHUNKED + b"5\r\nhello\r\n", CHUNKED + b"a\r\nhello"]
)
async def test_a_request_that_breaks_off_never_looks_complete(edge: RunningEdge, body: bytes, way: str) -> None:
    """The backend's connection ends short of the length or without the last chunk, and is never used again."""
    client, end = await visit(edge, POST + body)
    await end.read_until(b"hello")
    getattr(client, way)()
    rest = await end.read_until_gone()
    assert rest in (b"", b"\r\n")
    await edge.settled()
    assert edge.endings == ["CH"]
    assert edge.kept() == 0


async def talk_on(end: End) -> None:
    """Send events until nobody takes them."""
    for _ in range(1000):
        await end.send(b"5\r\nhello\r\n")
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_client_that_leaves_a_stream_ends_it(edge: RunningEdge, way: str) -> None:
    """The backend learns of it with its next words at the latest; one record, nothing is kept."""
    client, end = await visit(edge)
    await end.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED)
    await client.read_head()
    getattr(client, way)()
    with pytest.raises(Ended):
        await talk_on(end)
    await edge.settled()
    assert edge.endings == ["CB"]
    assert edge.kept() == 0


async def test_a_client_that_resets_while_it_waits_frees_the_backend_at_once(edge: RunningEdge) -> None:
    """Nobody is left to answer: the program sees its connection close."""
    client, end = await visit(edge)
    client.reset()
    assert await end.read_until_gone() == b""
    await edge.settled()
    assert edge.endings == ["CH"]


async def test_a_client_that_closes_while_it_waits_frees_the_backend_soon(build_edge: BuildEdge) -> None:
    """A close looks like a half-close, so it is waited for, but not for long."""
    edge = await build_edge(half_close=0.05)
    client, end = await visit(edge)
    client.close()
    assert await end.read_until_gone() == b""
    await edge.settled()
    assert edge.endings == ["CH"]


async def test_a_client_that_leaves_while_its_backend_is_dialled(edge: RunningEdge) -> None:
    """The dial ends with it: no connection is made for nobody, and no task goes on."""
    backend = edge.backend("shop", listening=False)
    client = await edge.client()
    await client.send(GET)
    await until(lambda: any("dial" in what for what in edge.busy()), edge.busy)
    client.reset()
    await edge.settled()
    assert edge.endings == ["CD"]
    backend.listen()
    assert not backend.has_visitor()


async def test_http_1_0_answers_end_with_the_connection(edge: RunningEdge) -> None:
    """A client that knows no chunks gets the body bare, and the close as its end; trailers are for others."""
    client, end = await visit(edge, b"GET / HTTP/1.0\r\nHost: shop.miosa.app\r\nConnection: keep-alive\r\n\r\n")
    await end.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
    head = await client.read_head()
    assert head.get(b"transfer-encoding") is None
    assert head.get(b"connection") == b"close"
    assert await client.read_until_close() == b"hello"
    assert edge.kept() == 1


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_cut_answer_is_a_reset_for_an_http_1_0_client(edge: RunningEdge, way: str) -> None:
    """Its end would be a clean close, so a cut has to be something else."""
    client, end = await visit(edge, b"GET / HTTP/1.0\r\nHost: shop.miosa.app\r\n\r\n")
    await end.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"5\r\nhello\r\n")
    await client.read_head()
    getattr(end, way)()
    with pytest.raises(Ended) as ended:
        await client.read_until_close()
    assert ended.value.reset
    assert edge.endings == ["BB"]
