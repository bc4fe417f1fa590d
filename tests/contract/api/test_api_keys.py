"""/api-keys: made, shown once, listed, revoked."""

import asyncio
from typing import Any

import miosa
import pytest

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.base.key_scopes import KeyScope
from router.node.services import Services
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.database import rows

pytestmark = pytest.mark.asyncio

PATH = "/api/v1/api-keys"


async def make(api: ApiClient, **body: Any) -> dict[str, Any]:
    answer = await api("POST", PATH, json={"name": "ci", **body})
    assert answer.status == 201
    made: dict[str, Any] = answer.json["data"]
    return made


async def test_key_is_shown_once(api: ApiClient, acme: Account) -> None:
    """The answer that makes a key shows it, and it opens the tenant; no other answer shows it."""
    made = await make(api)
    assert made["key"].startswith("msk_live_")
    assert made["key"].startswith(made["prefix"])
    assert (made["scope"], made["name"], made["expires_at"]) == ("tenant", "ci", None)
    assert (await api("GET", "/api/v1/tenant", key=made["key"])).json["data"]["id"] == acme.tenant.id
    listed, got = await api("GET", PATH), await api("GET", f"{PATH}/{made['id']}")
    del made["key"]
    assert got.json["data"] | {"last_used_at": None} == made
    assert set(listed.json) == {"data", "page"}
    assert made["id"] in {item["id"] for item in listed.json["data"]}
    assert all("key" not in item for item in listed.json["data"])


@pytest.mark.parametrize("field", ["scope", "scopes"])
async def test_narrower_keys(api: ApiClient, acme: Account, field: str) -> None:
    """A key for a workspace or a project reaches that, whichever of the two fields says so."""
    for scope, sees in [(f"workspace:{acme.workspace.id}", 1), (f"project:{acme.project.id}", 1)]:
        made = await make(api, **{field: scope if field == "scope" else [scope]})
        assert (made["scope"], made["scopes"]) == (scope, [scope])
        assert (await api("GET", "/api/v1/projects", key=made["key"])).json["total"] == sees
        assert (await api("GET", "/api/v1/tenant", key=made["key"])).status == 403


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"name": ""}, "name", "can't be blank"),
        ({"scope": "everything"}, "scope", "must be tenant, workspace:ID or project:ID"),
        ({"scopes": ["sandboxes:create"]}, "scopes.0", "must be tenant, workspace:ID or project:ID"),
        ({"scopes": []}, "scopes", "should have at least 1 item(s)"),
        ({"scope": f"workspace:{new_id()}"}, "scope_id", "is not a workspace of this tenant"),
        ({"scope": f"project:{new_id()}"}, "scope_id", "is not a project of this tenant"),
        ({"scope": "tenant", "scopes": [f"project:{new_id()}"]}, "scopes", "must be the same as scope"),
        ({"expires_at": "2025-12-31T23:59:59Z"}, "expires_at", "must be in the future"),
        ({"expires_at": "tomorrow"}, "expires_at", "is invalid"),
        ({"expires_at": 1800000000}, "expires_at", "is invalid"),
    ],
)
async def test_create_refuses(api: ApiClient, body: dict[str, Any], field: str, words: str) -> None:
    """A scope that is not understood is refused, never widened."""
    answer = await api("POST", PATH, json={"name": "ci", **body})
    assert (answer.status, answer.code, answer.fields) == (422, "VALIDATION_FAILED", {field: [words]})


async def test_scope_of_another_tenant(api: ApiClient, globex: Account) -> None:
    """Another tenant's workspace can't be opened; the answer is the same as for none."""
    answer = await api("POST", PATH, json={"name": "x", "scope": f"workspace:{globex.workspace.id}"})
    assert (answer.status, answer.fields) == (422, {"scope_id": ["is not a workspace of this tenant"]})


async def test_revoke(api: ApiClient, clock: ManualClock) -> None:
    """A revoked key opens nothing from the next request on, and stays in the list with its end."""
    made = await make(api)
    clock.advance(60)
    answer = await api("DELETE", f"{PATH}/{made['id']}")
    assert (answer.status, answer.json["data"]["revoked_at"]) == (200, "2026-01-01T00:01:00Z")
    assert (await api("GET", "/api/v1/tenant", key=made["key"])).status == 401
    clock.advance(60)
    again = await api("DELETE", f"{PATH}/{made['id']}")
    assert again.json == answer.json


async def test_key_that_expires(api: ApiClient, clock: ManualClock) -> None:
    """From its last instant on a key opens nothing."""
    made = await make(api, expires_at="2026-01-01T01:01:00+01:00")
    assert made["expires_at"] == "2026-01-01T00:01:00Z"
    clock.advance(59)
    assert (await api("GET", "/api/v1/tenant", key=made["key"])).status == 200
    clock.advance(1)
    assert (await api("GET", "/api/v1/tenant", key=made["key"])).status == 401


async def test_replayed_answer_has_no_key(api: ApiClient, database: str) -> None:
    """With an Idempotency-Key one key is made; the stored answer has everything but the key itself."""
    headers = {"Idempotency-Key": new_id()}
    first = await api("POST", PATH, json={"name": "once"}, headers=headers)
    again = await api("POST", PATH, json={"name": "once"}, headers=headers)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json["data"] == first.json["data"] | {"key": None}
    bodies = [body for (body,) in await rows(database, "SELECT body FROM idempotency")]
    assert len(bodies) == 1
    assert first.json["data"]["id"].encode() in bodies[0]
    assert first.json["data"]["key"].encode() not in bodies[0]


async def test_platform_keys_are_not_a_tenants_business(api: ApiClient, acme: Account, services: Services) -> None:
    """A tenant's key neither makes, nor sees, nor revokes one of the platform's."""
    operators, plain = await services.keys.create(acme.tenant.id, scope=KeyScope.PLATFORM)
    assert (await api("POST", PATH, json={"name": "x", "scope": "platform"})).status == 403
    assert operators.id not in {item["id"] for item in (await api("GET", PATH)).json["data"]}
    for method in ("GET", "DELETE"):
        assert (await api(method, f"{PATH}/{operators.id}")).status == 404
    assert operators.id in {item["id"] for item in (await api("GET", PATH, key=plain)).json["data"]}
    assert (await api("POST", PATH, key=plain, json={"name": "x", "scope": "platform"})).status == 201


async def test_isolation(api: ApiClient, acme: Account, globex: Account) -> None:
    """No key: 401. A narrower key: 403. Another tenant's: 404, and nothing of the key."""
    made = await make(api, name="very secret")
    one = f"{PATH}/{made['id']}"
    for method, path, body in [
        ("GET", PATH, None),
        ("POST", PATH, {"name": "x"}),
        ("GET", one, None),
        ("DELETE", one, None),
    ]:
        for key, status in [(None, 401), (acme.workspace_key, 403), (acme.project_key, 403)]:
            answer = await api(method, path, key=key, json=body)
            assert (answer.status, b"very secret" in answer.body) == (status, False)
    for method in ("GET", "DELETE"):
        answer = await api(method, one, key=globex.key)
        assert (answer.status, b"very secret" in answer.body) == (404, False)
    assert b"very secret" not in (await api("GET", PATH, key=globex.key)).body
    assert (await api("GET", "/api/v1/tenant", key=made["key"])).status == 200


async def test_making_keys_is_rated(api: ApiClient) -> None:
    """Twenty a minute: what hands out credentials is slower than the rest."""
    statuses = [(await api("POST", PATH, json={"name": f"k{number}"})).status for number in range(21)]
    assert statuses == [201] * 20 + [429]
    assert (await api("GET", PATH)).status == 200


async def test_list_in_pages(api: ApiClient) -> None:
    """The list takes `page` and `page_size`."""
    answer = await api("GET", f"{PATH}?page=2&page_size=2")
    assert (len(answer.json["data"]), answer.json["page"]) == (1, {"page": 2, "page_size": 2, "total": 3})


async def test_official_client(client: miosa.Miosa, acme: Account) -> None:
    """`client.api_keys` makes, lists, gets and revokes."""

    def use() -> None:
        made = client.api_keys.create(name="ci", scopes=[f"workspace:{acme.workspace.id}"])
        assert made["key"].startswith("msk_live_")
        assert made["id"] in {one["id"] for one in client.api_keys.list()}
        assert client.api_keys.get(made["id"])["scope"] == f"workspace:{acme.workspace.id}"
        client.api_keys.delete(made["id"])
        assert client.api_keys.get(made["id"])["revoked_at"] is not None

    await asyncio.to_thread(use)


async def test_official_client_async(async_client: miosa.AsyncMiosa) -> None:
    """And so does its async twin."""
    made = await async_client.api_keys.create(name="ci")
    assert made["id"] in {one["id"] for one in await async_client.api_keys.list()}
    assert (await async_client.api_keys.get(made["id"]))["name"] == "ci"
    await async_client.api_keys.delete(made["id"])
