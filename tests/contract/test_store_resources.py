"""The register on a real store: slugs, owners, endpoints, and what is left of a resource that was deleted."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.errors import CONFLICT, NOT_FOUND, VALIDATION_FAILED, Problem, RouterError
from router.routes.records import Kind, State
from router.tenancy.endpoints import EndpointChange
from router.tenancy.events import EventFilter
from router.tenancy.ownership import Ownership
from router.tenancy.resource_service import Resources
from router.tenancy.resources import LastUse, ResourceFilter, StoredEndpoint
from tests.support.database import rows
from tests.support.world import NETWORKS, World

pytestmark = pytest.mark.asyncio


def refused(error: pytest.ExceptionInfo[RouterError], problem: Problem, *fields: str) -> None:
    """That it was this problem, and about these fields."""
    assert error.value.problem is problem
    assert set(error.value.fields) == set(fields)


async def test_put_creates_and_then_updates(world: World) -> None:
    """The second time nothing is new, what is given changes, and what is not given stays."""
    tenant = await world.tenant()
    identity: dict[str, Any] = {"kind": Kind.SANDBOX, "slug": "shop", "tenant_id": tenant.id}
    first, created = await world.resources.put(
        resource_id := new_id(), **identity, default_port=3000, exposed_ports=frozenset({5173}), name="Shop"
    )
    assert created
    assert first.state is State.PROVISIONING
    second, created = await world.resources.put(resource_id, **identity, default_port=8000)
    assert not created
    assert (second.default_port, second.exposed_ports, second.name) == (8000, frozenset({5173}), "Shop")
    assert await world.resources.get(resource_id) == second
    third, _ = await world.resources.put(resource_id, **identity, exposed_ports=frozenset({1, 2}))
    assert (await world.resources.get(resource_id)).exposed_ports == third.exposed_ports == frozenset({1, 2})


async def test_owners_default_to_the_tenant_s(world: World) -> None:
    """Without a workspace or project it is the default ones; with a workspace, that one's default project."""
    tenant = await world.tenant()
    clinic = await world.workspace(tenant, "Clinic")
    shop = await world.sandbox(tenant, "shop")
    assert shop.workspace_id == (await world.workspaces.default(tenant.id)).id
    blog = await world.sandbox(tenant, "blog", workspace_id=clinic.id)
    news = await world.sandbox(tenant, "news", workspace_id=clinic.id)
    assert (blog.workspace_id, blog.project_id) == (clinic.id, news.project_id)
    moved, _ = await world.resources.put(
        shop.id, kind=Kind.SANDBOX, slug="shop", tenant_id=tenant.id, workspace_id=clinic.id
    )
    assert moved.workspace_id == clinic.id
    kept, _ = await world.resources.put(shop.id, kind=Kind.SANDBOX, slug="shop", tenant_id=tenant.id)
    assert kept.workspace_id == clinic.id


async def test_what_put_refuses(world: World) -> None:
    """Every wrong field of a call is named at once; what only the store knows comes after."""
    ours, theirs = await world.tenant("Ours"), await world.tenant("Theirs")
    with pytest.raises(RouterError) as caught:
        await world.resources.put(
            "not-an-id",
            kind=Kind.SANDBOX,
            slug="3000-shop",
            tenant_id=ours.id,
            default_port=70000,
            exposed_ports=frozenset({0, 49983}),
            size="huge",
            host_modes={3000: "not a host"},
            first_byte=-1.0,
        )
    refused(
        caught,
        VALIDATION_FAILED,
        "id",
        "slug",
        "default_port",
        "exposed_ports",
        "size",
        "host_modes",
        "first_byte",
    )
    foreign = await world.workspaces.default(theirs.id)
    for field, wrong in {
        "tenant_id": {"tenant_id": new_id()},
        "workspace_id": {"tenant_id": ours.id, "workspace_id": foreign.id},
        "project_id": {"tenant_id": ours.id, "project_id": new_id()},
    }.items():
        with pytest.raises(RouterError) as caught:
            await world.resources.put(new_id(), kind=Kind.SANDBOX, slug="shop", **wrong)  # type: ignore[arg-type]
        refused(caught, VALIDATION_FAILED, field)
    shop = await world.sandbox(ours, "shop")
    for field, changed in {"kind": {"kind": Kind.COMPUTER}, "tenant_id": {"tenant_id": theirs.id}}.items():
        same: dict[str, Any] = {"kind": Kind.SANDBOX, "slug": "shop", "tenant_id": ours.id}
        with pytest.raises(RouterError) as caught:
            await world.resources.put(shop.id, **(same | changed))
        refused(caught, VALIDATION_FAILED, field)


async def test_a_slug_is_one_resource_s(world: World) -> None:
    """On the whole platform, for every tenant."""
    ours, theirs = await world.tenant("Ours"), await world.tenant("Theirs")
    await world.sandbox(ours, "shop")
    for tenant in (ours, theirs):
        with pytest.raises(RouterError) as caught:
            await world.sandbox(tenant, "shop")
        refused(caught, CONFLICT, "slug")


async def test_a_deleted_slug_stays_with_its_tenant(world: World) -> None:
    """Another tenant would get the visitors of the one before; a made-up slug avoids it too."""
    ours, theirs = await world.tenant("Ours"), await world.tenant("Theirs")
    shop = await world.sandbox(ours, "shop")
    await world.resources.delete(shop.id)
    with pytest.raises(RouterError) as caught:
        await world.sandbox(theirs, "shop")
    refused(caught, CONFLICT, "slug")
    named = await world.resources.create(Kind.DEPLOYMENT, ours.id, name="shop")
    assert named.slug != "shop"
    again = await world.sandbox(ours, "shop")
    assert again.id != shop.id
    await world.resources.delete(again.id)
    with pytest.raises(RouterError):
        await world.sandbox(theirs, "shop")


async def test_a_deleted_resource_is_gone_for_good(world: World, database: str) -> None:
    """It is found no more, its id can't be used again, and nothing of it is left to dial or expose."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop", exposed_ports=frozenset({5173}))
    gone = await world.resources.delete(shop.id)
    assert (gone.state, gone.exposed_ports) == (State.DESTROYED, frozenset())
    for attempt in (
        world.resources.get(shop.id),
        world.resources.delete(shop.id),
        world.resources.patch(shop.id, state=State.RUNNING),
        world.resources.endpoints.get(shop.id),
        world.resources.endpoints.put(EndpointChange(resource_id=shop.id, address="10.0.0.7", generation="b")),
    ):
        with pytest.raises(RouterError) as caught:
            await attempt
        refused(caught, NOT_FOUND)
    with pytest.raises(RouterError) as caught:
        await world.resources.put(shop.id, kind=Kind.SANDBOX, slug="other", tenant_id=tenant.id)
    refused(caught, CONFLICT)
    assert await rows(database, "SELECT * FROM endpoints") == []
    assert await rows(database, "SELECT * FROM exposed_ports") == []


async def test_destroyed_is_deletion(world: World) -> None:
    """The platform may say it either way."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    assert (await world.resources.patch(shop.id, state=State.DESTROYED)).deleted_at is not None


async def test_lists_by_owner_kind_and_state(world: World) -> None:
    """Each condition narrows; what is deleted is in none."""
    tenant, other = await world.tenant(), await world.tenant("Other")
    clinic = await world.workspace(tenant, "Clinic")
    shop = await world.sandbox(tenant, "shop")
    await world.sandbox(tenant, "blog", workspace_id=clinic.id, running=False, kind=Kind.COMPUTER)
    await world.sandbox(other, "news")
    await world.resources.delete((await world.sandbox(tenant, "gone")).id)

    async def slugs(**where: Any) -> set[str]:
        listing = await world.resources.list(ResourceFilter(**where))
        assert listing.total == len(listing.items)
        return {item.slug for item in listing.items}

    assert await slugs() == {"shop", "blog", "news"}
    assert await slugs(tenant_id=tenant.id) == {"shop", "blog"}
    assert await slugs(workspace_id=clinic.id) == {"blog"}
    assert await slugs(project_id=shop.project_id) == {"shop"}
    assert await slugs(kind=Kind.COMPUTER) == {"blog"}
    assert await slugs(tenant_id=tenant.id, state=State.RUNNING) == {"shop"}


async def test_creating_fills_in_what_is_not_given(world: World) -> None:
    """A slug that hosts can carry, the size's hardware, the owner by slug, made on the way, and its attribution."""
    tenant = await world.tenant()
    wanted = Ownership(workspace_slug="clinic", workspace_name="Clinic", external_workspace_id="clinic_123")
    made = await world.resources.create(Kind.COMPUTER, tenant.id, ownership=wanted, name="builder", size="medium")
    assert made.slug.startswith("cmp")
    assert (made.vcpus, made.memory_mb, made.disk_gb) == (2, 8192, 50)
    workspace = await world.workspaces.get(made.workspace_id)
    assert (workspace.name, workspace.external_workspace_id, workspace.computer_count) == ("Clinic", "clinic_123", 1)
    assert made.external_workspace_id == "clinic_123"


async def test_a_workspace_s_caps_hold_for_computers(world: World) -> None:
    """Number, size and template; sandboxes are not computers."""
    tenant = await world.tenant()
    clinic = await world.workspace(tenant, "Clinic")
    await world.workspaces.put_settings(
        clinic.id,
        max_computers=1,
        max_computer_size="medium",
        default_computer_size="medium",
        allowed_template_types=["desktop"],
    )
    inside = Ownership(workspace_id=clinic.id)
    with pytest.raises(RouterError) as caught:
        await world.resources.create(Kind.COMPUTER, tenant.id, ownership=inside, size="large", template_type="x")
    refused(caught, VALIDATION_FAILED, "size", "template_type")
    made = await world.resources.create(Kind.COMPUTER, tenant.id, ownership=inside, template_type="desktop")
    assert made.size == "medium"
    with pytest.raises(RouterError) as caught:
        await world.resources.create(Kind.COMPUTER, tenant.id, ownership=inside, template_type="desktop")
    assert caught.value.problem is VALIDATION_FAILED
    assert (await world.resources.create(Kind.SANDBOX, tenant.id, ownership=inside)).workspace_id == clinic.id


async def test_an_endpoint_and_its_state(world: World) -> None:
    """What is put comes back, the resource is in the state that came with it, and a new one replaces the old."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop", running=False)
    await world.place(shop, address="fd00::0007", ports={5173: 40001}, state=State.STARTING)
    stored = await world.resources.endpoints.get(shop.id)
    assert (stored.address, stored.ports, stored.state) == ("fd00::7", {5173: 40001}, State.STARTING)
    await world.place(shop, generation="boot-2")
    stored = await world.resources.endpoints.get(shop.id)
    assert (stored.generation, stored.ports, stored.state) == ("boot-2", {}, State.RUNNING)
    assert (await world.resources.get(shop.id)).state is State.RUNNING
    await world.resources.endpoints.delete(shop.id)
    for attempt in (world.resources.endpoints.get(shop.id), world.resources.endpoints.delete(shop.id)):
        with pytest.raises(RouterError) as caught:
            await attempt
        refused(caught, NOT_FOUND)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("address", {"address": "169.254.169.254"}),
        ("address", {"address": "8.8.8.8"}),
        ("address", {"address": "127.0.0.1", "ports": {3000: 8081}}),
        ("address", {"address": "127.0.0.1", "ports": {9999: 8081}}),
        ("generation", {"generation": ""}),
        ("ports", {"ports": {0: 1}}),
        ("ports", {"ports": {1: 65536}}),
        ("state", {"state": State.DESTROYED}),
        ("version_id", {"version_id": "00000000-0000-4000-8000-000000000000"}),
    ],
)
async def test_what_an_endpoint_may_not_be(world: World, field: str, change: dict[str, Any]) -> None:
    """Nothing outside the backend networks, nothing of our own, no ports that are none; and nothing is stored."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop", running=False)
    with pytest.raises(RouterError) as caught:
        await world.place(shop, **change)
    refused(caught, VALIDATION_FAILED, field)
    with pytest.raises(RouterError) as caught:
        await world.resources.endpoints.get(shop.id)
    refused(caught, NOT_FOUND)


async def test_many_endpoints_at_once(world: World) -> None:
    """Each gets its answer in its place: one that is wrong stops no other."""
    tenant = await world.tenant()
    boxes = [await world.sandbox(tenant, f"box{number}", running=False) for number in range(3)]
    changes = [EndpointChange(resource_id=box.id, address="10.0.0.7", generation="b") for box in boxes]
    changes[1:1] = [
        EndpointChange(resource_id=boxes[0].id, address="8.8.8.8", generation="b"),
        EndpointChange(resource_id=new_id(), address="10.0.0.7", generation="b"),
    ]
    results = await world.resources.endpoints.put_many(changes)
    assert [type(result) for result in results] == [
        StoredEndpoint,
        RouterError,
        RouterError,
        StoredEndpoint,
        StoredEndpoint,
    ]
    problems = [result.problem for result in results if isinstance(result, RouterError)]
    assert problems == [VALIDATION_FAILED, NOT_FOUND]
    assert [(await world.resources.get(box.id)).state for box in boxes] == [State.RUNNING] * 3
    with pytest.raises(RouterError) as caught:
        await world.resources.endpoints.put_many(changes * 1001)
    assert caught.value.problem is VALIDATION_FAILED


async def test_ports_are_exposed_and_hidden(world: World) -> None:
    """The set that is given is the set that holds; a port of the platform's own is refused."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    for ports in (frozenset({5173}), frozenset({5173, 8000}), frozenset({8000}), frozenset[int]()):
        await world.resources.update(shop.id, exposed_ports=ports)
        assert (await world.resources.get(shop.id)).exposed_ports == ports
    for port in (0, 65536, 49983):
        with pytest.raises(RouterError) as caught:
            await world.resources.update(shop.id, exposed_ports=frozenset({port}))
        refused(caught, VALIDATION_FAILED, "exposed_ports")


async def test_use_is_recorded_in_intervals(world: World, database: str, clock: ManualClock) -> None:
    """One per state, size and workspace, without a hole and without an overlap; none after the end."""
    tenant = await world.tenant()
    clinic = await world.workspace(tenant, "Clinic")
    box = await world.sandbox(tenant, "box", running=False, size="small")
    for state in (State.RUNNING, State.RUNNING, State.STOPPED):
        clock.advance(10)
        await world.resources.patch(box.id, state=state)
    clock.advance(10)
    await world.resources.move(box.id, Ownership(workspace_id=clinic.id))
    clock.advance(10)
    await world.resources.update(box.id, size="large")
    clock.advance(10)
    await world.resources.delete(box.id)
    found = await rows(
        database, "SELECT state, size, workspace_id, started_at, ended_at FROM usage_intervals ORDER BY started_at"
    )
    assert [row[:2] for row in found] == [
        ("provisioning", "small"),
        ("running", "small"),
        ("stopped", "small"),
        ("stopped", "small"),
        ("stopped", "large"),
    ]
    assert [row[2] == clinic.id for row in found] == [False, False, False, True, True]
    assert [row[4] for row in found[:-1]] == [row[3] for row in found[1:]]
    assert found[-1][4] is not None


async def test_a_life_is_told_in_events(world: World) -> None:
    """The newest first, each with what changed."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    await world.resources.patch(shop.id, suspended=True)
    await world.resources.delete(shop.id)
    listing = await world.events.list(EventFilter(tenant_id=tenant.id, resource_id=shop.id))
    told = {event.type: event.data for event in listing.items}
    assert set(told) == {"sandbox.created", "sandbox.state_changed", "sandbox.suspended", "sandbox.deleted"}
    assert told["sandbox.state_changed"] == {"state": "running", "was": "provisioning"}


async def test_activity_only_moves_forward(world: World, clock: ManualClock) -> None:
    """An older instant changes nothing, an unknown resource is ignored, and `since` leaves out what is older."""
    tenant = await world.tenant()
    shop, blog = await world.sandbox(tenant, "shop"), await world.sandbox(tenant, "blog")
    early = clock.now()
    clock.advance(60)
    late = clock.now()
    await world.resources.record_activity({shop.id: late, blog.id: early, new_id(): late})
    await world.resources.record_activity({shop.id: early})
    assert await world.resources.activity() == {shop.id: late, blog.id: early}
    assert await world.resources.activity(late) == {shop.id: late}


async def test_activity_that_keeps_nothing_awake(world: World, clock: ManualClock) -> None:
    """Is told apart, by what the resource says now, else its tenant."""
    tenant = await world.tenant()
    shop, blog = await world.sandbox(tenant, "shop"), await world.sandbox(tenant, "blog")
    seen = clock.now()
    await world.resources.record_activity({shop.id: seen, blog.id: seen})
    await world.tenants.update(tenant.id, default_keeps_awake=False)
    await world.resources.update(blog.id, keeps_awake=True)
    assert await world.resources.activity() == {blog.id: seen}
    assert await world.resources.activity(counted=False) == {shop.id: seen}
    assert await world.resources.activity(seen + timedelta(seconds=1), counted=False) == {}
    assert await world.resources.last_used([shop.id, blog.id, new_id()]) == {
        shop.id: LastUse(seen, counted=False),
        blog.id: LastUse(seen, counted=True),
    }


async def test_recent_uses_are_merged(world: World, clock: ManualClock) -> None:
    """What is known besides the store counts where it is later, also where nothing is stored yet; `since` and `keeps_awake`
    hold for it too, and unknown resources are left out."""
    tenant = await world.tenant()
    shop, blog, mute = [await world.sandbox(tenant, slug) for slug in ("shop", "blog", "mute")]
    await world.resources.update(mute.id, keeps_awake=False)
    early = clock.now()
    clock.advance(60)
    late = clock.now()
    await world.resources.record_activity({shop.id: early, blog.id: late})
    recent = {shop.id: late, blog.id: early, mute.id: late, new_id(): late}
    assert await world.resources.activity(recent=recent) == {shop.id: late, blog.id: late}
    assert await world.resources.activity(counted=False, recent=recent) == {mute.id: late}
    after = late + timedelta(seconds=1)
    assert await world.resources.activity(after, recent=recent) == {}
    assert set(await world.resources.not_recorded(recent)) == {shop.id, mute.id}

    class Recent:
        async def of(self, ids: Collection[str]) -> Mapping[str, datetime]:
            return {one: at for one, at in recent.items() if one in ids}

    resources = Resources(world.store, clock, networks=NETWORKS, recent=Recent())
    assert await resources.last_used([shop.id, blog.id, mute.id, new_id()]) == {
        shop.id: LastUse(late, counted=True),
        blog.id: LastUse(late, counted=True),
        mute.id: LastUse(late, counted=False),
    }


async def test_activity_is_of_an_instant(world: World, clock: ManualClock) -> None:
    """Microseconds and other zones are kept as they are meant; a time of nowhere is refused and changes nothing."""
    shop = await world.sandbox(await world.tenant(), "shop")
    seen = clock.now().replace(microsecond=123_456).astimezone(timezone(timedelta(hours=5, minutes=30)))
    await world.resources.record_activity({shop.id: seen})
    with pytest.raises(ValueError, match="naive"):
        await world.resources.record_activity({shop.id: (seen + timedelta(hours=1)).replace(tzinfo=None)})
    assert await world.resources.activity() == {shop.id: seen}
