"""A tenant's own Prometheus scrapes its metrics from the API with its key, while the node restarts."""

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.backends import Backend, Visit
from tests.support.http1 import Http1
from tests.support.prometheus import Prometheus
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import PAUSE

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

_WITHIN = 60.0


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    folder = tmp_path / "router"
    folder.mkdir()
    with Router(folder, workers=2, rates__metrics=100_000, metrics__tenants="top 1") as started:
        yield started


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[Backend]:
    async def program(visit: Visit) -> None:
        status = b"500 Oh" if visit.target == b"/bad" else b"200 OK"
        await visit.answer(b"hello", status=status)

    async with Backend(program) as started:
        yield started


async def visit(router: Router, slug: str, *paths: str) -> None:
    """Each on a connection of its own, so that both workers have some."""
    for path in paths:
        async with Http1(router.proxy_port, f"{slug}.{PLATFORM_DOMAIN}") as http:
            await (await http.request("GET", path)).read_all()


async def becomes(prometheus: Prometheus, query: str, expected: dict[str, float]) -> None:
    """Wait until a query has these values by slug."""
    found: dict[str, float] = {}
    try:
        async with asyncio.timeout(_WITHIN):
            while found != expected:
                await asyncio.sleep(PAUSE)
                series = await asyncio.to_thread(prometheus.query, query)
                found = {one["metric"].get("slug", ""): float(one["value"][1]) for one in series}
    except TimeoutError:
        pytest.fail(f"{query}: {found}, not {expected}")


async def test_counters_go_on_over_a_restart(tmp_path: Path, router: Router, backend: Backend) -> None:
    """Requests of both workers, before and after the restart, are one counter that never falls; another tenant's are not there."""
    acme, globex = await asyncio.to_thread(router.tenant, "Acme"), await asyncio.to_thread(router.tenant, "Globex")
    key = await asyncio.to_thread(router.key, acme)
    for tenant, slug in ((acme, "shop"), (acme, "desk"), (globex, "theirs")):
        await asyncio.to_thread(router.register, tenant, slug, backend.port)
    api = f"127.0.0.1:{router.api_port}"
    starting = asyncio.to_thread(Prometheus, tmp_path, [router.admin], api=api, key=key)
    with await starting as prometheus:
        await visit(router, "shop", *["/"] * 9, "/bad")
        await visit(router, "desk", "/")
        await visit(router, "theirs", "/")
        await becomes(prometheus, "miosa_requests_total", {"shop": 10, "desk": 1})
        await becomes(prometheus, "miosa_request_errors_total", {"shop": 1, "desk": 0})
        await asyncio.to_thread(router.process.stop)
        await asyncio.to_thread(router.start)
        await visit(router, "shop", *["/"] * 5)
        await becomes(prometheus, "miosa_requests_total", {"shop": 15, "desk": 1})
        await becomes(prometheus, "resets(miosa_requests_total[5m])", {"shop": 0, "desk": 0})
        await becomes(prometheus, "miosa_request_duration_seconds_count", {"shop": 15, "desk": 1})
        await becomes(prometheus, 'histogram_quantile(0.5, miosa_request_duration_seconds_bucket{slug="none"})', {})
        await becomes(prometheus, "miosa_resource_info * 2", {"shop": 2, "desk": 2})
        await becomes(prometheus, 'sum (miosa_router_tenant_requests_total{tenant!="_other"})', {"": 5})
        metrics = urllib.request.Request(
            f"http://{router.admin}/metrics", headers={"Accept": "application/openmetrics-text"}
        )
        _, _, text = await asyncio.to_thread(router.send, metrics)
        assert re.search(rb'exchange_seconds_bucket\{[^}]*worker="[12]"\} [0-9.]+ # \{request_id="', text), text
