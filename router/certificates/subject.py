"""Whose certificate it is: a custom domain, or a preview domain, as one transaction sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from router.certificates.held import HeldRows, upload_name
from router.certificates.pem import Wanted
from router.certificates.request import RequestRows
from router.domains import transaction
from router.domains.certificates import Certificate
from router.domains.custom import CustomDomain, live
from router.domains.owners import Place
from router.domains.preview_domains import PreviewDomain
from router.errors import NOT_FOUND, RouterError
from router.routes.records import Scope

_WIDEST_FIRST = (Scope.TENANT, Scope.WORKSPACE, Scope.PROJECT)


class Tx(transaction.Tx, Protocol):
    """One transaction, as the service of own certificates sees it."""

    @property
    def held_certificates(self) -> HeldRows: ...

    @property
    def certificate_requests(self) -> RequestRows: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """`key` is what its rows are found by: the name of a custom domain, or `*.<zone>`, since one tenant may have the same name as
    both. `users` are all places whose hosts the certificate is for: who changes it must reach each of them. `seen` is what is known
    of the certificate that visitors of a custom domain get."""

    key: str
    name: str
    wanted: Wanted
    tenant_id: str
    users: tuple[Place, ...]
    zone: bool = False
    seen: Certificate | None = None
    event_place: Mapping[str, str | None] = field(default_factory=dict)
    event_data: Mapping[str, Any] = field(default_factory=dict)


class SubjectRef(Protocol):
    """How a caller names one."""

    async def find(self, tx: Tx) -> Subject:
        """In a transaction that writes it stays so until its end. Raises RouterError NOT_FOUND."""


@dataclass(frozen=True, slots=True)
class CustomRef:
    """A custom domain, by its id."""

    domain_id: str

    async def find(self, tx: Tx) -> Subject:
        return of_custom(live(await tx.custom_domains.get(self.domain_id)))


@dataclass(frozen=True, slots=True)
class ZoneRef:
    """The preview domain that a scope itself has set."""

    scope: Scope
    scope_id: str

    async def find(self, tx: Tx) -> Subject:
        preview = await tx.preview_domains.get(self.scope, self.scope_id)
        if preview is None:
            raise RouterError(NOT_FOUND, f"This {self.scope} has no preview domain of its own. Set one first.")
        return await of_zone(tx, preview, await tx.preview_domains.at([preview.domain]))


async def find_by_key(tx: Tx, key: str) -> Subject | None:
    """The one that a stored certificate belongs to; None where it is gone."""
    if not key.startswith("*."):
        domain = await tx.custom_domains.by_fqdn(key)
        return None if domain is None else of_custom(domain)
    users = await tx.preview_domains.at([key.removeprefix("*.")])
    if not users:
        return None
    widest = min(users, key=lambda user: (_WIDEST_FIRST.index(user.scope), user.id))
    return await of_zone(tx, widest, users)


def of_custom(domain: CustomDomain) -> Subject:
    return Subject(
        key=domain.fqdn,
        name=domain.fqdn,
        wanted=Wanted.host(domain.fqdn),
        tenant_id=domain.tenant_id,
        users=(Place(domain.tenant_id, domain.workspace_id, domain.project_id),),
        seen=domain.cert,
        event_place={
            "workspace_id": domain.workspace_id,
            "project_id": domain.project_id,
            "resource_id": domain.resource_id,
        },
        event_data={"domain_id": domain.id, "fqdn": domain.fqdn},
    )


async def of_zone(tx: Tx, preview: PreviewDomain, users: Sequence[PreviewDomain]) -> Subject:
    """The zone of a preview domain, which other scopes of its tenant may use too."""
    places = {user.id: await _place(tx, user) for user in users}
    place = await _place(tx, preview)
    return Subject(
        key=upload_name(preview.domain),
        name=preview.domain,
        wanted=Wanted.zone(preview.domain),
        tenant_id=preview.tenant_id,
        users=tuple(places.values()),
        zone=True,
        event_place={"workspace_id": place.workspace_id, "project_id": place.project_id},
        event_data={"domain_id": preview.id, "fqdn": preview.domain, "scope": "zone"},
    )


async def _place(tx: Tx, preview: PreviewDomain) -> Place:
    if preview.scope is Scope.PROJECT:
        workspace_id = await tx.owners.workspace_of(preview.scope_id)
        return Place(preview.tenant_id, workspace_id, preview.scope_id)
    return Place(preview.tenant_id, preview.scope_id if preview.scope is Scope.WORKSPACE else None)
