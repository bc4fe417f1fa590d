"""A workspace's stats and usage, computed from what the platform said and when."""

from datetime import UTC, datetime, timedelta

import pytest

from router.base.clock import ManualClock, iso
from router.node.services import Services
from router.routes.records import Kind, State
from router.tenancy.ownership import Ownership
from router.tenancy.resources import Resource
from tests.support.accounts import Account
from tests.support.api import ApiClient

pytestmark = pytest.mark.asyncio

HOUR = 3600.0
DAY = 24 * HOUR


async def machine(
    services: Services, acme: Account, kind: Kind = Kind.COMPUTER, size: str | None = "small"
) -> Resource:
    into = Ownership(project_id=acme.project.id)
    return await services.resources.create(kind, acme.tenant.id, ownership=into, size=size)


async def test_page_stats(api: ApiClient, acme: Account, services: Services) -> None:
    """Computers by status and what they have together; sandboxes and deleted computers do not count."""
    await api("PUT", f"/api/v1/workspaces/{acme.workspace.id}/settings", json={"max_computers": 10})
    for size, state in [
        ("small", State.RUNNING),
        ("medium", State.RUNNING),
        ("large", State.STOPPED),
        ("small", State.STARTING),
        ("small", State.DESTROYED),
    ]:
        one = await machine(services, acme, size=size)
        await services.resources.patch(one.id, state=state)
    await machine(services, acme, Kind.SANDBOX)
    answer = await api("GET", f"/api/v1/workspaces/{acme.workspace.id}/stats")
    assert answer.status == 200
    assert answer.json == {
        "workspace_id": acme.workspace.id,
        "computers": {
            "total": 4,
            "by_status": {"running": 2, "stopped": 1, "provisioning": 0, "error": 0, "starting": 1},
        },
        "resources": {"total_vcpus": 8, "total_memory_mb": 32768, "total_disk_gb": 190},
        "settings": {
            "max_computers": 10,
            "max_computer_size": None,
            "default_computer_size": "small",
            "default_auto_stop_seconds": 0,
            "allowed_template_types": [],
        },
    }
    assert (await api("GET", f"/api/v1/workspaces/{acme.workspace.id}")).json["data"]["computer_count"] == 4


@pytest.mark.parametrize(
    ("query", "window", "granularity", "count", "step"),
    [
        ("", "24h", "hour", 24, timedelta(hours=1)),
        ("?window=24h&granularity=day", "24h", "day", 1, timedelta(days=1)),
        ("?window=7d", "7d", "hour", 168, timedelta(hours=1)),
        ("?window=7d&granularity=day", "7d", "day", 7, timedelta(days=1)),
        ("?window=30d&granularity=hour", "30d", "hour", 720, timedelta(hours=1)),
        ("?window=30d&granularity=day", "30d", "day", 30, timedelta(days=1)),
    ],
)
async def test_empty_buckets_are_there(
    api: ApiClient,
    acme: Account,
    clock: ManualClock,
    query: str,
    window: str,
    granularity: str,
    count: int,
    step: timedelta,
) -> None:
    """Each window has all its buckets, whole hours or days of UTC, the last of them the current one."""
    clock.advance(12.5 * HOUR)
    answer = await api("GET", f"/api/v1/workspaces/{acme.workspace.id}/usage{query}")
    assert answer.status == 200
    shown = answer.json
    series = shown.pop("series")
    assert shown == {
        "workspace_id": acme.workspace.id,
        "window": window,
        "granularity": granularity,
        "total_credits_used": 0,
        "total_compute_hours": 0.0,
    }
    last = datetime(2026, 1, 1, 12 if granularity == "hour" else 0, tzinfo=UTC)
    assert series == [
        {"ts": iso(last - (count - 1 - number) * step), "credits_used": 0, "compute_hours": 0.0}
        for number in range(count)
    ]


async def test_usage_of_running_machines(api: ApiClient, acme: Account, services: Services, clock: ManualClock) -> None:
    """Running computers and sandboxes count by size, split over the buckets; other states and deployments do not."""
    path = f"/api/v1/workspaces/{acme.workspace.id}/usage?window=7d&granularity=day"
    small = await machine(services, acme)
    medium = await machine(services, acme, Kind.SANDBOX, "medium")
    page = await machine(services, acme, Kind.DEPLOYMENT, None)
    clock.advance(22 * HOUR)  # all are provisioning
    for one in (small, medium, page):
        await services.resources.patch(one.id, state=State.RUNNING)
    clock.advance(30 * HOUR)  # two hours of the first day, a whole one, four hours of the third
    await services.resources.patch(small.id, state=State.STOPPED)
    clock.advance(1.5 * HOUR)
    await services.resources.delete(medium.id)
    clock.advance(10 * HOUR)
    answer = await api("GET", path)
    assert [(one["ts"], one["credits_used"], one["compute_hours"]) for one in answer.json["series"][-3:]] == [
        ("2026-01-01T00:00:00Z", 2 * 30 + 2 * 60, 4.0),
        ("2026-01-02T00:00:00Z", 24 * 30 + 24 * 60, 48.0),
        ("2026-01-03T00:00:00Z", 4 * 30 + 5.5 * 60, 9.5),
    ]
    assert (answer.json["total_credits_used"], answer.json["total_compute_hours"]) == (2790, 61.5)


async def test_usage_of_what_still_runs(api: ApiClient, acme: Account, services: Services, clock: ManualClock) -> None:
    """An interval that is open counts until now, and only from the window's first bucket on."""
    path = f"/api/v1/workspaces/{acme.workspace.id}/usage"
    one = await machine(services, acme)
    await services.resources.patch(one.id, state=State.RUNNING)
    clock.advance(10 * DAY + 0.5 * HOUR)
    answer = await api("GET", path)
    assert [item["compute_hours"] for item in answer.json["series"]] == [1.0] * 23 + [0.5]
    assert answer.json["total_compute_hours"] == 23.5
    assert (await api("GET", f"{path}?window=30d&granularity=day")).json["total_compute_hours"] == 240.5


async def test_series_adds_up_to_the_total(
    api: ApiClient, acme: Account, services: Services, clock: ManualClock
) -> None:
    """However odd the times are, the rounded numbers of the series add up to the rounded total."""
    one = await machine(services, acme)
    for seconds in (1001.7, 777.1, 5003.3, 12345.6, 3.3, 40000.9):
        await services.resources.patch(one.id, state=State.RUNNING)
        clock.advance(seconds)
        await services.resources.patch(one.id, state=State.STOPPED)
        clock.advance(seconds / 3)
    usage = (await api("GET", f"/api/v1/workspaces/{acme.workspace.id}/usage")).json
    hours = (1001.7 + 777.1 + 5003.3 + 12345.6 + 3.3 + 40000.9) / 3600
    assert usage["total_compute_hours"] == pytest.approx(hours, abs=1e-6)
    assert usage["total_credits_used"] == round(hours * 30)
    assert sum(one["credits_used"] for one in usage["series"]) == usage["total_credits_used"]
    assert sum(one["compute_hours"] for one in usage["series"]) == pytest.approx(usage["total_compute_hours"], abs=1e-9)


async def test_use_goes_where_the_project_is(
    api: ApiClient, acme: Account, services: Services, clock: ManualClock
) -> None:
    """After a move, new use counts for the new workspace and what was stays with the old one."""
    one = await machine(services, acme)
    await services.resources.patch(one.id, state=State.RUNNING)
    clock.advance(HOUR)
    path = f"/api/v1/projects/{acme.project.id}/move"
    assert (await api("POST", path, json={"target_workspace_id": acme.default.id})).status == 200
    clock.advance(2 * HOUR)
    for workspace, hours in ((acme.workspace, 1.0), (acme.default, 2.0)):
        usage = (await api("GET", f"/api/v1/workspaces/{workspace.id}/usage")).json
        assert usage["total_compute_hours"] == hours


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [("window=1y", "window", "'24h', '7d' or '30d'"), ("granularity=minute", "granularity", "'hour' or 'day'")],
)
async def test_unknown_window_or_granularity(api: ApiClient, acme: Account, query: str, field: str, words: str) -> None:
    """Neither is guessed: 422 VALIDATION_FAILED, with what it may be."""
    answer = await api("GET", f"/api/v1/workspaces/{acme.workspace.id}/usage?{query}")
    assert (answer.status, answer.code, answer.fields) == (
        422,
        "VALIDATION_FAILED",
        {field: [f"is invalid: must be {words}"]},
    )
