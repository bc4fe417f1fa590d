"""/tenant/trusted-issuers: the CI systems whose tokens open a tenant's previews that are not public."""

from typing import Any

import pytest

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.base.key_scopes import KeyScope
from router.node.services import Services
from router.tenancy.trusted_issuers import MAX_ISSUERS
from tests.support.accounts import Account
from tests.support.api import ApiClient

pytestmark = pytest.mark.asyncio

PATH = "/api/v1/tenant/trusted-issuers"
RULE: dict[str, Any] = {
    "name": "main pipelines",
    "issuer": "https://token.actions.githubusercontent.com",
    "audience": "https://previews.example.com",
    "claims": {"repository": "acme/shop", "ref": "refs/heads/*"},
}


async def test_a_rule_from_its_beginning_to_its_end(api: ApiClient, acme: Account) -> None:
    """It is shown as it was given, changed field by field, and gone when it was deleted."""
    made = await api("POST", PATH, json=RULE)
    assert made.status == 201
    rule = made.json["data"]
    assert rule | RULE == rule
    assert rule | {"tenant_id": acme.tenant.id, "enabled": True, "workspace_id": None, "last_used_at": None} == rule
    assert (await api("GET", f"{PATH}/{rule['id']}")).json["data"] == rule
    changed = await api("PATCH", f"{PATH}/{rule['id']}", json={"enabled": False, "claims": {"repository": "acme/*"}})
    assert changed.status == 200
    assert changed.json["data"] | {"enabled": False, "claims": {"repository": "acme/*"}} == changed.json["data"]
    assert changed.json["data"]["name"] == RULE["name"]
    listed = await api("GET", PATH)
    assert [one["id"] for one in listed.json["data"]] == [rule["id"]]
    deleted = await api("DELETE", f"{PATH}/{rule['id']}")
    assert (deleted.status, deleted.json["data"]["id"]) == (200, rule["id"])
    assert (await api("GET", f"{PATH}/{rule['id']}")).status == 404
    assert (await api("DELETE", f"{PATH}/{rule['id']}")).status == 404


async def test_a_rule_for_one_place(api: ApiClient, services: Services, acme: Account) -> None:
    """A workspace or a project; null takes the bound away."""
    workspace = await services.workspaces.default(acme.tenant.id)
    made = await api("POST", PATH, json={**RULE, "workspace_id": workspace.id})
    assert made.json["data"]["workspace_id"] == workspace.id
    wide = await api("PATCH", f"{PATH}/{made.json['data']['id']}", json={"workspace_id": None})
    assert wide.json["data"]["workspace_id"] is None
    nowhere = await api("POST", PATH, json={**RULE, "project_id": new_id()})
    assert nowhere.status == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"claims": {}}, "claims"),
        ({"claims": None}, "claims"),
        ({"claims": ["repository"]}, "claims"),
        ({"claims": {"repository": 5}}, "claims.repository"),
        ({"claims": {"ref": "refs/heads/main"}}, "claims"),
        ({"claims": {"repository": "*"}}, "claims"),
        ({"issuer": "http://ci.example.com"}, "issuer"),
        ({"issuer": "https://10.0.0.1"}, "issuer"),
        ({"issuer": "ci"}, "issuer"),
        ({"audience": ""}, "audience"),
        ({"name": ""}, "name"),
        ({"enabled": "yes"}, "enabled"),
        ({"secret": "x"}, "secret"),
    ],
    ids=str,
)
async def test_rules_that_are_refused(api: ApiClient, acme: Account, change: dict[str, Any], field: str) -> None:
    """With the field that is wrong, when one is made and when one is changed."""
    refused = await api("POST", PATH, json={**RULE, **change})
    assert (refused.status, list(refused.fields)) == (422, [field])
    rule = (await api("POST", PATH, json=RULE)).json["data"]
    refused = await api("PATCH", f"{PATH}/{rule['id']}", json=change)
    assert (refused.status, list(refused.fields)) == (422, [field])
    assert (await api("GET", f"{PATH}/{rule['id']}")).json["data"] == rule


async def test_pages(api: ApiClient, acme: Account, clock: ManualClock) -> None:
    """The oldest first, by pages or by cursors; beyond twenty there is no room."""
    for number in range(MAX_ISSUERS):
        clock.advance(number % 2)  # two at a time have the same instant
        assert (await api("POST", PATH, json={**RULE, "name": f"rule {number:02}"})).status == 201
    full = await api("POST", PATH, json=RULE)
    assert (full.status, full.json["error"]["code"]) == (409, "conflict")
    everything = [one["id"] for one in (await api("GET", PATH)).json["data"]]
    by_cursor: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await api("GET", f"{PATH}?limit=7" + (f"&cursor={cursor}" if cursor else ""))).json
        by_cursor += [one["id"] for one in page["data"]]
        cursor = page["page"].get("next_cursor")
        assert page["page"]["total"] == MAX_ISSUERS
    assert by_cursor == everything
    by_page = [
        one["id"] for number in (1, 2, 3) for one in (await api("GET", f"{PATH}?limit=7&page={number}")).json["data"]
    ]
    assert by_page == everything
    assert len(set(everything)) == MAX_ISSUERS


async def test_narrower_keys_may_not(api: ApiClient, services: Services, acme: Account) -> None:
    """Who may trust an issuer opens previews of the whole organization: a key of a workspace neither sees nor makes rules."""
    workspace = await services.workspaces.default(acme.tenant.id)
    _, narrow = await services.keys.create(acme.tenant.id, scope=KeyScope.WORKSPACE, scope_id=workspace.id)
    for method, json in (("GET", None), ("POST", RULE)):
        assert (await api(method, PATH, json=json, key=narrow)).status == 403


async def test_anothers_rules_do_not_exist(api: ApiClient, acme: Account, globex: Account) -> None:
    """Neither to be read nor to be changed."""
    rule = (await api("POST", PATH, json=RULE, key=globex.key)).json["data"]
    for method, json in (("GET", None), ("PATCH", {"enabled": False}), ("DELETE", None)):
        assert (await api(method, f"{PATH}/{rule['id']}", json=json)).status == 404
    assert (await api("GET", PATH)).json["data"] == []
