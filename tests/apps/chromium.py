"""A page in a real browser that stays open: scripts run in it and are waited for, by the DevTools protocol."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.browser import find_browser
from tests.support.processes import Process, children

_PATIENCE = 30.0  # seconds for anything that a page is waited for
_POLL = 0.1


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.console: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(_PATIENCE):
            async for message in self._socket:
                answer = json.loads(message.data)
                if answer.get("id") == number:
                    assert "error" not in answer, f"{method}: {answer['error']}"
                    return dict(answer["result"])
                self._note(answer)
        raise AssertionError("the browser has gone")

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(one.get("value", one.get("description"))) for one in params["args"]))
        elif event.get("method") == "Log.entryAdded":
            self.console.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif event.get("method") == "Runtime.exceptionThrown":
            self.console.append(str(params["exceptionDetails"].get("exception", {}).get("description")))

    async def run(self, script: str) -> Any:
        """The value of an expression, which may be a promise."""
        done = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, f"{script}: {done['exceptionDetails']}"
        return done["result"].get("value")

    async def until(self, script: str, within: float = _PATIENCE, *, fail: bool = True) -> Any:
        """Wait until an expression is true; its value. A page that is just being replaced has none. After `within` seconds:
        fails, or None."""
        found: Any = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while True:
                    with contextlib.suppress(AssertionError):
                        found = await self.run(script)
                        if found:
                            return found
                    await asyncio.sleep(_POLL)
        if not fail:
            return None
        text = await self.run("location.href + ': ' + (document.body ? document.body.innerText : '').slice(0, 500)")
        raise AssertionError(f"never true: {script} (last {found!r}) at {text}; console: {self.console[-5:]}")

    async def shows(self, words: str) -> None:
        """Wait until the page has these words."""
        await self.until(f"document.body && document.body.innerText.includes({json.dumps(words)})")

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)


class Chromium:
    """A browser, every host of which is `port` of this machine; its certificates are nobody's."""

    def __init__(self, folder: Path, port: int) -> None:
        command = [
            *(find_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--no-first-run", "--disable-background-networking", "--ignore-certificate-errors"),
            *(f"--user-data-dir={folder / 'profile'}", f"--host-resolver-rules=MAP * 127.0.0.1:{port}"),
            *("--remote-debugging-port=0", "--remote-allow-origins=*", "about:blank"),
        ]
        self._file = folder / "profile" / "DevToolsActivePort"
        self.process = Process(command, folder / "chromium.log")

    async def start(self) -> None:
        await asyncio.to_thread(self.process.until, lambda: self._file.exists() and self._file.read_text().strip())

    def stop(self) -> None:
        """End it. Debian's command is a shell that starts the browser, which would stay behind."""
        for pid in children(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        self.process.stop()

    @contextlib.asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """A new tab, closed on the way out."""
        devtools = f"http://127.0.0.1:{self._file.read_text().split()[0]}"
        async with aiohttp.ClientSession() as session:
            async with session.put(f"{devtools}/json/new?about:blank") as response:
                tab = await response.json(content_type=None)
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                yield page
            async with session.get(f"{devtools}/json/close/{tab['id']}"):
                pass
