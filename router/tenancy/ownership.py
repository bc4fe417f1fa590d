"""Whose a new resource is: the ownership fields that every create takes, made into a workspace and a project.

By id: it must exist. By slug: it is made where it does not exist, with the name given beside it. By external id: the
one that has it; where none has it the resource goes to the default, and keeps the external id as its attribution.
Nothing given: the tenant's default workspace, and the workspace's default project.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from router.errors import NOT_FOUND, RouterError
from router.tenancy.fields import TAKEN, Fields, invalid
from router.tenancy.projects import Project, ProjectRows, add_project, select_workspace
from router.tenancy.workspaces import Workspace, WorkspaceRows
from router.unit import new_id

_DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """The selectors as the caller sent them."""

    workspace_id: str | None = None
    workspace_slug: str | None = None
    workspace_name: str | None = None
    project_id: str | None = None
    project_slug: str | None = None
    project_name: str | None = None
    external_workspace_id: str | None = None
    external_project_id: str | None = None

    def check(self, fields: Fields) -> None:
        """Add what is wrong with their form."""
        fields.slug("workspace_slug", self.workspace_slug)
        fields.slug("project_slug", self.project_slug)
        fields.text("workspace_name", self.workspace_name, most=120)
        fields.text("project_name", self.project_name, most=120)
        fields.text("external_workspace_id", self.external_workspace_id, most=255)
        fields.text("external_project_id", self.external_project_id, most=255)


NOTHING = Ownership()


class OwnersTx(Protocol):
    @property
    def workspaces(self) -> WorkspaceRows: ...

    @property
    def projects(self) -> ProjectRows: ...


async def owners(tx: OwnersTx, tenant_id: str, wanted: Ownership, now: datetime) -> tuple[Workspace, Project]:
    """The workspace and the project that `wanted` means inside the tenant, made where that is how it is asked.

    Raises RouterError: WORKSPACE_NOT_FOUND, NOT_FOUND (the project, or another tenant's), VALIDATION_FAILED.
    """
    if wanted.project_id is not None:
        project = await tx.projects.get(wanted.project_id)
        if project is None or project.tenant_id != tenant_id:
            raise RouterError(NOT_FOUND, "project not found")
        workspace = await select_workspace(tx.workspaces, tenant_id, project.workspace_id, None, None)
        if wanted.workspace_id not in (None, workspace.id):
            raise invalid("project_id", "is in another workspace")
        if wanted.workspace_slug not in (None, workspace.slug):
            raise invalid("project_id", "is in another workspace")
        return workspace, project
    workspace = await _workspace(tx, tenant_id, wanted, now)
    return workspace, await _project(tx, workspace, wanted, now)


async def _workspace(tx: OwnersTx, tenant_id: str, wanted: Ownership, now: datetime) -> Workspace:
    if wanted.workspace_id is not None:
        return await select_workspace(tx.workspaces, tenant_id, wanted.workspace_id, None, None)
    external = wanted.external_workspace_id
    if wanted.workspace_slug is not None:
        workspace = await tx.workspaces.by_slug(tenant_id, wanted.workspace_slug)
        if workspace is not None:
            return workspace
        if external is not None and await tx.workspaces.by_external_id(tenant_id, external) is not None:
            raise invalid("external_workspace_id", TAKEN)
        workspace = Workspace(
            id=new_id(),
            tenant_id=tenant_id,
            name=wanted.workspace_name or wanted.workspace_slug,
            slug=wanted.workspace_slug,
            external_workspace_id=external,
            created_at=now,
            updated_at=now,
        )
        await tx.workspaces.add(workspace)
        return workspace
    if external is not None:
        workspace = await tx.workspaces.by_external_id(tenant_id, external)
        if workspace is not None:
            return workspace
    default = await tx.workspaces.default(tenant_id)
    if default is None:
        raise invalid("tenant_id", "does not exist")
    return default


async def _project(tx: OwnersTx, workspace: Workspace, wanted: Ownership, now: datetime) -> Project:
    external = wanted.external_project_id
    if wanted.project_slug is not None:
        project = await tx.projects.by_slug(workspace.id, wanted.project_slug)
        return project or await add_project(
            tx.projects,
            workspace,
            now,
            name=wanted.project_name or wanted.project_slug,
            slug=wanted.project_slug,
            external_project_id=external,
        )
    if external is not None:
        project = await tx.projects.by_external_id(workspace.id, external)
        if project is not None:
            return project
    # A tenant starts with a default project; other workspaces get theirs when something first needs one. Its slug is
    # free to differ, because the caller may have given `default` to a project of their own.
    return await tx.projects.default(workspace.id) or await add_project(
        tx.projects, workspace, now, name=_DEFAULT, is_default=True
    )
