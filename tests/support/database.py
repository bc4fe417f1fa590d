"""A database past our own code: what it holds, and how to break it."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from router.base.clock import Clock, ClockWatch
from router.settings import Database, Settings
from router.store import Pruning, Store, migrate, periods
from router.store.engine import parsed, writing_engine
from tests.support.postgres import Postgres


async def rows(database: str, select: str) -> list[tuple[Any, ...]]:
    """What `select` finds."""
    engine = writing_engine(parsed(database, create=False), Database())
    async with engine.connect() as connection:
        found = (await connection.execute(sa.text(select))).all()
    await engine.dispose()
    return [tuple(row) for row in found]


async def prune(
    store: Store, clock: Clock, watch: ClockWatch | None = None, *, share: float = 1, step: int = 500, **settings: float
) -> Mapping[str, int]:
    """One run of the job `prune` with these settings: how many rows of each table it was."""
    guard = store.guard(ClockWatch(clock) if watch is None else watch, share=share)
    chosen = Settings(database_url="sqlite:///unused.db", **settings)
    return await Pruning(store, clock, guard, periods(chosen, attempts_kept=86400.0), step=step).run()


_SPOILED: set[str] = set()


def spoil(database: str) -> None:
    """Say that nobody else can use this database: its schema is not what it was, or there is too much in it."""
    _SPOILED.add(database)


async def execute(database: str, *statements: str) -> None:
    """Run the statements in one transaction. They may do anything to the database."""
    spoil(database)
    engine = writing_engine(parsed(database, create=False), Database())
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(sa.text(statement))
    await engine.dispose()


# For a test that is about a file, or about a server, or about both where its neighbours take only one.
on_both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@cache
def _template() -> bytes:
    """An SQLite file of this version's schema with nothing in it."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        path = Path(folder) / "migrated.db"
        thread.submit(asyncio.run, migrate(f"sqlite:///{path}")).result()  # this thread's event loop may be running
        return path.read_bytes()


def migrated_file(path: Path) -> None:
    """Write an empty database of this version's schema to `path`, unless there is a file."""
    if not path.exists():
        path.write_bytes(_template())


class Databases:
    """Fresh databases of this version's schema, on SQLite and on PostgreSQL: each is migrated once and copied."""

    def __init__(self, folder: Path, server: Callable[[], Postgres]) -> None:
        self._folder = folder
        self._server = server
        self._made = 0

    @asynccontextmanager
    async def new(self, kind: str) -> AsyncIterator[str]:
        """The URL of a database that nobody else uses; `kind` is `sqlite` or `postgresql`."""
        if kind == "postgresql":
            server = self._server()
            url = await server.create()
            yield url
            await (server.drop(url) if url in _SPOILED else server.take_back(url))
            return
        self._made += 1
        path = self._folder / f"{self._made}.db"
        migrated_file(path)
        yield f"sqlite:///{path}"
        for left in self._folder.glob(f"{path.name}*"):
            left.unlink()
