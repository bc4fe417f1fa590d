"""Zones' certificates on both stores: when one is ordered, what each fault of the authority leads to, renewals, and the end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from structlog.testing import capture_logs

from router.base.clock import ManualClock, iso
from router.base.ids import new_id
from router.base.leases import Lease
from router.certificates import renewals
from router.certificates.accounts import AccountKeys
from router.certificates.authority import (
    AuthorityError,
    BadAnswerError,
    OrderSeen,
    Problem,
    RateLimitedError,
    RefusedError,
    RenewalWindow,
    UnreachableError,
)
from router.certificates.challenges import ChallengeError
from router.certificates.delegation import DelegationState
from router.certificates.held import key_purpose
from router.certificates.order import CLOSED, OrderState
from router.certificates.zone_status import ZoneStatuses
from router.domains.lookup import RecordType
from router.errors import StoreUnavailableError
from router.gate import held_sync
from router.gate.handover import HandOver
from router.gate.held_sync import HeldSync
from router.gate.held_table import HeldTable
from router.jobs.certificates import GRACE, RUN_TIME
from router.observe.metrics import Metrics
from router.routes.records import Scope
from router.settings import Gate
from router.store import Store, Transaction
from router.tenancy.events import EventFilter
from router.tenancy.tenants import Tenant
from tests.support.database import Databases, execute, rows
from tests.support.held_certificates import DIRECTORY
from tests.support.waiting import eventually
from tests.support.zone_certificates import ZONE, Fleet

pytestmark = pytest.mark.asyncio

NAMES = (f"*.{ZONE}", f"*.sandbox.{ZONE}")


# What both stores are asked; of the rest what they do is shown by the contracts of the rows (`test_held_certificates.py`).
on_both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest_asyncio.fixture
async def database(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[str]:
    """The URL of a database that nobody else uses."""
    async with databases.new(getattr(request, "param", "sqlite")) as url:
        yield url


@pytest.fixture
def fleet(store: Store, clock: ManualClock) -> Fleet:
    return Fleet(store, clock)


@pytest_asyncio.fixture
async def tenant(fleet: Fleet) -> Tenant:
    return await fleet.world.tenant("Acme")


async def _no_secret_is_left(fleet: Fleet, database: str) -> None:
    """In closed orders, and in what was removed."""
    closed = "SELECT id FROM acme_orders WHERE closed_at IS NOT NULL AND (sealed_key IS NOT NULL OR csr IS NOT NULL)"
    assert await rows(database, closed) == []
    assert fleet.records.values == {}


@on_both
async def test_a_delegated_zone_gets_a_certificate(fleet: Fleet, tenant: Tenant, database: str) -> None:
    """Within seconds, with one order, before anybody visits; its key opens, and lies nowhere else."""
    await fleet.zone(tenant)
    await fleet.pass_time(20)
    held = await fleet.held()
    assert held is not None
    assert held.names == NAMES
    leaf = x509.load_pem_x509_certificate(held.chain.encode())
    key = load_pem_private_key(fleet.box.open(held.sealed_key, purpose=key_purpose(held.id)).encode(), None)
    assert key.public_key() == leaf.public_key()
    assert fleet.authority.placed == {NAMES: 1}
    order = await fleet.order()
    assert order is not None
    assert (order.state, order.tenant_id) == (OrderState.ISSUED, tenant.id)
    await _no_secret_is_left(fleet, database)
    assert await fleet.events(tenant) == ["delegation.present", "certificate.issued"]
    attempts = await rows(database, "SELECT id, host, domain, outcome FROM certificate_attempts")
    assert attempts == [(order.id, f"*.{ZONE}", "acme.com", "issued")]
    await fleet.pass_time(3600)
    assert fleet.authority.placed == {NAMES: 1}


async def test_no_order_without_its_conditions(fleet: Fleet, tenant: Tenant) -> None:
    """Not before the zone is verified, both names are delegated and CAA lets our authority issue wildcards; nor while the clock
    is in doubt. Then within a minute."""
    await fleet.world.zone(Scope.TENANT, tenant.id, ZONE, verified=False)
    await fleet.delegate()
    await fleet.pass_time(60)
    assert await fleet.order() is None
    await fleet.world.verify_zone(Scope.TENANT, tenant.id)
    fleet.dns.put(f"_acme-challenge.sandbox.{ZONE}", RecordType.CNAME)
    await fleet.pass_time(60)
    assert await fleet.order() is None
    await fleet.delegate()
    fleet.dns.put("acme.com", RecordType.CAA, '0 issue "letsencrypt.org"', '0 issuewild ";"')
    await fleet.delegations.check(ZONE)
    await fleet.pass_time(60)
    async with fleet.store.read() as tx:
        delegation = await tx.delegations.get(ZONE)
    assert delegation is not None
    assert delegation.state is DelegationState.FORBIDDEN
    assert await fleet.order() is None
    fleet.dns.put("acme.com", RecordType.CAA)
    await fleet.delegations.check(ZONE)
    fleet.doubt = True
    await fleet.pass_time(60)
    assert await fleet.order() is None
    fleet.doubt = False
    await fleet.pass_time(60)
    assert await fleet.held() is not None


def _faults() -> list[AuthorityError]:
    """One of each kind that is told apart."""
    return [
        UnreachableError("no answer"),
        RateLimitedError("slow down", None),
        *(RefusedError(kind, "no", [ZONE]) for kind in ("caa", "accountDoesNotExist", "orderNotReady", "notFound")),
    ]


def _all_faults() -> list[AuthorityError]:
    return [
        UnreachableError("no answer"),
        BadAnswerError("no JSON"),
        RateLimitedError("slow down", 30.0),
        RateLimitedError("slow down", None),
        *(
            RefusedError(kind, "no", [ZONE])
            for kind in (
                *("caa", "rejectedIdentifier", "unauthorized", "dns", "malformed", "badNonce", "serverInternal"),
                *("accountDoesNotExist", "orderNotReady", "notFound", "alreadyReplaced", "userActionRequired", "x"),
            )
        ),
    ]


# A step, and whether its answer is lost after it was done: what only reads has nothing to lose.
STEPS = [
    *((method, False) for method in ("open_account", "find", "place", "look", "answer", "finalize", "fetch")),
    *((method, True) for method in ("place", "answer", "finalize")),
]


@pytest.mark.parametrize(("method", "lost"), [("place", False), ("look", False), ("finalize", True)])
async def test_each_kind_of_fault(fleet: Fleet, tenant: Tenant, database: str, method: str, lost: bool) -> None:
    """See `_end_well`."""
    await _end_well(fleet, tenant, database, _faults(), method, lost=lost)


@pytest.mark.deep
@pytest.mark.parametrize(("method", "lost"), STEPS)
async def test_every_fault_at_every_step(fleet: Fleet, tenant: Tenant, database: str, method: str, lost: bool) -> None:
    """See `_end_well`."""
    await _end_well(fleet, tenant, database, _all_faults(), method, lost=lost)


async def _end_well(
    fleet: Fleet, tenant: Tenant, database: str, faults: Sequence[AuthorityError], method: str, *, lost: bool
) -> None:
    """Whatever the authority answers once, in the place of the step or after it: the zone has its certificate in the end, with at
    most one order more; who waits says why; no key is left behind."""
    await fleet.zone(tenant)
    for number, fault in enumerate(faults):
        fleet.start()
        (fleet.authority.after if lost else fleet.authority.faults)[method] = [fault]
        before = fleet.authority.issued[NAMES]
        if number:  # the one before is to be renewed
            held = await fleet.held()
            assert held is not None
            async with fleet.store.begin() as tx:
                await tx.held_certificates.save(replace(held, renew_at=fleet.clock.now(), ari_at=None))
            await execute(database, "UPDATE certificate_attempts SET opened_at = 0")
            await execute(database, "DELETE FROM acme_orders WHERE closed_at IS NOT NULL AND txt = '[]'")
        here = f"{method}: {fault!r}"
        await fleet.pass_time(2.5 * 3600, until=lambda: fleet.authority.issued[NAMES] > before)  # noqa: B023
        await fleet.pass_time(120)
        assert await fleet.held() is not None, here
        assert fleet.authority.issued[NAMES] - before <= 2, here
        order = await fleet.order()
        assert order is not None, here
        assert order.state is OrderState.ISSUED, here
        fleet.authority.faults.clear()
        fleet.authority.after.clear()
        await _no_secret_is_left(fleet, database)


async def test_a_refusal_is_told_with_the_next_try(fleet: Fleet, tenant: Tenant, database: str) -> None:
    """One minute after the first, ten after the second, a hundred after the third, then a day; each is an event with the
    authority's words."""
    fleet.authority.refuses = Problem(
        "unauthorized", "No TXT record found at _acme-challenge.preview.acme.com", (ZONE,)
    )
    await fleet.zone(tenant)
    waits = []
    while len(waits) < 4:
        await _to_failure(fleet, len(waits))
        order = await fleet.order()
        assert order is not None
        assert order.closed_at is not None
        assert order.error is not None
        assert (order.error["code"], order.attempts) == ("unauthorized", len(waits) + 1)
        waits.append((order.next_at - order.closed_at).total_seconds())
    assert waits == [60, 600, 6000, 86400]
    events = await fleet.events(tenant)
    assert events.count("certificate.failed") == 4
    fleet.authority.refuses = None
    await fleet.pass_time(86400 + 60)
    assert await fleet.held() is not None
    await _no_secret_is_left(fleet, database)


async def _to_failure(fleet: Fleet, attempts: int) -> None:
    for _ in range(100):
        await fleet.pass_time(1)
        order = await fleet.order()
        if order is not None and order.state is OrderState.FAILED and order.attempts > attempts:
            return
        if order is not None:
            fleet.clock.advance(max(0.0, (order.next_at - fleet.clock.now()).total_seconds()))
    raise AssertionError("no failure")


async def test_a_rate_limit_is_waited_for(fleet: Fleet, tenant: Tenant) -> None:
    """As long as the authority says, and no failure of the zone's; its owner hears of it once."""
    fleet.authority.faults["place"] = [RateLimitedError("too many new orders", 7200.0)] * 2
    await fleet.zone(tenant)
    await fleet.pass_time(3600)
    order = await fleet.order()
    assert order is not None
    assert order.error is not None
    assert (order.state, order.error["code"], order.attempts) == (OrderState.PLANNED, "rateLimited", 0)
    await fleet.pass_time(4 * 3600)
    assert await fleet.held() is not None
    assert fleet.authority.placed == {NAMES: 1}
    assert (await fleet.events(tenant)).count("certificate.rate_limited") == 1


async def test_an_authority_that_is_away_for_hours(fleet: Fleet, tenant: Tenant, database: str) -> None:
    """An order ends after its hour; the next ones are tried, and the first that is answered succeeds."""
    await fleet.zone(tenant)
    fleet.authority.faults["place"] = [UnreachableError("no answer")] * 40
    await fleet.pass_time(6 * 3600)
    assert await fleet.held() is not None
    await _no_secret_is_left(fleet, database)


async def test_records_that_can_not_be_published(fleet: Fleet, tenant: Tenant) -> None:
    """A name server of the operator's is away for a while: the same order goes on."""
    await fleet.zone(tenant)
    fleet.records.faults = [ChallengeError("10.0.0.53 does not answer")] * 5
    await fleet.pass_time(60, until=lambda: len(fleet.records.faults) < 5)
    order = await fleet.order()
    assert order is not None
    assert order.error is not None
    assert order.error["code"] == "dns_not_published"
    assert "10.0.0.53" not in str(order.error), "the zone's owner is told of the operator's own servers"
    await fleet.pass_time(600)
    assert await fleet.held() is not None
    assert fleet.authority.placed == {NAMES: 1}


async def test_an_authority_that_hangs(fleet: Fleet, tenant: Tenant) -> None:
    """For one order: the others go on meanwhile, and the run ends, with the order left as it was."""
    reached, never = asyncio.Event(), asyncio.Event()
    place = fleet.authority.place

    async def hang(names: Sequence[str], *, replaces: str | None = None) -> OrderSeen:
        if "hangs" in names[0]:
            reached.set()
            await never.wait()
        return await place(names, replaces=replaces)

    fleet.authority.place = hang  # type: ignore[method-assign]
    for name in ("hangs.example.org", "z.example.net"):
        workspace = await fleet.world.workspace(tenant, name)
        await fleet.world.zone(Scope.WORKSPACE, workspace.id, name)
        await fleet.delegate(name)
        await fleet.delegations.check(name)
    run = asyncio.create_task(fleet.run())
    async with asyncio.timeout(20):
        await reached.wait()
        while await fleet.held("z.example.net") is None:
            fleet.clock.advance(1)
            await asyncio.sleep(0.05)
        assert not run.done()
        fleet.clock.advance(RUN_TIME + GRACE)
        await run
    order = await fleet.order("hangs.example.org")
    assert order is not None
    assert order.state is OrderState.PLACING


async def test_a_slow_authority(fleet: Fleet, tenant: Tenant) -> None:
    """It looks, and issues, after many polls: one order."""
    fleet.authority.slow = 20
    await fleet.zone(tenant)
    await fleet.pass_time(300)
    assert await fleet.held() is not None
    assert fleet.authority.placed == {NAMES: 1}


async def test_names_that_are_proved_already(fleet: Fleet, tenant: Tenant) -> None:
    """The authority remembers a proof for a while: nothing is published."""
    fleet.authority.proved = set(NAMES)
    await fleet.zone(tenant)
    await fleet.pass_time(30)
    assert await fleet.held() is not None
    assert "answer" not in fleet.authority.calls


# A process that dies.


class Killed(BaseException):
    """The process is gone: nothing of ours handles this."""


class Mortal:
    """A store whose process dies at one of its transactions: before it, or right after its commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.die_at: tuple[int, bool] | None = None
        self._count = 0

    @asynccontextmanager
    async def begin(self, under: Lease | None = None) -> AsyncIterator[Transaction]:
        at, self._count = self._count, self._count + 1
        if self.die_at == (at, False):
            raise Killed
        async with self._store.begin(under) as tx:
            yield tx
        if self.die_at == (at, True):
            raise Killed

    def read(self) -> object:
        return self._store.read()


async def _drive(fleet: Fleet, mortal: Mortal, step: float = 5.0, times: int = 60) -> None:
    """As the job does it, without tasks: what kills, kills."""
    fleet.lease = await fleet.store.leases.acquire("certificates", "node", 60.0)
    assert fleet.lease is not None
    fleet.issuing._store = mortal  # type: ignore[assignment]
    fleet.issuing._book._store = mortal  # type: ignore[assignment]
    fleet.accounts._store = mortal  # type: ignore[assignment]
    fleet.renewals._store = mortal  # type: ignore[assignment]
    for _ in range(times):
        for zone in await fleet.renewals.wanting():
            await fleet.renewals.open(zone, fleet.lease)
        async with fleet.store.read() as tx:
            due = await tx.acme_orders.due(fleet.clock.now(), 10)
            closed = await tx.acme_orders.unwithdrawn(10)
        for order in due:
            await fleet.issuing.advance(order.id, fleet.lease)
        for order in closed:
            await fleet.issuing.withdraw(order, fleet.lease)
        if await fleet.held() is not None and not closed and not due:
            return
        fleet.clock.advance(step)


@pytest.mark.deep
@pytest.mark.parametrize("lists_orders", [True, False])
async def test_killed_at_each_transaction(store: Store, clock: ManualClock, database: str, lists_orders: bool) -> None:
    """Whoever takes over finishes it: one certificate, no second order at an authority that lists them, no key left behind."""
    tenant = await Fleet(store, clock).world.tenant("Acme")
    done = False
    number = 0
    while not done:
        for after in (False, True):
            zone = f"z{number}-{after}.example.com".lower()
            fleet = Fleet(store, clock, gate=Gate(budgets=False))
            fleet.authority.lists_orders = lists_orders
            await execute(database, "DELETE FROM acme_accounts")
            workspace = await fleet.world.workspace(tenant, zone)
            await fleet.world.zone(Scope.WORKSPACE, workspace.id, zone)
            await fleet.delegate(zone)
            await fleet.delegations.check(zone)
            mortal = Mortal(store)
            mortal.die_at = (number, after)
            try:
                await _drive(fleet, mortal, step=20.0)
                done = True
            except Killed:
                fleet.start()
                await _drive(fleet, Mortal(store), step=20.0)
            held = await fleet.held(zone)
            assert held is not None, (number, after)
            (placed,) = fleet.authority.placed.values()
            assert placed == 1 or (placed == 2 and not lists_orders), (number, after)
            assert sum(fleet.authority.issued.values()) == 1, (number, after)
            assert len(fleet.authority.accounts) == 1, (number, after)
            await _no_secret_is_left(fleet, database)
        number += 1
    assert number > 8


@pytest.mark.parametrize("method", ["open_account", "find", "place", "look", "answer", "finalize", "fetch"])
async def test_killed_while_the_authority_is_called(fleet: Fleet, tenant: Tenant, database: str, method: str) -> None:
    """Before it got the request, or after it did what was asked."""
    for place, after in enumerate((False, True)):
        if after and method not in {"place", "answer", "finalize"}:
            continue
        zone = f"z{place}.example.com"
        workspace = await fleet.world.workspace(tenant, zone)
        await fleet.world.zone(Scope.WORKSPACE, workspace.id, zone)
        await fleet.delegate(zone)
        await fleet.delegations.check(zone)
        faults = fleet.authority.after if after else fleet.authority.faults
        faults[method] = [Killed()]  # type: ignore[list-item]
        for _ in range(3):
            fleet.start()
            try:
                await _drive(fleet, Mortal(fleet.store), step=20.0)
            except Killed:
                continue
        assert await fleet.held(zone) is not None
        assert fleet.authority.placed[f"*.{zone}", f"*.sandbox.{zone}"] == 1
        await _no_secret_is_left(fleet, database)


# Renewals.


@pytest.mark.parametrize("days", [90, 64, 45, 160 / 24])
async def test_renewals_without_renewal_information(fleet: Fleet, tenant: Tenant, days: float) -> None:
    """Between 7/12 and 2/3 of the lifetime, whatever that is: one order each time, and no budget."""
    fleet.authority.lifetime = timedelta(days=days)
    await fleet.zone(tenant)
    await fleet.pass_time(30)
    first = await fleet.held()
    assert first is not None
    fleet.clock.advance(days * 86400 * 0.58)
    await fleet.pass_time(days * 86400 * 0.1)
    held = await fleet.held()
    assert held is not None
    assert held.serial != first.serial
    share = (held.not_before - first.not_before) / (first.not_after - first.not_before)
    assert 7 / 12 <= share <= 2 / 3 + 0.02
    assert fleet.authority.placed == {NAMES: 2}


async def test_the_store_is_away_when_a_renewal_is_due(
    fleet: Fleet, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run fails without an order, a node that knows the old certificate goes on serving it, and the next run renews it."""
    await fleet.zone(tenant)
    await fleet.pass_time(30)
    first = await fleet.held()
    assert first is not None
    assert fleet.lease is not None
    monkeypatch.setattr(held_sync, "POLL_INTERVAL", 0.05)
    table = HeldTable(fleet.box, fleet.clock)
    following = HeldSync(
        log=fleet.store.held_log,
        table=table,
        handover=HandOver(table, fleet.clock),
        metrics=Metrics(),
        clock=fleet.clock,
    )
    await following.start()
    try:
        served = table.answer(f"box.{ZONE}")
        assert first.renew_at is not None
        fleet.clock.advance((first.renew_at - fleet.clock.now()).total_seconds() + 1)
        with capture_logs() as logs:
            fleet.store.keep_closed("switched off")
            with pytest.raises(StoreUnavailableError):
                await fleet.job.run(fleet.lease)
            await eventually(
                lambda: any(line["event"] == "held certificates not read" for line in logs), "the node sees it, too"
            )
        assert served is not None
        assert table.answer(f"box.{ZONE}") == served
        assert fleet.authority.placed == {NAMES: 1}
        await fleet.store.check()
        await fleet.pass_time(30)
        await eventually(lambda: table.answer(f"box.{ZONE}") not in (served, None), "the new one is served")
    finally:
        await following.close()
    assert fleet.authority.placed == {NAMES: 2}


async def test_renewal_information(fleet: Fleet, tenant: Tenant) -> None:
    """The authority says when; a window that has passed, as after a revocation, is now. The order names the certificate that it
    replaces."""
    clock = fleet.clock
    fleet.authority.window = lambda _id: RenewalWindow(
        clock.now() + timedelta(days=40), clock.now() + timedelta(days=41), 6 * 3600.0
    )
    await fleet.zone(tenant)
    await fleet.pass_time(60)
    held = await fleet.held()
    assert held is not None
    assert held.renew_at is not None
    assert timedelta(days=39) < held.renew_at - clock.now() < timedelta(days=42)
    fleet.authority.window = lambda _id: RenewalWindow(
        clock.now() - timedelta(days=2), clock.now() - timedelta(days=1), 6 * 3600.0
    )
    await fleet.pass_time(6 * 3600 + 60)
    await fleet.pass_time(60)
    renewed = await fleet.held()
    assert renewed is not None
    assert renewed.serial != held.serial
    assert [order.replaces for order in fleet.authority.orders.values()] == [None, held.ari_id]


async def test_an_authority_that_refuses_a_replacement(fleet: Fleet, tenant: Tenant) -> None:
    """Somebody has replaced that certificate before: the order goes without, and succeeds."""
    await fleet.zone(tenant)
    fleet.authority.window = lambda _id: RenewalWindow(
        fleet.clock.now() + timedelta(days=40), fleet.clock.now() + timedelta(days=41), 6 * 3600.0
    )
    await fleet.pass_time(60)
    held = await fleet.held()
    assert held is not None
    async with fleet.store.begin() as tx:
        await tx.held_certificates.save(replace(held, renew_at=fleet.clock.now()))
    fleet.authority.faults["place"] = [RefusedError("alreadyReplaced", "it was replaced")]
    await fleet.pass_time(60)
    renewed = await fleet.held()
    assert renewed is not None
    assert renewed.serial != held.serial
    assert [order.replaces for order in fleet.authority.orders.values()] == [None, None]


@on_both
async def test_a_certificate_that_is_not_renewed(fleet: Fleet, tenant: Tenant) -> None:
    """Its zone's delegation is gone: it stays to its end, and its owner hears of the one and, once, of the other."""
    await fleet.zone(tenant)
    await fleet.pass_time(30)
    for name in (f"_acme-challenge.{ZONE}", f"_acme-challenge.sandbox.{ZONE}"):
        fleet.dns.put(name, RecordType.CNAME, "elsewhere.example.net")
    await fleet.pass_time(7 * 3600)
    fleet.clock.advance(76 * 86400)
    await fleet.pass_time(7200)
    assert await fleet.held() is not None
    assert await fleet.events(tenant) == [
        "delegation.present",
        "certificate.issued",
        "delegation.lost",
        "certificate.expiring",
    ]


@on_both
async def test_caa_that_forbids_the_next_certificate(fleet: Fleet, tenant: Tenant) -> None:
    """Its owner hears so at once, with the end of the certificate that there is, in the zone's advice too; and again when orders are
    possible."""
    await fleet.zone(tenant)
    await fleet.pass_time(30)
    held = await fleet.held()
    assert held is not None
    fleet.dns.put("acme.com", RecordType.CAA, '0 issue "letsencrypt.org"', '0 issuewild ";"')
    await fleet.delegations.check(ZONE)
    listing = await fleet.world.events.list(EventFilter(tenant_id=tenant.id))
    (lost,) = [event.data for event in listing.items if event.type == "delegation.lost"]
    assert (lost["reason"], lost["not_after"]) == ("forbidden", iso(held.not_after))
    status = await ZoneStatuses(fleet.store, fleet.clock, delegations=fleet.delegations).of(ZONE, tenant.id)
    assert status.advice == (
        f"The certificate of all hosts of {ZONE} ends at {iso(held.not_after)} and can't be renewed: the CAA records at acme.com do not let"
        ' letsencrypt.org issue a certificate for a wildcard: add the CAA record 0 issuewild "letsencrypt.org" at acme.com.'
    )
    fleet.dns.put("acme.com", RecordType.CAA)
    fleet.clock.advance(1)  # events are listed by their time
    await fleet.delegations.check(ZONE)
    assert await fleet.events(tenant) == [
        "delegation.present",
        "certificate.issued",
        "delegation.lost",
        "delegation.present",
    ]


async def test_name_servers_that_do_not_answer_take_nothing_away(fleet: Fleet, tenant: Tenant) -> None:
    """They are told apart from a delegation that was taken back."""
    await fleet.zone(tenant)
    await fleet.pass_time(30)
    for name in (f"_acme-challenge.{ZONE}", f"_acme-challenge.sandbox.{ZONE}"):
        fleet.dns.fail(name, "timeout")
    await fleet.delegations.check(ZONE)
    async with fleet.store.read() as tx:
        delegation = await tx.delegations.get(ZONE)
    assert delegation is not None
    assert delegation.state is DelegationState.UNREACHABLE
    for name in (f"_acme-challenge.{ZONE}", f"_acme-challenge.sandbox.{ZONE}"):
        fleet.dns.fail(name, None)
    await fleet.delegations.check(ZONE)
    assert await fleet.events(tenant) == ["delegation.present", "certificate.issued"]


async def test_another_authority(fleet: Fleet, tenant: Tenant, database: str) -> None:
    """Orders at the one before are abandoned, whatever their state; its certificates go on, and are renewed at the new one, which
    is told of none that it has not issued."""
    await fleet.zone(tenant)
    await fleet.delegations.check(ZONE)
    await _to_state(fleet, OrderState.ANSWERED)
    fleet.authority.faults.clear()
    fleet.authority.directory = "https://second.example/directory"
    fleet.authority.accounts.clear()
    fleet.start()
    await fleet.pass_time(120)
    held = await fleet.held()
    assert held is not None
    assert held.directory == "https://second.example/directory"
    states = await rows(database, "SELECT directory, state FROM acme_orders ORDER BY opened_at")
    assert states == [(DIRECTORY, "abandoned"), ("https://second.example/directory", "issued")]
    fleet.authority.directory = "https://third.example/directory"
    fleet.authority.accounts.clear()
    fleet.start()
    asked = fleet.authority.calls.count("renewal_window")
    await ZoneStatuses(fleet.store, fleet.clock, delegations=fleet.delegations).renew(ZONE)
    await fleet.pass_time(60)
    renewed = await fleet.held()
    assert renewed is not None
    assert renewed.directory == "https://third.example/directory"
    assert [order.replaces for order in fleet.authority.orders.values()] == [None, None, None]
    assert fleet.authority.calls.count("renewal_window") - asked == 1  # of the new one
    await _no_secret_is_left(fleet, database)


# Ends.


@on_both
async def test_a_zone_that_is_cleared_meanwhile(fleet: Fleet, tenant: Tenant, database: str) -> None:
    """At each state of its order: that is abandoned, its key blanked, its TXT values withdrawn; nothing is held."""
    states: Sequence[OrderState] = [state for state in OrderState if state not in CLOSED]
    for state in states:
        await fleet.zone(tenant)
        await fleet.delegations.check(ZONE)
        await _to_state(fleet, state)
        await fleet.world.previews.clear(Scope.TENANT, tenant.id)
        await fleet.pass_time(120)
        order = await fleet.order()
        assert order is not None
        assert order.state is OrderState.ABANDONED, state
        assert await fleet.held() is None, state
        await _no_secret_is_left(fleet, database)
        await execute(database, "DELETE FROM acme_orders")


async def test_a_late_withdrawal_leaves_the_next_order_s_values(fleet: Fleet, tenant: Tenant) -> None:
    """Also those that both orders have, as where an authority asks for the same again."""
    await fleet.zone(tenant)
    await fleet.delegations.check(ZONE)
    await _to_state(fleet, OrderState.ANSWERED)
    current = await fleet.order()
    assert current is not None
    assert fleet.lease is not None
    earlier = replace(current, id=new_id(), state=OrderState.ABANDONED, txt=("earlier", current.txt[0]))
    fleet.records.values[current.token] = ("earlier", *current.txt)
    await fleet.issuing.withdraw(earlier, fleet.lease)
    assert fleet.records.values == {current.token: current.txt}


async def _to_state(fleet: Fleet, state: OrderState) -> None:
    """By a fault at the state's step."""
    away = {
        OrderState.PLANNED: "open",
        OrderState.PLACING: "place",
        OrderState.PLACED: "publish",
        OrderState.PUBLISHED: "answer",
        OrderState.ANSWERED: "look",
        OrderState.FINALIZING: "fetch",
    }[state]
    fleet.start()
    fleet.lease = await fleet.store.leases.acquire("certificates", "node", 60.0)
    assert fleet.lease is not None
    (zone,) = await fleet.renewals.wanting()
    order = await fleet.renewals.open(zone, fleet.lease)
    assert order is not None
    if away == "publish":
        fleet.records.faults = [ChallengeError("away")]
    elif away != "open":
        fleet.authority.faults = {away: [UnreachableError("away")]}
    for _ in range(5):
        found = await fleet.order()
        assert found is not None
        if found.state is state and (away == "open" or found.error is not None):
            return
        await fleet.issuing.advance(order.id, fleet.lease)
        fleet.clock.advance(2)
    raise AssertionError(f"it did not stop at {state}")


@on_both
async def test_a_zone_that_another_tenant_takes(fleet: Fleet, tenant: Tenant, database: str) -> None:
    """The first one's certificate and key end in the same transaction, and its delegation gives the new owner nothing."""
    await fleet.zone(tenant)
    await fleet.pass_time(30)
    held = await fleet.held()
    assert held is not None
    other = await fleet.world.tenant("Other")
    await fleet.world.previews.clear(Scope.TENANT, tenant.id)
    assert await rows(database, "SELECT chain, sealed_key, removed_at IS NULL FROM held_certificates") == [
        ("", "", False)
    ]
    fleet.clock.advance(31 * 86400)
    await fleet.zone(other, delegated=False)
    await fleet.pass_time(120)
    assert await fleet.held() is None
    assert await fleet.order() is not None
    async with fleet.store.read() as tx:
        delegation = await tx.delegations.get(ZONE)
    assert delegation is not None
    assert (delegation.tenant_id, delegation.state) == (other.id, DelegationState.ELSEWHERE)
    await fleet.delegate()
    await fleet.delegations.check(ZONE)
    await fleet.pass_time(30)
    renewed = await fleet.held()
    assert renewed is not None
    assert renewed.tenant_id == other.id
    assert renewed.serial != held.serial


async def _hand_over(fleet: Fleet, old: Tenant, new: Tenant) -> None:
    """The zone becomes another tenant's, who has proved it."""
    async with fleet.store.begin() as tx:
        await tx.preview_domains.clear(Scope.TENANT, old.id, released=False)
    await fleet.zone(new)


@on_both
async def test_an_order_of_the_owner_before_ends_none_of_the_next_one_s(fleet: Fleet, tenant: Tenant) -> None:
    """The zone changes hands while the authority is asked about the old order: the answer changes nothing, and the new owner's
    order, which is under way by then, goes on."""
    await fleet.zone(tenant)
    await fleet.delegations.check(ZONE)
    await _to_state(fleet, OrderState.ANSWERED)
    old, other = await fleet.order(), await fleet.world.tenant("Other")
    assert old is not None
    look = fleet.authority.look

    async def change_hands(url: str) -> OrderSeen:
        fleet.authority.look = look  # type: ignore[method-assign]
        await _hand_over(fleet, tenant, other)
        await fleet.delegations.check(ZONE)
        (zone,) = await fleet.renewals.wanting()
        assert fleet.lease is not None
        assert await fleet.renewals.open(zone, fleet.lease) is not None
        return await look(url)

    fleet.authority.look = change_hands  # type: ignore[method-assign]
    fleet.clock.advance(60)
    fleet.lease = await fleet.store.leases.acquire("certificates", "node", 60.0)
    assert fleet.lease is not None
    await fleet.issuing.advance(old.id, fleet.lease)
    new = await fleet.order()
    assert new is not None
    assert (new.tenant_id, new.state) == (other.id, OrderState.PLANNED)
    await fleet.pass_time(30)
    held = await fleet.held()
    assert held is not None
    assert held.tenant_id == other.id


@on_both
async def test_a_new_owner_does_not_wait_for_failures_of_the_last_one(fleet: Fleet, tenant: Tenant) -> None:
    """Who fails again and again waits for a day, also after setting the zone anew; whoever has it next does not."""
    fleet.authority.refuses = Problem("unauthorized", "no")
    await fleet.zone(tenant)
    for failures in range(3):
        await _to_failure(fleet, failures)
    await _hand_over(fleet, tenant, tenant)
    await fleet.pass_time(300)
    same = await fleet.order()
    assert same is not None
    assert (same.state, same.attempts) == (OrderState.FAILED, 3)
    fleet.authority.refuses = None
    await _hand_over(fleet, tenant, await fleet.world.tenant("Other"))
    await fleet.pass_time(60)
    assert await fleet.held() is not None


# Budgets.


async def test_zones_that_wait_for_their_week_keep_no_other_tenant_waiting(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant has more zones under one registered domain than a week has certificates: theirs wait, others' don't."""
    monkeypatch.setattr(renewals, "MAX_OPEN", 3)
    fleet = Fleet(store, clock, gate=Gate(registered_domain=1, starts=100))
    many, few = await fleet.world.tenant("Many"), await fleet.world.tenant("Few")
    for number in range(5):
        workspace = await fleet.world.workspace(many, f"w{number}")
        await fleet.world.zone(Scope.WORKSPACE, workspace.id, f"z{number}.many.com")
        await fleet.delegate(f"z{number}.many.com")
    await fleet.pass_time(60)
    assert sum(fleet.authority.placed.values()) == 1
    await fleet.zone(few)
    await fleet.pass_time(60)
    assert await fleet.held() is not None


@on_both
async def test_the_week_of_a_registered_domain(store: Store, clock: ManualClock) -> None:
    """What single hosts have spent counts for zones; who waits for it says so, with when."""
    fleet = Fleet(store, clock, gate=Gate(registered_domain=2))
    tenant = await fleet.world.tenant("Acme")
    async with store.begin() as tx:
        for number in range(2):
            await tx.certificate_attempts.open(
                f"{number}" * 36, f"a{number}.acme.com", "acme.com", None, clock.now().timestamp()
            )
    await fleet.zone(tenant)
    await fleet.pass_time(60)
    order = await fleet.order()
    assert order is not None
    assert order.error is not None
    assert (order.state, order.error["code"]) == (OrderState.PLANNED, "budget_registered_domain")
    assert order.error["detail"].endswith("allows (budget_registered_domain)")
    assert order.next_at > clock.now() + timedelta(days=6)
    assert fleet.authority.placed == {}
    clock.advance(7 * 86400)
    await fleet.pass_time(60)
    assert await fleet.held() is not None


@on_both
async def test_zones_leave_visitors_half_of_the_account(store: Store, clock: ManualClock) -> None:
    """However many zones are delegated at once; each tenant has its turn: beyond the half, where the other's orders came first."""
    fleet = Fleet(store, clock, gate=Gate(account=8, starts=100))
    many, few = await fleet.world.tenant("Many"), await fleet.world.tenant("Few")
    for number in range(8):
        workspace = await fleet.world.workspace(many, f"w{number}")
        await fleet.world.zone(Scope.WORKSPACE, workspace.id, f"z{number}.many{number}.com")
        await fleet.delegate(f"z{number}.many{number}.com")
    clock.advance(1)
    await fleet.zone(few)
    await fleet.pass_time(60)
    placed = sum(fleet.authority.placed.values())
    assert placed in {4, 5}
    assert await fleet.held() is not None
    clock.advance(3 * 3600)
    await fleet.pass_time(60)
    assert sum(fleet.authority.placed.values()) == placed + 4


async def test_the_platforms_own_zone(store: Store, clock: ManualClock) -> None:
    """Has a delegation as others have, and no tenant."""
    fleet = Fleet(store, clock, platform="miosa.app")
    await fleet.run()
    await fleet.delegate("miosa.app")
    await fleet.pass_time(60)
    held = await fleet.held("miosa.app")
    assert held is not None
    assert (held.tenant_id, held.names) == (None, ("*.miosa.app", "*.sandbox.miosa.app"))


async def test_the_accounts_key_is_replaced(fleet: Fleet, tenant: Tenant) -> None:
    """When no order is under way; planned ones wait for it. Nothing is lost where the authority's answer is, or where it was never
    asked: the next process finds out which of the two keys it knows."""
    keys = AccountKeys(fleet.store, box=fleet.box)
    assert not await keys.want_new(fleet.authority.directory)
    await fleet.zone(tenant)
    fleet.authority.slow = 3
    await fleet.run()
    fleet.clock.advance(20)
    await fleet.run()
    order = await fleet.order()
    assert order is not None
    assert order.state is OrderState.ANSWERED
    (first,) = fleet.authority.accounts
    assert await keys.want_new(fleet.authority.directory)
    assert await keys.want_new(fleet.authority.directory), "again is the same"
    await fleet.run()
    assert [*fleet.authority.accounts] == [first], "an order is under way"
    other = await fleet.world.tenant("Other")
    await fleet.zone(other, "preview.other.com")
    await fleet.pass_time(600)
    (second,) = fleet.authority.accounts
    assert second != first
    assert await fleet.held() is not None
    assert await fleet.held("preview.other.com") is not None
    assert sum(fleet.authority.placed.values()) == 2

    for faults in (fleet.authority.after, fleet.authority.faults):
        faults["roll_key"] = [UnreachableError("lost")]
        (before,) = fleet.authority.accounts
        await keys.want_new(fleet.authority.directory)
        await fleet.run()
        fleet.start()
        await fleet.pass_time(300)
        (now,) = fleet.authority.accounts
        assert now != before
    fresh = await fleet.world.tenant("Fresh")
    await fleet.zone(fresh, "preview.fresh.com")
    await fleet.pass_time(600)
    assert await fleet.held("preview.fresh.com") is not None


async def test_the_clock_is_ten_minutes_off(fleet: Fleet, tenant: Tenant) -> None:
    """Behind or ahead: orders that were under way go on, and a certificate that begins in our future is held."""
    fleet.authority.slow = 5
    ahead: list[Callable[[], None]] = [lambda: fleet.clock.set_ahead(-600), lambda: fleet.clock.set_ahead(1200)]
    for number, jump in enumerate(ahead):
        zone = f"z{number}.acme{number}.com"
        workspace = await fleet.world.workspace(tenant, zone)
        await fleet.world.zone(Scope.WORKSPACE, workspace.id, zone)
        await fleet.delegate(zone)
        await fleet.pass_time(6)
        jump()
        await fleet.pass_time(1200)
        assert await fleet.held(zone) is not None
        assert fleet.authority.placed[f"*.{zone}", f"*.sandbox.{zone}"] == 1
