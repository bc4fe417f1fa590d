"""What grows with time has an end, on both stores: 400 days of history, and the jobs that end it; and what a wrong clock
must not make of it."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from router.base.clock import ClockWatch, ManualClock
from router.base.ids import new_id
from router.errors import PruneRefusedError
from router.settings import Credits
from router.store import History, Store
from router.store.journal_tables import usage_intervals
from router.tenancy.resources import Resource
from router.tenancy.usage import Granularity, Period, Usage
from tests.support.database import prune, rows
from tests.support.world import World

pytestmark = pytest.mark.asyncio

DAYS = 400
KEPT, REMEMBERED = timedelta(days=300), timedelta(days=90)
SETTINGS = {"usage_retention": KEPT.total_seconds(), "removed_retention": REMEMBERED.total_seconds()}


@pytest.fixture
def clock() -> ManualClock:
    """As long ago as history goes back: the database's own clock is right."""
    return ManualClock(datetime.now(UTC) - timedelta(days=DAYS))


def history(store: Store, watch: ClockWatch, share: float = 0.2) -> History:
    return History(store, store.guard(watch, share=share))


async def lived(world: World, store: Store, clock: ManualClock) -> str:
    """A sandbox that ran three times a day; every ten days a domain and a sandbox came and went. Its workspace."""
    tenant = await world.tenant()
    sandbox = await world.sandbox(tenant, "shop")
    await ran(
        store, sandbox, [clock.now() + timedelta(days=day, hours=hour) for day in range(DAYS) for hour in (1, 9, 23)]
    )
    for number in range(DAYS // 10):
        gone = await world.sandbox(tenant, f"gone{number}")
        await world.resources.record_activity({gone.id: clock.now()})
        domain = await world.domain(sandbox, f"shop{number}.example.org")
        await world.domains.remove(domain.id)
        await world.resources.delete(gone.id)
        clock.advance(10 * 86400)
    await store.feed.trim(clock.now())
    return sandbox.workspace_id


async def ran(store: Store, sandbox: Resource, begins: Sequence[datetime]) -> None:
    """It ran from each of these instants on for some 40 minutes, and stood still in between."""
    common = {name: getattr(sandbox, name) for name in ("tenant_id", "workspace_id", "project_id", "size")}
    common |= {"resource_id": sandbox.id, "kind": sandbox.kind.value, "rolled": False}
    intervals = []
    for number, at in enumerate(begins):
        end = at + timedelta(minutes=40 + number % 60)
        intervals.append({**common, "id": new_id(), "state": "running", "started_at": at, "ended_at": end})
        intervals.append({**common, "id": new_id(), "state": "stopped", "started_at": end, "ended_at": end})
    async with store.begin() as tx:
        await tx._connection.execute(sa.insert(usage_intervals), intervals)


async def by_day(database: str) -> Counter[str]:
    """Seconds that machines ran, by the day on which they began to."""
    found: Counter[str] = Counter()
    intervals = "SELECT started_at, ended_at FROM usage_intervals WHERE state = 'running' AND ended_at IS NOT NULL"
    for started, ended in await rows(database, intervals):
        begin, end = (datetime.fromisoformat(str(one)) for one in (started, ended))
        found[str(begin.astimezone(UTC).date() if begin.tzinfo else begin.date())] += round(
            (end - begin).total_seconds()
        )
    return found


async def count(database: str, table: str) -> int:
    counts = {
        "usage_intervals": "SELECT count(*) FROM usage_intervals",
        "custom_domains": "SELECT count(*) FROM custom_domains",
        "tombstones": "SELECT count(*) FROM tombstones",
        "route_versions": "SELECT count(*) FROM route_versions",
        "activity": "SELECT count(*) FROM activity",
    }
    return int((await rows(database, counts[table]))[0][0])


async def test_four_hundred_days(world: World, store: Store, database: str, clock: ManualClock) -> None:
    """Reports say what they said, old days keep their sums, and of each kind no more is left than its time allows."""
    watch = ClockWatch(clock)
    workspace = await lived(world, store, clock)
    usage = Usage(store, clock, rates=Credits())
    asked = [(period, width) for period in Period for width in Granularity]
    before = [await usage.of_workspace(workspace, *one) for one in asked]
    days, many = await by_day(database), await count(database, "usage_intervals")
    jobs = history(store, watch)
    await jobs.roll_up_usage()
    assert [await usage.of_workspace(workspace, *one) for one in asked] == before
    assert await by_day(database) == days
    rolled = await count(database, "usage_intervals")
    assert many > 2 * 3 * DAYS - 10
    assert rolled < 2 * DAYS + 6 * 34  # some run past midnight
    await prune(store, clock, watch, share=0.2, **SETTINGS)
    assert [await usage.of_workspace(workspace, *one) for one in asked] == before
    left = await by_day(database)
    whole = sorted(left)[1:]
    assert [left[day] for day in whole] == [days[day] for day in whole]
    assert 298 <= len(whole) <= 302
    for table in ("custom_domains", "tombstones", "activity"):
        assert await count(database, table) <= REMEMBERED.days // 10 + 1, table
    await store.feed.trim(clock.now() + timedelta(hours=2))
    await jobs.roll_up_usage()
    await prune(store, clock, watch, share=0.2, **SETTINGS)
    assert await by_day(database) == left
    assert await count(database, "route_versions") <= 2 * (REMEMBERED.days // 10 + 1) + 2


async def test_a_version_never_starts_again(world: World, store: Store, database: str, clock: ManualClock) -> None:
    """A name that was forgotten and comes back has a higher version than it ever had: Redis may still know the old one."""
    tenant = await world.tenant()
    sandbox = await world.sandbox(tenant, "shop")
    for _ in range(3):
        await world.domains.remove((await world.domain(sandbox, "shop.example.org")).id)
    version = "SELECT version FROM route_versions WHERE key = 'name:shop.example.org'"
    ((old,),) = await rows(database, version)
    watch = ClockWatch(clock)
    clock.advance(DAYS * 86400)
    for generation in ("boot-2", "boot-3"):  # the first time the name's own end stands in the outbox
        await prune(store, clock, watch, share=0.2, **SETTINGS)
        await world.place(sandbox, generation=generation)  # the newest row of the outbox is never trimmed
        await store.feed.trim(clock.now() + timedelta(hours=2))
    assert await rows(database, version) == []
    await world.domain(sandbox, "shop.example.org")
    ((new,),) = await rows(database, version)
    assert new > old


def jumps(clock: ManualClock, seconds: float) -> ClockWatch:
    """The clock is set while a node runs."""
    watch = ClockWatch(clock)
    clock.set_ahead(seconds)
    return watch


def starts(clock: ManualClock, seconds: float) -> ClockWatch:
    """A node starts with such a clock."""
    clock.set_ahead(seconds)
    return ClockWatch(clock)


@pytest.mark.parametrize("wrong", [jumps, starts])
@pytest.mark.parametrize("ahead", [3 * 3600, 400 * 86400, -600])
async def test_a_wrong_clock_takes_no_history(
    world: World,
    store: Store,
    database: str,
    clock: ManualClock,
    wrong: Callable[[ManualClock, float], ClockWatch],
    ahead: float,
) -> None:
    """A clock that is hours or a year ahead, or behind, deletes nothing, whether it jumped or was wrong from the start."""
    clock.advance(DAYS * 86400)
    tenant = await world.tenant()
    sandbox = await world.sandbox(tenant, "shop")
    await ran(store, sandbox, [clock.now() - timedelta(days=number) for number in range(1, 20)])
    before = await rows(database, "SELECT id, ended_at FROM usage_intervals ORDER BY id")
    watch = wrong(clock, ahead)
    for job in (history(store, watch).roll_up_usage, partial(prune, store, clock, watch, share=0.2, **SETTINGS)):
        if ahead > 86400 or wrong is jumps or database.startswith("postgresql"):
            with pytest.raises(PruneRefusedError, match="clock"):
                await job()
        else:
            await job()
    assert await rows(database, "SELECT id, ended_at FROM usage_intervals ORDER BY id") == before


async def test_an_operator_may_let_it_go(world: World, store: Store, database: str, clock: ManualClock) -> None:
    """With `prune_share` at 1 everything that is old goes."""
    sandbox = await world.sandbox(await world.tenant(), "shop")
    await world.resources.delete(sandbox.id)
    await prune(store, clock, starts(clock, 400 * 86400), share=1, **SETTINGS)
    assert await count(database, "usage_intervals") == 0


async def test_what_is_kept_for_hours_raises_no_doubt(store: Store, clock: ManualClock) -> None:
    """All idempotency keys are old after a node was off for a day: that is no sign of a wrong clock."""
    clock.advance(DAYS * 86400)
    for number in range(20):
        await store.idempotency.claim("key:1", str(number), "f", clock.now() - timedelta(days=3))
    guard = store.guard(ClockWatch(clock), share=0.2)
    assert await guard.before("idempotency", timedelta(days=1)) == clock.now() - timedelta(days=1)
