"""The page of conventions: each of its examples, in its order. That they hold everywhere is another test's matter."""

import json
from typing import Any

import pytest

from router.settings import Rates
from tests.contract.api.conftest import INTERNAL_TOKEN
from tests.support.accounts import Account
from tests.support.api import Answered, ApiClient
from tests.support.page import refuses, shows

pytestmark = pytest.mark.asyncio

REQUEST = """POST /api/v1/sandboxes
Authorization: Bearer msk_live_...
Idempotency-Key: 550e8400-e29b-41d4-a716-446655440000
Content-Type: application/json
{
"template": "miosa-sandbox",
"workspace_slug": "dr-smith-clinic",
"project_slug": "lead-magnet",
"external_workspace_id": "clinic_123",
"external_user_id": "dr-smith-456",
"external_project_id": "project_789"
}"""


@pytest.fixture
def rates() -> Rates:
    """As they are where nobody sets them."""
    return Rates()


async def send(api: ApiClient, request: str = REQUEST, **headers: str) -> Answered:
    """The page's request, with our key in it."""
    head, _, body = request.partition("{")
    first, *lines = head.splitlines()
    method, path = first.split()
    sent = dict(line.split(": ", 1) for line in lines) | {"Authorization": f"Bearer {api.key}"} | headers
    return await api(method, path, data="{" + body, headers=sent)


async def test_authentication(api: ApiClient) -> None:
    """A request needs its key, which starts as the page's does."""
    assert str(api.key).startswith("msk_live_")
    refuses(await api("GET", "/api/v1/sandboxes", key=None), 401, "unauthorized")
    refuses(await api("GET", "/api/v1/sandboxes", key="msk_live_..."), 401, "unauthorized")


async def test_request(api: ApiClient) -> None:
    """The sandbox lies where the request says and is attributed as it says; sent again it is answered again, and made
    once."""
    first = await send(api)
    assert first.status == 201
    asked = json.loads(REQUEST[REQUEST.index("{") :])
    shown = first.json["data"]
    assert shown["template_id"] == asked.pop("template")
    assert {name: shown[name] for name in asked} == asked
    again = await send(api)
    assert (again.status, again.body, again.headers["Idempotent-Replayed"]) == (201, first.body, "true")
    assert (await api("GET", "/api/v1/sandboxes")).json["page"]["total"] == 1
    refuses(await send(api, REQUEST.replace("lead-magnet", "another")), 422, "idempotency_key_reused")


async def test_one_resource(api: ApiClient) -> None:
    """Its object under `data`."""
    made = await api("POST", "/api/v1/sandboxes", json={"name": "my-sandbox"})
    sandbox_id = made.json["data"]["id"]
    running = {"address": "10.0.0.7", "generation": "boot-1", "state": "running"}
    await api("PUT", f"/internal/v1/endpoints/{sandbox_id}", key=INTERNAL_TOKEN, json=running)
    shows(
        await api("GET", f"/api/v1/sandboxes/{sandbox_id}"),
        200,
        """
{
"data": {
"id": "550e8400-e29b-41d4-a716-446655440000",
"name": "my-sandbox",
"status": "running",
"created_at": "2026-05-17T10:00:00Z"
}
}
""",
    )


async def test_list(api: ApiClient) -> None:
    """A page of objects and the pagination object."""
    await send(api)
    listed = shows(
        await api("GET", "/api/v1/sandboxes"),
        200,
        """
{
"data": [ { "id": "..." } ],
"page": {
"page": 1,
"page_size": 20,
"total": 150
}
}
""",
        varying={"total"},
    )
    assert set(listed) == {"data", "page"}
    most = await api("GET", "/api/v1/sandboxes", params={"page": "1", "page_size": "1000"})
    assert most.json["page"]["page_size"] == 100


async def test_error(api: ApiClient) -> None:
    """One shape, with the request's id in it and in the header."""
    answer = await api("GET", "/api/v1/sandboxes/550e8400-e29b-41d4-a716-446655440000")
    error = answer.json["error"]
    assert (answer.status, set(error)) == (404, {"code", "message", "request_id", "docs_url"})
    assert error["request_id"] == answer.headers["X-Request-ID"]
    assert error["request_id"].startswith("req_")


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/api/v1/workspaces", {}, 200),
        ("POST", "/api/v1/workspaces", {"json": {"name": "Dr. Smith Clinic"}}, 201),
        ("POST", "/api/v1/projects", {"json": {"name": "Lead Magnet"}}, 400),
        ("POST", "/api/v1/projects", {"data": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ("GET", "/api/v1/workspaces", {"key": "msk_live_nobody"}, 401),
        ("POST", "/api/v1/api-keys", {"json": {"name": "X", "scope": "platform"}}, 403),
        ("GET", "/api/v1/nothing", {}, 404),
        ("POST", "/api/v1/workspaces", {"json": {"name": "Acme Clinic"}}, 409),
        ("POST", "/api/v1/workspaces", {"json": {"name": ""}}, 422),
    ],
)
async def test_statuses(api: ApiClient, method: str, path: str, options: dict[str, Any], status: int) -> None:
    """Those of the page that a single request can have; 202 and 413, 429, 500 have tests of their own."""
    assert (await api(method, path, **options)).status == status


async def test_rates(api: ApiClient) -> None:
    """300 requests a minute for a workspace, 20 at the endpoints of keys, 60 without a key."""
    general = await api("GET", "/api/v1/workspaces")
    keys = await api("POST", "/api/v1/api-keys", json={"name": "CI"})
    anonymous = await api("GET", "/api/v1/workspaces", key=None)
    limits = [answer.headers["RateLimit-Limit"] for answer in (general, keys, anonymous)]
    assert limits == ["300", "20", "60"]
    for _ in range(59):
        assert (await api("GET", "/api/v1/workspaces", key=None)).status == 401
    refused = await api("GET", "/api/v1/workspaces", key=None)
    refuses(refused, 429, "rate_limited")
    assert refused.headers["Retry-After"] == "60"


@pytest.mark.parametrize("kind", ["sandboxes", "computers", "deployments"])
async def test_ownership_fields(api: ApiClient, acme: Account, kind: str) -> None:
    """Each create takes each of the nine, and answers with the workspace and the project."""
    selectors = (
        {"workspace_id": acme.workspace.id, "project_id": acme.project.id},
        {
            "workspace_slug": "dr-smith-clinic",
            "workspace_name": "Dr. Smith Clinic",
            "project_slug": "lead-magnet",
            "project_name": "Lead Magnet",
        },
        {
            "external_workspace_id": "clinic_123",
            "external_user_id": "dr-smith-456",
            "external_project_id": "project_789",
        },
    )
    for fields in selectors:
        answer = await api("POST", f"/api/v1/{kind}", json={"name": "Another", **fields})
        assert answer.status == 201
        shown = answer.json["data"]
        assert {name: shown[name] for name in fields} == fields
        assert shown["workspace_id"]
        assert shown["project_id"]
