"""The demo's records: a customer with a workspace, a project and domains, and where the sandboxes run.

Customer and domains are made with the services that the command line uses; the sandboxes are told to the router over
/internal/v1, as the platform does it.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from router.demo.guide import CLOSED_PORT, CUSTOM_DOMAIN, NAP, PRIVATE, PROJECT_ZONE, STARTING, TENANT_ZONE
from router.demo.platform import PORT as NAP_PORT
from router.domains.checks.caa import CaaFinding, CaaVerdict
from router.domains.checks.judgement import Check
from router.domains.checks.pointing import CheckResult
from router.domains.checks.proof import Evidence
from router.domains.checks.schedule import Method
from router.node.services import open_services
from router.routes.records import Scope
from router.settings import Settings

# The port on which each sandbox is reached from outside; the real one is whatever was free.
PORTS = {"pages": 3000, "clock": 4000, "echo": 5000}
_UNUSED_PORT = 1  # tcpmux (RFC 1078), which no system starts any more


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
    async with open_services(settings) as services:
        tenant = await services.tenants.create("Acme")
        workspace, _ = await services.workspaces.create(tenant.id, name="Web")
        project = await services.projects.create(tenant.id, name="Shop", workspace_id=workspace.id)
        for scope, scope_id, zone in (
            (Scope.TENANT, tenant.id, TENANT_ZONE),
            (Scope.PROJECT, project.id, PROJECT_ZONE),
        ):
            preview = await services.preview_domains.set(scope, scope_id, zone)
            await services.preview_results.apply_check(preview, _leads_here(zone), requested=True)
        _, key = await services.keys.create(tenant.id, name="demo")
        return Customer(tenant.id, workspace.id, project.id, key)


async def add_custom_domain(settings: Settings, resource_id: str) -> None:
    """The customer's own domain, which leads to that resource."""
    async with open_services(settings) as services:
        domain = await services.custom_domains.register(resource_id, CUSTOM_DOMAIN)
        await services.custom_results.apply_check(domain, _leads_here(domain.fqdn), requested=True)


def _leads_here(name: str) -> Check:
    """What a check of the name would find. No name server knows names under localhost, so none is asked."""
    evidence = Evidence(own=True, names=(name,))
    caa = CaaFinding(CaaVerdict.ALLOWED)
    return Check(result=CheckResult.VALID, records=(), caa=caa, method=Method.CNAME, evidence=evidence)


async def register(api: str, token: str, customer: Customer, sandboxes: Mapping[str, int], nap: str) -> dict[str, str]:
    """Tell the router which sandboxes there are and on which port of this machine; their ids.

    The pages belong to the project, the others to the tenant alone. `nap` is the id of the one that sleeps. Raises SeedError.
    """
    ids = {NAP: nap}
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(base_url=api, headers=headers, timeout=aiohttp.ClientTimeout(10)) as session:
        for name, real in sandboxes.items():
            ids[name] = str(uuid.uuid4())
            body = {"kind": "sandbox", "slug": name, "tenant_id": customer.tenant_id, "default_port": PORTS[name]}
            if name == "pages":
                body |= {"workspace_id": customer.workspace_id, "project_id": customer.project_id}
                body |= {"exposed_ports": [CLOSED_PORT]}
            await _put(session, f"/internal/v1/resources/{ids[name]}", body)
            ports = {PORTS[name]: real, CLOSED_PORT: _UNUSED_PORT}
            endpoint = {"address": "127.0.0.1", "generation": "demo", "state": "running", "ports": ports}
            await _put(session, f"/internal/v1/endpoints/{ids[name]}", endpoint)
        ids[STARTING] = str(uuid.uuid4())
        body = {"kind": "sandbox", "slug": STARTING, "tenant_id": customer.tenant_id, "default_port": 3000}
        await _put(session, f"/internal/v1/resources/{ids[STARTING]}", body)
        endpoint = {"address": "127.0.0.1", "generation": "demo", "state": "starting"}
        await _put(session, f"/internal/v1/endpoints/{ids[STARTING]}", endpoint)
        ids[PRIVATE] = str(uuid.uuid4())
        body = {"kind": "sandbox", "slug": PRIVATE, "tenant_id": customer.tenant_id, "default_port": 3000}
        await _put(session, f"/internal/v1/resources/{ids[PRIVATE]}", body | {"visibility": "private"})
        endpoint = {
            "address": "127.0.0.1",
            "generation": "demo",
            "state": "running",
            "ports": {3000: sandboxes["pages"]},
        }
        await _put(session, f"/internal/v1/endpoints/{ids[PRIVATE]}", endpoint)
        body = {"kind": "sandbox", "slug": NAP, "tenant_id": customer.tenant_id, "default_port": NAP_PORT}
        await _put(session, f"/internal/v1/resources/{nap}", body | {"wake": "any"})
        await _send(session, "PATCH", f"/internal/v1/resources/{nap}", {"state": "paused"})
    return ids


async def share(api: str, customer: Customer, resource_id: str) -> str:
    """A link that lets whoever has it into the private sandbox. Raises SeedError."""
    headers = {"Authorization": f"Bearer {customer.key}"}
    async with aiohttp.ClientSession(base_url=api, headers=headers, timeout=aiohttp.ClientTimeout(10)) as session:
        made = await _send(session, "POST", f"/api/v1/sandboxes/{resource_id}/shares", {})
        url: str = made["data"]["share_url"]
        return url


async def _put(session: aiohttp.ClientSession, path: str, body: Mapping[str, object]) -> None:
    await _send(session, "PUT", path, body)


async def _send(session: aiohttp.ClientSession, method: str, path: str, body: Mapping[str, object]) -> Any:
    """What the router answers."""
    async with session.request(method, path, json=body) as answer:
        if answer.status >= 300:
            raise SeedError(f"{method} {path} was refused with {answer.status}: {await answer.text()}")
        return await answer.json()
