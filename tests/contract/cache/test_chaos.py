"""Redis stopped, frozen, flushed, restored and failed over, under load: known hosts are served, and every change arrives.

Three processes are asked for the same hosts all the time. Their routes live for a tenth of a second, so that each look
goes to Redis or past it.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from router.routes.records import ResourceRecord
from router.settings import Cache, Redis
from tests.support import records as make
from tests.support.member import Member
from tests.support.memory_store import MemoryStore
from tests.support.redis import Cluster, Sentinels, Server
from tests.support.waiting import eventually

pytestmark = [pytest.mark.asyncio, pytest.mark.realtime]

HOSTS = 50
RECOVERED = 5.0  # seconds after Redis is back within which every change made meanwhile is visible everywhere


class Load:
    """Members under constant questions, and what they answered."""

    def __init__(self, members: list[Member], ledger: MemoryStore) -> None:
        self.members = members
        self._ledger = ledger
        self._latest = dict.fromkeys(range(HOSTS), 0)
        self._chance = random.Random(3)
        self.asked = 0
        self.failed: list[str] = []

    async def ask(self, member: Member) -> None:
        """Any host, again and again."""
        while True:
            number = self._chance.randrange(HOSTS)
            route = await member.resolver.resolve(b"shop%d.miosa.app" % number)
            self.asked += 1
            if route.problem is not None:
                self.failed.append(f"{route.host}: {route.problem.code}")
            elif route.resource is None or route.resource.slug != f"shop{number}":
                self.failed.append(f"{route.host} led to {route.resource}")
            await asyncio.sleep(0.001)

    def change(self, times: int = 1) -> None:
        """Change hosts, here and there."""
        for _ in range(times):
            number = self._chance.randrange(HOSTS)
            self._latest[number] += 1
            record = make.resource(f"shop{number}", version=self._latest[number])
            self._chance.choice(self.members).commit(f"slug:shop{number}", record)

    async def everywhere(self, within: float) -> None:
        """Wait until every member answers with the newest record of every host."""
        deadline = time.monotonic() + within
        while late := [item for member in self.members for item in await self._late(member)]:
            assert time.monotonic() < deadline, f"still old after {within} s: {late}"
            await asyncio.sleep(0.02)

    async def _late(self, member: Member) -> list[str]:
        found = []
        for number, version in self._latest.items():
            resource = (await member.resolver.resolve(b"shop%d.miosa.app" % number)).resource
            if not isinstance(resource, ResourceRecord) or resource.version != version:
                found.append(f"shop{number}")
        return found


@asynccontextmanager
async def load(url: str, limits: Redis) -> AsyncIterator[Load]:
    """Everything up and known; at the end nothing has gone wrong."""
    ledger = MemoryStore()
    cache = Cache(ttl=0.1, unknown_ttl=0.1)
    async with (
        Member(url, ledger, limits=limits, cache=cache) as one,
        Member(url, ledger, limits=limits, cache=cache) as two,
        Member(url, ledger, limits=limits, cache=cache, publishes=False) as three,
    ):
        under = Load([one, two, three], ledger)
        for number in range(HOSTS):
            one.commit(f"slug:shop{number}", make.resource(f"shop{number}", version=0))
        await eventually(lambda: all(member.count("bus_connected") for member in under.members), "all hear the bus")
        await under.everywhere(within=10)
        asking = [asyncio.create_task(under.ask(member)) for member in under.members]
        yield under
        assert under.failed == []
        assert under.asked > 100
        assert not any(task.done() for task in asking)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def through(under: Load, broken: Callable[[], object], mended: Callable[[], Awaitable[None] | None]) -> None:
    """Break it, change things, see them arrive all the same; mend it, and see that nothing comes back."""
    broken()
    under.change(30)
    await under.everywhere(within=RECOVERED)  # the store is followed while the bus is lost
    under.change(30)
    if (waits := mended()) is not None:
        await waits
    await under.everywhere(within=RECOVERED)
    await eventually(lambda: all(member.count("bus_connected") for member in under.members), "all hear the bus again")
    under.change(10)
    await under.everywhere(within=RECOVERED)
    await eventually(lambda: all(member.count("redis_available") for member in under.members), "Redis is asked again")
    await eventually(lambda: all(member.shared._publisher.waiting == 0 for member in under.members[:2]), "all told")


async def test_stopped_and_frozen(folder: Path, short_limits: Redis) -> None:
    """Without its memory, and with it."""
    with Server(folder) as server:
        async with load(server.url, short_limits) as under:
            await through(under, server.stop, server.start)
            await through(under, server.freeze, server.thaw)


async def test_flushed(folder: Path, short_limits: Redis) -> None:
    """In the midst of changes."""
    with Server(folder) as server:
        async with load(server.url, short_limits) as under:
            for _ in range(10):
                under.change(5)
                server.ask("FLUSHALL")
                under.change(5)
                await under.everywhere(within=RECOVERED)


async def test_restored(folder: Path, short_limits: Redis) -> None:
    """It comes back with what it knew a while ago; nobody does."""
    with Server(folder) as server:
        async with load(server.url, short_limits) as under:
            server.ask("SAVE")
            under.change(40)
            await under.everywhere(within=RECOVERED)
            await through(under, server.stop, server.start)


async def test_failed_over_by_sentinels(folder: Path, short_limits: Redis) -> None:
    """The master dies, and its replica takes over; then both live and change places."""
    with Sentinels(folder) as sentinels:
        short_limits = short_limits.model_copy(update={"sentinel_password": None})
        async with load(sentinels.url, short_limits) as under:
            first = sentinels.master
            await through(
                under, first.stop, lambda: eventually(lambda: sentinels.master is not first, "a new master is chosen")
            )
            first.start()
            second = sentinels.master
            await eventually(lambda: "master_link_status:up" in first.info("replication"), "the old one follows", 20)
            await eventually(sentinels.agree, "the Sentinels see it")
            await eventually(sentinels.fail_over, "a Sentinel begins", 30)
            under.change(20)
            await eventually(lambda: sentinels.master is not second, "they have changed places", 20)
            under.change(20)
            await under.everywhere(within=RECOVERED)


async def test_failed_over_in_a_cluster(folder: Path, short_limits: Redis) -> None:
    """A third of the shards is away until the replica takes over."""
    with Cluster(folder) as cluster:
        async with load(cluster.url, short_limits) as under:
            first, replica = cluster.nodes[0], cluster.nodes[3]
            await through(
                under,
                first.stop,
                lambda: eventually(lambda: "role:master" in replica.info("replication"), "it took over"),
            )
