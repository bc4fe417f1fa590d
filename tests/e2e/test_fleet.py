"""Two nodes with Redis between them: changes cross in milliseconds, and Redis may do what it likes."""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.support.backends import Backend, Visit
from tests.support.redis import Server
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

CHANGES = 200
HOSTS = 20


@dataclass
class Fleet:
    """Both nodes, the first one as several processes, and a tenant to register things for."""

    nodes: tuple[Router, Router]
    redis: Server
    tenant_id: str


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    folders: list[Path] = [folder / name for name in ("first", "second")]
    for one in folders:
        one.mkdir()
    with Server(folder, password="hunter2") as redis:
        url = f"sqlite:///{folder / 'router.db'}"
        common = {"database_url": url, "redis_url": f"{redis.url}/0", "redis__silence": 2}
        first = Router(folders[0], workers=2, **common)
        second = Router(folders[1], **common, internal_token=first.token)
        second.token = first.token
        with first, second:
            yield Fleet((first, second), redis, first.tenant("Acme"))


def figure(node: Router, name: str) -> float:
    """The sum of a metric's series on a node."""
    _, _, body = node.get_admin("/metrics")
    lines = [line for line in body.decode().splitlines() if line.startswith(f"miosa_router_{name}")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def says(visit: Visit) -> None:
    """Which host it was asked for."""
    await visit.answer(visit.header(b"host") or b"")


class Visitors:
    """Ask both nodes for known hosts all the time; `wrong` is what was not as it should be."""

    def __init__(self, fleet: Fleet, hosts: list[str]) -> None:
        self._fleet = fleet
        self._hosts = hosts
        self.asked = 0
        self.wrong: list[str] = []

    async def visit(self, session: aiohttp.ClientSession, node: Router) -> None:
        while True:
            for host in self._hosts:
                async with session.get(f"http://{node.proxy}/", headers={"Host": host}) as answer:
                    body = await answer.text()
                self.asked += 1
                if (answer.status, body) != (200, host):
                    self.wrong.append(f"{host}: {answer.status} {body[:200]}")
                await asyncio.sleep(0.002)


@asynccontextmanager
async def visitors(fleet: Fleet, hosts: list[str]) -> AsyncIterator[Visitors]:
    made = Visitors(fleet, hosts)
    async with aiohttp.ClientSession() as session:
        for node in fleet.nodes:
            for host in hosts:
                async with session.get(f"http://{node.proxy}/", headers={"Host": host}) as answer:
                    assert (answer.status, await answer.text()) == (200, host)
        tasks = [asyncio.create_task(made.visit(session, node)) for node in fleet.nodes]
        yield made
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert made.wrong == []


@dataclass
class Moving:
    """A sandbox that changes its place, and how long each change took to be seen through the second node."""

    fleet: Fleet
    session: aiohttp.ClientSession
    resource: str
    host: str
    ports: tuple[int, int]
    number: int = 0
    waits: list[float] = field(default_factory=list)

    async def move(self, within: float) -> None:
        """To the other place; each proxy process that answers a few times over says so within that many seconds."""
        self.number += 1
        first, second = self.fleet.nodes
        endpoint = {
            "address": "127.0.0.1",
            "generation": str(self.number),
            "state": "running",
            "ports": {"3000": self.ports[self.number % 2]},
        }
        async with self.session.put(
            f"http://127.0.0.1:{first.api_port}/internal/v1/endpoints/{self.resource}",
            json=endpoint,
            headers={"Authorization": f"Bearer {first.token}"},
        ) as answer:
            assert answer.status == 200, await answer.text()
        stored = time.perf_counter()
        while await self.where(second) != self.number % 2:
            assert time.perf_counter() - stored < within
        self.waits.append((time.perf_counter() - stored) * 1000)
        while {await self.where(first) for _ in range(4)} != {self.number % 2}:
            assert time.perf_counter() - stored < within

    async def where(self, node: Router) -> int:
        """Which place answers. A connection each, so that every worker is asked."""
        async with self.session.get(
            f"http://{node.proxy}/", headers={"Host": self.host, "Connection": "close"}
        ) as answer:
            return int(await answer.text())


@asynccontextmanager
async def moving(fleet: Fleet, slug: str) -> AsyncIterator[Moving]:
    async def zero(visit: Visit) -> None:
        await visit.answer(b"0")

    async def one(visit: Visit) -> None:
        await visit.answer(b"1")

    async with Backend(zero) as first, Backend(one) as second, aiohttp.ClientSession() as session:
        resource = fleet.nodes[0].register(fleet.tenant_id, slug, first.port)
        yield Moving(fleet, session, resource, f"{slug}.{PLATFORM_DOMAIN}", (first.port, second.port))


@pytest.mark.realtime
async def test_a_change_crosses_in_milliseconds(fleet: Fleet) -> None:
    """From the answer of one node's API to the other node's proxy; how soon is printed."""
    await eventually(lambda: all(figure(node, "bus_connected") for node in fleet.nodes), "all hear the bus")
    async with moving(fleet, "crossing") as box:
        for _ in range(CHANGES):
            await box.move(within=5.0)
    box.waits.sort()
    p50, p99 = statistics.median(box.waits), box.waits[len(box.waits) * 99 // 100]
    print(f"change to visible through the other node: p50 {p50:.1f} ms, p99 {p99:.1f} ms, of {len(box.waits)} changes")
    assert p50 < 50


async def test_routes_come_from_redis(fleet: Fleet) -> None:
    """What one node has looked up, the other finds in Redis; explain says where each record came from."""
    async with Backend(says) as backend:
        fleet.nodes[0].register(fleet.tenant_id, "warm", backend.port)
        host = f"warm.{PLATFORM_DOMAIN}"

        def explained(node: Router) -> str:
            _, _, body = node.get_admin(f"/explain?host={host}")
            return str(json.loads(body)["source"])

        await eventually(lambda: explained(fleet.nodes[0]) == "redis", "the first node finds it in Redis")
        await eventually(lambda: explained(fleet.nodes[1]) == "redis", "the second too")


@pytest.mark.parametrize("what", ["stopped", "frozen", "flushed"])
async def test_redis_may_go(fleet: Fleet, what: str) -> None:
    """Known hosts are served, changes arrive, /readyz says 200 and what is missing; then all is as before."""
    redis = fleet.redis

    def flush() -> None:
        redis.ask("FLUSHALL")

    breaks: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "stopped": (redis.stop, redis.start),
        "frozen": (redis.freeze, redis.thaw),
        "flushed": (flush, flush),
    }
    broken, mended = breaks[what]

    def status(node: Router) -> str:
        code, _, body = node.get_admin("/readyz")
        assert code == 200
        document = json.loads(body)
        assert document["changes"]["waiting"] >= 0
        assert document["status"] != "ready" or document["changes"]["by"] == "bus"
        return str(document["status"])

    async with Backend(says) as backend, moving(fleet, f"moves-{what}") as box:
        slugs = [f"{what}{number}" for number in range(HOSTS)]
        for slug in slugs:
            fleet.nodes[0].register(fleet.tenant_id, slug, backend.port)
        async with visitors(fleet, [f"{slug}.{PLATFORM_DOMAIN}" for slug in slugs]) as load:
            await box.move(within=5.0)
            broken()
            try:
                if what != "flushed":
                    await eventually(
                        lambda: {status(node) for node in fleet.nodes} == {"degraded"}, "both are degraded"
                    )
                for _ in range(5):
                    await box.move(within=5.0)
            finally:
                mended()  # also for the tests that come after a failure
            for _ in range(5):
                await box.move(within=5.0)
            await eventually(lambda: {status(node) for node in fleet.nodes} == {"ready"}, "both are ready again", 20)
            await box.move(within=5.0)
            await eventually(lambda: load.asked > 200, "there was load")


async def test_an_unknown_host_is_never_blamed(fleet: Fleet) -> None:
    """While Redis is away the store answers: what does not exist is 404, with Redis and without."""
    async with aiohttp.ClientSession() as session:

        async def ask(number: int) -> int:
            host = f"nobody{number}.{PLATFORM_DOMAIN}"
            async with session.get(f"http://{fleet.nodes[1].proxy}/", headers={"Host": host}) as answer:
                return answer.status

        assert await ask(1) == 404
        fleet.redis.stop()
        try:
            assert [await ask(number) for number in range(2, 12)] == [404] * 10
        finally:
            fleet.redis.start()
        await eventually(lambda: all(figure(node, "bus_connected") for node in fleet.nodes), "all hear the bus", 20)
