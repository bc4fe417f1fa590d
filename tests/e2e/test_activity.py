"""Last uses of resources over two nodes with Redis between them: a node is killed, Redis is stopped. On PostgreSQL, as nodes
on several machines have it; that SQLite keeps uses as well is shown by tests/contract/cache/test_uses.py."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.support.backends import Backend, Visit
from tests.support.database import rows
from tests.support.postgres import Postgres
from tests.support.redis import Server
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import PAUSE

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

KNOWN = 20.0  # seconds until another node knows of a use: 5, and room for a busy machine; less than until it is copied
COPIED = 50.0  # seconds until it is in the store


@dataclass
class Scene:
    """Two nodes; visitors come to the first, the platform asks the second."""

    first: Router
    second: Router
    redis: Server
    database: str
    tenant: str

    async def use(self, slug: str) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{self.first.proxy}/", headers={"Host": f"{slug}.{PLATFORM_DOMAIN}"}) as answer,
        ):
            assert answer.status == 200

    async def known(self, resource: str) -> datetime | None:
        """When the second node says that it was used."""
        seen = (await asyncio.to_thread(self.second.internal, "GET", "/activity"))["data"]
        found = [one["last_activity_at"] for one in seen if one["resource_id"] == resource]
        return datetime.fromisoformat(found[0]) if found else None

    async def stored(self, resource: str) -> bool:
        return (resource,) in await rows(self.database, "SELECT resource_id FROM activity")


@pytest_asyncio.fixture
async def scene(tmp_path: Path, postgres: Postgres) -> AsyncIterator[Scene]:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    url = await postgres.create()
    with Server(tmp_path) as redis:
        common = {"database_url": url, "redis_url": f"{redis.url}/0"}
        first = Router(folders[0], **common)
        second = Router(folders[1], **common, internal_token=first.token)
        second.token = first.token
        for node in (first, second):
            await asyncio.to_thread(node.__enter__)
        try:
            yield Scene(first, second, redis, url, await asyncio.to_thread(first.tenant, "Acme"))
        finally:
            for node in (first, second):
                await asyncio.to_thread(node.__exit__, None, None, None)
    await postgres.drop(url)


async def comes(condition: Callable[[], Awaitable[object]], what: str, within: float) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(PAUSE)


async def hello(visit: Visit) -> None:
    await visit.answer(b"hello")


async def test_uses_outlive_a_node_that_is_killed(scene: Scene) -> None:
    """Another node knows of a use within seconds, and it is copied to the store without the node that served it."""
    async with Backend(hello) as backend:
        resource = await asyncio.to_thread(scene.first.register, scene.tenant, "shop", backend.port)
        at = datetime.now(UTC)
        await scene.use("shop")
        await comes(lambda: scene.known(resource), "the second node knows of it", KNOWN)
        scene.first.process.signal(signal.SIGKILL)
        await asyncio.to_thread(scene.first.process.wait)
        known = await scene.known(resource)
        assert known is not None
        assert abs(known - at) < timedelta(seconds=5)
        await comes(lambda: scene.stored(resource), "it is in the store", COPIED)
        assert await scene.known(resource) == known


async def test_uses_outlive_redis(scene: Scene) -> None:
    """What was put into Redis before it was stopped, and what comes afterwards, is in the store within seconds."""
    async with Backend(hello) as backend:
        before = await asyncio.to_thread(scene.first.register, scene.tenant, "before", backend.port)
        after = await asyncio.to_thread(scene.first.register, scene.tenant, "after", backend.port)
        await scene.use("before")
        await comes(lambda: scene.known(before), "the second node knows of it", KNOWN)
        await asyncio.to_thread(scene.redis.stop)
        await comes(lambda: scene.stored(before), "what was in Redis is stored", KNOWN)
        await scene.use("after")
        await comes(lambda: scene.known(after), "the second node knows what came afterwards", KNOWN)
        assert await scene.known(before) is not None
        await asyncio.to_thread(scene.redis.start)
