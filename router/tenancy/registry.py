"""The register of resources: what the platform and its customers can do with them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Unpack, cast

from router.clock import Clock
from router.errors import CONFLICT, NOT_FOUND, WORKSPACE_NOT_FOUND, RouterError
from router.hostname import MAX_SLUG, is_slug
from router.routes.records import Kind, State
from router.settings import Network
from router.tenancy import lifecycle
from router.tenancy.endpoints import Endpoints
from router.tenancy.fields import TAKEN, Fields, invalid
from router.tenancy.ownership import NOTHING, Ownership, attribution, owners
from router.tenancy.projects import Project
from router.tenancy.resources import Resource, ResourceDetails, ResourceFilter, ResourcesTx, check_host_mode, live
from router.tenancy.sizes import SIZES
from router.tenancy.slugs import free, host_slug
from router.tenancy.workspaces import Workspace
from router.unit import FIRST, Listing, Unit, Window, is_id, new_id

_MAX_PORTS = 256  # exposed ports of one resource


class Resources:
    """What can be done with resources. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        store: Unit[ResourcesTx],
        clock: Clock,
        *,
        networks: Sequence[Network],
        own_listeners: Collection[tuple[str, int]] = (),
        reserved_ports: Collection[int] = (),
    ) -> None:
        self._store = store
        self._clock = clock
        self._reserved_ports = frozenset(reserved_ports)
        self.endpoints = Endpoints(store, clock, networks=networks, own_listeners=own_listeners)

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
            fields.add("id", "is not a UUID")
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
                await _claim_slug(tx, slug, tenant_id, RouterError(CONFLICT, TAKEN, fields={"slug": [TAKEN]}))
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
                await _claim_slug(tx, slug, tenant_id, RouterError(CONFLICT, TAKEN, fields={"slug": [TAKEN]}))
            new = replace(old, slug=slug, **details, updated_at=now)
            if workspace_id is not None or project_id is not None:
                workspace, project = await _owners_by_field(tx, tenant_id, wanted, now)
                new = replace(new, workspace_id=workspace.id, project_id=project.id)
            await lifecycle.change(tx, old, new, now)
            return new, False

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

        The workspace's caps on computers apply. Raises RouterError: VALIDATION_FAILED, WORKSPACE_NOT_FOUND,
        NOT_FOUND (project), FORBIDDEN (outside `ownership.within`).
        """
        fields = Fields()
        ownership.check(fields)
        if slug is not None:
            _check_slug(fields, slug)
        self._check_details(fields, details)
        fields.check()
        now = self._clock.now()
        async with self._store.begin() as tx:
            workspace, project = await owners(tx, tenant_id, ownership, now)
            if kind is Kind.COMPUTER:
                details = await _within_caps(tx, workspace, details)
            if slug is not None:
                await _claim_slug(tx, slug, tenant_id, invalid("slug", TAKEN))
            else:
                # A made-up slug takes no tombstone's place: nobody asked for that very name.
                slug = await free(host_slug(kind, details.get("name")), tx.resources.slug_taken, most=MAX_SLUG)
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

    async def update(self, resource_id: str, **details: Unpack[ResourceDetails]) -> Resource:
        """Change some details. Raises RouterError: NOT_FOUND, VALIDATION_FAILED."""
        fields = Fields()
        self._check_details(fields, details)
        fields.check()
        now = self._clock.now()
        async with self._store.begin() as tx:
            old = live(await tx.resources.get(resource_id))
            new = replace(old, **details, updated_at=now)
            await lifecycle.change(tx, old, new, now)
            return new

    async def patch(self, resource_id: str, *, state: State | None = None, suspended: bool | None = None) -> Resource:
        """What the platform says happened. `destroyed` deletes. Raises RouterError: NOT_FOUND."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            resource = live(await tx.resources.get(resource_id))
            if suspended is not None and suspended != resource.suspended:
                resource = await lifecycle.suspend(tx, resource, suspended, now)
            if state is State.DESTROYED:
                return await lifecycle.destroy(tx, resource, now)
            if state is not None:
                resource = await lifecycle.enter(tx, resource, state, now)
            return resource

    async def move(self, resource_id: str, to: Ownership) -> Resource:
        """Into another workspace or project of the same tenant; zones and routes follow.

        Raises RouterError: NOT_FOUND, WORKSPACE_NOT_FOUND, FORBIDDEN (outside `to.within`), VALIDATION_FAILED.
        """
        now = self._clock.now()
        async with self._store.begin() as tx:
            old = live(await tx.resources.get(resource_id))
            workspace, project = await owners(tx, old.tenant_id, to, now)
            if old.kind is Kind.COMPUTER and workspace.id != old.workspace_id:
                await _within_caps(tx, workspace, {"size": old.size, "template_type": old.template_type})
            new = replace(old, workspace_id=workspace.id, project_id=project.id, updated_at=now)
            await lifecycle.change(tx, old, new, now)
            return new

    async def expose(self, resource_id: str, port: int) -> Resource:
        """Make a port routable; exposing it twice changes nothing. Raises RouterError: NOT_FOUND, VALIDATION_FAILED."""
        fields = Fields()
        self._check_port(fields, "port", port)
        fields.check()
        async with self._store.begin() as tx:
            return await lifecycle.expose(tx, live(await tx.resources.get(resource_id)), port, self._clock.now())

    async def unexpose(self, resource_id: str, port: int) -> Resource:
        """Make a port unreachable again. Raises RouterError: NOT_FOUND."""
        async with self._store.begin() as tx:
            return await lifecycle.unexpose(tx, live(await tx.resources.get(resource_id)), port, self._clock.now())

    async def delete(self, resource_id: str) -> Resource:
        """For good: its hosts answer 410 from now on. Raises RouterError: NOT_FOUND."""
        async with self._store.begin() as tx:
            return await lifecycle.destroy(tx, live(await tx.resources.get(resource_id)), self._clock.now())

    async def record_activity(self, seen: Mapping[str, datetime]) -> None:
        """Note when resources last served a request; an older instant than the stored one is ignored."""
        if seen:
            async with self._store.begin() as tx:
                await tx.resources.seen(seen)

    async def activity(self, since: datetime | None = None) -> Mapping[str, datetime]:
        """When each resource last served a request, as far as that was at or after `since`."""
        async with self._store.read() as tx:
            return await tx.resources.activity(since)

    def _check_details(self, fields: Fields, details: ResourceDetails) -> None:
        fields.text("name", details.get("name"), most=120)
        for name in ("template_type", "external_workspace_id", "external_user_id", "external_project_id"):
            fields.text(name, cast("str | None", details.get(name)), most=255)
        fields.object("metadata", details.get("metadata"))
        if (size := details.get("size")) is not None and size not in SIZES:
            fields.add("size", "is invalid")
        if (port := details.get("default_port")) is not None:
            self._check_port(fields, "default_port", port)
        ports = details.get("exposed_ports") or frozenset()
        if len(ports) > _MAX_PORTS:
            fields.add("exposed_ports", f"should have at most {_MAX_PORTS} item(s)")
        for port in ports:
            self._check_port(fields, "exposed_ports", port)
        for port, mode in (details.get("host_modes") or {}).items():
            fields.port("host_modes", port)
            check_host_mode(fields, "host_modes", mode)
        if (first_byte := details.get("first_byte")) is not None and not 0 < first_byte <= 86400:
            fields.add("first_byte", "must be more than 0 and at most 86400 seconds")

    def _check_port(self, fields: Fields, name: str, port: int) -> None:
        fields.port(name, port)
        if port in self._reserved_ports:
            fields.add(name, "is reserved by the platform")


def _new(
    resource_id: str,
    kind: Kind,
    slug: str,
    workspace: Workspace,
    project: Project,
    now: datetime,
    details: ResourceDetails,
) -> Resource:
    size = SIZES.get(details.get("size") or "")
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
    if size is not None:
        resource = replace(resource, vcpus=size.vcpus, memory_mb=size.memory_mb, disk_gb=size.disk_gb)
    return replace(resource, **details)


def _check_slug(fields: Fields, slug: str) -> None:
    if not is_slug(slug):
        fields.add("slug", "is reserved or not valid in a host name")


async def _claim_slug(tx: ResourcesTx, slug: str, tenant_id: str, refusal: RouterError) -> None:
    """Make a slug free for the tenant, or raise `refusal`: another's, or the tombstone of another tenant's."""
    if await tx.resources.by_slug(slug) is not None:
        raise refusal
    buried = await tx.resources.tombstone(slug)
    if buried is not None:
        if buried.tenant_id != tenant_id:
            raise refusal
        await tx.resources.unbury(slug)


async def _owners_by_field(
    tx: ResourcesTx, tenant_id: str, wanted: Ownership, now: datetime
) -> tuple[Workspace, Project]:
    """As `owners`, for the platform's call, where a wrong id is a wrong field and not a missing page."""
    try:
        return await owners(tx, tenant_id, wanted, now)
    except RouterError as error:
        if error.problem is WORKSPACE_NOT_FOUND:
            raise invalid("workspace_id", "does not exist") from None
        if error.problem is NOT_FOUND:
            raise invalid("project_id", "does not exist") from None
        raise


async def _within_caps(tx: ResourcesTx, workspace: Workspace, details: ResourceDetails) -> ResourceDetails:
    """A computer's details with the workspace's default size. Raises RouterError VALIDATION_FAILED over a cap."""
    caps = workspace.settings
    size = details.get("size") or caps.get("default_computer_size")
    fields = Fields()
    top = caps.get("max_computer_size")
    if size is not None and top is not None and SIZES[size].rank > SIZES[top].rank:
        fields.add("size", f"must be at most {top} in this workspace")
    allowed = caps.get("allowed_template_types") or ()
    if allowed and details.get("template_type") not in allowed:
        fields.add("template_type", "is not allowed in this workspace")
    most = caps.get("max_computers")
    if most is not None and (await tx.workspaces.contents(workspace.id)).get(Kind.COMPUTER, 0) >= most:
        fields.add("workspace_id", f"has its maximum of {most} computer(s)")
    fields.check()
    return {**details, "size": size} if size is not None else details
