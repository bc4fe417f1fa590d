"""Custom domains: one host name of a customer's own that leads to one of their resources.

DNS is looked at elsewhere; who looked says here what it means (`mark_verified`, `mark_active`, `mark_failed`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from router.clock import Clock
from router.domains.certificates import Certificate, CertificateStatus
from router.domains.challenge import new_token
from router.domains.checks import CheckState, begin, failed, luck_of, succeeded
from router.domains.claims import ClaimsTx, Names, Proofs, forget_claim, host_is_held, open_claim, taken
from router.domains.names import registrable
from router.domains.redirects import DEFAULT_STATUS, STATUSES, RedirectPolicy, redirect_target
from router.domains.states import may_move
from router.errors import CONFLICT, NOT_FOUND, VALIDATION_FAILED, RouterError
from router.hostname import unicode_name
from router.routes.records import DomainStatus, Kind
from router.unit import FIRST, Listing, Unit, Window, new_id

ALREADY = "domain is already verified"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomDomain:
    """One registered name. Owner and attribution are the resource's, unless the caller gave an attribution.

    `token` is what a TXT record at `_miosa-challenge.<fqdn>` must show where the CNAME can't prove control; `proof` is
    what we answer under the name to whoever looks for us there, and is shown to nobody. `detail` is what the last look
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
    def luck(self) -> float:
        """In [0, 1), its own: what spreads the looks at many domains over time."""
        return luck_of(self.id)

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


class Holder(Protocol):
    """A resource, as far as domains care."""

    @property
    def id(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def tenant_id(self) -> str: ...

    @property
    def workspace_id(self) -> str: ...

    @property
    def project_id(self) -> str: ...

    @property
    def deleted_at(self) -> datetime | None: ...

    @property
    def external_workspace_id(self) -> str | None: ...

    @property
    def external_user_id(self) -> str | None: ...

    @property
    def external_project_id(self) -> str | None: ...


class Holders(Protocol):
    async def get(self, resource_id: str) -> Holder | None: ...


class DomainRows(Names, Protocol):
    """Stored custom domains. What changes one counts as a change of its name's record."""

    async def add(self, domain: CustomDomain) -> None: ...

    async def get(self, domain_id: str) -> CustomDomain | None:
        """A removed one too: it has `removed_at`."""

    async def by_fqdn(self, fqdn: str) -> CustomDomain | None:
        """Never a removed one."""

    async def list(self, where: DomainFilter, window: Window) -> Listing[CustomDomain]:
        """The newest first."""

    async def save(self, domain: CustomDomain, *, routed: bool = True) -> None:
        """Store every field anew. Not `routed` where nothing changed that its routing record shows."""

    async def due(self, now: datetime, limit: int) -> Sequence[tuple[datetime, str]]:
        """The ids of those whose next look is due, with when it was due, the longest ago first."""

    async def pull(self, fqdns: Collection[str], now: datetime, unless_since: datetime) -> int:
        """Of those that wait, let the next look be due now, unless one was seen since then; how many."""


class Notes(Protocol):
    async def note(
        self,
        event_type: str,
        now: datetime,
        *,
        tenant_id: str,
        workspace_id: str | None = None,
        project_id: str | None = None,
        resource_id: str | None = None,
        data: Mapping[str, Any],
    ) -> None:
        """Store one event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What whoever registers a domain says of it beside its name."""

    resource_id: str
    redirect_policy: str = RedirectPolicy.NONE.value
    redirect_status: int = DEFAULT_STATUS
    external_workspace_id: str | None = None
    external_user_id: str | None = None
    external_project_id: str | None = None


class DomainsTx(ClaimsTx, Protocol):
    """What a transaction offers to custom domains."""

    @property
    def custom_domains(self) -> DomainRows: ...

    @property
    def resources(self) -> Holders: ...

    @property
    def events(self) -> Notes: ...


class CustomDomains:
    """What can be done with custom domains. Every method may raise StoreUnavailableError."""

    def __init__(
        self, store: Unit[DomainsTx], clock: Clock, *, proofs: Proofs, reserved: Collection[str], target: str
    ) -> None:
        """`reserved` are the domains at and under which nobody may register; `target` is where CNAMEs must lead."""
        self._store = store
        self._clock = clock
        self._proofs = proofs
        self._reserved = tuple(reserved)
        self._target = target

    async def register(
        self,
        resource_id: str,
        name: str,
        *,
        redirect_policy: str | None = None,
        redirect_status: int = DEFAULT_STATUS,
        external_workspace_id: str | None = None,
        external_user_id: str | None = None,
        external_project_id: str | None = None,
    ) -> CustomDomain:
        """A new domain in the state `pending`.

        Raises RouterError: NOT_FOUND (the resource), VALIDATION_FAILED (`domain`, `redirect_policy`,
        `redirect_status`), CONFLICT "has already been taken", with the record that proves a claim where another tenant is
        in the way (`claims.py`). Asked again with that record in place, the name is the asker's.
        """
        fqdn = registrable(name, self._reserved, field="domain")
        wanted = Wanted(
            resource_id=resource_id,
            redirect_policy=_policy(redirect_policy, redirect_status).value,
            redirect_status=redirect_status,
            external_workspace_id=external_workspace_id,
            external_user_id=external_user_id,
            external_project_id=external_project_id,
        )
        now = self._clock.now()
        async with self._store.begin() as tx:
            await tx.preview_domains.hold_names()
            holder = await tx.resources.get(resource_id)
            if holder is None or holder.deleted_at is not None:
                raise RouterError(NOT_FOUND, "resource not found")
            current = await _own(tx, fqdn, holder.tenant_id)
            if not await host_is_held(tx, fqdn, holder.tenant_id, now):
                if current is not None:
                    await give_up(tx, current, now)
                await forget_claim(tx, fqdn, holder.tenant_id)
                return await make_custom(tx, holder, fqdn, wanted, now, target=self._target)
            claim = await open_claim(tx, fqdn, holder.tenant_id, asdict(wanted), now)
        if claim is None:
            raise taken("domain")
        if claim.created_at == now or not await self._proofs.prove(claim):
            raise taken("domain", claim)
        found = await self.find(fqdn)
        if found.resource_id != resource_id:
            raise taken("domain")
        return found

    async def check(self, name: str, tenant_id: str, holder_id: str | None = None) -> bool:
        """Whether `register` has something to do for that resource, or for a new one of the tenant: it has the name
        already, or it may have it. Raises RouterError as `register`."""
        fqdn = registrable(name, self._reserved, field="domain")
        async with self._store.read() as tx:
            current = await tx.custom_domains.by_fqdn(fqdn)
            if current is not None and current.resource_id == holder_id:
                return False
            await _own(tx, fqdn, tenant_id)
            if await host_is_held(tx, fqdn, tenant_id, self._clock.now()):
                raise taken("domain")
            return True

    async def get(self, domain_id: str) -> CustomDomain:
        """Raises RouterError: NOT_FOUND (also once it is removed)."""
        async with self._store.read() as tx:
            return live(await tx.custom_domains.get(domain_id))

    async def find(self, name: str) -> CustomDomain:
        """The live domain of that name. Raises RouterError: NOT_FOUND, VALIDATION_FAILED."""
        fqdn = registrable(name, (), field="domain")
        async with self._store.read() as tx:
            return live(await tx.custom_domains.by_fqdn(fqdn))

    async def list(self, where: DomainFilter, window: Window = FIRST) -> Listing[CustomDomain]:
        """The newest first; each condition of `where` narrows."""
        async with self._store.read() as tx:
            return await tx.custom_domains.list(where, window)

    async def mark_verified(self, domain_id: str) -> CustomDomain:
        """DNS leads to us. Raises RouterError: NOT_FOUND, CONFLICT "domain is already verified"."""
        now = self._clock.now()

        def verified(old: CustomDomain) -> Mapping[str, Any]:
            return {"verified_at": now, "failure_reason": None, "check": succeeded(old.check, now, luck=old.luck)}

        return await self._move(domain_id, DomainStatus.VERIFIED, now, verified)

    async def mark_active(self, domain_id: str) -> CustomDomain:
        """A certificate was issued and is in use; saying it again changes nothing. Raises RouterError: NOT_FOUND, CONFLICT."""
        now = self._clock.now()
        async with self._store.read() as tx:
            domain = live(await tx.custom_domains.get(domain_id))
        if domain.status is DomainStatus.ACTIVE:
            return domain
        return await self._move(
            domain_id, DomainStatus.ACTIVE, now, lambda old: {"tls_issued_at": old.tls_issued_at or now}
        )

    async def mark_failed(self, domain_id: str, reason: str) -> CustomDomain:
        """It no longer routes; `reason` is for its owner. Raises RouterError: NOT_FOUND, CONFLICT."""
        now = self._clock.now()

        def as_failed(old: CustomDomain) -> Mapping[str, Any]:
            return {"failure_reason": reason, "check": failed(old.check, now)}

        return await self._move(domain_id, DomainStatus.FAILED, now, as_failed)

    async def suspend(self, domain_id: str, suspended: bool = True) -> CustomDomain:
        """Block the name, or let it be reached again; its state stays. Raises RouterError: NOT_FOUND."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            old = live(await tx.custom_domains.get(domain_id))
            if old.suspended is suspended:
                return old
            new = replace(old, suspended=suspended, updated_at=now)
            await tx.custom_domains.save(new)
            await tell(tx, new, "suspended" if suspended else "resumed", now)
            return new

    async def redirect(
        self, domain_id: str, redirect_policy: str | None, redirect_status: int = DEFAULT_STATUS
    ) -> CustomDomain:
        """Set its redirect policy. Raises RouterError: NOT_FOUND, VALIDATION_FAILED."""
        policy = _policy(redirect_policy, redirect_status)
        async with self._store.begin() as tx:
            old = live(await tx.custom_domains.get(domain_id))
            new = replace(old, redirect_policy=policy, redirect_status=redirect_status, updated_at=self._clock.now())
            await _check_circle(tx, new)
            await tx.custom_domains.save(new)
            return new

    async def remove(self, domain_id: str) -> CustomDomain:
        """Detach it: the name stops routing and may be registered anew. Raises RouterError: NOT_FOUND."""
        now = self._clock.now()
        return await self._move(domain_id, DomainStatus.REMOVED, now, lambda _old: {"removed_at": now})

    async def _move(
        self, domain_id: str, to: DomainStatus, now: datetime, changes: Callable[[CustomDomain], Mapping[str, Any]]
    ) -> CustomDomain:
        async with self._store.begin() as tx:
            old = live(await tx.custom_domains.get(domain_id))
            if not may_move(old.status, to):
                if to is DomainStatus.VERIFIED:
                    raise RouterError(CONFLICT, ALREADY)
                raise RouterError(CONFLICT, f"a domain that is {old.status} can't become {to}")
            new = replace(old, status=to, updated_at=now, **changes(old))
            await tx.custom_domains.save(new)
            await tell(tx, new, happened(old, to), now, reason=new.failure_reason)
            return new


async def _own(tx: DomainsTx, fqdn: str, tenant_id: str) -> CustomDomain | None:
    """The tenant's own domain in whose place it may register the name. Raises RouterError CONFLICT where it is in use.

    A domain whose resource is deleted still holds its name: DNS still leads here, so whoever registered it next
    would be verified at once. Only the tenant itself may use it again.
    """
    current = await tx.custom_domains.by_fqdn(fqdn)
    if current is None or current.tenant_id != tenant_id:
        return None
    if await in_use(tx, current):
        raise taken("domain")
    return current


async def in_use(tx: DomainsTx, domain: CustomDomain) -> bool:
    """Whether the domain still has a resource."""
    holder = await tx.resources.get(domain.resource_id)
    return holder is not None and holder.deleted_at is None


async def give_up(tx: DomainsTx, domain: CustomDomain, now: datetime) -> None:
    """The end of a domain whose tenant uses the name for another resource."""
    gone = replace(domain, status=DomainStatus.REMOVED, updated_at=now, removed_at=now)
    await tx.custom_domains.save(gone)
    await tell(tx, gone, "removed", now)


async def make_custom(
    tx: DomainsTx,
    holder: Holder,
    fqdn: str,
    wanted: Wanted,
    now: datetime,
    *,
    target: str,
    token: str | None = None,
    at_once: bool = False,
) -> CustomDomain:
    """Store a new domain of a name that is free. Raises RouterError VALIDATION_FAILED (`redirect_policy`).

    `token` is what the owner has published already; `at_once` is whether it is looked at now.
    """
    domain = CustomDomain(
        id=new_id(),
        fqdn=fqdn,
        resource_id=holder.id,
        kind=holder.kind,
        tenant_id=holder.tenant_id,
        workspace_id=holder.workspace_id,
        project_id=holder.project_id,
        verification_target=target,
        token=token or new_token(),
        proof=new_token(),
        check=begin(now, at_once=at_once),
        redirect_policy=RedirectPolicy(wanted.redirect_policy),
        redirect_status=wanted.redirect_status,
        external_workspace_id=wanted.external_workspace_id or holder.external_workspace_id,
        external_user_id=wanted.external_user_id or holder.external_user_id,
        external_project_id=wanted.external_project_id or holder.external_project_id,
        created_at=now,
        updated_at=now,
    )
    await _check_circle(tx, domain)
    await tx.custom_domains.add(domain)
    await tell(tx, domain, "registered", now)
    return domain


def live(domain: CustomDomain | None) -> CustomDomain:
    """Raises RouterError NOT_FOUND where there is none, or one that was removed."""
    if domain is None or domain.removed_at is not None:
        raise RouterError(NOT_FOUND, "domain not found")
    return domain


def _policy(policy: str | None, status: int) -> RedirectPolicy:
    wrong: dict[str, list[str]] = {}
    if policy is not None and policy not in set(RedirectPolicy):
        wrong["redirect_policy"] = [f"must be one of {', '.join(RedirectPolicy)}"]
    if status not in STATUSES:
        wrong["redirect_status"] = [f"must be one of {', '.join(map(str, sorted(STATUSES)))}"]
    if wrong:
        raise RouterError(VALIDATION_FAILED, fields=wrong)
    return RedirectPolicy(policy or "none")


async def _check_circle(tx: DomainsTx, domain: CustomDomain) -> None:
    """Two names must not send their visitors to each other."""
    if await redirects_back(tx, domain.fqdn, domain.redirect_policy):
        problem = f"{domain.redirect_to} already redirects to this domain"
        raise RouterError(VALIDATION_FAILED, fields={"redirect_policy": [problem]})


async def redirects_back(tx: DomainsTx, fqdn: str, policy: RedirectPolicy) -> bool:
    """Whether the name that visitors would be sent to sends them here."""
    target = redirect_target(fqdn, policy)
    other = None if target is None else await tx.custom_domains.by_fqdn(target)
    return other is not None and other.redirect_to == fqdn


def happened(old: CustomDomain, to: DomainStatus) -> str:
    """The word for the move of a domain into another state."""
    again = to is DomainStatus.VERIFIED and old.status is DomainStatus.FAILED and old.verified_at is not None
    return "recovered" if again else to.value


async def tell(tx: DomainsTx, domain: CustomDomain, happened: str, now: datetime, *, reason: str | None = None) -> None:
    """Write down that something happened to the domain, in the transaction that makes it so."""
    await tx.events.note(
        f"domain.{happened}",
        now,
        tenant_id=domain.tenant_id,
        workspace_id=domain.workspace_id,
        project_id=domain.project_id,
        resource_id=domain.resource_id,
        data={"domain_id": domain.id, "fqdn": domain.fqdn, "reason": reason},
    )
