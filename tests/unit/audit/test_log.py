"""The service of the audit log: what waits to be stored, how refusals are counted, what is lost."""

import asyncio
from dataclasses import replace

import pytest

from router.audit import log
from router.audit.act import Act, acting, current_act, note_place, operator
from router.audit.entry import Actor, ActorType, EntryFilter, Outcome, Via
from router.audit.log import OTHERS, REFUSALS_OF_TENANT, AuditLog
from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from tests.support.memory_audit import MemoryAudit
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio

KEY = Actor(type=ActorType.API_KEY, id="k1", name="ci", scope="tenant")


class Setting:
    def __init__(self, max_entries: int = 1000) -> None:
        self.store, self.clock, self.lost = MemoryAudit(), ManualClock(), 0
        self.log = AuditLog(self.store, self.clock, max_entries=max_entries, on_lost=self._count)

    def _count(self, number: int) -> None:
        self.lost += number

    async def entries(self) -> list[tuple[str, str | None, int | None, int]]:
        found, _ = await self.log.list(EntryFilter())
        return sorted((one.action, one.resource_id, one.status, one.count) for one in found)


def act(number: int = 1, *, tenant: str = "t1") -> Act:
    return Act(actor=KEY, via=Via.API, action="sandbox.update", resource_id=f"s{number}", tenant_id=tenant, status=200)


async def test_an_act_that_changed_nothing_is_stored_soon() -> None:
    """With the others that wait, in one transaction."""
    setting = Setting()
    for number in range(3):
        setting.log.ended(act(number), 200)
    assert await setting.entries() == []
    await setting.log.flush()
    assert await setting.entries() == [("sandbox.update", f"s{number}", 200, 1) for number in range(3)]
    assert setting.store.transactions == 3  # one of them wrote


async def test_what_was_stored_with_its_change_is_not_stored_again() -> None:
    """Unless it ended otherwise than the transaction could know."""
    setting = Setting()
    done = act()
    done.stored = done.entry(setting.clock.now())
    setting.log.ended(done, 200)
    await setting.log.flush()
    assert await setting.entries() == []
    setting.log.ended(done, 409, "conflict")
    await setting.log.flush()
    ((entry),), _ = await setting.log.list(EntryFilter())
    assert (entry.id, entry.outcome, entry.code) == (done.id, Outcome.REFUSED, "conflict")


async def test_equal_refusals_are_one_entry() -> None:
    """With their number; what is not understood is no act."""
    setting = Setting()
    for _ in range(100):
        setting.log.ended(act(), 403, "forbidden")
        setting.log.ended(act(), 422, "validation_failed")
        setting.log.ended(act(), 429, "rate_limited")
    await setting.log.flush()
    assert await setting.entries() == [("sandbox.update", "s1", 403, 100)]


async def test_different_refusals_of_a_tenant_are_bounded() -> None:
    """Those on top are counted in one entry, and other tenants' are kept."""
    setting = Setting()
    for number in range(REFUSALS_OF_TENANT + 30):
        setting.log.ended(act(number), 404)
    setting.log.ended(act(tenant="t2"), 404)
    await setting.log.flush()
    found = await setting.entries()
    assert len(found) == REFUSALS_OF_TENANT + 2
    assert (OTHERS, None, None, 30) in found


async def test_a_store_that_is_away_keeps_them_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to a bound; what comes on top is lost and counted, and so is what still waits at the end."""
    monkeypatch.setattr(log, "MAX_WAITING", 5)
    setting = Setting()
    setting.store.down = True
    for number in range(8):
        setting.log.ended(act(number), 200)
    with pytest.raises(StoreUnavailableError):
        await setting.log.flush()
    assert setting.lost == 3
    await setting.log.close()
    assert setting.lost == 8
    setting.store.down = False
    await setting.log.flush()
    assert len(await setting.entries()) == 5


async def test_what_waits_at_the_end_counts_as_often_as_it_was_refused() -> None:
    """A hundred equal refusals are a hundred lost ones."""
    setting = Setting()
    setting.store.down = True
    for _ in range(100):
        setting.log.ended(act(), 403, "forbidden")
    await setting.log.close()
    assert setting.lost == 100


async def test_a_fault_of_ours_does_not_end_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch that can't be stored is given up and counted; what comes later is stored."""
    monkeypatch.setattr(log, "EVERY", 0.0)
    setting = Setting()

    async def broken(_entries: object) -> None:
        raise TypeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(setting.store, "put", broken)
        setting.log.ended(act(1), 200)
        running = asyncio.create_task(setting.log.run())
        await eventually(lambda: setting.lost == 1, "the batch is given up")
    setting.log.ended(act(2), 200)
    await eventually(lambda: len(setting.store.entries) == 1, "the next entry is stored")
    running.cancel()
    await asyncio.wait({running})
    assert await setting.entries() == [("sandbox.update", "s2", 200, 1)]


async def test_an_operators_act_is_stored_before_it_is_done() -> None:
    """Or not at all: then whoever does it hears of it."""
    setting = Setting()
    who = operator(1000, "ada")
    await setting.log.add(who, "session.cut", via=Via.SOCKET, tenant_id="t1", resource_name="shop.example.com")
    ((entry),), _ = await setting.log.list(EntryFilter(actor_type=ActorType.OPERATOR))
    assert (entry.actor_id, entry.actor_name, entry.via, entry.resource_type) == ("1000", "ada", Via.SOCKET, "session")
    setting.store.down = True
    with pytest.raises(StoreUnavailableError):
        await setting.log.add(who, "session.cut", via=Via.SOCKET)


async def test_the_bound_of_a_tenant() -> None:
    """Of one with too many go refused acts first, then the oldest."""
    setting = Setting(max_entries=4)
    for number in range(1, 6):
        setting.clock.advance(1)
        entry = act(number).entry(setting.clock.now())
        await setting.store.put([replace(entry, outcome=Outcome.REFUSED) if number == 3 else entry])
    setting.clock.advance(1)
    await setting.store.put([act(6).entry(setting.clock.now())])
    await setting.log.trim()
    assert [thing for _, thing, _, _ in await setting.entries()] == ["s2", "s4", "s5", "s6"]


async def test_export_reads_a_page_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them once, the newest first, without those that are added meanwhile."""
    monkeypatch.setattr(log, "_PAGE", 3)
    setting = Setting()
    for number in range(7):
        await setting.store.put([act(number).entry(setting.clock.now())])
        setting.clock.advance(1)
    seen: list[str | None] = []
    async for page in setting.log.export(EntryFilter()):
        seen += [entry.resource_id for entry in page]
        await setting.store.put([act(99).entry(setting.clock.now())])
    assert seen == [f"s{number}" for number in range(6, -1, -1)]


async def test_the_current_act() -> None:
    """It is current in its block, over afterwards, and lies where its first thing does."""
    one = act()
    with acting(one):
        assert current_act() is one
        note_place("t1", "w1", "p1")
        note_place("t1", "w2", None)
    assert current_act() is None
    assert one.over
    assert (one.workspace_id, one.project_id) == ("w1", "p1")
    note_place("t1", "w3", None)  # nobody's
