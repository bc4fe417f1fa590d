"""A preview that sleeps, in a real browser: the page that waits, what it comes to, and pages that were open before."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.datastructures import Headers

from router.routes.records import State
from router.routes.wakes import WakeState
from tests.support.browser import Tab, find_browser
from tests.support.edge import RunningEdge, until
from tests.support.sleeper import FakeWaker, Sleeper

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

# No domain below `.app`: browsers know of those that they are never opened without TLS.
PLATFORM = "sandboxes.example"
URL = f"http://shop.{PLATFORM}/app?a=b"
TIMES = {"page_after": 0.3, "hold": 20.0, "budget": 60.0}

BRANDING = {"name": "Acme", "accent_color": "#e11d48", "support_url": "https://acme.example/help"}

FORM = b"<html><head><title>program</title></head><body><form method=post action=/order><input name=a value=b></form></body></html>"
# As clients of dev servers do: a lost socket is opened again and again.
LIVE = b"""<html><head><title>program</title></head><body><script>
const connect = () => {
  const socket = new WebSocket(`ws://${location.host}/socket`);
  socket.onmessage = (event) => { document.body.dataset.heard = event.data; };
  socket.onclose = () => { document.body.dataset.closed = Number(document.body.dataset.closed || 0) + 1; setTimeout(connect, 100); };
};
window.loaded = Math.random();
connect();
</script></body></html>"""


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@asynccontextmanager
async def sleeping(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Sleeper, Tab]]:
    """A resource that sleeps behind a proxy, and a browser whose every host that proxy is."""
    browser = find_browser()
    waker = FakeWaker()
    edge = RunningEdge(platform=PLATFORM, waker=waker, wake_times=TIMES)
    await edge.start()
    try:
        sleeper = Sleeper(edge, waker, branding=BRANDING, **options)
        async with Tab(browser, tmp_path / "tab", f"MAP * 127.0.0.1:{edge.address[1]}") as tab:
            yield sleeper, tab
    finally:
        await edge.stop()


async def pictures(tab: Tab, folder: Path, name: str) -> None:
    """What it looks like, to be looked at by people."""
    for dark in (False, True):
        for width in (900, 390):
            picture = await tab.picture(width, dark=dark)
            (folder / f"{name}-{width}-{'dark' if dark else 'light'}.png").write_bytes(picture)


async def stage(tab: Tab, name: str) -> None:
    await tab.until(f"document.querySelector('[data-stage=\"{name}\"]') !== null")


async def test_from_sleep_to_the_application(tmp_path: Path) -> None:
    """The page shows each state as it comes, and then the application is there, under the address that was opened."""
    async with sleeping(tmp_path, listening=False) as (sleeper, tab):
        await tab.open(URL)
        await stage(tab, "asked")
        sleeper.says(WakeState.QUEUED, place=3)
        await tab.until("document.body.innerText.includes('number 3 in line')")
        await pictures(tab, tmp_path, "queued")
        sleeper.says(WakeState.STARTING)
        await stage(tab, "starting")
        await pictures(tab, tmp_path, "starting")
        sleeper.becomes(State.RUNNING, branding=BRANDING)
        await stage(tab, "running")
        await pictures(tab, tmp_path, "running")
        assert await tab.evaluate("document.title") == "Waking up · Acme"
        sleeper.backend.listen()
        async with sleeper.backend.serving(answer(FORM)) as seen:
            await tab.until("document.title === 'program'")
            assert await tab.evaluate("location.href") == URL
        assert b"/app?a=b" in {request.target for request in seen}
        assert len(sleeper.waker.asked) == 1


async def test_without_a_script(tmp_path: Path) -> None:
    """The page loads itself again, and so finds the application."""
    async with sleeping(tmp_path) as (sleeper, tab):
        await tab.call("Emulation.setScriptExecutionDisabled", value=True)
        await tab.open(URL)
        await stage(tab, "asked")
        await pictures(tab, tmp_path, "noscript")
        sleeper.becomes(State.RUNNING)
        async with sleeper.backend.serving(answer(FORM)):
            await tab.until("document.title === 'program'")


@pytest.mark.parametrize(
    ("code", "heading"), [(402, "Asleep, and may not start"), (403, "Asleep"), (409, "Asleep for now")]
)
async def test_it_may_not_be_woken(tmp_path: Path, code: int, heading: str) -> None:
    """The page says why, and has a way to try again; who comes then gets the same as a page of its own."""
    async with sleeping(tmp_path) as (sleeper, tab):
        await tab.open(URL)
        await stage(tab, "asked")
        sleeper.says(WakeState.REFUSED, code=code)
        await stage(tab, "failed")
        assert await tab.evaluate("document.querySelector('h1').textContent") == heading
        assert not await tab.evaluate("document.querySelector('[data-failed]').hidden")
        await pictures(tab, tmp_path, f"refused-{code}")
        await tab.evaluate("document.querySelector('[data-failed] a').click()")
        await tab.until("document.querySelector('[data-stage]') === null && document.readyState === 'complete'")
        assert await tab.evaluate("document.querySelector('h1').textContent") == heading
        await pictures(tab, tmp_path, f"refused-page-{code}")


async def test_a_form_waits_for_its_sender(tmp_path: Path) -> None:
    """What was sent goes nowhere until the visitor sends it again, and then it is what it was. The button reloads the page, before
    which a browser with a window asks, and one without does nothing: so the test reloads it."""
    async with sleeping(tmp_path) as (sleeper, tab):
        sleeper.becomes(State.RUNNING)
        async with sleeper.backend.serving(answer(FORM)) as seen:
            await tab.open(URL)
            await tab.until("document.title === 'program'")
            sleeper.becomes(State.PAUSED)
            await tab.evaluate("document.forms[0].submit()")
            await tab.until("document.querySelector('[data-resend]') !== null")
            await pictures(tab, tmp_path, "form")
            assert await tab.evaluate("document.querySelector('[data-resend]').disabled")
            sleeper.becomes(State.RUNNING)
            await tab.until("!document.querySelector('[data-resend]').disabled")
            await pictures(tab, tmp_path, "form-open")
            assert b"POST" not in {request.method for request in seen}
            await tab.call("Page.reload")
            await tab.until("document.title === 'program'")
            assert [(one.target, one.body) for one in seen if one.method == b"POST"] == [(b"/order", b"a=b")]


async def test_a_closed_port_goes_away_by_itself(tmp_path: Path) -> None:
    """The page of a program that does not listen yet, of a machine that runs; it starts, and is there."""
    async with sleeping(tmp_path, listening=False) as (sleeper, tab):
        sleeper.becomes(State.RUNNING)
        await tab.open(URL)
        await tab.until("document.body.innerText.includes('0.0.0.0')")
        sleeper.backend.listen()
        async with sleeper.backend.serving(answer(FORM)):
            await tab.until("document.title === 'program'")


async def test_a_page_with_a_socket_survives_a_sleep(tmp_path: Path) -> None:
    """Its socket ends when the machine falls asleep, the next one wakes it and waits, and the page was never loaded anew."""

    def page(_: ServerConnection, request: Request) -> Response | None:
        if request.path == "/socket":
            return None
        headers = Headers({"Content-Type": "text/html", "Content-Length": str(len(LIVE)), "Connection": "close"})
        return Response(HTTPStatus.OK, "OK", headers, LIVE)

    boots = 0

    async def greet(connection: ServerConnection) -> None:
        await connection.send(f"boot {boots}")
        await connection.wait_closed()

    async with (
        serve(greet, "127.0.0.1", 0, process_request=page) as server,
        sleeping(tmp_path) as (sleeper, tab),
    ):
        port = server.sockets[0].getsockname()[1]
        sleeper.becomes(State.RUNNING, default_port=port)
        await tab.open(f"http://shop.{PLATFORM}/")
        await tab.until("document.body.dataset.heard === 'boot 0'")
        loaded = await tab.evaluate("window.loaded")
        sleeper.becomes(State.PAUSED, default_port=port)
        for connection in tuple(server.connections):
            await connection.close()
        await until(lambda: bool(sleeper.waker.asked), lambda: sleeper.held)
        assert sleeper.waker.asked[0][2] == "websocket"
        boots += 1
        sleeper.becomes(State.RUNNING, default_port=port)
        await tab.until("document.body.dataset.heard === 'boot 1'")
        assert await tab.evaluate("window.loaded") == loaded


async def test_the_page_loads_nothing_else_and_says_nothing_to_the_console(tmp_path: Path) -> None:
    """Its own policy lets all of it pass: the script, the style and the stream, and nothing more is wanted."""
    async with sleeping(tmp_path) as (sleeper, tab):
        await tab.call("Log.enable")
        before = time.monotonic()
        await tab.open(URL)
        await stage(tab, "asked")
        await until(lambda: sleeper.held == 1)
        entries = "performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)"
        assert set(await tab.evaluate(entries)) <= {"/.well-known/miosa/wake"}
        assert await tab.evaluate("getComputedStyle(document.querySelector('main')).borderTopWidth") == "4px"
        assert time.monotonic() - before < 60
