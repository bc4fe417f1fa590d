"""A store with every verb on it, on an SQLite file, and short ways to fill it."""

import ipaddress
import uuid
from typing import Any

from router.clock import Clock
from router.domains import CustomDomain, CustomDomains, PreviewDomains, Verification
from router.domains.custom_life import CustomLife
from router.domains.looking import Looker
from router.domains.lookup import Lookup
from router.domains.memory import MemoryFetch, MemoryLookup
from router.domains.preview_life import PreviewLife
from router.domains.takeovers import Takeovers
from router.routes.records import Kind, Scope, State
from router.settings import Ca
from router.store import Store
from router.tenancy import (
    EndpointChange,
    Events,
    Keys,
    Previews,
    Project,
    Projects,
    Resource,
    Resources,
    Tenant,
    Tenants,
)
from router.tenancy.workspaces import Workspace, Workspaces

NETWORKS = tuple(ipaddress.ip_network(text) for text in ("10.0.0.0/8", "127.0.0.0/8", "fd00::/8"))
OWN_LISTENERS = frozenset({("127.0.0.1", 8081)})
TARGETS = ("verify.miosa.ai", "proxy.miosa.ai")
RESERVED = ("miosa.ai", "miosa.app")


class World:
    """The verbs on one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.dns, self.web = MemoryLookup(), MemoryFetch()
        self.store = store
        self._clock = clock
        self.tenants = Tenants(store, clock)
        self.keys = Keys(store, clock)
        self.workspaces = Workspaces(store, clock)
        self.projects = Projects(store, clock)
        self.resources = Resources(
            store, clock, networks=NETWORKS, own_listeners=OWN_LISTENERS, reserved_ports=frozenset({49983})
        )
        self.ports = Previews(store, clock, reserved_ports=frozenset({49983}))
        self.events = Events(store, clock, retention=30 * 86400)
        self.takeovers = Takeovers(store, clock, looker=self._looker(self.dns), target="verify.miosa.ai")
        self.domains = CustomDomains(store, clock, proofs=self.takeovers, reserved=RESERVED, target="verify.miosa.ai")
        self.previews = PreviewDomains(store, clock, proofs=self.takeovers, reserved=RESERVED)

    def _looker(self, lookup: Lookup) -> Looker:
        return Looker(lookup=lookup, fetch=self.web, ca=Ca(), targets=TARGETS, clock=self._clock)

    def verification(self, lookup: Lookup | None = None) -> Verification:
        """What looks at its domains."""
        looker = self._looker(lookup or self.dns)
        return Verification(
            custom_domains=self.domains,
            preview_domains=self.previews,
            custom_life=CustomLife(self.store, self._clock),
            preview_life=PreviewLife(self.store, self._clock),
            looker=looker,
        )

    async def tenant(self, name: str = "Acme", **options: Any) -> Tenant:
        return await self.tenants.create(name, **options)

    async def workspace(self, tenant: Tenant, name: str) -> Workspace:
        workspace, _ = await self.workspaces.create(tenant.id, name=name)
        return workspace

    async def project(self, workspace: Workspace, name: str) -> Project:
        return await self.projects.create(workspace.tenant_id, name=name, workspace_id=workspace.id)

    async def sandbox(self, tenant: Tenant, slug: str, *, running: bool = True, **options: Any) -> Resource:
        """A sandbox whose default port is 3000, with an endpoint unless it is not `running`."""
        options = {"kind": Kind.SANDBOX, "default_port": 3000} | options
        resource, _ = await self.resources.put(str(uuid.uuid4()), slug=slug, tenant_id=tenant.id, **options)
        if running:
            await self.place(resource)
        return await self.resources.get(resource.id)

    async def place(self, resource: Resource, **options: Any) -> None:
        options = {"address": "10.0.0.7", "generation": "boot-1", "state": State.RUNNING} | options
        await self.resources.endpoints.put(EndpointChange(resource_id=resource.id, **options))

    async def domain(self, resource: Resource, fqdn: str, *, verified: bool = True, **options: Any) -> CustomDomain:
        domain = await self.domains.register(resource.id, fqdn, **options)
        return await self.domains.mark_verified(domain.id) if verified else domain

    async def zone(self, scope: Scope, scope_id: str, domain: str, *, verified: bool = True) -> None:
        await self.previews.set(scope, scope_id, domain)
        if verified:
            await self.previews.mark_verified(scope, scope_id, domain)
