"""A real Prometheus scrapes real nodes: each panel of the dashboards has data, and alerts fire when something is away."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from router.base.ids import new_id
from router.node.services import open_services
from router.settings import Settings
from router.store import migrate
from tests.support.backends import Backend, Visit
from tests.support.node import Node, node_settings, running
from tests.support.platform import SECRET, Platform
from tests.support.postgres import Postgres
from tests.support.prometheus import Prometheus, queries
from tests.support.redis import Server
from tests.support.waiting import PAUSE

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.realtime]


@pytest.fixture
def database() -> Iterator[Postgres]:
    """A server of its own, because it is stopped."""
    with Postgres() as server:
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    """As well."""
    with Server(tmp_path) as server:
        yield server


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[Backend]:
    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    async with Backend(hello) as started:
        yield started


@pytest_asyncio.fixture
async def platform() -> AsyncIterator[Platform]:
    async with Platform() as started:
        yield started


@pytest_asyncio.fixture
async def settings(tmp_path: Path, database: Postgres, redis: Server, platform: Platform) -> Settings:
    """A node with all that it can have."""
    url = await database.create(migrated=False)
    await migrate(url)
    wake = {"url": platform.url, "secret": SECRET}
    return node_settings(tmp_path, database_url=url, redis_url=redis.url, wake=wake)


@dataclass
class Traffic:
    """Of one sandbox that runs, and one that sleeps until somebody comes."""

    node: Node
    port: int

    async def begin(self, settings: Settings) -> None:
        """Make them, and come once."""
        async with open_services(settings) as services:
            tenant = (await services.tenants.create("Acme")).id
        for slug in ("runs", "sleeps"):
            resource = new_id()
            body = {"kind": "sandbox", "slug": slug, "tenant_id": tenant, "default_port": self.port, "wake": "any"}
            await self.node.platform("PUT", f"/resources/{resource}", body)
            await self.boot(resource)
        await self.node.platform("PATCH", f"/resources/{resource}", {"state": "paused"})
        await self.come()
        assert (await self.node.visit("sleeps.miosa.app"))[0] == 200

    async def boot(self, resource: str) -> None:
        """As the platform says that it runs."""
        endpoint = {"address": "127.0.0.1", "generation": new_id(), "state": "running"}
        await self.node.platform("PUT", f"/endpoints/{resource}", endpoint)

    async def come(self) -> None:
        """A visitor, a scanner, and Caddy with a name that is nobody's."""
        assert (await self.node.visit("runs.miosa.app"))[0] == 200
        assert (await self.node.visit("nobody.miosa.app"))[0] == 404
        assert (await self.node.ask("nobody.miosa.app"))[0] == 404


async def comes(what: Callable[[], object], why: str, within: float = 40.0) -> None:
    """Wait until `what()`, which asks Prometheus, is true. Fails, naming `why` it is waited for."""
    deadline = time.monotonic() + within
    while not await asyncio.to_thread(what):
        assert time.monotonic() < deadline, f"not within {within} s: {why}"
        await asyncio.sleep(PAUSE)


async def test_dashboards_show_and_alerts_fire(
    tmp_path: Path, settings: Settings, backend: Backend, platform: Platform, database: Postgres, redis: Server
) -> None:
    """No panel is empty on a node with traffic, and nothing fires while all is well; then Redis, the database and the node
    go away, one after the other, and each is said."""
    async with running(settings) as node:
        traffic = Traffic(node, backend.port)
        platform.boot = traffic.boot
        target = node.url("admin").removeprefix("http://")
        with await asyncio.to_thread(Prometheus, tmp_path, [target]) as prometheus:

            def firing(alert: str) -> bool:
                return f"MiosaRouter{alert}" in prometheus.firing()

            def scraped(times: int) -> bool:
                return bool(prometheus.query(f"count_over_time(miosa_router_build_info[1m]) >= {times}"))

            await comes(lambda: scraped(2), "the node is scraped")
            await traffic.begin(settings)
            await comes(lambda: scraped(5), "it is scraped again")
            await traffic.come()
            empty = set(queries())

            def fill() -> bool:
                empty.difference_update([name for name in empty if prometheus.query(queries()[name])])
                return not empty

            with suppress(AssertionError):
                await comes(fill, "each panel has data")
            assert not empty
            assert not prometheus.firing()

            await asyncio.to_thread(redis.stop)
            await comes(lambda: firing("RedisDown"), "Redis is said to be away")
            assert not await asyncio.to_thread(firing, "StoreDown")
            await asyncio.to_thread(database.stop)
            await comes(lambda: firing("StoreDown"), "the database is said to be away")
            await asyncio.to_thread(database.start)
            await comes(lambda: not firing("StoreDown"), "it is said to be back")
            assert not await asyncio.to_thread(firing, "NodeDown")
            await node.app.close()
            await comes(lambda: firing("NodeDown"), "the node is said to be away")
