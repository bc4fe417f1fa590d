"""A platform that is asked to wake resources: an aiohttp program that checks signatures and answers as it is told."""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web

SECRET = "whsec_0123456789abcdef"

Boot = Callable[[str], Awaitable[object]]  # by the id of a resource


@dataclass(frozen=True)
class WakeCall:
    """One call: its JSON and the id of its wake."""

    body: dict[str, Any]
    wake: str


class Platform:
    """On a port of loopback, a free one unless it is given, while it is entered. `answers` are the statuses of the next calls, the last of them for ever;
    a call is kept waiting after `silence`. With `boot` each resource that it accepts is started afterwards."""

    def __init__(self, *answers: int, port: int = 0) -> None:
        self.answers = list(answers or (202,))
        self.calls: list[WakeCall] = []
        self.at_once = self.most_at_once = 0
        self.boot: Boot | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.port = port
        self._boots: set[asyncio.Task[object]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/wake"

    def silence(self) -> None:
        """Answer nothing until `go_on` is set."""
        self.go_on.clear()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/wake", self._wake)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_on.set()
        await self._runner.cleanup()
        for boot in tuple(self._boots):
            boot.cancel()
        await asyncio.gather(*self._boots, return_exceptions=True)

    async def _wake(self, request: web.Request) -> web.Response:
        body = await request.read()
        stamp, signature = (part.partition("=")[2] for part in request.headers["Miosa-Signature"].split(","))
        wanted = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, wanted):
            return web.Response(status=401)
        call = WakeCall(await request.json(), request.headers["Webhook-Id"])
        self.calls.append(call)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.go_on.wait()
        finally:
            self.at_once -= 1
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if self.boot is not None and 200 <= status < 300:
            self._boots.add(asyncio.create_task(self._start(call.body["resource_id"])))
        return web.Response(status=status)

    async def _start(self, resource_id: str) -> object:
        assert self.boot is not None
        return await self.boot(resource_id)
