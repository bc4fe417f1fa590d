"""The official client, in both its forms, lives a customer's life with the router: every method of it that concerns us
is called, and in between visitors come through the proxy to see that what was answered is true already."""

import asyncio
import json
import re
import urllib.request
import uuid
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import miosa
import pytest
from miosa import errors
from miosa.resources.custom_domains import CustomDomains
from miosa.resources.deployments import DeploymentDomains, DeploymentReleases, Deployments, DeploymentVersions
from miosa.resources.flat_custom_domains import FlatCustomDomains
from miosa.resources.projects import Projects
from miosa.resources.tenant import Branding, PreviewDomain
from miosa.resources.workspaces import Workspaces

from router.domains.lookup import RecordType
from tests.support.backends import Backend
from tests.support.customer import Customer, program
from tests.support.nameserver import NameServer
from tests.support.pair import Pair
from tests.support.postgres import Postgres
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

# What the classes of our resources have beside: what happens inside machines, repositories, databases and accounts.
NOT_OURS: dict[type, set[str]] = {
    # The second reads a whole workspace where the page has its settings alone.
    Workspaces: {"list_databases", "update_settings"},
    Projects: {
        "apply_template",
        "capabilities",
        "create_environment",
        "delete_environment",
        "delete_shared_variable",
        "duplicate_environment",
        "environments",
        "set_shared_variables",
        "shared_variables",
        "summary",
        "sync_environment",
        "template",
        "templates",
        "update_environment",
    },
    Deployments: {
        "attach_database",
        "connectors",
        "migration_backup",
        "move",
        "proof",
        "redeploy",
        "runtime_instances",
        "stop",
        "version_logs",
    },
    DeploymentVersions: set(),
    DeploymentReleases: set(),
    DeploymentDomains: set(),
    CustomDomains: set(),
    FlatCustomDomains: set(),
    PreviewDomain: set(),
    Branding: set(),
}

# Endpoints that the client has no method for; tests/contract/api/ asks them.
NOT_IN_CLIENT = {
    "DELETE /api/v1/deployments/{id}/env/{name}",
    "DELETE /api/v1/projects/{id}/preview-domain",
    "DELETE /api/v1/workspaces/{id}/preview-domain",
    "GET /api/v1/computers/{id}/domains/{domain_id}",
    "GET /api/v1/custom-domains/{id}",
    "GET /api/v1/deployments/{id}/domains/{domain_id}",
    "GET /api/v1/projects/{id}/deployments",
    "GET /api/v1/projects/{id}/preview-domain",
    "GET /api/v1/projects/{id}/preview-domain/verify",
    "GET /api/v1/tenant",
    "GET /api/v1/tenant/preview-domain/verify",
    "GET /api/v1/workspaces/{id}/preview-domain",
    "GET /api/v1/workspaces/{id}/preview-domain/verify",
    "PATCH /api/v1/deployments/{id}/domains/{domain_id}",
    "PATCH /api/v1/tenant",
    "POST /api/v1/computers/{id}/domains/{domain_id}/check",
    "POST /api/v1/computers/{id}/expose",
    "POST /api/v1/custom-domains/{id}/check",
    "POST /api/v1/custom-domains/{id}/verify",
    "POST /api/v1/deployments/{id}/domains/{domain_id}/check",
    "POST /api/v1/projects/{id}/deployments",
    "POST /api/v1/projects/{id}/preview-domain/check",
    "POST /api/v1/projects/{id}/preview-domain/verify",
    "POST /api/v1/tenant/preview-domain/check",
    "POST /api/v1/workspaces/{id}/preview-domain/check",
    "POST /api/v1/workspaces/{id}/preview-domain/verify",
    "PUT /api/v1/projects/{id}/preview-domain",
    "PUT /api/v1/workspaces/{id}/preview-domain",
    "DELETE /api/v1/computers/{id}/ports/{port}/share",
    "DELETE /api/v1/computers/{id}/ports/{port}/tokens/{token_id}",
    "DELETE /api/v1/sandboxes/{id}/previews/{preview_id}/tokens/{token_id}",
    "GET /api/v1/computers/{id}/ports/{port}/tokens",
    "GET /api/v1/sandboxes/{id}/previews/{preview_id}/tokens",
    "POST /api/v1/computers/{id}/ports/{port}/share",
    "POST /api/v1/computers/{id}/ports/{port}/tokens",
    "POST /api/v1/sandboxes/{id}/previews/{preview_id}/tokens",
    "DELETE /api/v1/computers/{id}/password",
    "DELETE /api/v1/computers/{id}/ports/{port}/password",
    "DELETE /api/v1/sandboxes/{id}/password",
    "DELETE /api/v1/sandboxes/{id}/previews/{preview_id}/password",
    "DELETE /api/v1/tenant/login",
    "DELETE /api/v1/tenant/sessions",
    "DELETE /api/v1/tenant/sessions/{session_id}",
    "DELETE /api/v1/tenant/trusted-issuers/{id}",
    "GET /api/v1/computers/{id}/password",
    "GET /api/v1/sandboxes/{id}/password",
    "GET /api/v1/tenant/login",
    "GET /api/v1/tenant/sessions",
    "GET /api/v1/tenant/trusted-issuers",
    "GET /api/v1/tenant/trusted-issuers/{id}",
    "PATCH /api/v1/sandboxes/{id}/previews/{preview_id}",
    "PATCH /api/v1/tenant/trusted-issuers/{id}",
    "POST /api/v1/tenant/trusted-issuers",
    "PUT /api/v1/computers/{id}/password",
    "PUT /api/v1/computers/{id}/ports/{port}/password",
    "PUT /api/v1/sandboxes/{id}/password",
    "PUT /api/v1/sandboxes/{id}/previews/{preview_id}/password",
    "PUT /api/v1/tenant/login",
    # Called in tests/contract/api/test_certificates.py.
    "DELETE /api/v1/custom-domains/{id}/certificate",
    "DELETE /api/v1/projects/{id}/preview-domain/certificate",
    "DELETE /api/v1/tenant/preview-domain/certificate",
    "DELETE /api/v1/workspaces/{id}/preview-domain/certificate",
    "GET /api/v1/custom-domains/{id}/certificate",
    "GET /api/v1/projects/{id}/preview-domain/certificate",
    "GET /api/v1/tenant/preview-domain/certificate",
    "GET /api/v1/workspaces/{id}/preview-domain/certificate",
    "POST /api/v1/custom-domains/{id}/certificate/csr",
    "POST /api/v1/projects/{id}/preview-domain/certificate/csr",
    "POST /api/v1/tenant/preview-domain/certificate/csr",
    "POST /api/v1/workspaces/{id}/preview-domain/certificate/csr",
    "PUT /api/v1/custom-domains/{id}/certificate",
    "PUT /api/v1/projects/{id}/preview-domain/certificate",
    "PUT /api/v1/tenant/preview-domain/certificate",
    "PUT /api/v1/workspaces/{id}/preview-domain/certificate",
    # Called in tests/contract/api/test_request_captures.py.
    "DELETE /api/v1/computers/{id}/request-capture",
    "GET /api/v1/computers/{id}/request-capture",
    "PUT /api/v1/computers/{id}/request-capture",
    "DELETE /api/v1/deployments/{id}/request-capture",
    "GET /api/v1/deployments/{id}/request-capture",
    "PUT /api/v1/deployments/{id}/request-capture",
    "DELETE /api/v1/sandboxes/{id}/request-capture",
    "GET /api/v1/sandboxes/{id}/request-capture",
    "PUT /api/v1/sandboxes/{id}/request-capture",
    "GET /api/v1/request-logs/{record_id}/capture",
    "POST /api/v1/request-logs/{record_id}/replay",
    # Called in tests/contract/api/test_audit_log.py, by the client too.
    "GET /api/v1/audit-log",
    "GET /api/v1/audit-log/export",
    "GET /api/v1/audit-log/{id}",
    # Called in tests/e2e/test_log_drains.py.
    "DELETE /api/v1/log-drains/{id}",
    "GET /api/v1/log-drains",
    "GET /api/v1/log-drains/{id}",
    "PATCH /api/v1/log-drains/{id}",
    "POST /api/v1/log-drains",
    "POST /api/v1/log-drains/{id}/test",
    # What the console, a Prometheus and operators ask for: tests/e2e/test_console*.py, test_tenant_metrics.py.
    "DELETE /api/v1/console/session",
    "GET /api/v1/explain",
    "GET /api/v1/metrics",
    "GET /api/v1/observability",
    "GET /api/v1/platform/status",
    "GET /api/v1/platform/tenants",
    "POST /api/v1/console/session",
    # Called in tests/contract/api/test_request_logs.py.
    "GET /api/v1/computers/{id}/request-logs",
    "GET /api/v1/computers/{id}/request-logs/stream",
    "GET /api/v1/custom-domains/{id}/request-logs",
    "GET /api/v1/custom-domains/{id}/request-logs/stream",
    "GET /api/v1/deployments/{id}/request-logs/stream",
    "GET /api/v1/request-logs",
    "GET /api/v1/request-logs/stream",
    "GET /api/v1/sandboxes/{id}/request-logs",
    "GET /api/v1/sandboxes/{id}/request-logs/stream",
    # Called in tests/contract/api/test_client_methods.py.
    "GET /api/v1/computers/{id}/ports/{port}/url",
    "GET /api/v1/computers/{id}/urls",
    "GET /api/v1/projects/{id}/summary",
    "GET /api/v1/sandboxes/{id}/ports/{port}/url",
    "GET /api/v1/whoami",
    "PATCH /api/v1/api-keys/{id}",
    "POST /api/v1/api-keys/{id}/rotate",
    "POST /api/v1/deployments/{id}/move",
    "POST /api/v1/deployments/{id}/redeploy",
    "POST /api/v1/deployments/{id}/stop",
}

# Endpoints with tests of their own: they need somebody to deliver to, or an Internet to look at.
OF_OTHER_TESTS = re.compile(r"/(webhooks|events)(/|$)|/diagnose$")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("form", "nodes", "database"),
    [
        (miosa.Miosa, 1, "sqlite"),
        (miosa.AsyncMiosa, 1, "sqlite"),
        (miosa.AsyncMiosa, 2, "sqlite"),
        (miosa.Miosa, 2, "postgresql"),
    ],
    ids=["sync", "async", "two processes on one SQLite file", "two processes on PostgreSQL"],
)
async def test_every_method(
    request: pytest.FixtureRequest,
    form: type[miosa.Miosa | miosa.AsyncMiosa],
    nodes: int,
    database: str,
    tmp_path: Path,
) -> None:
    """One customer's story, from the first workspace to the last deletion."""
    async with AsyncExitStack() as stack:
        dns = await stack.enter_async_context(NameServer())
        settings = {"dns_servers": dns.server, "rates__workspace": 10_000}
        router: Router | Pair
        if nodes == 1:
            router = Router(tmp_path, **settings)
            await asyncio.to_thread(stack.enter_context, router)
        else:
            url = None
            if database == "postgresql":
                server: Postgres = request.getfixturevalue("postgres")
                url = await server.create()
                stack.push_async_callback(server.drop, url)
            router = await stack.enter_async_context(Pair(tmp_path, url, **settings))
        customer = await asyncio.to_thread(Customer, router, dns, form)
        client = customer.client
        workspace = await in_workspaces(customer)
        project = await in_projects(customer, workspace)
        await in_tenant(customer)
        async with program("one") as one, program("two") as two:
            sandbox = await in_sandboxes(customer, project, one)
            await in_preview_domains(customer, sandbox)
            await in_computers(customer, workspace, one)
            deployment = await in_deployments(customer, workspace, sandbox, one, two)
            await in_domains(customer, deployment)
            await at_the_end(customer, deployment, sandbox, project, workspace)
        await in_keys(customer)
        documented = await asyncio.to_thread(endpoints, router)
        unused = endpoints_not_called(documented, router.output)
        await eventually(
            lambda: endpoints_not_called(documented, router.output) == NOT_IN_CLIENT,
            f"all were called but {sorted(unused ^ NOT_IN_CLIENT)}",
        )
        await customer.ask(client.close)
    for kind, beside in NOT_OURS.items():
        methods = {name for name, member in vars(kind).items() if name[0] != "_" and callable(member)}
        called = {name.partition(".")[2] for name in customer.called if name.partition(".")[0] == kind.__name__}
        navigating = methods & {"versions", "releases", "domains"} if kind is Deployments else set()
        assert methods - beside - navigating == called & methods, kind


async def in_workspaces(customer: Customer) -> Any:
    """Create, resolve, refuse twins, read, change, limit."""
    ask, workspaces = customer.ask, customer.client.workspaces
    workspace = await ask(workspaces.create, "Dr. Smith Clinic", external_workspace_id="clinic_123", metadata={"a": 1})
    again = await ask(workspaces.create, "Another name", external_workspace_id="clinic_123")
    assert (again.id, again.reused, workspace.reused) == (workspace.id, True, None)
    twin = await customer.refused(customer.workspaces.create, "Dr. Smith Clinic")
    assert isinstance(twin, errors.WorkspaceNameExistsError)
    second = await ask(customer.workspaces.create, "Dr. Smith Clinic", slug="second", allow_duplicate_name=True)
    assert second.slug == "second"
    assert {one.slug for one in await ask(customer.workspaces.list)} == {"default", "dr-smith-clinic", "second"}
    assert {one.id for one in await ask(workspaces.list)} >= {workspace.id, second.id}
    assert (await ask(workspaces.get, workspace.id)).metadata == {"a": 1}
    assert (await ask(customer.workspaces.get, workspace.id)).slug == "dr-smith-clinic"
    assert (await ask(customer.workspaces.update, second.id, name="Second")).name == "Second"
    assert (await ask(workspaces.update, second.id, description="The other one")).description == "The other one"
    await ask(customer.workspaces.delete, second.id)
    assert isinstance(await customer.refused(workspaces.get, second.id), errors.NotFoundError)
    return workspace


async def in_projects(customer: Customer, workspace: Any) -> dict[str, Any]:
    """Create, read, change, move, delete."""
    ask, projects = customer.ask, customer.client.projects
    project: dict[str, Any] = await ask(projects.create, "Lead Magnet", workspace_id=workspace.id)
    assert (project["slug"], project["external_workspace_id"]) == ("lead-magnet", "clinic_123")
    by_slug = await ask(projects.create, "Old", workspace_slug="dr-smith-clinic")
    assert (await ask(projects.get, by_slug["id"]))["workspace_id"] == workspace.id
    elsewhere = await ask(customer.client.workspaces.create, "Elsewhere")
    assert (await ask(projects.move, by_slug["id"], elsewhere.id))["workspace_id"] == elsewhere.id
    assert (await ask(projects.update, by_slug["id"], name="New"))["name"] == "New"
    listed = await ask(projects.list, workspace_id=workspace.id)
    assert project["id"] in {one["id"] for one in listed}
    assert by_slug["id"] not in {one["id"] for one in listed}
    assert [one["id"] for one in await ask(customer.workspaces.list_projects, elsewhere.id)][:1] == [by_slug["id"]]
    busy = await customer.refused(customer.client.workspaces.delete, elsewhere.id)
    assert (busy.status_code, "workspace has projects" in str(busy)) == (409, True)
    await ask(projects.delete, by_slug["id"])
    assert isinstance(await customer.refused(projects.get, by_slug["id"]), errors.NotFoundError)
    await ask(customer.client.workspaces.delete, elsewhere.id)
    return project


async def in_tenant(customer: Customer) -> None:
    """The plan, and marks."""
    ask, tenant = customer.ask, customer.client.tenant
    assert (await ask(tenant.current))["tenant_id"] == customer.tenant_id
    assert (await ask(tenant.branding.set, {"product_name": "ClinicIQ"}))["product_name"] == "ClinicIQ"
    assert (await ask(tenant.branding.get))["product_name"] == "ClinicIQ"
    await ask(tenant.branding.delete)
    assert (await ask(tenant.branding.get))["product_name"] is None


async def in_sandboxes(customer: Customer, project: dict[str, Any], one: Backend) -> Any:
    """Create, boot, expose, preview; each URL answers when it is known."""
    ask, sandboxes = customer.ask, customer.client.sandboxes
    sandbox = await ask(
        sandboxes.create, name="smile-dental", project_id=project["id"], external_user_id="dr-smith-456", tags=["demo"]
    )
    assert (sandbox.project_id, sandbox.external_workspace_id) == (project["id"], "clinic_123")
    customer.boot(sandbox.id, one, 3000, 5173)
    assert (await ask(sandbox.refresh)).state == "running"
    for found in (
        await ask(sandboxes.get, sandbox.id),
        await ask(sandboxes.connect, sandbox.id),
        await ask(sandboxes.get_by_name, "smile-dental"),
        await ask(sandboxes.get_or_create, "smile-dental"),
        *await ask(sandboxes.list, state="running", tags=["demo"], external_user_id="dr-smith-456"),
        *await ask(customer.workspaces.list_sandboxes, sandbox.workspace_id),
    ):
        assert (found["id"] if isinstance(found, dict) else found.id) == sandbox.id
    assert (await ask(sandbox.update, metadata={"step": 1})).metadata == {"step": 1}
    host = f"5173-{sandbox.slug}.sandbox.{PLATFORM_DOMAIN}"
    assert await customer.visit(host) == (404, "host_not_found")
    url = await ask(sandbox.expose, 5173)
    assert url == f"https://{host}"
    assert await customer.visit(url) == (200, "one")
    info = await ask(sandbox.expose_info, 5173)
    assert (info.url, info.stable_for_embedding) == (url, True)
    assert await ask(sandbox.get_host, 5173) == host
    assert await ask(sandbox.get_url, 5173, "/up") == f"{url}/up"
    preview = await ask(sandbox.previews.create, port=3000, name="Web")
    assert await customer.visit(preview["url"]) == (200, "one")
    assert (await ask(sandbox.previews.get, preview["id"]))["name"] == "Web"
    assert {each["port"] for each in await ask(sandbox.previews.list)} == {3000, 5173}
    await in_private(customer, sandbox, preview)
    await ask(sandbox.previews.delete, preview["id"])
    assert await customer.visit(preview["url"]) == (404, "host_not_found")
    other = await ask(sandboxes.create, slug="short-lived")
    await ask(sandboxes.delete, other.id)
    assert await customer.visit(f"short-lived.sandbox.{PLATFORM_DOMAIN}") == (410, "resource_deleted")
    return sandbox


async def in_private(customer: Customer, sandbox: Any, preview: dict[str, Any]) -> None:
    """Close a preview to strangers, share it in three ways, and take each back; strangers hear of each at once."""
    ask, url = customer.ask, preview["url"]
    await ask(sandbox.previews.create, port=3000, visibility="private")
    assert await customer.visit(url) == (401, "token_missing")
    shared = await ask(sandbox.previews.share, preview["id"], ttl_seconds=60)
    link = await ask(sandbox.share.create, expires_in=3600)
    minted = await ask(sandbox.preview_token)
    tokens = [shared["preview_token"], link["share_url"].rpartition("=")[2], minted["token"]]
    for token in tokens:
        assert await customer.visit(url, f"/?X-Miosa-Preview-Token={token}") == (200, "one")
    await ask(sandbox.previews.revoke_share, preview["id"])
    for one in await ask(sandbox.share.list):
        await ask(sandbox.share.revoke, one["share_id"])
    for token in tokens:
        assert await customer.visit(url, f"/?X-Miosa-Preview-Token={token}") == (403, "token_revoked")
    await ask(sandbox.previews.create, port=3000, visibility="public")
    assert await customer.visit(url) == (200, "one")


async def in_preview_domains(customer: Customer, sandbox: Any) -> None:
    """Set, wait for DNS, verify, and clear: the URLs follow, and the platform's go on answering."""
    ask, zone = customer.ask, customer.client.tenant.preview_domain
    assert (await ask(zone.get))["effective_domain"] == PLATFORM_DOMAIN
    shown = await ask(zone.set, "preview.cliniciq.dev")
    assert (shown["status"], shown["cname_target"]) == ("pending_dns", "proxy.miosa.ai")
    url = await ask(sandbox.expose, 5173)
    assert url == f"https://5173-{sandbox.slug}.sandbox.preview.cliniciq.dev"
    assert (await ask(zone.verify))["verified"] is False
    assert await customer.visit(url) == (404, "host_not_found")
    for name in ("*.preview.cliniciq.dev", "*.sandbox.preview.cliniciq.dev"):
        customer.dns.put(name, RecordType.CNAME, "proxy.miosa.ai")
    assert (await ask(zone.verify))["verified"] is True
    assert await customer.visit(url) == (200, "one")
    await ask(zone.delete)
    assert await customer.visit(url) == (404, "host_not_found")
    fallback = await ask(sandbox.expose, 5173)
    assert await customer.visit(fallback) == (200, "one")


async def in_computers(customer: Customer, workspace: Any, one: Backend) -> None:
    """Create, limit, open ports, name, move, delete."""
    ask, computers = customer.ask, customer.client.computers
    settings = f"/workspaces/{workspace.id}/settings"  # for which the client has no method of its own
    await ask(customer.client._transport.request, "PUT", settings, json_body={"max_computers": 1})
    computer = await ask(computers.create, "desk", workspace_id=workspace.id, size="medium")
    over = await customer.refused(computers.create, "one too many", workspace_id=workspace.id)
    assert isinstance(over, errors.ValidationError)
    customer.boot(computer.id, one, 3000, 8000)
    assert (await ask(computers.get, computer.id)).status == "running"
    assert (await ask(computers.update, computer.id, name="desk 2")).name == "desk 2"
    assert (await ask(computer.refresh)).name == "desk 2"
    for listed in (
        await ask(computers.list, workspace_id=workspace.id),
        await ask(customer.workspaces.list_computers, workspace.id),
    ):
        assert [each.id for each in listed] == [computer.id]
    port = await ask(computer.ports.create, 8000)
    assert await customer.visit(port["url"]) == (200, "one")
    assert (await ask(computer.ports.update, 8000, name="Admin"))["name"] == "Admin"
    assert (await ask(computer.ports.get, 8000))["name"] == "Admin"
    assert [each["port"] for each in await ask(computer.ports.list)] == [8000]
    await ask(computer.ports.delete, 8000)
    assert await customer.visit(port["url"]) == (404, "host_not_found")

    domain = await ask(computer.domains.register, "desk.drsmithclinic.com")
    assert (domain.status, domain.verification_target) == ("pending", "verify.miosa.ai")
    missing = await customer.refused(computer.domains.verify, domain.id)
    assert (missing.status_code, "CNAME not found" in str(missing)) == (422, True)
    customer.dns.put("desk.drsmithclinic.com", RecordType.CNAME, "verify.miosa.ai")
    assert (await ask(computer.domains.verify, domain.id)).status == "verified"
    assert await customer.visit("desk.drsmithclinic.com") == (404, "host_not_found")
    await ask(computer.ports.create, 3000)
    assert await customer.visit("desk.drsmithclinic.com") == (200, "one")
    assert [each.fqdn for each in await ask(computer.domains.list)] == ["desk.drsmithclinic.com"]
    await ask(computer.domains.delete, domain.id)
    assert await customer.visit("desk.drsmithclinic.com") == (404, "host_not_found")

    stats = await ask(customer.workspaces.get_stats, workspace.id)
    assert (stats["computers"]["total"], stats["settings"]["max_computers"]) == (1, 1)
    assert (await ask(customer.workspaces.get_usage, workspace.id))["window"] == "24h"
    elsewhere = await ask(customer.client.workspaces.create, "Elsewhere")
    await ask(computer.move, workspace_id=elsewhere.id)
    assert (await ask(computers.get, computer.id)).data.workspace_id == elsewhere.id
    await ask(computers.delete, computer.id)
    assert await customer.visit(f"{computer.slug}.sandbox.{PLATFORM_DOMAIN}") == (410, "resource_deleted")
    gone = await ask(computers.create, "brief")
    await ask(gone.destroy)


async def in_deployments(customer: Customer, workspace: Any, sandbox: Any, one: Backend, two: Backend) -> Any:
    """Publish, publish again, keep one back, promote, roll back; visitors see each switch."""
    ask, deployments = customer.ask, customer.client.deployments
    deployment = await ask(deployments.create, name="Smile Dental", external_workspace_id="clinic_123")
    assert (deployment.workspace_id, deployment.state) == (workspace.id, "pending")
    assert await customer.visit(deployment.public_url) == (404, "host_not_found")
    first = await ask(deployments.publish, deployment.id, source_sandbox_id=sandbox.id)
    assert (first.promoted, first.version.version_number) == (True, 1)
    assert await customer.visit(deployment.public_url) == (200, "one")
    redesign = await ask(customer.client.sandboxes.create, name="redesign", project_id=sandbox.project_id)
    customer.boot(redesign.id, two, 3000)
    held = await ask(deployments.publish, deployment.id, source_sandbox_id=redesign.id, promote=False)
    assert (held.promoted, held.version.state) == (False, "ready")
    assert await customer.visit(deployment.public_url) == (200, "one")

    versions, releases = deployments.versions(deployment.id), deployments.releases(deployment.id)
    assert [each.version_number for each in await ask(versions.list, state="ready")] == [2, 1]
    assert (await ask(versions.get, held.version.id)).state == "ready"
    live = await ask(versions.promote, held.version.id)
    assert live.active_version_id == held.version.id
    assert await customer.visit(deployment.public_url) == (200, "two")
    back = await ask(deployments.rollback, deployment.id)
    assert back.active_version_id == first.version.id
    assert await customer.visit(deployment.public_url) == (200, "one")
    made = await ask(releases.list)
    assert [each.deployment_version_id for each in made] == [
        first.version.id,
        held.version.id,
        first.version.id,
    ]
    assert (await ask(releases.get, made[1].id)).version_number == 2
    assert (await ask(releases.promote, made[1].id)).active_version_id == held.version.id
    assert await customer.visit(deployment.public_url) == (200, "two")
    builds = await ask(deployments.list_builds, deployment.id)
    assert [build.state for build in builds] == ["succeeded", "succeeded"]
    assert (await ask(deployments.get_build, deployment.id, builds[0].id)).id == builds[0].id

    assert (await ask(deployments.set_env, deployment.id, {"API_BASE": "https://api.cliniciq.dev"}))[0]["key"]
    assert [each["key"] for each in await ask(deployments.list_env, deployment.id)] == ["API_BASE"]
    assert (await ask(deployments.update, deployment.id, branch="trunk")).branch == "trunk"
    assert (await ask(deployments.get, deployment.id)).branch == "trunk"
    assert (await ask(deployments.prove, deployment.id))["ok"] is True
    assert deployment.id in {each.id for each in await ask(deployments.list, external_workspace_id="clinic_123")}
    assert [each["id"] for each in await ask(customer.workspaces.list_deployments, workspace.id)] == [deployment.id]
    bridged = await ask(deployments.publish_from_sandbox, sandbox.id, name="Bridge")
    assert await customer.visit(bridged["url"]) == (200, "one")
    assert (await ask(sandbox.deploy, deployment_id=bridged["deployment_id"]))["version"]["version_number"] == 2
    await ask(deployments.delete, bridged["deployment_id"])
    assert await customer.visit(bridged["url"]) == (410, "resource_deleted")
    appliance = await ask(deployments.create_docker_deploy, name="Appliance")
    assert appliance.metadata == {"deployment_product": "docker_deploy"}
    await ask(deployments.delete, appliance.id)
    await in_traffic(customer, deployment, [first.version.id, held.version.id])
    return deployment


async def in_traffic(customer: Customer, deployment: Any, versions: list[str]) -> None:
    """The visits above, as the edge has seen them: which version answered each, and what they add up to."""
    ask, deployments = customer.ask, customer.client.deployments
    first, second = versions

    async def seen() -> list[str]:
        page = await ask(deployments.request_logs, deployment.id, status="200")
        return [one["version_id"] for one in reversed(page["items"])]

    async with asyncio.timeout(30):
        while len(await seen()) < 5:
            await asyncio.sleep(0.2)
    assert await seen() == [first, first, second, first, second]
    async with asyncio.timeout(30):
        while (await ask(deployments.observability, deployment.id))["requests"] < 5:
            await asyncio.sleep(0.2)
    (route,) = (await ask(deployments.routes, deployment.id))["routes"]
    assert (route["route"], route["requests"] >= 5, route["errors"]) == ("GET /", True, 0)
    assert " 200 -- GET " in (await ask(deployments.get_logs, deployment.id, lines=1))["lines"][0]


async def in_domains(customer: Customer, deployment: Any) -> None:
    """A deployment's domains, by its own path and by the flat one."""
    ask, domains, flat = (
        customer.ask,
        customer.client.deployments.domains(deployment.id),
        customer.client.custom_domains,
    )
    www = await ask(domains.add, "www.drsmithclinic.com", redirect_policy="www_to_apex")
    customer.dns.put("www.drsmithclinic.com", RecordType.CNAME, "verify.miosa.ai")
    assert (await ask(domains.verify, www["id"]))["status"] == "verified"
    assert await customer.visit("www.drsmithclinic.com", "/a?b=c") == (308, "https://drsmithclinic.com/a?b=c")
    taken = await customer.refused(flat.create, domain="www.drsmithclinic.com", deployment_id=deployment.id)
    assert (taken.status_code, "has already been taken" in str(taken)) == (409, True)
    program = await ask(flat.create, domain="program.drsmithclinic.com", deployment_id=deployment.id)
    customer.dns.put("program.drsmithclinic.com", RecordType.CNAME, "proxy.miosa.ai")
    await ask(domains.verify, program["id"])
    assert await customer.visit("program.drsmithclinic.com") == (200, "two")
    for listed in (await ask(domains.list), await ask(flat.list, deployment_id=deployment.id)):
        assert {each["fqdn"] for each in listed} == {"www.drsmithclinic.com", "program.drsmithclinic.com"}
    await ask(flat.delete, program["id"])
    assert await customer.visit("program.drsmithclinic.com") == (404, "host_not_found")
    await ask(domains.delete, www["id"])
    assert await customer.visit("www.drsmithclinic.com") == (404, "host_not_found")


async def at_the_end(
    customer: Customer, deployment: Any, sandbox: Any, project: dict[str, Any], workspace: Any
) -> None:
    """Everything goes, from the inside out, and nothing before what is in it."""
    ask, client = customer.ask, customer.client
    busy = await customer.refused(client.projects.delete, project["id"])
    assert (busy.status_code, "project has sandboxes" in str(busy)) == (409, True)
    for each in await ask(client.sandboxes.list):
        if each.id != sandbox.id:
            await ask(each.destroy)
    await ask(client.deployments.delete, deployment.id)
    assert await customer.visit(deployment.public_url) == (410, "resource_deleted")
    await ask(sandbox.destroy)
    assert sandbox.state == "destroyed"
    await ask(client.projects.delete, project["id"])
    await ask(client.workspaces.delete, workspace.id)
    assert isinstance(await customer.refused(client.workspaces.get, workspace.id), errors.NotFoundError)


async def in_keys(customer: Customer) -> None:
    """A key that was made with the client opens the API until it is revoked, and not a moment longer."""
    ask, keys = customer.ask, customer.client.api_keys
    made = await ask(keys.create, name=f"CI {uuid.uuid4()}")
    other = customer.connect(made["key"])
    assert await ask(other.workspaces.list)
    assert made["id"] in {each["id"] for each in await ask(keys.list)}
    assert "key" not in await ask(keys.get, made["id"])
    await ask(keys.delete, made["id"])
    assert isinstance(await customer.refused(other.workspaces.list), errors.AuthenticationError)
    await ask(other.close)


def endpoints(router: Router | Pair) -> Mapping[str, Iterable[str]]:
    """The paths of the document, and the methods of each."""
    with urllib.request.urlopen(f"http://127.0.0.1:{router.api_port}/openapi.json", timeout=10) as answer:
        paths: Mapping[str, Iterable[str]] = json.load(answer)["paths"]
        return paths


def endpoints_not_called(paths: Mapping[str, Iterable[str]], log: str) -> set[str]:
    """Those of the document that the router's log has no successful request for."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    served = {(line["method"], line["path"]) for line in lines if line.get("status", 500) < 300 and "path" in line}
    missing = set()
    for template, methods in paths.items():
        if not template.startswith("/api/") or OF_OTHER_TESTS.search(template):
            continue
        path = re.compile(re.sub(r"\{\w+\}", "[^/]+", template))
        for method in methods:
            if not any(method.upper() == used and path.fullmatch(at) for used, at in served):
                missing.add(f"{method.upper()} {template}")
    return missing
