"""Requests that find no place at their resource wait for one, for a moment, and visitors take turns."""

import asyncio

import pytest

from router.routes.records import State
from tests.support.edge import FRONT, RunningEdge, until
from tests.support.wire import Backend, End
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
OFFER = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def get(target: str = "/", visitor: str = "") -> bytes:
    said = f"X-Forwarded-For: {visitor}\r\n" if visitor else ""
    return f"GET {target} HTTP/1.1\r\nHost: shop.miosa.app\r\n{said}\r\n".encode()


def waiting(edge: RunningEdge) -> int:
    return edge.proxy._worker.queues.waiting


def results(edge: RunningEdge) -> dict[str, int]:
    return {labels[0]: number for labels, number in edge.metrics._counts["queue_results"].items() if number}


async def full(edge: RunningEdge) -> tuple[Backend, End, End]:
    """A resource with one place, which is taken: its backend, and both ends of what takes it."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(get())
    end = await backend.accept()
    await end.read_request()
    return backend, client, end


async def test_a_burst_is_served(build_edge: BuildEdge) -> None:
    """Three hundred at once, and a resource of 256 places: all get their response, and nothing is left behind."""
    edge = await build_edge(queue_time=60)
    backend = edge.backend("shop")
    clients = [await edge.client() for _ in range(300)]

    for client in clients:
        await client.send(get())
    ends = [await backend.accept() for _ in range(256)]
    await until(lambda: waiting(edge) == 44)

    async def serve(end: End) -> None:
        while True:
            await end.read_request()
            await end.send(OK)

    tasks = [asyncio.create_task(serve(end), name="test: serve") for end in ends]
    for client in clients:
        assert (await client.read_response()).status == 200
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert results(edge) == {"served": 44}
    assert waiting(edge) == 0


async def test_three_hundred_sockets_and_a_request(build_edge: BuildEdge) -> None:
    """Sockets stay for hours, and take no place from requests."""
    edge = await build_edge()
    backend = edge.backend("shop")
    clients = []
    for _ in range(300):
        clients.append(await edge.client())
        await clients[-1].send(OFFER)
        await backend.answer(SWITCH)
        assert (await clients[-1].read_head()).status == 101
    visitor = await edge.client()
    await visitor.send(get())
    await backend.answer(OK)
    assert (await visitor.read_response()).status == 200
    for end in (*clients, *backend.ends):
        end.close()


async def test_visitors_take_turns(build_edge: BuildEdge) -> None:
    """Whoever asks for one thing does not wait behind the burst of somebody else."""
    edge = await build_edge(exchanges_per_resource=1, queue_time=60)
    _, _, end = await full(edge)
    for number in range(4):
        await (await edge.client(FRONT)).send(get(f"/burst{number}", "192.0.2.1"))
        await until(lambda number=number: waiting(edge) == number + 1)  # type: ignore[misc]
    await (await edge.client(FRONT)).send(get("/one", "192.0.2.2"))
    await until(lambda: waiting(edge) == 5)
    served = []
    for _ in range(5):
        await end.send(OK)
        served.append((await end.read_request()).target)
    assert served == [b"/burst0", b"/one", b"/burst1", b"/burst2", b"/burst3"]
    await end.send(OK)
    await edge.idle()


async def test_nobody_overtakes(build_edge: BuildEdge) -> None:
    """A place that has become free belongs to the one that waits, not to the one that comes at that moment."""
    edge = await build_edge(exchanges_per_resource=1, queue_time=60)
    _, client, end = await full(edge)
    second = await edge.client()
    await second.send(get("/second"))
    await until(lambda: waiting(edge) == 1)
    await client.send(get("/third"))  # pipelined: it comes in the turn in which the place becomes free
    await end.send(OK)
    assert (await end.read_request()).target == b"/second"
    await end.send(OK)
    assert (await end.read_request()).target == b"/third"
    await end.send(OK)
    await edge.idle()


async def test_who_waits_too_long_gets_429(build_edge: BuildEdge) -> None:
    """With Retry-After; the connection goes on."""
    edge = await build_edge(exchanges_per_resource=1, queue_time=60)
    _, _, end = await full(edge)
    client = await edge.client()
    await client.send(get())
    await until(lambda: waiting(edge) == 1)
    edge.advance(61)
    answer = await client.read_response()
    assert (answer.status, answer.get(b"retry-after")) == (429, b"1")
    assert (edge.endings, results(edge)) == (["EQ"], {"timed_out": 1})
    await client.send(get())
    await until(lambda: waiting(edge) == 1)
    await end.send(OK)
    await end.read_request()
    await end.send(OK)
    assert (await client.read_response()).status == 200


async def test_who_has_left_is_forgotten(build_edge: BuildEdge) -> None:
    """With a body that is on its way, or without; those behind move up."""
    edge = await build_edge(exchanges_per_resource=1, queue_time=60)
    _, _, end = await full(edge)
    head = b"POST / HTTP/1.1\r\nHost: shop.miosa.app\r\nContent-Length: 5\r\n\r\nhe"
    for number, request in enumerate((get("/gone"), head)):
        client = await edge.client()
        await client.send(request)
        await until(lambda: waiting(edge) == 1)
        client.reset()
        edge.advance(0)
        await until(lambda number=number: results(edge).get("left") == number + 1)  # type: ignore[misc]
    last = await edge.client()
    await last.send(head)
    await until(lambda: waiting(edge) == 1)
    await last.send(b"llo")
    await end.send(OK)
    assert (await end.read_request()).body == b"hello"
    await end.send(OK)
    assert (await last.read_response()).status == 200
    assert edge.endings.count("CQ") == 2


async def test_queues_have_bounds(build_edge: BuildEdge) -> None:
    """Of a resource, and of a worker, of which a tenant has half: 429 at once beyond."""
    edge = await build_edge(exchanges_per_resource=1, queue_time=60, queue_per_resource=2, queue=6)
    _, _, end = await full(edge)
    blog = edge.backend("blog")
    clients = [await edge.client() for _ in range(5)]
    for client in clients[:2]:
        await client.send(get())
    await until(lambda: waiting(edge) == 2)
    await clients[2].send(get())
    assert (await clients[2].read_response()).status == 429
    for client in clients[2:4]:
        await client.send(get().replace(b"shop", b"blog"))
    other = await blog.accept()
    await until(lambda: waiting(edge) == 3)
    await clients[4].send(get().replace(b"shop", b"blog"))
    assert (await clients[4].read_response()).status == 429
    assert results(edge) == {"refused": 2}
    await end.send(OK)
    for one in (end, other):
        for _ in range(2):
            await one.read_request()
            await one.send(OK)
    await edge.idle()
    assert results(edge) == {"refused": 2, "served": 3}


async def test_a_resource_that_moves_meanwhile(build_edge: BuildEdge) -> None:
    """Who has waited goes where it is now."""
    edge = await build_edge(exchanges_per_resource=1, queue_time=60)
    backend, _, end = await full(edge)
    client = await edge.client()
    await client.send(get("/late"))
    await until(lambda: waiting(edge) == 1)
    moved = edge.backend("shop", generation="boot-2")
    edge.point("shop", moved, generation="boot-2")
    await edge.resolver.resolve(b"shop.miosa.app")
    edge.proxy._worker.prepare(edge.resolver.peek(b"shop.miosa.app"))  # type: ignore[arg-type]
    await end.send(OK)
    _, request = await moved.answer(OK)
    assert request.target == b"/late"
    assert not backend.has_visitor()
    assert (await client.read_response()).status == 200


@pytest.mark.parametrize("state", ["moved", "stopped"])
async def test_what_waits_goes_where_its_resource_is_then(build_edge: BuildEdge, state: str) -> None:
    """The address that a resource has left while a request waited for a place is soon another's."""
    edge = await build_edge(exchanges_per_resource=1, queue_time=60)
    left, first, end = await full(edge)
    second = await edge.client()
    await second.send(get("/second"))
    await until(lambda: waiting(edge) == 1)
    other = Backend()
    if state == "moved":
        edge.point("shop", other, "boot-2")
    else:
        edge.point("shop", other, "boot-2", state=State.STOPPED, endpoint=None)
    await edge.turns()
    await until(lambda: not any("check a route" in what for what in edge.busy()), edge.busy)
    await end.send(OK)
    assert (await first.read_response()).status == 200
    if state == "moved":
        _, request = await other.answer(OK)
        assert request.target == b"/second"
        assert (await second.read_response()).status == 200
    else:
        assert (await second.read_response()).get(b"x-miosa-error") == b"stopped"
    assert not left.has_visitor()
    other.close()
