"""What a transaction promises: all or nothing, told when it is done, and never "database is locked"."""

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

import pytest

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.base.paging import Window
from router.errors import CONFLICT, RouterError, StoreUnavailableError
from router.routes.records import Kind, Scope, State
from router.store import Store
from router.tenancy.blocks import BlockKind
from router.tenancy.ownership import Ownership
from router.tenancy.resources import ResourceFilter
from tests.support.database import on_postgresql, on_sqlite
from tests.support.world import World

pytestmark = pytest.mark.asyncio


class Heard:
    """A listener that keeps what it was told."""

    def __init__(self, store: Store) -> None:
        self.keys: list[str] = []
        store.after_commit(self._hear)

    def _hear(self, keys: Sequence[str]) -> None:
        self.keys += keys

    def take(self) -> list[str]:
        keys, self.keys = self.keys, []
        return keys


async def test_an_error_undoes_everything(world: World, store: Store) -> None:
    """What was written before the error is not there afterwards, and no listener was called."""
    tenant = await world.tenant()
    heard = Heard(store)

    async def fail() -> None:
        async with store.begin() as tx:
            await tx.tenants.save(replace(tenant, name="Undone"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert heard.take() == []
    assert await world.tenants.get(tenant.id) == tenant


async def test_listeners_hear_before_the_verb_returns(world: World, store: Store) -> None:
    """A listener that drops its caches has dropped them when the service's caller goes on."""
    tenant = await world.tenant()
    resource = await world.sandbox(tenant, "shop")
    heard = Heard(store)
    await world.resources.patch(resource.id, state=State.STOPPED)
    assert heard.take() == ["slug:shop"]


async def test_a_listener_that_fails_stops_nobody(world: World, store: Store) -> None:
    """The change is committed, so the call succeeds and the other listeners hear of it."""

    def broken(_keys: Sequence[str]) -> None:
        raise ZeroDivisionError

    tenant = await world.tenant()
    store.after_commit(broken)
    heard = Heard(store)
    await world.sandbox(tenant, "shop")
    assert "slug:shop" in heard.take()


async def test_what_touches_which_records(world: World, store: Store) -> None:
    """Each change is told under the keys of every record that shows it, and under no others."""
    tenant = await world.tenant()
    heard = Heard(store)
    workspace = await world.workspace(tenant, "Clinic")
    project = await world.project(workspace, "Site")
    key, _ = await world.keys.create(tenant.id)
    assert heard.take() == [f"key:{key.digest}"]
    await world.keys.revoke(key.id)
    assert heard.take() == [f"key:{key.digest}"]

    shop = await world.sandbox(tenant, "shop", running=False)
    assert heard.take() == ["slug:shop"]
    domain = await world.domain(shop, "www.example.com", verified=False)
    assert heard.take() == ["name:www.example.com"]
    both = ["name:www.example.com", "slug:shop"]
    await world.verify(domain.id)
    assert heard.take() == ["name:www.example.com"]
    await world.place(shop)
    assert heard.take() == both
    await world.ports.put(shop.id, 5173)
    assert heard.take() == both
    await world.resources.move(shop.id, Ownership(project_id=project.id))
    assert heard.take() == both
    await world.resources.patch(shop.id, suspended=True)
    assert heard.take() == both
    await world.tenants.update(tenant.id, auto_expose=True)
    assert heard.take() == both
    await world.resources.put(shop.id, kind=Kind.SANDBOX, slug="store", tenant_id=tenant.id)
    assert heard.take() == ["name:www.example.com", "slug:shop", "slug:store"]
    await world.resources.endpoints.delete(shop.id)
    assert heard.take() == ["name:www.example.com", "slug:store"]
    await world.resources.record_activity({shop.id: shop.created_at})
    assert heard.take() == []
    await world.resources.delete(shop.id)  # and with it its domain
    assert heard.take() == ["name:www.example.com", "slug:store"]

    await world.zone(Scope.PROJECT, project.id, "example.org", verified=False)
    assert heard.take() == ["zone:example.org"]
    await world.previews.set(Scope.PROJECT, project.id, "example.net")
    assert heard.take() == ["zone:example.net", "zone:example.org"]
    await world.verify_zone(Scope.PROJECT, project.id)
    assert heard.take() == ["zone:example.net"]
    await world.projects.delete(project.id)
    assert heard.take() == ["zone:example.net"]


async def test_a_project_moves_with_all_it_has(world: World, store: Store) -> None:
    """Its resources are in the new workspace at once, and their names are told."""
    tenant = await world.tenant()
    first, second = await world.workspace(tenant, "One"), await world.workspace(tenant, "Two")
    project = await world.project(first, "Site")
    shop = await world.sandbox(tenant, "shop", project_id=project.id)
    await world.domain(shop, "www.example.com")
    heard = Heard(store)
    await world.projects.move(project.id, second.id)
    assert heard.take() == ["name:www.example.com", "slug:shop"]
    assert (await world.resources.get(shop.id)).workspace_id == second.id


async def test_versions_only_rise(world: World, store: Store) -> None:
    """Each change of a record has a higher version than the one before, across deletion and a new start."""
    tenant = await world.tenant()
    seen = []
    for _ in range(2):
        shop = await world.sandbox(tenant, "shop", running=False)
        seen.append((await store.records.fetch_versioned(["slug:shop"]))["slug:shop"][0])
        await world.resources.delete(shop.id)
        seen.append((await store.records.fetch_versioned(["slug:shop"]))["slug:shop"][0])
    assert seen == sorted(set(seen))


async def test_a_tenant_with_many_resources(world: World, store: Store) -> None:
    """A change that touches more records than fit one statement touches them all."""
    tenant = await world.tenant()
    template = await world.sandbox(tenant, "first", running=False)
    async with store.begin() as tx:
        for number in range(1200):
            values = {name: getattr(template, name) for name in template.__dataclass_fields__}
            values |= {"id": new_id(), "slug": f"many{number}"}
            await tx.resources.add(type(template)(**values))
    heard = Heard(store)
    await world.block(BlockKind.TENANT, tenant.id)
    assert len(heard.take()) == 1201


async def test_fifty_services_at_once(world: World, store: Store) -> None:
    """Writers wait for each other in order: none is refused, none waits for ever, every change is there."""
    tenant = await world.tenant()
    async with asyncio.timeout(60):
        made = await asyncio.gather(*(world.sandbox(tenant, f"box{number}", running=False) for number in range(25)))
        await asyncio.gather(
            *(world.resources.patch(resource.id, state=State.RUNNING) for resource in made),
            *(world.domain(resource, f"{resource.slug}.example.com") for resource in made),
        )
    running = await world.resources.list(ResourceFilter(state=State.RUNNING), Window(limit=100))
    assert running.total == 25


async def test_services_that_wait_for_each_other(world: World) -> None:
    """Where several have locked what the others need, deadlock victims are retried, and no caller sees an error."""
    tenant = await world.tenant()
    places = [await world.workspace(tenant, f"W{number}") for number in range(3)]
    projects = [await world.project(place, f"P{number}") for number, place in enumerate(places)]

    async def both_ways(turn: int) -> None:
        here, there = places[turn % 3], places[(turn + 1 + turn % 2) % 3]
        project = projects[turn % 3]
        asked = [
            world.workspaces.update(here.id, slug=there.slug),
            world.projects.update(project.id, slug=f"p{(turn + 1) % 3}"),
            world.projects.move(project.id, there.id),
            world.resources.create(Kind.COMPUTER, tenant.id, ownership=Ownership(project_id=project.id)),
            world.resources.create(
                Kind.COMPUTER, tenant.id, ownership=Ownership(workspace_slug=here.slug, project_slug=project.slug)
            ),
        ]
        for failure in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(failure, BaseException):  # that a name is taken is right
                assert isinstance(failure, RouterError), failure

    async with asyncio.timeout(120):
        await asyncio.gather(*(both_ways(turn) for turn in range(18)))


@on_postgresql
async def test_transactions_that_wait_in_a_circle(world: World, store: Store) -> None:
    """The database undoes one of them, which hears that it may begin anew; the other never notices."""
    tenants = [await world.tenant("One"), await world.tenant("Other")]
    holding = asyncio.Barrier(2)

    async def rename(first: int) -> None:
        async with store.begin() as tx:
            await tx.tenants.get(tenants[first].id)
            await holding.wait()
            other = await tx.tenants.get(tenants[1 - first].id)
            assert other is not None
            await tx.tenants.save(replace(other, name="Renamed"))

    outcomes = await asyncio.gather(rename(0), rename(1), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["DeadlockError", "NoneType"]
    names = [(await world.tenants.get(tenant.id)).name for tenant in tenants]
    assert names.count("Renamed") == 1


async def test_two_stores_write_to_one_database(world: World, database: str, clock: ManualClock) -> None:
    """Processes that share a database take turns as well."""
    tenant = await world.tenant()
    other_store = await Store.open(database, clock=clock)
    other = World(other_store, clock)
    async with asyncio.timeout(60):
        await asyncio.gather(
            *(
                each.sandbox(tenant, f"box{number}-{place}", running=False)
                for place, each in enumerate((world, other))
                for number in range(15)
            )
        )
    await other_store.close()
    assert (await world.resources.list(ResourceFilter(tenant_id=tenant.id))).total == 30


@on_sqlite
async def test_a_lock_that_is_never_freed(database: str, clock: ManualClock) -> None:
    """The wait has an end, and what comes out is an outage of the store; readers never notice."""
    store = await Store.open(f"{database}?timeout=0.1", clock=clock)
    world = World(store, clock)
    tenant = await world.tenant()
    holder = sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="locked"):
        await world.block(BlockKind.TENANT, tenant.id)
    assert await world.tenants.get(tenant.id) == tenant
    holder.execute("ROLLBACK")
    holder.close()
    await world.block(BlockKind.TENANT, tenant.id)
    assert (await world.tenants.get(tenant.id)).suspended
    await store.close()


async def test_a_cancelled_verb_leaves_the_store_usable(world: World, store: Store) -> None:
    """A task that is cancelled in the middle of a transaction releases its lock, and nothing of it is stored."""
    tenant = await world.tenant()
    inside = asyncio.Event()

    async def hold() -> None:
        async with store.begin() as tx:
            await tx.tenants.save(tenant)
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(hold())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        assert (await world.tenants.update(tenant.id, name="After")).name == "After"


async def test_reading_does_not_wait_for_a_writer(world: World, store: Store) -> None:
    """While one transaction writes, others read what was there before it."""
    tenant = await world.tenant()
    async with store.begin() as tx, asyncio.timeout(5):
        await tx.tenants.save(tenant)
        assert await world.tenants.get(tenant.id) == tenant
        assert (await store.records.fetch(["slug:none"]))["slug:none"] is None


async def test_a_reading_transaction_does_not_write(world: World, store: Store) -> None:
    """`read()` is refused by the database itself where a service writes in it."""
    tenant = await world.tenant()
    with pytest.raises(StoreUnavailableError, match=r"read-?only"):
        async with store.read() as tx:
            await tx.tenants.save(tenant)


async def test_what_refers_to_nothing(world: World, store: Store) -> None:
    """The database keeps references whole, on SQLite too, where that has to be asked for."""
    tenant = await world.tenant()
    workspace = await world.workspaces.default(tenant.id)
    with pytest.raises(RouterError, match="at the same time") as caught:
        async with store.begin() as tx:
            await tx.workspaces.add(replace(workspace, id=new_id(), tenant_id=new_id()))
    assert caught.value.problem is CONFLICT


async def test_two_that_take_the_same_name_at_once(world: World, store: Store) -> None:
    """Where the service's own check came too early, the database's constraint is reported, as a conflict."""
    tenant = await world.tenant()
    with pytest.raises(RouterError) as caught:
        async with store.begin() as tx:
            await tx.tenants.add(tenant)
    assert caught.value.problem is CONFLICT
