"""A sandbox that sleeps, from end to end: visitors, nodes with workers, and a platform that is asked to wake it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.support.backends import Backend, Visit
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.rss import rss
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
BOOT = 1.0  # seconds that a machine takes
MIB = 1024 * 1024
CROWD = 200
GROWTH = 96 * MIB  # of all processes together, for a crowd with 1 MiB each: one read of each, and what libraries keep


@dataclass
class Platform:
    """Answers `wake.url`, and then says how the sandbox gets on, as a real one would."""

    port: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    boots: list[asyncio.Task[None]] = field(default_factory=list)
    router: Router | None = None
    program: int = 0

    async def wake(self, request: web.Request) -> web.Response:
        self.asked.append(json.loads(await request.text()))
        self.boots.append(asyncio.create_task(self._boot(self.asked[-1]["resource_id"]), name="test: boot"))
        return web.Response(status=202)

    async def _boot(self, resource_id: str) -> None:
        await self.says(resource_id, "starting")
        await asyncio.sleep(BOOT)
        await self.says(resource_id, "running")

    async def says(self, resource_id: str, state: str) -> None:
        """Report a state, as endpoints are reported."""
        assert self.router is not None
        place = {"address": "127.0.0.1", "generation": str(time.monotonic_ns()), "ports": {"3000": self.program}}
        body = {"state": state, **place}
        await asyncio.to_thread(self.router.internal, "PUT", f"/endpoints/{resource_id}", body)


@asynccontextmanager
async def platform() -> AsyncIterator[Platform]:
    there = Platform()
    app = web.Application()
    app.router.add_post("/wake", there.wake)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        there.port = runner.addresses[0][1]
        yield there
        await asyncio.gather(*there.boots)
    finally:
        await runner.cleanup()


async def echo(visit: Visit) -> None:
    """Say how much came."""
    size = 0
    async for piece in visit.body():
        size += len(piece)
    await visit.answer(b"%d" % size)


@asynccontextmanager
async def node(
    folder: Path, **settings: object
) -> AsyncIterator[tuple[Router, Platform, Callable[[str], Awaitable[str]]]]:
    """A node, a platform that it asks, and what makes a sandbox that sleeps, by its slug; its id comes back."""
    async with platform() as there, Backend(echo) as program:
        there.program = program.port
        url = f"http://127.0.0.1:{there.port}/wake"
        with Router(folder, wake__url=url, wake__secret=SECRET, **settings) as router:
            there.router = router
            tenant = await asyncio.to_thread(router.tenant, "Acme")

            async def asleep(slug: str) -> str:
                resource = await asyncio.to_thread(partial(router.register, tenant, slug, program.port, wake="any"))
                await there.says(resource, "paused")
                return resource

            yield router, there, asleep


def family(router: Router) -> list[int]:
    """The process ids of a node."""
    first = router.process.pid
    found = [first]
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                found += [int(entry.name)] if parent == first else []
    return found


async def test_a_request_wakes_it(tmp_path: Path) -> None:
    """curl gets its answer from a machine that was asleep, and the answer says so; the next one does not."""
    async with node(tmp_path) as (router, there, asleep), aiohttp.ClientSession(f"http://{router.proxy}") as session:
        resource = await asleep("shop")
        headers = {"Host": f"shop.sandbox.{PLATFORM_DOMAIN}"}
        started = time.monotonic()
        async with session.post("/", headers=headers, data=b"hello") as answer:
            assert (answer.status, await answer.text()) == (200, "5")
            assert answer.headers["X-Miosa-Cold-Start"] == "1"
        assert time.monotonic() - started >= BOOT
        async with session.get("/", headers=headers) as answer:
            assert (answer.status, answer.headers.get("X-Miosa-Cold-Start")) == (200, None)
        (asked,) = there.asked
        assert (asked["resource_id"], asked["port"], asked["reason"]) == (resource, 3000, "http")


async def test_over_several_workers(tmp_path: Path) -> None:
    """Uploads of a crowd, and a page that watches: each sandbox is asked for once, whichever worker has its visitors, and what
    a crowd has sent is not kept."""
    async with node(tmp_path, workers=2) as (router, there, asleep):
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(f"http://{router.proxy}", connector=connector) as session:
            await _crowd(session, router, there, await asleep("crowd"))
            await _page(session, there, await asleep("page"))


async def _crowd(session: aiohttp.ClientSession, router: Router, there: Platform, resource: str) -> None:
    headers = {"Host": f"crowd.sandbox.{PLATFORM_DOMAIN}"}

    async def upload() -> tuple[int, str]:
        async with session.post("/", headers=headers, data=b"x" * MIB) as answer:
            return answer.status, await answer.text()

    before = sum(map(rss, family(router)))
    answers = await asyncio.gather(*(upload() for _ in range(CROWD)))
    grown = sum(map(rss, family(router))) - before
    print(f"{CROWD} uploads of 1 MiB to a sandbox that slept: grown by {grown / MIB:.0f} MiB")
    assert set(answers) == {(200, str(MIB))}
    assert [one["resource_id"] for one in there.asked] == [resource]
    assert grown < GROWTH


async def _page(session: aiohttp.ClientSession, there: Platform, resource: str) -> None:
    headers = {"Host": f"page.sandbox.{PLATFORM_DOMAIN}"}

    async def visit() -> int:
        async with session.get("/", headers=headers) as answer:
            return answer.status

    visiting = asyncio.create_task(visit(), name="test: visit")
    await eventually(lambda: there.asked[-1]["resource_id"] == resource, "the platform is asked")
    events = headers | {"Accept": "text/event-stream"}
    async with session.get("/.well-known/miosa/wake", headers=events) as answer:
        assert answer.status == 200
        lines = [line async for line in answer.content]
    stages = [json.loads(line[6:])["stage"] for line in lines if line.startswith(b"data: ")]
    assert stages[-1] == "open"
    assert set(stages) <= {"asked", "starting", "running", "open"}
    assert await visiting == 200
