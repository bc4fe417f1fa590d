"""The console's first page: requests, errors and durations of the last hour and day, of everything and of one deployment. By keyboard alone."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.backends import Backend, Visit
from tests.support.console import Bench, bench_of
from tests.support.http1 import Http1
from tests.support.router import PLATFORM_DOMAIN

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

SUMS = "[...document.querySelectorAll('.chart figcaption strong')].map(one => one.innerText)"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with bench_of(tmp_path_factory.mktemp("console")) as bench:
        yield bench


async def program(visit: Visit) -> None:
    status = b"500 Oh" if visit.target.startswith(b"/broken") else b"200 OK"
    await visit.answer(b"hello", status)


async def visits(bench: Bench, slug: str, *paths: str) -> None:
    async with Http1(bench.router.proxy_port, f"{slug}.{PLATFORM_DOMAIN}") as http:
        for path in paths:
            await (await http.request("GET", path)).read_all()


async def test_nothing_yet(bench: Bench) -> None:
    """Each period says what would be here and what to do."""
    await bench.log_in()
    await bench.shows("Acme")
    await bench.says("No requests in the last hour", "main h2")
    await bench.check_page("overview-empty")
    await bench.tab_to("Period")
    await bench.press("ArrowDown")
    await bench.says("No requests in the last day", "main h2")
    assert "period=day" in await bench.tab.evaluate("location.hash")


async def test_requests_errors_and_durations(bench: Bench) -> None:
    """As totals and over time, as a picture and as a table; of all resources and of one, which is chosen by keyboard and stands in the address."""
    slug = f"shop-{uuid.uuid4().hex[:6]}"
    async with Backend(program) as backend:
        await asyncio.to_thread(bench.router.register, bench.customer.tenant_id, slug, backend.port)
        await visits(bench, slug, *["/"] * 8, "/broken", "/broken")
        await bench.log_in()
        await bench.tab.until(f"{SUMS}[0] === '10'")
    requests, errors, slowest = await bench.tab.evaluate(SUMS)
    assert (requests, errors) == ("10", "2 (20 %)")
    assert slowest.endswith("ms")
    named = await bench.tab.evaluate("document.querySelector('.chart svg title').textContent")
    assert named.startswith("Requests: 10 in all, latest ")
    await bench.check_page("overview-traffic", widths=(360, 1440, 3840))
    await bench.activate("Requests as a table")
    await bench.says("Requests per minute", ".chart details[open] th")
    await bench.tab_to("Period", 200)
    await bench.press("ArrowDown")
    await bench.tab.until("location.hash.includes('period=day')")
    await bench.tab.until(f"{SUMS}[0] === '10'")
    await bench.check_page("overview-day", widths=(1440,))
    await bench.tab_to("Traffic of", 200)
    await bench.press("ArrowDown")
    await bench.tab.until("location.hash.includes('resource=')")
    # The sums are the same as of all resources; the link is the new choice's once they were drawn anew.
    await bench.tab.until("document.querySelector('a[href*=\"status=5xx\"]')?.hash.includes('resource_id=')")
    await bench.tab.until(f"{SUMS}[0] === '10'")
    await bench.activate("See the failed requests")
    await bench.shows("Requests")
    await bench.says("GET /broken", "main td code")


async def test_a_key_of_one_workspace(bench: Bench) -> None:
    """It sees the numbers of deployments that it reaches, with their busiest routes; without one, the rest of the page."""
    workspace = bench.customer.call("POST", "/workspaces", {"name": "Lab"})
    key = bench.customer.call("POST", "/api-keys", {"name": "lab", "scope": f"workspace:{workspace['id']}"})["key"]
    await bench.log_in(key)
    await bench.says("Latest events", "main h2")
    assert "Traffic" not in await bench.text()
    bench.customer.call("POST", "/deployments", {"name": "Desk", "workspace_id": workspace["id"]})
    await bench.log_in(key)
    await bench.says("Desk (deployment)", "main option")
    await bench.says("No requests in the last hour", "main h2")
