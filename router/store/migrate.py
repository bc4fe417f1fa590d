"""Bring a database to the schema of this version. Safe when several processes do it at once: one does the work."""

import asyncio
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from router.errors import StoreUnavailableError
from router.store.engine import driver_url, probe, take_turn, translated

_WAIT = 60.0  # seconds for another process that migrates
_RETRY = 0.02  # seconds between tries to switch the journal


async def migrate(database_url: str) -> tuple[str | None, str]:
    """Run the missing migrations in one transaction; the revision before and after.

    A database that a newer version has migrated further is left as it is. Raises StoreUnavailableError.
    """
    url = driver_url(database_url)
    probe(url, create=True)
    is_sqlite = url.get_backend_name() == "sqlite"
    options = {"timeout": _WAIT, "isolation_level": None} if is_sqlite else {"timeout": _WAIT}
    engine = create_async_engine(url, poolclass=NullPool, connect_args=options)
    try:
        with translated():
            if is_sqlite:
                async with engine.connect() as connection:
                    await _use_wal(connection)
            async with engine.connect() as connection:
                if is_sqlite:
                    # Taken before the first look, so that whoever waits here sees what the other has done.
                    await connection.exec_driver_sql("BEGIN IMMEDIATE")
                else:
                    await take_turn(connection)
                revisions = await connection.run_sync(_upgrade)
                await connection.commit()
                return revisions
    finally:
        await engine.dispose()


async def check(connection: AsyncConnection) -> None:
    """Raise StoreUnavailableError where the schema is older than this version needs."""
    current = await connection.run_sync(_current)
    head, known = _script().get_current_head(), {item.revision for item in _script().walk_revisions()}
    # A revision that we do not know is from a newer version: it keeps what we need until the fleet has followed.
    if current is None or (current in known and current != head):
        raise StoreUnavailableError(
            f"the database is at revision {current or 'none'}, this version needs {head}: run `miosa-router db upgrade`"
        )


def _config(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _script() -> ScriptDirectory:
    return ScriptDirectory(str(Path(__file__).parent / "migrations"))


def _current(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: sa.Connection) -> tuple[str | None, str]:
    before = _current(connection)
    known = {item.revision for item in _script().walk_revisions()}
    if before is None or before in known:
        command.upgrade(_config(connection), "head")
    after = _current(connection)
    if after is None:
        raise RuntimeError("the migrations left no revision")
    return before, after


async def _use_wal(connection: AsyncConnection) -> None:
    """Switch the file to a write-ahead log, which stays. Two that switch at once are refused without waiting."""
    deadline = asyncio.get_running_loop().time() + _WAIT
    while True:
        try:
            mode = (await connection.exec_driver_sql("PRAGMA journal_mode = WAL")).scalar_one()
        except sa.exc.OperationalError:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(_RETRY)
            continue
        if mode != "wal":
            raise StoreUnavailableError(f"the database file can't have a write-ahead log (it has {mode!r})")
        return
