"""Cold hosts through Redis: `python -m bench.cold`, a minute or two. `--domains 1000000` for the whole crowd.

One process's resolver, on Redis (a server of its own) before PostgreSQL or SQLite: what a look-up takes that is answered
by Redis; ten thousand first requests for one host; ten thousand for as many hosts, first with Redis as cold as the
process, then with a process that starts on a warm Redis. Beside the last two runs warm traffic in the same process: how
late its turns come is what its visitors notice.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import uvloop

from router.base.clock import SystemClock
from router.cache import SharedCache
from router.node.processes.garbage_collection import TRAFFIC, tune_gc
from router.observe.metrics import Metrics
from router.routes.batches import Found
from router.routes.resolver import Resolver
from router.routes.route import Route
from router.settings import Cache, Redis
from router.store import Store, migrate
from tests.support.crowd import Crowd
from tests.support.postgres import Postgres
from tests.support.redis import Server

_BURST = 10_000
_TURN = 20  # requests that one turn of the loop brings


class Counted:
    """A source, and how often and how much at once it was asked."""

    def __init__(self, source: SharedCache) -> None:
        self._records = source.records
        self.asked = 0
        self.under_way = 0
        self.most = 0

    async def fetch(self, keys: Sequence[str]) -> Found:
        self.asked += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await self._records.fetch(keys)
        finally:
            self.under_way -= 1


class Process:
    """A resolver that has just started."""

    def __init__(self, store: Store, shared: SharedCache, metrics: Metrics) -> None:
        self.store = store
        self.shared = shared
        self.source = Counted(shared)
        self.metrics = metrics
        self.resolver = Resolver(
            self.source,
            platform_domain="miosa.app",
            reserved_ports=frozenset(),
            limits=Cache(hosts=100_000),
            clock=SystemClock(),
        )

    def count(self, name: str, *labels: str) -> int:
        return self.metrics._counts[name].get(labels, 0)  # noqa: SLF001 - a bench may look inside


@asynccontextmanager
async def started(database: str, redis: Server) -> AsyncIterator[Process]:
    store = await Store.open(database, clock=SystemClock())
    metrics = Metrics()
    shared = SharedCache(
        redis.url,
        Redis(),
        fetch_time=Cache().fetch_time,
        store=store,
        publishes=True,
        metrics=metrics,
        clock=SystemClock(),
    )
    process = Process(store, shared, metrics)
    await shared.start(process.resolver.drop, process.resolver.drop_all)
    while shared.check() is not None:
        await asyncio.sleep(0.01)
    tune_gc(TRAFFIC)
    yield process
    await process.resolver.close()
    await shared.close()
    await store.close()


def shown(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    p99 = ordered[len(ordered) * 99 // 100]
    return f"p50 {statistics.median(ordered) * 1000:.2f} ms, p99 {p99 * 1000:.2f} ms"


async def warm(process: Process, host: bytes, lateness: list[float]) -> None:
    """A visitor of a known host, a thousand times a second: how late is each turn?"""
    while True:
        due = time.perf_counter() + 0.001
        await asyncio.sleep(0.001)
        lateness.append(time.perf_counter() - due)
        if process.resolver.peek(host) is None:
            await process.resolver.resolve(host)


async def burst(process: Process, hosts: Sequence[str]) -> str:
    """All at once, beside warm traffic."""
    known = hosts[0].encode()
    await process.resolver.resolve(known)
    before: list[float] = []
    during: list[float] = []
    for lateness, work in ((before, asyncio.sleep(2)), (during, all_of(process, hosts[1:]))):
        beside = asyncio.create_task(warm(process, known, lateness))
        began = time.perf_counter()
        failed = await work
        took = time.perf_counter() - began
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)
    return (
        f"{took:.2f} s, {failed} failed, at most {process.source.most} round trips at once; "
        f"warm traffic's turns: before {shown(before)}; meanwhile {shown(during)}"
    )


async def all_of(process: Process, hosts: Sequence[str]) -> int:
    """As many as arrive in a turn of the loop when ten thousand connections have something to say."""
    tasks: list[asyncio.Task[Route]] = []
    for number, host in enumerate(hosts):
        tasks.append(asyncio.create_task(process.resolver.resolve(host.encode())))
        if number % _TURN == 0:
            await asyncio.sleep(0)
    return sum(route.problem is not None for route in await asyncio.gather(*tasks))


async def measure(database: str, redis: Server, crowd: Crowd) -> None:
    print(f"{database.partition(':')[0]}: {crowd.domains} domains, {crowd.resources} resources")
    await migrate(database)
    await crowd.fill(database)
    hosts = [crowd.name(number) for number in range(_BURST)]
    alone = [crowd.name(_BURST + number) for number in range(2000)]
    async with started(database, redis) as process:
        before = process.count("redis_operations", "look", "ok")
        await asyncio.gather(*(process.resolver.resolve(b"box1.miosa.app") for _ in range(_BURST)))
        looks = process.count("redis_operations", "look", "ok") - before
        print(f"  {_BURST} requests for one host: {process.source.asked} read, {looks} look in Redis")
        print(f"  {_BURST} hosts, Redis cold: {await burst(process, hosts)}")
        cold = await one_by_one(process, alone)
        print(f"  a host alone, Redis cold: {shown(cold)}")
        while process.count("redis_fills", "stored") < len(alone):
            await asyncio.sleep(0.05)
    async with started(database, redis) as process:
        print(f"  {_BURST} hosts, Redis warm: {await burst(process, hosts)}")
        print(f"  a host alone, Redis warm: {shown(await one_by_one(process, alone))}")
        hits, misses = (process.count("redis_records", word) for word in ("hit", "absent"))
        print(f"    of the records, {hits} were in Redis, {misses} were not looked for before")


async def one_by_one(process: Process, hosts: Sequence[str]) -> list[float]:
    took = []
    for host in hosts:
        began = time.perf_counter()
        await process.resolver.resolve(host.encode())
        took.append(time.perf_counter() - began)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=200)
    parser.add_argument("--resources", type=int, default=20_000)
    parser.add_argument("--domains", type=int, default=20_000)
    words = parser.parse_args()
    crowd = Crowd(words.tenants, words.resources, words.domains)
    with ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = stack.enter_context(Postgres())
        for database in (runner.run(postgres.create(migrated=False)), f"sqlite:///{folder / 'router.db'}"):
            with Server(folder) as redis:
                runner.run(measure(database, redis, crowd))


if __name__ == "__main__":
    main()
