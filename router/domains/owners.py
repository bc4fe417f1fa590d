"""Who has a domain: the resource that a custom domain leads to, and the place whose preview domain it is. Values, and how
they are read: the rows themselves belong to `tenancy/`, which this package does not know.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from router.routes.records import Kind, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A resource, as far as domains care. Its domains inherit the place and the attribution."""

    id: str
    kind: Kind
    tenant_id: str
    workspace_id: str
    project_id: str
    deleted_at: datetime | None = None
    external_workspace_id: str | None = None
    external_user_id: str | None = None
    external_project_id: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A tenant, workspace or project; None for what is narrower than it."""

    tenant_id: str
    workspace_id: str | None = None
    project_id: str | None = None


class OwnerRows(Protocol):
    """Stored resources and places. In a transaction that writes, what is read is locked until its end."""

    async def resource(self, resource_id: str) -> Owner | None:
        """A deleted one too: it has `deleted_at`."""

    async def place(self, scope: Scope, scope_id: str) -> Place | None: ...

    async def workspace_of(self, project_id: str) -> str | None:
        """The workspace that a project is in, which may change meanwhile: the project is not locked."""

    async def blocked(self, domain_id: str) -> bool:
        """Whether an operator has blocked a custom domain, its resource or its tenant."""
