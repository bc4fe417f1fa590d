"""Activity: from the proxy's instants to the store's times."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest

from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.jobs.activity import ActivityFeed

pytestmark = pytest.mark.asyncio


class Rows:
    """Keeps what it is told; `batches` has each call's ids. `down` makes it fail."""

    def __init__(self) -> None:
        self.kept: dict[str, datetime] = {}
        self.batches: list[set[str]] = []
        self.down = False

    async def record_activity(self, seen: Mapping[str, datetime]) -> None:
        if self.down:
            raise StoreUnavailableError("switched off")
        self.batches.append(set(seen))
        self.kept.update(seen)

    async def activity(self, since: datetime | None, *, counted: bool) -> Mapping[str, datetime]:
        if not counted:
            return {}
        return {key: at for key, at in self.kept.items() if since is None or at >= since}


def of(used: Mapping[str, float]) -> Callable[[float], Mapping[str, float]]:
    """The proxy's side: what was used at or after an instant."""
    return lambda since: {key: at for key, at in used.items() if at >= since}


async def test_instants_become_times() -> None:
    """An instant of the monotonic clock is stored as the time that it was."""
    clock, rows = ManualClock(), Rows()
    clock.advance(100)
    feed = ActivityFeed(used=of({"a": 40.0, "b": 100.0}), rows=rows, clock=clock)
    assert (await feed.activity(None))[0] == {
        "a": datetime(2026, 1, 1, 0, 0, 40, tzinfo=UTC),
        "b": datetime(2026, 1, 1, 0, 1, 40, tzinfo=UTC),
    }
    assert set((await feed.activity(datetime(2026, 1, 1, 0, 1, tzinfo=UTC)))[0]) == {"b"}


async def test_only_what_is_new_is_stored() -> None:
    """A copy takes what was used since the last one, and is no transaction where nothing was."""
    clock, rows, used = ManualClock(), Rows(), {"a": 5.0}
    clock.advance(10)
    feed = ActivityFeed(used=of(used), rows=rows, clock=clock)
    await feed.copy()
    clock.advance(10)
    await feed.copy()
    assert rows.batches == [{"a"}]
    used["b"] = 20.0
    clock.advance(10)
    await feed.copy()
    assert rows.batches == [{"a"}, {"b"}]


async def test_late_clock_of_the_proxy_loses_nothing() -> None:
    """A use whose instant lies shortly before the last copy is stored by the next one."""
    clock, rows = ManualClock(), Rows()
    used: dict[str, float] = {}
    feed = ActivityFeed(used=of(used), rows=rows, clock=clock)
    clock.advance(10)
    await feed.copy()
    used["a"] = 9.5
    await feed.copy()
    assert set(rows.kept) == {"a"}


async def test_store_that_is_away_loses_nothing() -> None:
    """What could not be stored is stored by the next copy."""
    clock, rows = ManualClock(), Rows()
    feed = ActivityFeed(used=of({"a": 0.0}), rows=rows, clock=clock)
    rows.down = True
    with pytest.raises(StoreUnavailableError):
        await feed.copy()
    clock.advance(60)
    rows.down = False
    await feed.copy()
    assert set(rows.kept) == {"a"}
