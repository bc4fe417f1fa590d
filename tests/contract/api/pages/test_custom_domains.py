"""The page of custom domains and preview domains: each of its examples, in its order."""

import json

import pytest
import pytest_asyncio

from router.api.operations import Operation
from router.base.clock import ManualClock
from router.domains.lookup import RecordType
from router.node.services import Services
from router.routes.records import Kind
from router.tenancy.ownership import Ownership
from router.tenancy.resources import Resource
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.checks import verify_custom
from tests.support.memory_dns import MemoryLookup
from tests.support.page import Page, refuses, shows

pytestmark = pytest.mark.asyncio

RECORD = """
{
    "id": "550e8400-e29b-41d4-a716-446655440000",
    "computer_id": "...",
    "deployment_id": null,
    "tenant_id": "...",
    "workspace_id": "660e8400-e29b-41d4-a716-446655440001",
    "project_id": "770e8400-e29b-41d4-a716-446655440002",
    "fqdn": "app.yourcompany.com",
    "status": "pending",
    "verification_target": "verify.miosa.ai",
    "verified_at": null,
    "tls_issued_at": null,
    "external_workspace_id": "clinic_123",
    "external_user_id": "dr-smith-456",
    "external_project_id": "project_789",
    "created_at": "2026-04-11T00:00:00Z",
    "updated_at": "2026-04-11T00:00:00Z"
  }
"""

REGISTER = """curl -X POST https://api.miosa.ai/api/v1/computers/{id}/domains
  -H "Authorization: Bearer $MIOSA_API_KEY"
  -H "Content-Type: application/json"
  -d '{"domain": "app.yourcompany.com"}'"""
VERIFY = """curl -X POST https://api.miosa.ai/api/v1/computers/{id}/domains/{domain_id}/verify
  -H "Authorization: Bearer $MIOSA_API_KEY" """


async def holder(services: Services, acme: Account, kind: Kind) -> Resource:
    """What is attributed as the page's record is."""
    into = Ownership(
        project_id=acme.project.id,
        external_workspace_id="clinic_123",
        external_user_id="dr-smith-456",
        external_project_id="project_789",
    )
    return await services.resources.create(kind, acme.tenant.id, ownership=into)


@pytest_asyncio.fixture
async def computer(services: Services, acme: Account) -> Resource:
    return await holder(services, acme, Kind.COMPUTER)


@pytest_asyncio.fixture
async def deployment(services: Services, acme: Account) -> Resource:
    return await holder(services, acme, Kind.DEPLOYMENT)


@pytest.fixture
def page(api: ApiClient, computer: Resource) -> Page:
    page = Page(api)
    page.places["id"] = computer.id
    return page


async def register(page: Page) -> str:
    """Register the page's domain; its id."""
    answer = await page.curl(REGISTER)
    page.places["domain_id"] = shows(answer, 201, f'{{"data": {RECORD}}}')["data"]["id"]
    return page.places["domain_id"]


async def test_endpoints(table: list[Operation]) -> None:
    """Each row of the page's tables is served."""
    listed = """
POST | /computers/{id}/domains
GET | /computers/{id}/domains
POST | /computers/{id}/domains/{domain_id}/verify
DELETE | /computers/{id}/domains/{domain_id}
POST | /deployments/{id}/domains
GET | /deployments/{id}/domains
GET | /custom-domains
POST | /custom-domains
DELETE | /custom-domains/{id}
GET | /tenant/preview-domain
PUT | /tenant/preview-domain
DELETE | /tenant/preview-domain
GET | /tenant/preview-domain/verify
GET | /workspaces/{id}/preview-domain
PUT | /workspaces/{id}/preview-domain
DELETE | /workspaces/{id}/preview-domain
GET | /workspaces/{id}/preview-domain/verify
GET | /projects/{id}/preview-domain
PUT | /projects/{id}/preview-domain
DELETE | /projects/{id}/preview-domain
GET | /projects/{id}/preview-domain/verify
"""
    served = {f"{row.method} | {row.path.removeprefix('/api/v1')}" for row in table}
    assert set(listed.strip().splitlines()) <= served


async def test_quick_start(page: Page, dns: MemoryLookup, computer: Resource, acme: Account) -> None:
    """Register, add the record, verify."""
    answer = await page.curl(REGISTER)
    shown = shows(answer, 201, f'{{"data": {RECORD}}}')["data"]
    assert (shown["computer_id"], shown["tenant_id"]) == (computer.id, acme.tenant.id)
    assert (shown["workspace_id"], shown["project_id"]) == (acme.workspace.id, acme.project.id)
    dns.put("app.yourcompany.com", RecordType.CNAME, shown["verification_target"])
    assert (await page.curl(VERIFY, domain_id=shown["id"])).json["data"]["status"] == "verified"


async def test_flat_endpoints(api: ApiClient, computer: Resource, deployment: Resource) -> None:
    """Register with `computer_id` or `deployment_id`, list by either, remove."""
    for field, held in (("computer_id", computer), ("deployment_id", deployment)):
        body = {"domain": f"{held.kind}.yourcompany.com", field: held.id}
        made = await api("POST", "/api/v1/custom-domains", json=body)
        assert (made.status, made.json["data"][field]) == (201, held.id)
        found = await api("GET", f"/api/v1/custom-domains?{field}={held.id}")
        assert [one["fqdn"] for one in found.json["data"]] == [body["domain"]]
        gone = await api("DELETE", f"/api/v1/custom-domains/{made.json['data']['id']}")
        assert (gone.status, gone.json["data"]["status"]) == (200, "removed")


async def test_tenant_preview_domain(page: Page, services: Services, acme: Account) -> None:
    """An exposed port's URL is on the organization's domain."""
    set_answer = await page.curl("""curl -X PUT https://api.miosa.ai/api/v1/tenant/preview-domain
  -H "Authorization: Bearer $MIOSA_API_KEY"
  -H "Content-Type: application/json"
  -d '{"preview_domain":"preview.yourcompany.com"}'""")
    assert set_answer.status == 200
    sandbox = await services.resources.create(Kind.SANDBOX, acme.tenant.id, slug="sbx01j9x")
    expose = """curl -X POST https://api.miosa.ai/api/v1/sandboxes/{id}/expose
  -H "Authorization: Bearer $MIOSA_API_KEY"
  -H "Content-Type: application/json"
  -d '{"port":5173}'"""
    shown = shows(
        await page.curl(expose, id=sandbox.id),
        200,
        """
{
  "url": "https://5173-sbx01j9x.sandbox.preview.yourcompany.com"
}
""",
    )
    assert shown["fallback_url"] == "https://5173-sbx01j9x.sandbox.miosa.app"


async def test_precedence(page: Page, services: Services, acme: Account) -> None:
    """Project, then workspace, then tenant, then the fallback; each needs the two wildcard records."""
    sandbox = await services.resources.create(
        Kind.SANDBOX, acme.tenant.id, slug="sbx01j9x", ownership=Ownership(project_id=acme.project.id)
    )
    page.places |= {"WORKSPACE_ID": acme.workspace.id, "PROJECT_ID": acme.project.id, "id": sandbox.id}
    requests = [
        """curl -X PUT https://api.miosa.ai/api/v1/tenant/preview-domain
  -H "Authorization: Bearer $MIOSA_API_KEY"
  -H "Content-Type: application/json"
  -d '{"preview_domain":"preview.yourcompany.com"}'""",
        """curl -X PUT https://api.miosa.ai/api/v1/workspaces/$WORKSPACE_ID/preview-domain
  -H "Authorization: Bearer $MIOSA_API_KEY"
  -H "Content-Type: application/json"
  -d '{"preview_domain":"drsmithclinic.com"}'""",
        """curl -X PUT https://api.miosa.ai/api/v1/projects/$PROJECT_ID/preview-domain
  -H "Authorization: Bearer $MIOSA_API_KEY"
  -H "Content-Type: application/json"
  -d '{"preview_domain":"program.drsmithclinic.com"}'""",
    ]
    expose = """curl -X POST https://api.miosa.ai/api/v1/sandboxes/{id}/expose
  -H "Authorization: Bearer $MIOSA_API_KEY"
  -H "Content-Type: application/json"
  -d '{"port":5173}'"""
    domains = ["miosa.app", "preview.yourcompany.com", "drsmithclinic.com", "program.drsmithclinic.com"]
    assert (await page.curl(expose)).json["url"] == f"https://5173-sbx01j9x.sandbox.{domains[0]}"
    for request, domain in zip(requests, domains[1:], strict=True):
        shown = (await page.curl(request)).json
        records = [(record["type"], record["name"], record["value"]) for record in shown["records"]]
        assert records == [("CNAME", "*", "proxy.miosa.ai"), ("CNAME", "*.sandbox", "proxy.miosa.ai")]
        assert (await page.curl(expose)).json["url"] == f"https://5173-sbx01j9x.sandbox.{domain}"
    for request, domain in zip(reversed(requests), reversed(domains[:-1]), strict=True):
        await page.curl(request.replace("PUT", "DELETE").partition("  -d")[0])
        assert (await page.curl(expose)).json["url"] == f"https://5173-sbx01j9x.sandbox.{domain}"


@pytest.mark.parametrize(
    ("domain", "status", "words"),
    [
        ("app.yourcompany.com", 409, "has already been taken"),
        ("not a name", 422, "VALIDATION_FAILED"),
        ("a" * 64 + ".com", 422, "VALIDATION_FAILED"),
        ("a." * 130 + "com", 422, "VALIDATION_FAILED"),
        ("app.miosa.ai", 422, "VALIDATION_FAILED"),
    ],
)
async def test_errors_of_register(page: Page, api: ApiClient, domain: str, status: int, words: str) -> None:
    """Each row of the page's table of errors."""
    await register(page)
    path = f"/api/v1/computers/{page.places['id']}/domains"
    refuses(await api("POST", path, json={"domain": domain}), status, words)


async def test_register_another(page: Page) -> None:
    """The request below the table of errors."""
    answer = await page.curl("""curl -X POST https://api.miosa.ai/api/v1/computers/{id}/domains
  -H "Authorization: Bearer $MIOSA_API_KEY"
  -H "Content-Type: application/json"
  -d '{"domain": "preview.yourapp.io"}'""")
    assert (answer.status, answer.json["data"]["fqdn"]) == (201, "preview.yourapp.io")


async def test_register_for_a_deployment(page: Page, deployment: Resource) -> None:
    """It inherits workspace, project and attribution from the deployment."""
    line = """curl -X POST https://api.miosa.ai/api/v1/deployments/{id}/domains
  -H "Authorization: Bearer $MIOSA_API_KEY"
  -H "Content-Type: application/json"
  -d '{"domain": "program.drsmithclinic.com"}'"""
    example = json.loads(RECORD) | {
        "fqdn": "program.drsmithclinic.com",
        "computer_id": None,
        "deployment_id": "550e8400-e29b-41d4-a716-446655440000",
    }
    shown = shows(await page.curl(line, id=deployment.id), 201, json.dumps({"data": example}))["data"]
    owners = (shown["deployment_id"], shown["workspace_id"], shown["project_id"])
    assert owners == (deployment.id, deployment.workspace_id, deployment.project_id)


async def test_list(page: Page, services: Services) -> None:
    """A domain whose certificate is in use, with `total` beside the list and nothing else."""
    domain_id = await register(page)
    await verify_custom(services, domain_id)
    await services.custom_domains.mark_active(domain_id)
    answer = await page.curl("""curl https://api.miosa.ai/api/v1/computers/{id}/domains
  -H "Authorization: Bearer $MIOSA_API_KEY" """)
    listed = shows(
        answer,
        200,
        """
{
  "data": [
    {
      "id": "...",
      "fqdn": "app.yourcompany.com",
      "status": "active",
      "verified_at": "2026-04-11T01:00:00Z",
      "tls_issued_at": "2026-04-11T01:05:00Z",
      "created_at": "2026-04-11T00:00:00Z"
    }
  ],
  "total": 1
}
""",
    )
    assert set(listed) == {"data", "total"}


async def test_verify(page: Page, dns: MemoryLookup, clock: ManualClock) -> None:
    """422 until the record is there, then the domain is verified, and 409 from then on."""
    await register(page)
    refuses(await page.curl(VERIFY), 422, "CNAME not found")
    dns.put("app.yourcompany.com", RecordType.CNAME, "verify.miosa.ai")
    clock.advance(10)
    shows(
        await page.curl(VERIFY),
        200,
        """
{
  "data": {
    "id": "...",
    "fqdn": "app.yourcompany.com",
    "status": "verified",
    "verified_at": "2026-04-11T01:00:00Z"
  }
}
""",
    )
    refuses(await page.curl(VERIFY), 409, "domain is already verified")


async def test_remove(page: Page) -> None:
    """It is removed, and its name is free again."""
    await register(page)
    answer = await page.curl("""curl -X DELETE https://api.miosa.ai/api/v1/computers/{id}/domains/{domain_id}
  -H "Authorization: Bearer $MIOSA_API_KEY" """)
    shows(
        answer,
        200,
        """
{
  "data": { "id": "...", "fqdn": "app.yourcompany.com", "status": "removed" }
}
""",
    )
    assert await register(page)


async def test_list_what_is_pending(page: Page, api: ApiClient) -> None:
    """The recipe: each computer of the list, each domain of it, those that wait."""
    await register(page)
    pending = {}
    for computer in (await api("GET", "/api/v1/computers")).json["data"]:
        domains = (await api("GET", f"/api/v1/computers/{computer['id']}/domains")).json["data"]
        pending[computer["name"]] = [one["fqdn"] for one in domains if one["status"] == "pending"]
    assert list(pending.values()) == [["app.yourcompany.com"]]
