"""What the owners of zones may delegate, for those who tell them: the diagnosis, and links at their DNS provider."""

from router.base.transactions import Transactions
from router.certificates.delegation import challenge_names
from router.certificates.transaction import Tx
from router.domains.diagnosis.delegation_snapshot import Delegated


class ZoneDelegations:
    """A domains.diagnosis.delegation_snapshot.Delegations."""

    def __init__(self, store: Transactions[Tx], acme_zone: str) -> None:
        self._store = store
        self._acme_zone = acme_zone

    async def delegated(self, domain: str, tenant_id: str) -> Delegated | None:
        """See `Delegations`. What another tenant's zone of the same name had is never told."""
        async with self._store.read() as tx:
            found = await tx.delegations.get(domain)
        if found is None or found.tenant_id != tenant_id:
            return None
        return Delegated(names=challenge_names(domain), target=found.target(self._acme_zone), acme_zone=self._acme_zone)
