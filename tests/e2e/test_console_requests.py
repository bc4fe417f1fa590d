"""The console's page of requests: as they come and page by page, under conditions, one in detail, and sent once more. By keyboard alone."""

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

HOSTILE = "/%3Cimg%20src=x%20onerror=alert(1)%3E"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with bench_of(tmp_path_factory.mktemp("console")) as bench:
        yield bench


async def visit(bench: Bench, slug: str, *paths: str, headers: str = "") -> None:
    async with Http1(bench.router.proxy_port, f"{slug}.{PLATFORM_DOMAIN}") as http:
        for path in paths:
            await (await http.request("GET", path, headers)).read_all()


async def program(visit: Visit) -> None:
    status = b"500 Oh" if visit.target.startswith(b"/broken") else b"200 OK"
    await visit.answer(b'{"hello": "<b>world</b>"}', status, b"Content-Type: application/json")


async def test_requests_from_the_first_to_its_replay(bench: Bench) -> None:
    """Each shows up as it ends, is found by conditions, tells where its time went, and can be sent once more with what was masked."""
    async with Backend(program) as backend:
        slug = f"shop-{uuid.uuid4().hex[:6]}"
        shop = await asyncio.to_thread(bench.router.register, bench.customer.tenant_id, slug, backend.port)
        await bench.log_in()
        await bench.go("/requests", "Requests")
        await bench.says("No requests yet", "main h2")
        await bench.check_page("requests-empty")
        await bench.says("Requests show up here as they end.")
        await visit(bench, slug, "/first?token=secret", HOSTILE, "/broken")
        await bench.says("GET /first", "main td code")
        await bench.says("onerror", "main td code")
        await bench.says("500", "main td .badge.bad")
        assert "secret" not in await bench.text()
        await bench.check_page("requests-live")

        capture = f"/sandboxes/{shop}/request-capture"
        await asyncio.to_thread(bench.customer.call, "PUT", capture, {"duration_seconds": 600})
        await visit(bench, slug, "/captured", headers="Cookie: theme=dark\r\n")
        await bench.says("GET /captured", "main td code")
        await bench.activate("Pause")
        await bench.fill("Path contains", "captured")
        await bench.press("Enter")
        await bench.tab.until("document.querySelectorAll('main tbody tr').length === 1")
        assert "path_contains=captured" in await bench.tab.evaluate("location.hash")
        await bench.check_page("requests-found")
        await bench.activate("Details of GET /captured")
        await bench.says("GET /captured", "dialog h2")
        await bench.says("Where the time went", "dialog h3")
        await bench.check_page("request")
        await bench.activate("Show headers and bodies")
        await bench.says('{"hello": "<b>world</b>"}', "dialog pre")
        await bench.check_page("request-captured")
        await bench.activate("Send it once more")
        await bench.says("Parts of this request were masked", "dialog p")
        await bench.check_page("request-replay")
        await bench.fill("Header cookie", "theme=light")
        await bench.activate("Send it")
        await bench.says("It was answered with", "dialog .notice")
        await bench.press("Escape")
        await bench.fill("Path contains", "no such path")
        await bench.press("Enter")
        await bench.says("No request fits", "main h2")
        await bench.activate("Clear all conditions")
        await bench.tab.until("document.querySelectorAll('main tbody tr').length >= 4")


async def test_a_key_of_a_project_sees_requests_of_its_resources(bench: Bench) -> None:
    """It has to choose one of them; without any it is told so."""
    workspace = await asyncio.to_thread(bench.customer.call, "POST", "/workspaces", {"name": "Side"})
    made = await asyncio.to_thread(
        bench.customer.call, "POST", "/api-keys", {"name": "side", "scope": f"workspace:{workspace['id']}"}
    )
    await bench.log_in(made["key"])
    await bench.go("/requests", "Requests")
    await bench.says("Nothing to see requests of", "main h2")
    await bench.check_page("requests-none")
