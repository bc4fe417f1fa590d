"""Whether something was written to an SQLite file: heard of the system, and read from the file."""

import asyncio
import math
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from router.base.clock import ManualClock, SystemClock
from router.settings import Database
from router.store import Store
from router.store.engine import writing_engine
from router.store.file_watch import FileWatch
from router.store.postgres import connect
from router.store.sqlite import SqliteEngine
from router.store.watch import _SNAPSHOT, Commits, DataVersion, FileVersion, Snapshot
from tests.support.database import Databases, execute, migrated_file, spoil
from tests.support.waiting import eventually
from tests.support.world import World

T = TypeVar("T")


class File:
    """A database and a connection of another process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = make_url(f"sqlite:///{path}")
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("CREATE TABLE notes (text TEXT)")

    def commit(self) -> None:
        self.connection.execute("INSERT INTO notes VALUES ('x')")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    made = File(tmp_path / "router.db")
    yield made
    made.connection.close()


@pytest.mark.asyncio
async def test_a_write_ends_the_wait(tmp_path: Path) -> None:
    """It is told of once, however often was written; and a write before the wait counts, too."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    watch = FileWatch([path])
    assert not watch.take()
    waiting = asyncio.ensure_future(watch.written(60.0))
    await asyncio.sleep(0)  # one turn of the loop: it waits now
    path.write_bytes(b"a")
    await waiting
    path.write_bytes(b"b")
    assert watch.take()
    assert not watch.take()
    path.write_bytes(b"c")
    await watch.written(60.0)
    assert watch.take()
    await watch.written(0.001)
    watch.close()


def test_a_file_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    """Nor is anything left open then."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(FileNotFoundError):
        FileWatch([tmp_path / "none"])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.asyncio
async def test_a_commit_is_seen_soon(file: File) -> None:
    """While nothing is written there is one look a second; a commit ends that wait, and looks go on until it is visible."""
    version = DataVersion(file.url)
    assert version.moved()
    while version._looks or (version._files is not None and version._files.take()):  # what was written when it was made
        await version.pause()
    assert not version.moved()
    waiting = asyncio.ensure_future(version.pause())
    await asyncio.sleep(0)  # one turn of the loop: it waits now
    file.commit()
    await waiting
    assert version.moved()
    await version.pause()
    assert version._looks
    version.close()


@pytest_asyncio.fixture
async def commits(file: File) -> AsyncIterator[Commits]:
    engine = writing_engine(file.url, Database())
    made = Commits(engine, FileVersion(file.url))
    yield made
    await made.close()
    await engine.dispose()


@pytest.mark.asyncio
async def test_commits_are_counted(file: File, commits: Commits) -> None:
    """The number stays until there was a commit, whoever made it; who waits for another number hears of it."""
    await commits.look()
    first = commits()
    assert commits() == first
    waiting = asyncio.ensure_future(commits.moved(first))
    file.commit()
    await waiting
    second = commits()
    assert second != first
    await commits.look()
    assert commits() == second


class Asked(SqliteEngine):
    """Counts what it is asked."""

    times = 0

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        self.times += 1
        return await super().run(work)


@pytest.mark.asyncio
async def test_the_thread_is_asked_only_after_a_commit(file: File) -> None:
    """The file's version is read in the loop; what that can't tell, leases from other commits, the connection's thread can."""
    engine = Asked(file.url, Database(), reading=False)
    commits = Commits(engine, FileVersion(file.url))
    for _ in range(5):
        await commits.look()
    assert engine.times == 1
    file.commit()
    for _ in range(5):
        await commits.look()
    assert engine.times == 2
    await commits.close()
    await engine.dispose()


@pytest.mark.asyncio
async def test_leases_are_not_counted(tmp_path: Path) -> None:
    """Each process renews its own every few seconds: that is no reason to look at anything. What else is committed is counted,
    whoever does it."""
    path = tmp_path / "router.db"
    migrated_file(path)
    store = await Store.open(f"sqlite:///{path}", clock=SystemClock())
    commits = store.commits
    assert isinstance(commits, Commits)
    await commits.look()
    first = commits()
    lease = await store.leases.acquire("prune", "me", 10.0)
    assert lease is not None
    assert await store.leases.present("me", 10.0) == 1
    assert list(await store.leases.renew({lease: 0.0}, 10.0)) == [lease]
    await commits.look()
    assert commits() == first
    await World(store, SystemClock()).tenant()
    await commits.look()
    assert commits() != first
    await store.close()


SNAPSHOTS = [
    (Snapshot(7, 7, ()), Snapshot(7, 7, ()), False),  # nothing was written
    (Snapshot(7, 7, ()), Snapshot(8, 8, ()), True),
    (Snapshot(7, 7, ()), Snapshot(8, 8, (7,)), False),  # leases were
    (Snapshot(7, 7, ()), Snapshot(10, 10, (9, 7, 8)), False),
    (Snapshot(7, 7, ()), Snapshot(10, 10, (9, 7)), True),  # and something else
    (Snapshot(7, 7, (6,)), Snapshot(8, 8, (6,)), True),
    (Snapshot(7, 7, ()), Snapshot(7, 8, (7,)), True),  # somebody is about to
    (Snapshot(7, 8, ()), Snapshot(7, 8, ()), True),  # which may have been before, too
    (Snapshot(7, 8, ()), Snapshot(8, 8, (7,)), True),
    (Snapshot(7, 7, ()), Snapshot(500, 500, range(500)), True),  # more than any fleet's leases
    (
        Snapshot(2**32 - 1, 2**32 - 1, ()),
        Snapshot(2**32 + 4, 2**32 + 4, (2**32 - 1, 0, 1, 2, 3)),
        False,
    ),  # rows have 32 bits
    (Snapshot(9, 9, ()), Snapshot(8, 8, ()), True),  # another server
]


@pytest.mark.parametrize(("before", "now", "added"), SNAPSHOTS)
def test_what_a_snapshot_adds(before: Snapshot, now: Snapshot, added: bool) -> None:
    """Something may have been committed between two snapshots, unless all numbers between them are those of leases."""
    assert now.adds_to(before) == added


@pytest.mark.asyncio
async def test_a_server_tells_leases_from_other_commits(databases: Databases) -> None:
    """By the numbers of the transactions that wrote their rows."""
    async with databases.new("postgresql") as url:
        store = await Store.open(url, clock=SystemClock())
        connection = await connect(sa.make_url(url), Database())

        async def now() -> Snapshot:
            oldest, following, leases = await connection.fetchrow(_SNAPSHOT)
            return Snapshot(oldest, following, frozenset(leases or ()))

        lease = await store.leases.acquire("prune", "me", 10.0)
        assert lease is not None
        before = await now()
        assert await store.leases.present("me", 10.0) == 1
        assert list(await store.leases.renew({lease: 0.0}, 10.0)) == [lease]
        after = await now()
        assert after.next > before.next
        assert not after.adds_to(before)
        await World(store, SystemClock()).tenant()
        assert (await now()).adds_to(after)
        await connection.close()
        await store.close()


@pytest.mark.asyncio
async def test_commits_of_a_server_are_counted(databases: Databases) -> None:
    """Also those that tell nobody; and while it is not listened to, there may always have been one."""
    async with databases.new("postgresql") as url:
        store = await Store.open(url, clock=SystemClock())
        commits = store.commits
        assert commits() != commits()
        await eventually(lambda: store._notifications is not None and store._notifications.listening, "it listens")
        first = commits()
        await execute(url, "CREATE TABLE notes (text TEXT)")
        await asyncio.wait_for(commits.moved(first), 30.0)
        assert commits() != first
        spoil(url)
        await store.close()


@pytest.mark.asyncio
async def test_when_the_next_is_due(database: str) -> None:
    """The first of all kinds that wait for their time; inf where nothing does."""
    clock = ManualClock(datetime.now(UTC))
    store = await Store.open(database, clock=clock)
    world = World(store, clock)
    assert await store.due_in() == math.inf
    tenant = await world.tenant()
    await world.domain(await world.sandbox(tenant, "shop"), "shop.example.com")
    checked = await store.due_in()
    assert 0 < checked < math.inf
    clock.advance(checked + 1)
    assert await store.due_in() == pytest.approx(-1, abs=0.01)
    await store.close()


@pytest.mark.asyncio
async def test_a_file_that_was_replaced_is_never_the_same(file: File, commits: Commits) -> None:
    """An open file outlives its name: nobody who asks may rest on it. Nor on a store that isn't open."""
    await commits.look()
    first = commits()
    file.path.rename(file.path.with_suffix(".old"))
    await commits.look()
    assert len({first, commits(), commits()}) == 3
    await asyncio.wait_for(commits.moved(commits()), 30.0)
    commits._engine.closed = "not opened yet"
    await commits.look()
    assert commits() != commits()
