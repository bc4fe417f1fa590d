"""The outbox's follower: what is pushed and what is read become one story. No store, no sockets."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
import pytest_asyncio

from router.errors import StoreUnavailableError
from router.routes.changed_keys import moved_among
from router.routes.follower import OutboxFollower
from tests.support import records as make
from tests.support.memory_store import MemoryStore
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio


class Signal:
    """routes.follower.Watch: there is something to read when the test says so."""

    def __init__(self) -> None:
        self.set = asyncio.Event()

    def moved(self) -> bool:
        moved = self.set.is_set()
        self.set.clear()
        return moved

    async def pause(self) -> None:
        await self.set.wait()

    async def back_off(self, wait: float) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        """Nothing."""


class Following:
    """A follower of a store, and what it told."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.signal = Signal()
        self.told: list[str] = []
        self.moved: list[str] = []
        self.gaps = 0
        self.positions: list[tuple[int, list[str] | None]] = []
        self.follower = OutboxFollower(
            self.store, self.signal, on_keys=self._keys, on_gap=self._gap, on_position=self._position
        )

    def commit(self, *slugs: str) -> int:
        for slug in slugs:
            self.store.commit(f"slug:{slug}", make.resource(slug))
        return self.store.last

    def _keys(self, keys: Sequence[str]) -> None:
        self.told += keys
        self.moved += moved_among(keys)

    def _gap(self) -> None:
        self.gaps += 1

    def _position(self, to: int, numbers: Mapping[str, int] | None) -> None:
        self.positions.append((to, None if numbers is None else list(numbers)))


@pytest_asyncio.fixture
async def following() -> AsyncIterator[Following]:
    made = Following()
    made.commit("a")
    await made.follower.start()
    yield made
    await made.follower.close()


async def test_what_is_pushed_is_not_read_again(following: Following) -> None:
    """The position is behind it, and the store is asked for what comes after."""
    number = following.commit("b")
    assert following.follower.push(1, number, {"slug:b": number}, frozenset({"slug:b"}))
    following.commit("c")
    following.signal.set.set()
    await eventually(lambda: following.told == ["slug:b", "slug:c"], "both are told, once")
    assert following.moved == ["slug:b"]
    assert following.positions == [(1, None), (2, ["slug:b"]), (3, ["slug:c"])]


async def test_a_push_after_a_hole_is_refused(following: Following) -> None:
    """What lies before it is not known: nothing is told, and the position stays."""
    number = following.commit("b", "c")
    assert not following.follower.push(2, number, {"slug:c": number})
    assert (following.told, following.follower.position) == ([], 1)
    following.signal.set.set()
    await eventually(lambda: following.told == ["slug:b", "slug:c"], "the store has all")
    assert following.gaps == 0


async def test_own_changes_are_not_told(following: Following) -> None:
    """Those up to the last own change of a record included: the record was read anew after it."""
    number = following.commit("b", "b")
    following.follower.committed(["slug:b"], number)
    assert following.follower.push(1, number, {"slug:b": number})
    assert following.told == []
    number = following.commit("b")
    assert following.follower.push(number - 1, number, {"slug:b": number})
    assert following.told == ["slug:b"]


async def test_a_push_while_the_store_is_read_makes_no_gap(following: Following) -> None:
    """The read began before the push, and ends after it."""
    number = following.commit("b", "c")
    read = following.store.after
    pushed = asyncio.Event()

    async def slowly(number: int, most: int) -> Sequence[object]:
        changes = await read(number, most)
        await pushed.wait()
        return changes

    following.store.after = slowly  # type: ignore[assignment, method-assign]
    following.signal.set.set()
    await eventually(lambda: not following.signal.set.is_set(), "it reads")
    assert following.follower.push(1, number, {"slug:b": 2, "slug:c": 3})
    pushed.set()
    following.commit("d")
    following.signal.set.set()
    await eventually(lambda: following.told[-1] == "slug:d", "it goes on")
    assert (following.gaps, following.follower.position) == (0, 4)


async def test_rows_that_were_trimmed_unread_are_a_gap(following: Following) -> None:
    """What they changed is not known, so nothing is told key by key."""
    following.commit("b", "c")
    following.store.forget(2)
    following.signal.set.set()
    await eventually(lambda: following.gaps == 1, "it is a gap")
    assert (following.told, following.positions[-1]) == ([], (3, None))


async def test_a_restart_begins_at_the_newest_change(following: Following) -> None:
    """Everything before may have been missed; a store that is away leaves the position where it was."""
    following.commit("b")
    await following.follower.restart()
    assert (following.gaps, following.follower.position) == (1, 2)
    following.store.down = True
    await following.follower.restart()
    assert (following.gaps, following.follower.position) == (2, 2)


async def test_a_store_that_is_away_at_the_start() -> None:
    """Is an error where it is required; else it is waited for, and all that happened meanwhile is a gap."""
    away = Following()
    away.store.down = True
    with pytest.raises(StoreUnavailableError):
        await away.follower.start()
    await away.follower.start(required=False)
    assert away.follower.missing
    assert away.follower.push(7, 9, {"slug:b": 9})
    away.commit("a", "b")
    away.store.down = False
    await eventually(lambda: away.gaps == 1, "it is a gap")
    assert not away.follower.missing
    await away.follower.close()


async def test_a_store_that_goes_away_and_comes_back(following: Following) -> None:
    """Is read again when it can be; what was missed is a gap."""
    following.store.down = True
    following.signal.set.set()
    await eventually(lambda: following.store.failed > 2, "it tries again and again")
    assert following.follower.missing
    following.store.down = False
    await eventually(lambda: following.gaps == 1, "it is a gap")
    assert not following.follower.missing
    following.commit("b")
    following.signal.set.set()
    await eventually(lambda: following.told == ["slug:b"], "it goes on")


async def test_more_changes_than_are_read_at_once(following: Following) -> None:
    """All of them, in their order."""
    slugs = [f"s{number}" for number in range(1001)]
    following.commit(*slugs)
    following.signal.set.set()
    await eventually(lambda: len(following.told) == 1001, "all are told")
    assert following.told == [f"slug:{slug}" for slug in slugs]
    assert following.gaps == 0


async def test_a_listener_that_fails_ends_nothing(following: Following) -> None:
    """The next change is told."""
    tell = following.told.append
    failures = iter([RuntimeError("the first")])

    def keys(told: Sequence[str]) -> None:
        if failure := next(failures, None):
            raise failure
        for key in told:
            tell(key)

    follower = OutboxFollower(following.store, following.signal, on_keys=keys, on_gap=lambda: None)
    assert follower.push(0, 1, {"slug:a": 1})
    assert follower.push(1, 2, {"slug:b": 2})
    assert following.told == ["slug:b"]


async def test_a_store_that_comes_back_is_followed_from_its_newest_change() -> None:
    """Where it was away at the start, what is in it by then is a gap and not told key by key."""
    away = Following()
    away.store.down = True
    await away.follower.start(required=False)
    away.commit("a", "b")
    away.store.down = False
    await eventually(lambda: away.gaps == 1, "it is a gap")
    assert (away.told, away.follower.position) == ([], 2)
    await away.follower.close()


async def test_an_own_change_that_was_told_already_is_not_remembered(following: Following) -> None:
    """The next change of the same record is told."""
    following.follower.committed(["slug:a"], 1)
    number = following.commit("a")
    assert following.follower.push(1, number, {"slug:a": number})
    assert following.told == ["slug:a"]
