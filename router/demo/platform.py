"""A small platform with one sandbox, `nap`: it starts the sandbox when the router asks for that, and stops it when nobody
has used it for a while.

It shows the platform's part of docs/wake.md: it checks the router's signature, answers at once, says over /internal/v1
when the sandbox runs, and reads there when it was last used. Like the sandboxes it writes its port as its first line and
ends on SIGTERM.
"""

import asyncio
import hmac
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from router.base.clock import Clock, SystemClock
from router.base.tasks import Tasks
from router.demo.sandboxes import serve
from router.tenancy.signatures import sign

PORT = 6000  # on which `nap` is reached from outside
API, TOKEN, SECRET, RESOURCE = (f"MIOSA_DEMO_{name}" for name in ("API", "TOKEN", "SECRET", "RESOURCE"))
BOOT = 3.0  # seconds that it takes to start, as a small machine's snapshot may
IDLE = timedelta(seconds=90)  # without use, after which it is stopped; the router notes what is open every 50 s
CHECK_EVERY = 5.0
API_TIMEOUT = 5.0
MAX_AGE = 300.0  # seconds that a signature is good for

SITE = Path(__file__).parent / "sandboxes" / "site"


class Platform:
    """See the module."""

    def __init__(self, *, api: str, token: str, resource_id: str, secret: str, clock: Clock) -> None:
        self._api = api
        self._token = token
        self._id = resource_id
        self._secret = secret
        self._clock = clock
        self._tasks = Tasks("platform")
        self._machine: web.AppRunner | None = None  # while it runs
        self._starting = False
        self._starts = 0
        self._started_at = clock.now()

    async def wake(self, request: web.Request) -> web.Response:
        """The router's call: somebody wants to visit what sleeps."""
        body = await request.read()
        if not self._signed(request.headers.get("Miosa-Signature", ""), body):
            return web.json_response({"error": "the signature is wrong"}, status=401)
        if json.loads(body)["resource_id"] != self._id:
            return web.json_response({"error": "no such sandbox"}, status=409)
        if self._machine is None and not self._starting:
            self._starting = True
            self._tasks.start("start the sandbox", self._start())
        return web.json_response({"state": "starting"}, status=202)

    async def sleep(self, _request: web.Request) -> web.Response:
        """Stop it now."""
        if self._machine is None:
            return web.json_response({"state": "starting" if self._starting else "paused"})
        await self._stop(self._machine)
        return web.json_response({"state": "paused"})

    async def watch(self) -> None:
        """Stop it when it is idle, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_EVERY)
            try:
                if self._machine is not None and self._clock.now() - await self._last_use() > IDLE:
                    await self._stop(self._machine)
            except (aiohttp.ClientError, TimeoutError) as error:
                sys.stderr.write(f"the router does not answer: {error!r}\n")

    async def run(self, _app: web.Application) -> AsyncIterator[None]:
        """What happens beside the requests."""
        self._tasks.start("watch", self.watch())
        yield
        await self._tasks.close()
        if self._machine is not None:
            await self._machine.cleanup()

    def _signed(self, header: str, body: bytes) -> bool:
        """Whether the router has sent this, lately."""
        parts = dict(part.partition("=")[::2] for part in header.split(","))
        stamp = parts.get("t", "")
        if not stamp.isdecimal() or abs(self._clock.now().timestamp() - int(stamp)) > MAX_AGE:
            return False
        return hmac.compare_digest(parts.get("v1", "").encode(), sign(self._secret, int(stamp), body).encode())

    async def _start(self) -> None:
        try:
            await asyncio.sleep(BOOT)
            machine = web.AppRunner(nap(), access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
            await machine.setup()
            await web.TCPSite(machine, "127.0.0.1", 0).start()
            self._machine, self._started_at = machine, self._clock.now()
            self._starts += 1
            ports = {PORT: machine.addresses[0][1]}
            where = {"address": "127.0.0.1", "generation": f"start-{self._starts}", "ports": ports, "state": "running"}
            await self._call("PUT", f"/internal/v1/endpoints/{self._id}", where)
        finally:
            self._starting = False

    async def _stop(self, machine: web.AppRunner) -> None:
        """First tell the router, so that nobody is sent to what is gone."""
        self._machine = None
        await self._call("PATCH", f"/internal/v1/resources/{self._id}", {"state": "paused"})
        await machine.cleanup()

    async def _last_use(self) -> datetime:
        seen = (await self._call("GET", "/internal/v1/activity"))["data"]
        used = [one["last_activity_at"] for one in seen if one["resource_id"] == self._id]
        return max([self._started_at, *(datetime.fromisoformat(at) for at in used if at)])

    async def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """What the router answers. Raises aiohttp.ClientError, TimeoutError."""
        async with (
            aiohttp.ClientSession(
                base_url=self._api,
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=aiohttp.ClientTimeout(API_TIMEOUT),
                raise_for_status=True,
            ) as session,
            session.request(method, path, json=body) as answer,
        ):
            return await answer.json()


def nap() -> web.Application:
    """The program in the sandbox."""
    site = web.Application()

    async def home(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(SITE / "nap.html")

    site.router.add_get("/", home)
    site.router.add_static("/assets", SITE)
    return site


def app() -> web.Application:
    api, token, secret, resource = (os.environ[name] for name in (API, TOKEN, SECRET, RESOURCE))  # noqa: TID251  the demo's
    platform = Platform(api=api, token=token, resource_id=resource, secret=secret, clock=SystemClock())
    served = web.Application()
    served.router.add_post("/wake", platform.wake)
    served.router.add_post("/sleep", platform.sleep)
    served.cleanup_ctx.append(platform.run)
    return served


if __name__ == "__main__":
    serve(app())
