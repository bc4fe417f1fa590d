"""What is blocked stays blocked, whatever its owner does; only the operator, or the expiry, ends it."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.errors import BLOCKED, CONFLICT, NOT_FOUND, VALIDATION_FAILED, RouterError
from router.hostname import host_meanings
from router.routes.chain import Decision, decide
from router.routes.records import Kind, Scope, State, keys_of
from router.tenancy.blocks import Block, BlockFilter, BlockKind, Order
from router.tenancy.events import EventFilter
from router.tenancy.ownership import Ownership
from router.tenancy.resources import Resource
from router.tenancy.tenants import Tenant
from tests.support.database import prune
from tests.support.world import World

pytestmark = pytest.mark.asyncio

PLATFORM = "miosa.app"
OWN, ZONE = "shop.example.com", "zone.example.org"
# No word that an id could have in it, which is of the digits 0 to 9 and the letters a to f.
ORDER = Order(reason="phishing kit, ticket XK47", public_reason="Phishing.", actor="olga")


@dataclass(slots=True, kw_only=True)
class Scene:
    """A tenant with a shop on a domain of its own and in a zone, and a second computer beside it."""

    world: World
    clock: ManualClock
    tenant: Tenant
    other: Tenant
    shop: Resource
    second: Resource

    async def decision(self, host: str) -> Decision:
        meanings = host_meanings(host)
        found = await self.world.store.records.fetch(keys_of(host, meanings))
        return decide(host, meanings, found, PLATFORM)

    async def reasons(self, *hosts: str) -> list[str]:
        return [(await self.decision(host)).reason for host in hosts]

    async def domain(self) -> str:
        return (await self.world.domains.find(OWN)).id

    async def try_to(self, verb: Callable[[], Awaitable[object]]) -> None:
        """A verb of the customer's, which may be refused."""
        try:
            await verb()
        except RouterError as error:
            if error.problem not in {CONFLICT, NOT_FOUND}:
                raise


HOSTS = (f"shop.{PLATFORM}", f"5173-shop.sandbox.{PLATFORM}", OWN, f"shop.{ZONE}", f"5173-shop.sandbox.{ZONE}")


@pytest_asyncio.fixture
async def scene(world: World, clock: ManualClock) -> Scene:
    tenant, other = await world.tenant("Acme"), await world.tenant("Other")
    shop = await world.sandbox(tenant, "shop", kind=Kind.DEPLOYMENT, exposed_ports=frozenset({5173}))
    second = await world.sandbox(tenant, "second", kind=Kind.COMPUTER)
    await world.zone(Scope.TENANT, tenant.id, ZONE)
    await world.domain(shop, OWN)
    made = Scene(world=world, clock=clock, tenant=tenant, other=other, shop=shop, second=second)
    assert set(await made.reasons(*HOSTS)) == {"served"}
    return made


async def _delete(scene: Scene) -> None:
    await scene.world.resources.delete(scene.shop.id)


async def _delete_and_create(scene: Scene) -> None:
    await _delete(scene)
    await scene.try_to(lambda: scene.world.sandbox(scene.tenant, "shop", kind=scene.shop.kind))


async def _delete_and_put(scene: Scene) -> None:
    """The platform's own call, made for the customer."""
    await _delete(scene)
    again = {"kind": scene.shop.kind, "slug": "shop", "tenant_id": scene.tenant.id}
    await scene.try_to(lambda: scene.world.resources.put(str(uuid.uuid4()), **again))
    await scene.try_to(lambda: scene.world.resources.put(scene.shop.id, **again))


async def _put(scene: Scene) -> None:
    """The platform says again what exists, and nothing of suspension."""
    await scene.world.resources.put(
        scene.shop.id, kind=scene.shop.kind, slug="shop", tenant_id=scene.tenant.id, default_port=3000
    )
    await scene.world.place(scene.shop, generation="boot-2")
    await scene.world.resources.patch(scene.shop.id, state=State.RUNNING)


async def _rename(scene: Scene) -> None:
    await scene.world.resources.update(scene.shop.id, slug="renamed")
    assert await scene.reasons(f"renamed.{PLATFORM}", f"renamed.{ZONE}") == ["suspended"] * 2


async def _rename_and_create(scene: Scene) -> None:
    await _rename(scene)
    await scene.try_to(lambda: scene.world.sandbox(scene.tenant, "shop"))


async def _rename_and_delete_and_create(scene: Scene) -> None:
    await _rename(scene)
    await _delete(scene)
    for slug in ("shop", "renamed"):
        await scene.try_to(lambda slug=slug: scene.world.sandbox(scene.tenant, slug))
    assert await scene.reasons(f"renamed.{PLATFORM}") == ["suspended"]


async def _remove_domain(scene: Scene) -> None:
    await scene.world.domains.remove(await scene.domain())


async def _move_domain(scene: Scene) -> None:
    await _remove_domain(scene)
    await scene.world.domain(scene.second, OWN)


async def _move_domain_twice(scene: Scene) -> None:
    await _move_domain(scene)
    await _move_domain(scene)


async def _delete_and_move_domain(scene: Scene) -> None:
    await _delete(scene)
    await scene.world.domain(scene.second, OWN)


async def _move_domain_to_another_tenant(scene: Scene) -> None:
    await _remove_domain(scene)
    await scene.world.tenants.update(scene.tenant.id, name="Gone")
    scene.clock.advance(40 * 86400)
    await scene.world.domain(await scene.world.sandbox(scene.other, "theirs"), OWN)


async def _redirect(scene: Scene) -> None:
    await scene.world.domains.redirect(await scene.domain(), "apex_to_www")


async def _zone_over_domain(scene: Scene) -> None:
    """Another slug of the tenant's own, in a zone that covers the name."""
    await _remove_domain(scene)
    await scene.world.zone(Scope.WORKSPACE, scene.shop.workspace_id, "example.com")


async def _domain_over_zone(scene: Scene) -> None:
    await scene.world.domain(scene.second, f"shop.{ZONE}")


async def _domain_where_the_zone_was(scene: Scene) -> None:
    await scene.world.previews.clear(Scope.TENANT, scene.tenant.id)
    await scene.world.domain(scene.second, f"shop.{ZONE}")


async def _domain_over_zone_that_goes(scene: Scene) -> None:
    await scene.world.domain(scene.second, f"shop.{ZONE}")
    await _delete(scene)
    await scene.world.previews.clear(Scope.TENANT, scene.tenant.id)
    assert await scene.reasons(f"shop.{ZONE}") == ["suspended"]


async def _another_zone(scene: Scene) -> None:
    await scene.world.zone(Scope.PROJECT, scene.shop.project_id, "new.example.net")
    assert await scene.reasons("shop.new.example.net") == ["suspended"]


async def _move_to_another_workspace(scene: Scene) -> None:
    workspace = await scene.world.workspace(scene.tenant, "Elsewhere")
    await scene.world.resources.move(scene.shop.id, Ownership(workspace_id=workspace.id))


async def _delete_its_project(scene: Scene) -> None:
    workspace = await scene.world.workspace(scene.tenant, "Elsewhere")
    project = await scene.world.project(workspace, "Aside")
    await scene.world.resources.move(scene.shop.id, Ownership(project_id=project.id))
    await scene.try_to(lambda: scene.world.projects.delete(project.id))
    await scene.try_to(lambda: scene.world.workspaces.delete(workspace.id))


async def _stop_and_start(scene: Scene) -> None:
    for state in (State.STOPPED, State.PROVISIONING, State.RUNNING):
        await scene.world.resources.patch(scene.shop.id, state=state)


async def _expose_another_port(scene: Scene) -> None:
    await scene.world.ports.put(scene.shop.id, 9000)
    assert await scene.reasons(f"9000-shop.sandbox.{PLATFORM}") == ["suspended"]


async def _show_all_ports(scene: Scene) -> None:
    await scene.world.tenants.update(scene.tenant.id, auto_expose=True)


async def _fail_under_a_zone(scene: Scene) -> None:
    """Its own records go, so that the name fails and a zone could have it."""
    await scene.world.fail(await scene.domain())
    await scene.world.zone(Scope.WORKSPACE, scene.shop.workspace_id, "example.com")


async def _fail_and_verify(scene: Scene) -> None:
    domain = await scene.domain()
    await scene.world.fail(domain)
    await scene.world.verify(domain)


VERBS = (
    _delete,
    _delete_and_create,
    _delete_and_put,
    _put,
    _rename,
    _rename_and_create,
    _rename_and_delete_and_create,
    _remove_domain,
    _move_domain,
    _move_domain_twice,
    _delete_and_move_domain,
    _move_domain_to_another_tenant,
    _redirect,
    _zone_over_domain,
    _domain_over_zone,
    _domain_where_the_zone_was,
    _domain_over_zone_that_goes,
    _another_zone,
    _move_to_another_workspace,
    _delete_its_project,
    _stop_and_start,
    _expose_another_port,
    _show_all_ports,
    _fail_under_a_zone,
    _fail_and_verify,
)

# Hosts of a zone that is gone lead nowhere, unless somebody has the name.
NOWHERE = {_domain_where_the_zone_was, _domain_over_zone_that_goes}


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__.strip("_"))
async def test_no_verb_of_the_owner_brings_it_back(scene: Scene, verb: Callable[[Scene], Awaitable[None]]) -> None:
    """A resource that is blocked: all its hosts stay so, by whatever name; until it is unblocked."""
    await scene.world.resources.patch(scene.shop.id, suspended=True)
    assert set(await scene.reasons(*HOSTS)) == {"suspended"}
    await verb(scene)
    for host in HOSTS:
        decision = await scene.decision(host)
        if verb in NOWHERE and host.startswith("5173") and host.endswith(ZONE):
            assert decision.reason in {"unknown_host", "suspended"}
        else:
            assert (decision.reason, decision.problem) == ("suspended", BLOCKED), host
    await scene.world.block(BlockKind.RESOURCE, scene.shop.id, False)
    assert "suspended" not in await scene.reasons(*HOSTS)


async def test_a_slug_of_a_blocked_resource_is_refused_until_it_is_unblocked(scene: Scene) -> None:
    """In words; and once the block is lifted the tenant may have it again."""
    await scene.world.resources.patch(scene.shop.id, suspended=True)
    await scene.world.resources.delete(scene.shop.id)
    with pytest.raises(RouterError) as caught:
        await scene.world.sandbox(scene.tenant, "shop")
    assert (caught.value.problem, caught.value.fields) == (
        CONFLICT,
        {"slug": ["belongs to a resource that has been blocked"]},
    )
    await scene.world.block(BlockKind.RESOURCE, "shop", False)
    await scene.world.sandbox(scene.tenant, "shop")
    assert await scene.reasons(f"shop.{PLATFORM}") == ["served"]


async def test_history_is_not_forgotten_while_it_counts(scene: Scene) -> None:
    """Tombstones, zones that were released and versions of records go with time; not those that a block stands on."""
    world = scene.world
    await world.resources.patch(scene.shop.id, suspended=True)
    await _rename(scene)
    await _delete(scene)
    await world.previews.clear(Scope.TENANT, scene.tenant.id)
    scene.clock.advance(40 * 86400)
    await world.zone(Scope.TENANT, scene.other.id, "other.example.net")
    await world.previews.clear(Scope.TENANT, scene.other.id)
    scene.clock.advance(3660 * 86400)
    assert await prune(world.store, scene.clock)
    await scene.try_to(lambda: world.sandbox(scene.tenant, "shop"))
    await world.domain(scene.second, f"shop.{ZONE}")
    await world.domain(scene.second, OWN)
    assert await scene.reasons(f"shop.{PLATFORM}", f"renamed.{PLATFORM}", OWN, f"shop.{ZONE}") == ["suspended"] * 4


@pytest.mark.parametrize("host", [*HOSTS, "free.example.net"])
async def test_a_host_is_blocked_whoever_has_it(scene: Scene, host: str) -> None:
    """Registered, in a zone, on the platform's domain, or not at all yet; other hosts of the resource go on."""
    await scene.world.block(BlockKind.HOST, host.upper())
    blocked = {one: await scene.reasons(one) for one in (*HOSTS, host)}
    assert {one for one, reasons in blocked.items() if reasons == ["suspended"]} == {host}
    if host == OWN:
        await scene.world.domains.remove(await scene.domain())
    if not host.endswith((PLATFORM, ZONE)):
        scene.clock.advance(40 * 86400)
        await scene.world.domain(await scene.world.sandbox(scene.other, "theirs"), host)
        assert (await scene.world.domains.find(host)).suspended
    assert await scene.reasons(host) == ["suspended"]
    await scene.world.block(BlockKind.HOST, host, False)
    assert await scene.reasons(host) == ["served"]


async def test_a_blocked_tenant_has_nothing_on_air(scene: Scene) -> None:
    """What it makes afterwards is blocked too, and a name that it gives up stays so for others."""
    await scene.world.block(BlockKind.TENANT, scene.tenant.slug)
    assert set(await scene.reasons(*HOSTS)) == {"suspended"}
    await scene.world.sandbox(scene.tenant, "fresh")
    await scene.world.domains.remove(await scene.domain())
    scene.clock.advance(40 * 86400)
    await scene.world.domain(await scene.world.sandbox(scene.other, "theirs"), OWN)
    assert await scene.reasons(f"fresh.{PLATFORM}", OWN, f"theirs.{PLATFORM}") == ["suspended", "suspended", "served"]
    await scene.world.block(BlockKind.TENANT, scene.tenant.id, False)
    assert await scene.reasons(f"fresh.{PLATFORM}", OWN) == ["served", "served"]


async def test_a_blocked_owner_harms_nobody_by_asking_for_a_name(scene: Scene) -> None:
    """A name that it registered and never proved is not blocked for others, nor for itself elsewhere a sign of anything:
    it stays blocked for the owner alone."""
    world, name = scene.world, "victim.example.net"
    await world.resources.patch(scene.shop.id, suspended=True)
    asked = await world.domain(scene.shop, name, verified=False)
    assert await scene.reasons(name) == ["not_verified"]
    await world.domains.remove(asked.id)
    scene.clock.advance(40 * 86400)
    theirs = await world.domain(await world.sandbox(scene.other, "theirs"), name)
    assert await scene.reasons(name) == ["served"]
    await world.domains.remove(theirs.id)
    scene.clock.advance(40 * 86400)
    await world.domain(scene.second, name)
    assert await scene.reasons(name) == ["suspended"]


async def test_a_name_that_was_given_up_before_is_not_blocked(scene: Scene) -> None:
    """Only what led to the resource when it was blocked, or later."""
    await scene.world.domains.remove(await scene.domain())
    await scene.world.domain(scene.second, OWN)
    await scene.world.resources.patch(scene.shop.id, suspended=True)
    assert await scene.reasons(OWN, f"second.{PLATFORM}") == ["served", "served"]


async def test_what_follows_a_block_can_be_lifted_by_itself(scene: Scene) -> None:
    """A domain that was sold: its host is unblocked, the resource stays blocked."""
    await scene.world.resources.patch(scene.shop.id, suspended=True)
    scene.clock.advance(1)
    await _move_domain(scene)
    (followed, _) = (await scene.world.blocks.list(BlockFilter())).items
    cause = await scene.world.blocks.get(followed.cause_id or "")
    assert (followed.kind, followed.subject, cause.subject) == (BlockKind.HOST, OWN, scene.shop.id)
    await scene.world.block(BlockKind.HOST, OWN, False)
    assert await scene.reasons(OWN, f"shop.{PLATFORM}") == ["served", "suspended"]


async def test_what_an_operator_says_of_a_host_outlives_the_block_it_followed_from(scene: Scene) -> None:
    """Blocked by name, it is blocked for itself."""
    await scene.world.resources.patch(scene.shop.id, suspended=True)
    await _move_domain(scene)
    await scene.world.block(BlockKind.HOST, OWN)
    await scene.world.resources.patch(scene.shop.id, suspended=False)
    assert await scene.reasons(OWN, f"shop.{PLATFORM}") == ["suspended", "served"]


async def test_blocks_are_told_and_kept(scene: Scene, clock: ManualClock) -> None:
    """The owner hears who and the public reason; the whole story stays in the list of blocks."""
    world = scene.world
    block, new = await world.blocks.block(BlockKind.RESOURCE, "shop", ORDER)
    assert (block.subject, block.reason, block.actor, new) == (scene.shop.id, ORDER.reason, "olga", True)
    again, new = await world.blocks.block(BlockKind.RESOURCE, scene.shop.id, Order(reason="again", actor="bob"))
    assert (again.id, again.created_at, again.actor, new) == (block.id, block.created_at, "bob", False)
    clock.advance(60)
    lifted = await world.blocks.lift(block.id, actor="eve")
    assert (lifted.lifted_at, lifted.lifted_by) == (clock.now(), "eve")
    assert await world.blocks.lift(block.id, actor="mallory") == lifted
    with pytest.raises(RouterError) as caught:
        await world.blocks.unblock(BlockKind.RESOURCE, scene.shop.id)
    assert caught.value.problem is NOT_FOUND
    assert (await world.blocks.list(BlockFilter())).items == ()
    assert (await world.blocks.list(BlockFilter(lifted=True))).items == (lifted,)
    events = await world.events.list(EventFilter(tenant_id=scene.tenant.id, resource_id=scene.shop.id))
    shown = [(one.type.split(".")[1], one.data["reason"]) for one in events.items if "block_id" in one.data]
    assert sorted(shown, key=str) == [("resumed", None), ("suspended", "Phishing."), ("suspended", None)]
    assert not [word for word in ("XK47", "olga", "bob", "eve") if word in str([one.data for one in events.items])]
    assert not (await world.resources.get(scene.shop.id)).suspended


async def test_expiry(scene: Scene, clock: ManualClock) -> None:
    """It ends by itself, not a moment before its time, with what follows from it; by the database's clock too."""
    until = datetime.now(UTC) + timedelta(days=900)  # nobody's clock is there
    clock.advance((until - clock.now()).total_seconds() - 60)
    block, _ = await scene.world.blocks.block(BlockKind.RESOURCE, "shop", Order(reason="x", expires_at=until))
    await _move_domain(scene)
    assert await scene.world.blocks.end_expired() == 0
    clock.advance(120)
    assert await scene.world.blocks.end_expired() == 0, "this process's clock is ahead of the database's"
    assert await scene.reasons(OWN) == ["suspended"]
    early = datetime.now(UTC) - timedelta(seconds=60)
    async with scene.world.store.begin() as tx:
        await tx.blocks.put(Block(**{**_fields(block), "expires_at": early}))
    assert await scene.world.blocks.end_expired() == 1
    assert await scene.world.blocks.end_expired() == 0
    assert await scene.reasons(OWN, f"shop.{PLATFORM}") == ["served", "served"]
    assert (await scene.world.blocks.get(block.id)).lifted_by == "expiry"


def _fields(block: Block) -> dict[str, object]:
    return {name: getattr(block, name) for name in Block.__dataclass_fields__}


@pytest.mark.parametrize(
    ("kind", "subject", "order", "fields"),
    [
        (BlockKind.HOST, "*.example.com", ORDER, {"subject": ["must be one host name; wildcards are not allowed"]}),
        (BlockKind.HOST, "10.0.0.1", ORDER, {"subject": ["must be a domain name, not an IP address"]}),
        (BlockKind.TENANT, "acme", Order(reason=" "), {"reason": ["can't be blank"]}),
        (BlockKind.TENANT, "acme", Order(reason="x", actor=""), {"actor": ["can't be blank"]}),
        (
            BlockKind.TENANT,
            "acme",
            Order(reason="x", expires_at=datetime(2026, 1, 1, tzinfo=UTC)),
            {"expires_at": ["must be in the future"]},
        ),
    ],
)
async def test_orders_that_are_refused(
    world: World, kind: BlockKind, subject: str, order: Order, fields: dict[str, list[str]]
) -> None:
    """Each mistake in its words."""
    await world.tenant("Acme")
    with pytest.raises(RouterError) as caught:
        await world.blocks.block(kind, subject, order)
    assert (caught.value.problem, caught.value.fields) == (VALIDATION_FAILED, fields)


@pytest.mark.parametrize("kind", [BlockKind.RESOURCE, BlockKind.TENANT])
async def test_what_does_not_exist_can_t_be_blocked(world: World, kind: BlockKind) -> None:
    """Neither by slug nor by id."""
    for subject in ("nothing", str(uuid.uuid4())):
        with pytest.raises(RouterError) as caught:
            await world.blocks.block(kind, subject, ORDER)
        assert caught.value.problem is NOT_FOUND


async def test_two_that_block_at_once(scene: Scene) -> None:
    """One block comes of it, and neither is refused for good."""
    results = await asyncio.gather(
        *(scene.world.blocks.block(BlockKind.HOST, OWN, ORDER) for _ in range(4)), return_exceptions=True
    )
    refused = [one for one in results if isinstance(one, BaseException)]
    assert all(isinstance(one, RouterError) and one.problem is CONFLICT for one in refused)
    assert len(refused) < 4
    assert (await scene.world.blocks.list(BlockFilter())).total == 1
