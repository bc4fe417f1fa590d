"""The console for somebody who may only read: all pages, and no button of what the API would refuse to them."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
import pytest_asyncio

from router.tenancy.logins import ConsoleRole
from tests.support.backends import Backend, Visit
from tests.support.console import Bench, bench_of
from tests.support.http1 import Http1
from tests.support.router import PLATFORM_DOMAIN

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

READING = {"Copy", "Diagnose again", "Build"}  # buttons that everybody has
PASSWORD = {"password": "correct horse battery"}


@dataclass(frozen=True, slots=True)
class Page:
    """`says` is on the page once all of it is there; `writes` are the buttons that somebody has who may write."""

    path: str
    heading: str
    says: str
    writes: Sequence[str]


class Receiver(Backend):
    """Of webhooks and log drains: at an address where no sandbox may be."""

    address = "127.0.0.2"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    networks = {"backend_networks": "127.0.0.1/32", "webhooks__private_networks": f"{Receiver.address}/32"}
    async with bench_of(tmp_path_factory.mktemp("console"), **networks) as bench:
        yield bench


async def program(visit: Visit) -> None:
    await visit.answer(b"hello")


def fill(bench: Bench, port: int, receiver: str) -> list[Page]:
    """One of everything that has buttons, and the pages that show it."""
    call = bench.customer.call
    sandbox = bench.router.register(bench.customer.tenant_id, "site", port)
    one = f"/sandboxes/{sandbox}"
    call("PATCH", one, {"visibility": "private"})
    exposed = call("POST", f"{one}/previews", {"port": 3000, "visibility": "private"})
    call("POST", f"{one}/previews/{exposed['id']}/share", {"ttl_seconds": 3600})
    call("POST", f"{one}/previews/{exposed['id']}/tokens", {"name": "crawler"})
    call("PUT", f"{one}/previews/{exposed['id']}/password", PASSWORD)
    call("POST", f"{one}/shares", {"expires_in": 3600})
    call("PUT", f"{one}/password", PASSWORD)
    call("PUT", f"{one}/request-capture", {"duration_seconds": 600})
    deployment = call("POST", "/deployments", {"name": "Shop"})["id"]
    for _ in range(2):
        call("POST", f"/deployments/{deployment}/publish", {"source_sandbox_id": sandbox, "promote": True})
    call("POST", f"/deployments/{deployment}/env", {"env": {"COLOUR": "red"}, "environment": "production"})
    domain = call("POST", "/custom-domains", {"domain": "www.yourcompany.com", "deployment_id": deployment})["id"]
    call("PUT", "/tenant/preview-domain", {"preview_domain": "preview.yourcompany.com"})
    hook = call("POST", "/webhooks", {"url": f"{receiver}/hooks", "event_types": ["*"]})["id"]
    call("POST", f"/webhooks/{hook}/test")
    drain = call("POST", "/log-drains", {"name": "Logs", "kind": "http", "url": f"{receiver}/in"})["id"]
    call("POST", "/api-keys", {"name": "ci"})
    certificate = ["Upload a certificate", "Make a request (CSR)"]
    capture = ["Capture requests", "Delete captures…"]
    return [
        Page("/domains", "Domains", "www.yourcompany.com", ["Add domain"]),
        Page(
            *(f"/domains/{domain}", "www.yourcompany.com", "None: certificates come by themselves"),
            ["Check now", "Change", "Remove domain…", *certificate],
        ),
        Page(
            *("/preview-domains", "Preview domains", "None: certificates come by themselves"),
            ["Change", "Clear…", "Verify now", *certificate],
        ),
        Page("/webhooks", "Webhooks", "/hooks", ["Create webhook"]),
        Page(
            *(f"/webhooks/{hook}", f"{receiver}/hooks", "delivered"),
            ["Send a test", "Change", "New secret", "Delete", "Deliver again"],
        ),
        Page("/log-drains", "Log drains", "Logs", ["Create log drain"]),
        Page(f"/log-drains/{drain}", "Logs", "active", ["Send a test", "Pause", "Change", "New secret", "Delete"]),
        Page("/api-keys", "API keys", "ci", ["Create API key", "Rename", "Rotate", "Revoke"]),
        Page(
            *(f"/resources/deployments/{deployment}", "Shop", "COLOUR"),
            [
                *("Change", "Take off the air", "Roll back…", "Publish a version", "Promote"),
                *("Set variable", "Delete", *capture),
            ],
        ),
        Page(
            *(f"/resources/sandboxes/{sandbox}", "site", "crawler"),
            [
                *("Change", "Default port…", "Expose port", "Create share link", "End share links", "Change password"),
                *("Remove password", "Close port", "Create token", "Revoke"),
                *("Capture for longer", "Stop capturing", "Delete captures…"),
            ],
        ),
    ]


async def open_as(bench: Bench, role: ConsoleRole) -> None:
    await bench.log_in(await asyncio.to_thread(bench.router.console_token, bench.customer.tenant_id, role))


async def buttons(bench: Bench, page: Page) -> set[str]:
    """What the page's buttons say, those in parts that open too, but for `READING`."""
    await bench.go(page.path, page.heading)
    await bench.tab.evaluate("document.querySelectorAll('main details').forEach(one => { one.open = true; })")
    await bench.says(page.says, "main")
    found = await bench.tab.evaluate(
        "JSON.stringify([...document.querySelectorAll('main button')].map(one => one.textContent))"
    )
    return set(json.loads(found)) - READING


async def test_who_may_only_read_has_no_button_that_changes_something(bench: Bench) -> None:
    """On each page: somebody with the right to write has just these buttons, somebody without it none of them."""
    async with Backend(program) as backend, Receiver(program) as receiver:
        pages = await asyncio.to_thread(fill, bench, backend.port, f"http://{receiver.address}:{receiver.port}")
        await open_as(bench, ConsoleRole.WRITE)
        for page in pages:
            assert await buttons(bench, page) == set(page.writes), page
        await open_as(bench, ConsoleRole.READ)
        await bench.says("ada@example.com, may only read", ".who")
        for page in pages:
            assert await buttons(bench, page) == set(), page
            await bench.check_page(f"read-only-{page.path.split('/')[1]}", widths=(360,))


async def test_who_may_only_read_sees_a_request_and_does_not_send_it_again(bench: Bench) -> None:
    """Headers and bodies too."""
    async with Backend(program) as backend:
        sandbox = await asyncio.to_thread(bench.router.register, bench.customer.tenant_id, "asked", backend.port)
        capture = f"/sandboxes/{sandbox}/request-capture"
        await asyncio.to_thread(bench.customer.call, "PUT", capture, {"duration_seconds": 600})
        async with Http1(bench.router.proxy_port, f"asked.{PLATFORM_DOMAIN}") as http:
            await (await http.request("GET", "/seen")).read_all()
        for role, again in ((ConsoleRole.WRITE, True), (ConsoleRole.READ, False)):
            await open_as(bench, role)
            await bench.go("/requests", "Requests")
            await bench.says("GET /seen", "main td code")
            await bench.activate("Details of GET /seen")
            await bench.says("Show headers and bodies", "dialog button")
            assert ("Send it once more" in await bench.text("dialog")) is again
