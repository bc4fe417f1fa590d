"""Developers see their traffic with the official client, in both its forms, on a node of one process and on one of several."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import miosa
import pytest
import pytest_asyncio

from tests.support.backends import Backend, Visit
from tests.support.customer import Customer
from tests.support.http1 import Http1
from tests.support.nameserver import NameServer
from tests.support.router import PLATFORM_DOMAIN, Router

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

QUICK, SLOW, VERY_SLOW = 90, 9, 1  # requests of each kind
SLOW_TIME, VERY_SLOW_TIME = 0.2, 1.0  # seconds


async def program(visit: Visit) -> None:
    """Slow under /slow, very slow under /very-slow; half of those very slow ones fail."""
    path = visit.target.decode()
    if path.startswith("/slow/"):
        await asyncio.sleep(SLOW_TIME)
    if path.startswith("/very-slow/"):
        await asyncio.sleep(VERY_SLOW_TIME)
        await visit.answer(b"oh", status=b"500 Oh")
        return
    await visit.answer(b"hello")


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two workers"])
def router(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    folder: Path = tmp_path_factory.mktemp("records")
    with Router(folder, workers=request.param) as started:
        yield started
    assert started.process.status == 0


@pytest_asyncio.fixture(params=[miosa.Miosa, miosa.AsyncMiosa], ids=["sync", "async"])
async def customer(request: pytest.FixtureRequest, router: Router) -> AsyncIterator[Customer]:
    async with NameServer() as dns:
        opened = await asyncio.to_thread(Customer, router, dns, request.param)
        yield opened
        await opened.ask(opened.client.close)


async def until_recorded(customer: Customer, deployment_id: str, number: int) -> dict[str, Any]:
    """The deployment's numbers, when that many requests have been counted."""
    async with asyncio.timeout(30):
        while True:
            found: dict[str, Any] = await customer.ask(customer.client.deployments.observability, deployment_id)
            if found["requests"] >= number:
                return found
            await asyncio.sleep(0.2)


async def test_a_developer_sees_their_traffic(customer: Customer) -> None:
    """Percentiles of known durations, routes with ids folded, records page by page, and lines; all that was asked is counted."""
    deployments = customer.client.deployments
    slug = f"shop-{uuid.uuid4().hex[:8]}"
    async with Backend(program) as backend:
        shop = customer.router.register(customer.tenant_id, slug, backend.port, kind="deployment")
        await customer.router.settled()
        host = f"{slug}.{PLATFORM_DOMAIN}"
        paths = [f"/quick/{number}?token=secret" for number in range(QUICK)]
        paths += [f"/slow/{number}" for number in range(SLOW)] + [f"/very-slow/{number}" for number in range(VERY_SLOW)]
        async with Http1(customer.router.proxy_port, host) as http:
            for path in paths:
                await (await http.request("GET", path)).read_all()
    seen = await until_recorded(customer, shop, 100)
    assert (seen["requests"], seen["errors"], seen["error_rate"]) == (100, 1, 0.01)
    assert seen["latency_ms"]["p50"] < 100
    assert seen["latency_ms"]["p95"] == pytest.approx(SLOW_TIME * 1000, rel=0.3)
    assert seen["latency_ms"]["p99"] == pytest.approx(SLOW_TIME * 1000, rel=0.5)
    assert max(point["latency_ms"]["p99"] for point in seen["series"]) >= 150

    routes = (await customer.ask(deployments.routes, shop))["routes"]
    assert [(one["route"], one["requests"]) for one in routes] == [
        ("GET /quick/:id", QUICK),
        ("GET /slow/:id", SLOW),
        ("GET /very-slow/:id", VERY_SLOW),
    ]
    assert routes[2]["error_rate"] == 1.0
    assert routes[2]["latency_ms"]["p50"] == pytest.approx(VERY_SLOW_TIME * 1000, rel=0.3)

    first = await customer.ask(deployments.request_logs, shop, limit=60)
    second = await customer.ask(deployments.request_logs, shop, limit=60, cursor=first["next_cursor"])
    items = first["items"] + second["items"]
    assert second["next_cursor"] is None
    assert [one["path"] for one in reversed(items)] == [path.partition("?")[0] for path in paths]
    assert "secret" not in str(items)
    failed = await customer.ask(deployments.request_logs, shop, status="5xx", fault="application")
    assert [one["path"] for one in failed["items"]] == ["/very-slow/0"]

    lines = (await customer.ask(deployments.get_logs, shop, lines=5))["lines"]
    assert len(lines) == 5
    assert f"500 -- GET {host}/very-slow/0" in lines[-1]
