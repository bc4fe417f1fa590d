"""What the platform's operators see of all tenants, and nobody else."""

import pytest

from router.base.key_scopes import KeyScope
from router.node.services import Services
from tests.support.accounts import Account
from tests.support.api import ApiClient

pytestmark = pytest.mark.asyncio

PATHS = ("/api/v1/platform/status", "/api/v1/platform/tenants")


async def test_a_key_of_the_platform_reads_them(
    api: ApiClient, services: Services, acme: Account, globex: Account
) -> None:
    """The state of the node, and all organizations page by page."""
    _, key = await services.keys.create(acme.tenant.id, scope=KeyScope.PLATFORM)
    status = (await api("GET", PATHS[0], key=key)).json["data"]
    assert (status["status"], status["nodes"]) == ("degraded", None)
    assert status["degradations"] == [{"check": "redis", "detail": "it is away", "remedy": "See whether Redis runs."}]
    page = (await api("GET", PATHS[1], key=key, params={"page_size": "1"})).json
    assert page["page"]["total"] == 2
    (first,) = page["data"]
    page = (await api("GET", PATHS[1], key=key, params={"page_size": "1", "page": "2"})).json
    (second,) = page["data"]
    assert {first["id"], second["id"]} == {acme.tenant.id, globex.tenant.id}


async def test_nobody_else_does(api: ApiClient, services: Services, acme: Account) -> None:
    """Neither a tenant nor a part of one, nor the platform's key while it works for a tenant."""
    _, key = await services.keys.create(acme.tenant.id, scope=KeyScope.PLATFORM)
    for path in PATHS:
        assert (await api("GET", path)).code == "forbidden"
        assert (await api("GET", path, key=acme.workspace_key)).code == "forbidden"
        answer = await api("GET", path, key=key, headers={"X-MIOSA-Tenant": acme.tenant.slug})
        assert (answer.status, answer.code) == (403, "forbidden")
        assert (await api("GET", path, key=None)).status == 401
