"""What a caller may see and change: the one place where a principal meets a record.

Another tenant's record is not there (404), as one that never was. A record of the caller's own tenant that lies outside
a narrower key's workspace or project is refused (403). Workspaces differ, as their page says: 403 in both cases.
"""

from typing import Protocol, TypedDict

from router.api.principal import Principal, Reach
from router.errors import FORBIDDEN, NOT_FOUND, RouterError
from router.tenancy.ownership import Within


class Owned(Protocol):
    """A record that lies in a project."""

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


def within(principal: Principal) -> Within:
    """Where what the caller creates must stay."""
    return Within(
        workspace_id=principal.workspace_id if principal.reach <= Reach.WORKSPACE else None,
        project_id=principal.project_id if principal.reach is Reach.PROJECT else None,
    )


def check_reach(principal: Principal, record: Owned, what: str) -> None:
    """Raises RouterError: NOT_FOUND "{what} not found", FORBIDDEN."""
    check_place(principal, what, record.tenant_id, record.workspace_id, record.project_id)


def check_place(
    principal: Principal, what: str, tenant_id: str, workspace_id: str | None = None, project_id: str | None = None
) -> None:
    """As `check_reach`, for what lies there."""
    if principal.covers(tenant_id, workspace_id, project_id):
        return
    if tenant_id != principal.tenant_id:
        raise RouterError(NOT_FOUND, f"{what} not found")
    raise RouterError(FORBIDDEN)


def narrowed(principal: Principal, workspace_id: str | None = None, project_id: str | None = None) -> Conditions:
    """A list's conditions: what the caller asked for, inside what the caller may see. Raises RouterError FORBIDDEN."""
    bounds = within(principal)
    if bounds.workspace_id is not None and workspace_id not in {None, bounds.workspace_id}:
        raise RouterError(FORBIDDEN)
    if bounds.project_id is not None and project_id not in {None, bounds.project_id}:
        raise RouterError(FORBIDDEN)
    return {
        "tenant_id": tenant_of(principal),
        "workspace_id": workspace_id or bounds.workspace_id,
        "project_id": project_id or bounds.project_id,
    }
