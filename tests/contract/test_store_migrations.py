"""A database is migrated to this version's schema, by any number of processes, any number of times."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.settings import Database
from router.store import Store, migrate
from router.store.engine import parsed, reading_engine
from router.store.schema import metadata
from tests.support.database import execute, on_sqlite, rows
from tests.support.postgres import Postgres

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a database that was never migrated: a file that isn't there yet, or a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = await server.create(migrated=False)
    yield url
    await server.drop(url)


async def test_an_empty_database_becomes_a_store(empty: str) -> None:
    """The first run says what it did, the second that there was nothing to do; then the store opens."""
    before, head = await migrate(empty)
    assert before is None
    assert await migrate(empty) == (head, head)
    await (await Store.open(empty, clock=ManualClock())).close()


async def test_several_at_once(empty: str) -> None:
    """Of several that migrate a new database at the same time one does the work, and all succeed."""
    results = await asyncio.gather(*(migrate(empty) for _ in range(6)))
    (head,) = {after for _, after in results}
    assert sorted(before or "" for before, _ in results) == ["", *[head] * 5]


@on_sqlite
async def test_the_journal_is_a_write_ahead_log(database: str) -> None:
    """Readers and the writer don't block each other; that is a property of the file, set once."""
    connection = sqlite3.connect(database.removeprefix("sqlite:///"))
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


async def test_migrations_make_what_the_tables_say(database: str) -> None:
    """The migrated schema and the metadata that the code works with are the same."""

    def compare(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    engine = reading_engine(parsed(database, create=False), Database())
    assert await engine.run(compare) == []
    await engine.dispose()


async def test_a_store_that_was_never_migrated_does_not_open(empty: str) -> None:
    """It says what to run instead of failing at the first request."""
    with pytest.raises(StoreUnavailableError, match="db upgrade"):
        await Store.open(empty, clock=ManualClock())


async def test_a_newer_schema_is_left_alone(database: str) -> None:
    """While a fleet is upgraded, older processes go on with a schema that they don't know yet."""
    await execute(database, "UPDATE alembic_version SET version_num = '9999'")
    assert await migrate(database) == ("9999", "9999")
    await (await Store.open(database, clock=ManualClock())).close()


async def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    """An outage of the store, in its own words."""
    with pytest.raises(StoreUnavailableError, match="unable to open"):
        await migrate(f"sqlite:///{tmp_path / 'nowhere' / 'new.db'}")


async def test_names_that_there_are_get_reversed(empty: str) -> None:
    """An older version's names are found by their end at once."""
    await migrate(empty, to="0035")
    at = "'2026-01-01 00:00:00.000000'" + ("" if empty.startswith("sqlite") else "::timestamptz")
    await execute(
        empty,
        "INSERT INTO tenants (id, slug, name, plan, auto_expose, branding, suspended, created_at, updated_at) "  # noqa: S608
        f"VALUES ('a', 'acme', 'Acme', 'free', false, '{{}}', false, {at}, {at})",
        "INSERT INTO zones (domain, tenant_id) VALUES ('shop.example.com', 'a')",
        f"INSERT INTO released_zones (domain, tenant_id, released_at) VALUES ('example.net', 'a', {at})",  # noqa: S608
    )
    await migrate(empty)
    assert await rows(empty, "SELECT reversed_name FROM zones") == [("moc.elpmaxe.pohs",)]
    assert await rows(empty, "SELECT reversed_name FROM released_zones") == [("ten.elpmaxe",)]
