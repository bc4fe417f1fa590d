"""Opens orders: for zones that have no certificate yet, and for those whose certificate is due; and asks the authority when a
certificate should be renewed."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from router.base.clock import Clock, iso
from router.base.ids import new_id
from router.base.leases import GuardedTransactions, Lease
from router.certificates import events
from router.certificates.accounts import Accounts
from router.certificates.authority import Authority, AuthorityError, RenewalWindow
from router.certificates.delegation import Delegation, wildcard_names
from router.certificates.held import HeldCertificate, Origin
from router.certificates.order import Order, OrderState
from router.certificates.planning import ask_again_at, in_turn, jitter_of, renew_at
from router.certificates.transaction import Tx

MAX_OPEN = (
    100  # orders for first certificates, and as many renewals, that may be open: what is planned costs nobody anything
)
_READ = 1000  # zones that are looked at for a turn
_FRESH = timedelta(minutes=10)  # since the delegation was checked
_PLANNED = timedelta(hours=12)  # the deadline of an order that was not begun; it is set anew when it is placed
_ASK = 20  # certificates that the authority is asked about in one round

_log = structlog.get_logger("router.certificates")


class Renewals:
    """See the module. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        store: GuardedTransactions[Tx],
        clock: Clock,
        *,
        authority: Authority,
        accounts: Accounts,
        check: Callable[[str, Lease], Awaitable[Delegation | None]],
    ) -> None:
        """`check` looks at a zone's delegation now."""
        self._store = store
        self._clock = clock
        self._authority = authority
        self._accounts = accounts
        self._check = check

    async def wanting(self) -> Sequence[Delegation]:
        """Zones that an order may be opened for now, each tenant's in turn; renewals first."""
        now = self._clock.now()
        found: list[Delegation] = []
        async with self._store.read() as tx:
            first, renewing = await tx.acme_orders.open_counts(now)
            for renewal, busy in ((True, renewing), (False, first)):
                room = MAX_OPEN - busy
                if room > 0:
                    found += in_turn(await tx.delegations.wanting(now, renewal=renewal, limit=_READ), room)
        return found

    async def open(self, zone: Delegation, lease: Lease) -> Order | None:
        """Open an order for a zone, after a look at its delegation where the last one is old; None where it can't be."""
        now = self._clock.now()
        seen: Delegation | None = zone
        if zone.checked_at is None or not now - _FRESH < zone.checked_at <= now:
            seen = await self._check(zone.domain, lease)
        if seen is None or not seen.present or seen.token != zone.token:
            return None
        async with self._store.begin(lease) as tx:
            current = await tx.delegations.get(zone.domain)
            if current is None or current.token != zone.token:
                return None
            held = await tx.held_certificates.get(zone.domain, Origin.MANAGED)
            last = (await tx.acme_orders.last([zone.domain])).get(zone.domain)
            order = Order(
                id=new_id(),
                domain=zone.domain,
                tenant_id=zone.tenant_id,
                directory=self._authority.directory,
                token=zone.token,
                names=wildcard_names(zone.domain),
                replaces=self._replaced(held, last),
                attempts=_failures(last, zone),
                next_at=now,
                deadline_at=now + _PLANNED,
                opened_at=now,
            )
            return order if await tx.acme_orders.add(order) else None

    def _replaced(self, held: HeldCertificate | None, last: Order | None) -> str | None:
        """The certificate that an order names as the one that it renews: of the same authority, which has ARI. After a failure
        the order goes without, for the authority may have refused it because of that."""
        if held is None or held.ari_at is None or held.directory != self._authority.directory:
            return None
        return None if last is not None and last.state is OrderState.FAILED and last.attempts > 1 else held.ari_id

    async def to_ask(self) -> Sequence[HeldCertificate]:
        """Certificates that the authority is to be asked about now."""
        async with self._store.read() as tx:
            return await tx.held_certificates.to_ask(self._clock.now(), _ASK)

    async def ask(self, held: HeldCertificate, lease: Lease) -> None:
        """Ask the authority when to renew, and plan for it."""
        window: RenewalWindow | None = None
        answered = True
        if held.ari_id is None or held.directory != self._authority.directory:
            answered, ari_at = False, None
        else:
            try:
                await self._accounts.open(lease)
                window = await self._authority.renewal_window(held.ari_id)
                ari_at = None if window is None else ask_again_at(self._clock.now(), window)
            except AuthorityError as error:
                _log.warning("authority not asked when to renew", zone=held.domain, error=error.detail)
                answered, ari_at = False, ask_again_at(self._clock.now(), None)
        new = replace(held, ari_at=ari_at)
        if answered:
            new = replace(new, renew_at=renew_at(held.leaf, jitter_of(held.id), window, issued_at=held.created_at))
        async with self._store.begin(lease) as tx:
            await tx.held_certificates.save(new)

    async def tell_ending(self, lease: Lease) -> None:
        """Tell the owners of certificates that should have been renewed for long."""
        now = self._clock.now()
        async with self._store.begin(lease) as tx:
            for held in await tx.held_certificates.late(now, _ASK):
                await events.emit(
                    tx, "certificate.expiring", held.domain, now, not_after=iso(held.not_after), serial=held.serial
                )
                await tx.held_certificates.save(replace(held, warned_days=max(0, (held.not_after - now).days)))


def _failures(last: Order | None, zone: Delegation) -> int:
    """How many of the zone's orders have failed in a row; those of an owner before this one don't count."""
    own = last is not None and last.tenant_id == zone.tenant_id
    return last.attempts if last is not None and own and last.state is OrderState.FAILED else 0
