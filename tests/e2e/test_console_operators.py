"""The console for the platform's operators: how nodes and stores are, what is busy and what is refused, and all organizations. To read, by keyboard."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.base.key_scopes import KeyScope
from tests.support.backends import Backend, Visit
from tests.support.console import Bench, bench_of
from tests.support.http1 import Http1
from tests.support.router import PLATFORM_DOMAIN

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

HOSTILE = "<img src=x onerror=document.title='owned'>"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with bench_of(tmp_path_factory.mktemp("console")) as bench:
        yield bench


async def program(visit: Visit) -> None:
    await visit.answer(b"hello")


async def visits(bench: Bench, slug: str) -> None:
    """Ten in a second, every other of a host that is nobody's, until it is cancelled."""
    async with (
        Http1(bench.router.proxy_port, f"{slug}.{PLATFORM_DOMAIN}") as busy,
        Http1(bench.router.proxy_port, f"nobody.{PLATFORM_DOMAIN}") as lost,
    ):
        while True:
            for http in (busy, lost):
                await (await http.request("GET", "/")).read_all()
            await asyncio.sleep(0.2)  # the pace of a visitor


async def test_the_platform_at_a_glance(bench: Bench) -> None:
    """A key of the platform opens its own pages; each list says what it would hold; what is busy shows up by itself."""
    await bench.log_in(bench.router.key(bench.customer.tenant_id, KeyScope.PLATFORM))
    await bench.shows("Status")
    links = await bench.tab.evaluate("[...document.querySelectorAll('nav#navigation a')].map(one => one.textContent)")
    assert links == ["Status", "Organizations", "Explain a host", "API keys"]
    await bench.says("SQLite", "main td")
    await bench.says("No certificate is near its end", "main section")
    await bench.says("No budgets are counted", "main section")
    await bench.check_page("operators-status")
    slug = f"busy-{uuid.uuid4().hex[:6]}"
    async with Backend(program) as backend:
        await asyncio.to_thread(bench.router.register, bench.customer.tenant_id, slug, backend.port)
        visitor = asyncio.create_task(visits(bench, slug))
        try:
            await bench.says(slug, "main td code")
            await bench.says("Per second", "main th")
        finally:
            visitor.cancel()
            await asyncio.wait({visitor})
    await bench.check_page("operators-busy", widths=(360, 1440, 3840))


async def test_all_organizations(bench: Bench) -> None:
    """Their names are text, whatever they say. A tenant's own key has no such page."""
    bench.router.tenant(HOSTILE)
    await bench.log_in(bench.router.key(bench.customer.tenant_id, KeyScope.PLATFORM))
    await bench.activate("Menu")  # the window is a narrow one
    await bench.activate("Organizations")
    await bench.shows("Organizations")
    await bench.says(HOSTILE, "main td")
    await bench.says("Acme", "main td")
    assert await bench.tab.evaluate("document.querySelector('main img') === null && document.title !== 'owned'")
    await bench.check_page("operators-organizations")
    await bench.log_in()
    await bench.shows("Acme")
    await bench.go("/organizations", "Page not found")
