"""What one connection may do in one turn of the loop: another tenant's request never waits for all that has arrived."""

import asyncio

import pytest

from tests.support.edge import RunningEdge, until
from tests.support.wire import End

pytestmark = pytest.mark.asyncio

GET = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n"
QUIET = b"GET / HTTP/1.1\r\nHost: quiet.miosa.app\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UNKNOWN = b"GET / HTTP/1.1\r\nHost: nobody.miosa.app\r\n\r\n"
BAD = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n x: folded\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def quiet(edge: RunningEdge) -> tuple[End, End]:
    """A client and a backend of a resource that has nothing to do with the others, with a connection kept."""
    backend = edge.backend("quiet")
    client = await edge.client()
    await client.send(QUIET)
    end, _ = await backend.answer(OK)
    assert (await client.read_response()).body == b"ok"
    return client, end


async def ask(client: End, end: End) -> None:
    """One request of the quiet resource, there and back."""
    await client.send(QUIET)
    await end.read_request()
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"


async def pour(end: End, data: bytes) -> None:
    """Send that for ever."""
    loop = asyncio.get_running_loop()
    while True:
        await loop.sock_sendall(end.sock, data)


async def drink(end: End) -> None:
    """Read and forget for ever."""
    loop = asyncio.get_running_loop()
    while await loop.sock_recv(end.sock, 1 << 20):
        pass


STREAMS = [
    ("chunks of one byte", CHUNKED, b"1\r\nx\r\n" * 100_000),
    ("chunks of 100 bytes", CHUNKED, (b"64\r\n" + b"x" * 100 + b"\r\n") * 10_000),
    ("a sized body", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", b"x" * 1_000_000),
    ("a body until the end", b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1_000_000),
]


@pytest.mark.parametrize(("head", "data"), [case[1:] for case in STREAMS], ids=[case[0] for case in STREAMS])
async def test_an_endless_answer_does_a_share_of_it_in_a_turn(head: bytes, data: bytes, edge: RunningEdge) -> None:
    """What one backend sends without end comes in shares, and a neighbour is answered between them."""
    neighbour = await quiet(edge)
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(GET)
    end = await backend.accept()
    await end.read_head()
    await end.send(head)
    tasks = [
        asyncio.create_task(pour(end, data), name="test: pour"),
        asyncio.create_task(drink(client), name="test: drink"),
    ]
    exchange = next(client.exchange for client in edge.proxy._worker.clients if client.exchange is not None)
    await until(lambda: exchange.sent > 100_000)
    shares = []
    for _ in range(100):
        before = exchange.sent
        await asyncio.sleep(0)
        shares.append(exchange.sent - before)
    assert max(shares) <= 512 * 1024
    for _ in range(5):
        await ask(*neighbour)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(("request_", "status"), [(UNKNOWN, 404), (GET, 502)], ids=["unknown hosts", "a closed port"])
async def test_pipelined_requests_take_turns(request_: bytes, status: int, edge: RunningEdge) -> None:
    """Of a thousand requests in one read a few are taken up at a time, in their order, and all are answered."""
    neighbour = await quiet(edge)
    edge.backend("shop", listening=False)
    client = await edge.client()
    await client.send(request_)
    assert (await client.read_response()).status == status  # remembered from now on
    await client.send(UNKNOWN * 1000)
    await ask(*neighbour)
    answered = client.arrived()
    assert answered.count(b"HTTP/1.1 404 ") < 1000
    client.buffer = answered
    for _ in range(1000):
        assert (await client.read_response()).status == 404
    await client.send(request_)
    assert (await client.read_response()).status == status


async def test_pipelined_requests_before_the_clients_end_are_all_answered(edge: RunningEdge) -> None:
    """The end of the client's side behind a hundred requests cuts off none of them."""
    client = await edge.client()
    await client.send(UNKNOWN * 100)
    client.half_close()
    for _ in range(100):
        assert (await client.read_response()).status == 404
    assert await client.read_until_gone() == b""


@pytest.mark.parametrize("ended", [False, True], ids=["open", "half-closed"])
async def test_refusals_stand_in_line(ended: bool, edge: RunningEdge) -> None:
    """Of hundreds that are due in one turn all are sent, also to clients that have ended their side, none of them at
    another's cost."""
    neighbour = await quiet(edge)
    clients = [await edge.client() for _ in range(300)]
    for client in clients:
        client.sock.send(BAD)
        if ended:
            client.half_close()
    await edge.turns(1)
    for client in clients:
        client.buffer = client.arrived()
    assert sum(bool(client.buffer) for client in clients) < 300
    await ask(*neighbour)
    for client in clients:
        assert (await client.read_response()).status == 400
        client.close()


async def test_heads_that_time_out_together_stand_in_line(edge: RunningEdge) -> None:
    """One pass over the deadlines does not answer all that are due; every client hears of it."""
    clients = [await edge.client() for _ in range(200)]
    for client in clients:
        await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n")
    await until(lambda: sum(bool(client.buffer) for client in edge.proxy._worker.clients) == 200)
    edge.advance(edge.limits.head_time + 1)
    for client in clients:
        client.buffer = client.arrived()
    assert sum(bool(client.buffer) for client in clients) <= 20
    for client in clients:
        assert (await client.read_response()).status == 408


async def test_a_client_that_leaves_while_its_refusal_stands_in_line(edge: RunningEdge) -> None:
    """It is recorded once, and nothing is sent to it."""
    clients = [await edge.client() for _ in range(100)]
    for client in clients:
        client.sock.send(BAD)
        client.reset()
    await edge.settled()
    assert {ending[1] for ending in edge.endings} <= {"R"}


async def test_pipelining_holds_a_few_reads_at_most(edge: RunningEdge) -> None:
    """Requests that wait for their turn wait in the kernel, however fast they come."""
    client = await edge.client()
    held = [0]
    for _ in range(300):
        client.send_some(UNKNOWN * 5000)
        client.arrived()
        await asyncio.sleep(0)
        held.append(edge.held())
    assert max(held) <= 2 * edge.limits.buffer
    client.reset()
