"""A custom domain: one host name of a customer's own that leads to one of their resources. The value, and how it is stored.

What can be done with one is in `custom_domains.py`, how a name becomes one in `registration.py`, and what a check of its DNS
means for it in `checks/apply_custom.py`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from router.base.paging import Listing, Window
from router.domains.certificates import Certificate, CertificateStatus
from router.domains.checks.schedule import CheckState, Slice, jitter_of
from router.domains.claims import (
    Names,
)
from router.domains.redirects import DEFAULT_STATUS, RedirectPolicy, redirect_target
from router.domains.required_records import RequiredRecord, instructions, of_custom
from router.domains.states import check_move
from router.domains.transaction import Tx
from router.errors import NOT_FOUND, RouterError
from router.hostname import unicode_name
from router.routes.records import DomainStatus, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomDomain:
    """One registered name. Owner and attribution are the resource's, unless the caller gave an attribution.

    `token` is what a TXT record at `_miosa-challenge.<fqdn>` must show where the CNAME can't prove control; `proof` is
    what we answer under the name when a check asks for it there, and is never shown. `detail` is what the last check
    at DNS saw, for its owner.
    """

    id: str
    fqdn: str
    resource_id: str
    kind: Kind
    tenant_id: str
    workspace_id: str
    project_id: str
    status: DomainStatus = DomainStatus.PENDING
    suspended: bool = False
    verification_target: str
    token: str
    proof: str = ""
    redirect_policy: RedirectPolicy = RedirectPolicy.NONE
    redirect_status: int = DEFAULT_STATUS
    failure_reason: str | None = None
    verified_at: datetime | None = None
    tls_issued_at: datetime | None = None
    removed_at: datetime | None = None
    external_workspace_id: str | None = None
    external_user_id: str | None = None
    external_project_id: str | None = None
    check: CheckState
    detail: Mapping[str, Any] | None = None
    created_at: datetime
    updated_at: datetime
    certificate: Certificate | None = None

    @property
    def cert(self) -> Certificate:
        """What is known of its certificate. It is stored by its host, apart: saving the domain does not change it."""
        if self.certificate is None or self.certificate.status is CertificateStatus.REMOVED:
            return Certificate(host=self.fqdn, status=CertificateStatus.PENDING)
        return self.certificate

    @property
    def proof_needed(self) -> str | None:
        """Why the records that lead to us did not verify it at the last check (`proof.Need`); None where they did, or don't."""
        return None if self.status.routes else (self.detail or {}).get("proof_needed")

    @property
    def required_records(self) -> tuple[RequiredRecord, ...]:
        """What its owner must publish, and what the last check found of it."""
        return of_custom(self.fqdn, self.token, self.verification_target, self.detail)

    @property
    def instructions(self) -> str:
        """What its owner is to do, in a sentence."""
        return instructions(self.fqdn, self.token, self.verification_target)

    @property
    def jitter(self) -> float:
        """In [0, 1), its own: what spreads the checks of many domains over time."""
        return jitter_of(self.id)

    @property
    def fqdn_unicode(self) -> str:
        return unicode_name(self.fqdn)

    @property
    def computer_id(self) -> str | None:
        return self.resource_id if self.kind is Kind.COMPUTER else None

    @property
    def deployment_id(self) -> str | None:
        return self.resource_id if self.kind is Kind.DEPLOYMENT else None

    @property
    def redirect_to(self) -> str | None:
        return redirect_target(self.fqdn, self.redirect_policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainFilter:
    """Conditions of a list; None is no condition. Removed domains are left out unless `status` asks for them."""

    tenant_id: str | None = None
    workspace_id: str | None = None
    project_id: str | None = None
    resource_id: str | None = None
    kind: Kind | None = None
    status: DomainStatus | None = None
    external_workspace_id: str | None = None
    external_user_id: str | None = None
    external_project_id: str | None = None


class DomainRows(Names, Protocol):
    """Stored custom domains. What changes one counts as a change of its name's record."""

    async def add(self, domain: CustomDomain) -> None: ...

    async def get(self, domain_id: str) -> CustomDomain | None:
        """A removed one too: it has `removed_at`."""

    async def by_fqdn(self, fqdn: str) -> CustomDomain | None:
        """Never a removed one."""

    async def others(self, name: str, tenant_id: str, *, under: bool) -> list[CustomDomain]:
        """Other tenants' live custom domains of that name, or also `under` it."""

    async def forget_released(self, name: str, tenant_id: str, *, under: bool) -> None:
        """Forget that others let go of such names: they are not protected any more."""

    async def last_token(self, fqdn: str, tenant_id: str) -> str | None:
        """The token of what the tenant last had of that name, unless another tenant has proved the name since."""

    async def list(self, where: DomainFilter, window: Window) -> Listing[CustomDomain]:
        """The newest first."""

    async def save(self, domain: CustomDomain, *, routed: bool = True) -> None:
        """Store every field anew. Not `routed` where nothing changed that its routing record shows."""

    async def due(self, now: datetime, limit: int, part: Slice) -> Sequence[tuple[datetime, str, str]]:
        """When the next check is due, the id and the tenant; tenants take turns (`queue.py`)."""

    async def schedule_now(self, fqdns: Collection[str], now: datetime, unless_since: datetime) -> int:
        """Of those that wait, let the next check be due now, unless the last was later than `unless_since`; how many."""


def moved(domain: CustomDomain, to: DomainStatus, now: datetime, **changes: Any) -> CustomDomain:
    """The domain in another state: the one way to change its status. Raises RouterError CONFLICT where it may not enter it."""
    check_move(domain.status, to)
    return replace(domain, status=to, updated_at=now, **changes)


def live(domain: CustomDomain | None) -> CustomDomain:
    """Raises RouterError NOT_FOUND where there is none, or one that was removed."""
    if domain is None or domain.removed_at is not None:
        raise RouterError(NOT_FOUND, "domain not found")
    return domain


def happened(old: CustomDomain, to: DomainStatus) -> str:
    """The event for the move of a domain into another state."""
    again = to is DomainStatus.VERIFIED and old.status is DomainStatus.FAILED and old.verified_at is not None
    return "recovered" if again else to.value


async def emit_event(tx: Tx, domain: CustomDomain, happened: str, now: datetime, *, reason: str | None = None) -> None:
    """Store an event of the domain, in the transaction of the change."""
    await tx.events.emit(
        f"domain.{happened}",
        now,
        tenant_id=domain.tenant_id,
        workspace_id=domain.workspace_id,
        project_id=domain.project_id,
        resource_id=domain.resource_id,
        data={"domain_id": domain.id, "fqdn": domain.fqdn, "reason": reason},
    )
