"""/sandboxes: their records."""

import re
from typing import Any

import pytest

from router.base.ids import new_id
from router.node.services import Services
from router.routes.records import Kind, Scope, State
from router.tenancy.endpoints import EndpointChange
from router.tenancy.ownership import Ownership
from router.tenancy.resources import Resource
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.checks import verify_preview
from tests.support.ids import SOME_ID
from tests.support.routes import Routes

pytestmark = pytest.mark.asyncio

# The page of conventions shows this request.
PAGE_REQUEST = {
    "template": "miosa-sandbox",
    "workspace_slug": "dr-smith-clinic",
    "project_slug": "lead-magnet",
    "external_workspace_id": "clinic_123",
    "external_user_id": "dr-smith-456",
    "external_project_id": "project_789",
}


async def sandbox(services: Services, account: Account, **options: Any) -> Resource:
    """A sandbox in the account's workspace and project."""
    into = Ownership(project_id=account.project.id)
    return await services.resources.create(Kind.SANDBOX, account.tenant.id, ownership=into, **options)


async def test_page_create(api: ApiClient, acme: Account, services: Services) -> None:
    """The page's request makes the workspace and the project that it names, and a sandbox that is being provisioned."""
    answer = await api("POST", "/api/v1/sandboxes", json=PAGE_REQUEST, headers={"Idempotency-Key": new_id()})
    assert answer.status == 201
    assert set(answer.json) == {"data"}
    made = answer.json["data"]
    assert (made["status"], made["state"], made["ready"]) == ("provisioning", "provisioning", False)
    assert re.fullmatch(r"sbx[a-z0-9]{8}", made["slug"])
    assert made["template_id"] == "miosa-sandbox"
    assert made["tenant_id"] == acme.tenant.id
    assert {name: made[name] for name in PAGE_REQUEST if name != "template"} == {
        name: value for name, value in PAGE_REQUEST.items() if name != "template"
    }
    workspace = await services.workspaces.get(made["workspace_id"])
    project = await services.projects.get(made["project_id"])
    assert (workspace.slug, workspace.external_workspace_id) == ("dr-smith-clinic", "clinic_123")
    assert (project.slug, project.workspace_id, project.external_project_id) == (
        "lead-magnet",
        workspace.id,
        "project_789",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["created_at"])
    assert (await api("GET", f"/api/v1/sandboxes/{made['id']}")).json == answer.json


async def test_an_empty_request(api: ApiClient, acme: Account) -> None:
    """Everything has a default: the tenant's default workspace and project, the platform's template, a small one."""
    made = (await api("POST", "/api/v1/sandboxes")).json["data"]
    assert (made["workspace_id"], made["project_id"]) == (acme.default.id, acme.default_project.id)
    assert (made["size"], made["cpu_count"], made["memory_mb"], made["disk_size_mb"]) == ("small", 2, 4096, 20480)
    assert (made["tags"], made["metadata"], made["name"], made["idle_timeout_sec"]) == ([], {}, None, None)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"size": "xl"}, {"size": "xl", "cpu_count": 16, "memory_mb": 32768}),
        ({"cpu_count": 4, "memory_mb": 8192}, {"size": "medium", "disk_size_mb": 51200}),
        (
            {"cpu_count": 3, "memory_mb": 3000, "disk_size_mb": 1500},
            {"size": None, "cpu_count": 3, "memory_mb": 3000, "disk_size_mb": 2048},
        ),
        ({"size": "small", "cpu_count": 2, "memory_mb": 4096}, {"size": "small"}),
        ({"size": "small", "cpu_count": 16, "memory_mb": 32768}, {"size": "xl", "disk_size_mb": 204800}),
        ({"size": "small", "cpu_count": 3}, {"size": None, "cpu_count": 3, "memory_mb": None}),
        ({"size": "xs", "disk_mb": 40960}, {"size": "xs", "disk_size_mb": 40960}),
        ({"image": "node-20"}, {"template_id": "node-20", "image_id": "node-20"}),
        ({"slug": "my-box", "name": " Box "}, {"slug": "my-box", "name": "Box"}),
        ({"tags": ["b", "a", "b"]}, {"tags": ["b", "a"]}),
        (
            {"timeout_sec": 600, "idle_timeout_sec": 60, "always_on": True, "persistent": True},
            {"timeout_sec": 600, "idle_timeout_sec": 60, "always_on": True, "persistent": True},
        ),
        ({"default_port": 3000, "metadata": {"a": [1]}}, {"default_port": 3000, "metadata": {"a": [1]}}),
        ({"env": {"SECRET": "s3cr3t"}, "region": "eu"}, {}),
    ],
)
async def test_what_is_asked_for_is_shown(api: ApiClient, body: dict[str, Any], shown: dict[str, Any]) -> None:
    """Sizes and numbers complete each other; what the platform alone needs to know is not kept."""
    answer = await api("POST", "/api/v1/sandboxes", json=body)
    assert answer.status == 201
    assert answer.json["data"] | shown == answer.json["data"]
    assert b"s3cr3t" not in answer.body


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"slug": "www"}, "slug", "is reserved or not valid in a host name"),
        ({"slug": "3000-box"}, "slug", "is reserved or not valid in a host name"),
        ({"slug": "Box"}, "slug", "is reserved or not valid in a host name"),
        ({"slug": "a" * 58}, "slug", "should be at most 57 character(s)"),
        ({"size": "huge"}, "size", "is invalid"),
        ({"size": 3}, "size", "is invalid"),
        ({"name": "n" * 121}, "name", "should be at most 120 character(s)"),
        ({"name": " "}, "name", "can't be blank"),
        ({"tags": ["t"] * 51}, "tags", "should have at most 50 item(s)"),
        ({"tags": [""]}, "tags.0", "can't be blank"),
        ({"tags": ["a", "b,c"]}, "tags.1", "has invalid format"),
        ({"default_port": 0}, "default_port", "must be greater than or equal to 1"),
        ({"idle_timeout_sec": 367 * 86400}, "idle_timeout_sec", "must be less than or equal to 31622400"),
        ({"timeout_sec": -1}, "timeout_sec", "must be greater than or equal to 0"),
        ({"metadata": {"a": "x" * 65536}}, "metadata", "should be at most 65536 bytes of JSON"),
        ({"workspace_slug": "Not a slug"}, "workspace_slug", "must start with alphanumeric"),
        ({"workspace_id": "x"}, "workspace_id", "must be a UUID"),
    ],
)
async def test_wrong_fields(api: ApiClient, body: dict[str, Any], field: str, words: str) -> None:
    """Each is named, and nothing is made."""
    answer = await api("POST", "/api/v1/sandboxes", json=body)
    assert (answer.status, answer.code) == (422, "VALIDATION_FAILED")
    assert set(answer.fields) == {field}
    assert answer.fields[field][0].startswith(words)
    assert (await api("GET", "/api/v1/sandboxes")).json["page"]["total"] == 0


async def test_places_that_do_not_exist(api: ApiClient, globex: Account) -> None:
    """A workspace or project that is not there, or another tenant's, is 404 with its code."""
    for workspace in (new_id(), globex.workspace.id):
        answer = await api("POST", "/api/v1/sandboxes", json={"workspace_id": workspace})
        assert (answer.status, answer.code) == (404, "WORKSPACE_NOT_FOUND")
    for project in (new_id(), globex.project.id):
        answer = await api("POST", "/api/v1/sandboxes", json={"project_id": project})
        assert (answer.status, answer.code) == (404, "project_not_found")
        assert globex.project.name.encode() not in answer.body


async def test_slugs_are_unique_over_the_platform(api: ApiClient, globex: Account, services: Services) -> None:
    """Also against the slug of a deleted resource: only the tenant that had it may use it again."""
    theirs = await sandbox(services, globex, slug="taken")
    for _ in range(2):
        answer = await api("POST", "/api/v1/sandboxes", json={"slug": "taken"})
        assert (answer.status, answer.code, answer.fields) == (409, "conflict", {"slug": ["has already been taken"]})
        if theirs.deleted_at is None:
            theirs = await services.resources.delete(theirs.id)
    assert (await api("POST", "/api/v1/sandboxes", json={"slug": "taken"}, key=globex.key)).status == 201


async def test_list(api: ApiClient, acme: Account, globex: Account, services: Services) -> None:
    """The newest first, in pages, list_conditions by each condition; deleted ones and computers are not in it."""
    first = await sandbox(services, acme, name="one", tags=("web", "a"), external_user_id="u1")
    second = await services.resources.create(Kind.SANDBOX, acme.tenant.id, name="two", tags=("web",))
    await services.resources.endpoints.put(
        EndpointChange(resource_id=second.id, address="10.0.0.7", generation="1", state=State.RUNNING)
    )
    await services.resources.create(Kind.COMPUTER, acme.tenant.id, name="computer")
    gone = await sandbox(services, acme, name="gone")
    await services.resources.delete(gone.id)
    await sandbox(services, globex, name="theirs")
    whole = await api("GET", "/api/v1/sandboxes")
    assert set(whole.json) == {"data", "page"}
    assert whole.json["page"] == {"page": 1, "page_size": 20, "total": 2}
    wanted = {
        "": {"one", "two"},
        "state=running": {"two"},
        "status=running": {"two"},
        "status=stopped": set(),
        "name=one": {"one"},
        "tags=web": {"one", "two"},
        "tags=web,a": {"one"},
        "tags=b": set(),
        f"workspace_id={acme.workspace.id}": {"one"},
        f"project_id={acme.default_project.id}": {"two"},
        f"external_workspace_id={acme.workspace.external_workspace_id}": {"one"},
        "external_user_id=u1": {"one"},
        "external_project_id=p1": set(),
        "page=2&page_size=1": {"one", "two"},
    }
    for query, names in wanted.items():
        answer = await api("GET", f"/api/v1/sandboxes?{query}")
        found = [item["name"] for item in answer.json["data"]]
        assert set(found) <= names, query
        assert len(found) == (1 if "page" in query else len(names)), query
    assert (await api("GET", f"/api/v1/sandboxes/{first.id}")).json["data"] in whole.json["data"]
    for query in ("state=odd", "tags=", "tags=,", "page=0", "page_size=x", "workspace_id=x", "tags=" + "t" * 65):
        assert (await api("GET", f"/api/v1/sandboxes?{query}")).status == 422, query


async def test_by_name(api: ApiClient, acme: Account, globex: Account, services: Services, clock: Any) -> None:
    """The newest one of that name that the caller may see."""
    await sandbox(services, acme, name="my box/1")
    clock.advance(1)
    newer = await sandbox(services, acme, name="my box/1")
    await sandbox(services, globex, name="theirs")
    answer = await api("GET", "/api/v1/sandboxes/by-name/my%20box%2F1")
    assert answer.json["data"]["id"] == newer.id
    for name in ("nobody", "theirs"):
        answer = await api("GET", f"/api/v1/sandboxes/by-name/{name}")
        assert (answer.status, answer.code) == (404, "sandbox_not_found")
        assert answer.json["error"]["message"] == "sandbox not found"


async def test_update(api: ApiClient, acme: Account, services: Services) -> None:
    """What is sent changes, null clears, the rest stays."""
    made = await sandbox(
        services, acme, name="one", tags=("a",), metadata={"a": 1}, options={"timeout_sec": 5, "always_on": True}
    )
    path = f"/api/v1/sandboxes/{made.id}"
    before = (await api("GET", path)).json["data"]
    changed = await api("PATCH", path, json={"name": "two", "idle_timeout_sec": 9, "timeout_sec": None})
    assert changed.status == 200
    assert changed.json["data"] == before | {"name": "two", "idle_timeout_sec": 9, "timeout_sec": None}
    cleared = await api("PATCH", path, json={"name": None, "tags": None, "metadata": None, "external_user_id": None})
    assert cleared.json["data"] | {"name": None, "tags": [], "metadata": {}} == cleared.json["data"]
    assert (await api("PATCH", path)).json["data"] == cleared.json["data"]
    answer = await api("PATCH", path, json={"default_port": "x", "slug": 1})
    assert set(answer.fields) == {"default_port", "slug"}


async def test_a_new_slug(api: ApiClient, acme: Account, globex: Account, services: Services, routes: Routes) -> None:
    """The new host leads there at once; the old one answers 410, and no other tenant can take it over."""
    made = await sandbox(services, acme, slug="old", default_port=3000)
    await services.resources.endpoints.put(EndpointChange(resource_id=made.id, address="10.0.0.7", generation="1"))
    await sandbox(services, globex, slug="theirs")
    path = f"/api/v1/sandboxes/{made.id}"
    assert await routes.leads_to("old.miosa.app") == (made.id, 3000)
    assert (await api("PATCH", path, json={"slug": "theirs"})).fields == {"slug": ["has already been taken"]}
    answer = await api("PATCH", path, json={"slug": "new"})
    assert answer.json["data"]["preview_url"] == "https://new.miosa.app"
    assert await routes.leads_to("new.miosa.app") == (made.id, 3000)
    for host in ("old.miosa.app", "old.sandbox.miosa.app", "3000-old.sandbox.miosa.app"):
        assert await routes.leads_to(host) == "resource_deleted"
    answer = await api("POST", "/api/v1/sandboxes", json={"slug": "old"}, key=globex.key)
    assert answer.fields == {"slug": ["has already been taken"]}
    assert (await api("PATCH", path, json={"slug": "old"})).status == 200, "its own old slug it may have back"
    assert await routes.leads_to("old.miosa.app") == (made.id, 3000)
    assert await routes.leads_to("new.miosa.app") == "resource_deleted"


async def test_delete(api: ApiClient, acme: Account, services: Services, routes: Routes) -> None:
    """For good: 404 from now on, and its hosts answer 410 as soon as this answers."""
    made = await sandbox(services, acme, default_port=3000)
    assert await routes.leads_to(f"{made.slug}.miosa.app") == "starting"
    answer = await api("DELETE", f"/api/v1/sandboxes/{made.id}")
    assert answer.status == 200
    assert (answer.json["data"]["id"], answer.json["data"]["state"]) == (made.id, "destroyed")
    assert answer.json["data"]["destroyed_at"] == "2026-01-01T00:00:00Z"
    assert await routes.leads_to(f"{made.slug}.miosa.app") == "resource_deleted"
    for method in ("GET", "PATCH", "DELETE"):
        again = await api(method, f"/api/v1/sandboxes/{made.id}")
        assert (again.status, again.code) == (404, "sandbox_not_found")


async def test_urls_follow_the_effective_domain(api: ApiClient, acme: Account, services: Services) -> None:
    """Project before workspace before tenant before platform, from when it is configured."""
    made = await sandbox(services, acme, slug="sbx01j9x")
    path = f"/api/v1/sandboxes/{made.id}"

    async def shown() -> tuple[Any, ...]:
        data = (await api("GET", path)).json["data"]
        assert data["url_info"]["url"] == data["preview_url"]
        assert data["fallback_url"] == "https://sbx01j9x.miosa.app"
        return data["preview_url"], data["preview_domain"], data["url_class"], data["stable_for_embedding"]

    assert await shown() == ("https://sbx01j9x.miosa.app", "miosa.app", "platform", True)
    scopes = (
        (Scope.TENANT, acme.tenant.id, "cliniciq.dev"),
        (Scope.WORKSPACE, acme.workspace.id, "drsmithclinic.com"),
        (Scope.PROJECT, acme.project.id, "program.drsmithclinic.com"),
    )
    for scope, scope_id, domain in scopes:
        await services.preview_domains.set(scope, scope_id, domain)
        assert await shown() == (f"https://sbx01j9x.{domain}", domain, "custom", False)
        await verify_preview(services, scope, scope_id)
        assert await shown() == (f"https://sbx01j9x.{domain}", domain, "custom", True)
    elsewhere = (await api("POST", "/api/v1/sandboxes", json={"slug": "other"})).json["data"]
    assert elsewhere["preview_url"] == "https://other.cliniciq.dev"


async def test_computers_are_no_sandboxes(api: ApiClient, acme: Account, services: Services) -> None:
    """Another kind's id is not there."""
    computer = await services.resources.create(Kind.COMPUTER, acme.tenant.id)
    assert (await api("GET", f"/api/v1/sandboxes/{computer.id}")).status == 404
    assert (await api("GET", "/api/v1/sandboxes/not-a-uuid")).status == 404


async def test_same_idempotency_key_creates_once(api: ApiClient) -> None:
    """The retry of a create gets the same sandbox."""
    headers = {"Idempotency-Key": new_id()}
    first, again = [await api("POST", "/api/v1/sandboxes", json=PAGE_REQUEST, headers=headers) for _ in range(2)]
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await api("GET", "/api/v1/sandboxes")).json["page"]["total"] == 1


async def test_narrower_keys(api: ApiClient, acme: Account, services: Services) -> None:
    """A workspace's and a project's key create and see in their own part, and may name no other."""
    inside = await sandbox(services, acme, name="inside")
    outside = await services.resources.create(Kind.SANDBOX, acme.tenant.id, name="outside")
    for key in (acme.workspace_key, acme.project_key):
        made = await api("POST", "/api/v1/sandboxes", key=key)
        assert made.status == 201
        assert made.json["data"]["workspace_id"] == acme.workspace.id
        assert (await api("DELETE", f"/api/v1/sandboxes/{made.json['data']['id']}", key=key)).status == 200
        for body in (
            {"workspace_id": acme.default.id},
            {"workspace_slug": "brand-new"},
            {"project_id": acme.default_project.id},
        ):
            refused = await api("POST", "/api/v1/sandboxes", key=key, json=body)
            assert (refused.status, refused.code) == (403, "forbidden"), body
        listed = await api("GET", "/api/v1/sandboxes", key=key)
        assert [item["id"] for item in listed.json["data"]] == [inside.id]
        refused = await api("GET", f"/api/v1/sandboxes?workspace_id={acme.default.id}", key=key)
        assert refused.status == 403
        assert (await api("GET", "/api/v1/sandboxes/by-name/inside", key=key)).status == 200
        assert (await api("GET", "/api/v1/sandboxes/by-name/outside", key=key)).status == 404
        assert (await api("GET", f"/api/v1/sandboxes/{outside.id}", key=key)).status == 403


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"name": "Mine"}),
        ("DELETE", "", None),
        ("POST", "/expose", {"port": 3000}),
        ("GET", "/previews", None),
        ("POST", "/previews", {"port": 3000}),
        ("GET", f"/previews/{SOME_ID}", None),
        ("DELETE", f"/previews/{SOME_ID}", None),
    ],
)
async def test_isolation(
    api: ApiClient,
    acme: Account,
    globex: Account,
    services: Services,
    method: str,
    rest: str,
    body: dict[str, Any] | None,
) -> None:
    """No key: 401. Another tenant's: 404. Another workspace's or project's of the same tenant: 403."""
    made = await sandbox(services, globex, name="Secret box", slug="secret-box")
    theirs = f"/api/v1/sandboxes/{made.id}{rest}"
    ours = await services.resources.create(Kind.SANDBOX, acme.tenant.id, name="Secret box", slug="our-secret-box")
    narrow = f"/api/v1/sandboxes/{ours.id}{rest}"
    wanted = [
        (theirs, None, 401),
        (theirs, "msk_live_wrong", 401),
        (theirs, acme.key, 404),
        (theirs, acme.workspace_key, 404),
        (theirs, acme.project_key, 404),
        (narrow, acme.workspace_key, 403),
        (narrow, acme.project_key, 403),
    ]
    for path, key, status in wanted:
        answer = await api(method, path, key=key, json=body)
        assert answer.status == status, (path, key)
        assert b"ecret" not in answer.body
    for resource in (made, ours):
        assert await services.resources.get(resource.id) == resource
