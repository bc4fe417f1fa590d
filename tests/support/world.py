"""A store with every verb on it, on an SQLite file, and short ways to fill it."""

import ipaddress
import uuid
from dataclasses import replace
from typing import Any

from router.base.clock import Clock
from router.domains.checks.apply_custom import CustomResults
from router.domains.checks.apply_preview import PreviewResults
from router.domains.checks.challenge import Fetch
from router.domains.checks.checker import Checker
from router.domains.checks.verification import Verification
from router.domains.custom import CustomDomain
from router.domains.custom_domains import CustomDomains
from router.domains.diagnosis.diagnoser import Diagnoses
from router.domains.lookup import Lookup
from router.domains.preview_domains import PreviewDomain, PreviewDomains
from router.domains.transfers import Transfers
from router.routes.records import Kind, Scope, State
from router.settings import Ca
from router.store import Store
from router.tenancy.blocks import BlockKind, Blocks, Order
from router.tenancy.endpoints import EndpointChange
from router.tenancy.events import Events
from router.tenancy.keys import Keys
from router.tenancy.previews import Previews
from router.tenancy.projects import Project, Projects
from router.tenancy.resource_service import Resources
from router.tenancy.resources import Resource
from router.tenancy.tenants import Tenant, Tenants
from router.tenancy.workspaces import Workspace, Workspaces
from tests.support.checks import about_to_fail, leads_elsewhere, leads_here
from tests.support.memory_dns import MemoryFetch, MemoryLookup

NETWORKS = tuple(ipaddress.ip_network(text) for text in ("10.0.0.0/8", "127.0.0.0/8", "fd00::/8"))
OWN_LISTENERS = frozenset({("127.0.0.1", 8081)})
TARGETS = ("verify.miosa.ai", "proxy.miosa.ai")
RESERVED = ("miosa.ai", "miosa.app")


class World:
    """The verbs on one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.dns = MemoryLookup()
        self.web: Fetch = MemoryFetch()
        self.store = store
        self._clock = clock
        self.tenants = Tenants(store, clock)
        self.keys = Keys(store, clock)
        self.workspaces = Workspaces(store, clock)
        self.projects = Projects(store, clock)
        self.resources = Resources(
            store, clock, networks=NETWORKS, own_listeners=OWN_LISTENERS, reserved_ports=frozenset({49983})
        )
        self.blocks = Blocks(store, clock)
        self.ports = Previews(store, clock, reserved_ports=frozenset({49983}))
        self.events = Events(store)
        self.transfers = Transfers(store, clock, checker=self.checker(), target="verify.miosa.ai")
        self.domains = CustomDomains(store, clock, proofs=self.transfers, reserved=RESERVED, target="verify.miosa.ai")
        self.previews = PreviewDomains(store, clock, proofs=self.transfers, reserved=RESERVED)
        self.custom_results = CustomResults(store, clock)
        self.preview_results = PreviewResults(store, clock)

    def checker(self, lookup: Lookup | None = None) -> Checker:
        """What checks its domains, by `lookup` or its own DNS."""
        return Checker(lookup=lookup or self.dns, fetch=self.web, ca=Ca(), targets=TARGETS, clock=self._clock)

    def verification(self, lookup: Lookup | None = None) -> Verification:
        """What verifies its domains."""
        return Verification(
            custom_domains=self.domains,
            preview_domains=self.previews,
            custom_results=self.custom_results,
            preview_results=self.preview_results,
            checker=self.checker(lookup),
            diagnoses=self.diagnoses(lookup),
        )

    def diagnoses(self, lookup: Lookup | None = None) -> Diagnoses:
        """What diagnoses its domains."""
        return Diagnoses(
            self.store,
            lookup or self.dns,
            self._clock,
            checker=self.checker(lookup),
            verify_target=TARGETS[0],
            proxy_target=TARGETS[1],
            ca=Ca(),
            docs_url="https://docs.miosa.ai/errors",
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
        return await self.verify(domain.id) if verified else domain

    async def block(self, kind: BlockKind, subject: str, blocked: bool = True) -> None:
        """Block a host, a resource or a tenant, or lift that."""
        if blocked:
            await self.blocks.block(kind, subject, Order(reason="abuse"))
        else:
            await self.blocks.unblock(kind, subject)

    async def zone(self, scope: Scope, scope_id: str, domain: str, *, verified: bool = True) -> None:
        await self.previews.set(scope, scope_id, domain)
        if verified:
            await self.verify_zone(scope, scope_id)

    async def verify(self, domain_id: str) -> CustomDomain:
        """The custom domain after a check that finds its records right."""
        domain = await self.domains.get(domain_id)
        verified, _ = await self.custom_results.apply_check(domain, leads_here(domain.fqdn), requested=True)
        return verified

    async def fail(self, domain_id: str) -> CustomDomain:
        """The custom domain after the last of enough checks that find its records wrong."""
        domain = await self.domains.get(domain_id)
        async with self.store.begin() as tx:
            due = about_to_fail(domain.check, self._clock.now())
            await tx.custom_domains.save(replace(domain, check=due), routed=False)
        failed, _ = await self.custom_results.apply_check(domain, leads_elsewhere(), requested=True)
        return failed

    async def verify_zone(self, scope: Scope, scope_id: str) -> PreviewDomain:
        """The preview domain after a check that finds its records right."""
        preview = await self._zone(scope, scope_id)
        verified, _ = await self.preview_results.apply_check(preview, leads_here(preview.domain), requested=True)
        return verified

    async def fail_zone(self, scope: Scope, scope_id: str) -> PreviewDomain:
        """The preview domain after the last of enough checks that find its records wrong."""
        preview = await self._zone(scope, scope_id)
        async with self.store.begin() as tx:
            await tx.preview_domains.put(replace(preview, check=about_to_fail(preview.check, self._clock.now())))
        failed, _ = await self.preview_results.apply_check(preview, leads_elsewhere(), requested=True)
        return failed

    async def _zone(self, scope: Scope, scope_id: str) -> PreviewDomain:
        preview = await self.previews.get(scope, scope_id)
        assert preview is not None, "the scope has a preview domain"
        return preview
