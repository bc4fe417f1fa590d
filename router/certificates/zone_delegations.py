"""What the owners of zones may delegate, for those who tell them: the diagnosis, and links at their DNS provider."""

from dataclasses import replace

from router.base.clock import Clock
from router.base.transactions import Transactions
from router.certificates.delegation import challenge_names
from router.certificates.held import Origin
from router.certificates.transaction import Tx
from router.domains.diagnosis.delegation_snapshot import Delegated


class ZoneDelegations:
    """A domains.diagnosis.delegation_snapshot.Delegations."""

    def __init__(self, store: Transactions[Tx], clock: Clock, acme_zone: str) -> None:
        self._store = store
        self._clock = clock
        self._acme_zone = acme_zone

    async def delegated(self, domain: str, tenant_id: str) -> Delegated | None:
        """See `Delegations`. What another tenant's zone of the same name had is never told."""
        async with self._store.read() as tx:
            found = await tx.delegations.get(domain)
            held = await tx.held_certificates.get(domain, Origin.MANAGED)
        if found is None or found.tenant_id != tenant_id:
            return None
        is_held = held is not None and held.tenant_id == tenant_id and held.valid(self._clock.now())
        return Delegated(
            names=challenge_names(domain),
            target=found.target(self._acme_zone),
            acme_zone=self._acme_zone,
            held_until=held.not_after if held is not None and is_held else None,
        )

    async def check_soon(self, domain: str, tenant_id: str) -> None:
        """See `Delegations`."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            found = await tx.delegations.get(domain)
            if found is not None and found.tenant_id == tenant_id and not found.present and found.next_check_at > now:
                await tx.delegations.save(replace(found, next_check_at=now))
