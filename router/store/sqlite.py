"""SQLite: threads that own a connection each.

A statement is one call in a thread, its rows read there: an asynchronous driver changes threads four times for each,
which costs several times what the statement does. SQLite has one writer at a time, so writing goes through one
connection: transactions of this process wait for it in a queue, in order, and for writers of other processes inside
SQLite (`busy_timeout`). A transaction that writes takes the lock with its first statement, whatever that is; one
that began by reading would be refused when it first writes while another has written meanwhile (SQLITE_BUSY_SNAPSHOT),
which no waiting cures. Readers never wait: the journal is a WAL.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from router.errors import StoreRefusedError, StoreUnavailableError
from router.settings import Database
from router.store.connection import Result, ScalarResult
from router.store.failures import translated

T = TypeVar("T")

_READERS = 4  # reads take microseconds


class SqliteEngine:
    """connection.Engine"""

    def __init__(self, url: URL, limits: Database, *, reading: bool) -> None:
        self.closed: str | None = None
        self._lock_time = limits.lock_time
        self._engine = sqlite_engine(url, limits.lock_time, reading=reading)
        self._idle = [_Thread(self._engine) for _ in range(_READERS if reading else 1)]
        self._threads = tuple(self._idle)
        self._free = asyncio.Semaphore(len(self._idle))
        self._path = Path(url.database or "")
        self._file: tuple[int, int] | None = None  # which file that was when the first statement came

    @asynccontextmanager
    async def begin(self) -> AsyncIterator["_Connection"]:
        async with self._thread() as thread:
            try:
                yield _Connection(thread, self._engine.dialect)
                await thread.call(sa.Connection.commit)
            except BaseException:
                await thread.call(sa.Connection.rollback)
                raise

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["_Connection"]:
        async with self._thread() as thread:
            try:
                yield _Connection(thread, self._engine.dialect)
            finally:
                await thread.call(sa.Connection.rollback)

    @property
    def dialect(self) -> sa.Dialect:
        return self._engine.dialect

    async def one(self, statement: sa.Select[Any], parameters: Mapping[str, Any], /) -> Mapping[str, Any]:
        return await self.run(lambda connection: dict(connection.execute(statement, parameters).mappings().one()))

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        def once(connection: sa.Connection) -> T:
            try:
                return work(connection)
            finally:
                connection.rollback()

        return await self._once(once)

    async def change(self, work: Callable[[sa.Connection], T]) -> T:
        def once(connection: sa.Connection) -> T:
            try:
                found = work(connection)
                connection.commit()
            except BaseException:
                connection.rollback()
                raise
            return found

        return await self._once(once)

    async def _once(self, work: Callable[[sa.Connection], T]) -> T:
        with translated():
            async with self._thread() as thread:
                return await thread.call(work)

    async def dispose(self) -> None:
        for thread in self._threads:
            await thread.close()

    def _check_file(self) -> None:
        """An open file outlives its name: what is written to it after another was put in its place is lost, in silence."""
        try:
            now = self._path.stat()
        except OSError as error:
            raise StoreUnavailableError(f"{self._path}: {error.strerror}") from error
        if self._file is None:
            self._file = now.st_dev, now.st_ino
        elif self._file != (now.st_dev, now.st_ino):
            raise StoreUnavailableError(
                f"{self._path} is another file than the one that was opened: restart the router"
            )

    @asynccontextmanager
    async def _thread(self) -> AsyncIterator["_Thread"]:
        if self.closed is not None:
            raise StoreUnavailableError(self.closed)
        self._check_file()
        async with asyncio.timeout(self._lock_time):
            await self._free.acquire()
        thread = self._idle.pop()
        try:
            yield thread
        finally:
            self._idle.append(thread)
            self._free.release()


class _Thread:
    """One connection and the one thread that uses it. Calls run in order, also those whose task was cancelled: what
    such a task began is rolled back before the next call runs."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._connection: sa.Connection | None = None

    async def call(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` returns for the connection."""
        return await asyncio.shield(asyncio.wrap_future(self._executor.submit(self._work, work)))

    async def close(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self._executor.submit(self._close)))
        self._executor.shutdown()

    def _work(self, work: Callable[[sa.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._engine.connect()
        return work(self._connection)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class _Connection:
    """connection.Connection"""

    def __init__(self, thread: _Thread, dialect: sa.Dialect) -> None:
        self._thread = thread
        self.dialect = dialect

    async def execute(self, statement: sa.Executable, parameters: Any = None, /) -> Result:
        def execute(connection: sa.Connection) -> Result:
            result = connection.execute(statement, parameters)
            return result.freeze()() if result.returns_rows else result

        return await self._thread.call(execute)

    async def scalars(self, statement: sa.Executable, parameters: Any = None, /) -> ScalarResult:
        return (await self.execute(statement, parameters)).scalars()

    async def scalar(self, statement: sa.Executable, parameters: Any = None, /) -> Any:
        return await self._thread.call(lambda connection: connection.scalar(statement, parameters))


def probe(path: str) -> None:
    """Open the file, or make it. Raises StoreUnavailableError, with its name, StoreRefusedError where there is no folder
    for it."""
    try:
        sqlite3.connect(path).close()
    except sqlite3.Error as error:
        kind = StoreUnavailableError if Path(path).parent.is_dir() else StoreRefusedError
        raise kind(f"{path}: {error}") from error


def sqlite_engine(url: URL, lock_time: float, *, reading: bool) -> sa.Engine:
    """An engine whose transactions begin where we say so, not where the driver guesses.

    `?timeout=` in the URL sets how long a lock is waited for inside SQLite.
    """
    wait = {} if "timeout" in url.query else {"timeout": lock_time}
    # What a statement was about isn't in errors: those end in the log.
    engine = sa.create_engine(
        url, poolclass=NullPool, hide_parameters=True, connect_args={**wait, "isolation_level": None}
    )

    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in ("foreign_keys = ON", "synchronous = NORMAL", f"query_only = {'ON' if reading else 'OFF'}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def start(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    sa.event.listen(engine, "connect", prepare)
    sa.event.listen(engine, "begin", start)
    return engine
