"""A database comes to this version's schema, whoever migrates it and how often."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine

from router.clock import ManualClock
from router.errors import StoreUnavailableError
from router.store import Store, deployment_tables, journal_tables, migrate, tables
from router.store.engine import driver_url

pytestmark = pytest.mark.asyncio


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """The first run says what it did, the second that there was nothing to do; then the store opens."""
    url = f"sqlite:///{tmp_path / 'new.db'}"
    before, head = await migrate(url)
    assert before is None
    assert await migrate(url) == (head, head)
    await (await Store.open(url, clock=ManualClock())).close()


async def test_several_at_once(tmp_path: Path) -> None:
    """Of several that migrate a new file at the same time one does the work, and all succeed."""
    url = f"sqlite:///{tmp_path / 'new.db'}"
    results = await asyncio.gather(*(migrate(url) for _ in range(6)))
    (head,) = {after for _, after in results}
    assert sorted(before or "" for before, _ in results) == ["", *[head] * 5]


async def test_the_journal_is_a_write_ahead_log(database: str) -> None:
    """Readers and the writer don't block each other; that is a property of the file, set once."""
    connection = sqlite3.connect(database.removeprefix("sqlite:///"))
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


async def test_migrations_make_what_the_tables_say(database: str) -> None:
    """The migrated schema and the metadata that the code works with are the same."""
    assert deployment_tables.metadata is journal_tables.metadata is tables.metadata

    def compare(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, tables.metadata))

    engine = create_engine(database)
    with engine.connect() as connection:
        assert compare(connection) == []
    engine.dispose()


async def test_a_store_that_was_never_migrated_does_not_open(tmp_path: Path) -> None:
    """It says what to run instead of failing at the first request."""
    with pytest.raises(StoreUnavailableError, match="db upgrade"):
        await Store.open(f"sqlite:///{tmp_path / 'new.db'}", clock=ManualClock())


async def test_a_newer_schema_is_left_alone(database: str) -> None:
    """While a fleet is upgraded, older processes go on with a schema that they don't know yet."""
    connection = sqlite3.connect(database.removeprefix("sqlite:///"))
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    assert await migrate(database) == ("9999", "9999")
    await (await Store.open(database, clock=ManualClock())).close()


async def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    """An outage of the store, in its own words."""
    with pytest.raises(StoreUnavailableError, match="unable to open"):
        await migrate(f"sqlite:///{tmp_path / 'nowhere' / 'new.db'}")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("sqlite:///router.db", "sqlite+aiosqlite:///router.db"),
        ("sqlite:////var/lib/router.db", "sqlite+aiosqlite:////var/lib/router.db"),
        ("postgresql://me:secret@db:5432/router", "postgresql+asyncpg://me:secret@db:5432/router"),
        ("postgresql://db/router?sslmode=require", "postgresql+asyncpg://db/router?ssl=require"),
    ],
)
async def test_urls_name_no_driver(given: str, used: str) -> None:
    """The setting says which database; which driver reads it is our business."""
    assert driver_url(given).render_as_string(hide_password=False) == used
