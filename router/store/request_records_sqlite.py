"""Request records beside an SQLite store: a file of their own, so that traffic never waits for the lock of what it is about.

    records_<hour>   one table for the records that were stored in each hour since 1970, by tenant and id; dropped when it is old
    totals_<hour>    the same for the numbers of each minute
    request_sizes    bytes and number of each tenant's records in each hour
    request_position the id that was given out last
    request_counters what each resource has had since it was first counted
    request_captures the headers and bodies of some exchanges, by tenant and resource
    request_captures_gone up to when a resource's captures were deleted

Two connections, each with a thread of its own: one writes, one reads. The file does not shrink, but what is free in it is used
again.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from router.base.clock import Clock
from router.errors import StoreUnavailableError
from router.records.captures import StoredCapture
from router.records.counters import OTHER, Counters, increases
from router.records.record import Record, RecordFilter, Row
from router.records.totals import Totals
from router.settings import Records
from router.store.failures import translated
from router.store.request_records import (
    COUNTED,
    HOUR,
    IDS_PER_HOUR,
    MAX_FOUND,
    READ_TIME,
    RECORD_COLUMNS,
    TOTALS_COLUMNS,
    conditions,
    counters_row,
    first_id,
    hour_of_id,
    read_counters,
    sizes_of,
)

T = TypeVar("T")

_LOCK_TIME: Final = 2.0  # seconds that another process's transaction is waited for
_WRITE_TIME: Final = 30.0  # seconds for one transaction that writes
_COLUMNS: Final = ", ".join(RECORD_COLUMNS)

_COUNTERS: Final = ", ".join(f"{name} INTEGER NOT NULL" for name in COUNTED)
_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS request_position (one INTEGER PRIMARY KEY CHECK (one = 1), last INTEGER NOT NULL);
INSERT OR IGNORE INTO request_position VALUES (1, 0);
CREATE TABLE IF NOT EXISTS request_sizes (
    tenant BLOB NOT NULL, hour INTEGER NOT NULL, bytes INTEGER NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (tenant, hour)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS request_counters (
    tenant BLOB NOT NULL, resource BLOB NOT NULL, changed INTEGER NOT NULL, {_COUNTERS}, PRIMARY KEY (tenant, resource)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS request_captures (
    id INTEGER PRIMARY KEY, tenant BLOB NOT NULL, resource BLOB NOT NULL, request_id TEXT NOT NULL, at INTEGER NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS ix_request_captures ON request_captures (tenant, resource, request_id);
CREATE INDEX IF NOT EXISTS ix_request_captures_at ON request_captures (at);
CREATE TABLE IF NOT EXISTS request_captures_gone (resource BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
"""  # noqa: S608 - the names are ours
_ADD_COUNTERS: Final = (
    f"INSERT INTO request_counters VALUES (?, ?, ?{', ?' * len(COUNTED)}) ON CONFLICT (tenant, resource) DO UPDATE SET "  # noqa: S608
    f"{', '.join(f'{name} = {name} + excluded.{name}' for name in COUNTED)}, changed = excluded.changed"
)
_RECORDS: Final = """
CREATE TABLE IF NOT EXISTS records_{hour} (
    tenant BLOB NOT NULL, id INTEGER NOT NULL, resource BLOB NOT NULL, at INTEGER NOT NULL, request_id TEXT NOT NULL,
    host TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, status INTEGER NOT NULL, ending TEXT NOT NULL,
    fault INTEGER NOT NULL, total INTEGER NOT NULL, details TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID
"""
_TOTALS: Final = """
CREATE TABLE IF NOT EXISTS totals_{hour} (
    tenant BLOB NOT NULL, resource BLOB NOT NULL, minute INTEGER NOT NULL, route TEXT NOT NULL, part INTEGER NOT NULL,
    requests INTEGER NOT NULL, errors INTEGER NOT NULL, client_errors INTEGER NOT NULL, received INTEGER NOT NULL,
    sent INTEGER NOT NULL, histogram BLOB NOT NULL,
    PRIMARY KEY (resource, minute, route, part)
) WITHOUT ROWID
"""


_KEEP_CAPTURE: Final = """
INSERT INTO request_captures (tenant, resource, request_id, at, data)
SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM request_captures_gone WHERE resource = ?2 AND until >= ?4)
"""
_NEAREST_CAPTURE: Final = """
SELECT tenant, resource, request_id, at, data FROM request_captures
WHERE tenant = ?1 AND resource = ?2 AND request_id = ?3 ORDER BY abs(at - ?4), id LIMIT 1
"""


class SqliteRecords:
    """records.kept.KeptRecords"""

    def __init__(self, path: Path, settings: Records, clock: Clock) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._writer = ThreadPoolExecutor(1, "request-records")
        self._reader = ThreadPoolExecutor(1, "request-records-reader")
        self._writing: sqlite3.Connection | None = None
        self._reading: sqlite3.Connection | None = None
        self._tables: set[str] = set()  # that are known to be there

    async def append(self, records: Sequence[Row], totals: Sequence[Totals]) -> None:
        await self._write(lambda connection: self._append(connection, records, totals))

    async def find(
        self, where: RecordFilter, *, limit: int, before: int | None = None, after: int | None = None
    ) -> list[Record]:
        return await self._read(lambda connection: _find(connection, where, min(limit, MAX_FOUND), before, after))

    async def count(self, where: RecordFilter, *, after: int, before: int) -> int:
        return await self._read(lambda connection: _count(connection, where, after, before))

    async def newest(self) -> int:
        return await self._read(lambda connection: _one(connection, "SELECT last FROM request_position"))

    async def totals(self, tenant: bytes, resource: bytes, since: int, until: int) -> list[Totals]:
        return await self._read(lambda connection: _totals(connection, tenant, resource, since, until))

    async def counters(self, tenant: bytes) -> list[Counters]:
        return await self._read(lambda connection: _counters(connection, tenant))

    async def keep(self, captures: Sequence[StoredCapture]) -> None:
        await self._write(lambda connection: connection.executemany(_KEEP_CAPTURE, captures))

    async def capture(self, tenant: bytes, resource: bytes, request_id: str, at: int) -> StoredCapture | None:
        wanted = (tenant, resource, request_id, at)
        row = await self._read(lambda connection: connection.execute(_NEAREST_CAPTURE, wanted).fetchone())
        return None if row is None else StoredCapture(*row)

    async def forget(self, tenant: bytes, resource: bytes, now: int) -> None:
        def forget(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO request_captures_gone VALUES (?, ?)", (resource, now))
            connection.execute("DELETE FROM request_captures WHERE tenant = ? AND resource = ?", (tenant, resource))

        await self._write(forget)

    async def forget_tenant(self, tenant: bytes) -> None:
        def forget(connection: sqlite3.Connection) -> None:
            hours = [f"{kind}_{hour}" for kind in ("records", "totals") for hour in _hours(connection, kind)]
            for table in (*hours, "request_sizes", "request_counters", "request_captures"):
                connection.execute(f"DELETE FROM {table} WHERE tenant = ?", (tenant,))  # noqa: S608 - our own names

        await self._write(forget)

    async def prune(self, now: int) -> None:
        await self._write(lambda connection: self._prune(connection, now))

    async def close(self) -> None:
        """Ends what is under way, and closes the file."""
        for connection in (self._writing, self._reading):
            if connection is not None:
                connection.interrupt()
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        for thread in (self._writer, self._reader):
            thread.shutdown()
        for connection in (self._reading, self._writing):  # the last one to be closed copies the log into the file
            if connection is not None:
                connection.close()
        self._writing = self._reading = None

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            with translated():
                if self._writing is None:
                    self._writing = self._open()
                with _transaction(self._writing):
                    return work(self._writing)

        return await _within(self._writer, run, _WRITE_TIME, lambda: self._writing)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            with translated():
                if self._reading is None:
                    self._reading = self._open()
                return work(self._reading)

        return await _within(self._reader, run, READ_TIME, lambda: self._reading)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_LOCK_TIME, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA page_size = 8192")  # so that the longest record fits four times in a page
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA cache_size = -8192")
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def _append(self, connection: sqlite3.Connection, records: Sequence[Row], totals: Sequence[Totals]) -> None:
        if records:
            now = int(self._clock.now().timestamp() * 1e6)
            first = max(_one(connection, "SELECT last FROM request_position") + 1, first_id(now))
            if hour_of_id(first) != hour_of_id(first + len(records) - 1):  # all of them go to one table
                first = (hour_of_id(first) + 1) * IDS_PER_HOUR
            connection.execute("UPDATE request_position SET last = ?", (first + len(records) - 1,))
            hour = hour_of_id(first)
            table = self._table(connection, _RECORDS, "records", hour)
            places = f"?, ? + {first}" + ", ?" * (len(RECORD_COLUMNS) - 2)
            # In the order of tenants, so that neighbours are written together.
            connection.executemany(f"INSERT INTO {table} ({_COLUMNS}) VALUES ({places})", sorted(records))  # noqa: S608
            connection.executemany(
                "INSERT INTO request_sizes VALUES (?, ?, ?, ?) ON CONFLICT (tenant, hour) "
                "DO UPDATE SET bytes = bytes + excluded.bytes, number = number + excluded.number",
                [(tenant, hour, size, number) for tenant, (size, number) in sizes_of(records).items()],
            )
        hours = sorted({one.minute // HOUR for one in totals})
        for hour in hours:
            self._table(connection, _TOTALS, "totals", hour)
        if totals:
            self._count(connection, totals)
        for hour in hours:
            table = self._table(connection, _TOTALS, "totals", hour)
            places = ", ".join("?" * len(TOTALS_COLUMNS))
            connection.executemany(
                f"INSERT OR REPLACE INTO {table} VALUES ({places})",  # noqa: S608
                [one for one in totals if one.minute // HOUR == hour],
            )

    def _count(self, connection: sqlite3.Connection, totals: Sequence[Totals]) -> None:
        """Add to the counters what these totals have more than the stored ones."""
        stored: list[Totals] = []
        for one in totals:
            stored += map(
                Totals._make,
                connection.execute(
                    f"SELECT * FROM totals_{one.minute // HOUR} "  # noqa: S608 - a number
                    "WHERE resource = ? AND minute = ? AND route = ? AND part = ?",
                    (one.resource, one.minute, one.route, one.part),
                ),
            )
        hour = int(self._clock.now().timestamp() * 1e6) // HOUR
        for more in increases(stored, totals):
            tenant, resource, *numbers = counters_row(more)
            place = resource if self._has_counters(connection, tenant, resource) else OTHER
            connection.execute(_ADD_COUNTERS, (tenant, place, hour, *numbers))

    def _has_counters(self, connection: sqlite3.Connection, tenant: bytes, resource: bytes) -> bool:
        """Whether a resource has counters of its own, or there is a place for them."""
        own = "SELECT count(*) FROM request_counters WHERE tenant = ? AND resource "
        if _one(connection, own + "= ?", (tenant, resource)):
            return True
        return _one(connection, own + "<> ?", (tenant, OTHER)) < self._settings.metrics_per_tenant

    def _table(self, connection: sqlite3.Connection, schema: str, kind: str, hour: int) -> str:
        name = f"{kind}_{hour}"
        if name not in self._tables:
            connection.execute(schema.format(hour=hour))
        return name

    def _prune(self, connection: sqlite3.Connection, now: int) -> None:
        settings = self._settings
        oldest = now // HOUR - settings.retention_hours
        for kind in ("records", "totals"):
            for hour in _hours(connection, kind):
                if hour < oldest:
                    _drop(connection, kind, hour)
        self._tables.clear()
        connection.execute("DELETE FROM request_counters WHERE changed < ?", (oldest,))
        _prune_captures(connection, settings, now)
        for tenant, size in connection.execute(
            "SELECT tenant, sum(bytes) FROM request_sizes GROUP BY tenant HAVING sum(bytes) > ?",
            (settings.max_bytes_per_tenant,),
        ).fetchall():
            _trim_tenant(connection, tenant, size - settings.max_bytes_per_tenant)
        _trim_all(connection, settings.max_bytes)


async def _within(
    thread: ThreadPoolExecutor, work: Callable[[], T], seconds: float, of: Callable[[], sqlite3.Connection | None]
) -> T:
    """What `work` returns in its thread. After that many seconds it is interrupted. Raises StoreUnavailableError."""
    try:
        running = asyncio.get_running_loop().run_in_executor(thread, work)
    except RuntimeError as error:
        raise StoreUnavailableError("the request records are closed") from error
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.shield(running)
    except TimeoutError as error:
        connection = of()
        if connection is not None:
            connection.interrupt()
        running.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise StoreUnavailableError(f"the request records did not answer within {seconds:g} s") from error


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _one(connection: sqlite3.Connection, statement: str, parameters: Sequence[Any] = ()) -> int:
    (value,) = connection.execute(statement, parameters).fetchone()
    return int(value or 0)


def _hours(connection: sqlite3.Connection, kind: str) -> list[int]:
    """The hours that there is a table of that kind for, the oldest first."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB ?", (f"{kind}_*",))
    return sorted(int(name.rpartition("_")[2]) for (name,) in names)


def _find(
    connection: sqlite3.Connection, where: RecordFilter, limit: int, before: int | None, after: int | None
) -> list[Record]:
    parameters: list[Any] = [where.tenant]

    def placed(value: Any) -> str:
        parameters.append(value)
        return "?"

    terms = conditions(where, placed, "instr")
    if before is not None:
        terms.append(f"id < {placed(before)}")
    if after is not None:
        terms.append(f"id > {placed(after)}")
    wanted = " AND ".join(["tenant = ?", *terms])
    direction = "DESC" if after is None else "ASC"
    found: list[Record] = []
    hours = _hours(connection, "records")
    for hour in reversed(hours) if after is None else hours:
        if (before is not None and hour * IDS_PER_HOUR > before) or (after is not None and hour < hour_of_id(after)):
            continue
        statement = f"SELECT {_COLUMNS} FROM records_{hour} WHERE {wanted} ORDER BY id {direction} LIMIT ?"  # noqa: S608
        try:
            rows = connection.execute(statement, [*parameters, limit - len(found)]).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):  # dropped meanwhile
                continue
            raise
        found += map(Record._make, rows)
        if len(found) >= limit:
            break
    return found


def _count(connection: sqlite3.Connection, where: RecordFilter, after: int, before: int) -> int:
    parameters: list[Any] = [where.tenant, after, before]

    def placed(value: Any) -> str:
        parameters.append(value)
        return "?"

    wanted = " AND ".join(["tenant = ? AND id > ? AND id < ?", *conditions(where, placed, "instr")])
    hours = [hour for hour in _hours(connection, "records") if hour_of_id(after) <= hour <= hour_of_id(before)]
    return sum(_one(connection, f"SELECT count(*) FROM records_{hour} WHERE {wanted}", parameters) for hour in hours)  # noqa: S608


def _totals(connection: sqlite3.Connection, tenant: bytes, resource: bytes, since: int, until: int) -> list[Totals]:
    found: list[Totals] = []
    for hour in _hours(connection, "totals"):
        if since // HOUR <= hour <= until // HOUR:
            rows = connection.execute(
                f"SELECT * FROM totals_{hour} WHERE resource = ? AND minute >= ? AND minute < ? AND tenant = ?",  # noqa: S608
                (resource, since, until, tenant),
            )
            found += map(Totals._make, rows)
    return found


def _counters(connection: sqlite3.Connection, tenant: bytes) -> list[Counters]:
    statement = f"SELECT tenant, resource, {', '.join(COUNTED)} FROM request_counters WHERE tenant = ?"  # noqa: S608
    return [read_counters(row) for row in connection.execute(statement, (tenant,))]


def _drop(connection: sqlite3.Connection, kind: str, hour: int) -> None:
    connection.execute(f"DROP TABLE IF EXISTS {kind}_{hour}")
    if kind == "records":
        connection.execute("DELETE FROM request_sizes WHERE hour = ?", (hour,))


def _trim_tenant(connection: sqlite3.Connection, tenant: bytes, excess: int) -> None:
    """Delete a tenant's oldest records, of so many bytes."""
    for hour, size, number in connection.execute(
        "SELECT hour, bytes, number FROM request_sizes WHERE tenant = ? ORDER BY hour", (tenant,)
    ).fetchall():
        if excess <= 0:
            return
        part = min(number, -(-number * excess // max(1, size)))
        if part == number:
            connection.execute(f"DELETE FROM records_{hour} WHERE tenant = ?", (tenant,))  # noqa: S608
            connection.execute("DELETE FROM request_sizes WHERE tenant = ? AND hour = ?", (tenant, hour))
        else:
            last = _one(
                connection,
                f"SELECT id FROM records_{hour} WHERE tenant = ? ORDER BY id LIMIT 1 OFFSET ?",  # noqa: S608
                (tenant, part - 1),
            )
            connection.execute(f"DELETE FROM records_{hour} WHERE tenant = ? AND id <= ?", (tenant, last))  # noqa: S608
            connection.execute(
                "UPDATE request_sizes SET bytes = bytes - ?, number = number - ? WHERE tenant = ? AND hour = ?",
                (size * part // number, part, tenant, hour),
            )
        excess -= size * part // number


def _prune_captures(connection: sqlite3.Connection, settings: Records, now: int) -> None:
    """Delete the captures that are too old, and the oldest of those who have too many."""
    oldest = now - settings.retention_hours * HOUR
    connection.execute("DELETE FROM request_captures WHERE at < ?", (oldest,))
    connection.execute("DELETE FROM request_captures_gone WHERE until < ?", (oldest,))
    connection.execute(
        "DELETE FROM request_captures WHERE id IN (SELECT id FROM "
        "(SELECT id, sum(length(data)) OVER (PARTITION BY tenant ORDER BY at DESC, id DESC) AS its, "
        "sum(length(data)) OVER (ORDER BY at DESC, id DESC) AS whole FROM request_captures) WHERE its > ? OR whole > ?)",
        (settings.max_capture_bytes_per_tenant, settings.max_capture_bytes),
    )


def _used(connection: sqlite3.Connection) -> int:
    """Bytes of the file that are in use."""
    pages = _one(connection, "PRAGMA page_count") - _one(connection, "PRAGMA freelist_count")
    return pages * _one(connection, "PRAGMA page_size")


def _trim_all(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Delete the oldest hours while the file has more than it may; of the last one the older half of each tenant's records."""
    while _used(connection) > max_bytes:
        hours = sorted({*_hours(connection, "records"), *_hours(connection, "totals")})
        if len(hours) > 1:
            _drop(connection, "records", hours[0])
            _drop(connection, "totals", hours[0])
            continue
        for tenant, size in connection.execute("SELECT tenant, bytes FROM request_sizes").fetchall():
            _trim_tenant(connection, tenant, size // 2)
        return
