"""Delegations: checked by DNS, and stored with what follows from a change."""

from dataclasses import replace

from router.base.clock import Clock, iso
from router.base.leases import GuardedTransactions, Lease
from router.certificates import events
from router.certificates.delegation import Delegation, DelegationState
from router.certificates.delegation_check import CHECK_TIME, Found, check_delegation
from router.certificates.held import Origin
from router.certificates.planning import jitter_of, next_check_at
from router.certificates.transaction import Tx
from router.domains.lookup import Lookup
from router.settings import Ca

_LOST = frozenset(
    {DelegationState.MISSING, DelegationState.ELSEWHERE, DelegationState.SHADOWED, DelegationState.FORBIDDEN}
)
_BATCH = 100


class Delegations:
    """What can be done with delegations. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        store: GuardedTransactions[Tx],
        clock: Clock,
        *,
        lookup: Lookup,
        acme_zone: str,
        directory: str,
        ca: Ca,
    ) -> None:
        """`directory` and `ca` are the authority that orders are placed at, the second as CAA records know it, without our account."""
        self._store = store
        self._clock = clock
        self._lookup = lookup
        self.acme_zone = acme_zone
        self._directory = directory
        self._ca = ca

    async def check(self, domain: str, *, fresh: bool = False, under: Lease | None = None) -> Delegation | None:
        """Look at it now; None where the zone has none (any more)."""
        async with self._store.read() as tx:
            seen = await tx.delegations.get(domain)
            account = await tx.acme_accounts.get(self._directory)
        if seen is None:
            return None
        ca = self._ca.model_copy(update={"account_uri": None if account is None else account.uri})
        until = self._clock.monotonic() + CHECK_TIME
        found = await check_delegation(self._lookup, domain, seen.target(self.acme_zone), ca, until, fresh=fresh)
        return await self._store_check(seen, found, under)

    async def _store_check(self, seen: Delegation, found: Found, under: Lease | None) -> Delegation | None:
        now = self._clock.now()
        async with self._store.begin(under) as tx:
            old = await tx.delegations.get(seen.domain)
            if old is None or old.token != seen.token:
                return None
            new = replace(
                old,
                state=found.state,
                found=found.noted(),
                checked_at=now,
                next_check_at=next_check_at(old, found.state, now, jitter_of(old.token)),
            )
            await tx.delegations.save(new)
            if found.state is DelegationState.PRESENT and old.state is not DelegationState.PRESENT:
                await self._gain(tx, old)
            elif found.state in _LOST and old.state not in _LOST:
                await self._lose(tx, old, found)
            return new

    async def _gain(self, tx: Tx, old: Delegation) -> None:
        """Where its name servers did not answer for a while nothing has changed for a zone that has its certificate."""
        if old.state in _LOST or await tx.held_certificates.get(old.domain, Origin.MANAGED) is None:
            await events.emit(tx, "delegation.present", old.domain, self._clock.now())

    async def _lose(self, tx: Tx, old: Delegation, found: Found) -> None:
        """The certificate goes on to its end; nobody can renew it."""
        held = await tx.held_certificates.get(old.domain, Origin.MANAGED)
        if held is not None or old.state is not DelegationState.UNREACHABLE:
            ends = None if held is None else iso(held.not_after)
            await events.emit(
                tx, "delegation.lost", old.domain, self._clock.now(), reason=found.state.value, not_after=ends
            )

    async def make_missing(self, platform: str | None, under: Lease) -> int:
        """Give one to each zone that an older version has set, and to the platform's own; how many."""
        now = self._clock.now()
        async with self._store.read() as tx:
            missing: list[tuple[str, str | None]] = list(await tx.delegations.missing(_BATCH))
            if platform is not None and await tx.delegations.get(platform) is None:
                missing.append((platform, None))
        if missing:
            async with self._store.begin(under) as tx:
                for domain, tenant_id in missing:
                    await tx.delegations.make(domain, tenant_id, now)
        return len(missing)
