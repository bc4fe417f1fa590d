"""Changes that other processes commit are heard of, each once, in order; what may have been missed is said."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.routes.changed_keys import moved_among
from router.routes.records import State
from router.store import Store, outbox, watch
from tests.support.database import execute, rows
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = pytest.mark.asyncio


class Following:
    """A second process on the same file, and what its follower has said."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.keys: list[str] = []
        self.gaps = 0
        self.follower = store.follow(self._hear, self._gap)

    def _hear(self, keys: Sequence[str]) -> None:
        self.keys += keys

    def _gap(self) -> None:
        self.gaps += 1


@asynccontextmanager
async def following(database: str, clock: ManualClock) -> AsyncIterator[Following]:
    store = await Store.open(database, clock=clock)
    other = Following(store)
    await other.follower.start()
    yield other
    await other.follower.close()
    await store.close()


async def test_another_process_s_changes_are_heard(world: World, database: str, clock: ManualClock) -> None:
    """What one store commits, the follower of another tells, in the order of the commits."""
    tenant = await world.tenant()
    shop, blog = await world.sandbox(tenant, "shop"), await world.sandbox(tenant, "blog")
    async with following(database, clock) as other:
        await world.resources.patch(blog.id, state=State.STOPPED)
        await world.resources.patch(shop.id, state=State.STOPPED)
        await eventually(lambda: len(other.keys) >= 2, "both changes are heard")
        assert other.keys == ["slug:blog", "slug:shop"]
        assert other.gaps == 0


async def test_a_move_is_heard_as_one(world: World, store: Store, database: str, clock: ManualClock) -> None:
    """That a resource listens elsewhere is told apart from all that may take a name away, here and in other processes."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    await world.domain(shop, "shop.example.org")
    here, there = list[tuple[set[str], set[str]]](), list[tuple[set[str], set[str]]]()
    store.after_commit(lambda keys: here.append((set(keys), set(moved_among(keys)))))
    both = {"slug:shop", "name:shop.example.org"}
    async with following(database, clock) as other:
        follower = other.store.follow(lambda keys: there.append((set(keys), set(moved_among(keys)))), lambda: None)
        await follower.start()
        for what, moved in (
            (world.place(shop, address="10.0.0.8", generation="boot-2"), both),
            (world.resources.patch(shop.id, suspended=True), set[str]()),
            (world.place(shop, state=State.STOPPED), set[str]()),
            (world.resources.endpoints.delete(shop.id), set[str]()),
        ):
            heard = len(there)
            await what
            assert here[-1] == (both, moved)
            await eventually(lambda seen=heard: len(there) > seen, "the change is heard")
            assert there[-1] == (both, moved)
        await follower.close()


async def test_what_was_before_is_not_heard(world: World, database: str, clock: ManualClock) -> None:
    """A follower starts at the newest change: a process that starts it has nothing cached yet."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    async with following(database, clock) as other:
        await world.resources.patch(shop.id, state=State.STOPPED)
        await eventually(lambda: other.keys, "the change is heard")
        assert other.keys == ["slug:shop"]


async def test_a_listener_that_fails_does_not_end_it(world: World, database: str, clock: ManualClock) -> None:
    """The next change is told as ever."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    told: list[str] = []

    def stumble(keys: Sequence[str]) -> None:
        told.extend(keys)
        raise ZeroDivisionError

    store = await Store.open(database, clock=clock)
    follower = store.follow(stumble, lambda: None)
    await follower.start()
    for number, state in enumerate((State.STOPPED, State.RUNNING), start=1):
        await world.resources.patch(shop.id, state=state)
        await eventually(lambda number=number: len(told) == number, f"change {number} is told")
    await follower.close()
    await store.close()


async def test_own_changes_are_not_heard_twice(world: World, database: str, clock: ManualClock) -> None:
    """The process that committed was told at once; its follower tells of the others only."""
    tenant = await world.tenant()
    shop, blog = await world.sandbox(tenant, "shop"), await world.sandbox(tenant, "blog")
    async with following(database, clock) as other:
        await World(other.store, clock).resources.patch(shop.id, state=State.STOPPED)
        await world.resources.patch(blog.id, state=State.STOPPED)
        await eventually(lambda: "slug:blog" in other.keys, "the other's change is heard")
        assert (
            other.keys.count("slug:shop") <= 1
        )  # its own, should the follower have been faster than the commit's return


async def test_a_follower_that_fell_behind_says_so(world: World, database: str, clock: ManualClock) -> None:
    """Rows that were trimmed before they were read are reported as a gap, not lost silently."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    async with following(database, clock) as other:
        await execute(
            database,
            "INSERT INTO outbox (key, version, created_at) VALUES ('slug:lost', 1, '2026-01-01')",
            "DELETE FROM outbox WHERE key = 'slug:lost'",
        )
        await world.resources.patch(shop.id, state=State.STOPPED)
        await eventually(lambda: other.gaps, "the gap is told")


async def test_a_store_that_was_away_is_a_gap(world: World, database: str, clock: ManualClock) -> None:
    """While the outbox can't be read nothing is told; once it can be, everything is to be dropped."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    async with following(database, clock) as other:
        await execute(database, "ALTER TABLE outbox RENAME TO away")
        clock.advance(watch.BACKSTOP)
        await eventually(lambda: other.follower.missing, "the follower notices")
        assert (other.keys, other.gaps) == ([], 0)
        await execute(database, "ALTER TABLE away RENAME TO outbox")
        await eventually(lambda: other.gaps == 1, "the gap is told")
        await world.resources.patch(shop.id, state=State.STOPPED)
        await eventually(lambda: "slug:shop" in other.keys, "the next change is heard")


async def test_old_rows_are_trimmed(world: World, database: str, clock: ManualClock) -> None:
    """Rows are kept for an hour, which is far more than any follower may fall behind."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    async with following(database, clock) as other:
        clock.advance((outbox.KEPT - timedelta(seconds=1)).total_seconds())
        await world.resources.patch(shop.id, state=State.STOPPED)
        await eventually(lambda: other.keys, "the change is heard")
        clock.advance(120)
        await other.store.feed.trim(clock.now())
        assert await rows(database, "SELECT count(*) FROM outbox") == [(1,)]
        await world.resources.patch(shop.id, state=State.RUNNING)
        await eventually(lambda: len(other.keys) == 2, "following goes on")
        assert other.gaps == 0


async def test_start_needs_the_store(database: str, clock: ManualClock) -> None:
    """A follower that does not know where it stands does not start."""
    store = await Store.open(database, clock=clock)
    other = Following(store)
    await execute(database, "DROP TABLE outbox")
    with pytest.raises(StoreUnavailableError):
        await other.follower.start()
    await other.follower.close()
    await store.close()
