"""A private preview that sleeps, as its visitors see it: through real Caddy with TLS, in a real browser, by its share link."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.asyncio.server import Request, Response, Server, ServerConnection, serve
from websockets.datastructures import Headers

from tests.support.browser import Tab, find_browser
from tests.support.caddy import Caddy
from tests.support.platform import SECRET, Platform
from tests.support.ports import free_port
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

HOST = f"3000-shop.sandbox.{PLATFORM_DOMAIN}"
# As clients of dev servers do: a lost socket is opened again and again.
PAGE = b"""<html><head><title>program</title></head><body><script>
const connect = () => {
  const socket = new WebSocket(`wss://${location.host}/socket`);
  socket.onmessage = (event) => { document.body.dataset.heard = event.data; };
  socket.onclose = () => { setTimeout(connect, 100); };
};
window.loaded = Math.random();
connect();
</script></body></html>"""


class Sandbox:
    """`shop`, whose port 3000 is private, and which only those may wake who were let in."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._port = free_port()
        self.boots = 0
        self.seen: list[Request] = []
        tenant = router.tenant("Acme")
        self.id = router.register(tenant, "shop", self._port, wake="authorised")
        self._key = router.key(tenant)
        preview = self._api("/previews", {"port": 3000, "visibility": "private"})["id"]
        self.link = self._api(f"/previews/{preview}/share", {})["share_url"].replace("/?", "/app?a=b&")
        self.falls_asleep()

    def _api(self, path: str, body: object) -> dict[str, str]:
        found: dict[str, str] = self._router.call(self._key, "POST", f"/sandboxes/{self.id}{path}", body)
        return found

    def falls_asleep(self) -> None:
        self._router.internal("PATCH", f"/resources/{self.id}", {"state": "paused"})

    def runs(self) -> None:
        """Its machine does; its program may take a while longer."""
        self.boots += 1
        endpoint = {"address": "127.0.0.1", "generation": str(uuid.uuid4()), "ports": {"3000": self._port}}
        self._router.internal("PUT", f"/endpoints/{self.id}", endpoint)

    @asynccontextmanager
    async def program(self) -> AsyncIterator[Server]:
        def page(_: ServerConnection, request: Request) -> Response | None:
            self.seen.append(request)
            if request.path == "/socket":
                return None
            headers = Headers({"Content-Type": "text/html", "Content-Length": str(len(PAGE)), "Connection": "close"})
            return Response(HTTPStatus.OK, "OK", headers, PAGE)

        async def greet(connection: ServerConnection) -> None:
            await connection.send(f"boot {self.boots}")
            await connection.wait_closed()

        async with serve(greet, "127.0.0.1", self._port, process_request=page) as server:
            yield server


async def pictures(tab: Tab, folder: Path, name: str) -> None:
    """What it looks like, to be looked at by people."""
    for dark in (False, True):
        picture = await tab.picture(900, dark=dark)
        (folder / f"{name}-{'dark' if dark else 'light'}.png").write_bytes(picture)


async def stage(tab: Tab, name: str) -> None:
    await tab.until(f"document.querySelector('[data-stage=\"{name}\"]') !== null")


async def test_from_a_share_link_to_the_program_and_through_a_sleep(tmp_path: Path) -> None:
    """Who follows the link sees each state as it comes, and then the program, which gets the GET that was opened, without the
    secret. Its page's WebSocket ends when the machine sleeps again, wakes it, and the page is never loaded anew. A stranger
    wakes nobody. Each sleep is one call."""
    browser = find_browser()
    async with Platform() as platform:
        wake = {"wake__url": platform.url, "wake__secret": SECRET, "wake__hold": 30, "wake__page_after": 1}
        with Router(tmp_path, **wake) as router, Caddy(tmp_path, proxy=router.proxy, ask=router.admin) as caddy:
            sandbox = await asyncio.to_thread(Sandbox, router)
            platform.silence()
            async with Tab(browser, tmp_path / "tab", f"MAP * 127.0.0.1:{caddy.port}") as tab:
                await tab.open(f"https://{HOST}/app?a=b")
                assert "token_missing" in await tab.evaluate("document.documentElement.outerHTML")
                assert platform.calls == []

                await tab.open(sandbox.link)
                await stage(tab, "asked")
                await pictures(tab, tmp_path, "asked")
                platform.go_on.set()
                await stage(tab, "starting")
                await pictures(tab, tmp_path, "starting")
                await asyncio.to_thread(sandbox.runs)
                await stage(tab, "running")
                await pictures(tab, tmp_path, "running")
                async with sandbox.program():
                    await tab.until("document.body?.dataset.heard === 'boot 1'")
                    assert await tab.evaluate("location.href") == f"https://{HOST}/app?a=b"
                    protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
                    assert await tab.evaluate(protocol) == "h2"
                    assert [request.path for request in sandbox.seen] == ["/app?a=b", "/socket"]
                    assert not [request for request in sandbox.seen if "miosa" in request.headers.get("Cookie", "")]
                    loaded = await tab.evaluate("window.loaded")
                    await asyncio.to_thread(sandbox.falls_asleep)

                await eventually(lambda: len(platform.calls) == 2, "the page's socket wakes it")
                await asyncio.to_thread(sandbox.runs)
                async with sandbox.program():
                    await tab.until("document.body?.dataset.heard === 'boot 2'")
                    assert await tab.evaluate("window.loaded") == loaded
                assert [request.path for request in sandbox.seen] == ["/app?a=b", "/socket", "/socket"]
                called = [(call.body["resource_id"], call.body["reason"]) for call in platform.calls]
                assert called == [(sandbox.id, "http"), (sandbox.id, "websocket")]
