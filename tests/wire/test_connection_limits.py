"""When a worker's room is used up: who gives up what, who is refused, and who is not to blame."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from router.proxy import sweep
from tests.support.edge import FRONT, OUTSIDE, RunningEdge, until
from tests.support.wire import Backend, End, Ended
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

OTHER = "127.0.0.3"
GET = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def begin(edge: RunningEdge, visitor: str | None = None, host: str = "shop", source: str = FRONT) -> End:
    """A request under way, of a visitor behind the trusted front or of whoever connects from `source`."""
    client = await edge.client(source)
    line = "" if visitor is None else f"X-Forwarded-For: {visitor}\r\n"
    await client.send(f"GET / HTTP/1.1\r\nHost: {host}.miosa.app\r\n{line}\r\n".encode())
    return client


async def status(client: End) -> tuple[int, bytes | None]:
    answer = await client.read_response()
    return answer.status, answer.get(b"x-miosa-error")


async def test_idle_connections_make_room_for_new_ones(build_edge: BuildEdge) -> None:
    """Those of the address that holds most, the oldest first; what is under way stays, and nobody is refused."""
    edge = await build_edge(connections=7)
    backend = edge.backend()
    busy = await begin(edge, source=OTHER)
    under_way = await backend.accept()
    await under_way.read_request()
    idle = []
    for source in (OTHER, OUTSIDE, OUTSIDE, OUTSIDE, OUTSIDE, OTHER):
        client = await edge.client(source)
        await client.send(b"GET / HTTP/1.1\r\nHost: nobody.miosa.app\r\n\r\n")
        assert (await status(client))[0] == 404
        idle.append(client)
    edge.advance(1.0)
    late = await begin(edge, host="nobody", source=FRONT)
    assert await status(late) == (404, b"host_not_found")
    await idle[1].read_until_gone()
    await under_way.send(OK)
    assert (await status(busy))[0] == 200


async def test_without_idle_connections_a_new_one_is_refused(build_edge: BuildEdge) -> None:
    """As overloaded, which is logged once; a flood beyond that gets no answer. Afterwards all is as before."""
    edge = await build_edge(connections=2)
    backend = edge.backend()
    held, accepted = [], []
    for _ in range(2):
        held.append(await begin(edge))
        accepted.append(await backend.accept())
    answers: list[tuple[int, bytes | None]] = []
    refused = []
    for _ in range(40):
        client = await edge.client(OTHER)
        try:
            answers.append(await status(client))
        except Ended:
            answers.append((0, None))
        refused.append(client)
    assert answers[:32] == [(503, b"overloaded")] * 32
    assert answers[32:] == [(0, None)] * 8
    assert [line["event"] for line in edge.logs].count("connection limit reached") == 1
    for connection, client in zip(accepted, held, strict=True):
        await connection.read_request()
        await connection.send(OK)
        assert (await status(client))[0] == 200
        client.close()
    for client in refused:
        client.close()
    await edge.settled()
    assert await status(await begin(edge, host="nobody", source=OTHER)) == (404, b"host_not_found")


async def test_connections_of_one_address(build_edge: BuildEdge) -> None:
    """More than its share get 429; other addresses, and a trusted proxy whatever it holds, are served."""
    edge = await build_edge(connections_per_address=2)
    clients = [await begin(edge, host="nobody", source=OUTSIDE) for _ in range(3)]
    assert [(await status(client))[0] for client in clients] == [404, 404, 429]
    for source in (OTHER, FRONT, FRONT, FRONT):
        assert (await status(await begin(edge, host="nobody", source=source)))[0] == 404
    clients[0].close()
    clients[2].close()
    await until(lambda: edge.proxy._worker.connection_limits.addresses.held()[OUTSIDE] == (1, 0))
    assert (await status(await begin(edge, host="nobody", source=OUTSIDE)))[0] == 404


@pytest.mark.parametrize(
    ("visitors", "other"),
    [(["192.0.2.1"] * 3, "192.0.2.2"), (["2001:db8::1", "2001:db8::2", "2001:db8::3"], "2001:db8:0:1::1")],
)
async def test_exchanges_of_one_visitor(build_edge: BuildEdge, visitors: list[str], other: str) -> None:
    """Behind the trusted proxy, by the address that it says: the third at once gets 429, another visitor does not."""
    edge = await build_edge(exchanges_per_address=2)
    backend = edge.backend()
    clients, held = [], []
    for visitor in visitors[:2]:
        clients.append(await begin(edge, visitor))
        held.append(await backend.accept())
    assert await status(await begin(edge, visitors[2])) == (429, b"too_many_requests")
    clients.append(await begin(edge, other))
    held.append(await backend.accept())
    for connection, client in zip(held, clients, strict=True):
        await connection.read_request()
        await connection.send(LAST)
        assert (await status(client))[0] == 200
    again = await begin(edge, visitors[0])
    await answer_all(backend, 1)
    assert (await status(again))[0] == 200


async def test_exchanges_of_one_tenant(build_edge: BuildEdge) -> None:
    """All resources of a tenant together; another tenant's are served."""
    edge = await build_edge(exchanges_per_tenant=2)
    first, second = edge.backend("shop"), edge.backend("blog")
    foreign = edge.backend("foreign", tenant_id="another")
    clients, held = [], []
    for host, backend in (("shop", first), ("blog", second)):
        clients.append(await begin(edge, host=host))
        held.append(await backend.accept())
    assert await status(await begin(edge, host="shop")) == (429, b"too_many_requests")
    other = await begin(edge, host="foreign")
    await answer_all(foreign, 1)
    assert (await status(other))[0] == 200
    for connection, client in zip(held, clients, strict=True):
        await connection.read_request()
        await connection.send(OK)
        assert (await status(client))[0] == 200


async def answer_all(backend: Backend, count: int) -> None:
    connections = [await backend.accept() for _ in range(count)]
    for connection in connections:
        await connection.read_request()
        await connection.send(LAST)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """None is left in this process: whoever opens something fails."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (max(int(file.name) for file in Path("/proc/self/fd").iterdir()) + 4, before[1])
    )
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in taken:
            os.close(descriptor)


async def test_without_descriptors_we_are_to_blame(build_edge: BuildEdge) -> None:
    """503, never a page that tells a customer that nothing listens on their port; it is logged, and over when there are
    some again."""
    edge = await build_edge()
    edge.expected_errors = {"out of file descriptors or ports"}
    backend = edge.backend()
    client = await edge.client()
    await edge.turns()
    with no_descriptors():
        await client.send(GET)
        assert await status(client) == (503, b"overloaded")
    assert edge.endings == ["ED"]
    assert [line["event"] for line in edge.logs].count("out of file descriptors or ports") == 1
    await client.send(GET)
    await answer_all(backend, 1)
    assert (await status(client))[0] == 200


async def test_idle_connections_to_backends_are_given_up_for_a_dial(build_edge: BuildEdge) -> None:
    """Kept for later is worth less than needed now."""
    edge = await build_edge()
    edge.expected_errors = {"out of file descriptors or ports"}
    kept, needed = edge.backend("kept"), edge.backend("shop")
    client = await begin(edge, host="kept")
    connection = await kept.accept()
    await connection.read_request()
    await connection.send(OK)
    assert (await status(client))[0] == 200
    assert edge.kept() == 1
    with no_descriptors():
        await client.send(GET)
        await until(lambda: edge.kept() == 0 and len(edge.proxy._worker.backends) == 1)
    accepted = await needed.accept()
    await accepted.read_request()
    await accepted.send(OK)
    assert (await status(client))[0] == 200
    await connection.read_until_gone()


async def test_the_sweep_notices_that_descriptors_are_gone(build_edge: BuildEdge) -> None:
    """Whoever took them, idle connections of clients go too, so that the rest of the process gets some."""
    edge = await build_edge()
    edge.expected_errors = {"out of file descriptors or ports"}
    client = await begin(edge, host="nobody")
    assert (await status(client))[0] == 404
    with no_descriptors():
        sweep.run(edge.proxy._worker)
        await client.read_until_gone()
    assert "out of file descriptors or ports" in {line["event"] for line in edge.logs}
