"""Passwords of previews over the API: set, shown as facts, removed; never seen again."""

from collections.abc import Mapping
from typing import Any

import pytest
import pytest_asyncio

from router.base.clock import ManualClock, iso
from router.node.services import Services
from router.routes.policies import Visibility
from router.routes.records import Kind
from router.tenancy.ownership import Ownership
from router.tenancy.resources import Resource
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.database import on_both

pytestmark = [pytest.mark.asyncio, on_both]

PORT = 5173
WORD = "correct horse"
NONE = {"has_password": False, "password_set_at": None, "password_expires_at": None, "password_last_used_at": None}


async def made(services: Services, account: Account, kind: Kind, slug: str) -> Resource:
    into = Ownership(project_id=account.project.id)
    return await services.resources.create(
        kind, account.tenant.id, ownership=into, slug=slug, default_port=3000, visibility=Visibility.PRIVATE
    )


@pytest_asyncio.fixture
async def sandbox(services: Services, acme: Account) -> Resource:
    return await made(services, acme, Kind.SANDBOX, "shop")


def facts(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {name: shown[name] for name in NONE}


@pytest.mark.parametrize("kind", [Kind.SANDBOX, Kind.COMPUTER])
async def test_of_a_port(api: ApiClient, acme: Account, services: Services, clock: ManualClock, kind: Kind) -> None:
    """It is set, shown as facts in each answer of the preview, used, replaced and removed."""
    resource = await made(services, acme, kind, "desk")
    preview, _ = await services.previews.put(resource.id, PORT)
    base = f"/api/v1/{kind.plural}/{resource.id}/"
    path = base + (f"previews/{preview.id}" if kind is Kind.SANDBOX else f"ports/{PORT}")
    lists = base + ("previews" if kind is Kind.SANDBOX else "ports")
    put = await api("PUT", f"{path}/password", json={"password": WORD})
    assert put.status == 200, put.body
    assert facts(put.json["data"]) == {**NONE, "has_password": True, "password_set_at": iso(clock.now())}
    assert put.json["data"]["id"] == preview.id
    (secret,) = (await services.passwords.of_resource(resource.id)).values()
    await services.preview_secrets.note_uses({secret.id: clock.now()})
    (listed,) = (await api("GET", lists)).json["data"]
    assert listed["password_last_used_at"] == iso(clock.now())
    clock.advance(10)
    later = {"password": WORD + "2", "expires_at": "2099-01-01T00:00:00Z"}
    again = await api("PUT", f"{path}/password", json=later)
    assert facts(again.json["data"]) == {
        "has_password": True,
        "password_set_at": iso(clock.now()),
        "password_expires_at": "2099-01-01T00:00:00Z",
        "password_last_used_at": None,
    }
    for _ in range(2):
        removed = await api("DELETE", f"{path}/password")
        assert (removed.status, facts(removed.json["data"])) == (200, NONE)
    assert all(word.encode() not in answer.body for word in (WORD, "argon2") for answer in (put, again, removed))


@pytest.mark.parametrize("kind", [Kind.SANDBOX, Kind.COMPUTER])
async def test_of_a_machine(
    api: ApiClient, acme: Account, services: Services, clock: ManualClock, kind: Kind, globex: Account
) -> None:
    """The same, for all its ports. One of a port stays when that of the whole is removed, and strangers see nothing."""
    resource = await made(services, acme, kind, "desk")
    preview, _ = await services.previews.put(resource.id, PORT)
    of_port = await services.passwords.put(resource.id, preview.id, WORD + "2")
    path = f"/api/v1/{kind.plural}/{resource.id}/password"
    set_now = {**NONE, "has_password": True, "password_set_at": iso(clock.now())}
    assert (await api("GET", path)).json["data"] == NONE
    assert (await api("PUT", path, json={"password": WORD})).json["data"] == set_now
    assert (await api("GET", path)).json["data"] == set_now
    for method, body in (("GET", None), ("PUT", {"password": WORD}), ("DELETE", None)):
        assert (await api(method, path, json=body, key=globex.key)).status == 404
    assert set(await services.passwords.of_resource(resource.id)) == {None, preview.id}
    assert (await api("DELETE", path)).json["data"] == NONE
    assert (await api("GET", path)).json["data"] == NONE
    assert await services.passwords.of_resource(resource.id) == {preview.id: of_port}
    await services.resources.update(resource.id, visibility=Visibility.PUBLIC)
    refused = await api("PUT", path, json={"password": WORD})
    assert (refused.status, refused.json["error"]["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"password": None},
        {"password": 12345678},
        {"password": "short"},
        {"password": "a" * 257},
        {"password": ["correct horse"]},
        {"password": WORD, "expires_at": "2001-01-01T00:00:00Z"},
        {"password": WORD, "expires_at": "soon"},
        {"password": WORD, "hint": "animal"},
    ],
)
async def test_what_is_refused(api: ApiClient, sandbox: Resource, services: Services, body: dict[str, Any]) -> None:
    """With the field that is wrong, and without what it said."""
    answer = await api("PUT", f"/api/v1/sandboxes/{sandbox.id}/password", json=body)
    assert answer.status == 422, answer.body
    assert set(answer.json["error"]["fields"]) <= {"password", "expires_at", "hint"}
    assert await services.passwords.of_resource(sandbox.id) == {}


async def test_where_it_would_let_nobody_in(api: ApiClient, services: Services, sandbox: Resource) -> None:
    """A sentence says what to do first, in either order."""
    preview, _ = await services.previews.put(sandbox.id, PORT, hide=True)
    previews = f"/api/v1/sandboxes/{sandbox.id}/previews"
    password = f"{previews}/{preview.id}/password"
    refused = await api("PUT", password, json={"password": WORD})
    assert (refused.status, refused.json["error"]["code"]) == (409, "conflict")
    assert "hide" in refused.json["error"]["message"]
    await api("POST", previews, json={"port": PORT, "hide": False})
    assert (await api("PUT", password, json={"password": WORD})).status == 200
    for change in ({"hide": True}, {"visibility": "key"}):
        refused = await api("POST", previews, json={"port": PORT, **change})
        assert (refused.status, refused.json["error"]["code"]) == (409, "conflict")
    assert (await api("POST", previews, json={"port": PORT, "name": "still"})).status == 200


async def test_of_another_tenant_there_is_none(
    api: ApiClient, services: Services, sandbox: Resource, globex: Account
) -> None:
    """Nothing of it is shown, set or removed."""
    preview, _ = await services.previews.put(sandbox.id, PORT)
    for path in ("password", f"previews/{preview.id}/password"):
        for method in ("PUT", "DELETE"):
            body = {"password": WORD} if method == "PUT" else None
            answer = await api(method, f"/api/v1/sandboxes/{sandbox.id}/{path}", json=body, key=globex.key)
            assert answer.status == 404
    assert await services.passwords.of_resource(sandbox.id) == {}


async def test_events_tell_of_it(api: ApiClient, services: Services, sandbox: Resource, clock: ManualClock) -> None:
    """That it was set, by which id, and that it ended; nothing of what it is."""
    preview, _ = await services.previews.put(sandbox.id, PORT)
    path = f"/api/v1/sandboxes/{sandbox.id}/previews/{preview.id}/password"
    await api("PUT", path, json={"password": WORD})
    clock.advance(1)
    await api("PUT", path, json={"password": WORD})
    clock.advance(1)
    await api("DELETE", path)
    answer = await api("GET", "/api/v1/events")
    told = [one for one in reversed(answer.json["data"]) if ".password_" in one["type"]]
    # Those of one change happened at one time, in no order.
    assert sorted(one["type"] for one in told) == ["preview.password_created"] * 2 + ["preview.password_revoked"] * 2
    assert (told[0]["type"], told[-1]["type"]) == ("preview.password_created", "preview.password_revoked")
    assert {one["data"]["port"] for one in told} == {PORT}
    assert WORD.encode() not in answer.body
    assert b"argon2" not in answer.body
