"""/projects as its page shows it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import miosa
import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.node.services import Services
from router.routes.records import Kind, Scope
from router.routes.resolver import Resolver
from router.settings import Settings
from router.store import Store
from router.tenancy.ownership import Ownership
from tests.support.accounts import Account
from tests.support.api import Answered, ApiClient
from tests.support.checks import verify_preview

pytestmark = pytest.mark.asyncio

PROJECT_FIELDS = {
    "id",
    "tenant_id",
    "workspace_id",
    "external_workspace_id",
    "external_project_id",
    "name",
    "slug",
    "description",
    "metadata",
    "settings",
    "created_at",
    "updated_at",
}


def message(answer: Answered) -> str:
    return str(answer.json["error"]["message"])


async def create(api: ApiClient, acme: Account, **body: Any) -> Answered:
    return await api("POST", "/api/v1/projects", json={"workspace_id": acme.workspace.id, "name": "P", **body})


async def test_page_list(api: ApiClient, acme: Account) -> None:
    """The list has exactly `data` and `total`, and can be limited to one workspace."""
    answer = await api("GET", "/api/v1/projects")
    assert answer.status == 200
    assert set(answer.json) == {"data", "total"}
    assert answer.json["total"] == 2
    assert all(set(item) >= PROJECT_FIELDS for item in answer.json["data"])
    answer = await api("GET", f"/api/v1/projects?workspace_id={acme.workspace.id}")
    assert [item["id"] for item in answer.json["data"]] == [acme.project.id]
    assert (await api("GET", "/api/v1/projects?workspace_id=x")).status == 422
    assert (await api("GET", f"/api/v1/projects?workspace_id={new_id()}")).json == {"data": [], "total": 0}


async def test_page_create(api: ApiClient) -> None:
    """The page's request creates the project that it describes, in the workspace of that slug."""
    clinic = {"name": "Dr. Smith Clinic", "slug": "dr-smith-clinic", "external_workspace_id": "clinic_123"}
    workspace = (await api("POST", "/api/v1/workspaces", json=clinic)).json["data"]
    body = {
        "workspace_slug": "dr-smith-clinic",
        "name": "Lead Magnet",
        "slug": "lead-magnet",
        "external_workspace_id": "clinic_123",
        "external_project_id": "project_789",
    }
    answer = await api("POST", "/api/v1/projects", json=body)
    assert answer.status == 201
    assert set(answer.json) == {"data"}
    created = answer.json["data"]
    assert set(created) >= PROJECT_FIELDS
    del body["workspace_slug"]
    shown = {"workspace_id": workspace["id"], "description": None, "metadata": {}, "settings": {}}
    assert created | body | shown == created
    assert (await api("GET", f"/api/v1/projects/{created['id']}")).json == answer.json


@pytest.mark.parametrize("selector", ["workspace_id", "workspace_slug", "external_workspace_id"])
async def test_each_selector_of_a_workspace(api: ApiClient, acme: Account, selector: str) -> None:
    """Any of the three selectors names the workspace, whose external id the project inherits."""
    value = {
        "workspace_id": acme.workspace.id,
        "workspace_slug": acme.workspace.slug,
        "external_workspace_id": acme.workspace.external_workspace_id,
    }[selector]
    answer = await api("POST", "/api/v1/projects", json={"name": "P", selector: value})
    assert (answer.status, answer.json["data"]["workspace_id"]) == (201, acme.workspace.id)
    assert answer.json["data"]["external_workspace_id"] == acme.workspace.external_workspace_id


async def test_no_selector(api: ApiClient) -> None:
    """400 WORKSPACE_REQUIRED where no workspace is named."""
    answer = await api("POST", "/api/v1/projects", json={"name": "Lost"})
    assert (answer.status, answer.code) == (400, "WORKSPACE_REQUIRED")


async def test_selector_that_names_nothing(api: ApiClient, globex: Account) -> None:
    """404 WORKSPACE_NOT_FOUND, the same for what does not exist and for another tenant's."""
    answers = [
        await api("POST", "/api/v1/projects", json={"name": "Lost", name: value})
        for name, value in [
            ("workspace_id", new_id()),
            ("workspace_id", globex.workspace.id),
            ("workspace_slug", globex.workspace.slug),
            ("external_workspace_id", globex.workspace.external_workspace_id),
        ]
    ]
    assert {(answer.status, answer.code) for answer in answers} == {(404, "WORKSPACE_NOT_FOUND")}
    assert len({message(answer) for answer in answers}) == 1


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"name": ""}, "name", "can't be blank"),
        ({"name": None}, "name", "can't be blank"),
        ({"name": "x" * 121}, "name", "should be at most 120 character(s)"),
        ({"slug": "Nope"}, "slug", "must start with alphanumeric and contain only a-z 0-9 -"),
        ({"slug": "acme-site"}, "slug", "has already been taken"),
        ({"external_project_id": "x" * 256}, "external_project_id", "should be at most 255 character(s)"),
        ({"external_project_id": ""}, "external_project_id", "can't be blank"),
        ({"workspace_id": "x"}, "workspace_id", "must be a UUID"),
        ({"metadata": "x"}, "metadata", "is invalid"),
    ],
)
async def test_create_refuses(api: ApiClient, acme: Account, body: dict[str, Any], field: str, words: str) -> None:
    """422 VALIDATION_FAILED where name, slug or external project id are wrong."""
    answer = await create(api, acme, **body)
    assert (answer.status, answer.code, answer.fields) == (422, "VALIDATION_FAILED", {field: [words]})


async def test_slug_is_unique_in_its_workspace(api: ApiClient, acme: Account) -> None:
    """The same name again gets another slug; in another workspace the same slug is free."""
    slugs = [(await create(api, acme, name="Lead Magnet")).json["data"]["slug"] for _ in range(2)]
    assert slugs == ["lead-magnet", "lead-magnet-2"]
    answer = await create(api, acme, workspace_id=acme.default.id, slug="lead-magnet")
    assert answer.status == 201


async def test_page_update(api: ApiClient, acme: Account) -> None:
    """The page's request renames it; every field of the page can be set, and description cleared."""
    path = f"/api/v1/projects/{acme.project.id}"
    answer = await api("PATCH", path, json={"name": "Summer Lead Magnet"})
    assert (answer.status, answer.json["data"]["name"]) == (200, "Summer Lead Magnet")
    body = {
        "slug": "summer",
        "description": "x",
        "external_project_id": "p_1",
        "external_workspace_id": "w_1",
        "metadata": {"a": 1},
        "settings": {"b": [2]},
    }
    answer = await api("PATCH", path, json=body)
    assert answer.json["data"] | body == answer.json["data"]
    assert (await api("PATCH", path, json={"description": None})).json["data"]["description"] is None
    await create(api, acme, slug="taken")
    answer = await api("PATCH", path, json={"slug": "taken"})
    assert (answer.status, answer.fields) == (422, {"slug": ["has already been taken"]})


async def test_delete(api: ApiClient, acme: Account, services: Services) -> None:
    """An empty project goes; one that holds something, and a default one, do not."""
    path = f"/api/v1/projects/{acme.project.id}"
    into = Ownership(project_id=acme.project.id)
    for kind in Kind:
        resource = await services.resources.create(kind, acme.tenant.id, ownership=into)
        answer = await api("DELETE", path)
        assert (answer.status, message(answer)) == (409, f"project has {kind.plural}")
        await services.resources.delete(resource.id)
    answer = await api("DELETE", path)
    assert (answer.status, answer.json) == (200, {"deleted": True})
    assert (await api("GET", path)).status == 404
    answer = await api("DELETE", f"/api/v1/projects/{acme.default_project.id}")
    assert (answer.status, message(answer)) == (409, "a workspace's default project can't be deleted")


async def test_deleted_projects_key_is_dead(api: ApiClient, acme: Account) -> None:
    """What was opened for a project ends with it."""
    path = f"/api/v1/projects/{acme.project.id}"
    assert (await api("GET", path, key=acme.project_key)).status == 200
    await api("DELETE", path)
    assert (await api("GET", path, key=acme.project_key)).status == 401


@pytest_asyncio.fixture
async def resolver(store: Store, settings: Settings, clock: ManualClock) -> AsyncIterator[Resolver]:
    """What the proxy of this process asks."""
    opened = Resolver(
        store.records,
        platform_domain=settings.platform_domain,
        reserved_ports=frozenset(),
        limits=settings.cache,
        clock=clock,
    )
    store.after_commit(opened.drop)
    yield opened
    await opened.close()


async def test_move(api: ApiClient, acme: Account, services: Services, resolver: Resolver) -> None:
    """A moved project's hosts leave the old workspace's zone and appear in the new one's when the call returns."""
    into = Ownership(project_id=acme.project.id)
    sandbox = await services.resources.create(
        Kind.SANDBOX, acme.tenant.id, ownership=into, slug="sbxmove", default_port=80
    )
    other = (await api("POST", "/api/v1/workspaces", json={"name": "B", "external_workspace_id": "b_1"})).json["data"]
    for scope_id, domain in ((acme.workspace.id, "old.example.org"), (other["id"], "new.example.org")):
        await services.preview_domains.set(Scope.WORKSPACE, scope_id, domain)
        await verify_preview(services, Scope.WORKSPACE, scope_id)

    async def answers() -> list[bool]:
        hosts = (b"sbxmove.old.example.org", b"sbxmove.new.example.org", b"sbxmove.miosa.app")
        return [(await resolver.resolve(host)).resource is not None for host in hosts]

    assert await answers() == [True, False, True]
    answer = await api("POST", f"/api/v1/projects/{acme.project.id}/move", json={"target_workspace_id": other["id"]})
    assert answer.status == 200
    assert answer.json["data"]["workspace_id"] == other["id"]
    assert answer.json["data"]["external_workspace_id"] == "b_1"
    assert await answers() == [False, True, True]
    moved = await services.resources.get(sandbox.id)
    assert (moved.workspace_id, moved.external_workspace_id) == (other["id"], "b_1")
    assert (await api("GET", f"/api/v1/workspaces/{other['id']}/projects")).json["total"] == 1


async def test_move_refuses(api: ApiClient, acme: Account, globex: Account, services: Services) -> None:
    """Not the default project, not to where its slug is taken, not over a cap, not to another tenant."""
    path, wanted = f"/api/v1/projects/{acme.project.id}/move", {"target_workspace_id": acme.default.id}
    for target, status, code in [
        (globex.workspace.id, 404, "WORKSPACE_NOT_FOUND"),
        (new_id(), 404, "WORKSPACE_NOT_FOUND"),
        ("x", 422, "VALIDATION_FAILED"),
    ]:
        answer = await api("POST", path, json={"target_workspace_id": target})
        assert (answer.status, answer.code) == (status, code)
    answer = await api(
        "POST", f"/api/v1/projects/{acme.default_project.id}/move", json={"target_workspace_id": acme.workspace.id}
    )
    assert (answer.status, message(answer)) == (409, "a workspace's default project can't be moved")
    twin = (await create(api, acme, workspace_id=acme.default.id, slug=acme.project.slug)).json["data"]
    answer = await api("POST", path, json=wanted)
    assert (answer.status, answer.fields) == (422, {"slug": ["has already been taken"]})
    await api("DELETE", f"/api/v1/projects/{twin['id']}")
    await services.resources.create(Kind.COMPUTER, acme.tenant.id, ownership=Ownership(project_id=acme.project.id))
    await api("PUT", f"/api/v1/workspaces/{acme.default.id}/settings", json={"max_computers": 0})
    answer = await api("POST", path, json=wanted)
    assert (answer.status, answer.fields) == (422, {"target_workspace_id": ["may hold 0 computer(s) at most"]})
    await api("PUT", f"/api/v1/workspaces/{acme.default.id}/settings", json={"max_computers": 1})
    assert (await api("POST", path, json=wanted)).status == 200
    assert (await api("POST", path, json=wanted)).status == 200, "where it is already is no move"


REQUESTS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "", None),
    ("PATCH", "", {"name": "Mine"}),
    ("DELETE", "", None),
    ("POST", "/move", {"target_workspace_id": new_id()}),
]


@pytest.mark.parametrize(("method", "rest", "body"), REQUESTS)
async def test_isolation(
    api: ApiClient, acme: Account, globex: Account, method: str, rest: str, body: dict[str, Any] | None
) -> None:
    """No key: 401. Another tenant's: 404, as for what never was. Another project's or workspace's own: 403."""
    path = f"/api/v1/projects/{acme.project.id}{rest}"
    inside = (await create(api, acme)).json["data"]
    outside = (await create(api, acme, workspace_id=acme.default.id)).json["data"]
    wanted = [
        (path, None, 401),
        (path, globex.key, 404),
        (f"/api/v1/projects/{outside['id']}{rest}", acme.workspace_key, 403),
        (f"/api/v1/projects/{inside['id']}{rest}", acme.project_key, 403),
    ]
    for where, key, status in wanted:
        answer = await api(method, where, key=key, json=body)
        assert answer.status == status, (where, key)
        assert acme.project.name.encode() not in answer.body
        assert acme.project.slug.encode() not in answer.body
    unknown = await api(method, f"/api/v1/projects/{new_id()}{rest}", json=body)
    assert (unknown.status, unknown.code) == (404, "project_not_found")


async def test_narrower_keys(api: ApiClient, acme: Account) -> None:
    """A workspace's key sees and makes projects in it; a project's key sees that one."""
    await create(api, acme, workspace_id=acme.default.id)
    key = acme.workspace_key
    listed = await api("GET", "/api/v1/projects", key=key)
    assert [item["id"] for item in listed.json["data"]] == [acme.project.id]
    assert (await api("GET", f"/api/v1/projects?workspace_id={acme.default.id}", key=key)).status == 403
    made = await api("POST", "/api/v1/projects", key=key, json={"name": "Ours"})
    assert (made.status, made.json["data"]["workspace_id"]) == (201, acme.workspace.id)
    elsewhere = {"name": "Theirs", "workspace_id": acme.default.id}
    assert (await api("POST", "/api/v1/projects", key=key, json=elsewhere)).status == 403
    assert (
        await api("POST", "/api/v1/projects", key=key, json={"name": "x", "workspace_slug": "default"})
    ).status == 403
    path = f"/api/v1/projects/{made.json['data']['id']}"
    assert (await api("POST", f"{path}/move", key=key, json={"target_workspace_id": acme.default.id})).status == 403
    assert (await api("DELETE", path, key=key)).status == 200
    own, key = f"/api/v1/projects/{acme.project.id}", acme.project_key
    listed = await api("GET", "/api/v1/projects", key=key)
    assert [item["id"] for item in listed.json["data"]] == [acme.project.id]
    assert (await api("PATCH", own, key=key, json={"description": "ours"})).status == 200
    assert (await api("DELETE", own, key=key)).status == 403
    assert (await api("POST", "/api/v1/projects", key=key, json=elsewhere)).status == 403


async def test_list_in_pages_and_by_external_ids(api: ApiClient, acme: Account) -> None:
    """The list takes `page` and `page_size`, and filters by either external id."""
    for number in range(3):
        await create(api, acme, name=f"P{number}", external_project_id=f"p_{number}", external_workspace_id="elsewhere")
    answer = await api("GET", "/api/v1/projects?page=2&page_size=3")
    assert (len(answer.json["data"]), answer.json["total"]) == (2, 5)
    answer = await api("GET", "/api/v1/projects?external_project_id=p_1&external_workspace_id=elsewhere")
    assert [item["name"] for item in answer.json["data"]] == ["P1"]
    assert (await api("GET", f"/api/v1/workspaces/{acme.workspace.id}/projects?page_size=1")).json["total"] == 4


async def test_same_idempotency_key_creates_once(api: ApiClient, acme: Account) -> None:
    """The same key and body is answered again, and nothing is made twice."""
    headers, body = {"Idempotency-Key": new_id()}, {"name": "Once", "workspace_id": acme.workspace.id}
    first = await api("POST", "/api/v1/projects", json=body, headers=headers)
    again = await api("POST", "/api/v1/projects", json=body, headers=headers)
    assert (first.body, again.headers["Idempotent-Replayed"]) == (again.body, "true")
    assert (await api("GET", f"/api/v1/projects?workspace_id={acme.workspace.id}")).json["total"] == 2


async def test_official_client(client: miosa.Miosa, acme: Account) -> None:
    """Every method of the client's projects that this service has works unmodified."""

    def use() -> None:
        projects = client.projects
        made = projects.create("Clinic IQ", workspace_id=acme.workspace.id, description="d", metadata={"a": 1})
        assert (made["slug"], made["workspace_id"]) == ("clinic-iq", acme.workspace.id)
        by_slug = projects.create("Two", workspace_slug=acme.workspace.slug, slug="two")
        assert {made["id"], by_slug["id"]} < {one["id"] for one in projects.list(workspace_id=acme.workspace.id)}
        assert projects.get(made["id"])["metadata"] == {"a": 1}
        assert projects.update(made["id"], name="IQ", slug="iq")["slug"] == "iq"
        assert projects.move(made["id"], acme.default.id)["workspace_id"] == acme.default.id
        projects.delete(made["id"])
        with pytest.raises(miosa.NotFoundError, match="No project with id"):
            projects.get(made["id"])

    await asyncio.to_thread(use)


async def test_official_client_async(async_client: miosa.AsyncMiosa, acme: Account) -> None:
    """And so do their async twins."""
    projects = async_client.projects
    made = await projects.create("Clinic IQ", workspace_id=acme.workspace.id)
    assert made["id"] in {one["id"] for one in await projects.list()}
    assert (await projects.get(made["id"]))["name"] == "Clinic IQ"
    assert (await projects.update(made["id"], name="IQ"))["name"] == "IQ"
    assert (await projects.move(made["id"], acme.default.id))["workspace_id"] == acme.default.id
    await projects.delete(made["id"])
