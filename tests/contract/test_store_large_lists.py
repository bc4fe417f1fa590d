"""A tenant with very many resources and domains: its lists are read by index, in the order of the list, and nothing is counted."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa

from router.base.clock import ManualClock
from router.base.paging import Window
from router.domains.custom import DomainFilter
from router.routes.records import Kind
from router.settings import Database
from router.store import Store
from router.store.engine import parsed, writing_engine
from router.tenancy.resources import ResourceFilter
from tests.support.crowd import Crowd
from tests.support.database import execute, spoil

pytestmark = pytest.mark.asyncio

CROWD = Crowd(tenants=10, resources=20_000, domains=20_000)
TENANT, WORKSPACE = CROWD.tenant_id(0), CROWD.workspace_id(0)
# No two were made at the same moment.
_SQLITE = "strftime('%Y-%m-%d %H:%M:%f000', created_at, '-' || abs(random() % 10000000) || ' seconds')"
_POSTGRESQL = "created_at - random() * interval '100 days'"
APART = {
    name: [f"UPDATE {table} SET created_at = {at}" for table in ("resources", "custom_domains")]  # noqa: S608 - our own words
    for name, at in (("sqlite", _SQLITE), ("postgresql", _POSTGRESQL))
}

_WHOLE = tuple(f"{scan} {table}" for scan in ("Seq Scan on", "SCAN") for table in ("resources", "custom_domains"))


async def test_lists_are_read_by_index(database: str, clock: ManualClock) -> None:
    """Of the rows that make a page and its total none is looked at past the index that has them in their order."""
    spoil(database)
    await CROWD.fill(database)
    await execute(database, *APART[database.partition(":")[0]])
    await _look_at_rows(database)
    store = await Store.open(database, clock=clock)
    page = Window(limit=100)
    sandboxes = ResourceFilter(tenant_id=TENANT, kind=Kind.SANDBOX)
    plans: dict[str, str] = {}
    async with store.read() as tx:
        for name, work in {
            "domains": partial(tx.custom_domains.list, DomainFilter(tenant_id=TENANT), page),
            "sandboxes": partial(tx.resources.list, sandboxes, page),
            "sandboxes of a workspace": partial(
                tx.resources.list, ResourceFilter(workspace_id=WORKSPACE, kind=Kind.SANDBOX), page
            ),
        }.items():
            asked = await _asked(work)
            for number, (statement, parameters) in enumerate(asked[:2]):  # how many there are, and the page
                plans[f"{name}, {number}"] = await _plan(database, statement, parameters)
    await store.close()
    by_index = {
        "domains, 0": "holding",
        "domains, 1": "ix_custom_domains_listed",
        "sandboxes, 0": "holding",
        "sandboxes, 1": "ix_resources_",
        "sandboxes of a workspace, 0": "holding",
        "sandboxes of a workspace, 1": "ix_resources_",
    }
    assert plans.keys() == by_index.keys()
    for name, plan in plans.items():
        assert by_index[name] in plan, f"{name}:\n{plan}"
        assert not any(words in plan for words in _WHOLE), plan


async def _look_at_rows(database: str) -> None:
    """What autovacuum does after a while: without it PostgreSQL reads no index alone."""
    if database.startswith("sqlite"):
        await execute(database, "ANALYZE")
        return
    connection = await asyncpg.connect(database)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def _asked(work: Callable[[], Awaitable[object]]) -> Sequence[tuple[str, Any]]:
    """The statements of that work, with their values."""
    asked: list[tuple[str, Any]] = []

    def hear(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if "FROM" in statement:
            asked.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        await work()
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)
    return asked


async def _plan(database: str, statement: str, parameters: Any) -> str:
    """How a reader goes about it: on PostgreSQL by a plan that is the same whatever the values."""
    if database.startswith("sqlite"):
        engine = writing_engine(parsed(database, create=False), Database())
        rows = await engine.run(lambda one: one.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all())
        await engine.dispose()
        return "\n".join(row[3] for row in rows)
    values = ", ".join(str(one) if isinstance(one, int) else f"'{one}'" for one in parameters)
    connection = await asyncpg.connect(database)
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE listed AS {statement}")
    lines = await connection.fetch(f"EXPLAIN EXECUTE listed({values})")
    await connection.close()
    return "\n".join(line[0] for line in lines)


async def test_links_are_made_of_what_is_around_a_resource(database: str, clock: ManualClock) -> None:
    """Of a tenant with many preview domains those of one resource's tenant, workspace and project are read, by index."""
    spoil(database)
    await Crowd(tenants=2000, resources=1, domains=1).fill(database)
    # What each has is of its project of that id. A tenant may have as many.
    await execute(database, f"UPDATE preview_domains SET scope = 'project' WHERE scope_id <> '{TENANT}'")  # noqa: S608
    await _look_at_rows(database)
    store = await Store.open(database, clock=clock)
    project = CROWD.tenant_id(7)
    async with store.read() as tx:
        found = await tx.preview_domains.around(TENANT, [project])
        ((statement, parameters),) = await _asked(partial(tx.preview_domains.around, TENANT, [project]))
    await store.close()
    assert {preview.scope_id for preview in found} == {TENANT, project}
    plan = await _plan(database, statement, parameters)
    assert "Seq Scan" not in plan, plan
    assert "SCAN" not in plan, plan
    assert "tenant_id" not in plan, plan
