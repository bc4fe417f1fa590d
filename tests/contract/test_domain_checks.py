"""The checks that are due, on a real store: a domain's life by the clock alone, one job for all nodes, and what is left when
one of them dies in the middle."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
import sqlalchemy as sa

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.base.leases import Lease
from router.domains.checks.cooldown import CONCURRENCY
from router.domains.checks.queue import Queue
from router.domains.checks.schedule import Slice
from router.domains.lookup import Answer, Question, RecordType
from router.domains.preview_domains import PreviewStatus
from router.errors import NOT_FOUND, RATE_LIMITED, RouterError, StoreUnavailableError
from router.jobs.domain_checks import SLICES, DomainChecks
from router.observe.metrics import Metrics
from router.routes.records import DomainStatus, NameRecord, Scope, ZoneRecord, name_key, zone_key
from router.store import Store
from router.store.tables import custom_domains
from router.tenancy.events import EventFilter
from tests.support.memory_dns import MemoryLookup
from tests.support.world import World

pytestmark = pytest.mark.asyncio

APP, ZONE = "app.example.com", "preview.example.com"
HOUR, DAY = 3600.0, 86400.0


class Slow(MemoryLookup):
    """A twin that answers nothing until it is let go; `waiting` is how many ask at once, `most` the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.free.set()
        self.waiting = 0
        self.most = 0
        self.held = asyncio.Event()

    async def ask(self, questions: Sequence[Question], until: float, *, fresh: bool = False) -> Sequence[Answer]:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        self.held.set()
        try:
            await self.free.wait()
        finally:
            self.waiting -= 1
        return await super().ask(questions, until, fresh=fresh)


@pytest.fixture
def dns() -> Slow:
    return Slow()


class Node:
    """One node's job, and the clock that makes things due."""

    def __init__(self, world: World, dns: MemoryLookup, clock: ManualClock, holder: str, at_once: int = 64) -> None:
        self.world = world
        self.clock = clock
        self.holder = holder
        self.queue = Queue(world.store, clock)
        self.checks = DomainChecks(
            queue=self.queue,
            verification=world.verification(dns),
            transfers=world.transfers,
            metrics=Metrics(),
            clock=clock,
            concurrency=at_once,
        )

    async def lease(self) -> Lease | None:
        return await self.world.store.leases.acquire("check_domains", self.holder, 3600.0)

    async def run(self) -> None:
        lease = await self.lease()
        assert lease is not None
        await self.checks.run(lease)

    async def live(self, seconds: float, step: float = HOUR) -> None:
        """Let so much time pass, with the job running all along."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.clock.advance(min(step, end - self.clock.monotonic()))
            await self.run()


@pytest.fixture
def node(world: World, dns: Slow, clock: ManualClock) -> Node:
    return Node(world, dns, clock, "one")


async def types(world: World, tenant_id: str) -> list[str]:
    """What happened to the tenant's domains, the oldest first."""
    events = await world.events.list(EventFilter(tenant_id=tenant_id))
    return [event.type for event in reversed(events.items) if "domain" in event.type]


async def name_record(store: Store, fqdn: str) -> NameRecord:
    record = (await store.records.fetch([name_key(fqdn)]))[name_key(fqdn)]
    assert isinstance(record, NameRecord)
    return record


async def test_the_life_of_a_custom_domain(
    world: World, store: Store, node: Node, dns: Slow, clock: ManualClock
) -> None:
    """Nobody calls the API again after the registration: records come, go, come back, and go for good."""
    domain = await world.domain(await world.sandbox(await world.tenant(), "shop"), APP, verified=False)
    await node.live(120, 10)
    pending = await world.domains.get(domain.id)
    assert (pending.status, pending.check.result, pending.check.not_pointing) == ("pending", "missing", True)
    assert pending.check.checks >= 1
    dns.put(APP, RecordType.CNAME, "verify.miosa.ai")
    await node.live(120, 10)
    verified = await world.domains.get(domain.id)
    assert (verified.status, verified.check.method, verified.check.not_pointing) == ("verified", "cname", False)
    await world.domains.mark_active(domain.id)

    dns.put(APP, RecordType.CNAME, "elsewhere.example")
    await node.live(7 * HOUR)
    doubted = await world.domains.get(domain.id)
    assert (doubted.status, doubted.check.failures, doubted.check.not_pointing) == ("active", 1, True)
    assert (await name_record(store, APP)).not_pointing
    since = doubted.check.failing_since
    assert since is not None
    while (now := await world.domains.get(domain.id)).status is DomainStatus.ACTIVE:
        await node.live(HOUR)
    assert (now.status, now.failure_reason) == ("failed", "dns_moved")
    assert timedelta(hours=24) <= clock.now() - since <= timedelta(hours=26)
    assert not (await name_record(store, APP)).status.routes

    dns.put(APP, RecordType.CNAME, "verify.miosa.ai")
    await node.live(4 * HOUR)
    recovered = await world.domains.get(domain.id)
    assert (recovered.status, recovered.failure_reason) == ("verified", None)

    dns.remove(APP)
    await node.live(32 * HOUR)
    assert (await world.domains.get(domain.id)).status == "failed"
    await node.live(7 * DAY + 5 * HOUR)
    with pytest.raises(RouterError) as caught:
        await world.domains.get(domain.id)
    assert caught.value.problem is NOT_FOUND
    assert await types(world, domain.tenant_id) == [
        "domain.registered",
        "domain.verified",
        "domain.active",
        "domain.failed",
        "domain.recovered",
        "domain.failed",
        "domain.removed",
    ]
    reasons = [
        event.data.get("reason") for event in (await world.events.list(EventFilter(tenant_id=domain.tenant_id))).items
    ]
    assert "dns_moved" in reasons


async def test_a_domain_whose_records_never_come(world: World, node: Node) -> None:
    """A week, then it has failed; another week, then it is gone."""
    domain = await world.domain(await world.sandbox(await world.tenant(), "shop"), APP, verified=False)
    await node.live(7 * DAY - HOUR)
    assert (await world.domains.get(domain.id)).status == "pending"
    await node.live(6 * HOUR)
    failed = await world.domains.get(domain.id)
    assert (failed.status, failed.failure_reason) == ("failed", "never_verified")
    await node.live(7 * DAY + 5 * HOUR)
    assert await types(world, domain.tenant_id) == ["domain.registered", "domain.failed", "domain.removed"]


async def test_not_knowing_takes_nothing_down(world: World, store: Store, node: Node, dns: Slow) -> None:
    """Name servers that are away for a fortnight: everything is as it was, and nothing was sent to any cache."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    up, waiting = await world.domain(shop, APP), await world.domain(shop, "www.example.com", verified=False)
    await world.zone(Scope.TENANT, tenant.id, ZONE)
    dns.fail(APP)
    dns.fail("www.example.com", "timeout")
    dns.put(f"*.{ZONE}", RecordType.CNAME, "edge.example.com")
    dns.put(f"*.sandbox.{ZONE}", RecordType.CNAME, "edge.example.com")
    dns.fail("edge.example.com")
    touched: list[str] = []
    store.after_commit(touched.extend)
    await node.live(14 * DAY, 6 * HOUR)
    assert (await world.domains.get(up.id)).status == "verified"
    assert (await world.domains.get(up.id)).check.result == "unknown"
    assert (await world.domains.get(waiting.id)).status == "pending"
    zone = await world.previews.get(Scope.TENANT, tenant.id)
    assert zone is not None
    assert (zone.status, zone.dns_status) == (PreviewStatus.VERIFIED, "verified")
    assert touched == []


async def test_the_life_of_a_preview_domain(world: World, store: Store, node: Node, dns: Slow) -> None:
    """The same, in its own words; at the end the scope inherits again."""
    tenant = await world.tenant()
    await world.zone(Scope.TENANT, tenant.id, ZONE, verified=False)
    for name in ("*", "*.sandbox"):
        dns.put(f"{name}.{ZONE}", RecordType.CNAME, "proxy.miosa.ai")
    await node.live(120, 10)
    verified = await world.previews.get(Scope.TENANT, tenant.id)
    assert verified is not None
    assert verified.verified
    dns.remove(f"*.{ZONE}")
    await node.live(7 * HOUR)
    record = (await store.records.fetch([zone_key(ZONE)]))[zone_key(ZONE)]
    assert isinstance(record, ZoneRecord)
    assert [(claim.verified, claim.not_pointing) for claim in record.claims] == [(True, True)]
    await node.live(26 * HOUR)
    failed = await world.previews.get(Scope.TENANT, tenant.id)
    assert failed is not None
    assert (failed.status, failed.failure_reason) == (PreviewStatus.FAILED, "dns_moved")
    dns.put(f"*.{ZONE}", RecordType.CNAME, "proxy.miosa.ai")
    await node.live(4 * HOUR)
    dns.remove(f"*.{ZONE}")
    await node.live(33 * HOUR)
    await node.live(7 * DAY + 5 * HOUR)
    assert await world.previews.get(Scope.TENANT, tenant.id) is None
    happened = [kind for kind in await types(world, tenant.id) if kind.startswith("domain.")]
    assert happened == [
        "domain.verified",
        "domain.failed",
        "domain.recovered",
        "domain.failed",
        "domain.removed",
    ]


async def test_caa_comes_with_each_check(world: World, store: Store, node: Node, dns: Slow) -> None:
    """That a record keeps our authority from issuing, and that it no longer does, is shown to the gate."""
    tenant = await world.tenant()
    domain = await world.domain(await world.sandbox(tenant, "shop"), APP)
    await world.zone(Scope.TENANT, tenant.id, ZONE)
    dns.put(APP, RecordType.CNAME, "verify.miosa.ai")
    for name in ("*", "*.sandbox"):
        dns.put(f"{name}.{ZONE}", RecordType.CNAME, "proxy.miosa.ai")
    dns.put("example.com", RecordType.CAA, '0 issue "other-ca.example"')
    await node.live(7 * HOUR)
    assert (await name_record(store, APP)).caa_forbidden
    zone = (await store.records.fetch([zone_key(ZONE)]))[zone_key(ZONE)]
    assert isinstance(zone, ZoneRecord)
    assert zone.claims[0].caa_forbidden
    dns.fail("example.com")
    await node.live(7 * HOUR)
    assert (await world.domains.get(domain.id)).check.caa_forbidden
    dns.fail("example.com", None)
    dns.put("example.com", RecordType.CAA, '0 issue "letsencrypt.org"')
    await node.live(7 * HOUR)
    assert not (await name_record(store, APP)).caa_forbidden


async def test_no_more_at_once_than_allowed(world: World, dns: Slow, clock: ManualClock) -> None:
    """However many are due; the slow ones hold nobody else's place."""
    shop = await world.sandbox(await world.tenant(), "shop")
    for number in range(12):
        name = f"n{number}.example.com"
        await world.domain(shop, name, verified=False)
        dns.put(name, RecordType.CNAME, "verify.miosa.ai")
    node = Node(world, dns, clock, "one", at_once=4)
    clock.advance(60)
    dns.free.clear()
    run = asyncio.ensure_future(node.run())
    async with asyncio.timeout(10):
        while dns.waiting < 3:  # the fourth place is kept for another tenant
            await dns.held.wait()
            dns.held.clear()
    dns.free.set()
    async with asyncio.timeout(10):
        await run
    assert dns.most == 3
    assert await node.queue.due(64) == []


async def test_one_that_dies_in_the_middle(world: World, dns: Slow, clock: ManualClock) -> None:
    """Its successor finds all of what it had under way, and none of it happens twice, though the first one comes back."""
    tenant = await world.tenant()
    shop = await world.sandbox(tenant, "shop")
    for number in range(3):
        name = f"n{number}.example.com"
        await world.domain(shop, name, verified=False)
        dns.put(name, RecordType.CNAME, "verify.miosa.ai")
    clock.advance(60)
    first, second = Node(world, dns, clock, "one"), Node(world, dns, clock, "two")
    lease = await first.lease()
    assert lease is not None
    dns.free.clear()
    frozen = asyncio.ensure_future(first.checks.run(lease))
    async with asyncio.timeout(10):
        while dns.waiting < 3:
            await dns.held.wait()
            dns.held.clear()
    await world.store.leases.release(lease)  # its time is over, and it does not know
    due = await second.queue.due(64)
    assert len(due) == 3
    held, dns.free = dns.free, asyncio.Event()
    dns.free.set()
    await second.run()
    held.set()
    async with asyncio.timeout(10):
        await frozen
    assert sorted(await types(world, tenant.id)) == ["domain.registered"] * 3 + ["domain.verified"] * 3
    assert await second.queue.due(64) == []
    with pytest.raises(StoreUnavailableError):
        async with world.store.begin(under=lease):
            pass


async def test_a_check_that_another_one_overtook(world: World, node: Node, dns: Slow, clock: ManualClock) -> None:
    """What the schedule began to find before somebody asked says nothing any more."""
    domain = await world.domain(await world.sandbox(await world.tenant(), "shop"), APP)
    clock.advance(7 * HOUR)
    lease = await node.lease()
    assert lease is not None
    verification = world.verification(dns)
    dns.free.clear()
    old = asyncio.ensure_future(verification.recheck_custom_domain(domain.id, lease))  # finds nothing
    async with asyncio.timeout(10):
        await dns.held.wait()
    quick = MemoryLookup()
    quick.put(APP, RecordType.CNAME, "verify.miosa.ai")
    clock.advance(1)
    await world.verification(quick).check_custom_domain(domain.id)
    dns.free.set()
    async with asyncio.timeout(10):
        await old
    assert (await world.domains.get(domain.id)).check.failures == 0


async def test_a_domain_that_is_removed_during_its_check(
    world: World, node: Node, dns: Slow, clock: ManualClock
) -> None:
    """It stays removed, and the run goes on."""
    shop = await world.sandbox(await world.tenant(), "shop")
    domain = await world.domain(shop, APP, verified=False)
    dns.put(APP, RecordType.CNAME, "verify.miosa.ai")
    clock.advance(60)
    dns.free.clear()
    run = asyncio.ensure_future(node.run())
    async with asyncio.timeout(10):
        await dns.held.wait()
    await world.domains.remove(domain.id)
    dns.free.set()
    async with asyncio.timeout(10):
        await run
    assert await types(world, domain.tenant_id) == ["domain.registered", "domain.removed"]


async def test_what_is_due_survives_the_process(world: World, node: Node, dns: Slow, clock: ManualClock) -> None:
    """The schedule is in the store: another one of everything goes on where it was."""
    domain = await world.domain(await world.sandbox(await world.tenant(), "shop"), APP, verified=False)
    await node.live(600, 10)
    before = (await world.domains.get(domain.id)).check
    assert before.checks > 3
    lease = await node.lease()
    assert lease is not None
    await world.store.leases.release(lease)
    again = Node(world, dns, clock, "two")
    await again.run()
    assert (await world.domains.get(domain.id)).check == before
    await again.live(120, 10)
    assert (await world.domains.get(domain.id)).check.checks > before.checks


class Dead(MemoryLookup):
    """A twin that never answers for names under `dead.example` until it is let go; `held` are how many wait."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.held = 0

    async def ask(self, questions: Sequence[Question], until: float, *, fresh: bool = False) -> Sequence[Answer]:
        if any(question.name.endswith("dead.example") for question in questions):
            self.held += 1
            await self.free.wait()
            self.held -= 1
        return await super().ask(questions, until, fresh=fresh)


async def test_names_that_never_answer_delay_no_other_tenant(world: World, clock: ManualClock) -> None:
    """Many of one tenant's hold their places, and another tenant's name that is due after them is checked at once."""
    noisy = await world.sandbox(await world.tenant("Noisy"), "noisy")
    for number in range(70):
        await world.domain(noisy, f"n{number}.dead.example", verified=False)
    clock.advance(30)
    victim = await world.domain(await world.sandbox(await world.tenant("Victim"), "shop"), APP, verified=False)
    dns = Dead()
    dns.put(APP, RecordType.CNAME, "verify.miosa.ai")
    clock.advance(60)
    node = Node(world, dns, clock, "one")
    first = await node.queue.due(2)
    assert {due.tenant_id for due in first} == {noisy.tenant_id, victim.tenant_id}
    run = asyncio.ensure_future(node.run())
    async with asyncio.timeout(10):
        while (await world.domains.get(victim.id)).status is not DomainStatus.VERIFIED:
            await asyncio.sleep(0)
    assert dns.held <= 48  # three quarters of the places
    dns.free.set()
    async with asyncio.timeout(30):
        await run
    assert await node.queue.due(64) == []


async def test_what_becomes_due_while_others_hold_their_places(world: World, clock: ManualClock) -> None:
    """It is seen within a second: a place is kept for it."""
    noisy = await world.sandbox(await world.tenant("Noisy"), "noisy")
    for number in range(80):
        await world.domain(noisy, f"n{number}.dead.example", verified=False)
    dns = Dead()
    dns.put(APP, RecordType.CNAME, "verify.miosa.ai")
    clock.advance(60)
    node = Node(world, dns, clock, "one")
    run = asyncio.ensure_future(node.run())
    async with asyncio.timeout(10):
        while dns.held < 48:
            await asyncio.sleep(0)
    victim = await world.domain(await world.sandbox(await world.tenant("Victim"), "shop"), APP, verified=False)
    assert await node.queue.schedule_now(APP) == 1
    async with asyncio.timeout(10):
        while (await world.domains.get(victim.id)).status is not DomainStatus.VERIFIED:
            await asyncio.sleep(0.01)
    dns.free.set()
    async with asyncio.timeout(30):
        await run


async def test_one_tenant_asks_for_so_many_checks_at_once(world: World, clock: ManualClock) -> None:
    """More of them are refused until one ends, before anything else counts; another tenant's go on."""
    noisy = await world.sandbox(await world.tenant("Noisy"), "noisy")
    names = [await world.domain(noisy, f"n{number}.dead.example", verified=False) for number in range(CONCURRENCY + 1)]
    victim = await world.domain(await world.sandbox(await world.tenant("Victim"), "shop"), APP, verified=False)
    dns = Dead()
    dns.put(APP, RecordType.CNAME, "verify.miosa.ai")
    verification = world.verification(dns)
    asking = [asyncio.ensure_future(verification.check_custom_domain(one.id)) for one in names[:-1]]
    async with asyncio.timeout(10):
        while dns.held < CONCURRENCY:
            await asyncio.sleep(0)
    with pytest.raises(RouterError, match="checks are under way") as caught:
        await verification.check_custom_domain(names[-1].id)
    assert caught.value.problem is RATE_LIMITED
    assert (await verification.custom_domain(victim.id)).status is DomainStatus.VERIFIED
    dns.free.set()
    await asyncio.gather(*asking)
    await verification.check_custom_domain(names[-1].id)


async def test_slices_are_everything_and_nothing_twice(world: World, clock: ManualClock, store: Store) -> None:
    """What nodes do by slices is what one would do by itself."""
    sandbox = await world.sandbox(await world.tenant(), "shop")
    domains = {(await world.domain(sandbox, f"d{number}.example.com", verified=False)).id for number in range(24)}
    await world.zone(Scope.TENANT, sandbox.tenant_id, ZONE, verified=False)
    clock.advance(HOUR)
    queue = Queue(store, clock)
    whole = {due.id for due in await queue.due(100)}
    parts = [{due.id for due in await queue.due(100, part=Slice(number, SLICES))} for number in range(SLICES)]
    assert domains < whole == set().union(*parts)
    assert sum(map(len, parts)) == len(whole)
    nodes = [Node(world, MemoryLookup(), clock, holder) for holder in ("one", "two")]
    for number in range(SLICES):
        node = nodes[number % 2]
        lease = await store.leases.acquire(f"check_domains/{number}", node.holder, 60.0)
        assert lease is not None
        await node.checks.run(lease, Slice(number, SLICES))
    assert await queue.due(100) == []


async def test_lateness_is_told(world: World, node: Node, dns: Slow, clock: ManualClock) -> None:
    """For how long the check that is due the longest has been; nothing once all are done."""
    await world.domain(await world.sandbox(await world.tenant(), "shop"), APP, verified=False)
    clock.advance(HOUR + 60)
    dns.free.clear()
    dns.held.clear()
    run = asyncio.create_task(node.run())
    await dns.held.wait()
    assert node.checks.late == HOUR
    dns.free.set()
    await run
    assert node.checks.late == 0


async def test_of_a_long_queue_who_has_little_is_seen(world: World, clock: ManualClock, store: Store) -> None:
    """Behind thousands of one tenant's checks another's only one has the second place, though it came last."""
    many, few = await world.tenant(), await world.tenant("Other")
    first = await world.domain(await world.sandbox(many, "many"), "many.example.com", verified=False)
    clock.advance(HOUR)
    async with store.begin() as tx:
        columns = sa.select(custom_domains).where(custom_domains.c.id == first.id)
        row = (await tx._connection.execute(columns)).mappings().one()
        more = [{**row, "id": new_id(), "fqdn": f"many{number}.example.com"} for number in range(4000)]
        await tx._connection.execute(sa.insert(custom_domains), more)
    last = await world.domain(await world.sandbox(few, "few"), "few.example.com", verified=False)
    clock.advance(120)
    assert last.id in [due.id for due in await Queue(store, clock).due(2)]
