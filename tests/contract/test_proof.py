"""Proofs of names on a real store: two tenants, what each registered, claimed or had, what DNS shows, and who gets the name."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from router.base.clock import ManualClock
from router.domains.checks.proof import Need
from router.domains.checks.queue import Queue
from router.domains.custom import CustomDomain
from router.domains.lookup import Answer, Outcome, Question, RecordType
from router.errors import CONFLICT, DNS_UNKNOWN, PROOF_NEEDED, RouterError
from router.jobs.domain_checks import DomainChecks
from router.observe.metrics import Metrics
from router.routes.records import Scope
from router.store import Store
from router.store.migrations.versions import v0015_proofs
from router.tenancy.resources import Resource
from router.tenancy.tenants import Tenant
from tests.support.database import on_sqlite
from tests.support.memory_dns import MemoryLookup
from tests.support.world import World

pytestmark = pytest.mark.asyncio

A, CNAME, TXT = RecordType.A, RecordType.CNAME, RecordType.TXT
SHOP, ZONE, SHARED = "shop.example.com", "example.com", "verify.miosa.ai"
DAY = timedelta(days=1).total_seconds()


@dataclass
class Two:
    """A tenant that wants a name, `mine`, and another one."""

    world: World
    mine: Tenant
    shop: Resource
    theirs: Tenant
    news: Resource


class Reserved(MemoryLookup):
    """A twin that says nothing of names that nobody has."""

    async def ask(self, questions: Sequence[Question], until: float, *, fresh: bool = False) -> Sequence[Answer]:
        answers = await super().ask(questions, until, fresh=fresh)
        unknown = Answer(Outcome.UNKNOWN, reason="servfail")
        return [
            unknown if question.name.startswith("miosa-") else answer
            for question, answer in zip(questions, answers, strict=True)
        ]


async def two_of(world: World) -> Two:
    for target in (SHARED, "proxy.miosa.ai"):
        world.dns.put(target, A, "192.0.2.1")
    mine, theirs = await world.tenant("Mine"), await world.tenant("Theirs")
    return Two(world, mine, await world.sandbox(mine, "shop"), theirs, await world.sandbox(theirs, "news"))


async def claimed(world: World, resource: Resource, name: str) -> dict[str, str]:
    """The token that a refused registration says would prove the claim, and the CNAME that would."""
    with pytest.raises(RouterError) as caught:
        await world.domains.register(resource.id, name)
    assert caught.value.problem is CONFLICT
    found: Any = caught.value.beside["claim"]
    return {record["type"]: record["expected"] for record in found["records"]}


async def run_checks(world: World, clock: ManualClock) -> None:
    checks = DomainChecks(
        queue=Queue(world.store, clock),
        verification=world.verification(),
        transfers=world.transfers,
        metrics=Metrics(),
        clock=clock,
    )
    lease = await world.store.leases.acquire("check_domains", "one", 3600.0)
    assert lease is not None
    await checks.run(lease)


async def verify(world: World, domain: CustomDomain) -> tuple[str, str | None]:
    """What comes of a verify call: the state, and why a proof is needed."""
    try:
        return (await world.verification().custom_domain(domain.id)).status.value, None
    except RouterError as error:
        seen = await world.domains.get(domain.id)
        if error.problem is not PROOF_NEEDED:
            return error.problem.code, None
        proof: Any = error.beside["proof"]
        assert proof["reason"] == seen.proof_needed
        return seen.status.value, proof["reason"]


# What another tenant has to do with `shop.example.com` when somebody's registration of it is verified.


async def nothing(_: Two, __: ManualClock) -> None:
    """No other tenant knows the domain."""


async def an_open_claim(two: Two, _: ManualClock) -> None:
    await claimed(two.world, two.news, SHOP)


async def a_claim_that_ended(two: Two, clock: ManualClock) -> None:
    await claimed(two.world, two.news, SHOP)
    clock.advance(7 * DAY)


async def a_claim_beside(two: Two, _: ManualClock) -> None:
    await two.world.domains.register(two.shop.id, "other.example.com")
    await claimed(two.world, two.news, "other.example.com")


async def a_name_beside(two: Two, _: ManualClock) -> None:
    await two.world.domains.register(two.news.id, "www.example.com")


async def a_verified_name_beside(two: Two, _: ManualClock) -> None:
    await two.world.domain(two.news, "www.example.com", redirect_policy="www_to_apex")


async def a_name_deeper(two: Two, _: ManualClock) -> None:
    await two.world.domains.register(two.news.id, "a.b.example.com")


async def a_name_beside_long_gone(two: Two, clock: ManualClock) -> None:
    gone = await two.world.domains.register(two.news.id, "www.example.com")
    await two.world.domains.remove(gone.id)
    clock.advance(31 * DAY)


async def a_name_beside_lately_gone(two: Two, clock: ManualClock) -> None:
    gone = await two.world.domains.register(two.news.id, "www.example.com")
    await two.world.domains.remove(gone.id)
    clock.advance(29 * DAY)


async def a_zone_beside(two: Two, _: ManualClock) -> None:
    await two.world.previews.set(Scope.TENANT, two.theirs.id, "preview.example.com")


async def a_zone_beside_lately_gone(two: Two, _: ManualClock) -> None:
    await two.world.previews.set(Scope.TENANT, two.theirs.id, "preview.example.com")
    await two.world.previews.clear(Scope.TENANT, two.theirs.id)


async def a_name_of_another_domain(two: Two, _: ManualClock) -> None:
    await two.world.domains.register(two.news.id, "shop.example.org")


SITUATIONS = [
    (nothing, None),
    (an_open_claim, Need.CLAIMED),
    (a_claim_that_ended, None),
    (a_claim_beside, Need.DOMAIN),
    (a_name_beside, Need.DOMAIN),
    (a_verified_name_beside, Need.DOMAIN),
    (a_name_deeper, Need.DOMAIN),
    (a_name_beside_long_gone, None),
    (a_name_beside_lately_gone, Need.DOMAIN),
    (a_zone_beside, Need.DOMAIN),
    (a_zone_beside_lately_gone, Need.DOMAIN),
    (a_name_of_another_domain, None),
]


@pytest.mark.parametrize(("situation", "need"), SITUATIONS, ids=lambda one: getattr(one, "__name__", str(one)))
async def test_who_is_verified(world: World, clock: ManualClock, situation: Any, need: Need | None) -> None:
    """By verify and by the job alike: shared records where no other tenant can be meant, a proof of one's own in any case."""
    two = await two_of(world)
    domain = await world.domains.register(two.shop.id, SHOP)
    await situation(two, clock)
    world.dns.put(SHOP, CNAME, SHARED)
    clock.advance(60)
    await run_checks(world, clock)
    status = (await world.domains.get(domain.id)).status.value
    if need is None:
        assert status == "verified"
        return
    assert status in {"pending", "failed"}  # the second where weeks have gone by
    clock.advance(60)
    assert await verify(world, domain) == (status, need)
    for record in (A, CNAME):  # as an ALIAS gives it, and as the CNAME does
        world.dns.remove(SHOP)
        world.dns.put(SHOP, record, "192.0.2.1" if record is A else SHARED)
        clock.advance(60)
        assert await verify(world, domain) == (status, need)
    world.dns.put(f"_miosa-challenge.{SHOP}", TXT, "0b" * 16)
    clock.advance(60)
    assert await verify(world, domain) == (status, need)
    world.dns.put(f"_miosa-challenge.{SHOP}", TXT, domain.token)
    clock.advance(60)
    assert await verify(world, domain) == ("verified", None)


@pytest.mark.parametrize(("situation", "need"), SITUATIONS, ids=lambda one: getattr(one, "__name__", str(one)))
async def test_the_recommended_record_is_always_enough(
    world: World, clock: ManualClock, situation: Any, need: Need | None
) -> None:
    """A CNAME to the target of the registration's own, by the job alone."""
    two = await two_of(world)
    domain = await world.domains.register(two.shop.id, SHOP)
    await situation(two, clock)
    world.dns.put(SHOP, CNAME, f"{domain.token}.{SHARED}")
    clock.advance(4 * 3600 if need is None else 60)
    await run_checks(world, clock)
    assert (await world.domains.get(domain.id)).status.value == "verified"


async def test_a_squatter_waits_for_the_owner(world: World, clock: ManualClock) -> None:
    """Who registered first and proves nothing gets nothing when the owner adds the CNAME to the shared target; the owner's
    own CNAME moves the name at once."""
    two = await two_of(world)
    squat = await world.domains.register(two.news.id, SHOP)
    owner = await claimed(world, two.shop, SHOP)
    world.dns.put(SHOP, CNAME, SHARED)
    for _ in range(5):
        clock.advance(3600)
        await run_checks(world, clock)
        assert await verify(world, squat) == ("pending", Need.CLAIMED)
    world.dns.put(SHOP, CNAME, owner["CNAME"])
    clock.advance(60)
    moved = await world.domains.register(two.shop.id, SHOP)
    assert (moved.tenant_id, owner["CNAME"]) == (two.mine.id, f"{moved.token}.{SHARED}")
    await run_checks(world, clock)
    assert (await world.domains.get(moved.id)).status.value == "verified"


async def test_a_proof_beats_a_holder_that_was_verified_by_shared_records(world: World, clock: ManualClock) -> None:
    """And until then the holder goes on: a claim without a proof takes nothing down, however often it is made."""
    two = await two_of(world)
    world.dns.put(SHOP, CNAME, SHARED)
    held = await world.domains.register(two.news.id, SHOP)
    assert await verify(world, held) == ("verified", None)
    owner = await claimed(world, two.shop, SHOP)
    for _ in range(20):
        clock.advance(6.7 * 3600)
        await claimed(world, two.shop, SHOP)
        await run_checks(world, clock)
        assert (await world.domains.get(held.id)).status.value == "verified"
    world.dns.put(SHOP, CNAME, owner["CNAME"])
    clock.advance(60)
    moved = await world.domains.register(two.shop.id, SHOP)
    assert moved.tenant_id == two.mine.id
    await run_checks(world, clock)
    assert (await world.domains.get(moved.id)).status.value == "verified"
    # The one that lost it has no part in it any more: its old target and its old token are nobody's.
    back = await claimed(world, two.news, SHOP)
    assert held.token not in back.values()
    world.dns.put(SHOP, CNAME, f"{held.token}.{SHARED}")
    world.dns.put(f"_miosa-challenge.{SHOP}", TXT, held.token)
    clock.advance(60)
    await claimed(world, two.news, SHOP)


async def test_the_apex_beside_a_redirect(world: World, clock: ManualClock) -> None:
    """Whose `www` sends its visitors to the apex has an apex that leads to us; another tenant is not verified by that."""
    two = await two_of(world)
    world.dns.put("www.example.com", CNAME, SHARED)
    world.dns.put(ZONE, A, "192.0.2.1")
    www = await world.domains.register(two.shop.id, "www.example.com", redirect_policy="www_to_apex")
    assert await verify(world, www) == ("verified", None)
    squat = await world.domains.register(two.news.id, ZONE)
    assert await verify(world, squat) == ("pending", Need.DOMAIN)
    await world.domains.remove(squat.id)
    apex = await claimed(world, two.shop, ZONE)
    world.dns.put(f"_miosa-challenge.{ZONE}", TXT, apex["TXT"])
    clock.advance(60)
    assert (await world.domains.register(two.shop.id, ZONE)).tenant_id == two.mine.id


@pytest.mark.parametrize("alone", [True, False])
async def test_names_that_a_wildcard_answers_for(world: World, clock: ManualClock, alone: bool) -> None:
    """Nobody is verified by them, not even the first that comes; who puts a target of one's own into the wildcard is."""
    two = await two_of(world)
    world.dns.put("*.example.com", CNAME, SHARED)
    if not alone:
        owner = await world.domains.register(two.shop.id, "app.example.com")
        assert await verify(world, owner) == ("pending", Need.WILDCARD)
        world.dns.put("app.example.com", CNAME, f"{owner.token}.{SHARED}")
        clock.advance(60)
        assert await verify(world, owner) == ("verified", None)
    for name in ("evil.example.com", "login.deep.example.com"):
        evil = await world.domains.register(two.news.id, name)
        assert await verify(world, evil) == ("pending", Need.WILDCARD if alone else Need.DOMAIN)
        world.dns.remove("*.example.com")
        world.dns.put("*.example.com", A, "192.0.2.1")
        clock.advance(60)
        assert await verify(world, evil) == ("pending", Need.WILDCARD if alone else Need.DOMAIN)
        world.dns.remove("*.example.com")
        world.dns.put("*.example.com", CNAME, f"{evil.token}.{SHARED}")
        clock.advance(60)
        assert await verify(world, evil) == ("verified", None)
        await world.domains.remove(evil.id)
        world.dns.put("*.example.com", CNAME, SHARED)


@pytest.mark.parametrize("zone", ["github.io", "blogspot.com", "example.co.uk"])
@pytest.mark.parametrize(("kind", "value"), [(CNAME, SHARED), (A, "192.0.2.1")])
async def test_a_wildcard_of_a_public_suffix(world: World, zone: str, kind: RecordType, value: str) -> None:
    """Where a company lets others have names, its wildcard says as little about each of them as any other's."""
    two = await two_of(world)
    world.dns.put(f"*.{zone}", kind, value)
    evil = await world.domains.register(two.news.id, f"evil.{zone}")
    assert await verify(world, evil) == ("pending", Need.WILDCARD)


async def test_a_txt_record_by_a_wildcard(world: World, clock: ManualClock) -> None:
    """Whose service has all names below a domain can show any token there, and has not shown that the domain is theirs: no
    holder loses it, neither to a custom domain nor to a preview domain. A record of its own is a proof beside the wildcard."""
    two = await two_of(world)
    world.dns.put(ZONE, A, "192.0.2.1")
    held = await world.domains.register(two.shop.id, ZONE)
    assert await verify(world, held) == ("verified", None)
    tokens = await claimed(world, two.news, ZONE)
    world.dns.put("*.example.com", CNAME, "edge.service.net")
    world.dns.put("edge.service.net", TXT, tokens["TXT"])
    clock.advance(60)
    await claimed(world, two.news, ZONE)
    await run_checks(world, clock)
    with pytest.raises(RouterError, match="has already been taken"):
        await world.previews.set(Scope.TENANT, two.theirs.id, ZONE)
    clock.advance(60)
    with pytest.raises(RouterError, match="has already been taken"):
        await world.previews.set(Scope.TENANT, two.theirs.id, ZONE)
    world.dns.remove("*.example.com")
    world.dns.put("*.example.com", TXT, tokens["TXT"])
    clock.advance(60)
    await claimed(world, two.news, ZONE)
    assert (await world.domains.get(held.id)).status.value == "verified"
    world.dns.put("_miosa-challenge.example.com", TXT, tokens["TXT"])
    world.dns.remove("*.example.com")
    world.dns.put("*.example.com", CNAME, "edge.service.net")
    clock.advance(60)
    assert (await world.domains.register(two.news.id, ZONE)).tenant_id == two.theirs.id


async def test_a_wildcard_on_the_way(world: World) -> None:
    """A customer of somebody's service points a name to the service's, which a wildcard leads here: it is not the first
    comer's."""
    two = await two_of(world)
    world.dns.put(SHOP, CNAME, "shop.service.example.net")
    world.dns.put("*.service.example.net", CNAME, SHARED)
    evil = await world.domains.register(two.news.id, SHOP)
    assert await verify(world, evil) == ("pending", Need.WILDCARD)


async def test_an_alias_that_is_another_tenant_s(world: World, clock: ManualClock) -> None:
    """A name that leads here through another tenant's name is that tenant's customer's; theirs proves it by that name's own
    target, which is theirs as well."""
    two = await two_of(world)
    edge = await world.domains.register(two.shop.id, "edge.service.net")
    world.dns.put("edge.service.net", CNAME, f"{edge.token}.{SHARED}")
    assert await verify(world, edge) == ("verified", None)
    world.dns.put(SHOP, CNAME, "edge.service.net")
    evil = await world.domains.register(two.news.id, SHOP)
    assert await verify(world, evil) == ("pending", Need.ANOTHERS_TARGET)
    await world.domains.remove(evil.id)
    clock.advance(31 * DAY)
    mine = await world.domains.register(two.shop.id, SHOP)
    assert await verify(world, mine) == ("verified", None)


async def test_a_target_that_somebody_left_behind(world: World, clock: ManualClock) -> None:
    """After any time it verifies nobody but the tenant that it was given to."""
    two = await two_of(world)
    old = await world.domains.register(two.shop.id, SHOP)
    world.dns.put(SHOP, CNAME, f"{old.token}.{SHARED}")
    assert await verify(world, old) == ("verified", None)
    await world.domains.remove(old.id)
    clock.advance(400 * DAY)
    evil = await world.domains.register(two.news.id, SHOP)
    assert await verify(world, evil) == ("pending", Need.ANOTHERS_TARGET)
    await world.domains.remove(evil.id)
    clock.advance(400 * DAY)
    again = await world.domains.register(two.shop.id, SHOP)
    assert await verify(world, again) == ("verified", None)


async def test_what_nobody_can_tell_verifies_nobody(world: World, clock: ManualClock) -> None:
    """Servers that don't answer for the name beside it leave it open whether there is a wildcard; one's own target needs
    no such question."""
    two = await two_of(world)
    dns = Reserved()
    dns.put(SHOP, CNAME, SHARED)
    domain = await world.domains.register(two.shop.id, SHOP)
    with pytest.raises(RouterError) as caught:
        await world.verification(dns).custom_domain(domain.id)
    assert caught.value.problem is DNS_UNKNOWN
    dns.put(SHOP, CNAME, f"{domain.token}.{SHARED}")
    clock.advance(60)
    assert (await world.verification(dns).custom_domain(domain.id)).status.value == "verified"


async def test_a_domain_that_was_verified_comes_back_by_the_same_rule(world: World, clock: ManualClock) -> None:
    """What failed may have changed hands: it comes back by shared records only where no other tenant can be meant."""
    two = await two_of(world)
    world.dns.put(SHOP, CNAME, SHARED)
    domain = await world.domains.register(two.shop.id, SHOP)
    assert await verify(world, domain) == ("verified", None)
    await world.fail(domain.id)
    await claimed(world, two.news, SHOP)
    clock.advance(60)
    assert await verify(world, domain) == ("failed", Need.CLAIMED)
    world.dns.put(f"_miosa-challenge.{SHOP}", TXT, domain.token)
    clock.advance(60)
    assert await verify(world, domain) == ("verified", None)


async def test_asking_again_restarts_nobody_s_wait(world: World, clock: ManualClock) -> None:
    """A registration that proves nothing while another tenant claims the name ends after its days, however often its tenant
    asks; and so does a claim."""
    two = await two_of(world)
    squat = await world.domains.register(two.news.id, SHOP)
    await claimed(world, two.shop, SHOP)
    world.dns.put(SHOP, CNAME, SHARED)
    for _ in range(16):
        clock.advance(DAY)
        await claimed(world, two.shop, SHOP)
        try:
            await world.verification().check_custom_domain(squat.id)
        except RouterError:
            break
    with pytest.raises(RouterError, match="domain not found"):
        await world.domains.get(squat.id)


async def test_a_name_that_moves_to_a_new_resource_keeps_its_records(world: World, clock: ManualClock) -> None:
    """The token is the tenant's for this name: deleted and made anew, it is verified by the CNAME that is there, also where
    another tenant has a name of the domain. Who lost the name to a proof begins with another token."""
    two = await two_of(world)
    old = await world.domains.register(two.shop.id, SHOP)
    await world.domains.register(two.news.id, "www.example.com")
    world.dns.put(SHOP, CNAME, f"{old.token}.{SHARED}")
    await world.resources.delete(two.shop.id)
    again = await world.sandbox(two.mine, "again")
    new = await world.domains.register(again.id, SHOP)
    assert await verify(world, new) == ("verified", None)
    owner = await claimed(world, two.news, SHOP)
    world.dns.put(f"_miosa-challenge.{SHOP}", TXT, owner["TXT"])
    clock.advance(60)
    moved = await world.domains.register(two.news.id, SHOP)
    await world.domains.remove(moved.id)
    clock.advance(40 * DAY)
    back = await world.domains.register(again.id, SHOP)
    assert back.token != new.token


@on_sqlite
async def test_what_an_older_version_stored(world: World, store: Store, database: str) -> None:
    """The migration gives each name its registered domain, and each preview domain a token: its registrations count."""
    two = await two_of(world)
    await world.domain(two.news, "www.example.co.uk")
    await world.previews.set(Scope.TENANT, two.theirs.id, "preview.example.net")
    await claimed(world, two.shop, "www.example.co.uk")
    gone = await world.domains.register(two.news.id, "old.example.org")
    await world.domains.remove(gone.id)
    mine = [
        await world.domains.register(two.shop.id, f"shop.{one}")
        for one in ("example.co.uk", "example.net", "example.org")
    ]
    engine = sa.create_engine(database)
    with engine.begin() as connection:
        for table in ("custom_domains", "zones", "released_zones", "name_claims"):
            connection.execute(sa.text(f"DROP INDEX ix_{table}_registered"))
            connection.execute(sa.text(f"ALTER TABLE {table} DROP COLUMN registered"))
        connection.execute(sa.text("ALTER TABLE preview_domains DROP COLUMN token"))
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        v0015_proofs.upgrade()
    engine.dispose()
    for domain in mine:
        world.dns.put(domain.fqdn, CNAME, SHARED)
        assert await verify(world, domain) == ("pending", Need.DOMAIN)
    (zone,) = await world.previews.of_tenant(two.theirs.id)
    assert len(zone.token) == 32


# Preview domains.


async def verify_zone(world: World, scope: Scope, scope_id: str) -> tuple[bool, Need | None]:
    preview, check = await world.verification().preview_domain(scope, scope_id)
    return preview.verified, check.need


def lead_here(world: World, zone: str, target: str = "proxy.miosa.ai") -> None:
    for wildcard in ("*", "*.sandbox"):
        world.dns.put(f"{wildcard}.{zone}", CNAME, target)


async def test_a_preview_domain_that_somebody_else_claims(world: World, clock: ManualClock) -> None:
    """Its wildcards to the shared target verify it for nobody; a TXT record or wildcards to a target of one's own do."""
    two = await two_of(world)
    zone = "preview.example.com"
    await world.previews.set(Scope.TENANT, two.theirs.id, zone)
    with pytest.raises(RouterError) as caught:
        await world.previews.set(Scope.TENANT, two.mine.id, zone)
    found: Any = caught.value.beside["claim"]
    token = found["records"][0]["expected"]
    lead_here(world, zone)
    clock.advance(60)
    await run_checks(world, clock)
    clock.advance(60)
    assert await verify_zone(world, Scope.TENANT, two.theirs.id) == (False, Need.CLAIMED)
    lead_here(world, zone, f"{token}.proxy.miosa.ai")
    clock.advance(60)
    moved = await world.previews.set(Scope.TENANT, two.mine.id, zone)
    assert (moved.tenant_id, moved.token) == (two.mine.id, token)
    assert await verify_zone(world, Scope.TENANT, two.mine.id) == (True, None)


@pytest.mark.parametrize("above", [True, False])
async def test_a_preview_domain_beside_or_around_another_tenant_s_name(
    world: World, clock: ManualClock, above: bool
) -> None:
    """The same registered domain, whichever of the two it is that comes later; and one's own TXT record is enough."""
    two = await two_of(world)
    await world.domain(two.shop, "www.example.com")
    zone = "preview.example.com" if not above else "deep.preview.example.com"
    preview = await world.previews.set(Scope.TENANT, two.theirs.id, zone)
    lead_here(world, zone)
    assert await verify_zone(world, Scope.TENANT, two.theirs.id) == (False, Need.DOMAIN)
    world.dns.put(f"_miosa-challenge.{zone}", TXT, preview.token)
    clock.advance(60)
    assert await verify_zone(world, Scope.TENANT, two.theirs.id) == (True, None)


async def test_a_preview_domain_that_a_wildcard_further_up_answers_for(world: World) -> None:
    """The owner of the domain meant all its names for itself, not this zone for the first that comes."""
    two = await two_of(world)
    world.dns.put("*.example.com", CNAME, "proxy.miosa.ai")
    await world.previews.set(Scope.TENANT, two.theirs.id, "evil.example.com")
    assert await verify_zone(world, Scope.TENANT, two.theirs.id) == (False, Need.WILDCARD)


async def test_a_preview_domain_that_nobody_else_wants(world: World, clock: ManualClock) -> None:
    """Its two wildcards are enough, as ever, at the top of a domain and below it."""
    two = await two_of(world)
    for zone in (ZONE, "preview.example.org"):
        lead_here(world, zone)
        await world.previews.set(Scope.TENANT, two.mine.id, zone)
        clock.advance(60)
        assert await verify_zone(world, Scope.TENANT, two.mine.id) == (True, None)


async def test_names_inside_one_s_own_preview_domain(world: World, clock: ManualClock) -> None:
    """Its wildcards answer for them, and they are the tenant's already: a zone further down and a custom domain need no proof.
    An alias on the way may lead to somebody else's wildcard."""
    two = await two_of(world)
    lead_here(world, ZONE)
    await world.previews.set(Scope.TENANT, two.mine.id, ZONE)
    shop = await world.domains.register(two.shop.id, SHOP)
    assert await verify(world, shop) == ("pending", Need.WILDCARD)
    assert await verify_zone(world, Scope.TENANT, two.mine.id) == (True, None)
    clock.advance(60)
    assert await verify(world, shop) == ("verified", None)
    workspace = await world.workspaces.default(two.mine.id)
    await world.previews.set(Scope.WORKSPACE, workspace.id, "eu.example.com")
    lead_here(world, "eu.example.com")
    assert await verify_zone(world, Scope.WORKSPACE, workspace.id) == (True, None)
    world.dns.put("out.example.com", CNAME, "x.service.net")
    world.dns.put("*.service.net", CNAME, SHARED)
    out = await world.domains.register(two.shop.id, "out.example.com")
    assert await verify(world, out) == ("pending", Need.WILDCARD)
