"""Authorization: what a caller may see and change. All checks of a principal against a record are here.

Another tenant's record is not found (404), like one that never existed. A record of the caller's own tenant that lies outside
a narrower key's workspace or project is refused (403). Workspaces differ, as their page says: 403 in both cases.
"""

from typing import Any, Protocol, TypedDict

from router.api.operations import Call
from router.api.principal import Access, Principal
from router.audit.act import note_place
from router.errors import FORBIDDEN, NOT_FOUND, RouterError
from router.tenancy.ownership import Bounds
from router.tenancy.projects import Projects
from router.tenancy.workspaces import Workspaces


class Owned(Protocol):
    """A record that belongs to a project, a workspace or a tenant."""

    @property
    def tenant_id(self) -> str: ...

    @property
    def workspace_id(self) -> str | None: ...

    @property
    def project_id(self) -> str | None: ...


class Conditions(TypedDict):
    """Conditions of a list; None is no condition."""

    tenant_id: str
    workspace_id: str | None
    project_id: str | None


def tenant_of(principal: Principal) -> str:
    """The tenant that the caller works for. Raises RouterError FORBIDDEN: the platform's own token has none."""
    if principal.tenant_id is None:
        raise RouterError(FORBIDDEN)
    return principal.tenant_id


def bounds_of(principal: Principal) -> Bounds:
    """The bounds inside which the caller may create records."""
    return Bounds(
        workspace_id=principal.workspace_id if principal.access <= Access.WORKSPACE else None,
        project_id=principal.project_id if principal.access is Access.PROJECT else None,
    )


def authorize(principal: Principal, record: Owned, what: str) -> None:
    """Refuse a record that the caller may not see. Raises RouterError: NOT_FOUND "{what} not found", FORBIDDEN."""
    authorize_place(principal, what, record.tenant_id, record.workspace_id, record.project_id)


def authorize_place(
    principal: Principal, what: str, tenant_id: str, workspace_id: str | None = None, project_id: str | None = None
) -> None:
    """As `authorize`, for a record of that tenant, workspace and project."""
    if principal.covers(tenant_id, workspace_id, project_id):
        note_place(tenant_id, workspace_id, project_id)
        return
    if tenant_id != principal.tenant_id:
        raise RouterError(NOT_FOUND, f"{what} not found")
    raise RouterError(FORBIDDEN)


async def workspace_in(call: Call[Any, Any], workspaces: Workspaces) -> str:
    """The id of the workspace in the path, which the caller may see. Raises RouterError: NOT_FOUND, FORBIDDEN (another tenant's too)."""
    workspace = await workspaces.get(call.ids["id"])
    if not call.principal.covers(workspace.tenant_id, workspace.id):
        raise RouterError(FORBIDDEN)
    note_place(workspace.tenant_id, workspace.id, None)
    return workspace.id


async def project_in(call: Call[Any, Any], projects: Projects) -> str:
    """The id of the project in the path, which the caller may see. Raises RouterError: NOT_FOUND, FORBIDDEN."""
    project = await projects.get(call.ids["id"])
    authorize_place(call.principal, "project", project.tenant_id, project.workspace_id, project.id)
    return project.id


def list_conditions(principal: Principal, workspace_id: str | None = None, project_id: str | None = None) -> Conditions:
    """A list's conditions: what the caller asked for, inside what the caller may see. Raises RouterError FORBIDDEN."""
    bounds = bounds_of(principal)
    if bounds.workspace_id is not None and workspace_id not in {None, bounds.workspace_id}:
        raise RouterError(FORBIDDEN)
    if bounds.project_id is not None and project_id not in {None, bounds.project_id}:
        raise RouterError(FORBIDDEN)
    return {
        "tenant_id": tenant_of(principal),
        "workspace_id": workspace_id or bounds.workspace_id,
        "project_id": project_id or bounds.project_id,
    }
