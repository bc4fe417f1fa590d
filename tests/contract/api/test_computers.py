"""/computers: their records, the workspace's caps on them, and moves."""

import asyncio
from typing import Any

import miosa
import pytest
from miosa.resources.workspaces import AsyncWorkspaces, Workspaces

from router.base.ids import new_id
from router.node.services import Services
from router.routes.records import Kind, Scope, State
from router.tenancy.endpoints import EndpointChange
from router.tenancy.ownership import Ownership
from router.tenancy.resources import Resource
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.checks import verify_preview
from tests.support.routes import Routes

pytestmark = pytest.mark.asyncio


async def computer(services: Services, account: Account, **options: Any) -> Resource:
    """A computer in the account's workspace and project."""
    into = Ownership(project_id=account.project.id)
    return await services.resources.create(Kind.COMPUTER, account.tenant.id, ownership=into, **options)


async def test_page_create(api: ApiClient, acme: Account, services: Services) -> None:
    """The quick start's request: in that workspace, in a project that is made for it."""
    body = {
        "name": "clinic-builder",
        "template_type": "miosa-desktop",
        "workspace_id": acme.workspace.id,
        "project_slug": "lead-magnet",
        "project_name": "Lead Magnet",
    }
    answer = await api("POST", "/api/v1/computers", json=body)
    assert answer.status == 201
    made = answer.json["data"]
    assert made | {"name": "clinic-builder", "status": "provisioning", "size": "small"} == made
    assert (made["template_type"], made["workspace_id"]) == ("miosa-desktop", acme.workspace.id)
    assert (made["external_workspace_id"], made["project_name"]) == ("acme_clinic", "Lead Magnet")
    project = await services.projects.get(made["project_id"])
    assert (project.slug, project.name, project.workspace_id) == ("lead-magnet", "Lead Magnet", acme.workspace.id)
    assert (await api("GET", f"/api/v1/computers/{made['id']}")).json == answer.json


async def test_answers_have_the_fields_twice(api: ApiClient) -> None:
    """In `data`, as the conventions say, and beside it, where the official client reads them."""
    answer = (await api("POST", "/api/v1/computers", json={"name": "one"})).json
    assert answer == {"data": answer["data"], **answer["data"]}


async def test_a_computer_without_a_name(api: ApiClient) -> None:
    """It is called by its slug."""
    made = (await api("POST", "/api/v1/computers")).json["data"]
    assert made["name"] == made["slug"]
    assert made["slug"].startswith("cmp")


async def test_page_list_of_a_workspace(api: ApiClient, acme: Account, services: Services) -> None:
    """Exactly `data` and `total`, with the fields of the page; filters and pages work there too."""
    await computer(services, acme, name="runner-1", template_type="miosa-desktop")
    await computer(services, acme, name="runner-2", template_type="miosa-desktop", size="large")
    await services.resources.create(Kind.COMPUTER, acme.tenant.id, name="elsewhere")
    path = f"/api/v1/workspaces/{acme.workspace.id}/computers"
    answer = await api("GET", path)
    assert set(answer.json) == {"data", "total"}
    assert answer.json["total"] == 2
    for item in answer.json["data"]:
        assert {"id", "name", "status", "size", "template_type", "created_at"} <= set(item)
        assert item["workspace_id"] == acme.workspace.id
    one = await api("GET", f"{path}?name=runner-1")
    assert [(item["name"], item["status"], item["size"]) for item in one.json["data"]] == [
        ("runner-1", "provisioning", "small")
    ]
    assert len((await api("GET", f"{path}?page_size=1&page=2")).json["data"]) == 1
    assert (await api("GET", f"{path}?status=running")).json["total"] == 0


async def test_a_workspaces_sandboxes(api: ApiClient, acme: Account, services: Services) -> None:
    """The same for sandboxes, as a list with its page."""
    into = Ownership(workspace_id=acme.workspace.id)
    made = await services.resources.create(Kind.SANDBOX, acme.tenant.id, ownership=into)
    await computer(services, acme)
    answer = await api("GET", f"/api/v1/workspaces/{acme.workspace.id}/sandboxes")
    assert [item["id"] for item in answer.json["data"]] == [made.id]
    assert answer.json["page"] == {"page": 1, "page_size": 20, "total": 1}


@pytest.mark.parametrize("what", ["computers", "sandboxes"])
async def test_isolation_of_a_workspaces_lists(api: ApiClient, acme: Account, globex: Account, what: str) -> None:
    """As for everything of a workspace: 403 for whoever may not see it, 404 where there is none."""
    path = f"/api/v1/workspaces/{acme.workspace.id}/{what}"
    for key, status in ((None, 401), (globex.key, 403), (acme.project_key, 403), (acme.workspace_key, 200)):
        assert (await api("GET", path, key=key)).status == status
    other = f"/api/v1/workspaces/{acme.default.id}/{what}"
    assert (await api("GET", other, key=acme.workspace_key)).status == 403
    assert (await api("GET", f"/api/v1/workspaces/{new_id()}/{what}")).status == 404


async def test_list(api: ApiClient, acme: Account, globex: Account, services: Services) -> None:
    """The newest first, with its page; list_conditions by each condition; nobody else's, and no sandboxes."""
    made = await computer(services, acme, name="one", external_project_id="p1")
    await services.resources.create(Kind.COMPUTER, acme.tenant.id, name="two", tags=("a",))
    await services.resources.create(Kind.SANDBOX, acme.tenant.id, name="sandbox")
    await computer(services, globex, name="theirs")
    await services.resources.patch(made.id, state=State.STOPPED)
    whole = await api("GET", "/api/v1/computers")
    assert set(whole.json) == {"data", "page"}
    assert {item["name"] for item in whole.json["data"]} == {"one", "two"}
    wanted = {
        "status=stopped": ["one"],
        "state=provisioning": ["two"],
        "tags=a": ["two"],
        f"workspace_id={acme.workspace.id}": ["one"],
        f"project_id={acme.project.id}": ["one"],
        "external_workspace_id=acme_clinic": ["one"],
        "external_project_id=p1": ["one"],
        "external_user_id=u1": [],
    }
    for query, names in wanted.items():
        answer = await api("GET", f"/api/v1/computers?{query}")
        assert [item["name"] for item in answer.json["data"]] == names, query
        assert answer.json["page"]["total"] == len(names)


async def test_update(api: ApiClient, acme: Account, services: Services) -> None:
    """What is sent changes, null clears, the rest stays; the answer has the fields twice as well."""
    made = await computer(services, acme, name="one", metadata={"a": 1}, auto_stop_seconds=60)
    path = f"/api/v1/computers/{made.id}"
    before = (await api("GET", path)).json["data"]
    answer = (await api("PATCH", path, json={"name": "two", "auto_stop_seconds": 5})).json
    assert answer["data"] == before | {"name": "two", "auto_stop_seconds": 5}
    assert answer["name"] == "two"
    cleared = (await api("PATCH", path, json={"metadata": None, "auto_stop_seconds": None, "tags": ["b"]})).json
    assert cleared["data"] | {"metadata": {}, "auto_stop_seconds": None, "tags": ["b"]} == cleared["data"]
    wrong = await api("PATCH", path, json={"auto_stop_seconds": "x", "metadata": []})
    assert set(wrong.fields) == {"auto_stop_seconds", "metadata"}
    refused = await api("PATCH", path, json={"name": "three", "size": "xl"})
    assert (refused.status, set(refused.fields)) == (422, {"size"}), "its size is the platform's to change"
    assert (await api("GET", path)).json["data"]["name"] == "two"


async def test_workspace_settings_cap_computers(api: ApiClient, acme: Account) -> None:
    """How many, how large, of which template: over a cap is 422 with the field that is over it."""
    settings = f"/api/v1/workspaces/{acme.workspace.id}/settings"
    inside = {"workspace_id": acme.workspace.id}
    caps = {"max_computers": 2, "max_computer_size": "medium", "allowed_template_types": ["miosa-desktop", "node"]}
    assert (await api("PUT", settings, json=caps)).status == 200
    for body, field, words in (
        ({"size": "large"}, "size", "must be at most medium in this workspace"),
        ({"size": "xl"}, "size", "must be at most medium in this workspace"),
        ({"template_type": "windows"}, "template_type", "is not allowed in this workspace"),
    ):
        answer = await api("POST", "/api/v1/computers", json={**inside, **body})
        assert (answer.status, answer.code, answer.fields) == (422, "VALIDATION_FAILED", {field: [words]})
    for size in ("xs", "medium"):
        assert (await api("POST", "/api/v1/computers", json={**inside, "size": size})).status == 201
    answer = await api("POST", "/api/v1/computers", json=inside)
    assert (answer.status, answer.fields) == (422, {"workspace_id": ["has its maximum of 2 computer(s)"]})
    assert (await api("POST", "/api/v1/computers", json={"size": "xl"})).status == 201, "elsewhere nothing is capped"
    assert (await api("POST", "/api/v1/sandboxes", json={**inside, "size": "xl"})).status == 201
    listed = await api("GET", f"/api/v1/workspaces/{acme.workspace.id}/computers")
    assert (await api("DELETE", f"/api/v1/computers/{listed.json['data'][0]['id']}")).status == 200
    assert (await api("POST", "/api/v1/computers", json=inside)).status == 201, "one that is gone counts no more"


async def test_at_once_no_more_than_the_cap(api: ApiClient, acme: Account) -> None:
    """Of many creates at once just as many succeed as may."""
    settings = f"/api/v1/workspaces/{acme.workspace.id}/settings"
    await api("PUT", settings, json={"max_computers": 3})
    body = {"workspace_id": acme.workspace.id}
    answers = await asyncio.gather(*(api("POST", "/api/v1/computers", json=body) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [201] * 3 + [422] * 5


async def test_workspace_settings_are_defaults(api: ApiClient, acme: Account) -> None:
    """Size and automatic stop come from the workspace where the request leaves them out, 0 being a choice."""
    settings = f"/api/v1/workspaces/{acme.workspace.id}/settings"
    await api("PUT", settings, json={"default_computer_size": "medium", "default_auto_stop_seconds": 3600})
    for body, size, seconds in (({}, "medium", 3600), ({"size": "small", "auto_stop_seconds": 0}, "small", 0)):
        made = (await api("POST", "/api/v1/computers", json={"workspace_id": acme.workspace.id, **body})).json["data"]
        assert (made["size"], made["auto_stop_seconds"]) == (size, seconds)


async def test_page_move(api: ApiClient, acme: Account, services: Services, routes: Routes, clock: Any) -> None:
    """Into the target's default project; routes, URLs, inherited attribution and the workspace's bill follow at once."""
    made = await computer(services, acme, slug="desk", default_port=3000, external_user_id="u1")
    await services.resources.endpoints.put(EndpointChange(resource_id=made.id, address="10.0.0.7", generation="1"))
    for workspace, domain in ((acme.workspace, "old.example.com"), (acme.default, "new.example.com")):
        await services.preview_domains.set(Scope.WORKSPACE, workspace.id, domain)
        await verify_preview(services, Scope.WORKSPACE, workspace.id)
    assert await routes.leads_to("https://desk.old.example.com") == (made.id, 3000)
    assert await routes.leads_to("https://desk.new.example.com") == "host_not_found"
    clock.advance(3600)
    answer = await api("POST", f"/api/v1/computers/{made.id}/move", json={"workspace_id": acme.default.id})
    assert answer.status == 200
    moved = answer.json["data"]
    assert (moved["workspace_id"], moved["project_id"]) == (acme.default.id, acme.default_project.id)
    assert moved["preview_url"] == "https://desk.new.example.com"
    assert (moved["external_workspace_id"], moved["external_user_id"]) == (None, "u1")
    assert await routes.leads_to(moved["preview_url"]) == (made.id, 3000)
    assert await routes.leads_to("https://desk.old.example.com") == "host_not_found"
    assert await routes.leads_to(moved["fallback_url"]) == (made.id, 3000)
    usage = await api("GET", f"/api/v1/workspaces/{acme.workspace.id}/usage")
    assert usage.json["total_compute_hours"] == 1.0
    assert (await api("GET", f"/api/v1/workspaces/{acme.default.id}/usage")).json["total_compute_hours"] == 0


async def test_move_to_a_project(api: ApiClient, acme: Account, services: Services) -> None:
    """A project of the workspace may be named; moving where it is already changes nothing."""
    made = await services.resources.create(Kind.COMPUTER, acme.tenant.id)
    path = f"/api/v1/computers/{made.id}/move"
    body = {"workspace_id": acme.workspace.id, "project_id": acme.project.id}
    moved = (await api("POST", path, json=body)).json["data"]
    assert (moved["workspace_id"], moved["project_id"]) == (acme.workspace.id, acme.project.id)
    assert moved["external_workspace_id"] == "acme_clinic"
    again = await api("POST", path, json=body)
    assert (again.status, again.json["data"]) == (200, moved)


async def test_moves_that_are_refused(api: ApiClient, acme: Account, globex: Account, services: Services) -> None:
    """Nowhere, to another tenant, over a cap, out of a narrower key's part; the computer stays where it was."""
    made = await computer(services, acme, size="medium")
    other = (await services.workspaces.create(acme.tenant.id, name="Small ones"))[0]
    await services.workspaces.put_settings(other.id, max_computer_size="small")
    wanted: list[tuple[dict[str, str], str, int, str]] = [
        ({}, acme.key, 422, "VALIDATION_FAILED"),
        ({"workspace_id": "x"}, acme.key, 422, "VALIDATION_FAILED"),
        ({"workspace_id": new_id()}, acme.key, 404, "WORKSPACE_NOT_FOUND"),
        ({"workspace_id": globex.workspace.id}, acme.key, 404, "WORKSPACE_NOT_FOUND"),
        ({"project_id": acme.project.id}, acme.key, 422, "VALIDATION_FAILED"),
        ({"workspace_id": acme.workspace.id, "project_id": globex.project.id}, acme.key, 404, "project_not_found"),
        ({"workspace_id": acme.default.id, "project_id": acme.project.id}, acme.key, 422, "VALIDATION_FAILED"),
        ({"workspace_id": other.id}, acme.key, 422, "VALIDATION_FAILED"),
        ({"workspace_id": acme.default.id}, acme.workspace_key, 403, "forbidden"),
        (
            {"workspace_id": acme.default.id, "project_id": acme.default_project.id},
            acme.project_key,
            403,
            "forbidden",
        ),
        ({"workspace_id": globex.workspace.id}, globex.key, 404, "computer_not_found"),
    ]
    for body, key, status, code in wanted:
        answer = await api("POST", f"/api/v1/computers/{made.id}/move", json=body, key=key)
        assert (answer.status, answer.code) == (status, code), body
        assert globex.workspace.name.encode() not in answer.body
    assert await services.resources.get(made.id) == made


async def test_delete(api: ApiClient, acme: Account, services: Services, routes: Routes) -> None:
    """For good; its hosts answer 410 as soon as this answers."""
    made = await computer(services, acme, default_port=3000)
    answer = await api("DELETE", f"/api/v1/computers/{made.id}")
    assert (answer.status, answer.json["status"], answer.json["data"]["status"]) == (200, "destroyed", "destroyed")
    assert await routes.leads_to(f"{made.slug}.miosa.app") == "resource_deleted"
    again = await api("GET", f"/api/v1/computers/{made.id}")
    assert (again.status, again.code) == (404, "computer_not_found")


async def test_same_idempotency_key_moves_once(api: ApiClient, acme: Account, services: Services) -> None:
    """A retried move is answered again, though the computer has moved on since."""
    made = await computer(services, acme)
    path, headers = f"/api/v1/computers/{made.id}/move", {"Idempotency-Key": new_id()}
    first = await api("POST", path, json={"workspace_id": acme.default.id}, headers=headers)
    await api("POST", path, json={"workspace_id": acme.workspace.id, "project_id": acme.project.id})
    again = await api("POST", path, json={"workspace_id": acme.default.id}, headers=headers)
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await services.resources.get(made.id)).project_id == acme.project.id


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"name": "Mine"}),
        ("DELETE", "", None),
        ("POST", "/move", {"workspace_id": new_id()}),
        ("POST", "/expose", {"port": 3000}),
        ("GET", "/ports", None),
        ("POST", "/ports", {"port": 3000}),
        ("PATCH", "/ports/3000", {"name": "Mine"}),
        ("DELETE", "/ports/3000", None),
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
    made = await computer(services, globex, name="Secret desk", slug="secret-desk")
    ours = await services.resources.create(Kind.COMPUTER, acme.tenant.id, name="Secret desk", slug="our-secret-desk")
    theirs, narrow = (f"/api/v1/computers/{one.id}{rest}" for one in (made, ours))
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


async def test_official_client(client: miosa.Miosa, acme: Account) -> None:
    """`client.computers` works unmodified."""

    def use() -> None:
        made = client.computers.create(
            "builder", size="large", metadata={"a": 1}, workspace_id=acme.workspace.id, external_project_id="p1"
        )
        assert (made.name, made.status, made.data.size) == ("builder", "provisioning", "large")
        assert (made.data.tenant_id, made.data.workspace_id) == (acme.tenant.id, acme.workspace.id)
        assert (made.data.template_type, made.data.metadata) == ("miosa-desktop", {"a": 1})
        assert made.data.sandbox_url == f"https://{made.slug}.miosa.app"
        assert [one.id for one in client.computers.list()] == [made.id]
        assert client.computers.list(workspace_id=acme.default.id) == []
        assert client.computers.get(made.id).name == "builder"
        assert client.computers.update(made.id, name="new", metadata={"b": 2}).data.metadata == {"b": 2}
        assert made.refresh().name == "new"
        assert made.move(workspace_id=acme.default.id).data.workspace_id == acme.default.id
        port = made.ports.create(3000, visibility="tenant")
        assert (port["port"], port["url"]) == (3000, f"https://3000-{made.slug}.sandbox.miosa.app")
        assert made.ports.list() == [port]
        assert made.ports.get(3000) == port
        assert made.ports.update(3000, visibility="public")["visibility"] == "public"
        made.ports.delete(3000)
        assert made.ports.list() == []
        assert made.ports.get(3000) is None
        assert made.destroy().status == "destroyed"
        with pytest.raises(miosa.NotFoundError, match="No computer with id"):
            client.computers.get(made.id)
        with client.computers.create("passing") as passing:
            assert client.computers.get(passing.id).name == "passing"
        assert client.computers.list() == []
        client.computers.delete(client.computers.create("last").id)

    await asyncio.to_thread(use)


async def test_official_client_async(async_client: miosa.AsyncMiosa, acme: Account) -> None:
    """And so does its async twin."""
    computers = async_client.computers
    made = await computers.create("builder", workspace_id=acme.workspace.id)
    assert [one.id for one in await computers.list(workspace_id=acme.workspace.id)] == [made.id]
    assert (await computers.get(made.id)).name == "builder"
    assert (await computers.update(made.id, name="new")).name == "new"
    assert (await made.move(workspace_id=acme.default.id)).data.workspace_id == acme.default.id
    port = await made.ports.create(3000)
    assert await made.ports.list() == [port]
    assert await made.ports.get(3000) == port
    assert (await made.ports.update(3000, visibility="key"))["visibility"] == "key"
    await made.ports.delete(3000)
    await made.destroy()
    await computers.delete((await computers.create("last")).id)
    assert await computers.list() == []


async def test_official_client_in_a_workspace(
    client: miosa.Miosa, async_client: miosa.AsyncMiosa, acme: Account, services: Services
) -> None:
    """The client's module for workspaces lists what lies in one."""
    desk = await computer(services, acme, name="desk")
    into = Ownership(workspace_id=acme.workspace.id)
    box = await services.resources.create(Kind.SANDBOX, acme.tenant.id, ownership=into)
    workspaces = Workspaces(client._transport)
    computers = await asyncio.to_thread(workspaces.list_computers, acme.workspace.id)
    sandboxes = await asyncio.to_thread(workspaces.list_sandboxes, acme.workspace.id)
    assert ([one.name for one in computers], [one["id"] for one in sandboxes]) == (["desk"], [box.id])
    others = AsyncWorkspaces(async_client._transport)
    assert [one.id for one in await others.list_computers(acme.workspace.id)] == [desk.id]
    assert [one["id"] for one in await others.list_sandboxes(acme.workspace.id)] == [box.id]
    assert await others.list_computers(acme.default.id) == []
