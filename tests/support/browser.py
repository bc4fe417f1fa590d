"""A real browser, without a window: what it does with what we send is what counts."""

import asyncio
import base64
import itertools
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import pytest

from tests.support.processes import Process
from tests.support.waiting import PAUSE

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
HOW = "tests/install-servers.sh installs it from Debian's package `chromium-headless-shell`, as root"
_TIME = 60.0  # seconds: a busy machine takes its time to start one
# What it says where the page that it was to look at has just gone.
_BETWEEN_PAGES: Final = (
    "Inspected target navigated or closed",
    "Cannot find context",
    "Cannot find default execution context",
    "Execution context was destroyed",
)
_QUIET: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
)


def find_browser() -> str:
    """Its path. Skips the test, and says so on the terminal in red, where there is none; in CI that fails."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        print(
            f"\n\x1b[1;31mNOT TESTED: pages and cookies in a browser, for want of Chromium; {HOW}\x1b[0m",
            file=sys.__stderr__,
        )
        if "CI" in os.environ:
            pytest.fail(f"Chromium is not installed; {HOW}")
        pytest.skip(f"Chromium is not installed; {HOW}")
    return found


@dataclass(frozen=True, slots=True)
class Shown:
    """A page as it stands when its scripts have run, and what they and the browser wrote to its console."""

    page: str
    console: list[str]


def visit(program: str, folder: Path, url: str, port: int) -> str:
    """The page that `url` ends at, every host of which is `port` of this machine."""
    return _run(program, folder, url, f"MAP * 127.0.0.1:{port}").stdout


def show(program: str, folder: Path, url: str) -> Shown:
    """The page at `url`, which is on this machine: no other name or address is found."""
    rules = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    done = _run(program, folder, url, rules, "--enable-logging=stderr", "--virtual-time-budget=30000")
    return Shown(done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line])


def _run(program: str, folder: Path, url: str, hosts: str, *more: str) -> subprocess.CompletedProcess[str]:
    """One visit, with a profile of its own."""
    done = subprocess.run(
        [
            program,
            *_QUIET,
            f"--user-data-dir={folder}",
            f"--host-resolver-rules={hosts}",
            *more,
            "--dump-dom",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=_TIME,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


class RefusedError(AssertionError):
    """The browser does not do what it was told; `reason` is its own."""

    def __init__(self, method: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{method}: {reason}")


class Tab:
    """A page that stays open, driven by the DevTools protocol, in a browser of its own while it is entered.

    `rules` say where hosts are, as Chromium's --host-resolver-rules. Certificates are not looked at. Cookies that a frame of
    another site sets are kept only where they are Partitioned, as browsers have it that keep third parties' out.
    """

    def __init__(self, program: str, folder: Path, rules: str) -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        arguments = [f"--user-data-dir={folder}", f"--host-resolver-rules={rules}", "--remote-debugging-port=0"]
        more = ["--ignore-certificate-errors", "--test-third-party-cookie-phaseout", "about:blank"]
        self._command = [program, *_QUIET, *arguments, *more]
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []  # of the domains that were enabled, as far as they came before an answer

    async def __aenter__(self) -> Self:
        self._process = Process(self._command, self._folder / "browser.log")
        try:
            said = self._folder / "DevToolsActivePort"
            await asyncio.to_thread(self._process.until, lambda: said.exists() and "\n" in said.read_text())
            port, path = said.read_text().splitlines()
            self._session = aiohttp.ClientSession()
            self._socket = await self._session.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0)
            self._page = ""
            target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
            self._page = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        except BaseException:
            self._process.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Debian's program is a script that starts the browser and hears no signal for it: it has to end by itself.
        with suppress(TypeError, ConnectionError):  # it may hang up before it has answered
            self._page = ""
            await self.call("Browser.close")
        await self._session.close()
        await asyncio.to_thread(self._process.wait)

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its result. Raises RefusedError."""
        number = next(self._numbers)
        session = {"sessionId": self._page} if self._page else {}
        async with asyncio.timeout(_TIME):
            await self._socket.send_json({"id": number, "method": method, "params": parameters, **session})
            while (message := await self._socket.receive_json()).get("id") != number:
                self.events.append(message)
        if "error" in message:
            raise RefusedError(method, message["error"]["message"])
        result: dict[str, Any] = message["result"]
        return result

    async def open(self, url: str) -> None:
        """Go to an address, and wait for its page."""
        error = (await self.call("Page.navigate", url=url)).get("errorText")
        assert error is None, f"{url}: {error}"
        await self.until("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; a promise's, once it is there."""
        value, thrown = await self._evaluate(expression)
        assert thrown is None, thrown
        return value

    async def _evaluate(self, expression: str) -> tuple[Any, object]:
        """The value, and what was thrown instead of one."""
        done = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        return done["result"].get("value"), done.get("exceptionDetails")

    async def until(self, expression: str, within: float = 30.0) -> None:
        """Wait until an expression of the page is true: of this page, or of one that it leaves for. Where one page makes room
        for the next, there may be none to ask, or none that has what the expression looks at; so what is thrown is not yet
        the end of it."""
        deadline = time.monotonic() + within
        page = "document.location.href + document.documentElement?.outerHTML"
        while True:
            try:
                value, thrown = await self._evaluate(expression)
            except RefusedError as error:
                if not error.reason.startswith(_BETWEEN_PAGES):
                    raise
                value, thrown = None, error
            if value and thrown is None:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within} s: {expression}: {thrown} {await self.evaluate(page)}")
            await asyncio.sleep(PAUSE)

    async def picture(self, width: int, *, dark: bool) -> bytes:
        """All of the page as PNG, in a window of that width."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=features)
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        return base64.b64decode((await self.call("Page.captureScreenshot", captureBeyondViewport=True))["data"])
