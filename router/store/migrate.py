"""Bring a database to the schema of this version. Safe when several processes do it at once: one does the work.

Alembic runs the migrations. Whether any are missing is found without it: every process of a node checks that when it
starts, and Alembic takes 6 MB of memory.
"""

import asyncio
import re
import time
from functools import lru_cache
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL

from router.errors import StoreRefusedError, StoreUnavailableError
from router.settings import Database
from router.store.engine import parsed
from router.store.failures import translated
from router.store.locks import lock_outbox
from router.store.sqlite import sqlite_engine

# Long timeouts: a migration may take minutes, and so may the wait for another process's.
_PATIENT = Database(connections=1, statement_time=3600.0, lock_time=60.0)
_RETRY = 0.02  # seconds between tries to switch the journal

_MIGRATIONS = Path(__file__).parent / "migrations"
_STEP = re.compile(r"v(\d{4})_\w+\.py")
_VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))  # Alembic's own table


async def migrate(
    database_url: str, *, lock_time: float = _PATIENT.lock_time, to: str | None = None
) -> tuple[str | None, str]:
    """Run the missing migrations in one transaction; the revision before and after.

    A database that a newer version has migrated further is left as it is. Another process's lock is waited for so many
    seconds. `to` is the last revision to go to, where it is not the newest. Raises StoreUnavailableError.
    """
    url = parsed(database_url, create=True)
    with translated():
        if url.get_backend_name() == "sqlite":
            return await asyncio.to_thread(_migrate_file, url, lock_time, to)
        from router.store.postgres import PostgresEngine  # noqa: PLC0415 - as in engine.py

        engine = PostgresEngine(url, _PATIENT.model_copy(update={"lock_time": lock_time}), reading=False)
        try:
            async with engine.begin() as connection:
                await lock_outbox(connection)
                return await connection.run_sync(_upgrade, to)
        finally:
            await engine.dispose()


def _migrate_file(url: URL, lock_time: float, to: str | None) -> tuple[str | None, str]:
    engine = sqlite_engine(url, lock_time, reading=False)
    _use_wal(engine, lock_time)
    with engine.connect() as connection:  # where nothing is missing another process's lock is nothing to wait for
        before = _current(connection)
    if before == _revisions()[-1]:
        return before, before
    # The lock is taken before the revision is read, so that a process that waited sees what the other has done.
    with engine.begin() as connection:
        return _upgrade(connection, to)


def check(connection: sa.Connection) -> None:
    """Raise StoreRefusedError where the schema is older than this version needs."""
    current, known = revisions(connection)
    # A revision that we do not know is from a newer version: it keeps what we need until the fleet has followed.
    if current is None or (current in known and current != known[-1]):
        raise StoreRefusedError(
            f"the database is at revision {current or 'none'}, this version needs {known[-1]}: run `miosa-router db upgrade`"
        )


def revisions(connection: sa.Connection) -> tuple[str | None, tuple[str, ...]]:
    """The database's revision, None where it has none, and those of this version in their order."""
    return _current(connection), _revisions()


def known_revisions() -> tuple[str, ...]:
    """Those of this version, in their order."""
    return _revisions()


@lru_cache(maxsize=1)
def _revisions() -> tuple[str, ...]:
    """Those of this version, in their order: the numbers in the names of their files."""
    names = (_STEP.fullmatch(file.name) for file in (_MIGRATIONS / "versions").iterdir())
    return tuple(sorted(name[1] for name in names if name is not None))


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    revision: str | None = connection.scalar(sa.select(_VERSION.c.version_num))
    return revision


def _upgrade(connection: sa.Connection, to: str | None = None) -> tuple[str | None, str]:
    before, known = _current(connection), _revisions()
    if before is None or (before in known[:-1] and (to is None or before < to)):
        _take_steps(connection, to or "head")
    after = _current(connection)
    if after is None:
        raise RuntimeError("the migrations left no revision")
    return before, after


def _take_steps(connection: sa.Connection, to: str) -> None:
    from alembic import command  # noqa: PLC0415 - see the module
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _use_wal(engine: sa.Engine, lock_time: float) -> None:
    """Switch the file to a write-ahead log, which stays. Two that switch at once are refused without waiting."""
    deadline = time.monotonic() + lock_time
    while True:
        connection = engine.raw_connection()
        try:
            (mode,) = connection.cursor().execute("PRAGMA journal_mode = WAL").fetchone()
        except engine.dialect.loaded_dbapi.OperationalError as error:
            if time.monotonic() > deadline:
                raise StoreUnavailableError(f"{engine.url.database}: {error}") from error
            time.sleep(_RETRY)
            continue
        except engine.dialect.loaded_dbapi.DatabaseError as error:
            raise StoreRefusedError(f"{engine.url.database}: {error}") from error
        finally:
            connection.close()
        if mode != "wal":
            raise StoreRefusedError(f"the database file can't have a write-ahead log (it has {mode!r})")
        return
