"""Whether another process may have committed since the last call: saves reading the outbox a hundred times a second.

SQLite: `PRAGMA data_version` on a connection that stays open, a number in shared memory that changes with the commits of
other connections. Reading it takes some 10 µs, without a thread or a lock,
and is left out while the kernel tells of no write to the file. PostgreSQL: the transaction that fills the outbox
sends NOTIFY, and one connection per process listens. While it is not connected, and once a second anyway, the result is
yes.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import URL

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.errors import StoreUnavailableError
from router.settings import Database
from router.store.connection import Connection
from router.store.failures import translated
from router.store.file_watch import FileWatch

CHANNEL = "miosa_router_outbox"
_NOTIFY = sa.select(sa.func.pg_notify(CHANNEL, ""))
BACKSTOP = 1.0  # seconds without a look, at most

_LOOK_EVERY = 0.01  # seconds between two looks where no news come
_LOOKS = 10  # after a write to the file

_CHECK = 10.0  # seconds between two questions whether the connection that listens still stands
_BACKOFF = (0.1, 5.0)  # seconds between tries to listen again: the first, the longest

_log = structlog.get_logger("router.store")


async def notify(connection: Connection) -> None:
    """Send NOTIFY to the watches of all processes when this transaction commits; SQLite needs none."""
    if connection.dialect.name == "postgresql":
        await connection.execute(_NOTIFY)


class DataVersion:
    """routes.follower.Watch: SQLite's count of commits by other connections. `moved` is synchronous: it reads memory that the
    processes share.

    Where the system tells of writes to files, nothing is looked at while there are none; else every 10 ms. A commit is visible
    soon after its last write, so for a while after each there are looks as well.
    """

    def __init__(self, url: URL) -> None:
        self._path = url.database or ""
        self._connection: sqlite3.Connection | None = None
        self._last: int | None = None
        self._files: FileWatch | None = None
        self._looks = 0  # that are left, after a write

    def moved(self) -> bool:
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            version = _version(self._connection)
        except sqlite3.Error:
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
            self._looks = _LOOKS
        if self._looks:
            self._looks -= 1
            await asyncio.sleep(_LOOK_EVERY)
        else:
            await files.written(BACKSTOP)

    async def back_off(self, wait: float) -> None:
        await asyncio.sleep(wait)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._files is not None:
            self._files.close()
        self._connection = self._files = None
        self._last = None


class Commits:
    """How many commits an SQLite file has had, of any process: a number that is another one if there was one. Not how many more."""

    def __init__(self, url: URL, closed: Callable[[], str | None]) -> None:
        """`closed` says why the store is not open; None: it is."""
        self._file = Path(url.database or "")
        self._closed = closed
        self._connection: sqlite3.Connection | None = None
        self._last: tuple[int, int, int] | None = None  # which file that was, and its version
        self._count = 0

    def __call__(self) -> int:
        """Where it is not known whether there was a commit, there was one."""
        now = None
        try:
            if self._closed() is None:
                file = self._file.stat()  # an open file outlives its name
                if self._connection is None:
                    self._connection = sqlite3.connect(self._file, timeout=0, isolation_level=None)
                now = file.st_dev, file.st_ino, _version(self._connection)
        except (sqlite3.Error, OSError):
            self.close()
        if now is None or now != self._last:
            self._count += 1
        self._last = now
        return self._count

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)


class Notifications:
    """PostgreSQL's notifications of commits, for any number of watches. Listens from the first call on."""

    def __init__(self, url: URL, limits: Database, clock: Clock) -> None:
        self._url = url
        self._limits = limits
        self._clock = clock
        self._tasks = Tasks("notifications")
        self._news = asyncio.Event()
        self.heard = 0  # how often something may have happened
        self.listening = False

    def watch(self) -> "NotificationWatch":
        return NotificationWatch(self, self._clock)

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
                        connection.terminate()
            except StoreUnavailableError as error:
                _log.warning("change notifications lost, reconnecting", error=str(error))
            await asyncio.sleep(wait)
            wait = min(wait * 2, longest)

    async def _stay(self, connection: Any) -> None:
        """Return when the connection is lost. A connection that the network dropped silently is found by a query."""
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        while True:
            try:
                async with asyncio.timeout(_CHECK):
                    await lost.wait()
                return
            except TimeoutError:
                await connection.execute("SELECT 1")

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


class NotificationWatch:
    """routes.follower.Watch"""

    def __init__(self, source: Notifications, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._heard = -1
        self._look_by = float("-inf")

    def moved(self) -> bool:
        source, now = self._source, self._clock.monotonic()
        source.wake()
        if source.listening and source.heard == self._heard and now < self._look_by:
            return False
        self._heard = source.heard
        self._look_by = now + BACKSTOP
        return True

    async def pause(self) -> None:
        if self._source.heard == self._heard:
            await self._source.news(BACKSTOP if self._source.listening else _LOOK_EVERY)

    async def back_off(self, wait: float) -> None:
        await asyncio.sleep(wait)

    def close(self) -> None:
        """Nothing: the source is the store's."""
