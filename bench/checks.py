"""How many domains one process checks: `python -m bench.checks [--store sqlite]`, half a minute. Goal: 46 a second or more.

Twenty thousand verified domains of fifty tenants are all due, and each DNS answer takes 50 ms: the job runs its four slices
for twenty seconds. A million domains that are checked every six hours are 46 a second.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from router.base.clock import SystemClock
from router.domains.checks.queue import Queue
from router.domains.checks.schedule import Slice
from router.domains.lookup import RecordType
from router.jobs.domain_checks import SLICES, DomainChecks
from router.observe.metrics import Metrics
from router.store import Store, migrate
from router.store.tables import custom_domains
from tests.support.postgres import Postgres
from tests.support.world import World

GOAL = 46.0
_DOMAINS, _TENANTS = 20_000, 50
_LATENCY = 0.05
_ROWS = 5_000


class Slow:
    """DNS that takes a while."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def later(*given: Any, **named: Any) -> Any:
            await asyncio.sleep(_LATENCY)
            return await found(*given, **named)

        return later


async def fill(world: World, store: Store) -> None:
    """All domains, verified, and due for up to an hour."""
    boxes = [await world.sandbox(await world.tenant(f"T{number}"), f"box{number}") for number in range(_TENANTS)]
    seed = await world.domain(boxes[0], "seed.example.org", verified=True)
    now = SystemClock().now()
    async with store.begin() as transaction:
        connection = transaction._connection  # noqa: SLF001 - a bench may look inside
        query = sa.select(custom_domains).where(custom_domains.c.id == seed.id)
        row = dict((await connection.execute(query)).mappings().one()) | {"proof": "x" * 20}
        for start in range(0, _DOMAINS, _ROWS):
            rows = []
            for number in range(start, start + _ROWS):
                box = boxes[number % _TENANTS]
                world.dns.put(f"d{number}.example{number}.org", RecordType.CNAME, "verify.miosa.ai")
                its = {"id": str(uuid.uuid4()), "resource_id": box.id, "tenant_id": box.tenant_id}
                due = {"next_check_at": now - timedelta(seconds=number % 3600), "checked_at": None, "method": "cname"}
                rows.append({**row, **its, **due, "fqdn": f"d{number}.example{number}.org"})
            await connection.execute(sa.insert(custom_domains), rows)


async def measure(url: str) -> float:
    """Checks a second."""
    await migrate(url)
    clock = SystemClock()
    store = await Store.open(url, clock=clock)
    try:
        world = World(store, clock)
        await fill(world, store)
        queue = Queue(store, clock)
        job = DomainChecks(
            queue=queue,
            verification=world.verification(Slow(world.dns)),
            transfers=world.transfers,
            metrics=Metrics(),
            clock=clock,
        )
        leases = [await store.leases.acquire(f"check_domains/{part}", "bench", 60.0) for part in range(SLICES)]
        began, spent = time.perf_counter(), time.process_time()
        await asyncio.gather(*(job.run(lease, Slice(part, SLICES)) for part, lease in enumerate(leases)))
        took, spent = time.perf_counter() - began, time.process_time() - spent
        async with store.read() as transaction:
            checked = custom_domains.c.checked_at.is_not(None)
            query = sa.select(sa.func.count()).select_from(custom_domains).where(checked)
            done = await transaction._connection.scalar(query)  # noqa: SLF001
        rate = done / took
        print(f"{done:,} checks in {took:.1f} s: {rate:.0f} a second, {1000 * spent / done:.1f} ms of CPU each")
        return rate
    finally:
        await store.close()


def main() -> int:
    """Run it; the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--store", choices=("postgresql", "sqlite"), default="postgresql")
    chosen = options.parse_args()
    with ExitStack() as stack:
        if chosen.store == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="miosa-checks-"))
            url = f"sqlite:///{folder}/router.db"
        else:
            postgres = stack.enter_context(Postgres())
            url = asyncio.run(postgres.create(migrated=False))
        return 0 if asyncio.run(measure(url)) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
