"""Attempts to get a first certificate, in the table that the gate's budgets count (`gate/budgets.py`): a zone's order is one of
them, under the host `*.<zone>` and the order's id."""

from dataclasses import dataclass
from typing import Protocol

from router.domains.certificates import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """When attempts that count were opened, in seconds since 1970, the newest first, at most as many as were asked for: of the
    exact name, of the registered domain, of the account, of the account for zones alone, and for this tenant's zones."""

    host: tuple[float, ...]
    registered_domain: tuple[float, ...]
    account: tuple[float, ...]
    zones: tuple[float, ...]
    tenant: tuple[float, ...]


class AttemptRows(Protocol):
    """Stored attempts."""

    async def hold(self) -> None:
        """Lock: until the end of the transaction nobody else counts and opens one. Call it first in a transaction."""

    async def spent(
        self,
        host: str,
        domain: str,
        *,
        host_since: float,
        domain_since: float,
        account_since: float,
        tenant_id: str | None,
        limit: int,
    ) -> Spent:
        """What was spent since these instants: of a name and a registered domain what may have issued a certificate, of the account
        everything."""

    async def open(self, attempt_id: str, host: str, domain: str, tenant_id: str | None, now: float) -> None:
        """Count one; the same one again counts as opened now."""

    async def close(self, attempt_id: str, outcome: Outcome, now: float) -> None:
        """What became of it; nothing where it was not counted."""
