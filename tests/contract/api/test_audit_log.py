"""The audit log: each route that may change something has an entry, in the transaction of its change; who may read which."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import miosa
import pytest
import pytest_asyncio

from router.api.operations import Auth, Operation
from router.audit.actions import route_action
from router.audit.log import OTHERS, REFUSALS_OF_TENANT
from router.audit.safe_fields import SAFE
from router.base.clock import ManualClock
from router.base.key_scopes import KeyScope
from router.node.services import Services
from router.routes.records import Kind
from router.settings import Settings, load
from router.store import Store
from router.tenancy.ownership import Ownership
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.calls import Request, request_of
from tests.support.database import on_both
from tests.support.holdings import Holdings
from tests.support.walk import INTERNAL_TOKEN, one_of_everything

pytestmark = pytest.mark.asyncio

LOG = "/api/v1/audit-log"
TENANT = "/internal/v1/tenants/"  # goes last: everything else is in it
WITHIN = tuple(
    f"/api/v1/{name}/"
    for name in ("workspaces", "projects", "sandboxes", "computers", "deployments", "custom-domains", "webhooks")
)
UNCHANGED = {
    "PutPassword",
    "PutResource",
    "PatchResource",
}  # their action says it all, or these bodies say what is so already


@pytest.fixture
def settings() -> Settings:
    return load(
        environ={
            "MIOSA_ROUTER_INTERNAL_TOKEN": INTERNAL_TOKEN,
            "MIOSA_ROUTER_BACKEND_NETWORKS": "127.0.0.0/8",
            "MIOSA_ROUTER_LIMITS__PUBLISH_CHECK": "5",
        }
    )


@pytest_asyncio.fixture
async def held(services: Services) -> AsyncIterator[Holdings]:
    async with one_of_everything(services) as opened:
        yield opened


async def entries(api: ApiClient, **where: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api("GET", LOG, params=where)).json["data"]
    return found


@on_both
async def test_each_route_that_may_change_something_has_an_entry(
    api: ApiClient, services: Services, clock: ManualClock, table: list[Operation], held: Holdings
) -> None:
    """Every row of the table that is no GET, sent as its holder sends it: one entry with what the row is called, by whom, about what,
    and nothing that waits where it was stored with the change."""
    acting, key = await services.keys.create(held.holder.tenant.id, name="everything")
    _, platform = await services.keys.create((await services.tenants.create("Platform")).id, scope=KeyScope.PLATFORM)
    rows = [row for row in table if row.mutates and row.auth is not Auth.NONE]
    rows.sort(
        key=lambda row: (row.method == "DELETE", TENANT in row.path, -row.path.count("/") * (row.method == "DELETE"))
    )
    wrong = []
    for number, row in enumerate(rows):
        clock.advance(11)
        request, name = request_of(row, held), f"walk-{number}"
        by = INTERNAL_TOKEN if row.auth is Auth.INTERNAL else key
        answer = await api(request.method, request.path, key=by, headers={"X-Request-ID": name}, **request.options)
        await services.audit.flush()
        found = (await api("GET", LOG, key=platform, params={"request_id": name})).json["data"]
        entry = found[0] if len(found) == 1 else None
        shown = f"{row.method} {row.path} {answer.status}: {found or answer.body!r}"
        actor = ("platform", "internal") if row.auth is Auth.INTERNAL else ("api_key", acting.id)
        if (
            entry is None
            or entry["action"] != route_action(row.method, row.path).action
            or (entry["actor_type"], entry["actor_id"]) != actor
            or entry["status"] != answer.status
            or (row.auth is Auth.KEY and entry["tenant_id"] != held.holder.tenant.id)
            or (row.path.startswith(WITHIN) and answer.status < 300 and row.places and entry["workspace_id"] is None)
            or (answer.status < 300 and row.places and not entry["resource_id"])
            or (answer.status == 201 and not entry["resource_id"])
            or (
                row.method in {"PATCH", "PUT"}
                and answer.status == 200
                and not entry["changes"]
                and row.body.__name__ not in UNCHANGED
            )
        ):
            wrong.append(shown)
    assert not wrong, "\n".join(wrong)


async def test_a_refused_act_is_written_down(
    api: ApiClient, services: Services, acme: Account, globex: Account
) -> None:
    """With a known key: what it may not, what is others', what is not so. What is not understood, and who is not known, is no act."""
    sandbox = await services.resources.create(Kind.SANDBOX, globex.tenant.id, slug="theirs")
    theirs, nowhere = f"/api/v1/sandboxes/{sandbox.id}", f"/api/v1/sandboxes/{sandbox.id[:-1]}0"
    await api("PATCH", theirs, json={"name": "Mine"})
    await api("DELETE", nowhere)
    await api("POST", "/api/v1/workspaces", key=acme.project_key, json={"name": "Mine"})
    await api("DELETE", f"/api/v1/workspaces/{acme.default.id}")
    await api("POST", "/api/v1/workspaces", json={"nome": "Mine"})
    await api("POST", "/api/v1/workspaces", key="msk_live_nobody", json={"name": "Mine"})
    await api("GET", theirs)
    await services.audit.flush()
    found = {(one["action"], one["status"], one["code"], one["resource_id"]) for one in await entries(api)}
    assert found == {
        ("sandbox.update", 404, "sandbox_not_found", sandbox.id),
        ("sandbox.delete", 404, "sandbox_not_found", nowhere.rpartition("/")[2]),
        ("workspace.create", 403, "forbidden", None),
        ("workspace.delete", 409, "conflict", acme.default.id),
    }
    assert await entries(api, outcome="ok") == []
    assert (await api("GET", LOG, key=globex.key)).json["data"] == []


async def test_a_flood_of_refusals_writes_few_rows(api: ApiClient, services: Services, acme: Account) -> None:
    """Equal ones are counted; of different ones those on top."""
    for number in range(REFUSALS_OF_TENANT + 20):
        await api("DELETE", f"/api/v1/sandboxes/00000000-0000-4000-8000-{number:012}")
        await api("DELETE", f"/api/v1/workspaces/{acme.default.id}")
    await services.audit.flush()
    found = (await api("GET", LOG, params={"limit": "100"})).json["data"]
    assert len(found) == REFUSALS_OF_TENANT + 1
    counts = {one["action"]: one["count"] for one in found}
    assert (counts["workspace.delete"], counts[OTHERS]) == (REFUSALS_OF_TENANT + 20, 21)


async def test_who_sees_what(api: ApiClient, services: Services, acme: Account, globex: Account) -> None:
    """A tenant its own, a workspace's and a project's key what lies there, the platform all; of the platform's people no name."""
    inside = await services.resources.create(
        Kind.SANDBOX, acme.tenant.id, slug="inside", ownership=Ownership(project_id=acme.project.id)
    )
    outside = await services.resources.create(Kind.SANDBOX, acme.tenant.id, slug="outside")
    for sandbox in (inside, outside):
        await api("PATCH", f"/api/v1/sandboxes/{sandbox.id}", json={"name": "Renamed"})
    await api("PATCH", f"/internal/v1/resources/{inside.id}", key=INTERNAL_TOKEN, json={"suspended": True})
    await api("PATCH", "/api/v1/tenant", key=globex.key, json={"name": "Theirs"})
    _, platform = await services.keys.create(globex.tenant.id, scope=KeyScope.PLATFORM)

    async def seen(key: str, **where: str) -> list[tuple[str, str | None]]:
        answer = await api("GET", LOG, key=key, params=where)
        assert answer.status == 200
        return sorted((one["action"], one["resource_id"]) for one in answer.json["data"])

    here = [("resource.update", inside.id), ("sandbox.update", inside.id)]
    ours = sorted([*here, ("sandbox.update", outside.id)])
    assert await seen(acme.project_key) == await seen(acme.workspace_key) == here
    assert await seen(acme.key) == ours
    assert await seen(globex.key) == [("tenant.update", globex.tenant.id)]
    assert await seen(platform) == sorted([*ours, ("tenant.update", globex.tenant.id)])
    named = {"X-MIOSA-Tenant": acme.tenant.slug}
    assert len((await api("GET", LOG, key=platform, headers=named)).json["data"]) == 3
    assert await seen(acme.key, workspace_id=acme.workspace.id) == here
    assert (await api("GET", LOG, key=acme.project_key, params={"workspace_id": acme.default.id})).status == 403
    (by_platform,) = await entries(api, actor_type="platform")
    hidden = {name: by_platform[name] for name in ("actor_id", "actor_name", "address", "user_agent", "request_id")}
    assert hidden == {"actor_id": "platform", **dict.fromkeys(list(hidden)[1:])}
    whole = (await api("GET", f"{LOG}/{by_platform['id']}", key=platform)).json["data"]
    for name in ("actor_id", "request_id"):  # nor can it be found out by asking for it
        assert await entries(api, **{name: whole[name]}) == []
    assert by_platform["changes"] == {"events": {"new": ["sandbox.suspended"]}}
    entry_id = by_platform["id"]
    assert (await api("GET", f"{LOG}/{entry_id}")).json["data"] == by_platform
    assert (await api("GET", f"{LOG}/{entry_id}", key=globex.key)).status == 404
    assert (await api("GET", f"{LOG}/{entry_id}", key=platform)).json["data"]["actor_id"] == "internal"


async def test_no_route_changes_an_entry(api: ApiClient, acme: Account, table: list[Operation]) -> None:
    """They are read, and no more."""
    assert {row.method for row in table if row.path.startswith(LOG)} == {"GET"}
    await api("PATCH", "/api/v1/tenant", json={"name": "Renamed"})
    (one,) = await entries(api)
    for method in ("DELETE", "PUT", "PATCH", "POST"):
        for path in (LOG, f"{LOG}/{one['id']}", f"{LOG}/export"):
            assert (await api(method, path, json={})).status == 405
    assert await entries(api) == [one]


async def test_a_replay_is_no_second_act(api: ApiClient, acme: Account) -> None:
    """It was one act, whose answer came twice."""
    for _ in range(2):
        await api("POST", "/api/v1/workspaces", json={"name": "Once"}, headers={"Idempotency-Key": "k1"})
    assert [one["action"] for one in await entries(api)] == ["workspace.create"]


async def test_an_act_takes_no_transaction_of_its_own(api: ApiClient, store: Store, services: Services) -> None:
    """Nothing waits to be written after an act that changed something."""
    await api("PATCH", "/api/v1/tenant", json={"name": "Renamed"})
    assert services.audit._waiting == {}
    assert len(await entries(api)) == 1


async def test_the_export(api: ApiClient, services: Services, acme: Account, clock: ManualClock) -> None:
    """NDJSON and CSV with the same entries and conditions; a formula is a text; a part is never taken for the whole."""
    for name in ("=1+1", '+cmd|" /C calc"!A0', "@SUM(A1)", "-2+3", 'plain, with "quotes"', "ÄÖ\n=1"):
        clock.advance(1)
        await api("PATCH", "/api/v1/tenant", json={"name": name})
    clock.advance(1)
    exported = await api("GET", f"{LOG}/export")
    lines = [json.loads(line) for line in exported.body.splitlines()]
    assert lines == await entries(api)
    assert exported.headers["Content-Disposition"] == 'attachment; filename="audit-log.ndjson"'
    file = await api("GET", f"{LOG}/export", params={"format": "csv", "action": "tenant.*"})
    assert file.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(file.body.decode(), newline="")))
    assert list(rows[0]) == list(lines[0])
    names = [row["resource_name"] for row in reversed(rows)]
    assert names == ["'=1+1", '\'+cmd|" /C calc"!A0', "'@SUM(A1)", "'-2+3", 'plain, with "quotes"', "ÄÖ =1"]
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]
    assert (await api("GET", f"{LOG}/export", params={"action": "nothing.*", "format": "csv"})).body.count(b"\n") == 1
    assert (await api("GET", f"{LOG}/export", params={"action": "nothing.*"})).body == b""
    assert (await api("GET", f"{LOG}/export", params={"format": "xml"})).status == 422


async def test_the_official_client(
    client: miosa.Miosa, async_client: miosa.AsyncMiosa, api: ApiClient, acme: Account, clock: ManualClock
) -> None:
    """`audit_log.list` of both halves, with each of its conditions and its cursor."""
    for name in ("One", "Two", "Three"):
        clock.advance(1)
        await api("POST", "/api/v1/workspaces", json={"name": name})
    await api("PATCH", "/api/v1/tenant", json={"name": "Renamed"})
    newest = (await entries(api, type="workspace.create"))[0]
    cursor = (await api("GET", LOG, params={"limit": "1"})).json["page"]["next_cursor"]
    for where, wanted in (
        ({}, 4),
        ({"limit": 2}, 2),
        ({"type": "workspace.create"}, 3),
        ({"type": "workspace.*", "outcome": "ok"}, 3),
        ({"actor_id": newest["actor_id"]}, 4),
        ({"actor_id": "nobody"}, 0),
        ({"resource_type": "workspace", "resource_id": newest["resource_id"]}, 1),
        ({"after": cursor}, 3),
        ({"since": "2026-01-01T00:00:03Z"}, 2),
    ):
        found = await asyncio.to_thread(client.audit_log.list, **where)
        assert len(found) == wanted, where
        assert await async_client.audit_log.list(**where) == found, where
    assert (await asyncio.to_thread(client.audit_log.list, resource_id=newest["resource_id"])) == [newest]


WORD, KEY = "zqhunterzq", "msk_live_zqsecretzqsecretzqsecretzqsecretzq0"
ALLOWED = {"resource_name", "actor_name"}  # names, beside the values of safe fields


def shapes(row: Operation, request: Request) -> Iterator[Request]:
    """The request with a secret in each of its body's fields, as a text, in a list and in an object."""
    for name in row.body.model_fields if row.body is not None else ():
        for value in (f"{WORD} {KEY}", WORD, [f"{WORD} {KEY}"], {"sub": f"{WORD} {KEY}"}, {"ZQ": f"{WORD} {KEY}"}):
            yield Request(request.method, request.path, {**(request.json or {}), name: value})


def told(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each text in an entry, with where it stands."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield path, str(key)
            yield from told(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from told(inner, path)
    elif isinstance(value, str):
        yield path, value


async def test_no_secret_is_ever_in_an_entry(
    api: ApiClient, services: Services, table: list[Operation], held: Holdings
) -> None:
    """Sent in every field of every route, and in headers, paths and queries: what looks like a secret is nowhere in the log, and any
    other word only where names and safe values stand."""
    _, key = await services.keys.create(held.holder.tenant.id, name=f"{WORD} {KEY}")
    _, platform = await services.keys.create(held.holder.tenant.id, scope=KeyScope.PLATFORM)
    headers = {"User-Agent": f"{KEY} curl", "Idempotency-Key": KEY, "X-Request-ID": KEY, "Cookie": KEY}
    taken = 0
    for row in table:
        if not row.mutates or row.method == "DELETE" or row.auth is Auth.NONE:
            continue
        by, plain = INTERNAL_TOKEN if row.auth is Auth.INTERNAL else key, request_of(row, held)
        for number, request in enumerate(shapes(row, plain)):
            sent = headers | {"Idempotency-Key": f"{KEY}{row.name}{number}"}
            answer = await api(request.method, request.path, key=by, headers=sent, json=request.json, params={"q": KEY})
            taken += answer.status < 300
    for path in (f"/api/v1/deployments/{held.ids['deployment']}/env/{KEY}", f"/api/v1/tenant/sessions/{KEY}"):
        await api("DELETE", path, key=key, headers=headers)
    await services.audit.flush()
    exported = await api("GET", f"{LOG}/export", key=platform)
    assert taken > 150
    assert KEY.encode() not in exported.body
    assert b"zqsecret" not in exported.body
    safe = {field for fields in SAFE.values() for field in fields}
    where = {
        place
        for entry in map(json.loads, exported.body.splitlines())
        for place, text in told(entry)
        if WORD in text and place.strip(".") not in ALLOWED
    }
    assert {place.split(".")[2] for place in where if place.startswith(".changes.")} <= safe
    assert {place for place in where if not place.startswith(".changes.")} == set()
