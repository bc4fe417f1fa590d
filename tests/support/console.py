"""The console as people use it: a browser on it, a router with a name server behind it, and a customer with a key.

A test file of the console makes one `Bench` for all its tests (`bench_of`), and logs in by `bench.log_in()`. `check_page` is what every page is held
against: axe at 360 and 1440 pixels, light and dark, no sideways scrolling, nothing on the browser's console. With CONSOLE_PICTURES=FOLDER it also
keeps the pictures, for people to look at.
"""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Tab, find_browser
from tests.support.nameserver import NameServer
from tests.support.router import Router

_PATIENCE = 20.0  # seconds for what a page shows
WIDTHS = (360, 1440)
_AXE = Path(sys.prefix) / "axe-core" / "node_modules" / "axe-core" / "axe.min.js"
_HOW = "tests/install-servers.sh installs it by npm"
# Levels A and AA, and what axe recommends beyond them.
_RUN = """axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(found =>
  found.violations.map(one => `${one.id}: ${one.help}: ${one.nodes.map(node => `${node.html} ${node.failureSummary}`).join(" | ")}`))"""
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowDown": 40}


def axe() -> str:
    """The checker's script. Skips the test, and says so on the terminal in red, where there is none; in CI that fails."""
    if _AXE.exists():
        return _AXE.read_text(encoding="utf-8")
    print(
        f"\n\x1b[1;31mNOT TESTED: the console for everybody, for want of axe-core; {_HOW}\x1b[0m", file=sys.__stderr__
    )
    if "CI" in os.environ:
        pytest.fail(f"axe-core is not installed; {_HOW}")
    pytest.skip(f"axe-core is not installed; {_HOW}")


class Customer:
    """One tenant, a key of theirs, and calls with it."""

    def __init__(self, router: Router, name: str) -> None:
        self._router = router
        self.name = name
        self.tenant_id = router.tenant(name)
        self.key = router.key(self.tenant_id)

    def call(self, method: str, path: str, body: object = None, *, key: str | None = None) -> Any:
        """What the API answers, out of its envelope; fails where it refuses. In a thread where the API has to ask the bench's name
        server, which is in the test's own loop."""
        return self._router.call(key or self.key, method, path, body)


class Bench:
    """The browser's tab on the console, and what is behind it."""

    def __init__(self, router: Router, dns: NameServer, tab: Tab, customer: Customer) -> None:
        self.router, self.dns, self.tab, self.customer = router, dns, tab, customer
        self.url = f"http://127.0.0.1:{router.api_port}/console/"

    async def log_in(self, key: str | None = None) -> None:
        """On a fresh page, by the keyboard."""
        await self.tab.open("about:blank")
        await self.tab.open(self.url)
        await self.tab.until("document.activeElement?.name === 'key'")
        await self.type(key or self.customer.key)
        await self.press("Enter")
        await self.tab.until("document.querySelector('main#main:not([aria-busy]) h1') !== null")

    async def go(self, path: str, heading: str) -> None:
        """To a page by its path, until its heading is there."""
        await self.tab.evaluate(f"location.hash = {json.dumps(f'#{path}')}")
        await self.shows(heading)

    async def shows(self, heading: str) -> None:
        """Wait until a page with this heading is there."""
        wanted = json.dumps(heading)
        await self.tab.until(
            f"document.querySelector('main:not([aria-busy]) h1')?.textContent === {wanted}"
            " && !document.querySelector('main [aria-busy]')"
        )

    async def says(self, text: str, where: str = "body") -> None:
        """Wait until some part of the page has this text."""
        found = f"[...document.querySelectorAll({json.dumps(where)})].some(one => one.innerText.includes({json.dumps(text)}))"
        try:
            await self.tab.until(found, _PATIENCE)
        except AssertionError:
            shown = await self.tab.evaluate("document.body.innerText")
            raise AssertionError(f"no {where} says {text!r}: {shown}") from None

    async def text(self, selector: str = "main") -> str:
        return str(await self.tab.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def type(self, text: str) -> None:
        """Into what has the focus."""
        await self.tab.call("Input.insertText", text=text)

    async def press(self, key: str, times: int = 1, *, shift: bool = False) -> None:
        """A key of the keyboard."""
        fields: dict[str, Any] = {"key": key, "code": "Space" if key == " " else key, "modifiers": 8 if shift else 0}
        fields["windowsVirtualKeyCode"] = _KEYS[key]
        for _ in range(times):
            text = {"text": "\r"} if key == "Enter" else {"text": " "} if key == " " else {}
            await self.tab.call("Input.dispatchKeyEvent", type="keyDown", **fields, **text)
            await self.tab.call("Input.dispatchKeyEvent", type="keyUp", **fields)

    async def tab_to(self, name: str, most: int = 80) -> None:
        """By the Tab key to the control of this name: its label, or its text."""
        named = (
            "(one => one && (one.getAttribute('aria-label') ?? one.labels?.[0]?.innerText ?? one.innerText).trim())"
            "(document.activeElement)"
        )
        for _ in range(most):
            await self.press("Tab")
            found = await self.tab.evaluate(named)
            if isinstance(found, str) and found.startswith(name):
                return
        raise AssertionError(f"no control {name!r} within {most} presses of Tab")

    async def activate(self, name: str, key: str = "Enter") -> None:
        """Go there by Tab, and press the key on it."""
        await self.tab_to(name)
        await self.press(key)

    async def fill(self, name: str, text: str) -> None:
        """Go to the field by Tab, and type in the place of what is there."""
        await self.tab_to(name)
        await self.tab.evaluate("document.activeElement.select?.()")
        await self.type(text)

    async def keep_secret(self, title: str) -> str:
        """The secret that a dialog of this title shows, once: its button says that it has been read."""
        await self.says(title, "dialog h2")
        secret = await self.text("dialog .secret code")
        await self.activate("I have kept it")
        return secret

    async def confirm(self, button: str, question: str, action: str) -> None:
        """Press the button, and in the dialog that asks this whether to go on the one that does it."""
        await self.activate(button)
        await self.says(question, "dialog h2")
        await self.activate(action)

    async def check_page(self, name: str, *, widths: tuple[int, ...] = WIDTHS) -> None:
        """See the module."""
        script = axe()
        if not await self.tab.evaluate("'axe' in window"):
            await self.tab.evaluate(f"{script};0")
        await self.tab.evaluate("scrollTo(0, 0)")  # else the header stands in the middle of the picture
        folder = os.environ.get("CONSOLE_PICTURES")
        try:
            for width in widths:
                for dark in (False, True):
                    picture = await self.tab.picture(width, dark=dark)
                    if folder is not None:
                        file = Path(folder, f"{name}-{width}-{'dark' if dark else 'light'}.png")
                        file.write_bytes(picture)
                    wide = await self.tab.evaluate("document.documentElement.scrollWidth")
                    assert wide <= width, f"{name} at {width} scrolls sideways: {wide}"
                    violations = await self.tab.evaluate(_RUN)
                    assert violations == [], f"{name} at {width}, dark: {dark}: {violations}"
        finally:
            await self.tab.call("Emulation.clearDeviceMetricsOverride")
            await self.tab.call("Emulation.setEmulatedMedia", features=[])
        complaints = self.complaints()
        assert complaints == [], f"{name}: {complaints}"

    def complaints(self) -> list[str]:
        """What the browser and the page's scripts complained about: errors, and what the policy blocked."""
        found = []
        for event in self.tab.events:
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(event["params"]["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded":
                entry = event["params"]["entry"]
                # Answers of the API that are errors are told of there too: those the page shows.
                if entry["level"] == "error" and entry["source"] != "network":
                    found.append(entry["text"])
            elif event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] == "error":
                found.append(str(event["params"]["args"]))
        return found


@asynccontextmanager
async def bench_of(folder: Path, **settings: object) -> AsyncIterator[Bench]:
    """A router, a name server, a customer and a tab, while the block runs."""
    browser = find_browser()
    values = {
        "webhooks__private_networks": "127.0.0.1/32",
        "secrets_key": "5c" * 31 + "a1",
        "rates__workspace": 100_000,
        "rates__auth": 1_000,
        **settings,
    }
    async with NameServer() as dns:
        with Router(folder, dns_servers=dns.server, **values) as router:
            async with Tab(browser, folder / "tab", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1") as tab:
                for domain in ("Page", "Runtime", "Log"):
                    await tab.call(f"{domain}.enable")
                yield Bench(router, dns, tab, Customer(router, "Acme"))
