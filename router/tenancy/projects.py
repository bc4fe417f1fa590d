"""Projects: the app, site or build inside a workspace that resources belong to."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, TypedDict, Unpack

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.paging import FIRST, Listing, Window
from router.base.transactions import Transactions
from router.errors import (
    CONFLICT,
    FORBIDDEN,
    NOT_FOUND,
    WORKSPACE_NOT_FOUND,
    WORKSPACE_REQUIRED,
    RouterError,
)
from router.routes.records import Kind, Scope
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.slugs import free, slugify
from router.tenancy.transaction import Tx
from router.tenancy.validation import TAKEN, Fields, invalid
from router.tenancy.workspaces import Workspace, WorkspaceRows


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One project. `external_workspace_id` is the workspace's unless the caller gave another."""

    id: str
    tenant_id: str
    workspace_id: str
    name: str
    slug: str
    external_workspace_id: str | None = None
    external_project_id: str | None = None
    description: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_default: bool = False
    created_at: datetime
    updated_at: datetime


class ProjectChanges(TypedDict, total=False):
    """What `update` may change; absent keys stay as they are."""

    name: str
    slug: str
    description: str | None
    external_project_id: str | None
    external_workspace_id: str | None
    metadata: Mapping[str, Any]
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFilter:
    """Conditions of a list; None is no condition."""

    tenant_id: str | None = None
    workspace_id: str | None = None
    project_id: str | None = None
    external_workspace_id: str | None = None
    external_project_id: str | None = None


class ProjectRows(Protocol):
    """Stored projects; deleted ones are never seen."""

    async def add(self, project: Project) -> None: ...

    async def get(self, project_id: str) -> Project | None: ...

    async def workspace_of(self, project_id: str) -> str | None:
        """The workspace that it is in. Unlike the others it locks nothing: the project may be moved meanwhile."""

    async def by_slug(self, workspace_id: str, slug: str) -> Project | None: ...

    async def by_external_id(
        self, external_id: str, *, tenant_id: str | None = None, workspace_id: str | None = None
    ) -> Project | None:
        """The oldest one with that external id in the tenant or the workspace."""

    async def default(self, workspace_id: str) -> Project | None: ...

    async def list(self, where: ProjectFilter, window: Window) -> Listing[Project]:
        """The oldest first."""

    async def save(self, old: Project, new: Project) -> None:
        """Store every field of `new`; `old` is what was read before.

        Its resources follow it into another workspace, and their records count as changed. Those that have its
        `external_workspace_id` follow it into that as well.
        """

    async def contents(self, project_id: str) -> Mapping[str, int]:
        """How many live resources it holds, by kind; absent is none."""

    async def delete(self, project_id: str, now: datetime) -> None:
        """Mark it as deleted; its slug is free again."""


class Projects:
    """The service of projects. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @retry_on_deadlock
    async def create(
        self,
        tenant_id: str,
        *,
        name: str,
        workspace_id: str | None = None,
        workspace_slug: str | None = None,
        external_workspace_id: str | None = None,
        slug: str | None = None,
        external_project_id: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        within: str | None = None,
    ) -> Project:
        """A new project in the workspace that the selectors name.

        A caller who must stay `within` one workspace need not name it. Raises RouterError: WORKSPACE_REQUIRED,
        WORKSPACE_NOT_FOUND, FORBIDDEN (another workspace than `within`), VALIDATION_FAILED.
        """
        fields = Fields()
        fields.text("name", name, max_length=120, required=True)
        fields.slug("slug", slug)
        _check_details(fields, external_workspace_id, external_project_id, description, metadata, None)
        fields.check()
        async with self._store.begin() as tx:
            await tx.tenants.get(
                tenant_id
            )  # locked until the commit, as in `Workspaces.create`, so that checks of two calls do not interleave
            if (workspace_id, workspace_slug, external_workspace_id) == (None, None, None):
                workspace_id = within
            workspace = await select_workspace(
                tx.workspaces, tenant_id, workspace_id, workspace_slug, external_workspace_id
            )
            if within not in (None, workspace.id):
                raise RouterError(FORBIDDEN)
            await agree(tx.workspaces, workspace, workspace_id, workspace_slug, external_workspace_id)
            return await add_project(
                tx.projects,
                workspace,
                self._clock.now(),
                name=name,
                slug=slug,
                external_workspace_id=external_workspace_id,
                external_project_id=external_project_id,
                description=description,
                metadata=metadata,
            )

    async def get(self, project_id: str) -> Project:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            return found(await tx.projects.get(project_id))

    async def list(self, where: ProjectFilter, window: Window = FIRST) -> Listing[Project]:
        """The oldest first; each condition of `where` narrows."""
        async with self._store.read() as tx:
            return await tx.projects.list(where, window)

    @retry_on_deadlock
    async def update(self, project_id: str, **changes: Unpack[ProjectChanges]) -> Project:
        """Change some fields. Raises RouterError: NOT_FOUND, VALIDATION_FAILED."""
        fields = Fields()
        if "name" in changes:
            fields.text("name", changes["name"], max_length=120, required=True)
        if "slug" in changes:
            fields.slug("slug", changes["slug"])
        _check_details(
            fields,
            changes.get("external_workspace_id"),
            changes.get("external_project_id"),
            changes.get("description"),
            changes.get("metadata"),
            changes.get("settings"),
        )
        fields.check()
        async with self._store.read() as tx:
            tenant_id = found(await tx.projects.get(project_id)).tenant_id
        async with self._store.begin() as tx:
            await tx.tenants.get(tenant_id)
            old = found(await tx.projects.get(project_id))
            new = replace(old, **changes, updated_at=self._clock.now())
            if new.slug != old.slug and await tx.projects.by_slug(old.workspace_id, new.slug) is not None:
                raise invalid("slug", TAKEN)
            await tx.projects.save(old, new)
            return new

    @retry_on_deadlock
    async def move(self, project_id: str, workspace_id: str) -> Project:
        """Into another workspace of the same tenant, with its resources; zones and routes follow.

        An `external_workspace_id` that it has from its workspace changes to the new one's. Raises RouterError: NOT_FOUND,
        WORKSPACE_NOT_FOUND, CONFLICT, VALIDATION_FAILED.
        """
        now = self._clock.now()
        async with self._store.read() as tx:
            tenant_id = found(await tx.projects.get(project_id)).tenant_id
        async with self._store.begin() as tx:
            await tx.tenants.get(tenant_id)  # locked: of a tenant's projects one is moved at a time
            now_in = await tx.projects.workspace_of(project_id) or workspace_id
            places = {one: await tx.workspaces.get(one) for one in (now_in, workspace_id)}
            old = found(await tx.projects.get(project_id))
            if workspace_id == old.workspace_id:
                return old
            left, workspace = places[old.workspace_id], places[workspace_id]
            if left is None or workspace is None or workspace.tenant_id != old.tenant_id:
                raise RouterError(WORKSPACE_NOT_FOUND)
            if old.is_default:
                raise RouterError(CONFLICT, "a workspace's default project can't be moved")
            if await tx.projects.by_slug(workspace.id, old.slug) is not None:
                raise invalid("slug", TAKEN)
            await _check_room(tx, workspace, project_id)
            new = replace(old, workspace_id=workspace.id, updated_at=now)
            if old.external_workspace_id == left.external_workspace_id:
                new = replace(new, external_workspace_id=workspace.external_workspace_id)
            await tx.projects.save(old, new)
            await tx.usage.record_move(project_id, workspace.id, now)
            return new

    @retry_on_deadlock
    async def delete(self, project_id: str) -> Project:
        """Delete an empty project; its keys stop working. Raises RouterError: NOT_FOUND, CONFLICT."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            project = found(await tx.projects.get(project_id))
            if project.is_default:
                raise RouterError(CONFLICT, "a workspace's default project can't be deleted")
            contents = await tx.projects.contents(project_id)
            if contents:
                raise RouterError(CONFLICT, f"project has {Kind(min(contents)).plural}")
            await tx.preview_domains.clear(Scope.PROJECT, project_id)
            await tx.keys.revoke_scope(project_id, now)
            await tx.projects.delete(project_id, now)
            return project


def found(project: Project | None) -> Project:
    if project is None:
        raise RouterError(NOT_FOUND, "project not found")
    return project


async def select_workspace(
    workspaces: WorkspaceRows,
    tenant_id: str,
    workspace_id: str | None,
    workspace_slug: str | None,
    external_workspace_id: str | None,
) -> Workspace:
    """The workspace of the tenant that the first given selector names.

    Raises RouterError: WORKSPACE_REQUIRED, WORKSPACE_NOT_FOUND (also for another tenant's).
    """
    if workspace_id is not None:
        workspace = await workspaces.get(workspace_id)
    elif workspace_slug is not None:
        workspace = await workspaces.by_slug(tenant_id, workspace_slug)
    elif external_workspace_id is not None:
        workspace = await workspaces.by_external_id(tenant_id, external_workspace_id)
    else:
        raise RouterError(WORKSPACE_REQUIRED)
    if workspace is None or workspace.tenant_id != tenant_id:
        raise RouterError(WORKSPACE_NOT_FOUND)
    return workspace


async def agree(
    workspaces: WorkspaceRows,
    workspace: Workspace,
    workspace_id: str | None,
    workspace_slug: str | None,
    external_workspace_id: str | None,
) -> None:
    """Raises RouterError VALIDATION_FAILED where a selector names another workspace than the one that was found. An
    external id that no workspace has says whom a record is attributed to, and no more."""
    words = "names another workspace than the other selectors"
    if workspace_id not in (None, workspace.id):
        raise invalid("workspace_id", words)
    if workspace_slug not in (None, workspace.slug):
        raise invalid("workspace_slug", words)
    external = external_workspace_id
    other = await workspaces.by_external_id(workspace.tenant_id, external) if external else None
    if other is not None and other.id != workspace.id:
        raise invalid("external_workspace_id", words)


async def add_project(
    projects: ProjectRows,
    workspace: Workspace,
    now: datetime,
    *,
    name: str,
    slug: str | None = None,
    external_workspace_id: str | None = None,
    external_project_id: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    is_default: bool = False,
) -> Project:
    """Store a new project. Raises RouterError VALIDATION_FAILED where the slug is taken in the workspace."""

    async def taken(candidate: str) -> bool:
        return await projects.by_slug(workspace.id, candidate) is not None

    if slug is not None and await taken(slug):
        raise invalid("slug", TAKEN)
    project = Project(
        id=new_id(),
        tenant_id=workspace.tenant_id,
        workspace_id=workspace.id,
        name=name,
        slug=slug or await free(slugify(name) or "project", taken, max_length=80),
        external_workspace_id=external_workspace_id or workspace.external_workspace_id,
        external_project_id=external_project_id,
        description=description,
        metadata=metadata or {},
        is_default=is_default,
        created_at=now,
        updated_at=now,
    )
    await projects.add(project)
    return project


async def _check_room(tx: Tx, workspace: Workspace, project_id: str) -> None:
    """Raises RouterError VALIDATION_FAILED where the workspace may not hold the project's computers as well."""
    max_computers = workspace.caps["max_computers"]
    coming = (await tx.projects.contents(project_id)).get(Kind.COMPUTER, 0)
    if max_computers is None or not coming:
        return
    if (await tx.workspaces.contents(workspace.id)).get(Kind.COMPUTER, 0) + coming > max_computers:
        raise invalid("target_workspace_id", f"may hold {max_computers} computer(s) at most")


def _check_details(
    fields: Fields,
    external_workspace_id: str | None,
    external_project_id: str | None,
    description: str | None,
    metadata: Mapping[str, Any] | None,
    settings: Mapping[str, Any] | None,
) -> None:
    fields.text("external_workspace_id", external_workspace_id, max_length=255)
    fields.text("external_project_id", external_project_id, max_length=255)
    fields.text("description", description, max_length=2000)
    fields.object("metadata", metadata)
    fields.object("settings", settings)
