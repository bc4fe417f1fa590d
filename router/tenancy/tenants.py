"""Tenants: the platform's customers. Everything else belongs to one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, TypedDict, Unpack

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.paging import FIRST, Listing, Window
from router.base.transactions import Transactions
from router.errors import NOT_FOUND, RouterError
from router.routes.policies import Visibility
from router.routes.wakes import Wake
from router.tenancy.branding import check_branding
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.projects import Project
from router.tenancy.slugs import free, slugify
from router.tenancy.transaction import Tx
from router.tenancy.validation import TAKEN, Fields, invalid
from router.tenancy.workspaces import Workspace

DEFAULT = "default"  # name and slug of the workspace and the project that every tenant starts with


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One customer. With `auto_expose`, every port of its resources is routable without being exposed. `default_visibility` is
    that of resources and previews that have none of their own, `default_wake` and `default_keeps_awake` are those of resources,
    `pings_keep_awake` is whether a WebSocket on which only pings pass is use.

    Since `deleted_at` it is being deleted (`tenant_deletion.py`). `branding` is in the words of `branding.py`.
    """

    id: str
    slug: str
    name: str
    plan: str = "free"
    auto_expose: bool = False
    branding: Mapping[str, str]
    suspended: bool = False
    default_visibility: Visibility = Visibility.PUBLIC
    default_wake: Wake = Wake.OFF
    default_keeps_awake: bool = True
    pings_keep_awake: bool = True
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """How many of each a tenant has now; deleted and removed ones do not count."""

    workspaces: int
    projects: int
    sandboxes: int
    computers: int
    deployments: int
    custom_domains: int


class TenantChanges(TypedDict, total=False):
    """What `update` may change; absent keys stay as they are."""

    name: str
    plan: str
    auto_expose: bool
    branding: Mapping[str, str]
    default_visibility: Visibility
    default_wake: Wake
    default_keeps_awake: bool
    pings_keep_awake: bool


class TenantRows(Protocol):
    """Stored tenants."""

    async def add(self, tenant: Tenant) -> None: ...

    async def get(self, tenant_id: str) -> Tenant | None: ...

    async def by_slug(self, slug: str) -> Tenant | None: ...

    async def list(self, window: Window) -> Listing[Tenant]:
        """The oldest first."""

    async def holdings(self, tenant_id: str) -> Holdings: ...

    async def save(self, tenant: Tenant) -> None:
        """Store every field; all records of the tenant count as changed."""


class Tenants:
    """The service of tenants. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self, name: str, *, slug: str | None = None, plan: str = "free", auto_expose: bool = False
    ) -> Tenant:
        """A new tenant with its default workspace and project. Without `slug` a free one is made from the name.

        Raises RouterError: VALIDATION_FAILED (`name`, `slug`, `plan`).
        """
        fields = Fields()
        fields.text("name", name, max_length=120, required=True)
        fields.text("plan", plan, max_length=40, required=True)
        fields.slug("slug", slug)
        fields.check()
        now = self._clock.now()
        async with self._store.begin() as tx:

            async def taken(candidate: str) -> bool:
                return await tx.tenants.by_slug(candidate) is not None

            if slug is not None and await taken(slug):
                raise invalid("slug", TAKEN)
            tenant = Tenant(
                id=new_id(),
                slug=slug or await free(slugify(name) or "tenant", taken, max_length=80),
                name=name,
                plan=plan,
                auto_expose=auto_expose,
                branding={},
                created_at=now,
                updated_at=now,
            )
            await tx.tenants.add(tenant)
            workspace = Workspace(
                id=new_id(),
                tenant_id=tenant.id,
                name=DEFAULT,
                slug=DEFAULT,
                is_default=True,
                created_at=now,
                updated_at=now,
            )
            await tx.workspaces.add(workspace)
            await tx.projects.add(
                Project(
                    id=new_id(),
                    tenant_id=tenant.id,
                    workspace_id=workspace.id,
                    name=DEFAULT,
                    slug=DEFAULT,
                    is_default=True,
                    created_at=now,
                    updated_at=now,
                )
            )
            return tenant

    async def get(self, tenant_id: str) -> Tenant:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            return _found(await tx.tenants.get(tenant_id))

    async def find(self, id_or_slug: str) -> Tenant:
        """The tenant with that id, else with that slug: for people at a command line. Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            return _found(await tx.tenants.get(id_or_slug) or await tx.tenants.by_slug(id_or_slug))

    async def list(self, window: Window = FIRST) -> Listing[Tenant]:
        async with self._store.read() as tx:
            return await tx.tenants.list(window)

    async def holdings(self, tenant_id: str) -> Holdings:
        """What the tenant has."""
        async with self._store.read() as tx:
            return await tx.tenants.holdings(tenant_id)

    @retry_on_deadlock
    async def update(self, tenant_id: str, **changes: Unpack[TenantChanges]) -> Tenant:
        """Change some fields. Raises RouterError: NOT_FOUND, VALIDATION_FAILED."""
        fields = Fields()
        if "name" in changes:
            fields.text("name", changes["name"], max_length=120, required=True)
        if "plan" in changes:
            fields.text("plan", changes["plan"], max_length=40, required=True)
        check_branding(fields, changes.get("branding") or {})
        fields.check()
        async with self._store.begin() as tx:
            now = self._clock.now()
            old = _found(await tx.tenants.get(tenant_id))
            tenant = replace(old, **changes, updated_at=now)
            await tx.tenants.save(tenant)
            if tenant.default_visibility != old.default_visibility:
                data = {"visibility": tenant.default_visibility, "was": old.default_visibility}
                await tx.events.emit("tenant.visibility_changed", now, tenant_id=tenant_id, data=data)
            return tenant


def _found(tenant: Tenant | None) -> Tenant:
    if tenant is None:
        raise RouterError(NOT_FOUND, "tenant not found")
    return tenant
