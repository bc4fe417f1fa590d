"""EarlyChecks: heard at once, done later, once a minute a name, and never more than so many."""

import pytest

from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.jobs.early_checks import EVERY, EarlyChecks
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio


class Scheduled:
    """The queue; names in `broken` find the store away."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.broken: set[str] = set()

    async def schedule_now(self, host: str) -> int:
        self.names.append(host)
        if host in self.broken:
            raise StoreUnavailableError("away")
        return 1


async def test_once_a_minute_a_name() -> None:
    """However often the gate is asked."""
    scheduled, clock = Scheduled(), ManualClock()
    early = EarlyChecks(schedule_now=scheduled.schedule_now, clock=clock)
    for _ in range(3):
        early("a.example")
        early("b.example")
    assert scheduled.names == []  # the gate's answer waits for nothing
    await eventually(lambda: scheduled.names == ["a.example", "b.example"], "both are scheduled")
    clock.advance(EVERY)
    early("a.example")
    await eventually(lambda: scheduled.names[2:] == ["a.example"], "it counts again")
    await early.close()


async def test_a_scan_is_bounded() -> None:
    """Names beyond the limit are left to their schedule, and a minute later there is room again."""
    scheduled, clock = Scheduled(), ManualClock()
    early = EarlyChecks(schedule_now=scheduled.schedule_now, clock=clock, max_names=3)
    for number in range(1000):
        early(f"n{number}.example")
    await eventually(lambda: len(scheduled.names) == 3, "three are scheduled")
    clock.advance(EVERY)
    early("late.example")
    await eventually(lambda: scheduled.names[-1] == "late.example", "there is room again")
    await early.close()
    early("closed.example")
    assert len(scheduled.names) == 4


async def test_a_store_that_is_away() -> None:
    """Costs that early check and no other."""
    scheduled = Scheduled()
    scheduled.broken.add("a.example")
    early = EarlyChecks(schedule_now=scheduled.schedule_now, clock=ManualClock())
    early("a.example")
    early("b.example")
    await eventually(lambda: scheduled.names == ["a.example", "b.example"], "the second one too")
    await early.close()


async def test_one_domain_does_not_use_up_all_of_it() -> None:
    """Every host under a preview domain that waits is a name: a scan of them leaves room for other customers' names."""
    scheduled, clock = Scheduled(), ManualClock()
    early = EarlyChecks(schedule_now=scheduled.schedule_now, clock=clock, max_names=32)
    for number in range(1000):
        early(f"n{number}.sandbox.noisy.example.com")
    early("shop.example.org")
    await eventually(lambda: "shop.example.org" in scheduled.names, "the other one is scheduled")
    assert len(scheduled.names) == 3
    clock.advance(EVERY)
    early("again.noisy.example.com")
    await eventually(lambda: "again.noisy.example.com" in scheduled.names, "a minute later it has its share again")
    await early.close()
