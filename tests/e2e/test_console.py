"""The console in a real browser: logging in and out, the frame around the pages, and API keys. By the keyboard, as a person without a mouse."""

import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.console import Bench, bench_of
from tests.support.router import Router

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

HOSTILE = "<img src=x onerror=document.title='owned'>"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with bench_of(tmp_path_factory.mktemp("console")) as bench:
        yield bench


async def test_the_login(bench: Bench) -> None:
    """A key that is none is said to be none, at its field; one that is valid opens the console."""
    await bench.tab.open(bench.url)
    await bench.tab.until("document.activeElement?.name === 'key'")
    await bench.check_page("login")
    await bench.type("msk_nobody")
    await bench.press("Enter")
    await bench.says("API key is not valid", "form .field-error")
    assert await bench.tab.evaluate("document.activeElement.name") == "key"
    await bench.log_in()
    await bench.shows("Acme")
    await bench.check_page("overview", widths=(360, 1440, 3840))


async def test_the_key_is_kept_nowhere(bench: Bench) -> None:
    """A reload asks again; neither storage nor cookies nor the address have it."""
    await bench.log_in()
    kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state])"
    assert bench.customer.key not in await bench.tab.evaluate(kept)
    assert await bench.tab.evaluate("indexedDB.databases().then(found => found.length)") == 0
    await bench.tab.call("Page.reload")
    await bench.tab.until("document.querySelector('.login input[name=key]')?.value === ''")


async def test_idle_and_revoked_sessions_end(bench: Bench) -> None:
    """Nothing done for half an hour, or a 401: back to the login, which says why."""
    await bench.log_in()
    await bench.tab.evaluate("const real = Date.now; Date.now = () => real() + 31 * 60_000; 0")
    await bench.says("nothing was done for 30 minutes", ".login")
    key = bench.customer.call("POST", "/api-keys", {"name": "short"})
    await bench.log_in(key["key"])
    bench.customer.call("DELETE", f"/api-keys/{key['id']}")
    await bench.tab.evaluate("location.hash = '#/api-keys'")
    await bench.says("no longer accepts this key", ".login")
    assert await bench.tab.evaluate("document.activeElement.name") == "key"


async def test_the_frame(bench: Bench) -> None:
    """Skip link, navigation on a phone, an address that is no page, and the way out."""
    await bench.log_in()
    await bench.tab.evaluate("document.activeElement.blur()")
    await bench.press("Tab")
    assert await bench.tab.evaluate("document.activeElement.innerText") == "Skip to the page"
    await bench.press("Enter")
    assert await bench.tab.evaluate("document.activeElement.id") == "main"
    await bench.go("/nowhere", "Page not found")
    await bench.tab.call("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=True)
    try:
        await bench.tab.evaluate("document.querySelector('.skip').focus()")
        await bench.activate("Menu")
        await bench.activate("API keys")
        await bench.shows("API keys")
        assert await bench.tab.evaluate("document.querySelector('.menu').getAttribute('aria-expanded')") == "false"
        assert await bench.tab.evaluate("document.activeElement.tagName") == "H1"
    finally:
        await bench.tab.call("Emulation.clearDeviceMetricsOverride")
    await bench.tab.evaluate("document.querySelector('.skip').focus()")
    await bench.activate("Log out")
    await bench.says("You logged out.", ".login")


async def test_api_keys(bench: Bench) -> None:
    """Made, shown once, and revoked, by the keyboard alone; a name is text, whatever it says."""
    await bench.log_in()
    await bench.go("/api-keys", "API keys")
    await bench.activate("Create API key")
    await bench.says("Create an API key", "dialog h2")
    await bench.check_page("api-keys-create")
    await bench.press("Enter")  # without a name
    await bench.says("Name can't be empty", "dialog .field-error")
    await bench.type(HOSTILE)
    await bench.press("Enter")
    await bench.says("API key created", "dialog h2")
    await bench.press("Escape")  # it has been read only once the button says so
    shown = await bench.text("dialog .secret code")
    assert bench.customer.call("GET", "/whoami", key=shown)["scope"] == "tenant"
    await bench.check_page("api-keys-once")
    await bench.tab_to("Copy the API key")
    await bench.press("Enter")
    await bench.says("Copied", "dialog .copy")
    await bench.activate("I have kept it")
    await bench.says(HOSTILE, "main td")
    assert await bench.tab.evaluate("document.querySelector('main img') === null && document.title !== 'owned'")
    await bench.check_page("api-keys")
    await bench.confirm(f"Revoke {HOSTILE}", f"Revoke {HOSTILE}?", "Revoke key")
    await bench.says("revoked", "main .badge.bad")


async def test_the_files(bench: Bench) -> None:
    """What browsers are told about them: who may load what, and what they may keep."""
    address = f"http://127.0.0.1:{bench.router.api_port}"
    status, headers, body = bench.router.send(urllib.request.Request(f"{address}/console"))
    assert status == 200  # by way of /console/
    assert headers["cache-control"] == "no-cache"
    assert "script-src 'self'; style-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    again = urllib.request.Request(f"{address}/console/", headers={"If-None-Match": headers["etag"]})
    assert bench.router.send(again)[0] == 304
    script = body.decode().partition('<script type="module" src="')[2].partition('"')[0]
    for _ in range(80):  # more than anybody may ask the API in a minute
        status, headers, _ = bench.router.send(urllib.request.Request(address + script))
        assert status == 200
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["content-type"] == "text/javascript; charset=utf-8"


async def test_switched_off(tmp_path: Path) -> None:
    """Then there is nothing at its path, and `/` does not name it."""
    with Router(tmp_path, console__enabled=False) as router:
        address = f"http://127.0.0.1:{router.api_port}"
        assert router.send(urllib.request.Request(f"{address}/console/"))[0] == 404
        assert b"console" not in router.send(urllib.request.Request(f"{address}/"))[2]
