"""Two thousand records a second for minutes, on SQLite and on PostgreSQL: nothing is lost, numbers are exact, bounds are kept."""

import asyncio
import time
import uuid
from pathlib import Path

import pytest

from router.base.clock import SystemClock
from router.observe.metrics import Metrics
from router.records.keeper import Keeper
from router.records.packing import pack
from router.records.record import RecordFilter
from router.settings import Database, Records
from router.store.request_records_postgres import PostgresRecords
from router.store.request_records_sqlite import SqliteRecords
from tests.support.database import spoil
from tests.support.request_records import exchange, led
from tests.unit.observe.test_recorder import value

pytestmark = [pytest.mark.asyncio, pytest.mark.deep, pytest.mark.timeout(600)]

MINUTES = 2
PER_SECOND = 2000
BATCH = 50
RESOURCES = 40  # of ten tenants
_MIB = 1024 * 1024


async def test_minutes_of_full_load(database: str, tmp_path: Path) -> None:
    """Every record is stored or stood for; each tenant, and all of them, keep what they may."""
    settings = Records(max_bytes_per_tenant=2 * _MIB, max_bytes=16 * _MIB)
    clock, metrics = SystemClock(), Metrics()
    kept: SqliteRecords | PostgresRecords
    if database.startswith("sqlite"):
        kept = SqliteRecords(tmp_path / "requests", settings, clock)
    else:
        spoil(database)
        kept = PostgresRecords(database, Database(), settings, clock)
    keeper = Keeper(kept, settings.per_second, clock, metrics)
    resources = [uuid.uuid4() for _ in range(RESOURCES)]
    tenants = [uuid.UUID(int=1 + number % 10) for number in range(RESOURCES)]
    routes = [led(resource, tenant) for resource, tenant in zip(resources, tenants, strict=True)]
    packs = MINUTES * 60 * PER_SECOND // BATCH
    keeper.start()
    begun, cpu = time.monotonic(), time.process_time()
    for number in range(packs):
        now = time.monotonic()
        keeper.take(
            pack(
                [
                    exchange(id=b"%d" % one, route=routes[(number + one) % RESOURCES], started=now - 0.2, ended=now)
                    for one in range(BATCH)
                ]
            )
        )
        await asyncio.sleep(max(0.0, begun + (number + 1) * BATCH / PER_SECOND - time.monotonic()))
    took = time.monotonic() - begun
    await keeper.flush()
    sent = packs * BATCH
    print(f"{sent} records in {took:.0f} s, {(time.process_time() - cpu) / sent * 1e6:.1f} µs each with their making")
    assert value(metrics, 'request_records_total{result="stored"}') == sent
    assert value(metrics, 'request_records_total{result="lost"}') == 0
    now = int(clock.now().timestamp() * 1e6)
    keeper._totals_due = 0.0
    await keeper.flush()
    counted = 0
    for resource, tenant in zip(resources, tenants, strict=True):
        counted += sum(one.requests for one in await kept.totals(tenant.bytes, resource.bytes, 0, now + 1))
    assert counted == sent
    await kept.prune(now)
    for tenant in set(tenants):
        size, before = 0, None
        while found := await kept.find(RecordFilter(tenant=tenant.bytes), limit=1000, before=before):
            size += len(found)
            before = found[-1].id
        assert 0 < size * 150 <= settings.max_bytes_per_tenant, tenant
    await keeper.close()
    if isinstance(kept, SqliteRecords):
        assert (tmp_path / "requests").stat().st_size < 3 * settings.max_bytes
