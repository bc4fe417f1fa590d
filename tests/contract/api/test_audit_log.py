"""The audit log: each route that may change something has an entry, in the transaction of its change; who may read which."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from router.api.operations import Auth, Operation
from router.audit.actions import route_action
from router.base.clock import ManualClock
from router.base.key_scopes import KeyScope
from router.node.services import Services
from router.settings import Settings, load
from tests.contract.api.conftest import INTERNAL_TOKEN
from tests.support.api import ApiClient
from tests.support.backends import Backend, Visit
from tests.support.calls import request_of
from tests.support.database import on_both
from tests.support.holdings import Holder, Holdings, fill, mark_project, mark_tenant, mark_workspace

pytestmark = pytest.mark.asyncio

LOG = "/api/v1/audit-log"
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
    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    async with Backend(hello) as program:
        tenant = await mark_tenant(services, "zcompany")
        workspace = await mark_workspace(services, tenant, "zclinic")
        project = await mark_project(services, workspace, "zsite")
        yield await fill(services, Holder("zsite", tenant, workspace, project), program.port)


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
    _, platform = await services.keys.create(held.holder.tenant.id, scope=KeyScope.PLATFORM)
    rows = [row for row in table if row.mutates and row.auth is not Auth.NONE]
    rows.sort(key=lambda row: (row.method == "DELETE", -row.path.count("/") if row.method == "DELETE" else 0))
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
