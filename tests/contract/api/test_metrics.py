"""A tenant's own metrics over the API."""

from typing import Any
from uuid import UUID

import pytest
from prometheus_client.parser import text_string_to_metric_families

from router.base.clock import ManualClock
from router.base.key_scopes import KeyScope
from router.node.services import Services
from router.records.counters import OTHER
from router.records.kept import KeptRecords
from router.routes.records import Kind
from router.settings import Rates
from router.tenancy.ownership import Ownership
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.request_records import totals

pytestmark = pytest.mark.asyncio


async def counted(kept: KeptRecords, clock: ManualClock, tenant_id: str, resource_id: str, requests: int) -> None:
    """Count requests to a resource, as a keeper does."""
    minute = int(clock.now().timestamp()) // 60 * 60_000_000
    one = totals(minute, tenant=UUID(tenant_id).bytes, resource=UUID(resource_id).bytes, requests=requests)
    await kept.append([], [one])


async def scraped(api: ApiClient, key: str | None = "", **headers: str) -> dict[str, float]:
    """Requests by the resource's slug, as a scraper with this key reads them."""
    given: dict[str, Any] = {} if key == "" else {"key": key}
    answer = await api("GET", "/api/v1/metrics", headers=headers, **given)
    assert answer.status == 200, answer.body
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    return {sample.labels["slug"]: sample.value for sample in families["miosa_requests"].samples}


async def test_a_key_reads_what_it_may_see(
    api: ApiClient, services: Services, acme: Account, kept: KeptRecords, clock: ManualClock
) -> None:
    """Its tenant's, workspace's or project's; those that are deleted no longer, and nobody else's ever."""
    tenant = acme.tenant.id
    shop = await services.deployments.create(tenant, "Shop", ownership=Ownership(), slug="shop")
    workspace, _ = await services.workspaces.create(tenant, name="Lab")
    project = await services.projects.create(tenant, name="Tests", workspace_id=workspace.id)
    box = await services.resources.create(
        Kind.SANDBOX, tenant, ownership=Ownership(workspace_id=workspace.id, project_id=project.id), slug="box"
    )
    theirs = await services.tenants.create("Globex")
    globex = await services.resources.create(Kind.SANDBOX, theirs.id, ownership=Ownership(), slug="globex")
    await counted(kept, clock, tenant, shop.id, 3)
    await counted(kept, clock, tenant, box.id, 4)
    await counted(kept, clock, tenant, str(UUID(bytes=OTHER)), 5)
    await counted(kept, clock, theirs.id, globex.id, 6)
    await counted(kept, clock, tenant, globex.id, 7)  # as if somebody else's resource were counted as ours
    assert await scraped(api) == {"shop": 3, "box": 4, "_other": 5}
    _, of_workspace = await services.keys.create(tenant, scope=KeyScope.WORKSPACE, scope_id=workspace.id)
    assert await scraped(api, of_workspace) == {"box": 4}
    _, of_project = await services.keys.create(tenant, scope=KeyScope.PROJECT, scope_id=project.id)
    assert await scraped(api, of_project) == {"box": 4}
    await services.resources.delete(box.id)
    assert await scraped(api) == {"shop": 3, "_other": 5}
    assert await scraped(api, of_project) == {}


async def test_openmetrics_where_accept_names_it(
    api: ApiClient, services: Services, acme: Account, kept: KeptRecords, clock: ManualClock
) -> None:
    """As a newer Prometheus asks; it ends with its mark."""
    shop = await services.deployments.create(acme.tenant.id, "Shop", ownership=Ownership(), slug="shop")
    await counted(kept, clock, acme.tenant.id, shop.id, 3)
    answer = await api(
        "GET", "/api/v1/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0,*/*;q=0.1"}
    )
    assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.body.endswith(b"# EOF\n")
    assert answer.headers["Cache-Control"] == "no-store"


class TestRate:
    """Scrapes have a rate of their own."""

    @pytest.fixture
    def rates(self) -> Rates:
        return Rates(metrics=2)

    async def test_it_is_bounded(self, api: ApiClient) -> None:
        """429 with Retry-After; the rest of the API answers on."""
        answers = [(await api("GET", "/api/v1/metrics")) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert answers[-1].headers["Retry-After"]
        assert (await api("GET", "/api/v1/tenant")).status == 200
