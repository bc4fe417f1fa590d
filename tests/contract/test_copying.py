"""A store that is copied to another database, of the other kind or the same, is the same there, to the last value."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
import sqlalchemy as sa

from router.backup.copying import copy_store
from router.backup.errors import BackupError
from router.base.clock import ManualClock
from router.base.ids import new_id
from router.errors import StoreUnavailableError
from router.store import Store
from router.store.journal_tables import idempotency
from router.store.tables import workspaces
from router.tenancy.tenants import Tenant
from tests.support.database import Databases, execute, on_both, on_sqlite, rows
from tests.support.world import World

pytestmark = pytest.mark.asyncio


def quiet(_table: str, _done: int, _total: int) -> None:
    pass


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def other(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[str]:
    """Another database, with nothing in it."""
    async with databases.new(request.param) as url:
        yield url


async def lived_in(world: World, store: Store) -> Tenant:
    """Rows of many tables, with values that the two databases keep each in its way."""
    tenant = await world.tenant("Ärzte & Söhne")
    sandbox = await world.sandbox(tenant, "shop")
    await world.domain(sandbox, "shop.example.org")
    await world.domains.remove((await world.domain(sandbox, "old.example.org")).id)
    await world.resources.delete((await world.sandbox(tenant, "gone")).id)
    await world.ports.put(sandbox.id, 3000)
    at = datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    tricky = {"big": 1e22, "small": 1e-7, "whole": 100.0, "n": 2**60, "text": "\u2028 \U0001f600 \"'", "none": None}
    async with store.begin() as tx:
        row = {"id": new_id(), "tenant_id": tenant.id, "name": "x", "slug": "x", "is_default": False, "settings": {}}
        await tx._connection.execute(
            sa.insert(workspaces).values(
                **row, metadata={"z": [tricky, [], {}], "a": 0.1}, created_at=at, updated_at=at
            )
        )
        answered = {"owner": "key:1", "key": "k", "fingerprint": "f", "token": "t", "claimed_at": at}
        await tx._connection.execute(sa.insert(idempotency).values(**answered, status=200, body=bytes(range(256))))
    return tenant


@on_both
async def test_a_copy_is_the_same(world: World, store: Store, database: str, other: str, clock: ManualClock) -> None:
    """There and back again, with the same counts and sums; and services find there what they had stored."""
    tenant = await lived_in(world, store)
    there = await copy_store(database, other, live=False, progress=quiet)
    assert {one.table: one.rows for one in there}["custom_domains"] == 2
    copied = await Store.open(other, clock=clock)
    async with copied.read() as tx:
        assert await tx.tenants.get(tenant.id) == tenant
    newest = await copied.feed.newest()
    assert newest == await store.feed.newest()
    await World(copied, clock).sandbox(tenant, "later")
    assert await copied.feed.newest() > newest  # the database's own numbers go on from there
    await copied.close()


@on_sqlite
async def test_what_is_refused(world: World, store: Store, database: str, other: str, databases: Databases) -> None:
    """A destination with rows, a source in use, a source of an older schema, the same database: nothing is changed."""
    await lived_in(world, store)
    await store.leases.present("node/1", 60.0)
    with pytest.raises(BackupError, match="running nodes use the source") as refused:
        await copy_store(database, other, live=False, progress=quiet)
    assert refused.value.code == "source_in_use"
    await copy_store(database, other, live=True, progress=quiet)
    before = await rows(other, "SELECT id FROM resources ORDER BY id")
    with pytest.raises(BackupError, match="not empty") as refused:
        await copy_store(database, other, live=True, progress=quiet)
    with pytest.raises(BackupError, match="same database"):
        await copy_store(database, database, live=True, progress=quiet)
    await execute(database, "UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(BackupError, match="db upgrade"):
        await copy_store(database, other, live=True, progress=quiet)
    await execute(database, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(BackupError, match="version that made it"):
        await copy_store(database, other, live=True, progress=quiet)
    assert await rows(other, "SELECT id FROM resources ORDER BY id") == before


@on_sqlite
@pytest.mark.parametrize("other", ["postgresql"], indirect=True)
async def test_a_copy_that_fails_leaves_nothing(world: World, store: Store, database: str, other: str) -> None:
    """What PostgreSQL can't store is named by its table; the destination is empty, and can be copied to again."""
    await lived_in(world, store)
    await execute(database, "UPDATE workspaces SET name = 'a' || char(0) || 'b' WHERE slug = 'x'")
    with pytest.raises(StoreUnavailableError, match="a row of workspaces can't be stored"):
        await copy_store(database, other, live=True, progress=quiet)
    assert await rows(other, "SELECT count(*) FROM tenants") == [(0,)]
    await execute(database, "UPDATE workspaces SET name = 'ab' WHERE slug = 'x'")
    assert json.dumps([one.table for one in await copy_store(database, other, live=True, progress=quiet)])
