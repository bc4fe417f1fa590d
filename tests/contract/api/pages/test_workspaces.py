"""The page of workspaces: each of its examples, in its order."""

import pytest

from router.api.operations import Operation
from router.base.clock import ManualClock
from router.base.ids import new_id
from router.domains.lookup import RecordType
from router.node.services import Services
from router.routes.records import Kind, State
from router.tenancy.ownership import Ownership
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.memory_dns import MemoryLookup
from tests.support.page import Page, refuses, shows

pytestmark = pytest.mark.asyncio

WORKSPACE = """
{
"id": "550e8400-e29b-41d4-a716-446655440000",
"tenant_id": "...",
"name": "Dr. Smith Clinic",
"slug": "dr-smith-clinic",
"external_workspace_id": "clinic_123",
"description": null,
"metadata": {},
"is_default": false,
"computer_count": 0,
"created_at": "2026-04-11T00:00:00Z",
"updated_at": "2026-04-11T00:00:00Z"
}
"""


@pytest.fixture
def page(api: ApiClient) -> Page:
    return Page(api)


async def clinic(page: Page) -> str:
    """The workspace of the quick start."""
    answer = await page.curl("""curl -X POST https://api.miosa.ai/api/v1/workspaces
-H "Authorization: Bearer $MIOSA_API_KEY"
-H "Content-Type: application/json"
-d '{"name": "Dr. Smith Clinic", "slug": "dr-smith-clinic", "external_workspace_id": "clinic_123"}'""")
    shown = shows(answer, 201, f'{{"data": {WORKSPACE}}}')
    page.places["id"] = shown["data"]["id"]
    return page.places["id"]


async def test_endpoints(table: list[Operation]) -> None:
    """Each row of the page's table is served."""
    listed = """
GET | /workspaces
POST | /workspaces
GET | /workspaces/{id}
PATCH | /workspaces/{id}
PUT | /workspaces/{id}/settings
GET | /workspaces/{id}/preview-domain
PUT | /workspaces/{id}/preview-domain
DELETE | /workspaces/{id}/preview-domain
GET | /workspaces/{id}/preview-domain/verify
DELETE | /workspaces/{id}
GET | /workspaces/{id}/computers
GET | /workspaces/{id}/stats
GET | /workspaces/{id}/usage
GET | /workspaces/{id}/projects
"""
    served = {f"{row.method} | {row.path.removeprefix('/api/v1')}" for row in table}
    assert set(listed.strip().splitlines()) <= served


async def test_quick_start(page: Page, api: ApiClient) -> None:
    """A workspace, a computer in a project of it that is made by its slug, and the list of the computers there."""
    workspace_id = await clinic(page)
    body = {
        "name": "clinic-builder",
        "template_type": "miosa-desktop",
        "workspace_id": workspace_id,
        "project_slug": "lead-magnet",
        "project_name": "Lead Magnet",
    }
    computer = await api("POST", "/api/v1/computers", json=body)
    assert computer.status == 201
    shown = computer.json["data"]
    assert (shown["workspace_id"], shown["project_slug"], shown["project_name"]) == (
        workspace_id,
        "lead-magnet",
        "Lead Magnet",
    )
    found = await api("GET", f"/api/v1/workspaces/{workspace_id}/computers")
    assert [one["name"] for one in found.json["data"]] == ["clinic-builder"]


async def test_list(api: ApiClient, services: Services) -> None:
    """A new tenant has its default workspace, with its computers counted; that is where the recipe finds its id."""
    tenant = await services.tenants.create("ClinicIQ")
    _, key = await services.keys.create(tenant.id)
    for _ in range(3):
        await services.resources.create(Kind.COMPUTER, tenant.id)
    answer = await Page(api, key).curl("""curl https://api.miosa.ai/api/v1/workspaces
-H "Authorization: Bearer $MIOSA_API_KEY" """)
    listed = shows(
        answer,
        200,
        """
{
"data": [
{
"id": "550e8400-e29b-41d4-a716-446655440000",
"tenant_id": "...",
"name": "default",
"slug": "default",
"external_workspace_id": null,
"description": null,
"metadata": {},
"is_default": true,
"computer_count": 3,
"created_at": "2026-04-11T00:00:00Z",
"updated_at": "2026-04-11T00:00:00Z"
}
],
"total": 1
}
""",
    )
    assert set(listed) == {"data", "total"}
    default = await services.workspaces.default(tenant.id)
    assert [one["id"] for one in listed["data"] if one["is_default"]] == [default.id]


async def test_create(page: Page, api: ApiClient) -> None:
    """The request with a description; a slug that is taken and one that is none are 422 in the page's words."""
    answer = await page.curl("""curl -X POST https://api.miosa.ai/api/v1/workspaces
-H "Authorization: Bearer $MIOSA_API_KEY"
-H "Content-Type: application/json"
-d '{
"name": "Dr. Smith Clinic",
"slug": "dr-smith-clinic",
"external_workspace_id": "clinic_123",
"description": "Client workspace for Dr. Smith Clinic"
}'""")
    described = WORKSPACE.replace('"description": null', '"description": "Client workspace for Dr. Smith Clinic"')
    shows(answer, 201, f'{{"data": {described}}}')
    for slug, words in (
        ("dr-smith-clinic", "has already been taken"),
        ("Dr. Smith", "must start with alphanumeric and contain only a-z 0-9 -"),
    ):
        refuses(await api("POST", "/api/v1/workspaces", json={"name": "Another", "slug": slug}), 422, words)


async def test_get(page: Page, globex: Account) -> None:
    """The whole workspace; 403 for another tenant's, 404 for none."""
    await clinic(page)
    line = """curl https://api.miosa.ai/api/v1/workspaces/{id}
-H "Authorization: Bearer $MIOSA_API_KEY" """
    shows(await page.curl(line), 200, f'{{"data": {WORKSPACE}}}')
    refuses(await page.curl(line, id=globex.workspace.id), 403, "forbidden")
    refuses(await page.curl(line, id=new_id()), 404, "workspace not found")


async def test_update(page: Page, globex: Account) -> None:
    """A new name; 403 and 404 as above."""
    await clinic(page)
    line = """curl -X PATCH https://api.miosa.ai/api/v1/workspaces/{id}
-H "Authorization: Bearer $MIOSA_API_KEY"
-H "Content-Type: application/json"
-d '{"name": "production-us-east"}'"""
    renamed = WORKSPACE.replace('"Dr. Smith Clinic"', '"production-us-east"')
    shows(await page.curl(line), 200, f'{{"data": {renamed}}}')
    refuses(await page.curl(line, id=globex.workspace.id), 403, "forbidden")
    refuses(await page.curl(line, id=new_id()), 404, "workspace not found")


async def test_delete(page: Page, services: Services, acme: Account, globex: Account) -> None:
    """Only what is empty goes; then it is not there any more."""
    workspace_id = await clinic(page)
    line = """curl -X DELETE https://api.miosa.ai/api/v1/workspaces/{id}
-H "Authorization: Bearer $MIOSA_API_KEY" """
    refuses(await page.curl(line, id=globex.workspace.id), 403, "forbidden")
    refuses(await page.curl(line, id=new_id()), 404, "workspace not found")
    into = Ownership(workspace_id=workspace_id)
    computer = await services.resources.create(Kind.COMPUTER, acme.tenant.id, ownership=into)
    refuses(await page.curl(line), 409, "workspace has computers")
    await services.resources.delete(computer.id)
    shows(await page.curl(line), 200, '{ "deleted": true }')
    refuses(await page.curl(line), 404, "workspace not found")


async def test_settings(page: Page, api: ApiClient, globex: Account) -> None:
    """The page's request on top of an earlier one answers with all of the settings; unknown sizes are 422."""
    workspace_id = await clinic(page)
    path = f"/api/v1/workspaces/{workspace_id}/settings"
    await api("PUT", path, json={"default_computer_size": "small", "allowed_template_types": []})
    line = """curl -X PUT https://api.miosa.ai/api/v1/workspaces/{id}/settings
-H "Authorization: Bearer $MIOSA_API_KEY"
-H "Content-Type: application/json"
-d '{
"max_computers": 10,
"max_computer_size": "large",
"default_auto_stop_seconds": 3600
}'"""
    shows(
        await page.curl(line),
        200,
        """
{
"workspace_id": "550e8400-e29b-41d4-a716-446655440000",
"settings": {
"max_computers": 10,
"max_computer_size": "large",
"default_computer_size": "small",
"default_auto_stop_seconds": 3600,
"allowed_template_types": []
},
"updated_at": "2026-05-17T10:00:00Z"
}
""",
    )
    for wrong in ({"max_computer_size": "huge"}, {"max_computers": -1}):
        refuses(await api("PUT", path, json=wrong), 422, "VALIDATION_FAILED")
    refuses(await page.curl(line, id=globex.workspace.id), 403, "forbidden")
    refuses(await page.curl(line, id=new_id()), 404, "workspace not found")


async def test_preview_domain(page: Page, dns: MemoryLookup, clock: ManualClock) -> None:
    """Set, verify and clear."""
    await clinic(page)
    answer = await page.curl("""curl -X PUT https://api.miosa.ai/api/v1/workspaces/{id}/preview-domain
-H "Authorization: Bearer $MIOSA_API_KEY"
-H "Content-Type: application/json"
-d '{"preview_domain":"drsmithclinic.com"}'""")
    shown = shows(
        answer,
        200,
        """
{
"scope": "workspace",
"id": "550e8400-e29b-41d4-a716-446655440000",
"preview_domain": "drsmithclinic.com",
"effective_domain": "drsmithclinic.com",
"status": "pending_dns",
"dns_status": "pending",
"url_examples": {
"default_preview": "https://<slug>.drsmithclinic.com",
"port_preview": "https://3000-<slug>.sandbox.drsmithclinic.com",
"deployment": "https://<deployment-slug>.drsmithclinic.com"
}
}
""",
    )
    assert shown["id"] == page.places["id"]
    records = [(record["type"], record["name"], record["value"]) for record in shown["records"]]
    assert records == [("CNAME", "*", "proxy.miosa.ai"), ("CNAME", "*.sandbox", "proxy.miosa.ai")]
    verify = """curl https://api.miosa.ai/api/v1/workspaces/{id}/preview-domain/verify
-H "Authorization: Bearer $MIOSA_API_KEY" """
    assert (await page.curl(verify)).json["status"] == "pending_dns"
    for name in ("*", "*.sandbox"):
        dns.put(f"{name}.drsmithclinic.com", RecordType.CNAME, "proxy.miosa.ai")
    clock.advance(10)
    assert (await page.curl(verify)).json["status"] == "verified"
    cleared = await page.curl("""curl -X DELETE https://api.miosa.ai/api/v1/workspaces/{id}/preview-domain
-H "Authorization: Bearer $MIOSA_API_KEY" """)
    shows(cleared, 200, '{"scope": "workspace", "preview_domain": null, "effective_domain": "miosa.app"}')


async def test_computers(page: Page, services: Services, acme: Account) -> None:
    """A computer as the list shows it."""
    into = Ownership(workspace_id=await clinic(page))
    options = {"name": "runner-1", "size": "small", "template_type": "miosa-desktop"}
    computer = await services.resources.create(Kind.COMPUTER, acme.tenant.id, ownership=into, **options)  # type: ignore[arg-type]
    await services.resources.patch(computer.id, state=State.RUNNING)
    answer = await page.curl("""curl https://api.miosa.ai/api/v1/workspaces/{id}/computers
-H "Authorization: Bearer $MIOSA_API_KEY" """)
    listed = shows(
        answer,
        200,
        """
{
"data": [
{
"id": "...",
"name": "runner-1",
"status": "running",
"size": "small",
"template_type": "miosa-desktop",
"created_at": "2026-04-11T00:00:00Z"
}
],
"total": 1
}
""",
    )
    assert set(listed) == {"data", "total"}


async def test_projects(page: Page, api: ApiClient) -> None:
    """A project as the list shows it."""
    body = {"workspace_id": await clinic(page), "name": "Lead Magnet", "external_project_id": "project_789"}
    assert (await api("POST", "/api/v1/projects", json=body)).status == 201
    answer = await page.curl("""curl https://api.miosa.ai/api/v1/workspaces/{id}/projects
-H "Authorization: Bearer $MIOSA_API_KEY" """)
    listed = shows(
        answer,
        200,
        """
{
"data": [
{
"id": "660e8400-e29b-41d4-a716-446655440001",
"tenant_id": "...",
"workspace_id": "550e8400-e29b-41d4-a716-446655440000",
"external_workspace_id": "clinic_123",
"external_project_id": "project_789",
"name": "Lead Magnet",
"slug": "lead-magnet",
"description": null,
"metadata": {},
"created_at": "2026-05-18T10:00:00Z",
"updated_at": "2026-05-18T10:00:00Z"
}
],
"total": 1
}
""",
    )
    assert set(listed) == {"data", "total"}


async def test_stats(page: Page, api: ApiClient, services: Services, acme: Account) -> None:
    """Three small computers and two medium ones have together what the page says."""
    workspace_id = await clinic(page)
    settings = {"max_computers": 10, "max_computer_size": "large", "default_auto_stop_seconds": 3600}
    await api("PUT", f"/api/v1/workspaces/{workspace_id}/settings", json=settings)
    into = Ownership(workspace_id=workspace_id)
    states = [State.RUNNING] * 3 + [State.STOPPED] * 2
    for size, state in zip(("small", "small", "small", "medium", "medium"), states, strict=True):
        computer = await services.resources.create(Kind.COMPUTER, acme.tenant.id, ownership=into, size=size)
        await services.resources.patch(computer.id, state=state)
    answer = await page.curl("""curl https://api.miosa.ai/api/v1/workspaces/{id}/stats
-H "Authorization: Bearer $MIOSA_API_KEY" """)
    shows(
        answer,
        200,
        """
{
"workspace_id": "550e8400-e29b-41d4-a716-446655440000",
"computers": {
"total": 5,
"by_status": {
"running": 3,
"stopped": 2,
"provisioning": 0,
"error": 0
}
},
"resources": {
"total_vcpus": 7,
"total_memory_mb": 28672,
"total_disk_gb": 160
},
"settings": {
"max_computers": 10,
"max_computer_size": "large",
"default_auto_stop_seconds": 3600
}
}
""",
    )


async def test_usage(
    page: Page, api: ApiClient, services: Services, acme: Account, globex: Account, clock: ManualClock
) -> None:
    """A week in days: seven buckets, whose hours and credits add up; other windows are 422."""
    into = Ownership(workspace_id=await clinic(page))
    computer = await services.resources.create(Kind.COMPUTER, acme.tenant.id, ownership=into)
    await services.resources.patch(computer.id, state=State.RUNNING)
    clock.advance(42.5 * 3600)
    line = """curl "https://api.miosa.ai/api/v1/workspaces/{id}/usage?window=7d&granularity=day"
-H "Authorization: Bearer $MIOSA_API_KEY" """
    shown = shows(
        await page.curl(line),
        200,
        """
{
"workspace_id": "550e8400-e29b-41d4-a716-446655440000",
"window": "7d",
"granularity": "day",
"total_credits_used": 1284,
"total_compute_hours": 42.5,
"series": [
{
"ts": "2026-05-10T00:00:00Z",
"credits_used": 198,
"compute_hours": 6.6
},
{
"ts": "2026-05-11T00:00:00Z",
"credits_used": 211,
"compute_hours": 7.0
}
]
}
""",
        varying={"total_credits_used", "credits_used", "compute_hours"},
    )
    assert len(shown["series"]) == 7
    assert sum(one["compute_hours"] for one in shown["series"]) == 42.5
    assert sum(one["credits_used"] for one in shown["series"]) == shown["total_credits_used"]
    for query in ("window=1y", "granularity=minute"):
        path = f"/api/v1/workspaces/{page.places['id']}/usage?{query}"
        refuses(await api("GET", path), 422, "VALIDATION_FAILED")
    refuses(await page.curl(line, id=globex.workspace.id), 403, "forbidden")
    refuses(await page.curl(line, id=new_id()), 404, "workspace not found")


async def test_move_a_computer(page: Page, services: Services, acme: Account) -> None:
    """The recipe's request, by the endpoint that it names."""
    target = await clinic(page)
    computer = await services.resources.create(Kind.COMPUTER, acme.tenant.id)
    page.places |= {"computer_id": computer.id, "target-workspace-id": target}
    answer = await page.curl("""curl -X POST https://api.miosa.ai/api/v1/computers/{computer_id}/move
-H "Authorization: Bearer $MIOSA_API_KEY"
-H "Content-Type: application/json"
-d '{"workspace_id": "target-workspace-id"}'""")
    assert (answer.status, answer.json["data"]["workspace_id"]) == (200, target)
