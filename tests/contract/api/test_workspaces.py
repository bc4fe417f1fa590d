"""/workspaces as its page shows it."""

import asyncio
import re
from typing import Any

import miosa
import pytest
from miosa.errors import WorkspaceNameExistsError
from miosa.resources.workspaces import AsyncWorkspaces, Workspaces

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.node.services import Services
from router.routes.records import Kind
from router.tenancy.ownership import Ownership
from tests.support.accounts import Account
from tests.support.api import Answered, ApiClient

pytestmark = pytest.mark.asyncio

WORKSPACE_FIELDS = {
    "id",
    "tenant_id",
    "name",
    "slug",
    "external_workspace_id",
    "description",
    "metadata",
    "is_default",
    "computer_count",
    "created_at",
    "updated_at",
}

NO_SIZE = "is invalid: must be 'small', 'medium' or 'large'"
SETTINGS = {
    "max_computers": 10,
    "max_computer_size": "large",
    "default_computer_size": "small",
    "default_auto_stop_seconds": 3600,
    "allowed_template_types": [],
}


def message(answer: Answered) -> str:
    return str(answer.json["error"]["message"])


async def test_page_list(api: ApiClient, acme: Account) -> None:
    """The list has exactly `data` and `total`, and the default workspace among its items."""
    answer = await api("GET", "/api/v1/workspaces")
    assert answer.status == 200
    assert set(answer.json) == {"data", "total"}
    assert answer.json["total"] == 2
    default = next(item for item in answer.json["data"] if item["is_default"])
    assert set(default) >= WORKSPACE_FIELDS
    assert default | {"name": "default", "slug": "default", "description": None, "metadata": {}} == default
    assert default["tenant_id"] == acme.tenant.id
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", default["created_at"])


async def test_page_create(api: ApiClient, acme: Account) -> None:
    """The page's request creates the workspace that it describes."""
    body = {
        "name": "Dr. Smith Clinic",
        "slug": "dr-smith-clinic",
        "external_workspace_id": "clinic_123",
        "description": "Client workspace for Dr. Smith Clinic",
    }
    answer = await api("POST", "/api/v1/workspaces", json=body)
    assert answer.status == 201
    assert set(answer.json) == {"data"}
    created = answer.json["data"]
    assert set(created) >= WORKSPACE_FIELDS
    assert created | body == created
    assert (created["is_default"], created["computer_count"], created["metadata"]) == (False, 0, {})
    assert (await api("GET", f"/api/v1/workspaces/{created['id']}")).json == answer.json


async def test_slug_is_made_from_the_name(api: ApiClient) -> None:
    """Without a slug the name suggests one, and a number keeps it unique."""
    slugs = []
    for name in ("Dr. Müller & Söhne", "Dr Müller Söhne", "東京"):
        answer = await api("POST", "/api/v1/workspaces", json={"name": name})
        slugs.append(answer.json["data"]["slug"])
    assert slugs == ["dr-muller-sohne", "dr-muller-sohne-2", "workspace"]


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "name", "can't be blank"),
        ({"name": ""}, "name", "can't be blank"),
        ({"name": "  "}, "name", "can't be blank"),
        ({"name": 5}, "name", "is invalid"),
        ({"name": "x" * 121}, "name", "should be at most 120 character(s)"),
        ({"name": "X", "slug": "Dr_Smith"}, "slug", "must start with alphanumeric and contain only a-z 0-9 -"),
        ({"name": "X", "slug": "-x"}, "slug", "must start with alphanumeric and contain only a-z 0-9 -"),
        ({"name": "X", "slug": "x" * 81}, "slug", "must start with alphanumeric and contain only a-z 0-9 -"),
        ({"name": "X", "slug": "default"}, "slug", "has already been taken"),
        ({"name": "X", "metadata": []}, "metadata", "is invalid"),
        ({"name": "X", "description": "x" * 2001}, "description", "should be at most 2000 character(s)"),
    ],
)
async def test_create_refuses(api: ApiClient, body: dict[str, Any], field: str, words: str) -> None:
    """A wrong field is 422 VALIDATION_FAILED, in the page's words, in `error.fields` and in the message."""
    answer = await api("POST", "/api/v1/workspaces", json=body)
    assert (answer.status, answer.code) == (422, "VALIDATION_FAILED")
    assert answer.fields == {field: [words]}
    assert words in message(answer)


async def test_external_id_answers_the_existing_workspace(api: ApiClient, acme: Account) -> None:
    """The same external id again is 200 with `reused`, whatever else is sent; another tenant's is not seen."""
    body = {"name": "Another name", "external_workspace_id": acme.workspace.external_workspace_id}
    answer = await api("POST", "/api/v1/workspaces", json=body)
    assert answer.status == 200
    assert answer.json["reused"] is True
    assert answer.json["data"]["id"] == acme.workspace.id
    assert answer.json["data"]["name"] == acme.workspace.name


async def test_external_ids_are_a_tenants_own(api: ApiClient, globex: Account) -> None:
    """Another tenant's external id means nothing here."""
    body = {"name": "Mine", "external_workspace_id": globex.workspace.external_workspace_id}
    answer = await api("POST", "/api/v1/workspaces", json=body)
    assert answer.status == 201
    assert answer.json["data"]["id"] != globex.workspace.id


async def test_name_that_exists(api: ApiClient, acme: Account) -> None:
    """A name that exists is 409 with the workspace under `error.existing`, unless a duplicate is wanted."""
    answer = await api("POST", "/api/v1/workspaces", json={"name": acme.workspace.name})
    assert (answer.status, answer.code) == (409, "WORKSPACE_NAME_EXISTS")
    assert answer.json["error"]["existing"]["id"] == acme.workspace.id
    assert set(answer.json["error"]["existing"]) >= WORKSPACE_FIELDS
    body = {"name": acme.workspace.name, "allow_duplicate_name": True}
    assert (await api("POST", "/api/v1/workspaces", json=body)).status == 201


async def test_get_of_what_is_not_mine(api: ApiClient, acme: Account, globex: Account) -> None:
    """Another tenant's workspace is 403 forbidden, one that does not exist 404 workspace not found."""
    answer = await api("GET", f"/api/v1/workspaces/{globex.workspace.id}")
    assert (answer.status, answer.code, message(answer)) == (403, "forbidden", "forbidden")
    answer = await api("GET", f"/api/v1/workspaces/{new_id()}")
    assert (answer.status, answer.code, message(answer)) == (404, "workspace_not_found", "workspace not found")
    assert (await api("GET", "/api/v1/workspaces/clinic")).status == 404


async def test_page_update(api: ApiClient, acme: Account, clock: ManualClock) -> None:
    """The page's request renames it; null clears what may be empty."""
    clock.advance(60)
    path = f"/api/v1/workspaces/{acme.workspace.id}"
    answer = await api("PATCH", path, json={"name": "production-us-east"})
    assert answer.status == 200
    assert answer.json["data"]["name"] == "production-us-east"
    assert answer.json["data"]["slug"] == acme.workspace.slug
    assert answer.json["data"]["updated_at"] == "2026-01-01T00:01:00Z"
    body = {"description": "x", "metadata": {"a": 1}, "slug": "prod", "external_workspace_id": None}
    assert (await api("PATCH", path, json=body)).json["data"] | body == (await api("GET", path)).json["data"]
    assert (await api("PATCH", path, json={"description": None})).json["data"]["description"] is None
    assert (await api("PATCH", path, json={})).json == (await api("GET", path)).json


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"name": None}, "name", "can't be blank"),
        ({"slug": None}, "slug", "can't be blank"),
        ({"slug": "default"}, "slug", "has already been taken"),
        ({"slug": "A"}, "slug", "must start with alphanumeric and contain only a-z 0-9 -"),
        ({"external_workspace_id": "taken"}, "external_workspace_id", "has already been taken"),
        ({"metadata": None}, "metadata", "can't be blank"),
    ],
)
async def test_update_refuses(api: ApiClient, acme: Account, body: dict[str, Any], field: str, words: str) -> None:
    """A wrong field changes nothing."""
    await api("POST", "/api/v1/workspaces", json={"name": "Other", "external_workspace_id": "taken"})
    path = f"/api/v1/workspaces/{acme.workspace.id}"
    answer = await api("PATCH", path, json=body)
    assert (answer.status, answer.code, answer.fields) == (422, "VALIDATION_FAILED", {field: [words]})
    assert (await api("GET", path)).json["data"]["name"] == acme.workspace.name


async def test_page_delete(api: ApiClient) -> None:
    """An empty workspace goes, with 200 and `deleted`; its slug and external id are free again."""
    body = {"name": "Gone", "slug": "gone", "external_workspace_id": "gone_1"}
    created = (await api("POST", "/api/v1/workspaces", json=body)).json["data"]
    answer = await api("DELETE", f"/api/v1/workspaces/{created['id']}")
    assert (answer.status, answer.json) == (200, {"deleted": True})
    for method in ("GET", "DELETE"):
        assert (await api(method, f"/api/v1/workspaces/{created['id']}")).status == 404
    again = await api("POST", "/api/v1/workspaces", json=body)
    assert (again.status, again.json["data"]["id"] == created["id"]) == (201, False)


@pytest.mark.parametrize("kind", list(Kind))
async def test_delete_of_what_is_not_empty(api: ApiClient, acme: Account, services: Services, kind: Kind) -> None:
    """409 names what is in the way; without it the workspace's projects are, and then it can go."""
    path = f"/api/v1/workspaces/{acme.workspace.id}"
    resource = await services.resources.create(
        kind, acme.tenant.id, ownership=Ownership(workspace_id=acme.workspace.id), name="one"
    )
    answer = await api("DELETE", path)
    assert (answer.status, message(answer)) == (409, f"workspace has {kind.plural}")
    await services.resources.delete(resource.id)
    answer = await api("DELETE", path)
    assert (answer.status, message(answer)) == (409, "workspace has projects")
    await services.projects.delete(acme.project.id)
    assert (await api("DELETE", path)).status == 200


async def test_default_workspace_stays(api: ApiClient, acme: Account) -> None:
    """The default workspace can't be deleted, even when it is empty."""
    answer = await api("DELETE", f"/api/v1/workspaces/{acme.default.id}")
    assert (answer.status, message(answer)) == (409, "the default workspace can't be deleted")


async def test_page_settings(api: ApiClient, acme: Account) -> None:
    """The page's request answers the page's settings; what is not sent keeps its value."""
    path = f"/api/v1/workspaces/{acme.workspace.id}/settings"
    body = {"max_computers": 10, "max_computer_size": "large", "default_auto_stop_seconds": 3600}
    answer = await api("PUT", path, json=body)
    assert answer.status == 200
    assert set(answer.json) == {"workspace_id", "settings", "updated_at"}
    assert answer.json["workspace_id"] == acme.workspace.id
    assert answer.json["settings"] == SETTINGS
    assert answer.json["updated_at"].endswith("Z")
    later = await api("PUT", path, json={"max_computers": None, "allowed_template_types": ["miosa-desktop"]})
    assert later.json["settings"] == SETTINGS | {"max_computers": None, "allowed_template_types": ["miosa-desktop"]}


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"max_computer_size": "huge"}, "max_computer_size", NO_SIZE),
        ({"default_computer_size": "tiny"}, "default_computer_size", NO_SIZE),
        ({"max_computers": -1}, "max_computers", "must be greater than or equal to 0"),
        ({"max_computers": "10"}, "max_computers", "is invalid"),
        ({"max_computers": 1.5}, "max_computers", "is invalid"),
        ({"max_computers": 2**31}, "max_computers", "must be less than or equal to 2147483647"),
        ({"default_auto_stop_seconds": -1}, "default_auto_stop_seconds", "must be greater than or equal to 0"),
        ({"allowed_template_types": "x"}, "allowed_template_types", "is invalid"),
        ({"allowed_template_types": [1]}, "allowed_template_types.0", "is invalid"),
        (
            {"max_computer_size": "small", "default_computer_size": "large"},
            "default_computer_size",
            "must not be larger than max_computer_size",
        ),
    ],
)
async def test_settings_refuse(api: ApiClient, acme: Account, body: dict[str, Any], field: str, words: str) -> None:
    """Unknown sizes and invalid limits are 422 VALIDATION_FAILED."""
    answer = await api("PUT", f"/api/v1/workspaces/{acme.workspace.id}/settings", json=body)
    assert (answer.status, answer.code) == (422, "VALIDATION_FAILED")
    assert answer.fields == {field: [words]}


@pytest.mark.parametrize(
    ("caps", "details", "field"),
    [
        ({"max_computers": 0}, {}, "workspace_id"),
        ({"max_computer_size": "small"}, {"size": "medium"}, "size"),
        ({"allowed_template_types": ["a"]}, {"template_type": "b"}, "template_type"),
    ],
)
async def test_settings_cap_computers(
    api: ApiClient, acme: Account, services: Services, caps: dict[str, Any], details: dict[str, Any], field: str
) -> None:
    """A computer over a cap is refused, a sandbox is not: the caps are those of computers."""
    assert (await api("PUT", f"/api/v1/workspaces/{acme.workspace.id}/settings", json=caps)).status == 200
    into = Ownership(workspace_id=acme.workspace.id)
    with pytest.raises(Exception, match="VALIDATION_FAILED") as refused:
        await services.resources.create(Kind.COMPUTER, acme.tenant.id, ownership=into, **details)
    assert set(refused.value.fields) == {field}  # type: ignore[attr-defined]
    await services.resources.create(Kind.SANDBOX, acme.tenant.id, ownership=into, **details)


async def test_default_size_is_given(api: ApiClient, acme: Account, services: Services) -> None:
    """A computer that does not say how large it is gets the workspace's default size."""
    into = Ownership(workspace_id=acme.workspace.id)
    first = await services.resources.create(Kind.COMPUTER, acme.tenant.id, ownership=into)
    await api("PUT", f"/api/v1/workspaces/{acme.workspace.id}/settings", json={"default_computer_size": "medium"})
    second = await services.resources.create(Kind.COMPUTER, acme.tenant.id, ownership=into)
    assert [(one.size, one.vcpus) for one in (first, second)] == [("small", 1), ("medium", 2)]


REQUESTS = [
    ("GET", "", None),
    ("PATCH", "", {"name": "Mine"}),
    ("DELETE", "", None),
    ("PUT", "/settings", {"max_computers": 1}),
    ("GET", "/stats", None),
    ("GET", "/usage", None),
    ("GET", "/projects", None),
]


@pytest.mark.parametrize(("method", "rest", "body"), REQUESTS)
async def test_isolation(
    api: ApiClient, acme: Account, globex: Account, method: str, rest: str, body: dict[str, Any] | None
) -> None:
    """No key: 401. Another tenant's, another workspace's or a project's key: 403. No byte of the record in any."""
    path = f"/api/v1/workspaces/{acme.workspace.id}{rest}"
    other = await api("POST", "/api/v1/workspaces", json={"name": "Second"})
    theirs = f"/api/v1/workspaces/{other.json['data']['id']}{rest}"
    wanted = [
        (path, None, 401),
        (path, "msk_live_wrong", 401),
        (path, globex.key, 403),
        (path, globex.workspace_key, 403),
        (theirs, acme.workspace_key, 403),
        (path, acme.project_key, 403),
    ]
    for where, key, status in wanted:
        answer = await api(method, where, key=key, json=body)
        assert answer.status == status, (where, key)
        assert acme.workspace.name.encode() not in answer.body
        assert acme.workspace.slug.encode() not in answer.body
    assert (await api("GET", f"/api/v1/workspaces/{acme.workspace.id}")).json["data"]["name"] == acme.workspace.name


async def test_a_workspaces_own_key(api: ApiClient, acme: Account) -> None:
    """It sees and names its workspace; it makes and deletes none, and can't lift its caps."""
    path, key = f"/api/v1/workspaces/{acme.workspace.id}", acme.workspace_key
    listed = await api("GET", "/api/v1/workspaces", key=key)
    assert [item["id"] for item in listed.json["data"]] == [acme.workspace.id]
    assert (await api("GET", path, key=key)).status == 200
    assert (await api("PATCH", path, key=key, json={"description": "ours"})).status == 200
    assert (await api("GET", f"{path}/stats", key=key)).status == 200
    assert (await api("GET", f"{path}/usage", key=key)).status == 200
    assert (await api("POST", "/api/v1/workspaces", key=key, json={"name": "More"})).status == 403
    assert (await api("PUT", f"{path}/settings", key=key, json={})).status == 403
    assert (await api("DELETE", path, key=key)).status == 403


async def test_list_in_pages(api: ApiClient, acme: Account) -> None:
    """The list takes `page` and `page_size`, and filters by external id."""
    for number in range(3):
        await api("POST", "/api/v1/workspaces", json={"name": f"W{number}", "external_workspace_id": f"w_{number}"})
    answer = await api("GET", "/api/v1/workspaces?page=2&page_size=2")
    assert (len(answer.json["data"]), answer.json["total"]) == (2, 5)
    assert (await api("GET", "/api/v1/workspaces?page_size=x")).status == 422
    answer = await api("GET", "/api/v1/workspaces?external_workspace_id=w_1")
    assert [item["name"] for item in answer.json["data"]] == ["W1"]
    assert answer.json["total"] == 1


async def test_same_idempotency_key_creates_once(api: ApiClient) -> None:
    """The same key and body is answered again, and nothing is made twice."""
    headers = {"Idempotency-Key": new_id()}
    first = await api("POST", "/api/v1/workspaces", json={"name": "Once"}, headers=headers)
    again = await api("POST", "/api/v1/workspaces", json={"name": "Once"}, headers=headers)
    assert (first.status, again.status) == (201, 201)
    assert first.body == again.body
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await api("POST", "/api/v1/workspaces", json={"name": "Twice"}, headers=headers)
    assert (other.status, other.code) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        ({"name": "Twin", "external_workspace_id": "twin"}, [200, 200, 200, 201]),
        ({"name": "Twin"}, [201, 409, 409, 409]),
    ],
)
async def test_many_at_once_make_one(api: ApiClient, body: dict[str, Any], statuses: list[int]) -> None:
    """Of the same request several times at once, one makes a workspace, and the others hear of it."""
    answers = await asyncio.gather(*(api("POST", "/api/v1/workspaces", json=body) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == statuses
    ids = {(answer.json.get("data") or answer.json["error"]["existing"])["id"] for answer in answers}
    assert len(ids) == 1


async def test_official_client(client: miosa.Miosa) -> None:
    """`client.workspaces` works unmodified."""

    def use() -> None:
        workspaces = client.workspaces
        made = workspaces.create("@alex", description="d", metadata={"a": 1}, external_workspace_id="cust_1041")
        assert (made.description, made.metadata, made.reused) == ("d", {"a": 1}, None)
        assert workspaces.create("@alex", external_workspace_id="cust_1041").reused is True
        with pytest.raises(WorkspaceNameExistsError) as raised:
            workspaces.create("@alex")
        assert raised.value.body["error"]["existing"]["id"] == made.id
        assert workspaces.create("@alex", allow_duplicate_name=True).id != made.id
        assert made.id in {one.id for one in workspaces.list()}
        assert workspaces.get(made.id).name == "@alex"
        assert workspaces.update(made.id, name="Alex").name == "Alex"
        workspaces.delete(made.id)
        with pytest.raises(miosa.NotFoundError, match="workspace not found"):
            workspaces.get(made.id)

    await asyncio.to_thread(use)


async def test_official_client_async(async_client: miosa.AsyncMiosa) -> None:
    """And so does its async twin."""
    workspaces = async_client.workspaces
    made = await workspaces.create("@alex", external_workspace_id="cust_1041")
    assert (await workspaces.create("@alex", external_workspace_id="cust_1041")).reused is True
    with pytest.raises(WorkspaceNameExistsError):
        await workspaces.create("@alex")
    assert made.id in {one.id for one in await workspaces.list()}
    assert (await workspaces.get(made.id)).name == "@alex"
    assert (await workspaces.update(made.id, name="Alex")).name == "Alex"
    await workspaces.delete(made.id)


async def test_official_client_resource(client: miosa.Miosa, acme: Account) -> None:
    """The client's module for workspaces has more methods than the client shows; they work as well, except for
    `update_settings`, which expects another answer than the workspace's page shows."""

    def use() -> None:
        workspaces = Workspaces(client._transport)
        made = workspaces.create("@alex", slug="alex", external_workspace_id="cust_1041")
        assert (made.slug, made.tenant_id) == ("alex", acme.tenant.id)
        assert workspaces.update(made.id, metadata={"b": 2}).metadata == {"b": 2}
        assert workspaces.get_stats(made.id)["settings"]["max_computers"] is None
        assert len(workspaces.get_usage(made.id)["series"]) == 24
        assert workspaces.list_projects(made.id) == []
        assert [one["name"] for one in workspaces.list_projects(acme.workspace.id)] == [acme.project.name]

    await asyncio.to_thread(use)


async def test_official_client_resource_async(async_client: miosa.AsyncMiosa, acme: Account) -> None:
    """And their async twins."""
    workspaces = AsyncWorkspaces(async_client._transport)
    made = await workspaces.create("@alex", slug="alex")
    assert (await workspaces.get_stats(made.id))["settings"]["max_computers"] is None
    assert len((await workspaces.get_usage(made.id))["series"]) == 24
    assert [one["name"] for one in await workspaces.list_projects(acme.workspace.id)] == [acme.project.name]
