"""Whose a new resource is: the ownership fields that every create takes, made into a workspace and a project.

    by id            it must exist
    by slug          it is made where it does not exist, with the name given beside it; a name alone suggests its slug
    by external id   the one that has it; where none has, the default, and the resource keeps the id as attribution
    not at all       the tenant's default workspace, and the workspace's default project

The first of these that is given counts. What has no attribution of its own inherits it: from the project, then the
workspace. A caller whose key is narrower than a tenant stays inside the `bounds` of its workspace or project: naming another
one is refused.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypedDict

from router.base.ids import new_id
from router.errors import FORBIDDEN, NOT_FOUND, DeadlockError, RouterError
from router.tenancy.projects import Project, add_project, agree, select_workspace
from router.tenancy.slugs import slugify
from router.tenancy.transaction import Tx
from router.tenancy.validation import TAKEN, Fields, invalid
from router.tenancy.workspaces import Workspace

_DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Where a caller must stay: a workspace, or a project and its workspace; nothing given is the whole tenant."""

    workspace_id: str | None = None
    project_id: str | None = None


EVERYWHERE = Bounds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """The selectors as the caller sent them, and where the caller must stay."""

    workspace_id: str | None = None
    workspace_slug: str | None = None
    workspace_name: str | None = None
    project_id: str | None = None
    project_slug: str | None = None
    project_name: str | None = None
    external_workspace_id: str | None = None
    external_user_id: str | None = None
    external_project_id: str | None = None
    bounds: Bounds = EVERYWHERE

    def check(self, fields: Fields) -> None:
        """Add what is wrong with their form."""
        fields.slug("workspace_slug", self.workspace_slug)
        fields.slug("project_slug", self.project_slug)
        fields.text("workspace_name", self.workspace_name, max_length=120)
        fields.text("project_name", self.project_name, max_length=120)
        fields.text("external_workspace_id", self.external_workspace_id, max_length=255)
        fields.text("external_user_id", self.external_user_id, max_length=255)
        fields.text("external_project_id", self.external_project_id, max_length=255)


NOTHING = Ownership()


class Attribution(TypedDict):
    """Whom of the caller's own customers, users and projects a record is attributed to."""

    external_workspace_id: str | None
    external_user_id: str | None
    external_project_id: str | None


async def owners(tx: Tx, tenant_id: str, wanted: Ownership, now: datetime) -> tuple[Workspace, Project]:
    """The workspace and the project that `wanted` means inside the tenant, made where that is how it is asked.

    Raises RouterError: WORKSPACE_NOT_FOUND, NOT_FOUND (the project, or another tenant's), FORBIDDEN (outside
    `wanted.bounds`), VALIDATION_FAILED.
    """
    if wanted.bounds != EVERYWHERE:
        wanted = await _inside_bounds(tx, tenant_id, wanted)
    if wanted.project_id is not None:
        now_in = await tx.projects.workspace_of(wanted.project_id)
        holder = await tx.workspaces.get(now_in) if now_in is not None else None
        project = await tx.projects.get(wanted.project_id)
        if holder is None or project is None or project.tenant_id != tenant_id:
            raise RouterError(NOT_FOUND, "project not found")
        if project.workspace_id != holder.id:
            raise DeadlockError("the project was moved at the same time")
        workspace = holder
        if wanted.bounds.workspace_id not in (None, workspace.id):
            raise RouterError(FORBIDDEN)
        if wanted.workspace_id not in (None, workspace.id) or wanted.workspace_slug not in (None, workspace.slug):
            raise invalid("project_id", "is in another workspace")
        await agree(tx.workspaces, workspace, None, None, wanted.external_workspace_id)
        await _agree_on_project(tx, project, wanted)
        return workspace, project
    workspace = await _workspace(tx, tenant_id, wanted, now)
    await agree(tx.workspaces, workspace, None, wanted.workspace_slug, wanted.external_workspace_id)
    project = await _project(tx, workspace, wanted, now)
    await _agree_on_project(tx, project, wanted)
    return workspace, project


async def _agree_on_project(tx: Tx, project: Project, wanted: Ownership) -> None:
    """Raises RouterError VALIDATION_FAILED where a selector names another project of the workspace than the one that was
    found. An external id that none has is attribution alone."""
    if wanted.project_slug not in (None, project.slug):
        raise invalid("project_slug", "names another project than the other selectors")
    external = wanted.external_project_id
    other = await tx.projects.by_external_id(external, workspace_id=project.workspace_id) if external else None
    if other is not None and other.id != project.id:
        raise invalid("external_project_id", "names another project than the other selectors")


def attribution(wanted: Ownership, workspace: Workspace, project: Project) -> Attribution:
    """What a new record of that workspace and project is attributed to."""
    return {
        "external_workspace_id": wanted.external_workspace_id
        or project.external_workspace_id
        or workspace.external_workspace_id,
        "external_user_id": wanted.external_user_id or workspace.external_user_id,
        "external_project_id": wanted.external_project_id or project.external_project_id,
    }


async def _inside_bounds(tx: Tx, tenant_id: str, wanted: Ownership) -> Ownership:
    """The selectors that name the caller's own workspace (and project), by id. Raises RouterError FORBIDDEN."""
    workspace_id, project_id = wanted.bounds.workspace_id, wanted.bounds.project_id
    workspace = await tx.workspaces.get(workspace_id) if workspace_id is not None else None
    if workspace is None or workspace.tenant_id != tenant_id:
        raise RouterError(FORBIDDEN)
    named = wanted.external_workspace_id
    holder = await tx.workspaces.by_external_id(tenant_id, named) if named is not None else None
    if (
        wanted.workspace_id not in (None, workspace.id)
        or wanted.workspace_slug not in (None, workspace.slug)
        or (holder is not None and holder.id != workspace.id)
    ):
        raise RouterError(FORBIDDEN)
    wanted = replace(wanted, workspace_id=workspace.id, workspace_slug=None, workspace_name=None)
    if project_id is None:
        return wanted
    project = await tx.projects.get(project_id)
    named = wanted.external_project_id
    other = await tx.projects.by_external_id(named, workspace_id=workspace.id) if named is not None else None
    if (
        project is None
        or wanted.project_id not in (None, project.id)
        or wanted.project_slug not in (None, project.slug)
        or (other is not None and other.id != project.id)
    ):
        raise RouterError(FORBIDDEN)
    return replace(wanted, project_id=project.id)


async def _workspace(tx: Tx, tenant_id: str, wanted: Ownership, now: datetime) -> Workspace:
    if wanted.workspace_id is not None:
        return await select_workspace(tx.workspaces, tenant_id, wanted.workspace_id, None, None)
    external, slug = wanted.external_workspace_id, wanted.workspace_slug
    holder = await tx.workspaces.by_external_id(tenant_id, external) if external is not None else None
    if slug is None and holder is not None:
        return holder
    slug = slug or slugify(wanted.workspace_name or "")[:80]
    if slug:
        workspace = await tx.workspaces.by_slug(tenant_id, slug)
        if workspace is not None:
            return workspace
        if holder is not None:
            raise invalid("external_workspace_id", TAKEN)
        # Of several calls that create it at once one locks the tenant, and the others then find what it made.
        await tx.tenants.get(tenant_id)
        workspace = await tx.workspaces.by_slug(tenant_id, slug)
        if workspace is not None:
            return workspace
        workspace = Workspace(
            id=new_id(),
            tenant_id=tenant_id,
            name=wanted.workspace_name or slug,
            slug=slug,
            external_workspace_id=external,
            created_at=now,
            updated_at=now,
        )
        await tx.workspaces.add(workspace)
        return workspace
    if external is None and wanted.external_project_id is not None and wanted.project_slug is None:
        # The project may lie in any workspace, since none was named.
        project = await tx.projects.by_external_id(wanted.external_project_id, tenant_id=tenant_id)
        if project is not None:
            return await select_workspace(tx.workspaces, tenant_id, project.workspace_id, None, None)
    default = await tx.workspaces.default(tenant_id)
    if default is None:
        raise invalid("tenant_id", "does not exist")
    return default


async def _project(tx: Tx, workspace: Workspace, wanted: Ownership, now: datetime) -> Project:
    external, slug = wanted.external_project_id, wanted.project_slug
    if slug is None and external is not None:
        project = await tx.projects.by_external_id(external, workspace_id=workspace.id)
        if project is not None:
            return project
    slug = slug or slugify(wanted.project_name or "")[:80]
    if slug:
        return await tx.projects.by_slug(workspace.id, slug) or await add_project(
            tx.projects,
            workspace,
            now,
            name=wanted.project_name or slug,
            slug=slug,
            external_project_id=external,
        )
    # A tenant starts with a default project; other workspaces get theirs when something first needs one. Its slug is
    # free to differ, because the caller may have given `default` to a project of their own.
    return await tx.projects.default(workspace.id) or await add_project(
        tx.projects, workspace, now, name=_DEFAULT, is_default=True
    )
