"""Certificates before visitors: what is looked at, what is written down, and that nothing happens twice."""

import asyncio
from datetime import timedelta

import pytest

from router.base.clock import ManualClock
from router.base.leases import Lease
from router.domains.certificates import CertificateStatus, Leaf, Seen
from router.domains.custom import CustomDomain
from router.errors import StoreUnavailableError
from router.gate.handshake import NoCertificateError, UnreachableError
from router.gate.policy import VERDICTS, Verdict
from router.gate.prefetch import CertificatePrefetch
from router.routes.records import DomainStatus
from router.store import Store
from router.tenancy.blocks import BlockKind
from router.tenancy.events import EventFilter
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = pytest.mark.asyncio

HOST = "shop.example.org"
MINUTE = 60.0
DAY = 86400.0


class Caddy:
    """What handshakes find, as a test says: `found` is a certificate or what is raised in its place."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.found: Leaf | Exception = self.leaf()
        self.asked: list[str] = []
        self.slow: asyncio.Event | None = None

    def leaf(self, serial: str = "1", days: float = 90.0) -> Leaf:
        now = self._clock.now()
        return Leaf(issuer="Test CA", serial=serial, not_before=now, not_after=now + timedelta(days=days))


class Warm:
    """A CertificatePrefetch on a store, with everything at hand."""

    def __init__(self, world: World, clock: ManualClock, *, fetches: bool = True) -> None:
        self.world = world
        self.store: Store = world.store
        self.clock = clock
        self.caddy = Caddy(clock)
        self.verdict: Verdict = VERDICTS["first_issue"]
        self.verdicts: dict[str, Verdict] = {}  # of single names
        self.settled: list[tuple[str, str]] = []
        self.live: dict[str, float] = {}
        self.lease: Lease
        self.warming = CertificatePrefetch(
            store=self.store,
            domains=world.domains,
            opinion=self.opinion,
            handshake=self if fetches else None,
            evidence=self,
            budgets=self,
            backoff=(60.0, 600.0, 6000.0, 86400.0),
            at_once=2,
            clock=clock,
        )

    async def opinion(self, host: str) -> Verdict:
        return self.verdicts.get(host, self.verdict)

    async def leaf(self, host: str) -> Leaf:
        self.caddy.asked.append(host)
        if self.caddy.slow is not None:
            await self.caddy.slow.wait()
        if isinstance(self.caddy.found, Exception):
            raise self.caddy.found
        return self.caddy.found

    def read(self, host: str, leaf: Leaf) -> None:
        self.live[host] = leaf.not_after.timestamp()

    def settle(self, host: str, outcome: str) -> None:
        self.settled.append((host, str(outcome)))

    async def begin(self) -> CustomDomain:
        """A verified domain, and the lease of the job."""
        lease = await self.store.leases.acquire("warm", "us", 1000.0)
        assert lease is not None
        self.lease = lease
        tenant = await self.world.tenant()
        self.tenant_id = tenant.id
        return await self.world.domain(await self.world.sandbox(tenant, "shop"), HOST)

    async def run(self) -> None:
        """One run, and the end of what it started."""
        await self.warming.run(self.lease)
        await eventually(lambda: not self.warming.busy, "nothing is under way")

    async def domain(self, domain: CustomDomain) -> CustomDomain:
        return await self.world.domains.get(domain.id)

    async def happened(self) -> list[str]:
        """The types of events about certificates and activity, the oldest first; several of one instant by name."""
        found = (await self.world.events.list(EventFilter(tenant_id=self.tenant_id))).items
        wanted = [one for one in found if one.type.startswith("certificate.") or one.type == "domain.active"]
        return [one.type for one in sorted(wanted, key=lambda one: (one.created_at, one.type))]


@pytest.fixture
def warm(world: World, clock: ManualClock) -> Warm:
    return Warm(world, clock)


async def test_a_verified_domain_gets_its_certificate(warm: Warm) -> None:
    """Fetched, written down, active, told; and not looked at again until it is due."""
    domain = await warm.begin()
    await warm.run()
    found = await warm.domain(domain)
    assert (found.status, found.tls_issued_at) == (DomainStatus.ACTIVE, warm.clock.now())
    assert (found.cert.status, found.cert.leaf, found.cert.source) == ("issued", warm.caddy.found, "probe")
    assert (found.cert.tenant_id, found.cert.domain_id) == (domain.tenant_id, domain.id)
    assert await warm.happened() == ["certificate.issued", "domain.active"]
    assert warm.settled == [(HOST, "issued")]
    assert warm.live == {HOST: found.cert.leaf.not_after.timestamp()} if found.cert.leaf else None
    warm.clock.advance(59 * DAY)
    await warm.run()
    assert warm.caddy.asked == [HOST]


async def test_a_renewal_is_fetched_when_it_is_due(warm: Warm) -> None:
    """After two thirds of its life; until Caddy has a new one it is looked at again and again, and late is told once."""
    domain = await warm.begin()
    await warm.run()
    warm.clock.advance(60 * DAY + 1)
    await warm.run()
    assert len(warm.caddy.asked) == 2
    await warm.run()
    assert len(warm.caddy.asked) == 2
    warm.clock.advance(6 * 3600.0)
    await warm.run()
    assert (len(warm.caddy.asked), (await warm.domain(domain)).cert.status) == (3, "issued")
    warm.clock.advance(16 * DAY)
    await warm.run()
    warm.clock.advance(DAY)
    await warm.run()
    assert (await warm.domain(domain)).cert.status == "expiring"
    warm.caddy.found = warm.caddy.leaf("2")
    warm.clock.advance(DAY)
    await warm.run()
    found = await warm.domain(domain)
    assert (found.cert.status, found.cert.serial, found.status) == ("issued", "2", "active")
    assert await warm.happened() == [
        "certificate.issued",
        "domain.active",
        "certificate.expiring",
        "certificate.issued",
    ]


async def test_a_failure_is_shown_and_tried_again(warm: Warm) -> None:
    """After 1, 10, 100 minutes, then once a day; told once."""
    domain = await warm.begin()
    warm.caddy.found = NoCertificateError("TLSV1_ALERT_INTERNAL_ERROR")
    for wait in (MINUTE, 10 * MINUTE, 100 * MINUTE, DAY, DAY):
        await warm.run()
        found = (await warm.domain(domain)).cert
        assert (found.status, found.retry_at) == ("failed", warm.clock.now() + timedelta(seconds=wait))
        assert found.last_error is not None
        asked = len(warm.caddy.asked)
        warm.clock.advance(wait - 1)
        await warm.run()
        assert len(warm.caddy.asked) == asked
        warm.clock.advance(1)
    assert warm.settled == [(HOST, "failed")] * 5
    assert await warm.happened() == ["certificate.failed"]
    assert (await warm.domain(domain)).status is DomainStatus.VERIFIED
    warm.caddy.found = warm.caddy.leaf()
    await warm.run()
    found = (await warm.domain(domain)).cert
    assert (found.status, found.last_error, found.retry_at, found.failures) == ("issued", None, None, 0)


@pytest.mark.parametrize(
    ("verdict", "status", "words", "wait"),
    [
        (Verdict(429, "budget_registered_domain", 4000), "rate_limited", "within a week", 4000),
        (Verdict(429, "budget_account", 40), "rate_limited", "at the moment", 40),
        (Verdict(429, "failure_backoff", 600), "failed", "did not issue", 600),
        (VERDICTS["caa_forbidden"], "failed", "CAA", 60),
        (VERDICTS["dns_not_pointing"], "failed", "does not lead to us", 60),
    ],
    ids=["domain", "account", "backoff", "caa", "pointing"],
)
async def test_what_the_gate_would_refuse_is_not_asked_for(
    warm: Warm, verdict: Verdict, status: str, words: str, wait: int
) -> None:
    """Its owner sees why, and when it is tried again."""
    domain = await warm.begin()
    warm.verdict = verdict
    await warm.run()
    found = (await warm.domain(domain)).cert
    assert (found.status, found.retry_at) == (status, warm.clock.now() + timedelta(seconds=wait))
    assert found.last_error is not None
    assert words in found.last_error
    assert warm.caddy.asked == []
    assert await warm.happened() == [f"certificate.{status}"]
    warm.verdict = VERDICTS["first_issue"]
    warm.clock.advance(wait)
    await warm.run()
    assert (await warm.domain(domain)).status is DomainStatus.ACTIVE


async def test_a_certificate_that_the_router_holds_is_read(warm: Warm) -> None:
    """Caddy shows it and orders nothing, so nothing stands in the way of the handshake; the domain is active by it."""
    domain = await warm.begin()
    warm.verdict = VERDICTS["held_certificate"]
    await warm.run()
    assert (await warm.domain(domain)).status is DomainStatus.ACTIVE
    assert warm.caddy.asked == [HOST]


@pytest.mark.parametrize("reason", ["not_ready", "unknown_host", "suspended"])
async def test_a_name_that_is_not_served_now_changes_nothing(warm: Warm, reason: str) -> None:
    """It is looked at again soon."""
    domain = await warm.begin()
    warm.verdict = VERDICTS[reason]
    await warm.run()
    warm.verdict = VERDICTS["first_issue"]
    await warm.run()
    assert ((await warm.domain(domain)).cert.status, warm.caddy.asked) == ("pending", [])
    warm.clock.advance(30.0)
    await warm.run()
    assert (await warm.domain(domain)).cert.status == "issued"


async def test_while_caddy_can_not_be_reached_nothing_changes(warm: Warm) -> None:
    """That is no failure of the domain's."""
    domain = await warm.begin()
    warm.caddy.found = UnreachableError("refused")
    await warm.run()
    await warm.run()
    assert ((await warm.domain(domain)).cert.status, warm.caddy.asked, warm.settled) == ("pending", [HOST], [])
    warm.clock.advance(30.0)
    await warm.run()
    assert warm.caddy.asked == [HOST, HOST]


async def test_a_renewal_that_fails_takes_nothing_away(warm: Warm) -> None:
    """While there is a certificate the domain has one; its owner sees the error beside it."""
    domain = await warm.begin()
    await warm.run()
    warm.clock.advance(61 * DAY)
    warm.caddy.found = NoCertificateError("no")
    await warm.run()
    found = await warm.domain(domain)
    assert (found.status, found.cert.status, found.cert.serial) == (DomainStatus.ACTIVE, "issued", "1")
    assert found.cert.last_error is not None
    assert await warm.happened() == ["certificate.issued", "domain.active", "certificate.failed"]


async def test_visitors_make_a_domain_active_too(world: World, clock: ManualClock) -> None:
    """Where nothing is fetched; nobody has read the certificate then."""
    warm = Warm(world, clock, fetches=False)
    domain = await warm.begin()
    await warm.run()
    assert (await warm.domain(domain)).status is DomainStatus.VERIFIED
    await warm.store.certificate_log.save_visits([Seen(HOST, clock.now(), warm.tenant_id)])
    await warm.run()
    found = await warm.domain(domain)
    assert (found.status, found.cert.status, found.cert.serial) == (DomainStatus.ACTIVE, "issued", None)
    assert warm.caddy.asked == []
    assert await warm.happened() == ["domain.active"]


async def test_after_a_crash_between_the_two_it_goes_on(warm: Warm) -> None:
    """The certificate is written down, the domain not active yet: no second fetch, no second event."""
    domain = await warm.begin()
    leaf = warm.caddy.leaf()
    await warm.warming._issued(warm.lease, domain.id, HOST, leaf)
    assert (await warm.domain(domain)).status is DomainStatus.VERIFIED
    successor = Warm(warm.world, warm.clock)
    successor.lease, successor.tenant_id = warm.lease, warm.tenant_id
    await successor.run()
    assert (await warm.domain(domain)).status is DomainStatus.ACTIVE
    assert successor.caddy.asked == []
    assert await warm.happened() == ["certificate.issued", "domain.active"]


async def test_who_lost_the_lease_writes_nothing(warm: Warm) -> None:
    """A handshake takes minutes: another node may have the job by then."""
    domain = await warm.begin()
    warm.caddy.slow = asyncio.Event()
    await warm.warming.run(warm.lease)
    await eventually(lambda: warm.caddy.asked, "the handshake is under way")
    await warm.store.leases.release(warm.lease)
    lease = await warm.store.leases.acquire("warm", "another", 1000.0)
    assert lease is not None
    warm.caddy.slow.set()
    await eventually(lambda: not warm.warming.busy, "it has ended")
    assert (await warm.domain(domain)).cert.status == "pending"
    assert await warm.happened() == []
    with pytest.raises(StoreUnavailableError):
        await warm.warming._issued(warm.lease, domain.id, HOST, warm.caddy.leaf())


async def test_one_slow_name_holds_up_no_other(warm: Warm) -> None:
    """Several are under way at once, and no more than that."""
    await warm.begin()
    resource = await warm.world.resources.get((await warm.world.domains.find(HOST)).resource_id)
    for number in range(3):
        await warm.world.domain(resource, f"x{number}.example.net")
    warm.caddy.slow = asyncio.Event()
    await warm.warming.run(warm.lease)
    await warm.warming.run(warm.lease)
    await eventually(lambda: len(warm.caddy.asked) == 2, "two are under way")
    assert warm.warming.busy == 2
    warm.caddy.slow.set()
    await eventually(lambda: not warm.warming.busy, "both have ended")
    await warm.run()
    assert len(set(warm.caddy.asked)) == len(warm.caddy.asked) == 4


async def test_domains_that_are_not_served_keep_nobody_waiting(warm: Warm) -> None:
    """However many there are, of a tenant whose resources were suspended: they take no others' turns."""
    domain = await warm.begin()
    resource = await warm.world.resources.get(domain.resource_id)
    for number in range(110):
        await warm.world.domain(resource, f"x{number}.example.net")
    warm.clock.advance(1.0)
    newest = await warm.world.domain(resource, "newest.example.org")
    warm.verdicts = {newest.fqdn: VERDICTS["first_issue"]}
    warm.verdict = VERDICTS["suspended"]
    for _ in range(70):
        await warm.run()
        warm.clock.advance(1.0)
    assert warm.caddy.asked == [newest.fqdn]
    warm.verdict = VERDICTS["first_issue"]
    warm.clock.advance(300.0)
    await warm.run()
    assert len(warm.caddy.asked) > 1


async def test_a_removed_domain_s_certificate_is_no_evidence(warm: Warm) -> None:
    """Not of the name, and not for whoever registers it next; who is verified anew is looked at anew."""
    domain = await warm.begin()
    await warm.run()
    since = (await warm.store.certificate_log.changes_since(None, 0.0, 10)).until
    await warm.world.domains.remove(domain.id)
    assert (await warm.store.certificate_log.changes_since(since, 0.0, 10)).live == {HOST: None}
    await warm.store.certificate_log.save_visits([Seen(HOST, warm.clock.now() - timedelta(seconds=1))])
    assert (await warm.store.certificate_log.changes_since(None, 0.0, 10)).live == {HOST: None}
    warm.clock.advance(60.0)
    again = await warm.world.domain(await warm.world.resources.get(domain.resource_id), HOST)
    assert again.cert.status is CertificateStatus.PENDING
    await warm.run()
    assert (await warm.domain(again)).cert.status is CertificateStatus.ISSUED
    assert warm.caddy.asked == [HOST, HOST]


async def test_a_domain_that_failed_meanwhile_does_not_become_active(warm: Warm) -> None:
    """It was verified when its certificate was asked for, and is not any more: the next look says what it is."""
    domain = await warm.begin()
    warm.caddy.slow = asyncio.Event()
    await warm.warming.run(warm.lease)
    await eventually(lambda: warm.caddy.asked, "the handshake is under way")
    await warm.world.fail(domain.id)
    warm.caddy.slow.set()
    await eventually(lambda: not warm.warming.busy, "it has ended")
    assert (await warm.domain(domain)).status is DomainStatus.FAILED


@pytest.mark.parametrize("found", ["certificate", "failure"])
async def test_a_domain_that_was_removed_meanwhile_stays_removed(warm: Warm, found: str) -> None:
    """What comes of its handshake is written nowhere."""
    domain = await warm.begin()
    warm.caddy.slow = asyncio.Event()
    if found == "failure":
        warm.caddy.found = NoCertificateError("no")
    await warm.warming.run(warm.lease)
    await eventually(lambda: warm.caddy.asked, "the handshake is under way")
    await warm.world.domains.remove(domain.id)
    warm.caddy.slow.set()
    await eventually(lambda: not warm.warming.busy, "it has ended")
    assert await warm.happened() == []
    assert (await warm.store.certificate_log.changes_since(None, 0.0, 10)).live == {}


async def test_a_suspended_domain_is_left_alone(warm: Warm) -> None:
    """Until it may be reached again."""
    domain = await warm.begin()
    await warm.world.block(BlockKind.HOST, domain.fqdn)
    await warm.run()
    assert warm.caddy.asked == []
    await warm.world.block(BlockKind.HOST, domain.fqdn, False)
    await warm.run()
    assert warm.caddy.asked == [HOST]
