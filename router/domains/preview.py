"""Preview domains: the zone under which a project, a workspace or a tenant wants its generated hosts.

A scope has at most one. Several scopes of one tenant may use the same domain, two tenants never. A domain that is set
is used in generated URLs at once; hosts under it route and get certificates once it is verified.
"""

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from router.clock import Clock
from router.domains.checks import CheckState, begin, failed, luck_of, succeeded
from router.domains.claims import ClaimsTx, Proofs, Zones, forget_claim, open_claim, taken, zone_is_held
from router.domains.custom import Notes
from router.domains.names import registrable_zone
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.routes.records import Scope
from router.unit import Unit, new_id

CHANGED = "the preview domain was changed meanwhile"
VERIFIED = "verified"  # the `dns_status` of a domain whose records were all right at the last look


class PreviewStatus(enum.StrEnum):
    """Whether the two wildcard records lead to us."""

    PENDING_DNS = "pending_dns"
    VERIFIED = "verified"
    FAILED = "failed"


# The words for what happens to a preview domain: its own, and those that it shares with custom domains.
_OWN = frozenset({"set", "verified", "failed", "cleared"})
_SHARED = {
    "verified": "verified",
    "failed": "failed",
    "cleared": "removed",
    "replaced": "removed",
    "recovered": "recovered",
    "transferred": "transferred",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewDomain:
    """One scope's preview domain. `dns_status` is the last look's result, `detail` what it saw, for its owner."""

    id: str
    scope: Scope
    scope_id: str
    tenant_id: str
    domain: str
    status: PreviewStatus = PreviewStatus.PENDING_DNS
    dns_status: str = "pending"
    detail: Mapping[str, Any] | None = None
    failure_reason: str | None = None
    verified_at: datetime | None = None
    check: CheckState
    created_at: datetime
    updated_at: datetime

    @property
    def verified(self) -> bool:
        """Whether hosts under it route and get certificates."""
        return self.status is PreviewStatus.VERIFIED


@dataclass(frozen=True, slots=True)
class Standing:
    """What a scope has set itself, and what holds for it; None for the second is the platform domain."""

    own: PreviewDomain | None
    effective: PreviewDomain | None


class ZoneRows(Zones, Protocol):
    """Stored preview domains. What changes one counts as a change of its zone's record."""

    async def get(self, scope: Scope, scope_id: str) -> PreviewDomain | None: ...

    async def of_tenant(self, tenant_id: str) -> Iterable[PreviewDomain]: ...

    async def put(self, preview: PreviewDomain) -> None:
        """Store it in the place of what the scope had."""

    async def clear(self, scope: Scope, scope_id: str, *, released: bool = True) -> None:
        """What the scope had was let go of; not `released` where somebody else has it now."""

    async def by_id(self, preview_id: str) -> PreviewDomain | None: ...

    async def due(self, now: datetime, limit: int) -> Sequence[tuple[datetime, str]]:
        """The ids of those whose next look is due, with when it was due, the longest ago first."""

    async def pull(self, domains: Collection[str], now: datetime, unless_since: datetime) -> int:
        """Of those that wait, let the next look be due now, unless one was seen since then; how many."""


class ScopeHolder(Protocol):
    """Whom a scope belongs to."""

    @property
    def tenant_id(self) -> str: ...

    @property
    def id(self) -> str: ...


class ProjectHolder(ScopeHolder, Protocol):
    """A project's workspace too."""

    @property
    def workspace_id(self) -> str: ...


class _Tenants(Protocol):
    async def exists(self, tenant_id: str) -> bool: ...


class _Scoped(Protocol):
    async def get(self, scope_id: str, /) -> ScopeHolder | None: ...


class _Projects(Protocol):
    async def get(self, scope_id: str, /) -> ProjectHolder | None: ...

    async def workspace_of(self, project_id: str) -> str | None:
        """The workspace that it is in, which may change meanwhile: the project is not held."""


class ZonesTx(ClaimsTx, Protocol):
    """What a transaction offers to preview domains."""

    @property
    def preview_domains(self) -> ZoneRows: ...

    @property
    def tenants(self) -> _Tenants: ...

    @property
    def workspaces(self) -> _Scoped: ...

    @property
    def projects(self) -> _Projects: ...

    @property
    def events(self) -> Notes: ...


class PreviewDomains:
    """What can be done with preview domains. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Unit[ZonesTx], clock: Clock, *, proofs: Proofs, reserved: Collection[str]) -> None:
        """`reserved` are the domains at and under which nobody may set one."""
        self._store = store
        self._clock = clock
        self._proofs = proofs
        self._reserved = tuple(reserved)

    async def get(self, scope: Scope, scope_id: str) -> PreviewDomain | None:
        """What the scope itself has set; None where it inherits. Raises RouterError: NOT_FOUND (the scope)."""
        async with self._store.read() as tx:
            await _tenant_of(tx, scope, scope_id)
            return await tx.preview_domains.get(scope, scope_id)

    async def standing(self, scope: Scope, scope_id: str) -> Standing:
        """What the scope has set and what holds for it, as of one instant. Raises RouterError: NOT_FOUND (the scope)."""
        async with self._store.read() as tx:
            tenant_id, workspace_id, project_id = await _place(tx, scope, scope_id)
            previews = tuple(await tx.preview_domains.of_tenant(tenant_id))
            own = next((item for item in previews if (item.scope, item.scope_id) == (scope, scope_id)), None)
            return Standing(own, effective(previews, workspace_id, project_id))

    async def of_tenant(self, tenant_id: str) -> tuple[PreviewDomain, ...]:
        """All that the tenant's scopes have set: what `effective` chooses from."""
        async with self._store.read() as tx:
            return tuple(await tx.preview_domains.of_tenant(tenant_id))

    async def set(self, scope: Scope, scope_id: str, name: str) -> PreviewDomain:
        """Set the scope's preview domain; the same one again keeps what is known of it.

        Raises RouterError: NOT_FOUND (the scope), VALIDATION_FAILED (`preview_domain`), CONFLICT "has already been
        taken", with the record that proves a claim (`claims.py`): another tenant's preview or custom domain, or a name above
        or under one. Asked again with that record in place, the domain is the asker's.
        """
        domain = registrable_zone(name, self._reserved, field="preview_domain")
        now = self._clock.now()
        async with self._store.begin() as tx:
            await tx.preview_domains.hold_names()
            tenant_id = await _tenant_of(tx, scope, scope_id)
            old = await tx.preview_domains.get(scope, scope_id)
            if old is not None and old.domain == domain:
                return old
            if not await zone_is_held(tx, domain, tenant_id, now):
                await forget_claim(tx, domain, tenant_id)
                return await _make(tx, scope, scope_id, tenant_id, domain, now)
            wanted = {"scope": scope.value, "scope_id": scope_id}
            claim = await open_claim(tx, domain, tenant_id, wanted, now)
        if claim is None:
            raise taken("preview_domain")
        if claim.created_at == now or not await self._proofs.prove(claim):
            raise taken("preview_domain", claim)
        preview = await self.get(scope, scope_id)
        if preview is None or preview.domain != domain:
            raise RouterError(CONFLICT, CHANGED)
        return preview

    async def mark_verified(
        self, scope: Scope, scope_id: str, domain: str, *, detail: Mapping[str, Any] | None = None
    ) -> PreviewDomain:
        """Both wildcard records of `domain` lead to us. Raises RouterError: NOT_FOUND, CONFLICT where it was changed."""
        return await self._mark(scope, scope_id, domain, PreviewStatus.VERIFIED, VERIFIED, detail)

    async def mark_failed(
        self,
        scope: Scope,
        scope_id: str,
        domain: str,
        *,
        dns_status: str = "failed",
        detail: Mapping[str, Any] | None = None,
    ) -> PreviewDomain:
        """They do not, or no longer: hosts under it stop routing. Raises as `mark_verified`."""
        return await self._mark(scope, scope_id, domain, PreviewStatus.FAILED, dns_status, detail)

    async def clear(self, scope: Scope, scope_id: str) -> PreviewDomain | None:
        """From now on the scope inherits; what it had, if anything. Raises RouterError: NOT_FOUND (the scope)."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            await _tenant_of(tx, scope, scope_id)
            old = await tx.preview_domains.get(scope, scope_id)
            if old is not None:
                await tx.preview_domains.clear(scope, scope_id)
                await tell(tx, old, "cleared", now)
            return old

    async def _mark(
        self,
        scope: Scope,
        scope_id: str,
        domain: str,
        status: PreviewStatus,
        dns_status: str,
        detail: Mapping[str, Any] | None,
    ) -> PreviewDomain:
        now = self._clock.now()
        async with self._store.begin() as tx:
            old = await tx.preview_domains.get(scope, scope_id)
            if old is None:
                raise RouterError(NOT_FOUND, "preview domain not found")
            if old.domain != domain:
                raise RouterError(CONFLICT, CHANGED)
            new = replace(old, status=status, dns_status=dns_status, detail=detail, failure_reason=None, updated_at=now)
            if status is PreviewStatus.VERIFIED:
                new = replace(new, check=succeeded(old.check, now, luck=luck_of(old.id)))
            if status is PreviewStatus.FAILED and old.status is not PreviewStatus.FAILED:
                new = replace(new, check=failed(old.check, now))
            if status is PreviewStatus.VERIFIED and old.status is not PreviewStatus.VERIFIED:
                new = replace(new, verified_at=now)
            await tx.preview_domains.put(new)
            if new.status is not old.status:
                await tell(tx, new, happened(old, status), now)
            return new


def effective(
    previews: Iterable[PreviewDomain], workspace_id: str | None = None, project_id: str | None = None
) -> PreviewDomain | None:
    """Which preview domain of a tenant's holds for what lies in that workspace and project; None is the platform's."""
    by_scope = {(preview.scope, preview.scope_id): preview for preview in previews}
    tenant = next((preview for preview in by_scope.values() if preview.scope is Scope.TENANT), None)
    return (
        by_scope.get((Scope.PROJECT, project_id or "")) or by_scope.get((Scope.WORKSPACE, workspace_id or "")) or tenant
    )


async def make_preview(
    tx: ZonesTx, scope: Scope, scope_id: str, domain: str, now: datetime, *, at_once: bool = False
) -> PreviewDomain:
    """Store a domain that is free as a scope's; the same one again keeps what is known of it. `at_once` is whether it is
    looked at now. Raises RouterError NOT_FOUND where there is no such scope."""
    tenant_id = await _tenant_of(tx, scope, scope_id)
    old = await tx.preview_domains.get(scope, scope_id)
    if old is not None and old.domain == domain:
        return old
    return await _make(tx, scope, scope_id, tenant_id, domain, now, at_once=at_once)


async def _make(
    tx: ZonesTx, scope: Scope, scope_id: str, tenant_id: str, domain: str, now: datetime, *, at_once: bool = False
) -> PreviewDomain:
    old = await tx.preview_domains.get(scope, scope_id)
    new = PreviewDomain(
        id=old.id if old is not None else new_id(),
        scope=scope,
        scope_id=scope_id,
        tenant_id=tenant_id,
        domain=domain,
        check=begin(now, at_once=at_once),
        created_at=old.created_at if old is not None else now,
        updated_at=now,
    )
    await tx.preview_domains.put(new)
    if old is not None:
        await tell(tx, old, "replaced", now)
    await tell(tx, new, "set", now)
    return new


async def scope_exists(tx: ZonesTx, scope: Scope, scope_id: str) -> bool:
    """Whether the scope is still there."""
    try:
        await _place(tx, scope, scope_id)
    except RouterError:
        return False
    return True


async def _tenant_of(tx: ZonesTx, scope: Scope, scope_id: str) -> str:
    """The tenant that the scope belongs to. Raises RouterError NOT_FOUND where there is no such scope."""
    return (await _place(tx, scope, scope_id))[0]


async def _place(tx: ZonesTx, scope: Scope, scope_id: str) -> tuple[str, str | None, str | None]:
    """The tenant, workspace and project of a scope, None for what is narrower than it. Raises as `_tenant_of`."""
    if scope is Scope.TENANT:
        if await tx.tenants.exists(scope_id):
            return scope_id, None, None
    elif scope is Scope.WORKSPACE:
        workspace = await tx.workspaces.get(scope_id)
        if workspace is not None:
            return workspace.tenant_id, workspace.id, None
    else:
        project = await tx.projects.get(scope_id)
        if project is not None:
            return project.tenant_id, project.workspace_id, project.id
    raise RouterError(NOT_FOUND, f"{scope} not found")


def happened(old: PreviewDomain, to: PreviewStatus) -> str:
    """The word for the move of a domain into another status."""
    again = to is PreviewStatus.VERIFIED and old.status is PreviewStatus.FAILED and old.verified_at is not None
    return "recovered" if again else to.value


async def tell(tx: ZonesTx, preview: PreviewDomain, happened: str, now: datetime, *, reason: str | None = None) -> None:
    """Write down that something happened to the domain, in the transaction that makes it so; what happens to custom
    domains too, also as they call it."""
    types = [f"preview_domain.{happened}"] if happened in _OWN else []
    types += [f"domain.{_SHARED[happened]}"] if happened in _SHARED else []
    data = {
        "scope": preview.scope,
        "domain": preview.domain,
        "domain_id": preview.id,
        "fqdn": preview.domain,
        "reason": reason,
    }
    project_id = preview.scope_id if preview.scope is Scope.PROJECT else None
    workspace_id = preview.scope_id if preview.scope is Scope.WORKSPACE else None
    if project_id is not None:
        workspace_id = await tx.projects.workspace_of(project_id)
    for event_type in types:
        await tx.events.note(
            event_type,
            now,
            tenant_id=preview.tenant_id,
            workspace_id=workspace_id,
            project_id=project_id,
            data=data,
        )
