"""The end of a worker: nothing new, what is under way may finish, and what does not is ended."""

import asyncio

import pytest

from tests.support.edge import RunningEdge, until
from tests.support.wire import End
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n"
OFFER = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
SWITCH = b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def visit(edge: RunningEdge, request: bytes = GET) -> tuple[End, End]:
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(request)
    end = await backend.accept()
    await end.read_request()
    return client, end


async def test_a_drain_without_traffic_is_over_at_once(edge: RunningEdge) -> None:
    """Idle connections are closed, and nobody new gets in."""
    client = await edge.client()
    await client.send(GET.replace(b"shop", b"nobody"))
    await client.read_response()
    silent = await edge.client()
    await until(lambda: len(edge.proxy._worker.clients) == 2)
    async with asyncio.timeout(30):
        await edge.proxy.drain(30, 300)
    assert await client.read_until_close() == b""
    assert await silent.read_until_close() == b""
    with pytest.raises(ConnectionRefusedError):
        await edge.client()


async def test_a_request_under_way_gets_its_answer(edge: RunningEdge) -> None:
    """With the word that the connection ends; the next request finds another worker."""
    client, end = await visit(edge)
    drain = asyncio.create_task(edge.proxy.drain(30, 300))
    await until(lambda: edge.proxy._worker.draining)
    await end.send(OK)
    answer = await client.read_response()
    assert (answer.body, answer.get(b"connection")) == (b"ok", b"close")
    assert await client.read_until_close() == b""
    async with asyncio.timeout(30):
        await drain
    assert edge.endings == ["--"]


async def test_an_answer_under_way_is_finished(edge: RunningEdge) -> None:
    """Its head is gone already: the connection ends behind its body."""
    client, end = await visit(edge)
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
    await client.read_head()
    drain = asyncio.create_task(edge.proxy.drain(30, 300))
    await until(lambda: edge.proxy._worker.draining)
    await end.send(b"lf")
    assert await client.read_until_close() == b"half"
    async with asyncio.timeout(30):
        await drain


async def test_a_request_that_takes_too_long_is_told(edge: RunningEdge) -> None:
    """503 draining, when its time is over; its backend is let go."""
    client, end = await visit(edge)
    drain = asyncio.create_task(edge.proxy.drain(0, 0))
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error"), answer.get(b"retry-after")) == (503, b"draining", b"1")
    assert await end.read_until_gone() == b""
    await drain
    assert edge.endings == ["EH"]


async def test_streams_have_more_time_than_requests(edge: RunningEdge) -> None:
    """An event stream goes on after the requests' time, and is cut at the end of its own."""
    client, end = await visit(edge)
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    await client.read_head()
    drain = asyncio.create_task(edge.proxy.drain(0, 100))
    await until(lambda: edge.proxy._worker.draining)
    await end.send(b"2\r\nhi\r\n")
    assert await client.read_chunk() == b"hi"
    assert not drain.done()
    edge.advance(101)
    assert await client.read_until_gone() == b""
    assert await end.read_until_gone() == b""
    async with asyncio.timeout(30):
        await drain
    assert edge.endings == ["EB"]


async def test_tunnels_are_told_at_the_end(edge: RunningEdge) -> None:
    """1001 (going away), once the time of streams is over."""
    client, end = await visit(edge, OFFER)
    await end.send(SWITCH)
    await client.read_head()
    drain = asyncio.create_task(edge.proxy.drain(0, 100))
    await until(lambda: edge.proxy._worker.draining)
    await client.send(b"ping")
    assert await end.read_exactly(4) == b"ping"
    edge.advance(101)
    assert await client.read_until_close() == b"\x88\x02\x03\xe9"
    await end.read_until_gone()
    async with asyncio.timeout(30):
        await drain
    assert edge.endings == ["ET"]


async def test_a_new_request_on_a_connection_that_drains(edge: RunningEdge) -> None:
    """What was pipelined behind the request under way is not begun."""
    client, end = await visit(edge, GET + GET)
    drain = asyncio.create_task(edge.proxy.drain(30, 300))
    await until(lambda: edge.proxy._worker.draining)
    await end.send(OK)
    assert (await client.read_response()).get(b"connection") == b"close"
    assert await client.read_until_close() == b""
    client.close()
    async with asyncio.timeout(30):
        await drain
    assert len(edge.finished) == 1


async def test_close_ends_everything_at_once(edge: RunningEdge) -> None:
    """Requests, streams, tunnels, look-ups and dials; each has its record."""
    waiting, first = await visit(edge)
    streaming, second = await visit(edge)
    await second.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await streaming.read_head()
    upgraded, third = await visit(edge, OFFER)
    await third.send(SWITCH)
    await upgraded.read_head()
    edge.backend("blog", listening=False)
    dialling = await edge.client()
    await dialling.send(GET.replace(b"shop", b"blog"))
    await until(lambda: any("dial" in what for what in edge.busy()), edge.busy)
    await edge.proxy.close()
    for client in (waiting, streaming, upgraded, dialling):
        assert await client.read_until_gone() in (b"", b"\x88\x02\x03\xe9")
    for end in (first, second, third):
        await end.read_until_gone()
    assert len(edge.finished) == 4
    assert edge.busy() == []


async def test_a_refused_upload_is_told_while_we_drain(build_edge: BuildEdge) -> None:
    """Its client is still sending: it is read to its end, so that no reset takes the answer from it."""
    edge = await build_edge(body=1000)
    client = await edge.client()
    await client.send(b"POST / HTTP/1.1\r\nHost: shop.miosa.app\r\nContent-Length: 100000\r\n\r\n")
    await edge.ended(1)
    drain = asyncio.create_task(edge.proxy.drain(30, 300))
    await until(lambda: edge.proxy._worker.draining)
    await edge.turns(50)
    assert not drain.done()
    await client.send(b"x" * 100000)
    assert (await client.read_response()).status == 413
    client.close()
    async with asyncio.timeout(30):
        await drain


async def test_a_patient_drain_answers_one_more_request(edge: RunningEdge) -> None:
    """Where another worker has taken over already: a request that is on its way is answered, and is its connection's
    last, whether the connection was idle, new, or had been told that it would be kept."""
    client, end = await visit(edge)
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
    await client.read_head()
    new = await edge.client()
    await until(lambda: len(edge.proxy._worker.clients) == 2)
    drain = asyncio.create_task(edge.proxy.drain(30, 300, patient=True))
    await until(lambda: edge.proxy._worker.draining)
    await end.send(b"ha")
    assert await client.read_exactly(4) == b"haha"
    for late in (client, new):
        assert not drain.done()
        await late.send(GET.replace(b"shop", b"nobody"))
        answer = await late.read_response()
        assert (answer.status, answer.get(b"connection")) == (404, b"close")
        assert await late.read_until_close() == b""
    async with asyncio.timeout(30):
        await drain


async def test_a_patient_drain_does_not_wait_for_ever(edge: RunningEdge) -> None:
    """A connection that brings no request is closed when the time for requests is over."""
    client = await edge.client()
    await until(lambda: len(edge.proxy._worker.clients) == 1)
    async with asyncio.timeout(30):
        await edge.proxy.drain(0.1, 300, patient=True)
    assert await client.read_until_close() == b""
