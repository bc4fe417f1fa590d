"""Activity: from the proxy's instants to the store's times."""

from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.jobs.activity import ActivityFeed, copy_shared

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

    async def not_recorded(self, seen: Mapping[str, datetime]) -> set[str]:
        if self.down:
            raise StoreUnavailableError("switched off")
        return {key for key, at in seen.items() if key not in self.kept or self.kept[key] < at}

    async def activity(
        self, since: datetime | None, *, counted: bool, recent: Mapping[str, datetime] | None = None
    ) -> Mapping[str, datetime]:
        if not counted:
            return {}
        known = {**self.kept, **(recent or {})}
        return {key: at for key, at in known.items() if since is None or at >= since}


class Shared:
    """Redis: keeps what it is told, or answers nothing. `forgets` makes it lose everything at once."""

    def __init__(self) -> None:
        self.kept: dict[str, datetime] = {}
        self.away = False
        self.forgets = False

    async def put(self, uses: Mapping[str, datetime]) -> bool:
        if not self.away and not self.forgets:
            self.kept.update(uses)
        return not self.away

    async def all(self) -> Mapping[str, datetime] | None:
        return None if self.away else dict(self.kept)

    async def taken(self) -> AsyncGenerator[Mapping[str, datetime]]:
        batch = dict(self.kept)
        yield batch
        for key in batch:
            del self.kept[key]


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


async def test_redis_spares_the_store() -> None:
    """Where Redis has the uses and one node copies them, this node writes nothing."""
    clock, rows, shared, used = ManualClock(), Rows(), Shared(), {"a": 0.0}
    feed = ActivityFeed(used=of(used), rows=rows, clock=clock, shared=shared)
    for turn in range(30):
        used["a"] = clock.monotonic()
        await feed.copy()
        if turn % 6 == 5:
            await copy_shared(shared, rows)
        clock.advance(5)
    assert len(rows.batches) == 5
    assert rows.kept["a"] == clock.now() - timedelta(seconds=5)


async def test_other_nodes_uses_are_read() -> None:
    """A query knows what another node has put into Redis, and writes nothing for it."""
    clock, rows, shared = ManualClock(), Rows(), Shared()
    shared.kept["b"] = clock.now()
    feed = ActivityFeed(used=of({}), rows=rows, clock=clock, shared=shared)
    assert (await feed.activity(None))[0] == {"b": clock.now()}
    assert rows.batches == []


async def test_redis_that_goes_is_made_up_for_at_once() -> None:
    """What was put there before is stored with what is new, by the next copy, and only once."""
    clock, rows, shared, used = ManualClock(), Rows(), Shared(), {"a": 0.0}
    feed = ActivityFeed(used=of(used), rows=rows, clock=clock, shared=shared)
    await feed.copy()
    clock.advance(5)
    used["b"] = clock.monotonic()
    shared.away = True
    await feed.copy()
    assert rows.batches == [{"a", "b"}]
    clock.advance(5)
    await feed.copy()
    assert rows.batches == [{"a", "b"}]


async def test_redis_that_goes_while_nothing_is_used() -> None:
    """What was put there before is stored by the next copy all the same."""
    clock, rows, shared = ManualClock(), Rows(), Shared()
    feed = ActivityFeed(used=of({"a": 0.0}), rows=rows, clock=clock, shared=shared)
    await feed.copy()
    clock.advance(5)
    shared.away = True
    await feed.copy()
    assert rows.batches == [{"a"}]


async def test_redis_that_goes_before_a_query() -> None:
    """A query stores what was put into Redis where that can't be read any more."""
    clock, rows, shared = ManualClock(), Rows(), Shared()
    feed = ActivityFeed(used=of({"a": 0.0}), rows=rows, clock=clock, shared=shared)
    await feed.copy()
    clock.advance(5)
    shared.away = True
    assert set((await feed.activity(None))[0]) == {"a"}


async def test_redis_that_forgets_is_made_up_for() -> None:
    """What has not come to the store in time is stored by the node that put it, also while it is used all the time."""
    clock, rows, shared, used = ManualClock(), Rows(), Shared(), {"a": 0.0, "once": 0.0}
    shared.forgets = True
    feed = ActivityFeed(used=of(used), rows=rows, clock=clock, shared=shared)
    for _ in range(18):
        used["a"] = clock.monotonic()
        await feed.copy()
        clock.advance(5)
    assert rows.batches == [{"a", "once"}]
    assert clock.now() - rows.kept["a"] <= timedelta(seconds=90)


async def test_store_and_redis_away_lose_nothing() -> None:
    """What neither took is stored when the store is back."""
    clock, rows, shared = ManualClock(), Rows(), Shared()
    feed = ActivityFeed(used=of({"a": 0.0}), rows=rows, clock=clock, shared=shared)
    rows.down = shared.away = True
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            await feed.copy()
        clock.advance(60)
    rows.down = False
    await feed.copy()
    assert set(rows.kept) == {"a"}
