"""Preview domains: the zone under which a project, a workspace or a tenant wants its generated hosts.

A scope has at most one. Several scopes of one tenant may use the same domain, two tenants never. A domain that is set
is used in generated URLs at once; hosts under it route and get certificates once it is verified.
"""

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.transactions import Transactions
from router.domains.checks.challenge import new_token
from router.domains.checks.schedule import CheckState, Slice, begin
from router.domains.claims import (
    MAX_DOMAINS,
    Names,
    Proofs,
    check_room,
    forget_claim,
    open_claim,
    taken,
    too_many_claims,
    zone_is_held,
)
from router.domains.names import registrable_zone
from router.domains.owners import Place
from router.domains.required_records import RequiredRecord, of_preview
from router.domains.transaction import Tx
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.routes.records import DomainStatus, Scope

CHANGED = "the preview domain was changed meanwhile"


class PreviewStatus(enum.StrEnum):
    """Whether the two wildcard records lead to us."""

    PENDING_DNS = "pending_dns"
    VERIFIED = "verified"
    FAILED = "failed"


_STATES = {
    PreviewStatus.PENDING_DNS: DomainStatus.PENDING,
    PreviewStatus.VERIFIED: DomainStatus.VERIFIED,
    PreviewStatus.FAILED: DomainStatus.FAILED,
}

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
    """One scope's preview domain. `dns_status` is the last check's result, `detail` what it saw, for its owner; `token` is
    what a TXT record at `_miosa-challenge.<domain>` shows as a proof that the domain is theirs."""

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
    token: str = ""
    check: CheckState
    created_at: datetime
    updated_at: datetime

    def required_records(self, target: str, detail: Mapping[str, Any] | None = None) -> tuple[RequiredRecord, ...]:
        """What its owner must publish so that it leads to `target`, and what the last check found of it, or the one with
        this `detail`."""
        return of_preview(self.domain, self.token, target, self.detail if detail is None else detail)

    @property
    def state(self) -> DomainStatus:
        """Its status, in the words of `states.py`."""
        return _STATES[self.status]

    @property
    def verified(self) -> bool:
        """Whether hosts under it route and get certificates."""
        return self.status is PreviewStatus.VERIFIED


@dataclass(frozen=True, slots=True)
class PreviewSetting:
    """What a scope has set itself, and what holds for it; None for the second is the platform domain."""

    own: PreviewDomain | None
    effective: PreviewDomain | None


class ZoneRows(Names, Protocol):
    """Stored preview domains. What changes one counts as a change of its zone's record."""

    async def get(self, scope: Scope, scope_id: str) -> PreviewDomain | None: ...

    async def of_tenant(self, tenant_id: str) -> Iterable[PreviewDomain]: ...

    async def around(self, tenant_id: str, within: Collection[str]) -> Iterable[PreviewDomain]:
        """The tenant's own, and those of these workspaces and projects of it."""

    async def put(self, preview: PreviewDomain) -> None:
        """Store it in the place of what the scope had."""

    async def clear(self, scope: Scope, scope_id: str, *, released: bool = True) -> None:
        """The scope let go of what it had; not `released` where another tenant has it now."""

    async def has_verified(self, domains: Collection[str], tenant_id: str) -> bool:
        """Whether one of these is a verified preview domain of the tenant's."""

    async def hold_names(self) -> None:
        """Lock: until the end of the transaction no other sets or registers a domain. Call it first in a transaction."""

    async def at(self, domains: Collection[str]) -> Sequence[PreviewDomain]:
        """Those whose domain is one of these."""

    async def others(self, name: str, tenant_id: str, *, under: bool) -> list[PreviewDomain]:
        """Other tenants' preview domains of that name, or also `under` it."""

    async def forget_released(self, name: str, tenant_id: str, *, under: bool) -> None:
        """Forget that others let go of such names: they are not protected any more."""

    async def by_id(self, preview_id: str) -> PreviewDomain | None: ...

    async def due(self, now: datetime, limit: int, part: Slice) -> Sequence[tuple[datetime, str, str]]:
        """When the next check is due, the id and the tenant; tenants take turns (`queue.py`)."""

    async def schedule_now(self, domains: Collection[str], now: datetime, unless_since: datetime) -> int:
        """Of those that wait, let the next check be due now, unless the last was later than `unless_since`; how many."""


class PreviewDomains:
    """What can be done with preview domains. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        store: Transactions[Tx],
        clock: Clock,
        *,
        proofs: Proofs,
        reserved: Collection[str],
        max_domains: int = MAX_DOMAINS,
    ) -> None:
        """`reserved` are the domains at and under which none may be set; `max_domains` is how many domains one tenant may
        have."""
        self._store = store
        self._clock = clock
        self._proofs = proofs
        self._reserved = tuple(reserved)
        self._max_domains = max_domains

    async def get(self, scope: Scope, scope_id: str) -> PreviewDomain | None:
        """What the scope itself has set; None where it inherits. Raises RouterError: NOT_FOUND (the scope)."""
        async with self._store.read() as tx:
            await _tenant_of(tx, scope, scope_id)
            return await tx.preview_domains.get(scope, scope_id)

    async def setting(self, scope: Scope, scope_id: str) -> PreviewSetting:
        """What the scope has set and what holds for it, as of one instant. Raises RouterError: NOT_FOUND (the scope)."""
        async with self._store.read() as tx:
            place = await _place(tx, scope, scope_id)
            within = {one for one in (place.workspace_id, place.project_id) if one is not None}
            previews = tuple(await tx.preview_domains.around(place.tenant_id, within))
            own = next((item for item in previews if (item.scope, item.scope_id) == (scope, scope_id)), None)
            return PreviewSetting(own, effective(previews, place.workspace_id, place.project_id))

    async def of_tenant(self, tenant_id: str) -> tuple[PreviewDomain, ...]:
        """All that the tenant's scopes have set: what `effective` chooses from."""
        async with self._store.read() as tx:
            return tuple(await tx.preview_domains.of_tenant(tenant_id))

    async def around(self, tenant_id: str, within: Collection[str]) -> tuple[PreviewDomain, ...]:
        """Those that `effective` chooses from for what lies in these workspaces and projects of the tenant."""
        async with self._store.read() as tx:
            return tuple(await tx.preview_domains.around(tenant_id, within))

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
            if old is None:
                await check_room(tx, tenant_id, self._max_domains, "preview_domain")
            if not await zone_is_held(tx, domain, tenant_id, now):
                await forget_claim(tx, domain, tenant_id)
                return await _make(tx, scope, scope_id, tenant_id, domain, now)
            wanted = {"scope": scope.value, "scope_id": scope_id}
            claim = await open_claim(tx, domain, tenant_id, wanted, now)
        if claim is None:
            raise too_many_claims("preview_domain")
        if claim.created_at == now or not await self._proofs.prove(claim):
            raise taken("preview_domain", claim)
        preview = await self.get(scope, scope_id)
        if preview is None or preview.domain != domain:
            raise RouterError(CONFLICT, CHANGED)
        return preview

    async def clear(self, scope: Scope, scope_id: str) -> PreviewDomain | None:
        """From now on the scope inherits; what it had, if anything. Raises RouterError: NOT_FOUND (the scope)."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            await _tenant_of(tx, scope, scope_id)
            old = await tx.preview_domains.get(scope, scope_id)
            if old is not None:
                await tx.preview_domains.clear(scope, scope_id)
                await emit_event(tx, old, "cleared", now)
            return old


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
    tx: Tx, scope: Scope, scope_id: str, domain: str, now: datetime, *, token: str, at_once: bool = False
) -> PreviewDomain:
    """Store a domain that is free as a scope's; the same one again keeps what is known of it. `token` is what its owner has
    published already, `at_once` is whether it is checked now. Raises RouterError NOT_FOUND where there is no such scope."""
    tenant_id = await _tenant_of(tx, scope, scope_id)
    old = await tx.preview_domains.get(scope, scope_id)
    if old is not None and old.domain == domain:
        return old
    return await _make(tx, scope, scope_id, tenant_id, domain, now, token=token, at_once=at_once)


async def _make(
    tx: Tx,
    scope: Scope,
    scope_id: str,
    tenant_id: str,
    domain: str,
    now: datetime,
    *,
    token: str | None = None,
    at_once: bool = False,
) -> PreviewDomain:
    old = await tx.preview_domains.get(scope, scope_id)
    new = PreviewDomain(
        id=old.id if old is not None else new_id(),
        scope=scope,
        scope_id=scope_id,
        tenant_id=tenant_id,
        domain=domain,
        token=token or new_token(),
        check=begin(now, at_once=at_once),
        created_at=old.created_at if old is not None else now,
        updated_at=now,
    )
    await tx.preview_domains.put(new)
    if old is not None:
        await emit_event(tx, old, "replaced", now)
    await emit_event(tx, new, "set", now)
    return new


async def scope_exists(tx: Tx, scope: Scope, scope_id: str) -> bool:
    """Whether the scope is still there."""
    return await tx.owners.place(scope, scope_id) is not None


async def _place(tx: Tx, scope: Scope, scope_id: str) -> Place:
    """Where a scope is. Raises RouterError NOT_FOUND where there is no such scope."""
    place = await tx.owners.place(scope, scope_id)
    if place is None:
        raise RouterError(NOT_FOUND, f"{scope} not found")
    return place


async def _tenant_of(tx: Tx, scope: Scope, scope_id: str) -> str:
    """The tenant that the scope belongs to. Raises as `_place`."""
    return (await _place(tx, scope, scope_id)).tenant_id


def happened(old: PreviewDomain, to: PreviewStatus) -> str:
    """The event for the move of a domain into another status."""
    again = to is PreviewStatus.VERIFIED and old.status is PreviewStatus.FAILED and old.verified_at is not None
    return "recovered" if again else to.value


async def emit_event(
    tx: Tx, preview: PreviewDomain, happened: str, now: datetime, *, reason: str | None = None
) -> None:
    """Store an event of the domain, in the transaction of the change; what happens to custom
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
        workspace_id = await tx.owners.workspace_of(project_id)
    for event_type in types:
        await tx.events.emit(
            event_type,
            now,
            tenant_id=preview.tenant_id,
            workspace_id=workspace_id,
            project_id=project_id,
            data=data,
        )
