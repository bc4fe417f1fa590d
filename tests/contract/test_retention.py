"""No table grows for ever: each has an entry that says why, or how long its rows stay, and the job `prune` keeps to it."""

import re

import pytest
import sqlalchemy as sa

from router.base.clock import ClockWatch, ManualClock
from router.base.leases import Lease
from router.errors import StoreUnavailableError
from router.settings import Settings
from router.store import Pruning, Store, periods
from router.store.request_records_postgres import _SCHEMA as REQUEST_TABLES
from router.store.retention import PRUNED, RETENTION, Pruned
from router.store.schema import metadata
from tests.support.database import on_sqlite, prune, rows
from tests.support.world import World

pytestmark = pytest.mark.asyncio


async def test_every_table_has_its_entry(store: Store) -> None:
    """A new table says how long its rows stay, in `store/retention.py`; what is gone from the schema is gone from there."""
    async with store.read() as tx:
        if tx._connection.dialect.name == "sqlite":
            names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        else:
            names = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        there = set(await tx._connection.scalars(sa.text(names)))
    there |= set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", REQUEST_TABLES))
    assert there == set(RETENTION)
    assert set(metadata.tables) <= there


@on_sqlite
async def test_what_refers_to_a_row_goes_before_it(store: Store) -> None:
    """Every table with a foreign key to a pruned one is pruned before it or beside it, or keeps the row: no run fails on it."""
    order = {one.table.name: number for number, one in enumerate(PRUNED)}
    for table in metadata.tables.values():
        for key in table.foreign_keys:
            target = RETENTION[key.column.table.name]
            if not isinstance(target, Pruned) or key.ondelete == "CASCADE":
                continue
            beside = {column.table.name for column in target.beside}
            kept = f"{table.name}.{key.parent.name}" in str(target.old(ManualClock().now()).compile())
            assert table.name in beside or kept or order.get(table.name, 99) < order[target.table.name], key


async def test_deleted_resources_go_with_all_that_was_theirs(
    world: World, store: Store, database: str, clock: ManualClock
) -> None:
    """Once usage, domains and slugs no longer refer to them, so do the project and the workspace; those that live stay."""
    tenant = await world.tenant()
    workspace = await world.workspace(tenant, "Gone")
    project = await world.project(workspace, "Site")
    gone = await world.sandbox(tenant, "gone", project_id=project.id)
    stays = await world.sandbox(tenant, "stays")
    await world.resources.delete(gone.id)
    await world.projects.delete(project.id)
    await world.workspaces.delete(workspace.id)
    clock.advance(91 * 86400)
    assert "resources" not in await prune(store, clock)
    clock.advance(400 * 86400)
    gone_then = await prune(store, clock)
    assert {"usage_intervals", "resources", "projects", "workspaces"} <= gone_then.keys()
    assert await rows(database, "SELECT id FROM resources") == [(stays.id,)]
    assert await rows(database, "SELECT resource_id FROM endpoints") == [(stays.id,)]


async def test_a_run_goes_on_where_the_last_one_stopped(
    world: World, store: Store, database: str, clock: ManualClock
) -> None:
    """What is done stays done when the time is up or the lease is lost; several transactions, none larger than a step."""
    await world.tenant()
    for number in range(7):
        await store.idempotency.claim("key:1", str(number), "f", clock.now())
    clock.advance(2 * 86400)
    guard = store.guard(ClockWatch(clock), share=1)
    pruning = Pruning(store, clock, guard, periods(Settings(database_url="sqlite:///x.db"), attempts_kept=1.0), step=2)
    with pytest.raises(StoreUnavailableError, match="lease"):
        await pruning.run(Lease("prune", "nobody", 1))
    assert await pruning.run(within=0) == {}
    assert await rows(database, "SELECT count(*) FROM idempotency") == [(7,)]
    assert (await pruning.run())["idempotency"] == 7
    assert await rows(database, "SELECT count(*) FROM idempotency") == [(0,)]
