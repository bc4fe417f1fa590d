"""Connections: the setting's URL to an engine, and what every connection is told before it is used.

SQLite has one writer at a time, so writing goes through one connection of its own: whoever waits for it waits in this
process's queue, in order, and other processes' writers are waited for inside SQLite (`busy_timeout`). A transaction
that writes takes the lock when it begins; one that began by reading would be refused when it first writes while
another has written meanwhile (SQLITE_BUSY_SNAPSHOT), which no waiting cures. Readers never wait: the journal is a WAL.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from router.errors import CONFLICT, RouterError, StoreUnavailableError

T = TypeVar("T")

LOCK_WAIT = 5.0  # seconds for a lock that another holds, in the database or in our queue
STATEMENT_TIME = 10.0  # seconds for one statement on PostgreSQL
CONNECT_TIME = 5.0  # seconds to connect to PostgreSQL
_READERS = 4  # SQLite: one thread each, and its reads take microseconds
_POSTGRES_POOL = 10

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


def driver_url(database_url: str) -> URL:
    """The setting's URL, which names no driver, with the asynchronous one. `sslmode` means what libpq means by it."""
    url = make_url(database_url)
    url = url.set(drivername=_DRIVERS[url.drivername])
    query = dict(url.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
        url = url.set(query=query)
    return url


def probe(url: URL, *, create: bool) -> None:
    """Open an SQLite file once, so that one that can't be opened is refused here, by name.

    The asynchronous driver leaves a thread behind when it fails to open a file. Raises StoreUnavailableError, also
    where there is no file and none is to be made.
    """
    if url.get_backend_name() != "sqlite":
        return
    path = url.database or ""
    if not create and not Path(path).exists():
        raise StoreUnavailableError(f"{path} does not exist: run `miosa-router db upgrade`")
    try:
        sqlite3.connect(path).close()
    except sqlite3.Error as error:
        raise StoreUnavailableError(f"{path}: {error}") from error


def writing_engine(url: URL) -> AsyncEngine:
    """For transactions that may write."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, begin="BEGIN IMMEDIATE", pool_size=1, query_only=False)
    return _postgres(url, _POSTGRES_POOL)


def reading_engine(url: URL, connections: int | None = None) -> AsyncEngine:
    """For transactions that only read, each as of one instant."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, begin="BEGIN", pool_size=connections or _READERS, query_only=True)
    return _postgres(url, connections or _POSTGRES_POOL).execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )


class Reader:
    """Short reads of several statements, for the path that requests wait on.

    On PostgreSQL they go through the asynchronous pool. On SQLite a statement through the asynchronous driver changes
    threads four times, which costs several times what the statement does; so there the whole work is one call in one
    of a few threads, on connections of their own.
    """

    def __init__(self, url: URL, engine: AsyncEngine) -> None:
        self._engine = engine
        self._threads: ThreadPoolExecutor | None = None
        if url.get_backend_name() == "sqlite":
            self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="sqlite-read")
            self._files = sa.create_engine(
                url.set(drivername="sqlite+pysqlite"),
                pool_size=_READERS,
                max_overflow=0,
                connect_args=_sqlite_args(url),
            )
            _listen(self._files, "BEGIN", query_only=True)

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` returns, run in one transaction that only reads. Raises StoreUnavailableError."""
        with translated():
            if self._threads is not None:
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._run_here, work)
            async with self._engine.connect() as connection:
                return await connection.run_sync(work)

    def _run_here(self, work: Callable[[sa.Connection], T]) -> T:
        with self._files.connect() as connection:
            return work(connection)

    def close(self) -> None:
        """Wait for the reads under way, and close the connections."""
        if self._threads is not None:
            self._threads.shutdown()
            self._files.dispose()


def _sqlite(url: URL, *, begin: str, pool_size: int, query_only: bool) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=LOCK_WAIT,
        connect_args=_sqlite_args(url),
    )
    _listen(engine.sync_engine, begin, query_only=query_only)
    return engine


def _sqlite_args(url: URL) -> dict[str, Any]:
    """`?timeout=` in the URL sets how long a lock is waited for. Transactions begin where we say so, not where the driver guesses."""
    wait = {} if "timeout" in url.query else {"timeout": LOCK_WAIT}
    return {**wait, "isolation_level": None}


def _listen(engine: sa.Engine, begin: str, *, query_only: bool) -> None:
    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in ("foreign_keys = ON", "synchronous = NORMAL", f"query_only = {'ON' if query_only else 'OFF'}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def start(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    sa.event.listen(engine, "connect", prepare)
    sa.event.listen(engine, "begin", start)


def _postgres(url: URL, pool_size: int) -> AsyncEngine:
    milliseconds = str(int(STATEMENT_TIME * 1000))
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=LOCK_WAIT,
        pool_pre_ping=True,
        connect_args={
            "timeout": CONNECT_TIME,
            "command_timeout": STATEMENT_TIME,
            "server_settings": {
                "application_name": "miosa-router",
                "lock_timeout": str(int(LOCK_WAIT * 1000)),
                "statement_timeout": milliseconds,
                "idle_in_transaction_session_timeout": milliseconds,
            },
        },
    )


@contextmanager
def translated() -> Iterator[None]:
    """The driver's errors as ours: what two verbs did at once and can't both be is a conflict, the rest an outage."""
    try:
        yield
    except sa.exc.IntegrityError as error:
        unique = "unique" in str(error.orig).lower()  # both databases say so
        words = "has already been taken" if unique else "conflicts with a change that was made at the same time"
        raise RouterError(CONFLICT, words) from error
    except (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError) as error:  # TimeoutError is an OSError
        raise StoreUnavailableError(str(error)) from error


async def take_turn(connection: AsyncConnection) -> None:
    """Wait until no other transaction that changes routing records is under way.

    The outbox is read by position, so its ids must become visible in order; and two transactions that raise the same
    versions in different order would block each other. On SQLite writers take turns anyway.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": _TURN})


async def hold_names(connection: AsyncConnection) -> None:
    """Wait until no other transaction that registers names is under way.

    That no name lies under another tenant's is nothing that a constraint can say, so it is looked for first, and nobody
    may come in between. To be taken before any row is locked: whoever waits here must not be waited for.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:names)"), {"names": _NAMES})


# Any two numbers that nothing else in the database locks: "miosa", and the one after it.
_TURN = 0x6D696F7361
_NAMES = _TURN + 1
