"""Every limit: what is just within it, what is over it, and what happens when time runs out."""

import pytest

from tests.support.edge import RunningEdge, until
from tests.support.wire import End, Ended
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HOST = b"Host: shop.miosa.app\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


async def visit(edge: RunningEdge, request: bytes = GET, **changes: object) -> tuple[End, End]:
    """A client whose request's head has reached a backend; both ends."""
    backend = edge.backend("shop", **changes)
    client = await edge.client()
    await client.send(request)
    end = await backend.accept()
    await end.read_head()
    return client, end


# Sizes.


def request_of(*, line: int = 0, header: int = 0, head: int = 0, count: int = 1) -> bytes:
    """A request whose request line, longest header line, head or number of headers is just so."""
    lines = [HOST[:-2]]
    if header:
        lines.append(b"X-A: ".ljust(header, b"a"))
    first = b"GET / HTTP/1.1"
    if line:
        first = b"GET /" + b"a" * (line - 14) + b" HTTP/1.1"
    lines += [b"X-B: b"] * (count - len(lines))
    raw = b"\r\n".join([first, *lines, b"", b""])
    while len(raw) < head:
        size = min(head - len(raw), 1000)
        if 0 < head - len(raw) - size < 10:
            size -= 20
        lines.append(b"X-C: ".ljust(size - 2, b"c"))
        raw = b"\r\n".join([first, *lines, b"", b""])
    return raw


LIMITS = {"request_line": 2000, "header": 1500, "headers": 5000, "header_count": 20}


@pytest.mark.parametrize(
    ("within", "over", "status"),
    [
        ({"line": 2000}, {"line": 2001}, 414),
        ({"header": 1500}, {"header": 1501}, 431),
        ({"head": 5000}, {"head": 5001}, 431),
        ({"count": 20}, {"count": 21}, 431),
    ],
)
async def test_heads_have_limits(
    build_edge: BuildEdge, within: dict[str, int], over: dict[str, int], status: int
) -> None:
    """The limit itself passes; a byte or a line more is refused, and the connection ends."""
    edge = await build_edge(**LIMITS)
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(request_of(**within))
    end, _ = await backend.answer(OK)
    assert (await client.read_response()).status == 200
    await client.send(request_of(**over))
    answer = await client.read_response()
    assert (answer.status, answer.get(b"connection")) == (status, b"close")
    assert await client.read_until_close() == b""
    assert end.arrived() == b""


async def test_a_long_head_is_refused_before_its_end(build_edge: BuildEdge) -> None:
    """What can't become a request any more is not waited for, however it arrives."""
    edge = await build_edge(**LIMITS)
    for start, more, status in [(b"GET /", b"a", 414), (b"GET / HTTP/1.1\r\n", b"X-A: b\r\n", 431)]:
        client = await edge.client()
        await client.send(start)
        for _ in range(100):
            await client.send(more * 100)
            await edge.turns(2)
            if edge.finished:
                break
        assert (await client.read_response()).status == status
        edge.finished.clear()


async def test_a_sized_body_over_the_limit_is_not_begun(build_edge: BuildEdge) -> None:
    """413 from the length alone: no backend hears of it."""
    edge = await build_edge(body=1000)
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000)
    _, request = await backend.answer(OK)
    assert len(request.body) == 1000
    assert (await client.read_response()).status == 200
    await client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1001\r\n\r\n" + b"x" * 500)
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error")) == (413, b"payload_too_large")
    assert await client.read_until_close() == b""
    assert not backend.has_visitor()
    assert backend.ends[0].arrived() == b""


async def test_a_chunked_body_over_the_limit_is_cut(build_edge: BuildEdge) -> None:
    """413 when it is over; what the backend has got does not look complete."""
    edge = await build_edge(body=1000)
    client, end = await visit(edge, b"POST / HTTP/1.1\r\n" + HOST + CHUNKED)
    await client.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
    assert await end.read_chunk() == b"x" * 1000
    await client.send(b"1\r\nx\r\n0\r\n\r\n")
    assert (await client.read_response()).status == 413
    assert await end.read_until_gone() == b""
    assert edge.endings == ["EH"]


# Numbers.


async def test_a_resource_has_room_for_so_many(build_edge: BuildEdge) -> None:
    """429 with Retry-After beyond; other resources are not affected; room comes back."""
    edge = await build_edge(exchanges_per_resource=3, queue_time=0)
    shop, blog = edge.backend("shop"), edge.backend("blog")
    clients = [await edge.client() for _ in range(5)]
    for client in clients[:3]:
        await client.send(GET)
        await (await shop.accept()).read_request()
    await clients[3].send(GET)
    answer = await clients[3].read_response()
    assert (answer.status, answer.get(b"x-miosa-error")) == (429, b"too_many_requests")
    assert answer.get(b"retry-after") == b"1"
    await clients[4].send(GET.replace(b"shop", b"blog"))
    await blog.answer(OK)
    assert (await clients[4].read_response()).status == 200
    await shop.ends[0].send(OK)
    await clients[0].read_response()
    await clients[3].send(GET)
    await shop.ends[0].read_request()
    for end in shop.ends:
        await end.send(OK)
    assert (await clients[3].read_response()).status == 200


async def test_room_is_given_back_however_it_ends(build_edge: BuildEdge) -> None:
    """A client that resets, a backend that resets, a bad answer, a refused body, a closed port: nothing is lost."""
    edge = await build_edge(exchanges_per_resource=1)
    backend = edge.backend("shop")
    for way in range(5):
        client = await edge.client()
        await client.send(b"POST / HTTP/1.1\r\n" + HOST + CHUNKED)
        end = await backend.accept()
        await end.read_head()
        if way == 0:
            client.reset()
        elif way == 1:
            end.reset()
        elif way == 2:
            await end.send(b"nonsense\r\n\r\n")
        elif way == 3:
            await client.send(b"nonsense\r\n")
        else:
            await end.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED)
            await client.read_head()
            end.reset()
        await edge.ended(way + 1)
        assert edge.finished[-1].ending != "EA"
        client.close()
        await edge.settled()


async def test_connections_have_a_limit(build_edge: BuildEdge) -> None:
    """One too many is told so and closed, whatever it was going to say."""
    edge = await build_edge(connections=2)
    clients = [await edge.client() for _ in range(2)]
    await until(lambda: len(edge.proxy._worker.clients) == 2)
    third = await edge.client()
    answer = await third.read_response()
    assert (answer.status, answer.get(b"x-miosa-error"), answer.get(b"retry-after")) == (503, b"overloaded", b"2")
    assert await third.read_until_close() == b""
    third.close()
    clients[0].close()
    await until(lambda: len(edge.proxy._worker.clients) == 1)
    fourth = await edge.client()
    await fourth.send(GET.replace(b"shop", b"nobody"))
    assert (await fourth.read_response()).status == 404


# Times. The clock is put forward; that the sweep comes by itself is the last test's.


async def test_a_head_has_its_time(edge: RunningEdge) -> None:
    """A slow loris is told 408 and closed; each byte that it sends gains it nothing."""
    client = await edge.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: ")
    await edge.turns()
    for _ in range(9):
        edge.advance(1)
        await client.send(b"s")
        await edge.turns()
    assert client.arrived() == b""
    edge.advance(1.5)
    answer = await client.read_response()
    assert (answer.status, answer.get(b"connection")) == (408, b"close")
    assert await client.read_until_close() == b""
    client.close()
    await edge.settled()
    assert edge.endings == ["cR"]


async def test_the_time_of_a_head_begins_with_its_first_byte(edge: RunningEdge) -> None:
    """A kept-alive connection may rest before its next request."""
    client = await edge.client()
    for _ in range(3):
        await client.send(GET.replace(b"shop", b"nobody"))
        await client.read_response()
        edge.advance(edge.limits.client_idle - 1)
    await client.send(GET[:10])
    await edge.turns()
    edge.advance(edge.limits.head_time - 1)
    await client.send(GET[10:].replace(b"shop", b"nobody"))
    assert (await client.read_response()).status == 404


async def test_a_connection_that_never_speaks_is_closed(edge: RunningEdge) -> None:
    """Without an answer, since nothing was asked, and without a record."""
    client = await edge.client()
    await until(lambda: len(edge.proxy._worker.clients) == 1)
    edge.advance(edge.limits.head_time + 1)
    assert await client.read_until_close() == b""
    assert edge.finished == []


async def test_a_kept_alive_connection_is_closed_in_time(edge: RunningEdge) -> None:
    """Without an answer: it would be taken for that of the next request."""
    client = await edge.client()
    await client.send(GET.replace(b"shop", b"nobody"))
    await client.read_response()
    edge.advance(edge.limits.client_idle + 1)
    assert await client.read_until_close() == b""
    assert len(edge.finished) == 1


@pytest.mark.parametrize("body", [b"Content-Length: 10\r\n\r\nhello", CHUNKED + b"5\r\nhello\r\n"])
async def test_a_body_that_stops_is_408(edge: RunningEdge, body: bytes) -> None:
    """The client is to blame, and is told; the backend's request does not look complete."""
    client, end = await visit(edge, b"POST / HTTP/1.1\r\n" + HOST + body)
    await end.read_until(b"hello")
    edge.advance(edge.limits.body_idle - 1)
    assert client.arrived() == b""
    edge.advance(2)
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error")) == (408, b"request_timeout")
    assert await end.read_until_gone() in (b"", b"\r\n")
    await edge.idle()
    assert edge.endings == ["cH"]


async def test_a_body_that_trickles_is_not_idle(edge: RunningEdge) -> None:
    """Any byte is progress, both ways."""
    client, end = await visit(edge, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\n")
    for byte in (b"a", b"b", b"c"):
        edge.advance(edge.limits.body_idle - 1)
        await client.send(byte)
        assert await end.read_exactly(1) == byte
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
    await client.read_head()
    for byte in (b"a", b"b", b"c"):
        edge.advance(edge.limits.body_idle - 1)
        await end.send(byte)
        assert await client.read_exactly(1) == byte
    assert edge.endings == ["--"]


async def test_a_backend_may_think_for_minutes(edge: RunningEdge) -> None:
    """A long poll is answered within `first_byte`; what never is, is 504 then."""
    client, end = await visit(edge)
    edge.advance(edge.limits.first_byte - 1)
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    await client.send(GET)
    await end.read_request()
    edge.advance(edge.limits.first_byte + 1)
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error"), answer.get(b"connection")) == (504, b"backend_timeout", None)
    assert await end.read_until_gone() == b""
    await edge.idle()
    assert edge.endings == ["--", "bH"]


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HT"])
async def test_a_head_that_trickles_has_no_more_time(edge: RunningEdge, first: bytes) -> None:
    """Neither some of a head nor a 1xx is an answer: each further byte gains the backend nothing."""
    client, end = await visit(edge, first_byte=100.0)
    await end.send(first[:-1])
    for byte in (first[-1:], b"T" if first.endswith(b"HT") else b"a", b""):
        edge.advance(30)
        await end.send(byte)
        await edge.turns()
    edge.advance(11)
    await client.read_until(b"HTTP/1.1 504 ")
    await client.read_until(b"\r\n\r\n")
    await edge.idle()
    assert edge.endings == ["bH"]


async def test_a_resource_may_take_longer_than_the_limit(edge: RunningEdge) -> None:
    """Its own `first_byte` is what holds."""
    client, end = await visit(edge, first_byte=3600.0)
    edge.advance(3599)
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"


async def test_a_client_that_is_read_no_more_is_not_waited_for_for_ever(edge: RunningEdge) -> None:
    """Too much behind a request stops the reading: that the client has gone is asked of the kernel."""
    client, end = await visit(edge)
    await client.send(GET * 1000)
    await until(lambda: edge.held() > 16 * 1024)
    client.reset()
    await edge.turns()
    edge.advance(0.5)
    assert await end.read_until_gone() == b""
    await edge.idle()
    assert edge.endings[0] == "CH"


async def test_a_resource_may_limit_the_first_byte(edge: RunningEdge) -> None:
    """504 when it has passed, counted from the end of the request."""
    client, end = await visit(edge, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\n", first_byte=5.0)
    edge.advance(60)
    await client.send(b"hi")
    assert await end.read_exactly(2) == b"hi"
    edge.advance(4)
    assert client.arrived() == b""
    edge.advance(2)
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error"), answer.get(b"connection")) == (504, b"backend_timeout", None)
    assert await end.read_until_gone() == b""
    await edge.idle()
    assert edge.endings == ["bH"]


async def test_an_answer_that_began_in_time_has_all_the_time(edge: RunningEdge) -> None:
    """The first byte's limit is not one for the rest."""
    client, end = await visit(edge, first_byte=5.0)
    edge.advance(4)
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    await client.read_head()
    edge.advance(60)
    await end.send(b"ok")
    assert await client.read_exactly(2) == b"ok"
    assert edge.endings == ["--"]


@pytest.mark.parametrize("framing", [b"Content-Length: 10\r\n\r\n", CHUNKED])
async def test_an_answer_that_stops_is_cut(edge: RunningEdge, framing: bytes) -> None:
    """Silence for too long in mid-body: the client sees that it is not all."""
    client, end = await visit(edge)
    await end.send(b"HTTP/1.1 200 OK\r\n" + framing)
    await client.read_head()
    edge.advance(edge.limits.body_idle - 1)
    assert client.arrived() == b""
    edge.advance(2)
    assert await client.read_until_gone() == b""
    assert await end.read_until_gone() == b""
    await edge.settled()
    assert edge.endings == ["bB"]


async def test_a_client_that_stops_reading_is_given_up(edge: RunningEdge) -> None:
    """The record says that it was the client who did not take the answer."""
    client, end = await visit(edge)
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    await until(lambda: not end.send_some(b"x" * 65536) and edge.held() > 0)
    edge.advance(edge.limits.body_idle + 1)
    await until(lambda: bool(edge.finished))
    with pytest.raises(Ended):
        await client.read_exactly(100_000_000)
    assert edge.endings == ["cB"]


async def test_a_backend_that_stops_reading_is_given_up(edge: RunningEdge) -> None:
    """504, and the record says that it was the backend who did not take the request."""
    client, _ = await visit(edge, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100000000\r\n\r\n")
    await until(lambda: not client.send_some(b"x" * 65536) and edge.held() > 0)
    await edge.turns(100)
    edge.advance(edge.limits.body_idle + 1)
    assert (await client.read_response()).status == 504
    assert edge.endings == ["bH"]


async def test_a_client_that_never_takes_its_last_answer(build_edge: BuildEdge) -> None:
    """A connection that is to close after what is written has gone out is closed in any case."""
    edge = await build_edge(buffer=1 << 26)
    client, end = await visit(edge, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    await end.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED)
    while not edge.held():
        await end.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        await edge.turns(3)
    await end.send(b"0\r\n\r\n")
    await edge.ended(1)
    assert edge.held()
    edge.advance(edge.limits.body_idle + 1)
    await until(lambda: not edge.proxy._worker.clients)
    assert not (await client.read_until_gone()).endswith(b"0\r\n\r\n")
    assert edge.endings == ["--"]


async def test_a_slow_client_gets_all_of_an_answer_that_ends_its_connection(build_edge: BuildEdge) -> None:
    """An early answer is followed by throwing away what the client still sends, but not before the answer is taken."""
    edge = await build_edge(buffer=1 << 26)
    client, end = await visit(edge, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\n")
    await end.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED)
    sent = 0
    while not edge.held():
        await end.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        sent += 0x4000
        await edge.turns(3)
    await end.send(b"0\r\n\r\n")
    await edge.ended(1)
    for _ in range(5):
        edge.advance(2.5)
    answer = await client.read_response()
    assert (len(answer.body), answer.get(b"connection")) == (sent, b"close")
    assert edge.endings == ["--"]


@pytest.mark.realtime
async def test_the_sweep_comes_by_itself(build_edge: BuildEdge) -> None:
    """With short limits nobody has to put the clock forward."""
    edge = await build_edge(head_time=0.3, client_idle=0.3)
    client, resting = await edge.client(), await edge.client()
    await client.send(b"GET /")
    await resting.send(GET.replace(b"shop", b"nobody"))
    assert (await resting.read_response()).status == 404
    assert await resting.read_until_close() == b""
    assert (await client.read_response()).status == 408


@pytest.mark.parametrize("dribbled", [False, True])
async def test_the_page_says_which_header_is_too_large(edge: RunningEdge, dribbled: bool) -> None:
    """A page for people, JSON for programs; also where the end of the head is never read."""
    edge.backend("shop")
    for accept, kind in [(b"text/html", b"text/html; charset=utf-8"), (b"*/*", b"application/json")]:
        client = await edge.client()
        head = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\nAccept: " + accept + b"\r\nCookie: a=" + b"b" * 66_000
        await client.send(head if dribbled else head + b"\r\n\r\n")
        answer = await client.read_response()
        assert (answer.status, answer.get(b"content-type")) == (431, kind)
        assert b"Cookie" in answer.body
        assert b"66,010" in answer.body
        assert b"65,536" in answer.body
        await client.read_until_close()
