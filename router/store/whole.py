"""A whole database, read as of one instant or filled in one transaction, table by table and in bounded memory.

    async with read_whole(url) as source: await source.run(lambda: …)     one snapshot: what is written meanwhile is not in it
    async with fill_whole(url) as empty: await empty.run(lambda: …)       all of it or, where anything fails, nothing

What `run` is given uses the database's methods; it holds up the event loop, so this is for commands, not for nodes.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from router.errors import StoreRefusedError, StoreUnavailableError
from router.settings import Database
from router.store.engine import parsed
from router.store.failures import translated
from router.store.journal_tables import leases
from router.store.leases import PRESENT
from router.store.locks import lock_outbox
from router.store.migrate import revisions
from router.store.postgres import PostgresEngine
from router.store.shapes import Shape, Sum, read_shapes
from router.store.sqlite import sqlite_engine
from router.store.types import DatabaseTime

T = TypeVar("T")
Progress = Callable[[str, int, int], object]
"""Called with a table, how many of its rows are done, and how many there are."""

BATCH = 1000  # rows that are in memory at once
_PATIENT = Database(connections=1, statement_time=3600.0, lock_time=60.0)


class Whole:
    """See the module. Methods raise what the driver does; `run` maps that to StoreUnavailableError."""

    def __init__(self, connection: sa.Connection, asynchronous: AsyncConnection | None) -> None:
        self.connection = connection
        self._asynchronous = asynchronous

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns. Raises StoreUnavailableError."""
        with translated():
            if self._asynchronous is None:
                return work()
            return await self._asynchronous.run_sync(lambda _: work())

    @property
    def is_sqlite(self) -> bool:
        return self.connection.dialect.name == "sqlite"

    def revision(self) -> tuple[str | None, Sequence[str]]:
        """Its revision, None where it has none, and those that this version knows."""
        return revisions(self.connection)

    def shapes(self) -> Sequence[Shape]:
        """Its tables, what others refer to first."""
        return read_shapes(self.connection)

    def in_use(self) -> int:
        """How many processes of nodes use it now."""
        now = DatabaseTime()
        present = (leases.c.name.startswith(PRESENT), leases.c.expires_at > now)
        return self.connection.scalar(sa.select(sa.func.count()).select_from(leases).where(*present)) or 0

    def filled(self, shapes: Iterable[Shape]) -> str | None:
        """A table that has rows; None where all are empty."""
        for shape in shapes:
            if self.connection.scalar(sa.select(sa.literal(1)).select_from(shape.table()).limit(1)) is not None:
                return shape.name
        return None

    def lines(self, shape: Shape, progress: Progress | None = None) -> Iterator[str]:
        """The table's rows as lines of JSON."""
        table = shape.table()
        total = self.connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
        done = 0
        result = self.connection.execute(sa.select(*table.columns), execution_options={"yield_per": BATCH})
        for rows in result.partitions():
            for row in rows:
                yield shape.line(row)
            done += len(rows)
            if progress is not None:
                progress(shape.name, done, total)

    def sums(self, shape: Shape) -> Sum:
        """Its rows, and the sum over them."""
        found = Sum()
        for line in self.lines(shape):
            found.add(line)
        return found

    def fill(self, shape: Shape, lines: Iterable[str]) -> Sum:
        """Insert the rows of these lines. Raises ValueError where one can't be read."""
        insert = sa.insert(shape.table())
        found, batch = Sum(), list[dict[str, object]]()
        for line in lines:
            found.add(line)
            batch.append(shape.row(line))
            if len(batch) == BATCH:
                self._insert(shape, insert, batch)
                batch = []
        if batch:
            self._insert(shape, insert, batch)
        return found

    def numbers(self, shapes: Iterable[Shape]) -> dict[str, int]:
        """The highest number that each table that is numbered has given to a row, also to one that is gone."""
        found: dict[str, int] = {}
        for shape in shapes:
            if shape.numbered is None:
                continue
            table = shape.table()
            highest = self.connection.scalar(sa.select(sa.func.max(table.c[shape.numbered]))) or 0
            if self.is_sqlite:
                given = self.connection.scalar(
                    sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": shape.name}
                )
            else:
                sequence = self._sequence(shape)
                row = None if sequence is None else self.connection.execute(sa.text(sequence)).one()
                given = None if row is None or not row.is_called else row.last_value
            found[shape.name] = max(highest, given or 0)
        return found

    def set_number(self, shape: Shape, number: int) -> None:
        """The next row of this table that the database numbers gets a higher number than this."""
        if self.is_sqlite:
            self.connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": shape.name})
            self.connection.execute(
                sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :number)"),
                {"name": shape.name, "number": number},
            )
        elif number and self._sequence(shape) is not None:
            setval = "SELECT setval(pg_get_serial_sequence(:name, :column), :number)"
            self.connection.execute(sa.text(setval), {"name": shape.name, "column": shape.numbered, "number": number})

    def _sequence(self, shape: Shape) -> str | None:
        """The statement that reads the sequence that numbers the table's rows."""
        name = self.connection.scalar(
            sa.text("SELECT pg_get_serial_sequence(:name, :column)"), {"name": shape.name, "column": shape.numbered}
        )
        return None if name is None else f"SELECT last_value, is_called FROM {name}"  # noqa: S608 - PostgreSQL's own word

    def _insert(self, shape: Shape, insert: sa.Insert, rows: list[dict[str, object]]) -> None:
        try:
            self.connection.execute(insert, rows)
        except sa.exc.DBAPIError as error:
            raise StoreRefusedError(f"a row of {shape.name} can't be stored there: {error.orig}") from error


@asynccontextmanager
async def read_whole(database_url: str) -> AsyncIterator[Whole]:
    """The database as of one instant. Raises StoreUnavailableError, StoreRefusedError where there is none."""
    url = parsed(database_url, create=False)
    if url.get_backend_name() == "sqlite":
        engine = sqlite_engine(url, _PATIENT.lock_time, reading=True)
        with translated(), engine.connect() as connection:
            yield Whole(connection, None)
        return
    reading = PostgresEngine(url, _PATIENT, reading=True)
    try:
        with translated():
            async with reading.connect() as asynchronous:
                yield Whole(_synchronous(asynchronous), asynchronous)
    finally:
        await reading.dispose()


@asynccontextmanager
async def fill_whole(database_url: str) -> AsyncIterator[Whole]:
    """The database in one transaction that is committed when the block ends, and undone when it raises. No node can change
    what routes meanwhile."""
    url = parsed(database_url, create=False)
    if url.get_backend_name() == "sqlite":
        engine = sqlite_engine(url, _PATIENT.lock_time, reading=False)
        with translated(), engine.begin() as connection:
            yield Whole(connection, None)
        return
    writing = PostgresEngine(url, _PATIENT, reading=False)
    try:
        with translated():
            async with writing.begin() as asynchronous:
                await lock_outbox(asynchronous)
                yield Whole(_synchronous(asynchronous), asynchronous)
    finally:
        await writing.dispose()


def _synchronous(connection: AsyncConnection) -> sa.Connection:
    found = connection.sync_connection
    if found is None:
        raise StoreUnavailableError("the connection was closed")
    return found
