"""Certificates that the router holds, delegations, orders, the account and requests, on both stores."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.certificates.account import Account
from router.certificates.delegation import TOKEN_LENGTH, DelegationState
from router.certificates.held import HeldCertificate, Origin, upload_name
from router.certificates.order import OrderState
from router.certificates.request import CertificateRequest
from router.routes.records import Kind, Scope
from router.store import Store, held_certificates
from router.tenancy.tenants import Tenant
from tests.support.database import prune, rows
from tests.support.held_certificates import DIRECTORY, a_held, an_order
from tests.support.world import World

pytestmark = pytest.mark.asyncio

ZONE = "preview.acme.com"


@pytest_asyncio.fixture
async def tenant(world: World) -> Tenant:
    return await world.tenant("Acme")


def _request(domain: str, clock: ManualClock, tenant_id: str) -> CertificateRequest:
    return CertificateRequest(
        domain=domain, tenant_id=tenant_id, sealed_key="sealed", csr="csr", names=(domain,), created_at=clock.now()
    )


async def test_a_zone_that_is_set_has_a_delegation(world: World, store: Store, tenant: Tenant) -> None:
    """From the same transaction on, with a token of its own; several scopes of a tenant share it until the last one lets go."""
    workspace = await world.workspace(tenant, "Team")
    await world.previews.set(Scope.TENANT, tenant.id, ZONE)
    async with store.read() as tx:
        made = await tx.delegations.get(ZONE)
        assert made is not None
        assert (made.tenant_id, made.state, made.checked_at) == (tenant.id, DelegationState.MISSING, None)
        assert len(made.token) == TOKEN_LENGTH
        assert set(made.token) <= set("abcdefghijklmnopqrstuvwxyz234567")
        assert await tx.delegations.by_token(made.token) == made
        assert await tx.delegations.of_tenant(tenant.id) == [made]
        assert await tx.delegations.at([ZONE, "other.example"]) == {ZONE: made}
    await world.previews.set(Scope.WORKSPACE, workspace.id, ZONE)
    await world.previews.clear(Scope.TENANT, tenant.id)
    async with store.read() as tx:
        assert await tx.delegations.get(ZONE) == made
    await world.previews.clear(Scope.WORKSPACE, workspace.id)
    async with store.read() as tx:
        assert await tx.delegations.get(ZONE) is None
    await world.previews.set(Scope.TENANT, tenant.id, ZONE)
    async with store.read() as tx:
        again = await tx.delegations.get(ZONE)
        assert again is not None
        assert again.token != made.token


async def test_what_a_check_of_a_delegation_found(store: Store, tenant: Tenant, clock: ManualClock) -> None:
    """It is stored, and only for the token that it was about; a platform's delegation is due without a preview domain."""
    async with store.begin() as tx:
        made = await tx.delegations.make("miosa.app", None, clock.now())
        assert await tx.delegations.make("miosa.app", None, clock.now()) == made
        assert await tx.delegations.due(clock.now(), 10) == [made]
        found = replace(
            made,
            state=DelegationState.PRESENT,
            found={"_acme-challenge.miosa.app": {"state": "present", "observed": ["a."]}},
            checked_at=clock.now(),
            next_check_at=clock.now() + timedelta(hours=1),
        )
        assert await tx.delegations.save(found)
        assert await tx.delegations.get("miosa.app") == found
        assert await tx.delegations.due(clock.now(), 10) == []
        assert await tx.delegations.due(clock.now() + timedelta(hours=1), 10) == [found]
        other = await tx.delegations.make("miosa.app", tenant.id, clock.now())
        assert other.token != made.token
        assert not await tx.delegations.save(found)
        assert await tx.delegations.due(clock.now() + timedelta(hours=1), 10) == []


async def test_zones_without_a_delegation(world: World, store: Store, tenant: Tenant) -> None:
    """An older version has set them: they are found."""
    await world.previews.set(Scope.TENANT, tenant.id, ZONE)
    async with store.begin() as tx:
        assert await tx.delegations.missing(10) == []
        await tx.delegations.drop(ZONE)
        assert await tx.delegations.missing(10) == [(ZONE, tenant.id)]


async def test_a_held_certificate(store: Store, clock: ManualClock) -> None:
    """One of each origin; a new one takes the place of the old, a removed one keeps neither chain nor key."""
    now = clock.now()
    first, own = a_held(ZONE, now), a_held(ZONE, now, origin=Origin.UPLOADED, renew_at=None, directory=None)
    async with store.begin() as tx:
        await tx.held_certificates.put(first)
        await tx.held_certificates.put(own)
        assert await tx.held_certificates.get(ZONE, Origin.MANAGED) == first
        assert await tx.held_certificates.at([ZONE]) == [first, own]
        second = a_held(ZONE, now, serial="0b", ari_id="a.b", ari_at=now)
        await tx.held_certificates.put(second)
        assert await tx.held_certificates.at([ZONE]) == [second, own]
        assert not await tx.held_certificates.save(replace(first, renew_at=now))
        asked = replace(second, renew_at=now + timedelta(days=50), ari_at=now + timedelta(days=1))
        assert await tx.held_certificates.save(asked)
        assert await tx.held_certificates.get(ZONE, Origin.MANAGED) == asked
        assert await tx.held_certificates.remove(ZONE, Origin.MANAGED, now)
        assert not await tx.held_certificates.remove(ZONE, Origin.MANAGED, now)
        assert await tx.held_certificates.get(ZONE, Origin.MANAGED) is None
        assert not await tx.held_certificates.save(asked)
        assert await tx.held_certificates.at([ZONE]) == [own]


async def test_the_authority_is_asked_about_managed_certificates(store: Store, clock: ManualClock) -> None:
    """The longest due first; about none that was removed, or that was brought."""
    now = clock.now()
    first, second = a_held("a.example", now, ari_at=now), a_held("b.example", now, ari_at=now - timedelta(hours=1))
    gone, own = a_held("c.example", now, ari_at=now), a_held("d.example", now, ari_at=now, origin=Origin.UPLOADED)
    async with store.begin() as tx:
        for one in (
            first,
            second,
            gone,
            own,
            a_held("e.example", now),
            a_held("f.example", now, ari_at=now + timedelta(1)),
        ):
            await tx.held_certificates.put(one)
        await tx.held_certificates.remove("c.example", Origin.MANAGED, now)
        assert await tx.held_certificates.to_ask(now, 10) == [second, first]
        assert await tx.held_certificates.to_ask(now, 1) == [second]


async def test_managed_certificates_that_are_late(store: Store, clock: ManualClock) -> None:
    """When five sixths of their lifetime are over, until their owner was told."""
    now = clock.now()
    late = a_held("a.example", now - timedelta(days=76), renew_at=now - timedelta(days=16))
    in_time = a_held("b.example", now - timedelta(days=74), renew_at=now - timedelta(days=14))
    async with store.begin() as tx:
        for one in (late, in_time):
            await tx.held_certificates.put(one)
        assert await tx.held_certificates.late(now, 10) == [late]
        await tx.held_certificates.save(replace(late, warned_days=14))
        assert await tx.held_certificates.late(now, 10) == []


async def test_held_certificates_are_pruned(store: Store, clock: ManualClock) -> None:
    """What was removed long ago, and managed ones that ended long ago."""
    now = clock.now()
    long_ago = now - timedelta(days=200)
    async with store.begin() as tx:
        for one in (a_held("a.example", now), a_held("b.example", long_ago), a_held("c.example", now)):
            await tx.held_certificates.put(one)
        await tx.held_certificates.remove("c.example", Origin.MANAGED, long_ago)
    assert await prune(store, clock) == {"held_certificates": 2}
    async with store.read() as tx:
        assert [one.domain for one in await tx.held_certificates.at(["a.example", "b.example"])] == ["a.example"]


async def test_uploads_that_end(store: Store, clock: ManualClock) -> None:
    """Page by page, the first to end first."""
    now = clock.now()
    own = [
        a_held(f"{n}.example", now, origin=Origin.UPLOADED, not_after=now + timedelta(days=n // 2)) for n in range(5)
    ]
    async with store.begin() as tx:
        for one in own:
            await tx.held_certificates.put(one)
        seen: list[HeldCertificate] = []
        after = None
        while page := await tx.held_certificates.ending(Origin.UPLOADED, now + timedelta(days=2), after, 2):
            seen += page
            after = page[-1].not_after, page[-1].id
        assert seen == sorted(own[:4], key=lambda one: (one.not_after, one.id))


async def test_nodes_follow_held_certificates(store: Store, clock: ManualClock) -> None:
    """At the start all that are there, page by page; then what changed, what was removed too, without its key."""
    log = store.held_log
    held = [a_held(f"{n}.example", clock.now()) for n in range(5)]
    async with store.begin() as tx:
        for one in held:
            await tx.held_certificates.put(one)
        await tx.held_certificates.remove("4.example", Origin.MANAGED, clock.now())
    seen: list[HeldCertificate] = []
    delta = await log.changes_since(None, 2)
    since = delta.until
    seen += delta.certificates
    while delta.next is not None:
        delta = await log.changes_since(None, 2, delta.next)
        seen += delta.certificates
    assert sorted(seen, key=lambda one: one.domain) == held[:4]
    async with store.begin() as tx:
        await tx.held_certificates.remove("0.example", Origin.MANAGED, clock.now())
    changed = {one.domain: one for one in (await log.changes_since(since, 100)).certificates}
    assert changed["0.example"].removed_at == clock.now()
    assert (changed["0.example"].chain, changed["0.example"].sealed_key) == ("", "")
    far = (await log.changes_since(since + 3600, 100)).certificates
    assert far == []


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_a_removal_in_a_long_transaction_is_not_missed(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it lasts: it may have a thousand names to remove, and nobody sees any before it ends."""
    monkeypatch.setattr(held_certificates, "_OVERLAP", 0.0)
    log = store.held_log
    async with store.begin() as tx:
        await tx.held_certificates.put(a_held("a.example", clock.now()))
    since = (await log.changes_since(None, 10)).until
    async with store.begin() as tx:
        await tx.held_certificates.remove("a.example", Origin.MANAGED, clock.now())
        delta = await log.changes_since(since, 10)
        assert delta.certificates == []
    (removed,) = (await log.changes_since(delta.until, 10)).certificates
    assert removed.removed_at == clock.now()


async def test_an_order_is_moved_by_one(store: Store, clock: ManualClock) -> None:
    """A domain has at most one open order, and who saves one that somebody else has moved meanwhile is told so."""
    now = clock.now()
    order = an_order(ZONE, now)
    async with store.begin() as tx:
        assert await tx.acme_orders.add(order)
        assert not await tx.acme_orders.add(an_order(ZONE, now))
        assert await tx.acme_orders.get(order.id) == order
        placing = replace(order, state=OrderState.PLACING)
        assert await tx.acme_orders.save(placing, OrderState.PLANNED)
        assert not await tx.acme_orders.save(placing, OrderState.PLANNED)
        failed = replace(placing, state=OrderState.FAILED, closed_at=now, attempts=1, error={"kind": "caa"})
        assert await tx.acme_orders.save(failed, OrderState.PLACING)
        assert not await tx.acme_orders.save(placing, OrderState.FAILED)
        again = an_order(ZONE, now + timedelta(seconds=1))
        assert await tx.acme_orders.add(again)
        assert await tx.acme_orders.last([ZONE, "other.example"]) == {ZONE: again}


async def test_two_open_an_order_at_once(store: Store, clock: ManualClock) -> None:
    """Of two nodes that plan the same zone one opens it; the other one is told, or its transaction fails."""

    async def add() -> bool:
        async with store.begin() as tx:
            return await tx.acme_orders.add(an_order(ZONE, clock.now()))

    results = await asyncio.gather(*(add() for _ in range(8)), return_exceptions=True)
    assert [result for result in results if result is True] == [True]
    async with store.read() as tx:
        assert len(await tx.acme_orders.due(clock.now(), 10)) == 1


async def test_orders_are_due(store: Store, clock: ManualClock) -> None:
    """Open ones whose next step has come, or whose end, which those have that were begun."""
    now = clock.now()
    later = now + timedelta(minutes=5)
    due, waits, over = (
        an_order("a.example", now),
        an_order("b.example", now, next_at=later),
        an_order("c.example", now, next_at=later, deadline_at=now, state=OrderState.PLACED),
    )
    async with store.begin() as tx:
        for one in (due, waits, over):
            await tx.acme_orders.add(one)
        assert await tx.acme_orders.due(now, 10) == [due, over]
        assert (await tx.acme_orders.due(later, 10))[0] == due
        assert len(await tx.acme_orders.due(later, 10)) == 3


async def test_txt_values_of_an_order(store: Store, clock: ManualClock) -> None:
    """They are answered while it is open; what ends it blanks its key, and leaves them to be withdrawn."""
    order = an_order(ZONE, clock.now(), state=OrderState.PUBLISHED, txt=("one", "two"), sealed_key="x", csr="y")
    async with store.begin() as tx:
        await tx.acme_orders.add(order)
        await tx.acme_orders.add(an_order("other.example", clock.now()))  # has none yet
        assert await tx.acme_orders.unwithdrawn(10) == []
    assert await store.txt_source.open_values() == {order.token: ("one", "two")}
    async with store.begin() as tx:
        assert await tx.acme_orders.abandon(ZONE, clock.now())
        assert not await tx.acme_orders.abandon(ZONE, clock.now())
        (closed,) = await tx.acme_orders.unwithdrawn(10)
        assert (closed.state, closed.sealed_key, closed.csr) == (OrderState.ABANDONED, None, None)
        await tx.acme_orders.withdrawn(order.id)
        assert await tx.acme_orders.unwithdrawn(10) == []
    assert await store.txt_source.open_values() == {}


async def test_orders_that_are_open(store: Store, clock: ManualClock) -> None:
    """First ones and renewals are counted apart; what waits for a limit, perhaps for a week, keeps nobody from opening one."""
    now, later = clock.now(), clock.now() + timedelta(days=6)
    async with store.begin() as tx:
        await tx.held_certificates.put(a_held("c.example", now))
        for name in ("a.example", "b.example", "c.example"):
            await tx.acme_orders.add(an_order(name, now))
        await tx.acme_orders.add(an_order("d.example", now, next_at=later))
        await tx.acme_orders.add(an_order("e.example", now, next_at=later, state=OrderState.ANSWERED))
        assert await tx.acme_orders.open_counts(now) == (3, 1)
        assert await tx.acme_orders.open_counts(later) == (4, 1)


@pytest.mark.parametrize(
    ("state", "outcome"), [(OrderState.ANSWERED, "failed"), (OrderState.FINALIZING, "expired")], ids=str
)
async def test_what_an_abandoned_order_counts_as(
    store: Store, clock: ManualClock, database: str, state: OrderState, outcome: str
) -> None:
    """One that the authority may have issued counts for the limits: clearing a zone just then gives nothing back."""
    order = an_order(ZONE, clock.now(), state=state)
    async with store.begin() as tx:
        await tx.acme_orders.add(order)
        await tx.certificate_attempts.open(order.id, order.names[0], "acme.com", None, clock.now().timestamp())
        await tx.acme_orders.abandon(ZONE, clock.now())
    assert await rows(database, "SELECT outcome FROM certificate_attempts") == [(outcome,)]


async def test_closed_orders_are_pruned(store: Store, clock: ManualClock) -> None:
    """But the newest of each domain, which says why there is no certificate and when the next try is."""
    now = clock.now()
    async with store.begin() as tx:
        for number in range(3):
            at = now + timedelta(seconds=number)
            order = an_order(ZONE, at)
            await tx.acme_orders.add(order)
            await tx.acme_orders.save(replace(order, state=OrderState.FAILED, closed_at=at), OrderState.PLANNED)
        await tx.delegations.make(ZONE, None, now)
    clock.advance(30 * 86400 + 1)
    assert await prune(store, clock) == {"acme_orders": 1}
    clock.advance(3600)
    assert await prune(store, clock) == {"acme_orders": 1}
    assert await prune(store, clock) == {}
    async with store.read() as tx:
        assert (await tx.acme_orders.last([ZONE]))[ZONE].opened_at == now + timedelta(seconds=2)


async def test_an_account(store: Store, clock: ManualClock) -> None:
    """The first one made for a directory stays; who comes later works with it."""
    account = Account(directory=DIRECTORY, sealed_key="sealed", created_at=clock.now())
    async with store.begin() as tx:
        assert await tx.acme_accounts.get(DIRECTORY) is None
        assert await tx.acme_accounts.make(account) == account
        assert await tx.acme_accounts.make(replace(account, sealed_key="another")) == account
        known = replace(account, uri="https://ca.example/acct/1", next_sealed_key="next")
        await tx.acme_accounts.save(known)
        assert await tx.acme_accounts.get(DIRECTORY) == known


async def test_a_request(store: Store, clock: ManualClock, tenant: Tenant) -> None:
    """A domain has one; the next takes its place."""
    request = _request(ZONE, clock, tenant.id)
    async with store.begin() as tx:
        await tx.certificate_requests.put(request)
        await tx.certificate_requests.put(replace(request, csr="another"))
        assert await tx.certificate_requests.get(ZONE) == replace(request, csr="another")
        await tx.certificate_requests.remove(ZONE)
        assert await tx.certificate_requests.get(ZONE) is None


async def test_all_ends_with_the_zone(
    world: World, store: Store, tenant: Tenant, clock: ManualClock, database: str
) -> None:
    """Certificates, keys, the open order, the request and the delegation, in the transaction in which it is let go."""
    await world.previews.set(Scope.TENANT, tenant.id, ZONE)
    now = clock.now()
    async with store.begin() as tx:
        await tx.held_certificates.put(a_held(ZONE, now, tenant.id))
        await tx.held_certificates.put(a_held(upload_name(ZONE), now, tenant.id, origin=Origin.UPLOADED))
        await tx.acme_orders.add(an_order(ZONE, now, tenant.id, sealed_key="key of order"))
        await tx.certificate_requests.put(_request(upload_name(ZONE), clock, tenant.id))
    await world.previews.clear(Scope.TENANT, tenant.id)
    async with store.read() as tx:
        assert await tx.held_certificates.at([ZONE, upload_name(ZONE)]) == []
        assert (await tx.acme_orders.last([ZONE]))[ZONE].state is OrderState.ABANDONED
        assert await tx.certificate_requests.get(upload_name(ZONE)) is None
        assert await tx.delegations.get(ZONE) is None
    held = await rows(database, "SELECT * FROM held_certificates")
    assert "key of" not in str(held + await rows(database, "SELECT * FROM acme_orders"))


async def test_all_ends_with_a_custom_domain(world: World, store: Store, tenant: Tenant, clock: ManualClock) -> None:
    """What its owner brought for it; where the same name is a zone of theirs, that keeps its own."""
    computer = await world.sandbox(tenant, "shop", kind=Kind.COMPUTER)
    domain = await world.domain(computer, "www.acme.com")
    both = await world.domain(computer, ZONE)
    await world.previews.set(Scope.TENANT, tenant.id, ZONE)
    async with store.begin() as tx:
        for name in ("www.acme.com", ZONE, upload_name(ZONE)):
            await tx.held_certificates.put(a_held(name, clock.now(), tenant.id, origin=Origin.UPLOADED))
            await tx.certificate_requests.put(_request(name, clock, tenant.id))
    for one in (domain, both):
        await world.domains.remove(one.id)
    async with store.read() as tx:
        assert await tx.held_certificates.get("www.acme.com", Origin.UPLOADED) is None
        assert await tx.certificate_requests.get("www.acme.com") is None
        assert await tx.held_certificates.get(ZONE, Origin.UPLOADED) is None
        assert await tx.held_certificates.get(upload_name(ZONE), Origin.UPLOADED) is not None
        assert await tx.delegations.get(ZONE) is not None
    await world.previews.clear(Scope.TENANT, tenant.id)
    async with store.read() as tx:
        assert await tx.held_certificates.get(upload_name(ZONE), Origin.UPLOADED) is None
