"""The page of deployments, as the Elixir SDK documents them: each of its functions by the request that it sends."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from router.domains.lookup import RecordType
from router.node.services import Services
from router.settings import Settings, load
from tests.contract.api.conftest import INTERNAL_TOKEN
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.memory_dns import MemoryLookup
from tests.support.page import refuses
from tests.support.publishing import program

pytestmark = pytest.mark.asyncio

ATTRIBUTION = {
    "external_workspace_id": "dental-office-123",
    "external_user_id": "dr-smith-456",
    "external_project_id": "project_789",
}


@pytest.fixture
def settings() -> Settings:
    """Programs run on loopback here."""
    return load(environ={"MIOSA_ROUTER_INTERNAL_TOKEN": INTERNAL_TOKEN, "MIOSA_ROUTER_BACKEND_NETWORKS": "127.0.0.0/8"})


class Sdk:
    """Asks as the SDK does: paths below /api/v1, and a key for each mutation."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._sent = 0

    async def __call__(self, method: str, path: str, body: dict[str, Any] | None = None, *, status: int = 200) -> Any:
        self._sent += 1
        headers = {} if method == "GET" else {"Idempotency-Key": f"key-{self._sent}"}
        answer = await self._api(method, f"/api/v1{path}", json=body, headers=headers)
        assert answer.status == status, answer.body
        return answer.json["data"]


@pytest.fixture
def sdk(api: ApiClient) -> Sdk:
    return Sdk(api)


@pytest_asyncio.fixture
async def sandbox(sdk: Sdk, services: Services) -> AsyncIterator[str]:
    """The sandbox of the page's example, whose server runs; its id."""
    body = {
        "name": "smile-dental",
        "external_workspace_id": "dental-office-123",
        "external_user_id": "dr-smith-456",
    }
    made = await sdk("POST", "/sandboxes", body, status=201)
    assert {name: made[name] for name in body} == body
    async with program(services, made["id"]):
        await sdk("POST", f"/sandboxes/{made['id']}/previews", {"port": 3000}, status=201)
        yield made["id"]


@pytest_asyncio.fixture
async def deployment(sdk: Sdk) -> str:
    """A deployment with nothing on it; its id."""
    made = await sdk("POST", "/deployments", {"name": "Smile Dental"}, status=201)
    return str(made["id"])


async def test_example(sdk: Sdk, sandbox: str) -> None:
    """From a sandbox to a deployment that is live, by the bridge."""
    body = {"kind": "static", "environment": "production", "external_workspace_id": "dental-office-123"}
    result = await sdk("POST", f"/sandboxes/{sandbox}/deploy", body, status=201)
    version = result["version"]
    assert (result["promoted"], version["state"], version["kind"]) == (True, "ready", "static")
    assert (version["environment"], version["external_workspace_id"]) == ("production", "dental-office-123")
    assert (await sdk("GET", f"/deployments/{result['deployment_id']}"))["state"] == "running"


async def test_create(sdk: Sdk, acme: Account) -> None:
    """All documented fields are taken and shown; with `project_id` the SDK posts to the project's path."""
    fields = {
        "name": "Smile Dental",
        "source_type": "repo",
        "repo_url": "https://git.example/smile",
        "branch": "main",
        "build_command": "npm run build",
        "run_command": "npm start",
        "auto_deploy": False,
        "metadata": {"plan": "pro"},
        **ATTRIBUTION,
    }
    for path, project_id in (
        ("/deployments", acme.default_project.id),
        (f"/projects/{acme.project.id}/deployments", acme.project.id),
    ):
        made = await sdk("POST", path, fields, status=201)
        assert {name: made[name] for name in fields} == fields
        assert made["project_id"] == project_id


async def test_list(sdk: Sdk, api: ApiClient, acme: Account) -> None:
    """Each filter of the page narrows, and `limit` and `cursor` read on."""
    mine = await sdk("POST", f"/projects/{acme.project.id}/deployments", {"name": "Mine", **ATTRIBUTION}, status=201)
    await sdk("POST", "/deployments", {"name": "Other"}, status=201)
    for name, value in {"project_id": acme.project.id, **ATTRIBUTION}.items():
        assert [one["id"] for one in await sdk("GET", f"/deployments?{name}={value}")] == [mine["id"]]
    assert len(await sdk("GET", "/deployments?state=pending")) == 2
    assert await sdk("GET", "/deployments?state=running") == []
    first = (await api("GET", "/api/v1/deployments?limit=1")).json
    second = (await api("GET", f"/api/v1/deployments?limit=1&cursor={first['page']['next_cursor']}")).json
    assert {one["name"] for answer in (first, second) for one in answer["data"]} == {"Mine", "Other"}
    assert second["page"]["next_cursor"] is None


async def test_get_update_delete(sdk: Sdk, api: ApiClient, deployment: str) -> None:
    """One deployment's life."""
    path = f"/deployments/{deployment}"
    assert (await sdk("PATCH", path, {"branch": "trunk"}))["branch"] == "trunk"
    assert (await sdk("GET", path))["branch"] == "trunk"
    assert (await sdk("DELETE", path))["id"] == deployment
    refuses(await api("GET", f"/api/v1{path}"), 404, "deployment_not_found")


async def test_publish(sdk: Sdk, api: ApiClient, sandbox: str, deployment: str) -> None:
    """`source_sandbox_id` is required; all other fields of the page are taken, and stay with the version."""
    path = f"/deployments/{deployment}/publish"
    refuses(await api("POST", f"/api/v1{path}", json={}), 422, "VALIDATION_FAILED")
    body = {
        "source_sandbox_id": sandbox,
        "kind": "dynamic",
        "environment": "production",
        "output_path": "dist",
        "build_command": "npm run build",
        "run_command": "npm start",
        "port": 3000,
        "health_check_path": "/healthz",
        "data_services": ["postgres"],
        **ATTRIBUTION,
    }
    version = (await sdk("POST", path, body, status=201))["version"]
    same = set(body) - {"port"}
    assert {name: version[name] for name in same} == {name: body[name] for name in same}
    assert (version["state"], version["runtime_port"]) == ("ready", 3000)


async def test_versions_promote_and_roll_back(sdk: Sdk, sandbox: str, deployment: str) -> None:
    """Promoting points at a ready version and builds nothing; rolling back goes to the one before, or the named one."""
    path = f"/deployments/{deployment}"
    made = []
    for promote in (True, True, False):
        body = {"source_sandbox_id": sandbox, "promote": promote, **ATTRIBUTION}
        made.append((await sdk("POST", f"{path}/publish", body, status=201))["version"]["id"])
    first, second, third = made
    versions = f"{path}/versions?external_user_id=dr-smith-456&state=ready"
    assert [one["id"] for one in await sdk("GET", versions)] == [third, second, first]
    assert (await sdk("GET", f"{path}/versions/{first}"))["version_number"] == 1

    async def live(request: str, body: dict[str, Any]) -> str:
        return str((await sdk("POST", f"{path}{request}", body))["active_version_id"])

    assert await live("/rollback", {}) == first
    assert await live(f"/versions/{third}/promote", {"environment": "production"}) == third
    assert await live("/rollback", {}) == second
    assert await live("/rollback", {"version_id": first}) == first
    builds = await sdk("GET", f"{path}/builds")
    assert [build["version_id"] for build in builds] == [third, second, first]
    build = await sdk("GET", f"{path}/builds/{builds[0]['id']}")
    assert (build["state"], build["log"] != "") == ("succeeded", True)


async def test_env(sdk: Sdk, deployment: str) -> None:
    """Variables are set as a map, per environment."""
    path = f"/deployments/{deployment}/env"
    await sdk("POST", path, {"env": {"API_BASE": "https://api.example"}})
    await sdk("POST", path, {"env": {"API_BASE": "https://test.example"}, "environment": "staging"})
    shown = {one["environment"]: (one["key"], one["value"]) for one in await sdk("GET", path)}
    assert shown == {
        "production": ("API_BASE", "https://api.example"),
        "staging": ("API_BASE", "https://test.example"),
    }


async def test_domains(sdk: Sdk, dns: MemoryLookup, deployment: str) -> None:
    """Attach, with instructions for DNS; list; verify; detach."""
    path = f"/deployments/{deployment}/domains"
    body = {"domain": "www.smile.example", "redirect_policy": "www_to_apex", **ATTRIBUTION}
    domain = await sdk("POST", path, body, status=201)
    assert re.fullmatch(
        r"Add a CNAME record for www\.smile\.example that points to [0-9a-f]{32}\.verify\.miosa\.ai\.",
        domain["instructions"],
    )
    assert (domain["redirect_policy"], domain["external_user_id"]) == ("www_to_apex", "dr-smith-456")
    assert [one["id"] for one in await sdk("GET", path)] == [domain["id"]]
    dns.put("www.smile.example", RecordType.CNAME, "verify.miosa.ai")
    assert (await sdk("POST", f"{path}/{domain['id']}/verify"))["status"] == "verified"
    assert (await sdk("DELETE", f"{path}/{domain['id']}"))["status"] == "removed"
    assert await sdk("GET", path) == []
