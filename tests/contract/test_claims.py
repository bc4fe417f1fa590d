"""Claims on a real store: two tenants and one name, and what a TXT record makes of that."""

import asyncio
from typing import Any

import pytest

from router.base.clock import ManualClock
from router.base.leases import Lease
from router.domains.checks.checker import Checker
from router.domains.checks.queue import DueKind, Queue
from router.domains.claims import MAX_CLAIMS
from router.domains.custom import CustomDomain
from router.domains.lookup import RecordType
from router.domains.transfers import Transfers
from router.errors import CONFLICT, RouterError, StoreUnavailableError
from router.jobs.domain_checks import DomainChecks
from router.observe.metrics import Metrics
from router.routes.records import NameRecord, Scope, name_key, zone_key
from router.settings import Ca
from router.store import Store
from router.tenancy.events import EventFilter
from router.tenancy.resources import Resource
from router.tenancy.tenants import Tenant
from tests.support.world import TARGETS, World

pytestmark = pytest.mark.asyncio

APP, ZONE = "app.example.com", "example.com"
DAY = 86400.0
TAKEN = "has already been taken"


class Pair:
    """Two tenants, `ours` and `theirs`, with a sandbox each."""

    def __init__(self, world: World, ours: Tenant, shop: Resource, theirs: Tenant, news: Resource) -> None:
        self.world = world
        self.ours, self.shop = ours, shop
        self.theirs, self.news = theirs, news

    async def happened(self, tenant: Tenant) -> list[tuple[str, str | None]]:
        """Transfers and removals that the tenant was told of, each with its reason."""
        events = (await self.world.events.list(EventFilter(tenant_id=tenant.id))).items
        told = {"domain.transferred", "domain.removed"}
        return [(event.type, event.data["reason"]) for event in reversed(events) if event.type in told]


async def pair(world: World) -> Pair:
    """Nothing of theirs is anybody else's yet."""
    ours, theirs = await world.tenant("Ours"), await world.tenant("Theirs")
    return Pair(world, ours, await world.sandbox(ours, "shop"), theirs, await world.sandbox(theirs, "news"))


async def claim(attempt: Any) -> dict[str, Any]:
    """What a refused attempt says would prove the claim."""
    with pytest.raises(RouterError, match=TAKEN) as caught:
        await attempt
    assert caught.value.problem is CONFLICT
    found: Any = caught.value.beside["claim"]
    return dict(found["records"][0])


async def lease_of(world: World) -> Lease:
    lease = await world.store.leases.acquire("check_domains", "one", 3600.0)
    assert lease is not None
    return lease


async def run_checks(world: World, clock: ManualClock) -> None:
    checks = DomainChecks(
        queue=Queue(world.store, clock),
        verification=world.verification(),
        transfers=world.transfers,
        metrics=Metrics(),
        clock=clock,
    )
    await checks.run(await lease_of(world))


async def owner(store: Store, fqdn: str) -> str | None:
    """Whose the name is, as a proxy sees it."""
    record = (await store.records.fetch([name_key(fqdn)]))[name_key(fqdn)]
    assert isinstance(record, NameRecord)
    return record.tenant_id


async def test_no_claim_brings_a_tenant_more_domains_than_it_may_have(
    world: World, store: Store, clock: ManualClock
) -> None:
    """What it proves beyond them stays with its holder until there is room; a scope's new preview domain takes no place."""
    two = await pair(world)
    checker = Checker(lookup=world.dns, fetch=world.web, ca=Ca(), targets=TARGETS, clock=clock)
    full = Transfers(store, clock, checker=checker, target="verify.miosa.ai", max_domains=2)
    await world.previews.set(Scope.TENANT, two.theirs.id, "old.example.org")
    for name in ("a.example.com", "b.example.net", "www.example.info"):
        await world.domain(two.shop, name)
    for attempt in (
        lambda: world.domains.register(two.news.id, "a.example.com"),
        lambda: world.domains.register(two.news.id, "b.example.net"),
        lambda: world.previews.set(Scope.TENANT, two.theirs.id, "example.info"),
    ):
        record = await claim(attempt())
        world.dns.put(record["fqdn"], RecordType.TXT, record["expected"])
    clock.advance(60)
    lease = await lease_of(world)
    for _ in range(2):
        for due in [due for due in await Queue(store, clock).due(10) if due.kind is DueKind.CLAIM]:
            await full.recheck(due.id, lease)
        clock.advance(120)
    owners = [await owner(store, name) for name in ("a.example.com", "b.example.net")]
    assert sorted(owners, key=str) == sorted([two.ours.id, two.theirs.id])
    assert [one.domain for one in await world.previews.of_tenant(two.theirs.id)] == ["example.info"]
    moved = await world.domains.find(("a.example.com", "b.example.net")[owners.index(two.theirs.id)])
    await world.domains.remove(moved.id)
    for due in [due for due in await Queue(store, clock).due(10) if due.kind is DueKind.CLAIM]:
        await full.recheck(due.id, lease)
    assert await owner(store, ("a.example.com", "b.example.net")[owners.index(two.ours.id)]) == two.theirs.id


async def test_a_name_that_another_tenant_has(world: World, store: Store, clock: ManualClock) -> None:
    """The TXT record moves it, with its route and in one step; both are told; then it is verified as any other."""
    two = await pair(world)
    old = await world.domain(two.shop, APP)
    record = await claim(world.domains.register(two.news.id, APP, redirect_status=301))
    assert (record["type"], record["fqdn"], record["host"]) == (
        "TXT",
        f"_miosa-challenge.{APP}",
        "_miosa-challenge.app",
    )
    assert len(record["expected"]) == 32
    assert (await claim(world.domains.register(two.news.id, APP)))["expected"] == record["expected"]
    world.dns.put(f"_miosa-challenge.{APP}", RecordType.TXT, "somebody-elses", record["expected"])
    clock.advance(10)
    touched: list[str] = []
    store.after_commit(touched.extend)
    new = await world.domains.register(two.news.id, APP, redirect_status=307)
    assert touched == [name_key(APP)]
    assert (new.tenant_id, new.status, new.token, new.redirect_status) == (
        two.theirs.id,
        "pending",
        record["expected"],
        307,
    )
    assert await owner(store, APP) == two.theirs.id
    with pytest.raises(RouterError, match="domain not found"):
        await world.domains.get(old.id)
    assert await two.happened(two.ours) == [("domain.transferred", "proven_by_another")]
    assert await two.happened(two.theirs) == [("domain.transferred", "proven")]
    world.dns.put(APP, RecordType.CNAME, "verify.miosa.ai")
    await run_checks(world, clock)
    assert (await world.domains.get(new.id)).status == "verified"


async def test_a_claim_that_is_only_waited_for(world: World, store: Store, clock: ManualClock) -> None:
    """Nobody asks again: the record is found within minutes."""
    two = await pair(world)
    await world.domain(two.shop, APP)
    record = await claim(world.domains.register(two.news.id, APP, external_user_id="dr-smith"))
    clock.advance(60)
    await run_checks(world, clock)
    assert await owner(store, APP) == two.ours.id
    world.dns.put(f"_miosa-challenge.{APP}", RecordType.TXT, record["expected"])
    clock.advance(70)
    await run_checks(world, clock)
    assert await owner(store, APP) == two.theirs.id
    moved = await world.domains.find(APP)
    assert (moved.resource_id, moved.external_user_id) == (two.news.id, "dr-smith")
    assert await Queue(store, clock).due(10) == []


async def test_somebody_else_s_token_proves_nothing(world: World, store: Store, clock: ManualClock) -> None:
    """Each claim has its own."""
    two = await pair(world)
    third = await world.sandbox(await world.tenant("Third"), "blog")
    await world.domain(two.shop, APP)
    theirs = await claim(world.domains.register(two.news.id, APP))
    other = await claim(world.domains.register(third.id, APP))
    assert theirs["expected"] != other["expected"]
    world.dns.put(f"_miosa-challenge.{APP}", RecordType.TXT, other["expected"])
    clock.advance(60)
    await claim(world.domains.register(two.news.id, APP))
    await run_checks(world, clock)
    assert await owner(store, APP) == third.tenant_id


async def test_one_check_in_ten_seconds(world: World, clock: ManualClock) -> None:
    """However often somebody asks."""
    two = await pair(world)
    await world.domain(two.shop, APP)
    for _ in range(5):
        await claim(world.domains.register(two.news.id, APP))
        clock.advance(1)
    assert len([one for one in world.dns.asked if one.type is RecordType.TXT]) == 1
    clock.advance(10)
    await claim(world.domains.register(two.news.id, APP))
    assert len([one for one in world.dns.asked if one.type is RecordType.TXT]) == 2


async def test_within_30_days_of_letting_go(world: World, store: Store, clock: ManualClock) -> None:
    """Whoever had it may have it again at once; others need a record, or patience."""
    two = await pair(world)
    for _ in range(2):
        domain = await world.domain(two.shop, APP)
        await world.domains.remove(domain.id)
    clock.advance(29 * DAY)
    await claim(world.domains.register(two.news.id, APP))
    await claim(world.previews.set(Scope.TENANT, two.theirs.id, ZONE))
    clock.advance(DAY + 1)
    assert (await world.domains.register(two.news.id, APP)).tenant_id == two.theirs.id
    await claim(world.domains.register(two.shop.id, APP))


async def test_the_last_holder_counts(world: World, clock: ManualClock) -> None:
    """Who had it before protects nobody: whoever proved it may let go and come back."""
    two = await pair(world)
    await world.domain(two.shop, APP)
    record = await claim(world.domains.register(two.news.id, APP))
    world.dns.put(f"_miosa-challenge.{APP}", RecordType.TXT, record["expected"])
    clock.advance(10)
    moved = await world.domains.register(two.news.id, APP)
    await world.domains.remove(moved.id)
    await claim(world.domains.register(two.shop.id, APP))
    assert (await world.domains.register(two.news.id, APP)).tenant_id == two.theirs.id


async def test_a_preview_domain_that_was_let_go(world: World, clock: ManualClock) -> None:
    """Its wildcards may still be there, and would verify any name below them."""
    two = await pair(world)
    await world.zone(Scope.TENANT, two.ours.id, ZONE)
    await world.previews.set(Scope.TENANT, two.ours.id, "other.example")
    for name in (APP, ZONE, "a.b.example.com"):
        await claim(world.domains.register(two.news.id, name))
    for zone in (ZONE, "preview.example.com"):
        await claim(world.previews.set(Scope.TENANT, two.theirs.id, zone))
    assert (await world.domains.register(two.shop.id, APP)).tenant_id == two.ours.id
    await world.previews.set(Scope.TENANT, two.ours.id, ZONE)
    clock.advance(31 * DAY)
    await claim(world.domains.register(two.news.id, "www.example.com"))


async def test_a_preview_domain_is_claimed(world: World, store: Store, clock: ManualClock) -> None:
    """With all that others have below it, which its wildcards would cover; what lies above stays."""
    two = await pair(world)
    await world.zone(Scope.TENANT, two.ours.id, "preview.example.com")
    workspace = await world.workspaces.default(two.ours.id)
    await world.zone(Scope.WORKSPACE, workspace.id, "a.preview.example.com")
    await world.domain(two.shop, "www.preview.example.com")
    await world.domain(two.shop, "www.example.com")
    domain = "preview.example.com"
    record = await claim(world.previews.set(Scope.TENANT, two.theirs.id, domain))
    assert (record["fqdn"], record["host"]) == (f"_miosa-challenge.{domain}", "_miosa-challenge.preview")
    world.dns.put(f"_miosa-challenge.{domain}", RecordType.TXT, record["expected"])
    for name in ("*", "*.sandbox"):
        world.dns.put(f"{name}.{domain}", RecordType.CNAME, "proxy.miosa.ai")
    clock.advance(10)
    touched: list[str] = []
    store.after_commit(touched.extend)
    moved = await world.previews.set(Scope.TENANT, two.theirs.id, domain)
    assert (moved.tenant_id, moved.status) == (two.theirs.id, "pending_dns")
    assert set(touched) == {
        zone_key(domain),
        zone_key(f"a.{domain}"),
        name_key(f"www.{domain}"),
    }
    assert await world.previews.of_tenant(two.ours.id) == ()
    assert (await world.domains.find("www.example.com")).tenant_id == two.ours.id
    assert await two.happened(two.ours) == [("domain.transferred", "proven_by_another")] * 3
    assert await two.happened(two.theirs) == [("domain.transferred", "proven")]
    await run_checks(world, clock)
    (verified,) = await world.previews.of_tenant(two.theirs.id)
    assert verified.verified
    await world.previews.clear(Scope.TENANT, two.theirs.id)
    await claim(world.previews.set(Scope.TENANT, two.ours.id, domain))
    assert await world.previews.set(Scope.TENANT, two.theirs.id, domain)


async def test_a_name_inside_another_s_preview_domain(world: World, store: Store, clock: ManualClock) -> None:
    """Whoever shows to control it has it; the preview domain around it goes on for all else."""
    two = await pair(world)
    await world.zone(Scope.TENANT, two.ours.id, ZONE)
    record = await claim(world.domains.register(two.news.id, APP))
    world.dns.put(f"_miosa-challenge.{APP}", RecordType.TXT, record["expected"])
    clock.advance(60)
    await run_checks(world, clock)
    assert await owner(store, APP) == two.theirs.id
    (zone,) = await world.previews.of_tenant(two.ours.id)
    assert zone.verified
    assert await two.happened(two.ours) == []


async def test_a_claim_ends(world: World, clock: ManualClock) -> None:
    """After a week; who asks then has a new token."""
    two = await pair(world)
    await world.domain(two.shop, APP)
    first = await claim(world.domains.register(two.news.id, APP))
    clock.advance(7 * DAY)
    await run_checks(world, clock)
    async with world.store.read() as tx:
        assert await tx.claims.count(two.theirs.id) == 0
    world.dns.put(f"_miosa-challenge.{APP}", RecordType.TXT, first["expected"])
    second = await claim(world.domains.register(two.news.id, APP))
    assert second["expected"] != first["expected"]
    clock.advance(7 * DAY)
    third = await claim(world.domains.register(two.news.id, APP))
    assert third["expected"] != second["expected"]


async def test_claims_are_bounded(world: World, clock: ManualClock) -> None:
    """A tenant that claims a hundred names has to see to them first, and is told so."""
    two = await pair(world)
    await world.zone(Scope.TENANT, two.ours.id, ZONE)
    for number in range(MAX_CLAIMS):
        await claim(world.domains.register(two.news.id, f"n{number}.example.com"))
    with pytest.raises(RouterError, match=TAKEN) as caught:
        await world.domains.register(two.news.id, APP)
    assert caught.value.beside == {}
    assert f"this account has {MAX_CLAIMS} open claims" in caught.value.message
    assert await claim(world.domains.register(two.news.id, "n1.example.com"))


async def test_one_s_own_names_are_not_claimed(world: World) -> None:
    """What is in use on another resource of the same tenant is removed there first."""
    two = await pair(world)
    await world.domain(two.shop, APP)
    for resource in (two.shop, await world.sandbox(two.ours, "blog")):
        with pytest.raises(RouterError, match=TAKEN) as caught:
            await world.domains.register(resource.id, APP)
        assert caught.value.beside == {}


async def test_proven_twice_at_once(world: World, clock: ManualClock) -> None:
    """By whoever asks, several times, and by the schedule: the name moves once, and nobody is told twice."""
    two = await pair(world)
    await world.domain(two.shop, APP)
    record = await claim(world.domains.register(two.news.id, APP))
    world.dns.put(f"_miosa-challenge.{APP}", RecordType.TXT, record["expected"])
    clock.advance(60)
    results = await asyncio.gather(
        world.domains.register(two.news.id, APP),
        run_checks(world, clock),
        world.domains.register(two.news.id, APP),
        return_exceptions=True,
    )
    made = [result for result in results if isinstance(result, CustomDomain)]
    assert {domain.id for domain in made} <= {(await world.domains.find(APP)).id}
    assert all(result.problem is CONFLICT for result in results if isinstance(result, RouterError))
    assert await two.happened(two.ours) == [("domain.transferred", "proven_by_another")]
    assert await two.happened(two.theirs) == [("domain.transferred", "proven")]


async def test_a_claim_whose_resource_is_gone(world: World, store: Store, clock: ManualClock) -> None:
    """Proven too late: the name stays where it is."""
    two = await pair(world)
    await world.domain(two.shop, APP)
    record = await claim(world.domains.register(two.news.id, APP))
    await world.resources.delete(two.news.id)
    world.dns.put(f"_miosa-challenge.{APP}", RecordType.TXT, record["expected"])
    clock.advance(60)
    await run_checks(world, clock)
    assert await owner(store, APP) == two.ours.id
    assert await two.happened(two.ours) == []


async def test_a_claim_whose_project_is_gone(world: World, clock: ManualClock) -> None:
    """Nobody loses a preview domain to a scope that is not there."""
    two = await pair(world)
    project = await world.project(await world.workspaces.default(two.theirs.id), "Site")
    await world.zone(Scope.TENANT, two.ours.id, ZONE)
    await world.domain(two.shop, APP)
    record = await claim(world.previews.set(Scope.PROJECT, project.id, ZONE))
    await world.projects.delete(project.id)
    world.dns.put(f"_miosa-challenge.{ZONE}", RecordType.TXT, record["expected"])
    clock.advance(60)
    await run_checks(world, clock)
    assert [preview.domain for preview in await world.previews.of_tenant(two.ours.id)] == [ZONE]
    assert (await world.domains.find(APP)).tenant_id == two.ours.id
    assert await two.happened(two.ours) == []


async def test_proven_again_for_another_resource(world: World, clock: ManualClock) -> None:
    """Inside another's preview domain each registration is proven; whose resource is gone may use the name for a new one."""
    two = await pair(world)
    await world.zone(Scope.TENANT, two.ours.id, ZONE)
    record = await claim(world.domains.register(two.news.id, APP))
    world.dns.put(f"_miosa-challenge.{APP}", RecordType.TXT, record["expected"])
    clock.advance(10)
    old = await world.domains.register(two.news.id, APP)
    await world.resources.delete(two.news.id)
    blog = await world.sandbox(two.theirs, "blog")
    record = await claim(world.domains.register(blog.id, APP))
    world.dns.put(f"_miosa-challenge.{APP}", RecordType.TXT, record["expected"])
    clock.advance(10)
    new = await world.domains.register(blog.id, APP)
    assert (new.resource_id, new.id == old.id) == (blog.id, False)
    told = await two.happened(two.theirs)
    assert sorted(word for word, _ in told) == ["domain.removed", "domain.transferred", "domain.transferred"]


async def test_a_name_under_another_s_custom_domain(world: World, clock: ManualClock) -> None:
    """Its owner may have a wildcard beside it, by which any name below would be verified at once."""
    two = await pair(world)
    await world.domain(two.shop, ZONE)
    record = await claim(world.domains.register(two.news.id, APP))
    assert (await world.domains.register(two.shop.id, "www.example.com")).tenant_id == two.ours.id
    world.dns.put(f"_miosa-challenge.{APP}", RecordType.TXT, record["expected"])
    clock.advance(10)
    assert (await world.domains.register(two.news.id, APP)).tenant_id == two.theirs.id
    assert (await world.domains.find(ZONE)).tenant_id == two.ours.id


async def test_a_holder_of_the_job_that_was_frozen(world: World, store: Store, clock: ManualClock) -> None:
    """It moves nothing once another has the job."""
    two = await pair(world)
    await world.domain(two.shop, APP)
    record = await claim(world.domains.register(two.news.id, APP))
    world.dns.put(f"_miosa-challenge.{APP}", RecordType.TXT, record["expected"])
    clock.advance(60)
    (due,) = [one for one in await Queue(store, clock).due(10) if one.kind == "claim"]
    lease = await lease_of(world)
    await store.leases.release(lease)
    assert await store.leases.acquire("check_domains", "two", 3600.0)
    with pytest.raises(StoreUnavailableError):
        await world.transfers.recheck(due.id, lease)
    assert await owner(store, APP) == two.ours.id
