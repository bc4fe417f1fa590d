"""Nudges: heard at once, done later, once a minute a name, and never more than so many."""

import pytest

from router.clock import ManualClock
from router.errors import StoreUnavailableError
from router.nudges import EVERY, Nudges
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio


class Pulled:
    """What would be pulled; names in `broken` find the store away."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.broken: set[str] = set()

    async def pull(self, host: str) -> int:
        self.names.append(host)
        if host in self.broken:
            raise StoreUnavailableError("away")
        return 1


async def test_once_a_minute_a_name() -> None:
    """However often the gate is asked."""
    pulled, clock = Pulled(), ManualClock()
    nudges = Nudges(queue=pulled, clock=clock)
    for _ in range(3):
        nudges("a.example")
        nudges("b.example")
    assert pulled.names == []  # the gate's answer waits for nothing
    await eventually(lambda: pulled.names == ["a.example", "b.example"], "both are pulled")
    clock.advance(EVERY)
    nudges("a.example")
    await eventually(lambda: pulled.names[2:] == ["a.example"], "it counts again")
    await nudges.close()


async def test_a_scan_is_bounded() -> None:
    """Names beyond the limit are left to their schedule, and a minute later there is room again."""
    pulled, clock = Pulled(), ManualClock()
    nudges = Nudges(queue=pulled, clock=clock, most=3)
    for number in range(1000):
        nudges(f"n{number}.example")
    await eventually(lambda: len(pulled.names) == 3, "three are pulled")
    clock.advance(EVERY)
    nudges("late.example")
    await eventually(lambda: pulled.names[-1] == "late.example", "there is room again")
    await nudges.close()
    nudges("closed.example")
    assert len(pulled.names) == 4


async def test_a_store_that_is_away() -> None:
    """Costs that nudge and no other."""
    pulled = Pulled()
    pulled.broken.add("a.example")
    nudges = Nudges(queue=pulled, clock=ManualClock())
    nudges("a.example")
    nudges("b.example")
    await eventually(lambda: pulled.names == ["a.example", "b.example"], "the second one too")
    await nudges.close()
