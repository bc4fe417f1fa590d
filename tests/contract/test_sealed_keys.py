"""Private keys in the store when `secrets_key` is replaced, and when it is lost; on both stores."""

from dataclasses import replace

import pytest

from router.base.clock import ManualClock
from router.base.secret_box import SecretBox
from router.certificates.account import Account, account_key_purpose
from router.certificates.held import Origin, key_purpose
from router.certificates.order import OrderState, order_key_purpose
from router.certificates.request import CertificateRequest, request_key_purpose
from router.certificates.sealed_keys import SealedKeys
from router.store import Store
from tests.support.held_certificates import DIRECTORY, a_held, an_order

pytestmark = pytest.mark.asyncio

OLD, NEW, OTHER = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
ZONE = "preview.acme.com"


async def fill(store: Store, clock: ManualClock, key: bytes) -> None:
    """One of everything that has a key; two certificates, so that there is more than one to a transaction's bound of one."""
    box, now = SecretBox([key]), clock.now()
    async with store.begin() as tx:
        for domain, origin in ((ZONE, Origin.MANAGED), ("shop.acme.com", Origin.UPLOADED)):
            held = a_held(domain, now, origin=origin)
            await tx.held_certificates.put(
                replace(held, sealed_key=box.seal(f"of {domain}", purpose=key_purpose(held.id)))
            )
        gone = a_held("gone.acme.com", now)
        await tx.held_certificates.put(gone)
        await tx.held_certificates.remove("gone.acme.com", Origin.MANAGED, now)
        purpose = account_key_purpose(DIRECTORY)
        first, second = (box.seal(text, purpose=purpose) for text in ("first", "second"))
        await tx.acme_accounts.make(
            Account(directory=DIRECTORY, uri="u", sealed_key=first, next_sealed_key=second, created_at=now)
        )
        order = an_order(ZONE, now, state=OrderState.FINALIZING)
        await tx.acme_orders.add(replace(order, sealed_key=box.seal("order", purpose=order_key_purpose(order.id))))
        await tx.acme_orders.add(an_order("planned.acme.com", now))
        await tx.certificate_requests.put(
            CertificateRequest(
                domain=ZONE,
                tenant_id="acme",
                sealed_key=box.seal("request", purpose=request_key_purpose(ZONE)),
                csr="csr",
                names=(ZONE,),
                created_at=now,
            )
        )


async def opened(store: Store, key: bytes) -> list[str]:
    """Every key that is there, with this one alone."""
    box = SecretBox([key])
    async with store.read() as tx:
        held = await tx.held_certificates.at([ZONE, "shop.acme.com"])
        found = [box.open(one.sealed_key, purpose=key_purpose(one.id)) for one in held]
        account = await tx.acme_accounts.get(DIRECTORY)
        assert account is not None
        of_account = account_key_purpose(DIRECTORY)
        found += [box.open(one or "", purpose=of_account) for one in (account.sealed_key, account.next_sealed_key)]
        order = (await tx.acme_orders.last([ZONE]))[ZONE]
        found.append(box.open(order.sealed_key or "", purpose=order_key_purpose(order.id)))
        request = await tx.certificate_requests.get(ZONE)
        assert request is not None
        return [*found, box.open(request.sealed_key, purpose=request_key_purpose(ZONE))]


def keys(store: Store, clock: ManualClock, *with_these: bytes) -> SealedKeys:
    return SealedKeys(store, clock, box=SecretBox(with_these))


@pytest.mark.parametrize("chunk", [1, 200])
async def test_keys_are_sealed_anew(store: Store, clock: ManualClock, chunk: int) -> None:
    """Each once; the old key can go then."""
    await fill(store, clock, OLD)
    assert await keys(store, clock, NEW, OLD).reseal(chunk=chunk) == (6, 0)
    assert await keys(store, clock, NEW, OLD).reseal(chunk=chunk) == (0, 0)
    wanted = [f"of {ZONE}", "of shop.acme.com", "first", "second", "order", "request"]
    assert await opened(store, NEW) == wanted


async def test_nodes_hear_of_keys_that_were_sealed_anew(store: Store, clock: ManualClock) -> None:
    """What they have in memory is sealed by a key that is about to go."""
    await fill(store, clock, OLD)
    since = (await store.held_log.changes_since(None, 10)).until
    await keys(store, clock, NEW, OLD).reseal()
    changed = (await store.held_log.changes_since(since, 10)).certificates
    box = SecretBox([NEW])
    there = [one for one in changed if one.removed_at is None]
    assert sorted(box.open(one.sealed_key, purpose=key_purpose(one.id)) for one in there) == [
        f"of {ZONE}",
        "of shop.acme.com",
    ]


async def test_lost_keys_stay(store: Store, clock: ManualClock) -> None:
    """A node whose settings are wrong takes nothing away."""
    await fill(store, clock, OLD)
    assert await keys(store, clock, OTHER).reseal() == (0, 6)
    assert await opened(store, OLD)


async def test_lost_keys_are_forgotten(store: Store, clock: ManualClock) -> None:
    """With what they belong to, where that is wanted; what can be opened stays."""
    await fill(store, clock, OLD)
    kept = a_held("kept.acme.com", clock.now())
    async with store.begin() as tx:
        sealed = SecretBox([OTHER]).seal("kept", purpose=key_purpose(kept.id))
        await tx.held_certificates.put(replace(kept, sealed_key=sealed))
    assert await keys(store, clock, OTHER).reseal(forget=True) == (0, 5)
    async with store.read() as tx:
        found = await tx.held_certificates.at([ZONE, "shop.acme.com", "kept.acme.com"])
        assert [one.domain for one in found] == ["kept.acme.com"]
        assert await tx.acme_accounts.get(DIRECTORY) is None
        last = await tx.acme_orders.last([ZONE, "planned.acme.com"])
        assert (last[ZONE].state, last[ZONE].sealed_key, last[ZONE].csr) == (OrderState.ABANDONED, None, None)
        assert last["planned.acme.com"].state is OrderState.PLANNED
        assert await tx.certificate_requests.get(ZONE) is None
    assert await keys(store, clock, OTHER).reseal(forget=True) == (0, 0)


async def test_another_key_for_the_account_is_forgotten_alone(store: Store, clock: ManualClock) -> None:
    """The account goes on with the one that can be opened."""
    box, purpose = SecretBox([NEW]), account_key_purpose(DIRECTORY)
    lost = SecretBox([OLD]).seal("second", purpose=purpose)
    account = Account(
        directory=DIRECTORY, uri="u", sealed_key=box.seal("first", purpose=purpose), created_at=clock.now()
    )
    async with store.begin() as tx:
        await tx.acme_accounts.make(replace(account, next_sealed_key=lost))
    assert await keys(store, clock, NEW).reseal(forget=True) == (0, 1)
    async with store.read() as tx:
        assert await tx.acme_accounts.get(DIRECTORY) == account
