"""The service of resources: what the platform and its customers can do with them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Unpack, cast

from router.base.addresses import Network
from router.base.clock import Clock
from router.base.ids import is_id, new_id
from router.base.paging import FIRST, Listing, Window
from router.base.transactions import Transactions, commit_ambient
from router.errors import CONFLICT, NOT_FOUND, WORKSPACE_NOT_FOUND, RouterError
from router.hostname import MAX_SLUG, is_slug
from router.routes.records import Kind, State
from router.tenancy import lifecycle
from router.tenancy.blocks import PLATFORM, BlockKind, Order, lift, place
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.endpoints import Endpoints
from router.tenancy.machine_defaults import check_caps, measured, sandbox_size, with_defaults
from router.tenancy.ownership import NOTHING, Ownership, attribution, owners
from router.tenancy.projects import Project
from router.tenancy.projects import found as found_project
from router.tenancy.resources import (
    MAX_PORTS,
    LastUse,
    Place,
    Resource,
    ResourceDetails,
    ResourceFilter,
    UsedBy,
    check_host_mode,
    check_port,
    check_protocol,
    check_scheme,
    live,
)
from router.tenancy.sizes import SIZES
from router.tenancy.slugs import free, host_slug
from router.tenancy.transaction import Tx
from router.tenancy.uses import RecentUses, with_recent
from router.tenancy.validation import TAKEN, Fields, invalid
from router.tenancy.workspaces import Workspace, found

_BLOCKED = "belongs to a resource that has been blocked"
_SUSPENDED = "suspended over /internal/v1/resources"
MAX_SECONDS = 366 * 86400  # of an automatic stop


class Resources:
    """The service of resources. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        store: Transactions[Tx],
        clock: Clock,
        *,
        networks: Sequence[Network],
        own_listeners: Collection[tuple[str, int]] = (),
        reserved_ports: Collection[int] = (),
        recent: RecentUses | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._recent = recent
        self._reserved_ports = frozenset(reserved_ports)
        self.endpoints = Endpoints(store, clock, networks=networks, own_listeners=own_listeners)

    @retry_on_deadlock
    async def put(
        self,
        resource_id: str,
        *,
        kind: Kind,
        slug: str,
        tenant_id: str,
        workspace_id: str | None = None,
        project_id: str | None = None,
        **details: Unpack[ResourceDetails],
    ) -> tuple[Resource, bool]:
        """Create the resource of that id and True, or update it and False: the platform's call.

        Details that are not given keep their value; workspace and project default to the tenant's default ones, and
        stay where they are on an update. Raises RouterError: VALIDATION_FAILED; CONFLICT where the slug is another's
        or the id that of a deleted resource.
        """
        fields = Fields()
        if not is_id(resource_id):
            fields.add("id", "must be a UUID")
        _check_slug(fields, slug)
        self._check_details(fields, details)
        fields.check()
        wanted = Ownership(workspace_id=workspace_id, project_id=project_id)
        now = self._clock.now()
        async with self._store.begin() as tx:
            old = await tx.resources.get(resource_id)
            if old is None:
                if await tx.tenants.get(tenant_id) is None:
                    raise invalid("tenant_id", "does not exist")
                await _claim_slug(tx, slug, tenant_id)
                workspace, project = await _owners_by_field(tx, tenant_id, wanted, now)
                resource = _new(resource_id, kind, slug, workspace, project, now, details)
                await lifecycle.begin(tx, resource)
                return resource, True
            if old.deleted_at is not None:
                raise RouterError(CONFLICT, "this resource has been deleted; its id can't be used again")
            if old.kind is not kind:
                raise invalid("kind", "can't be changed")
            if old.tenant_id != tenant_id:
                raise invalid("tenant_id", "can't be changed")
            if slug != old.slug:
                await _claim_slug(tx, slug, tenant_id)
            new = replace(old, slug=slug, **measured(kind, details), updated_at=now)
            if workspace_id is not None or project_id is not None:
                workspace, project = await _owners_by_field(tx, tenant_id, wanted, now)
                new = replace(new, workspace_id=workspace.id, project_id=project.id)
            await lifecycle.change(tx, old, new, now)
            return new, False

    @retry_on_deadlock
    async def create(
        self,
        kind: Kind,
        tenant_id: str,
        *,
        ownership: Ownership = NOTHING,
        slug: str | None = None,
        **details: Unpack[ResourceDetails],
    ) -> Resource:
        """Register a new resource in the state `provisioning`: a customer's call. Without `slug` one is made.

        The workspace's caps on computers apply, and its defaults. Raises RouterError: VALIDATION_FAILED, CONFLICT
        (the slug), WORKSPACE_NOT_FOUND, NOT_FOUND (project), FORBIDDEN (outside `ownership.bounds`).
        """
        fields = Fields()
        self.check(fields, details, ownership=ownership, slug=slug)
        fields.check()
        async with self._store.begin() as tx:
            return await self.add(tx, kind, tenant_id, ownership=ownership, slug=slug, details=details)

    def check(
        self,
        fields: Fields,
        details: ResourceDetails,
        *,
        ownership: Ownership = NOTHING,
        slug: str | None = None,
    ) -> None:
        """Add what is wrong with the form of a new resource, or of changes to one."""
        ownership.check(fields)
        if slug is not None:
            _check_slug(fields, slug)
        self._check_details(fields, details)

    async def add(
        self,
        tx: Tx,
        kind: Kind,
        tenant_id: str,
        *,
        ownership: Ownership,
        slug: str | None,
        details: ResourceDetails,
    ) -> Resource:
        """As `create`, of what was checked, inside a transaction."""
        now = self._clock.now()
        workspace, project = await owners(tx, tenant_id, ownership, now)
        if kind is Kind.COMPUTER:
            details = with_defaults(workspace, details)
            await check_caps(tx, workspace, details)
        elif kind is Kind.SANDBOX:
            details = {**details, "size": sandbox_size(details)}
        if slug is not None:
            await _claim_slug(tx, slug, tenant_id)
        else:
            # A generated slug replaces no tombstone: the caller did not ask for that name.
            slug = await free(host_slug(kind, details.get("name")), tx.resources.slug_taken, max_length=MAX_SLUG)
        details = {**attribution(ownership, workspace, project), **details}
        resource = _new(new_id(), kind, slug, workspace, project, now, details)
        await lifecycle.begin(tx, resource)
        return resource

    async def get(self, resource_id: str, kind: Kind | None = None) -> Resource:
        """Raises RouterError NOT_FOUND: it never was, is deleted, or is of another kind."""
        async with self._store.read() as tx:
            return live(await tx.resources.get(resource_id), kind)

    async def list(self, where: ResourceFilter, window: Window = FIRST) -> Listing[Resource]:
        """The newest first; each condition of `where` narrows. Deleted ones are left out."""
        async with self._store.read() as tx:
            return await tx.resources.list(where, window)

    async def living(self, ids: Collection[str]) -> Mapping[str, Resource]:
        """Those of these that exist now."""
        async with self._store.read() as tx:
            found = await tx.resources.get_many(ids)
        return {one: resource for one, resource in found.items() if resource.deleted_at is None}

    async def places(self, resources: Sequence[Resource]) -> Mapping[str, Place]:
        """How the workspaces and projects of these resources are called, by the project's id."""
        async with self._store.read() as tx:
            return await tx.resources.places({resource.project_id for resource in resources})

    @retry_on_deadlock
    async def update(
        self, resource_id: str, *, slug: str | None = None, **details: Unpack[ResourceDetails]
    ) -> Resource:
        """Change some details, and the slug where one is given: its old hosts then answer 410.

        `options` are merged into what they were, one that is None goes. Raises RouterError: NOT_FOUND, CONFLICT (the
        slug), VALIDATION_FAILED.
        """
        fields = Fields()
        self.check(fields, details, slug=slug)
        fields.check()
        async with self._store.begin() as tx:
            old = live(await tx.resources.get(resource_id))
            return await self.change(tx, old, slug=slug, details=details)

    async def change(self, tx: Tx, old: Resource, *, slug: str | None, details: ResourceDetails) -> Resource:
        """As `update`, of what was checked, inside a transaction."""
        now = self._clock.now()
        if "options" in details:
            merged = {**old.options, **details["options"]}
            details = {**details, "options": {name: value for name, value in merged.items() if value is not None}}
        new = replace(old, **measured(old.kind, details), slug=slug or old.slug, updated_at=now)
        if new.slug != old.slug:
            await _claim_slug(tx, new.slug, old.tenant_id)
        await lifecycle.change(tx, old, new, now)
        return new

    @retry_on_deadlock
    async def patch(self, resource_id: str, *, state: State | None = None, suspended: bool | None = None) -> Resource:
        """What the platform says happened. `destroyed` deletes. Raises RouterError: NOT_FOUND."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            resource = live(await tx.resources.get(resource_id))
            if suspended is not None and suspended != resource.suspended:
                resource = await _suspend(tx, resource, suspended, now)
            if state is State.DESTROYED:
                return await lifecycle.destroy(tx, resource, now)
            if state is not None:
                resource = await lifecycle.enter(tx, resource, state, now)
            return resource

    @retry_on_deadlock
    async def move(self, resource_id: str, to: Ownership) -> Resource:
        """Into another workspace or project of the same tenant; zones and routes follow.

        What it inherited of its attribution it inherits anew, from the new place. Raises RouterError: NOT_FOUND, WORKSPACE_NOT_FOUND,
        FORBIDDEN (outside `to.bounds`), VALIDATION_FAILED.
        """
        fields = Fields()
        to.check(fields)
        fields.check()
        now = self._clock.now()
        async with self._store.read() as tx:
            tenant_id = live(await tx.resources.get(resource_id)).tenant_id
        async with self._store.begin() as tx:
            workspace, project = await owners(tx, tenant_id, to, now)
            old = live(await tx.resources.get(resource_id))
            if project.id == old.project_id:
                return old
            if old.kind is Kind.COMPUTER and workspace.id != old.workspace_id:
                await check_caps(tx, workspace, {"size": old.size, "template_type": old.template_type})
            new = replace(
                old,
                workspace_id=workspace.id,
                project_id=project.id,
                updated_at=now,
                **await _inherited_anew(tx, old, workspace, project),
            )
            await lifecycle.change(tx, old, new, now)
            return new

    @retry_on_deadlock
    async def delete(self, resource_id: str) -> Resource:
        """For good: its hosts answer 410 from now on. Raises RouterError: NOT_FOUND."""
        async with self._store.begin() as tx:
            return await lifecycle.destroy(tx, live(await tx.resources.get(resource_id)), self._clock.now())

    async def record_activity(self, seen: Mapping[str, datetime]) -> None:
        """Store when resources last served a request; an older instant than the stored one is ignored."""
        if seen:
            async with self._store.begin() as tx:
                await tx.resources.seen(seen)

    async def not_recorded(self, seen: Mapping[str, datetime]) -> Collection[str]:
        """Those of these that are not stored yet. It locks nothing and writes nothing."""
        async with self._store.read() as tx:
            return await tx.resources.not_seen(seen)

    async def activity(
        self, since: datetime | None = None, *, counted: bool = True, recent: Mapping[str, datetime] | None = None
    ) -> Mapping[str, datetime]:
        """When each resource last served a request, as far as that was at or after `since`: those whose traffic counts as use
        (`keeps_awake`), or the others. `recent` are uses that the store may lack, read before this is called."""
        async with self._store.read() as tx:
            stored = await tx.resources.activity(since, counted=counted)
            links = await tx.resources.uses_by(recent) if recent else ()
        uses = {one: LastUse(at, counted) for one, at in stored.items()}
        fresh = {one: at for one, at in (recent or {}).items() if since is None or at >= since}
        merged = with_recent(uses, fresh, [link for link in links if link.counted == counted])
        return {one: use.at for one, use in merged.items()}

    async def last_used(self, ids: Collection[str]) -> Mapping[str, LastUse]:
        """When each of these last served a request; those that never did are left out."""
        links: Sequence[UsedBy] = ()
        recent: Mapping[str, datetime] = {}
        if self._recent is not None and ids:
            async with self._store.read() as tx:
                links = await tx.resources.uses_of(ids)
            await commit_ambient()
            # Before the store is read: what leaves it then is stored.
            recent = await self._recent.of({link.by for link in links})
        async with self._store.read() as tx:
            stored = await tx.resources.last_used(ids)
        return with_recent(stored, recent, links)

    def _check_details(self, fields: Fields, details: ResourceDetails) -> None:
        fields.text("name", details.get("name"), max_length=120)
        for name in ("template_type", "external_workspace_id", "external_user_id", "external_project_id"):
            fields.text(name, cast("str | None", details.get(name)), max_length=255)
        fields.object("metadata", details.get("metadata"))
        if (size := details.get("size")) is not None and size not in SIZES:
            fields.add("size", "is invalid")
        if (port := details.get("default_port")) is not None:
            check_port(fields, "default_port", port, self._reserved_ports)
        ports = details.get("exposed_ports") or frozenset()
        if len(ports) > MAX_PORTS:
            fields.add("exposed_ports", f"should have at most {MAX_PORTS} item(s)")
        for port in ports:
            check_port(fields, "exposed_ports", port, self._reserved_ports)
        for port, mode in (details.get("host_modes") or {}).items():
            fields.port("host_modes", port)
            check_host_mode(fields, "host_modes", mode)
        for port, scheme in (details.get("schemes") or {}).items():
            fields.port("schemes", port)
            check_scheme(fields, "schemes", scheme)
        for port, protocol in (details.get("protocols") or {}).items():
            fields.port("protocols", port)
            check_protocol(fields, "protocols", protocol)
        if (seconds := details.get("auto_stop_seconds")) is not None and not 0 <= seconds <= MAX_SECONDS:
            fields.add("auto_stop_seconds", f"must be between 0 and {MAX_SECONDS}")
        fields.object("options", details.get("options"))
        fields.object("tags", {"": details.get("tags", ())})
        if (first_byte := details.get("first_byte")) is not None and not 0 < first_byte <= 86400:
            fields.add("first_byte", "must be more than 0 and at most 86400 seconds")


def _new(
    resource_id: str,
    kind: Kind,
    slug: str,
    workspace: Workspace,
    project: Project,
    now: datetime,
    details: ResourceDetails,
) -> Resource:
    resource = Resource(
        id=resource_id,
        kind=kind,
        slug=slug,
        tenant_id=workspace.tenant_id,
        workspace_id=workspace.id,
        project_id=project.id,
        created_at=now,
        updated_at=now,
    )
    return replace(resource, **measured(kind, details))


def _check_slug(fields: Fields, slug: str) -> None:
    if not is_slug(slug):
        fields.add("slug", "is reserved or not valid in a host name")


async def _claim_slug(tx: Tx, slug: str, tenant_id: str) -> None:
    """Make a slug free for the tenant. Raises RouterError CONFLICT: another has it, another tenant had it, or a resource
    that is blocked."""
    tombstone = await tx.resources.tombstone(slug)
    if await tx.resources.by_slug(slug) is not None or (tombstone is not None and tombstone.tenant_id != tenant_id):
        raise RouterError(CONFLICT, TAKEN, fields={"slug": [TAKEN]})
    if tombstone is not None:
        dead = await tx.resources.get(tombstone.resource_id)
        if dead is not None and dead.suspended:
            raise RouterError(CONFLICT, _BLOCKED, fields={"slug": [_BLOCKED]})
        await tx.resources.remove_tombstone(slug)


async def _suspend(tx: Tx, resource: Resource, suspended: bool, now: datetime) -> Resource:
    """Block it, or lift that block; its state stays."""
    if suspended:
        await place(tx, BlockKind.RESOURCE, resource.id, Order(reason=_SUSPENDED), now)
    elif (block := await tx.blocks.in_force(BlockKind.RESOURCE, resource.id)) is not None:
        await lift(tx, block, PLATFORM, now)
    return replace(resource, suspended=suspended)


async def _owners_by_field(tx: Tx, tenant_id: str, wanted: Ownership, now: datetime) -> tuple[Workspace, Project]:
    """As `owners`, for the platform's call, where a wrong id is a wrong field (422) and not a missing record (404)."""
    try:
        return await owners(tx, tenant_id, wanted, now)
    except RouterError as error:
        if error.problem is WORKSPACE_NOT_FOUND:
            raise invalid("workspace_id", "does not exist") from None
        if error.problem is NOT_FOUND:
            raise invalid("project_id", "does not exist") from None
        raise


async def _inherited_anew(tx: Tx, resource: Resource, workspace: Workspace, project: Project) -> dict[str, Any]:
    """What the resource was attributed to because of where it lay, as it is where it goes; its own stays."""
    old_workspace = found(await tx.workspaces.get(resource.workspace_id))
    old_project = found_project(await tx.projects.get(resource.project_id))
    old: Mapping[str, object] = attribution(NOTHING, old_workspace, old_project)
    new: Mapping[str, object] = attribution(NOTHING, workspace, project)
    return {name: value for name, value in new.items() if getattr(resource, name) == old[name]}
