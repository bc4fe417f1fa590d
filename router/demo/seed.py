"""What exists on the stage: a customer with a workspace, a project and domains, and where the sandboxes run.

Customer and domains are made with the verbs that the command line uses; the sandboxes are told to the router over
/internal/v1, as the platform does it.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from router.demo.guide import CUSTOM_DOMAIN, PROJECT_ZONE, TENANT_ZONE
from router.routes.records import Scope
from router.settings import Settings
from router.verbs import open_verbs

# The port on which each sandbox is reached from outside; the real one is whatever was free.
PORTS = {"pages": 3000, "clock": 4000, "echo": 5000}


class SeedError(Exception):
    """The router refused something of ours."""


@dataclass(frozen=True, slots=True)
class Customer:
    """The demo's one customer. `key` is an API key of the whole tenant."""

    tenant_id: str
    workspace_id: str
    project_id: str
    key: str


async def add_customer(settings: Settings) -> Customer:
    """Make the database and the customer in it."""
    async with open_verbs(settings) as verbs:
        tenant = await verbs.tenants.create("Acme")
        workspace, _ = await verbs.workspaces.create(tenant.id, name="Web")
        project = await verbs.projects.create(tenant.id, name="Shop", workspace_id=workspace.id)
        for scope, scope_id, zone in (
            (Scope.TENANT, tenant.id, TENANT_ZONE),
            (Scope.PROJECT, project.id, PROJECT_ZONE),
        ):
            await verbs.preview_domains.set(scope, scope_id, zone)
            # No name server knows names under localhost, so we say ourselves what its answer would be.
            await verbs.preview_domains.mark_verified(scope, scope_id, zone)
        _, key = await verbs.keys.create(tenant.id, name="demo")
        return Customer(tenant.id, workspace.id, project.id, key)


async def add_custom_domain(settings: Settings, resource_id: str) -> None:
    """The customer's own domain, which leads to that resource."""
    async with open_verbs(settings) as verbs:
        domain = await verbs.custom_domains.register(resource_id, CUSTOM_DOMAIN)
        await verbs.custom_domains.mark_verified(domain.id)  # as above


async def register(api: str, token: str, customer: Customer, sandboxes: Mapping[str, int]) -> dict[str, str]:
    """Tell the router which sandboxes there are and on which port of this machine; their ids.

    The pages belong to the project, the others to the tenant alone. Raises SeedError.
    """
    ids = {}
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(base_url=api, headers=headers, timeout=aiohttp.ClientTimeout(10)) as session:
        for name, real in sandboxes.items():
            ids[name] = str(uuid.uuid4())
            body = {"kind": "sandbox", "slug": name, "tenant_id": customer.tenant_id, "default_port": PORTS[name]}
            if name == "pages":
                body |= {"workspace_id": customer.workspace_id, "project_id": customer.project_id}
            await _put(session, f"/internal/v1/resources/{ids[name]}", body)
            endpoint = {"address": "127.0.0.1", "generation": "demo", "state": "running", "ports": {PORTS[name]: real}}
            await _put(session, f"/internal/v1/endpoints/{ids[name]}", endpoint)
    return ids


async def _put(session: aiohttp.ClientSession, path: str, body: Mapping[str, object]) -> None:
    async with session.put(path, json=body) as answer:
        if answer.status >= 300:
            raise SeedError(f"PUT {path} was refused with {answer.status}: {await answer.text()}")
