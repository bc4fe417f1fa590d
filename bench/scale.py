"""Cold resolution with a million custom domains: `python -m bench.scale`, some minutes. `--domains 10000` for a glance.

Fills PostgreSQL (a server of its own, or `--database`) and an SQLite file, then resolves hosts that no cache knows: one
after the other for the time that one takes, and 32 at once. Every host is asked for once. Then it registers endpoints.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import uvloop

from router.base.clock import SystemClock
from router.routes.resolver import Resolver
from router.routes.route import Route
from router.settings import Cache, Settings
from router.store import Store, migrate
from router.tenancy.endpoints import EndpointChange, Endpoints
from tests.support.crowd import Crowd
from tests.support.postgres import Postgres

_AT_ONCE = 32
_BATCH = 1000


def _hosts(crowd: Crowd, reads: int) -> Iterator[tuple[str, list[str]]]:
    """Hosts of each sort, at random."""
    draw = random.Random(1)
    names = draw.sample(range(crowd.domains), min(2 * reads, crowd.domains))
    boxes = draw.sample(range(crowd.resources), min(4 * reads, crowd.resources))
    half = len(boxes) // 2
    yield "custom domain", [crowd.name(d) for d in names]
    yield "platform host", [f"{crowd.slug(r)}.sandbox.miosa.app" for r in boxes[:half]]
    yield "preview host", [f"{crowd.slug(r)}.sandbox.{crowd.zone(crowd.tenant_of(r))}" for r in boxes[half:]]
    yield "unknown host", [f"nobody{number}.example.net" for number in range(2 * reads)]


async def _timed(resolver: Resolver, host: str) -> tuple[float, Route]:
    began = time.perf_counter()
    route = await resolver.resolve(host.encode())
    return (time.perf_counter() - began) * 1000, route


async def _resolve(database: str, crowd: Crowd, reads: int) -> None:
    store = await Store.open(database, clock=SystemClock())
    resolver = Resolver(
        store.records,
        platform_domain="miosa.app",
        reserved_ports=frozenset(),
        limits=Cache(fetches=_AT_ONCE),
        clock=SystemClock(),
    )
    for sort, hosts in _hosts(crowd, reads):
        half = len(hosts) // 2
        alone = [await _timed(resolver, host) for host in hosts[:half]]
        queue, together = iter(hosts[half:]), []

        async def work(queue: Iterator[str] = queue, together: list[tuple[float, Route]] = together) -> None:
            together.extend([await _timed(resolver, host) for host in queue])

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
        rate = len(together) / (time.perf_counter() - began)
        found = sum(route.decision.problem is None for _, route in (*alone, *together))
        if found != (0 if sort == "unknown host" else len(hosts)):
            sys.exit(f"{sort}: {found} of {len(hosts)} lead somewhere")
        print(f"  {sort:14} alone {_percentiles(alone)}   {_AT_ONCE} at once {_percentiles(together)}, {rate:5.0f}/s")
    await resolver.close()
    await store.close()


def _percentiles(timed: list[tuple[float, Route]]) -> str:
    times = sorted(milliseconds for milliseconds, _ in timed)
    return f"p50 {statistics.median(times):6.2f} ms, p99 {times[len(times) * 99 // 100]:6.2f} ms"


async def _register(database: str, crowd: Crowd, batches: int) -> None:
    """Say anew where resources listen, a thousand at a time, as a platform does whose machines have restarted."""
    store = await Store.open(database, clock=SystemClock())
    endpoints = Endpoints(store, SystemClock(), networks=Settings().backend_networks)
    took = []
    for batch in range(min(batches, crowd.resources // _BATCH)):
        numbers = range(batch * _BATCH, (batch + 1) * _BATCH)
        changes = [
            EndpointChange(resource_id=crowd.resource_id(r), address=crowd.address(r), generation="2") for r in numbers
        ]
        began = time.perf_counter()
        results = await endpoints.put_many(changes)
        took.append(time.perf_counter() - began)
        if any(isinstance(result, Exception) for result in results):
            sys.exit("an endpoint was refused")
    print(f"  endpoints in batches of {_BATCH}: {_BATCH / statistics.median(took):.0f}/s")
    await store.close()


async def _measure(database: str, crowd: Crowd, reads: int) -> None:
    print(
        f"{database.partition(':')[0]}: {crowd.domains} domains, {crowd.resources} resources, {crowd.tenants} tenants"
    )
    await migrate(database)
    began = time.perf_counter()
    await crowd.fill(database)
    print(f"  filled in {time.perf_counter() - began:.0f} s")
    await _resolve(database, crowd, reads)
    await _register(database, crowd, 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", help="an empty PostgreSQL database instead of a server of its own")
    parser.add_argument("--tenants", type=int, default=2000)
    parser.add_argument("--resources", type=int, default=200_000)
    parser.add_argument("--domains", type=int, default=1_000_000)
    parser.add_argument("--reads", type=int, default=2000, help="hosts of each sort, alone and at once")
    words = parser.parse_args()
    crowd = Crowd(words.tenants, words.resources, words.domains)
    with ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = words.database
        if database is None:
            options = {"shared_buffers": "1GB", "maintenance_work_mem": "512MB", "max_wal_size": "4GB"}
            server = stack.enter_context(Postgres(**options))
            database = runner.run(server.create())
        runner.run(_measure(database, crowd, words.reads))
        runner.run(_measure(f"sqlite:///{folder / 'router.db'}", crowd, words.reads))


if __name__ == "__main__":
    main()
