"""Times that a clock which was ahead has left behind: what reads them takes them for now, and they are put right."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from router.base.clock import ManualClock
from router.base.idempotency import Claimed, IdempotencyStore, MemoryIdempotency, Running
from router.base.ids import new_id
from router.domains.certificates import Attempt, Seen
from router.domains.checks.apply_custom import CustomResults
from router.domains.checks.queue import Queue
from router.errors import PruneRefusedError
from router.gate.budgets import Budgets
from router.gate.evidence import MemoryEvidence
from router.gate.sync import CertificateSync
from router.observe.metrics import Metrics
from router.routes.records import DomainStatus
from router.settings import Gate
from router.store import Store
from router.store.future_times import NUMBERS, SCHEDULES, STAMPS
from router.store.journal_tables import events, usage_intervals
from router.store.schema import metadata
from router.store.tables import activity, custom_domains, resources
from tests.support.world import World

pytestmark = pytest.mark.asyncio

AHEAD = [timedelta(hours=3), timedelta(days=100)]


@pytest.fixture
def clock() -> ManualClock:
    """Right: the database has one of its own."""
    return ManualClock(datetime.now(UTC))


@pytest.mark.parametrize("kind", ["memory", "sql"])
@pytest.mark.parametrize("ahead", AHEAD)
async def test_a_key_that_was_claimed_ahead(store: Store, clock: ManualClock, kind: str, ahead: timedelta) -> None:
    """A process whose clock was ahead died in the middle: its key is free, not taken until that time has come."""
    keys: IdempotencyStore = MemoryIdempotency() if kind == "memory" else store.idempotency
    await keys.claim("key:1", "5f6c", "f", clock.now() + ahead)
    assert isinstance(await keys.claim("key:1", "5f6c", "f", clock.now()), Claimed)
    assert isinstance(await keys.claim("key:1", "5f6c", "f", clock.now() - timedelta(minutes=1)), Running)


async def test_a_check_that_is_due_in_a_year(world: World, store: Store, clock: ManualClock) -> None:
    """Further ahead than any schedule reaches is now; within a day's reach it is what it says."""
    sandbox = await world.sandbox(await world.tenant(), "shop")
    late, soon = [await world.domain(sandbox, name, verified=False) for name in ("late.org", "soon.org")]
    for domain, ahead in ((late, timedelta(days=400)), (soon, timedelta(hours=5))):
        await write(store, custom_domains.c.next_check_at, clock.now() + ahead, custom_domains.c.id == domain.id)
    assert [due.id for due in await Queue(store, clock).due(10)] == [late.id]


async def test_a_capture_that_was_switched_on_ahead(world: World, store: Store, clock: ManualClock) -> None:
    """It would go on until that time has come: it ends, and one that may go on for its hour does."""
    tenant = await world.tenant()
    late, soon = await world.sandbox(tenant, "late"), await world.sandbox(tenant, "soon")
    until = {late.id: clock.now() + timedelta(days=100), soon.id: clock.now() + timedelta(minutes=59)}
    for resource, at in until.items():
        await write(store, resources.c.capture_until, at, resources.c.id == resource)
    await store.mending().run()
    assert await read(store, resources.c.capture_until) == {clock.now(), until[soon.id]}


async def write(store: Store, column: sa.Column[datetime], value: datetime, *which: sa.ColumnElement[bool]) -> None:
    async with store.begin() as tx:
        await tx._connection.execute(sa.update(column.table).where(*which).values({column.name: value}))


async def read(store: Store, column: sa.Column[datetime]) -> set[datetime]:
    async with store.read() as tx:
        return set(await tx._connection.scalars(sa.select(column)))


@pytest.mark.parametrize("ahead", AHEAD)
async def test_what_is_ahead_is_put_right(world: World, store: Store, clock: ManualClock, ahead: timedelta) -> None:
    """What happened in the future happened now; what is right stays as it is, and nothing is left to do."""
    sandbox = await world.sandbox(await world.tenant(), "shop")
    await world.resources.record_activity({sandbox.id: clock.now() + ahead})
    await write(store, events.c.created_at, clock.now() + ahead)
    before = await read(store, usage_intervals.c.started_at)
    assert await store.mending().run() > 0
    assert await read(store, events.c.created_at) == await read(store, activity.c.last_at) == {clock.now()}
    assert await read(store, usage_intervals.c.started_at) == before
    assert await store.mending().run() == 0


@pytest.mark.parametrize("behind", [600, 100 * 86400])
async def test_a_clock_that_is_behind_changes_nothing(
    world: World, store: Store, clock: ManualClock, database: str, behind: float
) -> None:
    """To such a clock all that is right looks as if it were ahead."""
    await world.sandbox(await world.tenant(), "shop")
    async with store.begin() as tx:
        row = (await tx._connection.execute(sa.select(events).limit(1))).mappings().one()
        more = [{**row, "id": f"{number:036}"} for number in range(1200)]
        await tx._connection.execute(sa.insert(events), more)
    before = await read(store, events.c.created_at)
    clock.set_ahead(-behind)
    if behind > 3600 or database.startswith("postgresql"):
        with pytest.raises(PruneRefusedError, match="clock"):
            await store.mending().run()
    else:
        await store.mending().run()
    assert await read(store, events.c.created_at) == before


async def test_every_time_is_thought_of() -> None:
    """A new column that says when something happens or is due is put right too, or is named here with its reason."""
    thought_of = {*SCHEDULES, *STAMPS, *NUMBERS}
    harmless = {
        "created_at",
        "updated_at",
        "verified_at",
        "tls_issued_at",
        "deleted_at",
        "promoted_at",
        "lifted_at",
        "capture_since",
    }  # shown only
    harmless |= {
        "started_at",
        "finished_at",
        "last_at",
        "last_used_at",
        "revoked_at",
        "used_at",
    }  # of builds, tries, keys and links: shown
    meant = {"expires_at", "not_before", "not_after", "old_secret_until"}  # ahead on purpose, or somebody else's word
    own = {
        "leases.expires_at",
        "leases.ran_at",
        "wakes.asked_at",
    }  # by the database's clock: `store/leases.py`, `wake_plan.py`
    for table in metadata.sorted_tables:
        for column in table.columns:
            if not column.name.endswith(("_at", "_since", "_until", "_before", "_after")):
                continue
            named = column in thought_of or column.name in harmless | meant or f"{table.name}.{column.name}" in own
            assert named, f"{table.name}.{column.name}"


@pytest.mark.parametrize("ahead", AHEAD)
async def test_a_gate_whose_clock_is_ahead(store: Store, clock: ManualClock, ahead: timedelta) -> None:
    """It starts knowing what is live by the store's clock, and counts its attempts from when they were written."""
    await store.certificate_log.save_visits([Seen("shop.example.org", clock.now())])
    attempt = Attempt(
        id=new_id(), host="a.org", domain="a.org", tenant_id=None, opened_at=(clock.now() + ahead).timestamp()
    )
    await store.certificate_log.save_attempts([attempt])
    (written,) = (await store.certificate_log.changes_since(None, 0.0, 10)).attempts
    assert abs(written.opened_at - clock.now().timestamp()) < 60
    clock.set_ahead(ahead.total_seconds())
    evidence, budgets = MemoryEvidence(clock), Budgets(Gate(), clock)
    sync = CertificateSync(
        log=store.certificate_log,
        evidence=evidence,
        budgets=budgets,
        snapshot=None,
        settings=Gate(),
        metrics=Metrics(),
        clock=clock,
    )
    await sync.start()
    assert evidence.seen("shop.example.org")
    await sync.close()


async def test_nothing_ends_while_the_clock_is_in_doubt(world: World, store: Store, clock: ManualClock) -> None:
    """A hundred days that may not have passed make no domain fail; when it is sure that they have, one more check does."""
    domain = await world.domain(await world.sandbox(await world.tenant(), "shop"), "www.example.com", verified=False)
    lease = await store.leases.acquire("check_domains", "one", 60.0)
    assert lease is not None
    clock.set_ahead(100 * 86400)
    for in_doubt, status in ((True, DomainStatus.PENDING), (False, DomainStatus.FAILED)):
        results = CustomResults(store, clock, in_doubt=lambda doubt=in_doubt: doubt)
        seen = await world.domains.get(domain.id)
        check = await world.checker().custom_domain(seen)
        new, _ = await results.apply_check(seen, check, under=lease)
        assert new.status is status
        clock.advance(3600)
