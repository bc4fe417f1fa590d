"""A whole node in the test's own process: its settings, and how the platform, visitors and Caddy talk to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from router.node.app import App
from router.settings import Settings
from tests.support.api import Answered

TOKEN = "the-platform"
_TIMEOUT = aiohttp.ClientTimeout(total=8)


def node_settings(folder: Path, **values: object) -> Settings:
    """Listeners on free ports, an SQLite file in `folder`, and drains that are over at once."""
    return Settings.model_validate(
        {
            "proxy_bind": "127.0.0.1:0",
            "api_bind": "127.0.0.1:0",
            "admin_bind": "127.0.0.1:0",
            "database_url": f"sqlite:///{folder / 'router.db'}",
            "backend_networks": ["127.0.0.0/8"],
            "internal_token": TOKEN,
            "access_log": "",
            "limits": {"drain_not_ready": 0, "drain_requests": 1, "drain_tunnels": 1},
            **values,
        }
    )


class Node:
    """A running node."""

    def __init__(self, app: App, session: aiohttp.ClientSession) -> None:
        self.app = app
        self._session = session

    def url(self, listener: str) -> str:
        host, port = self.app.addresses[listener]
        return f"http://{host}:{port}"

    async def get(self, listener: str, path: str = "/", **headers: str) -> Answered:
        async with self._session.get(self.url(listener) + path, headers=headers, timeout=_TIMEOUT) as response:
            return Answered(response.status, response.headers, await response.read())

    async def visit(self, host: str) -> tuple[int, bytes]:
        """(status, body) of what a visitor gets whose request came to Caddy by HTTPS."""
        response = await self.get("proxy", Host=host, **{"X-Forwarded-Proto": "https"})
        return response.status, response.body

    async def ask(self, host: str) -> tuple[int, str]:
        """(status, reason) of what Caddy is told that asks whether it may have a certificate for `host`."""
        response = await self.get("admin", f"/ask?domain={host}")
        return response.status, response.headers["X-Ask-Reason"]

    async def admin(self, path: str) -> tuple[int, Any]:
        """(status, JSON) of a page of the admin listener."""
        response = await self.get("admin", path)
        return response.status, response.json

    async def internal(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """(status, JSON) of a call of /internal/v1 as the platform makes it."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"{self.url('api')}/internal/v1{path}"
        async with self._session.request(method, url, json=body, headers=headers) as response:
            return response.status, await response.json()

    async def platform(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of such a call, which must succeed."""
        status, answer = await self.internal(method, path, body)
        assert status < 300, answer
        return answer


@asynccontextmanager
async def running(settings: Settings, *, drain: bool = False) -> AsyncIterator[Node]:
    """A node with these settings, closed on the way out; with `drain`, drained before."""
    app = App(settings)
    await app.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Node(app, session)
    finally:
        if drain:
            await app.drain()
        await app.close()
