"""Whether another process may have committed since the last call: saves reading the outbox a hundred times a second, and lets
jobs rest while nothing happens.

SQLite: `PRAGMA data_version` on a connection that stays open, a number in shared memory that changes with the commits of
other connections. Reading it takes some 10 µs, without a thread or a lock,
and is left out while the kernel tells of no write to the file. PostgreSQL: the transaction that fills the outbox
sends NOTIFY, and one connection per process listens. On the same connection a look at the server's snapshot, once a second,
tells of every other commit. While it is not connected, the result is yes.
"""

import asyncio
import sqlite3
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import URL

from router.base.tasks import Tasks
from router.base.ticks import tick
from router.errors import StoreUnavailableError
from router.settings import Database
from router.store.connection import Connection, Engine
from router.store.failures import translated
from router.store.file_watch import FileWatch

CHANNEL = "miosa_router_outbox"
_NOTIFY = sa.select(sa.func.pg_notify(CHANNEL, ""))
BACKSTOP = 1.0  # seconds without a look at SQLite's file, at most

_LOOK_EVERY = 0.01  # seconds between two looks where no news come
_LOOKS = (0.01, 0.01, 0.02, 0.04, 0.08)  # seconds between looks after a write to the file

_CHECK = 1.0  # seconds between two looks whether anything was committed, where that is not told
_LATE = 0.5  # seconds until its answer is late
_LONG_WAIT = 60.0  # seconds that a watch waits for the connection that listens: that says when it is lost
_MAX_LEASES = 100  # transactions that write leases, between two looks
# The functions' names of PostgreSQL 13 and later are others; these have been there for longer, and still are.
_SNAPSHOT = """
    SELECT txid_snapshot_xmin(seen), txid_snapshot_xmax(seen), (SELECT array_agg(DISTINCT xmin::text::bigint) FROM leases)
    FROM txid_current_snapshot() AS seen
"""
_BACKOFF = (0.1, 5.0)  # seconds between tries to listen again: the first, the longest

_log = structlog.get_logger("router.store")


async def notify(connection: Connection) -> None:
    """Send NOTIFY to the watches of all processes when this transaction commits; SQLite needs none."""
    if connection.dialect.name == "postgresql":
        await connection.execute(_NOTIFY)


class FileVersion:
    """The count of commits to an SQLite file by all other connections, read in the loop on a connection of its own, which is opened
    with the first read."""

    def __init__(self, url: URL) -> None:
        self._path = Path(url.database or "")
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # which file that is

    def read(self) -> int | None:
        """None where it can't be read, and where another file has taken its place; the next read opens that."""
        try:
            now = self._path.stat()
            if self._connection is None:
                self._connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
                self._file = now.st_dev, now.st_ino
            if self._file == (now.st_dev, now.st_ino):
                return _version(self._connection)
        except (sqlite3.Error, OSError):
            pass
        self.close()
        return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class DataVersion:
    """routes.follower.Watch: SQLite's count of commits by other connections. `moved` is synchronous: it reads memory that the
    processes share.

    Where the system tells of writes to files, nothing is looked at while there are none; else every 10 ms. A commit is visible
    soon after its last write, so for a while after each there are looks as well.
    """

    def __init__(self, url: URL) -> None:
        self._path = url.database or ""
        self._version = FileVersion(url)
        self._last: int | None = None
        self._files: FileWatch | None = None
        self._looks = 0  # that are left, after a write

    def moved(self) -> bool:
        version = self._version.read()
        if version is None:
            self.close()
            return True
        moved = version != self._last
        self._last = version
        if self._files is None:
            with suppress(OSError):
                self._files = FileWatch((Path(self._path), Path(f"{self._path}-wal")))
        return moved

    async def pause(self) -> None:
        files = self._files
        if files is None:
            await asyncio.sleep(_LOOK_EVERY)
            return
        if files.take():
            self._looks = len(_LOOKS)
        if self._looks:
            wait = _LOOKS[-self._looks]
            self._looks -= 1
            await asyncio.sleep(wait)
        else:
            await files.written(BACKSTOP)

    async def back_off(self, wait: float) -> None:
        await asyncio.sleep(wait)

    def close(self) -> None:
        self._version.close()
        if self._files is not None:
            self._files.close()
            self._files = None
        self._last = None


class Commits:
    """How many commits an SQLite file has had, of any process: a number that is another one if there was one, a second later at
    most. Not how many more. Leases are not counted, if they are written through `engine`, which has one connection: SQLite tells a connection of the commits of others
    only. Each process renews its leases every few seconds, and jobs of other processes go on resting then.

    That connection has a thread, which is asked only when `version`, read here, says that there was a commit at all: to ask it
    once a second were three wake-ups, and a tenth of what a node at rest did.
    """

    def __init__(self, engine: Engine, version: FileVersion) -> None:
        self._engine = engine
        self._version = version
        self._seen: int | None = None  # the file's version when the thread was last asked
        self._tasks = Tasks("commits")
        self._last: int | None = None  # the file's version at the last look; None where it is not known
        self._count = 0
        self._news = asyncio.Event()

    def __call__(self) -> int:
        """Where it is not known whether there was a commit, there was one."""
        if not len(self._tasks) and not self._tasks.closed:
            self._tasks.start("look at commits", self._watch())
        if self._last is None:
            self._count += 1
        return self._count

    async def moved(self, since: int) -> None:
        """Wait until it is another number."""
        while self() == since:
            await self._news.wait()

    async def look(self) -> None:
        """Count what was committed since the last look."""
        seen = self._version.read()
        known = self._last is not None and self._engine.closed is None
        if known and seen is not None and seen == self._seen:
            return
        self._seen = seen  # before the thread is asked: what is committed meanwhile is another number at the next look
        try:
            version = await self._engine.run(_data_version)
        except StoreUnavailableError:
            version = None
        if version is None or version != self._last:
            self._count += 1
            self._news.set()
            self._news = asyncio.Event()
        self._last = version

    async def close(self) -> None:
        """Look no more."""
        await self._tasks.close()
        self._version.close()

    async def _watch(self) -> None:
        while True:
            await self.look()
            await tick(_CHECK)


def _data_version(connection: sa.Connection) -> int:
    # Straight to the driver: a statement of SQLAlchemy's would begin a transaction.
    driver: Any = connection.connection.driver_connection
    return _version(driver)


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was committed in a PostgreSQL server, in all its databases. Transactions that write have numbers, in the order in which
    they began to."""

    oldest: int  # the first that has not ended
    next: int  # the first that has not begun
    leases: Collection[int]  # which have written the rows of leases, in 32 bits

    def adds_to(self, before: "Snapshot") -> bool:
        """Whether anything but leases may have been written since `before`. Each process renews its leases every few seconds;
        jobs that rest go on resting then."""
        if (self.oldest, self.next) == (before.oldest, before.next) and self.oldest == self.next:
            return False
        if before.oldest < before.next or self.oldest < self.next:
            return True
        if not 0 < self.next - before.next <= _MAX_LEASES:
            return True
        return any(number % 2**32 not in self.leases for number in range(before.next, self.next))


class Notifications:
    """PostgreSQL's notifications of commits, for any number of watches. Listens from the first call on.

    `heard` counts how often something may have been committed: when there was a notification, and when the snapshot that a
    statement sees has changed. The connection that listens asks for the snapshot once a second, so followers and jobs need not
    query the database to learn of a commit. Where that connection is lost there is no answer, and they take it for a change.
    """

    def __init__(self, url: URL, limits: Database) -> None:
        self._url = url
        self._limits = limits
        self._tasks = Tasks("notifications")
        self._news = asyncio.Event()
        self.heard = 0
        self.listening = False

    def watch(self) -> "NotificationWatch":
        return NotificationWatch(self)

    def wake(self) -> None:
        """Start to listen, unless that is under way."""
        if not len(self._tasks) and not self._tasks.closed:
            self._tasks.start("listen", self._listen())

    async def close(self) -> None:
        """Stop listening."""
        await self._tasks.close()

    async def _listen(self) -> None:
        from router.store.postgres import connect  # noqa: PLC0415 - as in engine.py

        first, longest = _BACKOFF
        wait = first
        while True:
            try:
                with translated():
                    connection = await connect(self._url, self._limits)
                    try:
                        await connection.add_listener(CHANNEL, self._hear)
                        _log.debug("listening for changes")
                        self.listening, wait = True, first
                        self._hear()  # whatever was notified before
                        await self._stay(connection)
                    finally:
                        self.listening = False
                        self._hear()
                        connection.terminate()
            except StoreUnavailableError as error:
                _log.warning("change notifications lost, reconnecting", error=str(error))
            await asyncio.sleep(wait)
            wait = min(wait * 2, longest)

    async def _stay(self, connection: Any) -> None:
        """Return when the connection is lost. A connection that the network dropped silently is found by a query."""
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        before: Snapshot | None = None
        while True:
            try:
                async with asyncio.timeout(_CHECK):
                    await lost.wait()
                return
            except TimeoutError:
                now = await self._snapshot(connection)
            if before is None or now.adds_to(before):
                self._hear()
            before = now

    async def _snapshot(self, connection: Any) -> Snapshot:
        """While there is no answer, something may have been committed, and its notification be late as well."""
        asking = Tasks("look at commits")
        answer = asking.start("ask", connection.fetchrow(_SNAPSHOT))
        try:
            while not (await asyncio.wait((answer,), timeout=_LATE))[0]:
                self._hear()
        finally:
            await asking.close()
        oldest, following, leases = answer.result()
        return Snapshot(oldest, following, frozenset(leases or ()))

    async def news(self, within: float) -> None:
        """Wait until something may have happened, at most so many seconds."""
        try:
            async with asyncio.timeout(within):
                await self._news.wait()
        except TimeoutError:
            return

    def _hear(self, *_: object) -> None:
        self.heard += 1
        self._news.set()
        self._news = asyncio.Event()


class NotifiedCommits:
    """As `Commits`, with PostgreSQL."""

    def __init__(self, source: Notifications) -> None:
        self._source = source

    def __call__(self) -> int:
        source = self._source
        source.wake()
        if not source.listening:
            source.heard += 1
        return source.heard

    async def moved(self, since: int) -> None:
        """Wait until it is another number."""
        while self() == since:
            await self._source.news(_LONG_WAIT)


class NotificationWatch:
    """routes.follower.Watch"""

    def __init__(self, source: Notifications) -> None:
        self._source = source
        self._heard = -1

    def moved(self) -> bool:
        source = self._source
        source.wake()
        if source.listening and source.heard == self._heard:
            return False
        self._heard = source.heard
        return True

    async def pause(self) -> None:
        if self._source.heard == self._heard:
            await self._source.news(_LONG_WAIT if self._source.listening else _LOOK_EVERY)

    async def back_off(self, wait: float) -> None:
        await asyncio.sleep(wait)

    def close(self) -> None:
        """Nothing: the source is the store's."""
