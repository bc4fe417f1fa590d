"""The CI systems that a tenant trusts: by a token that one of them has signed for a pipeline of the tenant's, the pipeline comes
into previews that are not public, without a secret that has to be kept anywhere.

A rule names the issuer, the audience that tokens have to be made for, and what their claims have to say. It opens what
the tenant has, or one workspace or project of it. Whatever changes of it but its name is a new `generation`: who came in
by what it was before is out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol, TypedDict, Unpack

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.paging import FIRST, Listing, Window
from router.base.text import is_storable
from router.base.transactions import Transactions
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.tenancy import claim_patterns
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.destinations import Destinations
from router.tenancy.transaction import Tx
from router.tenancy.validation import BLANK, Fields, invalid

MAX_ISSUERS: Final = 20  # rules of a tenant
MAX_ISSUER: Final = 500
MAX_AUDIENCE: Final = 255
MAX_NAME: Final = 120

Position = tuple[datetime, str]  # of a rule in the list: when it was made, and its id


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """One rule of a tenant. With a `project_id` it opens that project alone, with a `workspace_id` that workspace."""

    id: str
    tenant_id: str
    workspace_id: str | None = None
    project_id: str | None = None
    name: str
    issuer: str
    audience: str
    claims: Mapping[str, str]
    enabled: bool = True
    generation: int = 1
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None = None

    def is_met_by(self, claims: Mapping[str, Any], audiences: Sequence[str]) -> bool:
        """Whether it is for tokens that say this. They have been verified."""
        return self.audience in audiences and claim_patterns.matches(self.claims, claims)


class IssuerChanges(TypedDict, total=False):
    """What is given is changed."""

    name: str
    issuer: str
    audience: str
    claims: Mapping[str, str]
    enabled: bool
    workspace_id: str | None
    project_id: str | None


class TrustedIssuerRows(Protocol):
    """Stored rules. One that is added, changed or removed changes all records of the tenant's resources."""

    async def add(self, issuer: TrustedIssuer) -> None: ...

    async def get(self, issuer_id: str) -> TrustedIssuer | None: ...

    async def list(self, tenant_id: str, window: Window, after: Position | None = None) -> Listing[TrustedIssuer]:
        """The oldest first, from behind `after` on. The total leaves that aside."""

    async def of_issuer(self, tenant_id: str, issuer: str) -> Sequence[TrustedIssuer]:
        """Those of this issuer that are enabled; the oldest first."""

    async def save(self, issuer: TrustedIssuer) -> None:
        """Store every field but its last use."""

    async def delete(self, issuer: TrustedIssuer) -> None: ...

    async def used(self, issuer_id: str, at: datetime) -> None:
        """Store when it let somebody in; an older instant than the stored one is ignored."""


class TrustedIssuers:
    """The service of the rules. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock, *, destinations: Destinations) -> None:
        self._store = store
        self._clock = clock
        self._destinations = destinations

    @retry_on_deadlock
    async def create(
        self,
        tenant_id: str,
        *,
        name: str,
        issuer: str,
        audience: str,
        claims: Mapping[str, str],
        enabled: bool = True,
        workspace_id: str | None = None,
        project_id: str | None = None,
    ) -> TrustedIssuer:
        """A new rule. It holds everywhere when this returns.

        Raises RouterError: VALIDATION_FAILED, CONFLICT where the tenant has as many as it may, NOT_FOUND for the tenant.
        """
        now = self._clock.now()
        made = TrustedIssuer(
            id=new_id(),
            tenant_id=tenant_id,
            workspace_id=workspace_id,
            project_id=project_id,
            name=name,
            issuer=issuer,
            audience=audience,
            claims=dict(claims),
            enabled=enabled,
            created_at=now,
            updated_at=now,
        )
        self._check(made)
        async with self._store.begin() as tx:
            if await tx.tenants.get(tenant_id) is None:  # locked: two that come together count each other
                raise RouterError(NOT_FOUND, "tenant not found")
            await _check_place(tx, made)
            if (await tx.trusted_issuers.list(tenant_id, Window(limit=0))).total >= MAX_ISSUERS:
                raise RouterError(
                    CONFLICT,
                    f"An organization trusts at most {MAX_ISSUERS} issuers. Delete one that nothing needs any more.",
                )
            await tx.trusted_issuers.add(made)
            await tx.events.emit("tenant.trusted_issuer_created", now, tenant_id=tenant_id, data=_event(made))
            return made

    async def get(self, tenant_id: str, issuer_id: str) -> TrustedIssuer:
        """Raises RouterError: NOT_FOUND, also for one of another tenant."""
        async with self._store.read() as tx:
            return _found(await tx.trusted_issuers.get(issuer_id), tenant_id)

    async def list(
        self, tenant_id: str, window: Window = FIRST, after: Position | None = None
    ) -> Listing[TrustedIssuer]:
        """The oldest first, from behind `after` on. The total leaves that aside."""
        async with self._store.read() as tx:
            return await tx.trusted_issuers.list(tenant_id, window, after)

    async def of_issuer(self, tenant_id: str, issuer: str) -> Sequence[TrustedIssuer]:
        """Those of an issuer that are enabled; the oldest first."""
        async with self._store.read() as tx:
            return await tx.trusted_issuers.of_issuer(tenant_id, issuer)

    @retry_on_deadlock
    async def update(self, tenant_id: str, issuer_id: str, **changes: Unpack[IssuerChanges]) -> TrustedIssuer:
        """Change what is given. Raises RouterError: NOT_FOUND, VALIDATION_FAILED."""
        async with self._store.begin() as tx:
            old = _found(await tx.trusted_issuers.get(issuer_id), tenant_id)
            new = replace(old, **changes)
            if new == old:
                return old
            self._check(new)
            await _check_place(tx, new)
            says_the_same = replace(new, name=old.name) == old
            now = self._clock.now()
            generation = old.generation if says_the_same else old.generation + 1
            new = replace(new, generation=generation, updated_at=now)
            await tx.trusted_issuers.save(new)
            await tx.events.emit("tenant.trusted_issuer_updated", now, tenant_id=tenant_id, data=_event(new))
            return new

    @retry_on_deadlock
    async def delete(self, tenant_id: str, issuer_id: str) -> TrustedIssuer:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.begin() as tx:
            issuer = _found(await tx.trusted_issuers.get(issuer_id), tenant_id)
            await tx.trusted_issuers.delete(issuer)
            now = self._clock.now()
            await tx.events.emit("tenant.trusted_issuer_deleted", now, tenant_id=tenant_id, data=_event(issuer))
            return issuer

    async def note_uses(self, seen: Mapping[str, datetime]) -> None:
        """Store when rules last let somebody in, by their ids; unknown ones are ignored."""
        if seen:
            async with self._store.begin() as tx:
                for issuer_id, at in sorted(seen.items()):
                    await tx.trusted_issuers.used(issuer_id, at)

    def _check(self, issuer: TrustedIssuer) -> None:
        """Raises RouterError VALIDATION_FAILED."""
        fields = Fields()
        fields.text("name", issuer.name, max_length=MAX_NAME, required=True)
        fields.text("audience", issuer.audience, max_length=MAX_AUDIENCE, required=True)
        fields.text("issuer", issuer.issuer, max_length=MAX_ISSUER, required=True)
        refusal = self._destinations.refusal_of(issuer.issuer) if issuer.issuer.strip() else None
        if refusal is None and "?" in issuer.issuer:
            refusal = "must not have a query"
        if refusal is not None:
            fields.add("issuer", refusal)
        if len(issuer.claims) > claim_patterns.MAX_CLAIMS:
            fields.add("claims", f"should have at most {claim_patterns.MAX_CLAIMS} item(s)")
        for claim, pattern in issuer.claims.items():
            wrong = _refusal_of_claim(claim, pattern)
            if wrong is not None:
                fields.add("claims", f"{claim[:80]}: {wrong}")
        fields.check()
        refusal = claim_patterns.refusal_of(issuer.issuer, issuer.claims)
        if refusal is not None:
            raise invalid("claims", refusal)


def _refusal_of_claim(claim: str, pattern: str) -> str | None:
    if claim in claim_patterns.OURS:
        return "is checked without being named here"
    if not is_storable(claim) or not 0 < len(claim) <= claim_patterns.MAX_NAME:
        return f"a name should have 1 to {claim_patterns.MAX_NAME} characters"
    if not pattern:
        return BLANK
    if not is_storable(pattern) or len(pattern) > claim_patterns.MAX_PATTERN:
        return f"should be at most {claim_patterns.MAX_PATTERN} character(s)"
    return None


def _event(issuer: TrustedIssuer) -> dict[str, object]:
    return {
        "trusted_issuer_id": issuer.id,
        "name": issuer.name,
        "issuer": issuer.issuer,
        "audience": issuer.audience,
        "claims": dict(issuer.claims),
        "enabled": issuer.enabled,
    }


def _found(issuer: TrustedIssuer | None, tenant_id: str) -> TrustedIssuer:
    if issuer is None or issuer.tenant_id != tenant_id:
        raise RouterError(NOT_FOUND, "issuer not found")
    return issuer


async def _check_place(tx: Tx, issuer: TrustedIssuer) -> None:
    """Raises RouterError VALIDATION_FAILED."""
    if issuer.project_id is not None:
        if issuer.workspace_id is not None:
            raise invalid("workspace_id", "can't be given beside project_id")
        project = await tx.projects.get(issuer.project_id)
        if project is None or project.tenant_id != issuer.tenant_id:
            raise invalid("project_id", "does not exist")
    if issuer.workspace_id is not None:
        workspace = await tx.workspaces.get(issuer.workspace_id)
        if workspace is None or workspace.tenant_id != issuer.tenant_id:
            raise invalid("workspace_id", "does not exist")
