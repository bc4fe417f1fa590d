"""Request records in PostgreSQL, beside the store of a fleet: partitioned by the hour, so that to forget one is to drop a table.

    request_records  by the id, which begins with the time
    request_totals   by the minute
    request_sizes    bytes and number of each tenant's records in each hour
    request_position the id that was given out last: whoever stores records holds its row until they are committed
    request_counters what each resource has had since it was first counted
    request_captures the headers and bodies of some exchanges; request_captures_gone: up to when a resource's were deleted

Connections of its own, two for each process, so that records never take one from what routes traffic. The tables are made here, not
by migrations: their partitions have to be made by a running node anyway.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from sqlalchemy.engine import make_url

from router.base.clock import Clock
from router.errors import StoreUnavailableError
from router.records.captures import StoredCapture
from router.records.counters import OTHER, Counters, increases
from router.records.record import Record, RecordFilter, Row
from router.records.totals import Totals
from router.settings import Database, Records
from router.store.failures import translated
from router.store.postgres import connect
from router.store.request_records import (
    COUNTED,
    HOUR,
    IDS_PER_HOUR,
    MAX_FOUND,
    RECORD_COLUMNS,
    TOTALS_COLUMNS,
    conditions,
    counters_row,
    first_id,
    hour_of_id,
    read_counters,
    sizes_of,
)

_LOCK: Final = 0x6D696F7361  # of who makes or drops tables
_COLUMNS: Final = ", ".join(RECORD_COLUMNS)

_COUNTERS: Final = ", ".join(f"{name} bigint NOT NULL" for name in COUNTED)
_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS request_records (
    tenant bytea NOT NULL, id bigint NOT NULL, resource bytea NOT NULL, at bigint NOT NULL, request_id text NOT NULL,
    host text NOT NULL, method text NOT NULL, path text NOT NULL, status integer NOT NULL, ending text NOT NULL,
    fault integer NOT NULL, total bigint NOT NULL, details text NOT NULL,
    PRIMARY KEY (tenant, id)
) PARTITION BY RANGE (id);
CREATE TABLE IF NOT EXISTS request_totals (
    tenant bytea NOT NULL, resource bytea NOT NULL, minute bigint NOT NULL, route text NOT NULL, part bigint NOT NULL,
    requests bigint NOT NULL, errors bigint NOT NULL, client_errors bigint NOT NULL, received bigint NOT NULL,
    sent bigint NOT NULL, histogram bytea NOT NULL,
    PRIMARY KEY (resource, minute, route, part)
) PARTITION BY RANGE (minute);
CREATE TABLE IF NOT EXISTS request_sizes (
    tenant bytea NOT NULL, hour bigint NOT NULL, bytes bigint NOT NULL, number bigint NOT NULL, PRIMARY KEY (tenant, hour)
);
CREATE TABLE IF NOT EXISTS request_position (one integer PRIMARY KEY CHECK (one = 1), last bigint NOT NULL);
INSERT INTO request_position VALUES (1, 0) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS request_counters (
    tenant bytea NOT NULL, resource bytea NOT NULL, changed bigint NOT NULL, {_COUNTERS}, PRIMARY KEY (tenant, resource)
);
CREATE TABLE IF NOT EXISTS request_captures (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant bytea NOT NULL, resource bytea NOT NULL,
    request_id text NOT NULL, at bigint NOT NULL, data text NOT NULL
);
CREATE INDEX IF NOT EXISTS ix_request_captures ON request_captures (tenant, resource, request_id);
CREATE INDEX IF NOT EXISTS ix_request_captures_at ON request_captures (at);
CREATE TABLE IF NOT EXISTS request_captures_gone (resource bytea PRIMARY KEY, until bigint NOT NULL);
"""  # noqa: S608 - the names are ours
_KINDS: Final = {"request_records": IDS_PER_HOUR, "request_totals": HOUR}  # what an hour is in their partitions' key

_PUT_TOTALS: Final = """
INSERT INTO request_totals
SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
                     $8::bigint[], $9::bigint[], $10::bigint[], $11::bytea[])
ON CONFLICT (resource, minute, route, part) DO UPDATE SET
    requests = excluded.requests, errors = excluded.errors, client_errors = excluded.client_errors,
    received = excluded.received, sent = excluded.sent, histogram = excluded.histogram
"""
_STORED_TOTALS: Final = """
SELECT stored.* FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::bigint[]) AS new (resource, minute, route, part)
JOIN request_totals stored USING (resource, minute, route, part) WHERE minute >= $5 AND minute <= $6
"""
_WITH_COUNTERS: Final = """
SELECT tenant, resource FROM unnest($1::bytea[], $2::bytea[]) AS new (tenant, resource)
JOIN request_counters USING (tenant, resource)
"""
_NUMBER_OF_COUNTERS: Final = """
SELECT tenant, count(*) AS number FROM request_counters WHERE tenant = ANY($1::bytea[]) AND resource <> $2 GROUP BY tenant
"""
# Rows in one order, so that two nodes don't wait for each other in a circle.
_ADD_COUNTERS: Final = (
    f"INSERT INTO request_counters SELECT * FROM unnest($1::bytea[], $2::bytea[]"  # noqa: S608 - the names are ours
    f"{''.join(f', ${n + 3}::bigint[]' for n in range(len(COUNTED) + 1))}) AS new (tenant, resource, changed, {', '.join(COUNTED)}) "
    "ORDER BY tenant, resource ON CONFLICT (tenant, resource) DO UPDATE SET "
    f"{', '.join(f'{name} = request_counters.{name} + excluded.{name}' for name in COUNTED)}, changed = excluded.changed"
)
# Rows that somebody adds to just now stay, and nobody is waited for.
_DROP_COUNTERS: Final = """
DELETE FROM request_counters WHERE (tenant, resource) IN (
    SELECT tenant, resource FROM request_counters WHERE changed < $1 FOR UPDATE SKIP LOCKED
)
"""
_ADD_SIZES: Final = """
INSERT INTO request_sizes SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[])
ON CONFLICT (tenant, hour) DO UPDATE
SET bytes = request_sizes.bytes + excluded.bytes, number = request_sizes.number + excluded.number
"""

_KEEP_CAPTURES: Final = """
INSERT INTO request_captures (tenant, resource, request_id, at, data)
SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::bigint[], $5::text[]) AS new (tenant, resource, request_id, at, data)
WHERE NOT EXISTS (SELECT 1 FROM request_captures_gone gone WHERE gone.resource = new.resource AND gone.until >= new.at)
"""
_NEAREST_CAPTURE: Final = """
SELECT tenant, resource, request_id, at, data FROM request_captures
WHERE tenant = $1 AND resource = $2 AND request_id = $3 ORDER BY abs(at - $4), id LIMIT 1
"""
_FORGET_CAPTURES: Final = """
INSERT INTO request_captures_gone VALUES ($1, $2)
ON CONFLICT (resource) DO UPDATE SET until = greatest(request_captures_gone.until, excluded.until)
"""
_TRIM_CAPTURES: Final = """
DELETE FROM request_captures WHERE id IN (SELECT id FROM
    (SELECT id, sum(octet_length(data)) OVER (PARTITION BY tenant ORDER BY at DESC, id DESC) AS its,
            sum(octet_length(data)) OVER (ORDER BY at DESC, id DESC) AS whole FROM request_captures) sizes
    WHERE its > $1 OR whole > $2)
"""

_USED: Final = """
SELECT (SELECT coalesce(sum(bytes), 0) FROM request_sizes)::bigint
     + (SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0) FROM pg_inherits WHERE inhparent = $1::regclass)::bigint
"""


class PostgresRecords:
    """records.kept.KeptRecords"""

    def __init__(self, database_url: str, limits: Database, settings: Records, clock: Clock) -> None:
        self._url = make_url(database_url)
        self._limits = limits
        self._settings = settings
        self._clock = clock
        self._idle: dict[str, Any] = {}  # the connection for each use
        self._locks = {"write": asyncio.Lock(), "read": asyncio.Lock()}
        self._tables: set[str] | None = None  # that are known to be there; None: not even those without partitions
        self._closed = False

    async def append(self, records: Sequence[Row], totals: Sequence[Totals]) -> None:
        now = int(self._clock.now().timestamp() * 1e6) // HOUR
        totals = [one for one in totals if one.minute // HOUR >= now - self._settings.retention_hours]
        hours = {("request_records", now), ("request_records", now + 1)}
        hours |= {("request_totals", one.minute // HOUR) for one in totals}
        await self._make(hours)
        try:
            async with self._connected("write") as connection, connection.transaction():
                if totals:
                    await self._count(connection, totals, now)
                    await connection.execute(_PUT_TOTALS, *map(list, zip(*totals, strict=True)))
                if records:
                    await self._copy(connection, records)
        except StoreUnavailableError:
            self._tables = None  # another node may have dropped some
            raise

    async def _count(self, connection: Any, totals: Sequence[Totals], hour: int) -> None:
        """Add to the counters what these totals have more than the stored ones."""
        keys = [(one.resource, one.minute, one.route, one.part) for one in totals]
        minutes = [one.minute for one in totals]
        stored = await connection.fetch(_STORED_TOTALS, *map(list, zip(*keys, strict=True)), min(minutes), max(minutes))
        found = increases([Totals(*(row[name] for name in TOTALS_COLUMNS)) for row in stored], totals)
        if not found:
            return
        places = [[one.tenant for one in found], [one.resource for one in found]]
        own = {(row["tenant"], row["resource"]) for row in await connection.fetch(_WITH_COUNTERS, *places)}
        lacking = [one.tenant for one in found if (one.tenant, one.resource) not in own]
        taken: Counter[bytes] = Counter()
        if lacking:
            taken.update(
                {row["tenant"]: row["number"] for row in await connection.fetch(_NUMBER_OF_COUNTERS, lacking, OTHER)}
            )
        added: dict[tuple[bytes, bytes], list[int]] = {}
        for one in found:
            tenant, resource, *numbers = counters_row(one)
            if (tenant, resource) not in own:
                if taken[tenant] < self._settings.metrics_per_tenant:
                    taken[tenant] += 1
                else:
                    resource = OTHER
            before = added.get((tenant, resource), [0] * len(numbers))
            added[tenant, resource] = [was + more for was, more in zip(before, numbers, strict=True)]
        rows = [(*key, hour, *numbers) for key, numbers in added.items()]
        await connection.execute(_ADD_COUNTERS, *map(list, zip(*rows, strict=True)))

    async def _copy(self, connection: Any, records: Sequence[Row]) -> None:
        first = await self._take_ids(connection, len(records))
        hour = hour_of_id(first)
        if self._tables is not None and f"request_records_{hour}" not in self._tables:
            await _create(connection, {("request_records", hour)})  # our clock is behind another node's
        numbered = [(tenant, first + number, *rest) for tenant, number, *rest in records]
        await connection.copy_records_to_table("request_records", records=numbered, columns=RECORD_COLUMNS)
        sizes = sizes_of(records)
        await connection.execute(
            _ADD_SIZES,
            list(sizes),
            [hour] * len(sizes),
            [size for size, _ in sizes.values()],
            [number for _, number in sizes.values()],
        )

    async def find(
        self, where: RecordFilter, *, limit: int, before: int | None = None, after: int | None = None
    ) -> list[Record]:
        values: list[Any] = [where.tenant]

        def placed(value: Any) -> str:
            values.append(value)
            return f"${len(values)}"

        terms = ["tenant = $1", *conditions(where, placed, "strpos")]
        if before is not None:
            terms.append(f"id < {placed(before)}")
        if after is not None:
            terms.append(f"id > {placed(after)}")
        direction = "DESC" if after is None else "ASC"
        statement = (
            f"SELECT {_COLUMNS} FROM request_records WHERE {' AND '.join(terms)} "  # noqa: S608 - no text of a caller's
            f"ORDER BY id {direction} LIMIT {placed(min(limit, MAX_FOUND))}"
        )
        return [Record(*row) for row in await self._fetch(statement, values)]

    async def count(self, where: RecordFilter, *, after: int, before: int) -> int:
        values: list[Any] = [where.tenant, after, before]

        def placed(value: Any) -> str:
            values.append(value)
            return f"${len(values)}"

        terms = ["tenant = $1 AND id > $2 AND id < $3", *conditions(where, placed, "strpos")]
        rows = await self._fetch(f"SELECT count(*) FROM request_records WHERE {' AND '.join(terms)}", values)  # noqa: S608
        return int(rows[0][0]) if rows else 0

    async def newest(self) -> int:
        rows = await self._fetch("SELECT last FROM request_position", [])
        return int(rows[0][0]) if rows else 0

    async def totals(self, tenant: bytes, resource: bytes, since: int, until: int) -> list[Totals]:
        statement = (
            f"SELECT {', '.join(TOTALS_COLUMNS)} FROM request_totals "  # noqa: S608 - the names are ours
            "WHERE resource = $1 AND minute >= $2 AND minute < $3 AND tenant = $4"
        )
        return [Totals(*row) for row in await self._fetch(statement, [resource, since, until, tenant])]

    async def counters(self, tenant: bytes) -> list[Counters]:
        statement = f"SELECT tenant, resource, {', '.join(COUNTED)} FROM request_counters WHERE tenant = $1"  # noqa: S608
        return [read_counters(row) for row in await self._fetch(statement, [tenant])]

    async def keep(self, captures: Sequence[StoredCapture]) -> None:
        await self._make(set())
        async with self._connected("write") as connection:
            await connection.execute(_KEEP_CAPTURES, *map(list, zip(*captures, strict=True)))

    async def capture(self, tenant: bytes, resource: bytes, request_id: str, at: int) -> StoredCapture | None:
        rows = await self._fetch(_NEAREST_CAPTURE, [tenant, resource, request_id, at])
        return StoredCapture(*rows[0]) if rows else None

    async def forget(self, tenant: bytes, resource: bytes, now: int) -> None:
        await self._make(set())
        async with self._connected("write") as connection, connection.transaction():
            await connection.execute(_FORGET_CAPTURES, resource, now)
            await connection.execute(
                "DELETE FROM request_captures WHERE tenant = $1 AND resource = $2", tenant, resource
            )

    async def forget_tenant(self, tenant: bytes) -> None:
        await self._make(set())
        async with self._connected("write") as connection, connection.transaction():
            for table in ("records", "totals", "sizes", "counters", "captures"):
                await connection.execute(f"DELETE FROM request_{table} WHERE tenant = $1", tenant)  # noqa: S608 - our own names

    async def prune(self, now: int) -> None:
        settings = self._settings
        await self._make(set())
        async with self._connected("write") as connection, connection.transaction():
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK):
                return  # another node is at it
            oldest = now // HOUR - settings.retention_hours
            for kind, hour in await _partitions(connection):
                if hour < oldest:
                    await _drop(connection, kind, hour)
            self._tables = set()
            await connection.execute(_DROP_COUNTERS, oldest)
            before = now - settings.retention_hours * HOUR
            await connection.execute("DELETE FROM request_captures WHERE at < $1", before)
            await connection.execute("DELETE FROM request_captures_gone WHERE until < $1", before)
            await connection.execute(_TRIM_CAPTURES, settings.max_capture_bytes_per_tenant, settings.max_capture_bytes)
            excess = await connection.fetch(
                "SELECT tenant, sum(bytes)::bigint FROM request_sizes GROUP BY tenant HAVING sum(bytes) > $1",
                settings.max_bytes_per_tenant,
            )
            for tenant, size in excess:
                await _trim_tenant(connection, tenant, size - settings.max_bytes_per_tenant)
            await _trim_all(connection, settings.max_bytes)

    async def close(self) -> None:
        self._closed = True
        for connection in self._idle.values():
            connection.terminate()
        self._idle.clear()

    async def _take_ids(self, connection: Any, number: int) -> int:
        """The first of so many ids, all of one hour."""
        last = await connection.fetchval("SELECT last FROM request_position FOR UPDATE")
        first = max(last + 1, first_id(int(self._clock.now().timestamp() * 1e6)))
        if hour_of_id(first) != hour_of_id(first + number - 1):
            first = (hour_of_id(first) + 1) * IDS_PER_HOUR
        await connection.execute("UPDATE request_position SET last = $1", first + number - 1)
        return int(first)

    async def _make(self, hours: AbstractSet[tuple[str, int]]) -> None:
        """Make the tables of these kinds and hours that are missing, in a transaction of its own: it is over at once, so readers
        hardly wait."""
        names = {f"{kind}_{hour}" for kind, hour in hours}
        if self._tables is not None and names <= self._tables:
            return
        async with self._connected("write") as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            if self._tables is None:
                await connection.execute(_SCHEMA)
            await _create(connection, hours)
        self._tables = (self._tables or set()) | names

    async def _fetch(self, statement: str, values: Sequence[Any]) -> list[Any]:
        async with self._connected("read") as connection:
            try:
                found: list[Any] = await connection.fetch(statement, *values)
            except asyncpg.UndefinedTableError:  # nothing has been stored yet
                return []
            return found

    @asynccontextmanager
    async def _connected(self, use: str) -> AsyncIterator[Any]:
        """The connection for this use. Raises StoreUnavailableError."""
        with translated():
            async with asyncio.timeout(self._limits.lock_time):
                await self._locks[use].acquire()
            try:
                if self._closed:
                    raise StoreUnavailableError("the request records are closed")
                connection = self._idle.pop(use, None)
                if connection is None or connection.is_closed():
                    connection = await connect(self._url, self._limits)
                try:
                    yield connection
                except BaseException as error:
                    # Where the server has not said how the statement ended, the driver may still be cancelling it, and whoever had the
                    # connection next would get what becomes of that. One that is closed can't be asked for its transaction.
                    said = isinstance(error, asyncpg.PostgresError)
                    if not said or connection.is_closed() or connection.is_in_transaction():
                        connection.terminate()
                    raise
                finally:
                    self._put_back(use, connection)
            finally:
                self._locks[use].release()

    def _put_back(self, use: str, connection: Any) -> None:
        if self._closed:
            connection.terminate()
        elif not connection.is_closed():
            self._idle[use] = connection


async def _create(connection: Any, hours: AbstractSet[tuple[str, int]]) -> None:
    for kind, hour in sorted(hours):
        unit = _KINDS[kind]
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {kind}_{hour} PARTITION OF {kind} "
            f"FOR VALUES FROM ({hour * unit}) TO ({(hour + 1) * unit})"
        )


async def _partitions(connection: Any) -> list[tuple[str, int]]:
    """Which kind of table there is for which hour, the oldest first."""
    rows = await connection.fetch(
        "SELECT parent.relname, child.relname FROM pg_inherits JOIN pg_class parent ON parent.oid = inhparent "
        "JOIN pg_class child ON child.oid = inhrelid WHERE inhparent IN ($1::regclass, $2::regclass)",
        *_KINDS,
    )
    return sorted(((kind, int(name.rpartition("_")[2])) for kind, name in rows), key=lambda found: found[1])


async def _drop(connection: Any, kind: str, hour: int) -> None:
    await connection.execute(f"DROP TABLE IF EXISTS {kind}_{hour}")
    if kind == "request_records":
        await connection.execute("DELETE FROM request_sizes WHERE hour = $1", hour)


async def _trim_tenant(connection: Any, tenant: bytes, excess: int) -> None:
    """Delete a tenant's oldest records, of so many bytes."""
    rows = await connection.fetch(
        "SELECT hour, bytes, number FROM request_sizes WHERE tenant = $1 ORDER BY hour", tenant
    )
    for hour, size, number in rows:
        if excess <= 0:
            return
        part = min(number, -(-number * excess // max(1, size)))
        removed = size * part // max(1, number)
        span = (tenant, hour * IDS_PER_HOUR, (hour + 1) * IDS_PER_HOUR)
        last = await connection.fetchval(
            "SELECT id FROM request_records WHERE tenant = $1 AND id >= $2 AND id < $3 ORDER BY id LIMIT 1 OFFSET $4",
            *span,
            max(0, part - 1),
        )
        if last is not None:
            await connection.execute(
                "DELETE FROM request_records WHERE tenant = $1 AND id >= $2 AND id <= $3", tenant, span[1], last
            )
        await connection.execute(
            "UPDATE request_sizes SET bytes = bytes - $3, number = number - $4 WHERE tenant = $1 AND hour = $2",
            tenant,
            hour,
            removed,
            part,
        )
        excess -= removed


async def _trim_all(connection: Any, max_bytes: int) -> None:
    """Delete the oldest hours while all of them have more than they may; of the last one the older half of each tenant's
    records. What is deleted row by row is free once it is vacuumed, so records are counted by their sizes."""
    while await connection.fetchval(_USED, "request_totals") > max_bytes:
        hours = [row[0] for row in await connection.fetch("SELECT DISTINCT hour FROM request_sizes ORDER BY hour")]
        if len(hours) > 1:
            for kind, hour in await _partitions(connection):
                if hour <= hours[0]:
                    await _drop(connection, kind, hour)
            continue
        for tenant, size in await connection.fetch("SELECT tenant, bytes FROM request_sizes"):
            await _trim_tenant(connection, tenant, size // 2)
        return
