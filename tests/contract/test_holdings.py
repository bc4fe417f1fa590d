"""How many of each noun a scope holds is known without counting, and is what counting finds, whoever has written."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.backup.copying import copy_store
from router.base.clock import ManualClock
from router.base.paging import Window
from router.domains.custom import DomainFilter
from router.routes.records import Kind, Scope
from router.store import Store, migrate
from router.store.holdings import COUNTED
from router.tenancy.projects import ProjectFilter
from router.tenancy.resources import ResourceFilter
from tests.support.database import Databases, execute, on_postgresql, rows
from tests.support.holding_numbers import numbers
from tests.support.postgres import Postgres
from tests.support.world import World

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def other(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[str]:
    """Another database, with nothing in it."""
    async with databases.new(request.param) as url:
        yield url


async def check(database: str) -> None:
    kept, counted = await numbers(database)
    assert kept == counted


async def test_they_follow_what_services_do(world: World, store: Store, database: str) -> None:
    """Made, moved, removed, deleted: each changes the numbers of all scopes that it lies in."""
    tenant = await world.tenant("Acme")
    sandboxes = [await world.sandbox(tenant, f"box{number}") for number in range(3)]
    domains = [await world.domain(sandboxes[0], f"www{number}.example.org") for number in range(3)]
    await check(database)
    clinic, _ = await world.workspaces.create(tenant.id, name="Clinic")
    await check(database)
    site = await world.projects.create(tenant.id, name="Site", workspace_id=sandboxes[0].workspace_id)
    await world.sandbox(tenant, "moving", project_id=site.id)
    await world.projects.move(site.id, clinic.id)
    await world.zone(Scope.TENANT, tenant.id, "preview.example.net")
    await check(database)
    await world.previews.clear(Scope.TENANT, tenant.id)
    await world.domains.remove(domains[0].id)
    await world.resources.delete(sandboxes[1].id)
    await check(database)
    page = Window(limit=1)
    async with store.read() as tx:
        of_tenant = ResourceFilter(tenant_id=tenant.id, kind=Kind.SANDBOX)
        assert (await tx.resources.list(of_tenant, page)).total == 3
        assert (await tx.custom_domains.list(DomainFilter(tenant_id=tenant.id), page)).total == 2
        assert await tx.custom_domains.count_of(tenant.id) == 2
    await store.sum_up_holdings()
    await check(database)


async def test_what_lies_elsewhere_holds_nothing_here(world: World, store: Store) -> None:
    """A workspace or project of another tenant is asked for in vain, by its total too."""
    acme, globex = await world.tenant("Acme"), await world.tenant("Globex")
    box = await world.sandbox(globex, "box")
    domain = await world.domain(box, "www.example.org")
    page = Window(limit=1)
    async with store.read() as tx:
        for where in (
            ResourceFilter(tenant_id=acme.id, kind=Kind.SANDBOX, workspace_id=box.workspace_id),
            ResourceFilter(tenant_id=acme.id, kind=Kind.SANDBOX, project_id=box.project_id),
            ResourceFilter(
                tenant_id=acme.id, kind=Kind.SANDBOX, project_id=box.project_id, workspace_id=box.workspace_id
            ),
        ):
            assert (await tx.resources.list(where, page)).total == 0
        theirs = DomainFilter(tenant_id=acme.id, resource_id=domain.resource_id)
        assert (await tx.custom_domains.list(theirs, page)).total == 0
        assert (
            await tx.projects.list(ProjectFilter(tenant_id=acme.id, workspace_id=box.workspace_id), page)
        ).total == 0


async def test_they_follow_what_an_older_version_writes(world: World, store: Store, database: str) -> None:
    """And an operator: whatever changes rows, the database changes the numbers."""
    tenant = await world.tenant("Acme")
    box = await world.sandbox(tenant, "box")
    workspace, _ = await world.workspaces.create(tenant.id, name="Clinic")
    await world.domain(box, "www.example.org")
    for statement in (
        f"UPDATE resources SET workspace_id = '{workspace.id}'",  # noqa: S608 - our own words
        "UPDATE resources SET kind = 'computer'",
        "UPDATE resources SET name = 'Another'",
        "UPDATE resources SET deleted_at = created_at",
        "UPDATE resources SET deleted_at = NULL",
        "DELETE FROM custom_domains",
    ):
        await execute(database, statement)
        await check(database)


async def test_what_is_undone_has_changed_nothing(world: World, store: Store, database: str) -> None:
    """The numbers are of the transaction that they come with."""
    tenant = await world.tenant("Acme")
    await world.sandbox(tenant, "box")
    project = (await world.projects.list(ProjectFilter(tenant_id=tenant.id))).items[0]

    async def fail() -> None:
        async with store.begin() as tx:
            await tx.projects.delete(project.id, project.created_at)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await check(database)


@on_postgresql
async def test_nobody_waits_for_a_tenant_s_number(world: World, store: Store, database: str) -> None:
    """While one transaction that has made a project is open, another one makes one of the same tenant, and the job adds up."""
    tenant = await world.tenant("Acme")
    workspace = await world.workspaces.default(tenant.id)
    async with store.begin() as tx:
        project = (await tx.projects.list(ProjectFilter(tenant_id=tenant.id), Window(limit=1))).items[0]
        await tx.projects.delete(project.id, project.created_at)
        async with asyncio.timeout(10):
            await world.projects.create(tenant.id, name="Meanwhile", workspace_id=workspace.id)
            await store.sum_up_holdings()
    await check(database)


async def test_many_at_once(world: World, store: Store, database: str) -> None:
    """None is lost, while the job adds up too."""
    tenant = await world.tenant("Acme")
    made = [world.sandbox(tenant, f"box{number}") for number in range(20)]
    await asyncio.gather(*made, *(store.sum_up_holdings() for _ in range(5)))
    await check(database)
    await store.sum_up_holdings()
    assert await rows(database, "SELECT count(*) FROM holding_changes") == [(0,)]
    await check(database)


async def test_a_copy_has_them(world: World, database: str, other: str, clock: ManualClock) -> None:
    """They are not copied: the rows bring them along."""
    tenant = await world.tenant("Acme")
    await world.domain(await world.sandbox(tenant, "box"), "www.example.org")
    await copy_store(database, other, live=True, progress=lambda *_: None)
    assert await numbers(database) == await numbers(other)
    await check(other)


async def test_every_table_that_is_counted_has_its_triggers(database: str) -> None:
    """A migration that makes a table anew, as SQLite's do, makes its triggers anew."""
    names = (
        "SELECT tbl_name FROM sqlite_master WHERE type = 'trigger'"
        if database.startswith("sqlite")
        else "SELECT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
    )
    number = 3 if database.startswith("sqlite") else 2
    found = [name for (name,) in await rows(database, names)]
    assert {table.name: found.count(table.name) for table in COUNTED} == {table.name: number for table in COUNTED}


async def test_what_there_was_before_is_counted(tmp_path: object, request: pytest.FixtureRequest) -> None:
    """The migration fills the numbers with what there is."""
    server: Postgres = request.getfixturevalue("postgres")
    for url in (f"sqlite:///{tmp_path}/old.db", await server.create(migrated=False)):
        await migrate(url, to="0036")
        at = "'2026-01-01 00:00:00.000000'" + ("" if url.startswith("sqlite") else "::timestamptz")
        group = f"'x', 'x', '{{}}', '{{}}', true, {at}, {at}"
        columns = "name, slug, metadata, settings, is_default, created_at, updated_at"
        await execute(
            url,
            "INSERT INTO tenants (id, slug, name, plan, auto_expose, branding, suspended, created_at, updated_at) "  # noqa: S608
            f"VALUES ('a', 'acme', 'Acme', 'free', false, '{{}}', false, {at}, {at})",
            f"INSERT INTO workspaces (id, tenant_id, {columns}) VALUES ('w', 'a', {group})",  # noqa: S608
            f"INSERT INTO projects (id, tenant_id, workspace_id, {columns}) VALUES ('p', 'a', 'w', {group})",  # noqa: S608
        )
        await migrate(url)
        await check(url)
        assert (await numbers(url))[0]["a", "project"] == 1
    await server.drop(url)
