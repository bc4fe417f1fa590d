"""The counters of resources beside their records, on SQLite and on PostgreSQL: they only rise, and each request counts once."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.records.counters import BOUNDS, OTHER, Counters
from router.records.kept import KeptRecords
from router.records.totals import WHOLE, Counting
from router.settings import Records
from tests.contract.test_request_records import HOUR, MINUTE, now, opened
from tests.support.request_records import ACME, DESK, GLOBEX, SHOP, row, totals

pytestmark = pytest.mark.asyncio


@pytest.fixture
def settings() -> Records:
    return Records(metrics_per_tenant=2)


@pytest_asyncio.fixture
async def kept(database: str, settings: Records, clock: ManualClock, tmp_path: Path) -> AsyncIterator[KeptRecords]:
    store = opened(database, settings, clock, tmp_path)
    yield store
    await store.close()


async def requests(kept: KeptRecords, tenant: uuid.UUID = ACME) -> dict[bytes, int]:
    return {one.resource: one.requests for one in await kept.counters(tenant.bytes)}


async def test_nothing_is_counted_before_anything_is_stored(kept: KeptRecords) -> None:
    """A new installation has no counters, and no error."""
    assert await kept.counters(ACME.bytes) == []


async def test_they_are_what_the_totals_add_up_to(kept: KeptRecords, clock: ManualClock) -> None:
    """All parts, routes and minutes of a resource, and every field."""
    counting = Counting()
    for number, duration in enumerate((900, 9_000, 9_000, 90_000, 70_000_000, -1)):
        at = now(clock) + number * MINUTE
        counting.add(ACME.bytes, SHOP.bytes, at, f"GET /{number}", "--", 500 if number == 1 else 200, 3, 10, duration)
    await kept.append([row(0)], counting.take_changed(0))
    (found,) = await kept.counters(ACME.bytes)
    buckets = [0] * (len(BOUNDS) + 1)
    for bound, number in ((0.005, 1), (0.01, 2), (0.1, 1)):
        buckets[BOUNDS.index(bound)] = number
    buckets[-1] = 1
    assert found._replace(microseconds=0) == Counters(ACME.bytes, SHOP.bytes, 6, 1, 0, 18, 60, 0, tuple(buckets))
    assert found.microseconds == pytest.approx(70_108_900, rel=0.022)


async def test_a_batch_that_is_stored_twice_counts_once(kept: KeptRecords, clock: ManualClock) -> None:
    """As after a commit that was not confirmed; and the next state of a minute adds what is new in it."""
    minute = now(clock) // MINUTE * MINUTE
    first = totals(minute, requests=5, errors=1, histogram=b"\x40\x00\x05\x00\x00\x00")
    for _ in range(2):
        await kept.append([], [first])
    await kept.append([], [first._replace(requests=7, histogram=b"\x40\x00\x06\x00\x00\x00\x50\x00\x01\x00\x00\x00")])
    (found,) = await kept.counters(ACME.bytes)
    assert (found.requests, found.errors, sum(found.buckets)) == (7, 1, 7)


async def test_they_outlive_a_restart_and_the_totals(
    database: str, kept: KeptRecords, settings: Records, clock: ManualClock, tmp_path: Path
) -> None:
    """Another process goes on where the last one ended, and a counter does not fall when its old minutes are deleted."""
    await kept.append([], [totals(now(clock))])
    for hour in range(1, 31):
        clock.advance(3600)
        other = opened(database, settings, clock, tmp_path)
        await other.append([], [totals(now(clock), part=hour)])
        await other.prune(now(clock))
        await other.close()
        assert await requests(kept) == {SHOP.bytes: 5 * (hour + 1)}
    assert len(await kept.totals(ACME.bytes, SHOP.bytes, 0, now(clock) + HOUR)) == 25


async def test_two_nodes_count_together(
    database: str, kept: KeptRecords, settings: Records, clock: ManualClock, tmp_path: Path
) -> None:
    """At once, on the same resources, in any order."""
    other = opened(database, settings, clock, tmp_path)
    try:
        assert await requests(kept) == await requests(other) == {}
        for number in range(10):
            mine = [totals(now(clock), part=number), totals(now(clock), part=number, resource=DESK.bytes)]
            theirs = [one._replace(part=100 + number) for one in reversed(mine)]
            await asyncio.gather(kept.append([], mine), other.append([], theirs))
        assert await requests(kept) == await requests(other) == {SHOP.bytes: 100, DESK.bytes: 100}
    finally:
        await other.close()


async def test_a_tenant_has_counters_of_so_many_resources(kept: KeptRecords, clock: ManualClock) -> None:
    """Those of resources that come later are together; nothing that was apart joins them, so that no counter falls."""
    last: dict[bytes, int] = {}
    for number in range(5):
        resources = [uuid.UUID(int=100 + one).bytes for one in range(number + 1)]
        await kept.append([], [totals(now(clock), resource=one, part=number) for one in resources])
        found = await requests(kept)
        assert len(found) == min(number + 1, 3)
        assert all(found[one] >= last[one] for one in last)
        last = found
    assert sum(last.values()) == 5 * 15
    assert set(last) == {uuid.UUID(int=100).bytes, uuid.UUID(int=101).bytes, OTHER}
    await kept.append([], [totals(now(clock), tenant=GLOBEX.bytes, resource=DESK.bytes)])
    assert await requests(kept, GLOBEX) == {DESK.bytes: 5}
    assert await requests(kept) == last


async def test_what_is_not_used_for_a_day_gives_its_place_up(kept: KeptRecords, clock: ManualClock) -> None:
    """Then another resource is counted apart, from 0 on."""
    await kept.append([], [totals(now(clock), resource=uuid.UUID(int=100 + one).bytes) for one in range(3)])
    for _ in range(26):
        clock.advance(3600)
        await kept.append([], [totals(now(clock), resource=uuid.UUID(int=101).bytes, part=2)])
        await kept.prune(now(clock))
    assert set(await requests(kept)) == {uuid.UUID(int=101).bytes}
    await kept.append([], [totals(now(clock), resource=uuid.UUID(int=102).bytes, part=3)])
    assert await requests(kept) == {uuid.UUID(int=101).bytes: 27 * 5, uuid.UUID(int=102).bytes: 5}


async def test_the_sums_of_tenants_count_nothing_twice(kept: KeptRecords, clock: ManualClock) -> None:
    """They are stored beside the totals of resources, and are none of their counters."""
    whole = totals(now(clock), resource=ACME.bytes, route=WHOLE)
    await kept.append([], [totals(now(clock)), whole])
    await kept.append([], [whole])
    assert await requests(kept) == {SHOP.bytes: 5}
    minute = whole.minute
    assert await kept.totals(ACME.bytes, ACME.bytes, minute, minute + 1) == [whole]
