"""Workspaces: a tenant's own customers, usually. Projects and resources live in one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, TypedDict, Unpack, cast

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.paging import FIRST, Listing, Window
from router.base.transactions import Transactions
from router.errors import CONFLICT, NOT_FOUND, WORKSPACE_NAME_EXISTS, RouterError
from router.routes.records import Kind, Scope, State
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.sizes import SIZES
from router.tenancy.slugs import free, slugify
from router.tenancy.transaction import Tx
from router.tenancy.validation import TAKEN, Fields, invalid


class WorkspaceSettings(TypedDict, total=False):
    """Caps and defaults of the computers in a workspace. Sizes are keys of `sizes.SIZES`; None is no cap.

    No allowed template types are all of them; 0 seconds are no automatic stop.
    """

    max_computers: int | None
    max_computer_size: str | None
    default_computer_size: str | None
    default_auto_stop_seconds: int | None
    allowed_template_types: list[str] | None


_MAX_INT = 2**31 - 1  # what a 32-bit column of a reader of the settings can hold

DEFAULTS: WorkspaceSettings = {
    "max_computers": None,
    "max_computer_size": None,
    "default_computer_size": "small",
    "default_auto_stop_seconds": 0,
    "allowed_template_types": [],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One workspace. `computer_count` is counted when it is read."""

    id: str
    tenant_id: str
    name: str
    slug: str
    external_workspace_id: str | None = None
    external_user_id: str | None = None
    description: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_default: bool = False
    computer_count: int = 0
    created_at: datetime
    updated_at: datetime

    @property
    def caps(self) -> WorkspaceSettings:
        """Its settings, with the defaults of those that were not set."""
        given = {name: value for name, value in self.settings.items() if value is not None}
        return cast("WorkspaceSettings", {**DEFAULTS, **given})


class WorkspaceChanges(TypedDict, total=False):
    """What `update` may change; absent keys stay as they are."""

    name: str
    slug: str
    description: str | None
    external_workspace_id: str | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WorkspaceStats:
    """How many computers are in which state, and what they have together."""

    workspace: Workspace
    by_status: Mapping[State, int]
    vcpus: int
    memory_mb: int
    disk_gb: int

    @property
    def total(self) -> int:
        return sum(self.by_status.values())


class WorkspaceNameExistsError(RouterError):
    """A workspace of that name exists; `existing` is it, for the caller who meant that one."""

    def __init__(self, existing: Workspace) -> None:
        self.existing = existing
        super().__init__(WORKSPACE_NAME_EXISTS)


class WorkspaceRows(Protocol):
    """Stored workspaces; deleted ones are never seen."""

    async def add(self, workspace: Workspace) -> None: ...

    async def get(self, workspace_id: str) -> Workspace | None: ...

    async def by_slug(self, tenant_id: str, slug: str) -> Workspace | None: ...

    async def by_external_id(self, tenant_id: str, external_id: str) -> Workspace | None: ...

    async def by_name(self, tenant_id: str, name: str) -> Workspace | None:
        """The oldest one of that name."""

    async def default(self, tenant_id: str) -> Workspace | None: ...

    async def list(
        self,
        window: Window,
        *,
        tenant_id: str | None = None,
        workspace_id: str | None = None,
        external_workspace_id: str | None = None,
    ) -> Listing[Workspace]:
        """The oldest first; each condition that is given narrows."""

    async def save(self, workspace: Workspace) -> None:
        """Store every field."""

    async def contents(self, workspace_id: str) -> Mapping[str, int]:
        """How many live projects (`project`) and resources (by kind) it holds; absent is none."""

    async def stats(self, workspace: Workspace) -> WorkspaceStats: ...

    async def delete(self, workspace_id: str, now: datetime) -> None:
        """Mark it as deleted; its slug and external id are free again."""


class Workspaces:
    """The service of workspaces. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @retry_on_deadlock
    async def create(
        self,
        tenant_id: str,
        *,
        name: str,
        slug: str | None = None,
        external_workspace_id: str | None = None,
        external_user_id: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        allow_duplicate_name: bool = False,
    ) -> tuple[Workspace, bool]:
        """A new workspace and False; or the one that already has this external id, and True.

        Raises RouterError: VALIDATION_FAILED; WorkspaceNameExistsError unless `allow_duplicate_name`.
        """
        fields = Fields()
        fields.text("name", name, max_length=120, required=True)
        fields.slug("slug", slug)
        _check_details(fields, external_workspace_id, external_user_id, description, metadata)
        fields.check()
        now = self._clock.now()
        async with self._store.begin() as tx:
            await tx.tenants.get(tenant_id)  # locked until the commit, so that checks of two calls do not interleave
            if external_workspace_id is not None:
                existing = await tx.workspaces.by_external_id(tenant_id, external_workspace_id)
                if existing is not None:
                    return existing, True
            if slug is not None and await tx.workspaces.by_slug(tenant_id, slug) is not None:
                raise invalid("slug", TAKEN)
            if not allow_duplicate_name and (twin := await tx.workspaces.by_name(tenant_id, name)) is not None:
                raise WorkspaceNameExistsError(twin)
            workspace = Workspace(
                id=new_id(),
                tenant_id=tenant_id,
                name=name,
                slug=slug or await free_slug(tx.workspaces, tenant_id, name),
                external_workspace_id=external_workspace_id,
                external_user_id=external_user_id,
                description=description,
                metadata=metadata or {},
                created_at=now,
                updated_at=now,
            )
            await tx.workspaces.add(workspace)
            return workspace, False

    async def get(self, workspace_id: str) -> Workspace:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            return found(await tx.workspaces.get(workspace_id))

    async def default(self, tenant_id: str) -> Workspace:
        """The tenant's default workspace. Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            return found(await tx.workspaces.default(tenant_id))

    async def list(
        self,
        window: Window = FIRST,
        *,
        tenant_id: str | None = None,
        workspace_id: str | None = None,
        external_workspace_id: str | None = None,
    ) -> Listing[Workspace]:
        """The oldest first; each condition that is given narrows."""
        async with self._store.read() as tx:
            return await tx.workspaces.list(
                window, tenant_id=tenant_id, workspace_id=workspace_id, external_workspace_id=external_workspace_id
            )

    @retry_on_deadlock
    async def update(self, workspace_id: str, **changes: Unpack[WorkspaceChanges]) -> Workspace:
        """Change some fields. Raises RouterError: NOT_FOUND, VALIDATION_FAILED."""
        fields = Fields()
        if "name" in changes:
            fields.text("name", changes["name"], max_length=120, required=True)
        if "slug" in changes:
            fields.slug("slug", changes["slug"])
        _check_details(
            fields,
            changes.get("external_workspace_id"),
            None,
            changes.get("description"),
            changes.get("metadata"),
        )
        fields.check()
        async with self._store.read() as tx:
            tenant_id = found(await tx.workspaces.get(workspace_id)).tenant_id
        async with self._store.begin() as tx:
            await tx.tenants.get(tenant_id)  # locked, as in `create`, so that no other takes the name meanwhile
            old = found(await tx.workspaces.get(workspace_id))
            new = replace(old, **changes, updated_at=self._clock.now())
            if new.slug != old.slug and await tx.workspaces.by_slug(old.tenant_id, new.slug) is not None:
                raise invalid("slug", TAKEN)
            external = new.external_workspace_id
            if external not in (None, old.external_workspace_id):
                holder = await tx.workspaces.by_external_id(old.tenant_id, str(external))
                if holder is not None:
                    raise invalid("external_workspace_id", TAKEN)
            await tx.workspaces.save(new)
            return new

    @retry_on_deadlock
    async def put_settings(self, workspace_id: str, **settings: Unpack[WorkspaceSettings]) -> Workspace:
        """Set the given caps and defaults; those not given stay. Raises RouterError: NOT_FOUND, VALIDATION_FAILED."""
        fields = Fields()
        for name in ("max_computer_size", "default_computer_size"):
            size = settings.get(name)
            if size is not None and size not in SIZES:
                fields.add(name, "is invalid")
        for name in ("max_computers", "default_auto_stop_seconds"):
            number = settings.get(name)
            if isinstance(number, int) and not 0 <= number <= _MAX_INT:
                fields.add(name, f"must be between 0 and {_MAX_INT}")
        if len(settings.get("allowed_template_types") or ()) > 100:
            fields.add("allowed_template_types", "should have at most 100 item(s)")
        fields.object("allowed_template_types", {"": settings.get("allowed_template_types")})
        fields.check()
        async with self._store.begin() as tx:
            old = found(await tx.workspaces.get(workspace_id))
            new = replace(old, settings={**old.settings, **settings}, updated_at=self._clock.now())
            top, default = new.caps.get("max_computer_size"), new.caps.get("default_computer_size")
            if top is not None and default is not None and SIZES[default].rank > SIZES[top].rank:
                raise invalid("default_computer_size", "must not be larger than max_computer_size")
            await tx.workspaces.save(new)
            return new

    async def stats(self, workspace_id: str) -> WorkspaceStats:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            return await tx.workspaces.stats(found(await tx.workspaces.get(workspace_id)))

    @retry_on_deadlock
    async def delete(self, workspace_id: str) -> Workspace:
        """Delete an empty workspace; its keys stop working. Raises RouterError: NOT_FOUND, CONFLICT."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            workspace = found(await tx.workspaces.get(workspace_id))
            contents = await tx.workspaces.contents(workspace_id)
            for kind in (Kind.COMPUTER, Kind.SANDBOX, Kind.DEPLOYMENT):
                if contents.get(kind):
                    raise RouterError(CONFLICT, f"workspace has {kind.plural}")
            if contents.get("project"):
                raise RouterError(CONFLICT, "workspace has projects")
            if workspace.is_default:
                raise RouterError(CONFLICT, "the default workspace can't be deleted")
            await tx.preview_domains.clear(Scope.WORKSPACE, workspace_id)
            await tx.keys.revoke_scope(workspace_id, now)
            await tx.workspaces.delete(workspace_id, now)
            return workspace


def found(workspace: Workspace | None) -> Workspace:
    if workspace is None:
        raise RouterError(NOT_FOUND, "workspace not found")
    return workspace


async def free_slug(workspaces: WorkspaceRows, tenant_id: str, name: str) -> str:
    """A slug from the name that no workspace of the tenant has."""

    async def taken(slug: str) -> bool:
        return await workspaces.by_slug(tenant_id, slug) is not None

    return await free(slugify(name) or "workspace", taken, max_length=80)


def _check_details(
    fields: Fields,
    external_workspace_id: str | None,
    external_user_id: str | None,
    description: str | None,
    metadata: Mapping[str, Any] | None,
) -> None:
    fields.text("external_workspace_id", external_workspace_id, max_length=255)
    fields.text("external_user_id", external_user_id, max_length=255)
    fields.text("description", description, max_length=2000)
    fields.object("metadata", metadata)
