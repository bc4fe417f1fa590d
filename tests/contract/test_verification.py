"""Verification on a real store: what a check asks DNS, how long it may take, and what happens meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from router.base.clock import ManualClock
from router.domains.checks.checker import CHECK_TIME
from router.domains.checks.pointing import CheckResult
from router.domains.checks.schedule import Method
from router.domains.checks.verification import Verification
from router.domains.diagnosis.diagnoser import EXPLANATION_TIMEOUT
from router.domains.lookup import Answer, Question, RecordType
from router.errors import CHECKED_JUST_NOW, CONFLICT, NOT_FOUND, RouterError
from router.hostname import host_meanings
from router.routes.records import DomainStatus, Scope
from router.tenancy.blocks import BlockKind
from router.tenancy.events import EventFilter
from router.tenancy.tenants import Tenant
from tests.support.memory_dns import MemoryLookup
from tests.support.world import World

pytestmark = pytest.mark.asyncio

APP, ZONE = "app.example.com", "preview.example.com"


class Watched(MemoryLookup):
    """A twin that lets something happen while it is asked; `until` are the limits that it was given, `names` what
    it was asked for last."""

    def __init__(self, meanwhile: Callable[[], Awaitable[object]] | None = None) -> None:
        super().__init__()
        self.meanwhile = meanwhile
        self.until: list[float] = []
        self.names: list[str] = []

    async def ask(self, questions: Sequence[Question], until: float, *, fresh: bool = False) -> Sequence[Answer]:
        self.until.append(until)
        self.names = [question.name for question in questions]
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        return await super().ask(questions, until, fresh=fresh)


@pytest.fixture
def dns() -> Watched:
    """Everything leads to us."""
    lookup = Watched()
    lookup.put(APP, RecordType.CNAME, "verify.miosa.ai")
    for name in ("*", "*.sandbox"):
        lookup.put(f"{name}.{ZONE}", RecordType.CNAME, "proxy.miosa.ai")
    return lookup


@pytest.fixture
def verification(world: World, dns: Watched) -> Verification:
    return world.verification(dns)


async def refused(work: Awaitable[object]) -> RouterError:
    with pytest.raises(RouterError) as caught:
        await work
    return caught.value


async def zone(world: World, domain: str = ZONE) -> Tenant:
    tenant = await world.tenant()
    await world.zone(Scope.TENANT, tenant.id, domain, verified=False)
    return tenant


async def test_a_failed_domain_recovers(world: World, verification: Verification) -> None:
    """One check that finds it right is enough."""
    domain = await world.domain(await world.sandbox(await world.tenant(), "shop"), APP)
    await world.fail(domain.id)
    verified = await verification.custom_domain(domain.id)
    assert (verified.status, verified.failure_reason) == (DomainStatus.VERIFIED, None)


async def test_a_check_has_one_limit(
    world: World, verification: Verification, dns: Watched, clock: ManualClock
) -> None:
    """However many rounds it takes, all end at the same instant."""
    domain = await world.domain(await world.sandbox(await world.tenant(), "shop"), APP, verified=False)
    dns.put(APP, RecordType.CNAME, "a.example.com")
    dns.put("a.example.com", RecordType.CNAME, "b.example.com")
    dns.put("b.example.com", RecordType.A, "198.51.100.9")
    await refused(verification.custom_domain(domain.id))
    # Three aliases, the addresses, TXT, CAA, name servers; then why it was not verified.
    assert dns.until[:7] == [clock.monotonic() + CHECK_TIME] * 7
    assert set(dns.until[7:]) == {clock.monotonic() + EXPLANATION_TIMEOUT}


async def test_a_domain_that_is_removed_meanwhile(world: World, verification: Verification, dns: Watched) -> None:
    """It stays removed."""
    domain = await world.domain(await world.sandbox(await world.tenant(), "shop"), APP, verified=False)
    dns.meanwhile = lambda: world.domains.remove(domain.id)
    assert (await refused(verification.custom_domain(domain.id))).problem is NOT_FOUND


async def test_two_who_verify_at_once(
    world: World, verification: Verification, dns: Watched, clock: ManualClock
) -> None:
    """One check is enough for both within ten seconds; two that cross find the same, and it happens once."""
    domain = await world.domain(await world.sandbox(await world.tenant(), "shop"), APP, verified=False)
    refusals: list[RouterError] = []

    async def too_soon() -> None:
        refusals.append(await refused(verification.custom_domain(domain.id)))

    dns.meanwhile = too_soon
    assert (await verification.custom_domain(domain.id)).status is DomainStatus.VERIFIED
    assert [(error.problem, error.retry_after) for error in refusals] == [(CHECKED_JUST_NOW, 10)]
    await world.fail(domain.id)
    clock.advance(10)

    async def crosses() -> None:
        clock.advance(10)
        await verification.custom_domain(domain.id)

    dns.meanwhile = crosses
    assert (await verification.custom_domain(domain.id)).status is DomainStatus.VERIFIED
    events = await world.events.list(EventFilter(tenant_id=domain.tenant_id, resource_id=domain.resource_id))
    assert [event.type for event in events.items].count("domain.recovered") == 1


async def test_a_zone_is_checked_through_random_names(
    world: World, verification: Verification, dns: Watched, clock: ManualClock
) -> None:
    """Two random ones per wildcard, others each time, of the form that hosts have."""
    tenant = await zone(world)
    rounds: list[list[str]] = []
    for _ in range(2):
        dns.asked.clear()
        await verification.preview_domain(Scope.TENANT, tenant.id)
        hosts = [question.name for question in dns.asked if question.type is RecordType.CNAME]
        rounds.append([name for name in hosts if name.endswith(f".{ZONE}")])
        clock.advance(10)
    first, second = rounds
    assert len({*first, *second}) == 8
    for names in (first, second):
        assert [name.partition(".")[2] for name in names] == [ZONE, ZONE, f"sandbox.{ZONE}", f"sandbox.{ZONE}"]
        assert all(host_meanings(name)[-1].zone == ZONE for name in names)


async def test_one_random_name_that_is_wrong_is_enough(world: World, verification: Verification, dns: Watched) -> None:
    """A wildcard that leads elsewhere now and then is not right; what is certain counts before what is not."""
    tenant = await zone(world)

    async def disturb() -> None:
        dns.put(dns.names[0], RecordType.CNAME, "elsewhere.example")
        dns.fail(dns.names[1])

    dns.meanwhile = disturb
    preview, check = await verification.preview_domain(Scope.TENANT, tenant.id)
    assert ([record.result.value for record in check.records], preview.verified) == (["wrong", "valid"], False)


async def test_a_zone_that_is_changed_meanwhile(
    world: World, verification: Verification, dns: Watched, clock: ManualClock
) -> None:
    """What was found out about the old domain says nothing about the new one."""
    tenant = await zone(world)
    dns.meanwhile = lambda: world.previews.set(Scope.TENANT, tenant.id, "other.example.com")
    assert (await refused(verification.preview_domain(Scope.TENANT, tenant.id))).problem is CONFLICT
    clock.advance(10)
    now = await world.previews.get(Scope.TENANT, tenant.id)
    assert now is not None
    assert (now.domain, now.verified, now.dns_status) == ("other.example.com", False, "pending")
    dns.meanwhile = lambda: world.previews.clear(Scope.TENANT, tenant.id)
    dns.put("*.other.example.com", RecordType.CNAME, "proxy.miosa.ai")
    assert (await refused(verification.preview_domain(Scope.TENANT, tenant.id))).problem is NOT_FOUND


@pytest.mark.parametrize("zone_first", [True, False])
async def test_names_of_two_tenants_never_nest_whoever_is_first(world: World, zone_first: bool) -> None:
    """A custom domain in a zone and a zone around a custom domain are the same thing."""
    mine, theirs = await world.tenant("Acme"), await world.tenant("Globex")
    sandbox = await world.sandbox(theirs, "shop")
    if zone_first:
        await world.zone(Scope.TENANT, mine.id, "example.com", verified=False)
        error = await refused(world.domain(sandbox, APP, verified=False))
    else:
        await world.domain(sandbox, APP, verified=False)
        error = await refused(world.zone(Scope.TENANT, mine.id, "example.com", verified=False))
    assert (error.problem, error.message) == (CONFLICT, "has already been taken")


async def test_names_of_two_tenants_never_nest_even_at_once(world: World) -> None:
    """Who is first has it; the other one is told so, on every store and whatever both do besides."""
    mine, theirs = await world.tenant("Acme"), await world.tenant("Globex")
    sandbox = await world.sandbox(theirs, "shop")
    for number in range(8):
        results = await asyncio.gather(
            world.previews.set(Scope.TENANT, mine.id, f"n{number}.example.com"),
            world.domains.register(sandbox.id, f"app.n{number}.example.com"),
            world.previews.set(Scope.TENANT, theirs.id, f"preview.n{number}.example.com"),
            world.sandbox(mine, f"mine{number}"),
            world.sandbox(theirs, f"theirs{number}"),
            return_exceptions=True,
        )
        refusals = [error.problem for error in results[:3] if isinstance(error, RouterError)]
        assert refusals in ([CONFLICT], [CONFLICT, CONFLICT]), results
        assert not [error for error in results[3:] if isinstance(error, BaseException)]


async def test_a_blocked_domain_behind_a_cdn(world: World, clock: ManualClock) -> None:
    """What we answer for it ourselves, 451, says nothing of where it leads: blocked for a week, it is not lost."""
    domain = await world.domains.register((await world.sandbox(await world.tenant(), "shop")).id, APP)
    world.dns.put(APP, RecordType.A, "198.51.100.7")
    world.dns.put(f"_miosa-challenge.{APP}", RecordType.TXT, domain.token)
    world.web.put(APP, 200, domain.proof)
    verification = world.verification()
    assert (await verification.custom_domain(domain.id)).check.method is Method.PROXIED
    await world.block(BlockKind.HOST, domain.fqdn)
    world.web.put(APP, 451, "blocked")
    for _ in range(4):
        clock.advance(12 * 3600)
        assert (await verification.check_custom_domain(domain.id)).status == "verified"


async def test_when_our_own_addresses_are_missing(
    world: World, verification: Verification, dns: Watched, clock: ManualClock
) -> None:
    """Nobody can tell whether domains that copy them still lead to us: a mistake in our own DNS takes none of them down.
    A domain that never led to us is told what it lacks."""
    shop = await world.sandbox(await world.tenant(), "shop")
    flattened = await world.domains.register(shop.id, "example.com")
    stranger = await world.domains.register(shop.id, "example.org")
    for name in ("example.com", "verify.miosa.ai"):
        dns.put(name, RecordType.A, "192.0.2.1")
    dns.put("example.org", RecordType.A, "198.51.100.7")
    assert (await verification.custom_domain(flattened.id)).check.method is Method.ADDRESS
    dns.remove("verify.miosa.ai")
    clock.advance(3600)
    seen = (await verification.check_custom_domain(flattened.id)).check
    assert (seen.result, seen.failures, seen.not_pointing) == (CheckResult.UNKNOWN, 0, False)
    assert (await verification.check_custom_domain(stranger.id)).check.result is CheckResult.WRONG


async def test_when_our_own_addresses_are_missing_to_a_zone(
    world: World, verification: Verification, dns: Watched, clock: ManualClock
) -> None:
    """The same of a preview domain whose wildcards copy them."""
    tenant = await zone(world)
    for name in ("*", "*.sandbox"):
        dns.remove(f"{name}.{ZONE}")
        dns.put(f"{name}.{ZONE}", RecordType.A, "192.0.2.1")
    dns.put("proxy.miosa.ai", RecordType.A, "192.0.2.1")
    preview, _ = await verification.preview_domain(Scope.TENANT, tenant.id)
    assert preview.check.method is Method.ADDRESS
    dns.remove("proxy.miosa.ai")
    clock.advance(3600)
    preview, check = await verification.preview_domain(Scope.TENANT, tenant.id)
    assert (preview.verified, check.result) == (True, CheckResult.UNKNOWN)
