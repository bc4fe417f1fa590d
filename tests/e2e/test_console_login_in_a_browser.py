"""Signing in to the console as people do: a real browser, through real Caddy by TLS, at a real provider that is not ours."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from router.node.services import Services, open_services
from router.settings import load
from router.tenancy.logins import ConsoleRole, NewLogin
from tests.e2e.test_login_in_a_browser import LOGIN, sign_in
from tests.support.browser import Tab, find_browser
from tests.support.caddy import Caddy
from tests.support.console import Bench, Customer
from tests.support.nameserver import NameServer
from tests.support.real_provider import RealProvider, find_provider
from tests.support.router import Router

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

CONSOLE = "https://api.example.com"
NAME = "<img src=x onerror=document.title='owned'>"


class ConsoleBench(Bench):
    """The console by its public address. `services` is the store's other door."""

    services: Services
    provider: RealProvider

    async def allow(self, role: ConsoleRole | None) -> None:
        login = NewLogin(
            issuer=self.provider.issuer,
            client_id=self.provider.client_id,
            client_secret=self.provider.client_secret,
            email_domains=("example.com",),
            console_role=role,
        )
        await self.services.logins.put(self.customer.tenant_id, login)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ConsoleBench]:
    folder = tmp_path_factory.mktemp("console-login")
    find_provider()
    settings = {
        "backend_networks": "127.0.0.2/32",
        "webhooks__private_networks": "127.0.0.1/32",
        "secrets_key": "5c" * 31 + "a1",
        "console__url": CONSOLE,
        "rates__auth": 1_000,
    }
    async with AsyncExitStack() as stack:
        dns = await stack.enter_async_context(NameServer())
        router = stack.enter_context(Router(folder, **settings))
        (folder / "more").mkdir()
        site = f"{CONSOLE} {{\n\ttls internal\n\treverse_proxy 127.0.0.1:{router.api_port}\n}}\n"
        (folder / "more" / "console.caddy").write_text(site)
        caddy = stack.enter_context(Caddy(folder, proxy=router.proxy, ask=router.admin))
        rules = f"MAP * 127.0.0.1:{caddy.port}, EXCLUDE 127.0.0.1"
        tab = await stack.enter_async_context(Tab(find_browser(), folder / "tab", rules))
        for domain in ("Page", "Runtime", "Log"):
            await tab.call(f"{domain}.enable")
        bench = ConsoleBench(router, dns, tab, Customer(router, "Acme"))
        bench.url = f"{CONSOLE}/console/"
        redirect_uri = f"{LOGIN}/callback/{bench.customer.tenant_id}"
        bench.provider = stack.enter_context(RealProvider(folder, redirect_uri))
        bench.services = await stack.enter_async_context(open_services(load(environ=router.environment), secrets=True))
        yield bench


async def begin(bench: ConsoleBench, email: str = "ada@example.com") -> None:
    """By the keyboard from the console's login, at the provider by its forms."""
    await bench.tab.call("Network.clearBrowserCookies")
    await bench.tab.open("about:blank")
    await bench.tab.open(f"{bench.url}?organization=acme")
    await bench.tab.until("document.activeElement?.name === 'organization'")
    await bench.press("Enter")
    await sign_in(bench.tab, email)


async def test_sign_in_and_log_out(bench: ConsoleBench) -> None:
    """The organization's name is text; nothing is kept that a script or the history could find; the log-out ends the session."""
    await bench.allow(ConsoleRole.WRITE)
    bench.customer.call("PATCH", "/tenant", {"name": NAME})
    await bench.tab.open(bench.url)
    await bench.tab.until("document.activeElement?.name === 'organization'")
    await bench.check_page("console-sign-in")
    await begin(bench)
    await bench.shows(NAME)
    await bench.says("ada@example.com", ".who")
    await bench.check_page("console-signed-in")
    assert await bench.tab.evaluate("document.title.includes('owned')") is False
    kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state])"
    found = await bench.tab.evaluate(kept)
    assert "mcs_" not in found
    assert "code" not in found
    assert json.loads(found)[2:4] == ["", bench.url]
    assert (await bench.services.sessions.list(bench.customer.tenant_id)).total == 1
    await bench.tab.evaluate("document.querySelector('header button:last-of-type').focus()")
    await bench.press("Enter")
    await bench.says("You logged out.", ".login")
    async with asyncio.timeout(30):
        while (await bench.services.sessions.list(bench.customer.tenant_id)).total:
            await asyncio.sleep(0.05)


async def test_who_reads_who_is_ended_and_who_stays_out(bench: ConsoleBench) -> None:
    """A person who may only read is told so; an ended session leads back to the login; a stranger gets a page."""
    await bench.allow(ConsoleRole.READ)
    await begin(bench)
    await bench.says("ada@example.com, may only read", ".who")
    await bench.services.sessions.revoke_all(bench.customer.tenant_id)
    await bench.tab.evaluate("location.hash = '#/api-keys'")
    await bench.says("Your session has ended. Sign in again.", ".login")
    await begin(bench, "eve@example.org")
    await bench.tab.until("document.querySelector('h1')?.textContent === 'This account is not let in'")
    await bench.tab.open(f"{bench.url}#code=made-up")
    await bench.says("This sign-in is over", ".login")
    assert await bench.tab.evaluate("location.hash") == ""
    await bench.fill("API key", bench.customer.key)
    await bench.press("Enter")
    await bench.says("whole organization", ".who")
