"""The page of projects: each of its examples, in its order."""

from typing import Any

import pytest
import pytest_asyncio

from router.api.operations import Operation
from router.base.clock import ManualClock
from router.base.ids import new_id
from router.domains.lookup import RecordType
from router.node.services import Services
from router.tenancy.workspaces import Workspace
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.memory_dns import MemoryLookup
from tests.support.page import Page, refuses, shows

pytestmark = pytest.mark.asyncio

PROJECT = """
{
"id": "660e8400-e29b-41d4-a716-446655440001",
"tenant_id": "tnt_abc123",
"workspace_id": "550e8400-e29b-41d4-a716-446655440000",
"external_workspace_id": "clinic_123",
"external_project_id": "project_789",
"name": "Lead Magnet",
"slug": "lead-magnet",
"description": null,
"metadata": {},
"settings": {},
"created_at": "2026-05-18T10:00:00Z",
"updated_at": "2026-05-18T10:00:00Z"
}
"""
VARYING = {"tenant_id"}  # the page's is not a UUID, as the conventions say that ids are

SELECTORS = {
    "workspace_id": "550e8400-e29b-41d4-a716-446655440000",
    "project_id": "660e8400-e29b-41d4-a716-446655440001",
    "external_workspace_id": "clinic_123",
    "external_project_id": "project_789",
}


@pytest_asyncio.fixture
async def clinic(services: Services, acme: Account) -> Workspace:
    """The workspace that the page's requests name."""
    made, _ = await services.workspaces.create(
        acme.tenant.id, name="Dr. Smith Clinic", slug="dr-smith-clinic", external_workspace_id="clinic_123"
    )
    return made


@pytest_asyncio.fixture
async def page(api: ApiClient, clinic: Workspace) -> Page:
    """The page, read as far as its first project."""
    page = Page(api)
    answer = await page.curl("""curl -X POST https://api.miosa.ai/api/v1/projects
-H "Authorization: Bearer $MIOSA_API_KEY"
-H "Content-Type: application/json"
-d '{
"workspace_slug": "dr-smith-clinic",
"name": "Lead Magnet",
"slug": "lead-magnet",
"external_workspace_id": "clinic_123",
"external_project_id": "project_789"
}'""")
    shown = shows(answer, 201, f'{{"data": {PROJECT}}}', varying=VARYING)
    assert shown["data"]["workspace_id"] == clinic.id
    page.places["id"] = shown["data"]["id"]
    return page


async def test_endpoints(table: list[Operation]) -> None:
    """Each row of the page's table is served."""
    listed = """
GET | /projects
POST | /projects
GET | /projects/{id}
PATCH | /projects/{id}
GET | /projects/{id}/preview-domain
PUT | /projects/{id}/preview-domain
DELETE | /projects/{id}/preview-domain
GET | /projects/{id}/preview-domain/verify
GET | /workspaces/{id}/projects
"""
    served = {f"{row.method} | {row.path.removeprefix('/api/v1')}" for row in table}
    assert set(listed.strip().splitlines()) <= served


async def test_list(page: Page, clinic: Workspace) -> None:
    """The projects of one workspace, with `total` beside them and nothing else."""
    line = """curl "https://api.miosa.ai/api/v1/projects?workspace_id=550e8400-e29b-41d4-a716-446655440000"
-H "Authorization: Bearer $MIOSA_API_KEY" """
    answer = await page.curl(line.replace(SELECTORS["workspace_id"], clinic.id))
    listed = shows(answer, 200, f'{{"data": [{PROJECT}], "total": 1}}', varying=VARYING)
    assert set(listed) == {"data", "total"}
    nowhere = await page.curl(line)
    assert (nowhere.status, nowhere.json) == (200, {"data": [], "total": 0})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "Lead Magnet"}, 400, "WORKSPACE_REQUIRED"),
        ({"name": "Lead Magnet", "workspace_id": new_id()}, 404, "WORKSPACE_NOT_FOUND"),
        ({"name": "Lead Magnet", "workspace_slug": "nobody"}, 404, "WORKSPACE_NOT_FOUND"),
        ({"name": "Lead Magnet", "external_workspace_id": "clinic_999"}, 404, "WORKSPACE_NOT_FOUND"),
        ({"name": "", "workspace_slug": "dr-smith-clinic"}, 422, "VALIDATION_FAILED"),
        ({"name": "X", "workspace_slug": "dr-smith-clinic", "slug": "A B"}, 422, "VALIDATION_FAILED"),
        ({"name": "X", "workspace_slug": "dr-smith-clinic", "slug": "lead-magnet"}, 422, "VALIDATION_FAILED"),
        ({"name": "X", "workspace_slug": "dr-smith-clinic", "external_project_id": 5}, 422, "VALIDATION_FAILED"),
    ],
)
async def test_errors_of_create(page: Page, api: ApiClient, body: dict[str, Any], status: int, code: str) -> None:
    """Each row of the page's table of errors."""
    refuses(await api("POST", "/api/v1/projects", json=body), status, code)


async def test_slug_is_derived(page: Page, api: ApiClient, clinic: Workspace) -> None:
    """Without a slug it is made from the name, unlike those that the workspace has."""
    for slug in ("lead-magnet-2", "lead-magnet-3"):
        answer = await api("POST", "/api/v1/projects", json={"workspace_id": clinic.id, "name": "Lead Magnet"})
        assert (answer.status, answer.json["data"]["slug"]) == (201, slug)


async def test_get(page: Page, globex: Account) -> None:
    """The whole project; another organization's is none."""
    line = """curl https://api.miosa.ai/api/v1/projects/{id}
-H "Authorization: Bearer $MIOSA_API_KEY" """
    shows(await page.curl(line), 200, f'{{"data": {PROJECT}}}', varying=VARYING)
    refuses(await page.curl(line, id=globex.project.id), 404, "project_not_found")


async def test_update(page: Page) -> None:
    """The page's request renames it and leaves the rest."""
    answer = await page.curl("""curl -X PATCH https://api.miosa.ai/api/v1/projects/{id}
-H "Authorization: Bearer $MIOSA_API_KEY"
-H "Content-Type: application/json"
-d '{"name": "Summer Lead Magnet"}'""")
    renamed = PROJECT.replace("Lead Magnet", "Summer Lead Magnet")
    shows(answer, 200, f'{{"data": {renamed}}}', varying=VARYING)


@pytest.mark.parametrize("kind", ["sandboxes", "computers", "deployments"])
async def test_ownership_by_ids(page: Page, api: ApiClient, clinic: Workspace, kind: str) -> None:
    """Every create takes the page's four fields."""
    fields = SELECTORS | {"workspace_id": clinic.id, "project_id": page.places["id"]}
    answer = await api("POST", f"/api/v1/{kind}", json={"name": "Another", **fields})
    assert answer.status == 201
    assert {name: answer.json["data"][name] for name in fields} == fields


@pytest.mark.parametrize("kind", ["sandboxes", "computers", "deployments"])
async def test_ownership_by_slugs(api: ApiClient, kind: str) -> None:
    """Or slugs instead, of what does not exist yet: it is made with the names beside them, once."""
    fields = {
        "workspace_slug": "dr-smith-clinic",
        "workspace_name": "Dr. Smith Clinic",
        "project_slug": "lead-magnet",
        "project_name": "Lead Magnet",
    }
    made = [(await api("POST", f"/api/v1/{kind}", json={"name": "Another", **fields})).json["data"] for _ in range(2)]
    assert [{name: one[name] for name in fields} for one in made] == [fields, fields]
    assert made[0]["project_id"] == made[1]["project_id"]


async def test_derived_records_inherit(page: Page, api: ApiClient) -> None:
    """A preview and a domain are attributed like the sandbox and the computer that they are of."""
    attributed = {"external_workspace_id": "clinic_123", "external_project_id": "project_789"}
    for kind, derived, body in (
        ("sandboxes", "previews", {"port": 3000}),
        ("computers", "domains", {"domain": "app.yourcompany.com"}),
    ):
        owner = await api("POST", f"/api/v1/{kind}", json={"project_id": page.places["id"]})
        answer = await api("POST", f"/api/v1/{kind}/{owner.json['data']['id']}/{derived}", json=body)
        assert answer.status == 201
        assert answer.json["data"] | attributed == answer.json["data"]


async def test_preview_domain(page: Page, dns: MemoryLookup, clock: ManualClock) -> None:
    """Set, the records that it needs, verify, and clear to inherit again."""
    answer = await page.curl("""curl -X PUT https://api.miosa.ai/api/v1/projects/{id}/preview-domain
-H "Authorization: Bearer $MIOSA_API_KEY"
-H "Content-Type: application/json"
-d '{"preview_domain":"program.drsmithclinic.com"}'""")
    shown = shows(
        answer,
        200,
        """
{
"scope": "project",
"id": "660e8400-e29b-41d4-a716-446655440001",
"preview_domain": "program.drsmithclinic.com",
"effective_domain": "program.drsmithclinic.com",
"status": "pending_dns",
"dns_status": "pending",
"url_examples": {
"default_preview": "https://<slug>.program.drsmithclinic.com",
"port_preview": "https://3000-<slug>.sandbox.program.drsmithclinic.com",
"deployment": "https://<deployment-slug>.program.drsmithclinic.com"
}
}
""",
    )
    assert shown["id"] == page.places["id"]
    records = [(record["type"], record["name"], record["value"]) for record in shown["records"]]
    assert records == [("CNAME", "*", "proxy.miosa.ai"), ("CNAME", "*.sandbox", "proxy.miosa.ai")]
    verify = """curl https://api.miosa.ai/api/v1/projects/{id}/preview-domain/verify
-H "Authorization: Bearer $MIOSA_API_KEY" """
    assert (await page.curl(verify)).json["status"] == "pending_dns"
    for _, name, value in records:
        dns.put(f"{name}.program.drsmithclinic.com", RecordType.CNAME, value)
    clock.advance(10)
    assert (await page.curl(verify)).json["status"] == "verified"
    cleared = await page.curl("""curl -X DELETE https://api.miosa.ai/api/v1/projects/{id}/preview-domain
-H "Authorization: Bearer $MIOSA_API_KEY" """)
    shows(cleared, 200, '{"scope": "project", "preview_domain": null, "effective_domain": "miosa.app"}')
