"""Where captures are kept, on SQLite and on PostgreSQL: found by their request, bounded, and gone when they are to be."""

import uuid
from typing import Any

import pytest

from router.base.clock import ManualClock
from router.records.captures import StoredCapture
from router.records.kept import KeptRecords
from router.settings import Records
from tests.contract.test_request_records import kept, now  # noqa: F401 - a fixture
from tests.support.request_records import ACME, DESK, GLOBEX, SHOP

pytestmark = pytest.mark.asyncio

_MIB = 1024 * 1024


@pytest.fixture
def settings() -> Records:
    return Records(max_capture_bytes_per_tenant=_MIB, max_capture_bytes=2 * _MIB)


def capture(request_id: str, clock: ManualClock, **changes: Any) -> StoredCapture:
    values = {"tenant": ACME.bytes, "resource": SHOP.bytes, "request_id": request_id, "at": now(clock), "data": "{}"}
    return StoredCapture(**values | changes)


async def found(
    kept: KeptRecords,  # noqa: F811 - the fixture
    request_id: str,
    clock: ManualClock,
    tenant: uuid.UUID = ACME,
    resource: uuid.UUID = SHOP,
) -> StoredCapture | None:
    return await kept.capture(tenant.bytes, resource.bytes, request_id, now(clock))


async def test_what_is_stored_is_found(kept: KeptRecords, clock: ManualClock) -> None:  # noqa: F811
    """As it was, by tenant, resource and request, and by no other."""
    assert await found(kept, "a", clock) is None
    stored = [capture("a", clock, data='{"ä": 1}'), capture("b", clock)]
    await kept.keep(stored)
    assert [await found(kept, one, clock) for one in "ab"] == stored
    assert await found(kept, "c", clock) is None
    assert await found(kept, "a", clock, tenant=GLOBEX) is None
    assert await found(kept, "a", clock, resource=DESK) is None


async def test_requests_with_one_id(kept: KeptRecords, clock: ManualClock) -> None:  # noqa: F811
    """Visitors' proxies may send an id twice: the one that began nearest is meant."""
    begun = now(clock)
    await kept.keep([capture("a", clock, at=begun + offset, data=str(offset)) for offset in (0, 5_000_000, 9_000_000)])
    for at, data in ((begun - 1, "0"), (begun + 4_000_000, "5000000"), (begun + 99_000_000, "9000000")):
        nearest = await kept.capture(ACME.bytes, SHOP.bytes, "a", at)
        assert nearest is not None
        assert nearest.data == data


async def test_deleted_at_once(kept: KeptRecords, clock: ManualClock) -> None:  # noqa: F811
    """Of that resource alone; also what began before and is stored later, by whichever node."""
    early = capture("late to be stored", clock)
    await kept.keep([capture("a", clock), capture("desk", clock, resource=DESK.bytes)])
    clock.advance(1)
    await kept.forget(ACME.bytes, SHOP.bytes, now(clock))
    await kept.keep([early])
    assert await found(kept, "a", clock) is None
    assert await found(kept, "late to be stored", clock) is None
    assert await found(kept, "desk", clock, resource=DESK) is not None
    clock.advance(1)
    await kept.keep([capture("new", clock)])
    assert await found(kept, "new", clock) is not None
    await kept.forget(ACME.bytes, SHOP.bytes, now(clock))
    assert await found(kept, "new", clock) is None


async def test_kept_as_long_as_records(kept: KeptRecords, clock: ManualClock, settings: Records) -> None:  # noqa: F811
    """And no longer."""
    await kept.keep([capture("a", clock)])
    await kept.prune(now(clock))
    clock.advance(settings.retention_hours * 3600 - 1)
    await kept.prune(now(clock))
    assert await found(kept, "a", clock) is not None
    clock.advance(2)
    await kept.prune(now(clock))
    assert await found(kept, "a", clock) is None


async def test_bounds(kept: KeptRecords, clock: ManualClock) -> None:  # noqa: F811
    """Each tenant has so many bytes, all have so many: the oldest go first, and nobody's because of another who has too many."""
    part = "x" * (_MIB // 4)
    await kept.keep([capture("theirs", clock, tenant=GLOBEX.bytes, data=part)])
    for number in range(6):
        clock.advance(1)
        await kept.keep([capture(str(number), clock, data=part)])
    await kept.prune(now(clock))
    assert [number for number in range(6) if await found(kept, str(number), clock) is not None] == [2, 3, 4, 5]
    assert await found(kept, "theirs", clock, tenant=GLOBEX) is not None
    others = [uuid.UUID(int=100 + number) for number in range(4)]
    for other in others:
        clock.advance(1)
        await kept.keep([capture("more", clock, tenant=other.bytes, data=part * 2)])
    await kept.prune(now(clock))
    assert [await found(kept, "more", clock, tenant=other) is not None for other in others] == [True] * 4
    assert await found(kept, "5", clock) is None
    assert await found(kept, "theirs", clock, tenant=GLOBEX) is None
