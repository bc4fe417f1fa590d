"""Records of requests while their store is suspended under traffic, and streams of them when the node restarts."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from router.base.ids import new_id
from router.node.services import open_services
from router.proxy import capture
from router.records import keeper
from router.settings import Settings
from router.store import migrate
from tests.support.backends import Backend, Visit
from tests.support.node import Node, node_settings, running
from tests.support.postgres import Postgres

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

HOST = "box.sandbox.miosa.app"
VISITS = 400  # while the store is suspended
ROOM = 6000  # bytes of packs that may wait here, which is some 40 records; 32 MiB otherwise
DEADLINE = 60.0  # seconds


@dataclass
class Outage:
    """A store, how it is suspended, and how it goes on."""

    url: str
    begin: Callable[[], object]
    end: Callable[[], object]


class LockedRecords:
    """The file of records beside an SQLite store, which another program has to itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._holder: sqlite3.Connection | None = None

    def lock(self) -> None:
        self._holder = sqlite3.connect(self._path, isolation_level=None, timeout=10)
        self._holder.execute("BEGIN EXCLUSIVE")

    def free(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder = None


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server of its own, because it is suspended."""
    with Postgres() as started:
        yield started


@pytest_asyncio.fixture(params=["postgresql suspended", "sqlite locked"])
async def outage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Outage]:
    if request.param == "sqlite locked":
        file = LockedRecords(tmp_path / "router.db.requests")
        found = Outage(f"sqlite:///{tmp_path / 'router.db'}", file.lock, file.free)
    else:
        server: Postgres = request.getfixturevalue("server")
        url = await server.create(migrated=False)
        await migrate(url)
        found = Outage(url, server.freeze, server.thaw)
    yield found
    found.end()


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[Backend]:
    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    async with Backend(hello) as started:
        yield started


def settings(folder: Path, url: str) -> Settings:
    """A node that finds out soon that its store is away, and records every request."""
    soon = {"connect_time": 0.5, "statement_time": 0.5, "lock_time": 0.3}
    often = {
        "workspace": 100_000
    }  # how often the API may be asked: what is waited for here is looked for again and again
    records = {"per_second": 1_000_000}
    return node_settings(folder, database_url=url, database=soon, state_dir=folder, records=records, rates=often)


class Shop:
    """A sandbox on a node, and what its developers see."""

    def __init__(self, node: Node, resource: str, key: str) -> None:
        self.node = node
        self.path = f"/api/v1/sandboxes/{resource}/request-logs"
        self.key = f"Bearer {key}"

    async def visit(self, times: int) -> list[int]:
        """What so many visitors get, some at a time."""
        answers: list[int] = []

        async def some(number: int) -> None:
            answers.extend([(await self.node.visit(HOST))[0] for _ in range(number)])

        await asyncio.gather(*(some(times // 8) for _ in range(8)))
        return answers

    async def records(self) -> list[dict[str, Any]]:
        """Records and gaps, the newest first; none where the store is away."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            answer = await self.node.get("api", f"{self.path}?limit=100{cursor}", Authorization=self.key)
            if answer.status == 503:
                return []
            assert answer.status == 200, answer.body
            page = answer.json["data"]
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    async def seen(self) -> tuple[set[str], int]:
        """The ids of requests that are recorded, and how many are said to be missing."""
        found = await self.records()
        return {one["request_id"] for one in found if one["type"] == "request"}, sum(one["lost"] for one in found)

    async def until(self, total: int) -> tuple[set[str], int]:
        """The same, once so many are accounted for."""
        async with asyncio.timeout(DEADLINE):
            while True:
                ids, lost = await self.seen()
                if len(ids) + lost >= total:
                    return ids, lost
                await asyncio.sleep(0.2)

    async def switch_capture_on(self) -> None:
        """Have the headers and bodies of what comes captured."""
        url = self.node.url("api") + self.path.replace("request-logs", "request-capture")
        async with (
            aiohttp.ClientSession(headers={"Authorization": self.key}) as session,
            session.put(url, json={"duration_seconds": 600}) as answer,
        ):
            assert answer.status == 200

    async def read_captures(self, among: set[str] | None = None) -> int:
        """Read the captures of all records that say that they have one (only `among` these requests), once they are there; how many
        that were."""
        wanted = [one for one in await self.records() if among is None or one["request_id"] in among]
        captured = [one["id"] for one in wanted if one["captured"]]
        async with asyncio.timeout(DEADLINE):
            for record in captured:
                while True:
                    path = f"/api/v1/request-logs/{record}/capture"
                    if (await self.node.get("api", path, Authorization=self.key)).status == 200:
                        break
                    await asyncio.sleep(0.2)
        return len(captured)

    async def visit_until_captured(self, total: int) -> tuple[set[str], int]:
        """The ids of records once one of a new request has a capture, and how many requests that makes: it takes the node a moment to
        know that it is to capture."""
        before, lost = await self.until(total)
        async with asyncio.timeout(DEADLINE):
            while True:
                assert set(await self.visit(8)) == {200}
                total += 8
                ids, lost_then = await self.until(total)
                assert (len(ids) + lost, lost_then) == (total, lost)
                if await self.read_captures(ids - before):
                    return ids, total


async def opened(node: Node, configured: Settings, backend: Backend) -> Shop:
    async with open_services(configured) as services:
        tenant, resource = (await services.tenants.create("Acme")).id, new_id()
        _, key = await services.keys.create(tenant)
        body = {"kind": "sandbox", "slug": "box", "tenant_id": tenant, "default_port": 3000}
        await node.platform("PUT", f"/resources/{resource}", body)
        endpoint = {"address": "127.0.0.1", "generation": "1", "state": "running", "ports": {"3000": backend.port}}
        await node.platform("PUT", f"/endpoints/{resource}", endpoint)
    return Shop(node, resource, key)


async def test_the_store_is_suspended_under_traffic(
    tmp_path: Path, outage: Outage, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every visitor is served; what there is no room for is counted, and its developers are told how many records are missing. When the
    store goes on, what waited is stored, and each request is either recorded or counted as lost, once. Captures wait as well: each record
    that says that it has one has it, those from before, from meanwhile and from afterwards."""
    monkeypatch.setattr(capture, "_PER_SECOND", 10 * VISITS)  # every request is captured,
    monkeypatch.setattr(keeper, "_MAX_CAPTURES", 10 * VISITS)  # and all of these may wait
    configured = settings(tmp_path, outage.url)
    async with running(configured) as node:
        shop = await opened(node, configured, backend)
        assert set(await shop.visit(8)) == {200}
        before, lost = await shop.until(8)
        assert (len(before), lost) == (8, 0)
        await shop.switch_capture_on()
        before, total = await shop.visit_until_captured(8)
        usual = keeper._MAX_WAITING
        monkeypatch.setattr(keeper, "_MAX_WAITING", ROOM)
        outage.begin()
        try:
            answers = await shop.visit(VISITS)
        finally:
            outage.end()
        assert answers == [200] * VISITS
        assert set(await shop.visit(8)) == {200}
        total += VISITS + 8
        ids, lost = await shop.until(total)
        assert len(ids) + lost == total
        assert lost > VISITS // 2
        assert before < ids
        page = (await node.get("admin", "/metrics")).body.decode()
        counted = re.search(
            r'^miosa_router_request_records_total\{[^}]*result="lost"[^}]*\} ([0-9.]+)$', page, re.MULTILINE
        )
        assert counted is not None
        assert float(counted[1]) == lost
        assert await shop.read_captures(ids - before) > 0
        # With its usual room nothing is lost any more.
        monkeypatch.setattr(keeper, "_MAX_WAITING", usual)
        await shop.visit_until_captured(total)
        page = (await node.get("admin", "/metrics")).body.decode()
        assert 'miosa_router_request_captures_total{result="lost"} 0.0' in page


class Listening:
    """A stream of records that is open."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def event(self) -> dict[str, str]:
        """The fields of the next event."""
        async with asyncio.timeout(DEADLINE):
            while True:
                raw = (await self._response.content.readuntil(b"\n\n")).decode()
                fields = dict(line.split(": ", 1) for line in raw.strip().splitlines() if not line.startswith(":"))
                if "data" in fields:
                    return fields

    async def rest(self) -> bytes:
        """What comes until it ends, in order and not by a broken connection."""
        async with asyncio.timeout(DEADLINE):
            return await self._response.content.read()


async def test_a_stream_ends_with_the_drain_and_goes_on_at_the_next_node(tmp_path: Path, backend: Backend) -> None:
    """It ends at once when the node drains, without waiting for its visitors; `Last-Event-ID` gets from the next one what came
    meanwhile."""
    configured = settings(tmp_path, f"sqlite:///{tmp_path / 'router.db'}")
    headers: dict[str, Any] = {}
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        async with running(configured) as node:
            shop = await opened(node, configured, backend)
            headers["Authorization"] = shop.key
            async with session.get(f"{node.url('api')}{shop.path}/stream", headers=headers) as response:
                assert response.status == 200
                stream = Listening(response)
                await node.visit(HOST)
                first = await stream.event()
                await node.app.drain()
                assert b"data:" not in await stream.rest()
        async with running(configured) as node:
            shop.node = node
            assert set(await shop.visit(8)) == {200}
            await shop.until(9)
            headers["Last-Event-ID"] = first["id"]
            async with session.get(f"{node.url('api')}{shop.path}/stream", headers=headers) as response:
                stream = Listening(response)
                events = [await stream.event() for _ in range(8)]
                assert [one["event"] for one in events] == ["request"] * 8
                assert all(int(one["id"]) > int(first["id"]) for one in events)
