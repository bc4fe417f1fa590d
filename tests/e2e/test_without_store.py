"""A node that starts while its store is away: it serves what it can, says what it can't, and heals by itself."""

import asyncio
import json
import sqlite3
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis as AsyncRedis

from router.base.clock import SystemClock
from router.base.ids import new_id
from router.errors import StoreUnavailableError
from router.hostname import host_meanings
from router.node.app import App
from router.node.services import open_services
from router.routes.records import keys_of
from router.settings import Database as Limits
from router.settings import Settings
from router.store import Start, migrate, open_store_in_time
from tests.support.backends import Backend, Visit
from tests.support.evidence import is_copied
from tests.support.node import Node, node_settings, running
from tests.support.postgres import Postgres
from tests.support.redis import Server
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import eventually, until
from tests.support.workers import control, kill

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

HOST = "sbx01j9x.sandbox.miosa.app"


def settings(folder: Path, database: str, **values: object) -> Settings:
    """A node that finds out within half a second that its store is away."""
    soon = {"connect_time": 0.5, "statement_time": 0.5, "lock_time": 0.3}
    return node_settings(folder, database_url=database, database=soon, state_dir=folder, **values)


async def status_of(node: Node, host: str = HOST) -> int:
    """What a visitor of `host` gets."""
    return (await node.visit(host))[0]


async def put(node: Node, path: str, body: object) -> int:
    """The status of a PUT of the platform."""
    return (await node.internal("PUT", path, body))[0]


async def becomes(node: Node, status: str) -> Any:
    """What /readyz says when its status is this."""
    deadline = time.monotonic() + 20
    while (found := (await node.admin("/readyz"))[1])["status"] != status:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)
    return found


class Database(Postgres):
    """A server that may be told twice."""

    up = True

    def stop(self) -> None:
        if self.up:
            super().stop()
        self.up = False

    def start(self) -> None:
        if not self.up or self._process is None:
            super().start()
        self.up = True


@dataclass
class Outage:
    """A store, how it goes away, and how it comes back."""

    url: str
    begin: Callable[[], object]
    end: Callable[[], object]


class LockedFile:
    """An SQLite file that another program has to itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._holder: sqlite3.Connection | None = None

    def lock(self) -> None:
        self._holder = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._holder.execute("BEGIN EXCLUSIVE")

    def free(self) -> None:
        if self._holder is not None:
            self._holder.close()


class GoneFile:
    """An SQLite file whose folder is not mounted, or that somebody has emptied (`left` of it is there)."""

    def __init__(self, path: Path, left: bytes | None) -> None:
        self._path = path
        self._kept = path.with_name("kept")
        self._left = left

    def take(self) -> None:
        self._path.rename(self._kept)
        if self._left is not None:
            self._path.write_bytes(self._left)

    def bring(self) -> None:
        if self._kept.exists():
            self._kept.replace(self._path)


@pytest.fixture(scope="module")
def server() -> Iterator[Database]:
    """A server of its own, because it is stopped."""
    with Database() as started:
        yield started


_FILES = {"sqlite gone": None, "sqlite emptied": b"", "sqlite damaged": b"no database" * 1000}


@pytest_asyncio.fixture(params=["postgresql stopped", "postgresql frozen", "sqlite locked", *_FILES])
async def outage(request: pytest.FixtureRequest, tmp_path: Path) -> Outage:
    if request.param == "sqlite locked":
        file = LockedFile(tmp_path / "router.db")
        return Outage(f"sqlite:///{tmp_path / 'router.db'}", file.lock, file.free)
    if request.param in _FILES:
        gone = GoneFile(tmp_path / "router.db", _FILES[request.param])
        return Outage(f"sqlite:///{tmp_path / 'router.db'}", gone.take, gone.bring)
    server: Database = request.getfixturevalue("server")
    url = await server.create(migrated=False)
    await migrate(url)
    if request.param == "postgresql stopped":
        return Outage(url, server.stop, server.start)
    return Outage(url, server.freeze, server.thaw)


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[Backend]:
    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    async with Backend(hello) as started:
        yield started


async def filled(configured: Settings, backend: Backend, redis: Server | None = None) -> None:
    """A node has served a sandbox by https, and has ended; what `redis` should have of it by then, it has."""
    async with running(configured) as node, open_services(configured) as services:
        tenant, resource = (await services.tenants.create("Acme")).id, new_id()
        body = {"kind": "sandbox", "slug": "sbx01j9x", "tenant_id": tenant, "default_port": 3000}
        assert await put(node, f"/resources/{resource}", body) < 300
        endpoint = {"address": "127.0.0.1", "generation": "1", "state": "running", "ports": {"3000": backend.port}}
        assert await put(node, f"/endpoints/{resource}", endpoint) < 300
        assert await status_of(node) == 200
        assert (await node.ask(HOST))[0] == 200
        if redis is not None:
            await stored(redis, f"{configured.redis.prefix}r:")


async def stored(redis: Server, prefix: str) -> None:
    """Redis has a record for each key of HOST: they are written in the background, when the visitor has been answered."""
    keys = [prefix + key for key in keys_of(HOST, host_meanings(HOST))]
    deadline = time.monotonic() + 20
    async with AsyncRedis.from_url(redis.url) as client:
        while await client.exists(*keys) < len(keys):
            assert time.monotonic() < deadline, await client.keys(f"{prefix}*")
            await asyncio.sleep(0.05)


async def test_a_node_starts_without_its_store(tmp_path: Path, outage: Outage, backend: Backend) -> None:
    """Certificates it knows of are answered for from the copy, hosts and changes are 503, /readyz says degraded and why;
    when the store is back all of it works, without anybody's help."""
    configured = settings(tmp_path, outage.url)
    await filled(configured, backend)
    outage.begin()
    try:
        began = time.monotonic()
        async with running(configured) as node:
            assert time.monotonic() - began < 10
            assert await node.ask(HOST) == (200, "issued")
            assert await node.ask("new.sandbox.miosa.app") == (503, "not_ready")
            answer = await node.get("proxy", Host=HOST)
            assert (answer.status, answer.headers["X-Miosa-Error"]) == (503, "resolver_unavailable")
            assert "Retry-After" in answer.headers
            body = {"kind": "sandbox", "slug": "another", "tenant_id": new_id()}
            assert await put(node, f"/resources/{new_id()}", body) == 503
            status, found = await node.admin("/readyz")
            assert (status, found["status"]) == (200, "degraded")
            assert "the store" in found["checks"]["store"]["detail"]
            assert (await node.get("admin", f"/explain?host={HOST}")).status < 600
            outage.end()
            await becomes(node, "ready")
            assert await status_of(node) == 200
            assert await status_of(node, "new.sandbox.miosa.app") == 404
            assert await put(node, f"/resources/{new_id()}", body) in {404, 409, 422}
    finally:
        outage.end()


async def test_an_empty_store_in_the_place_of_one_that_is_gone_is_somebodys_decision(tmp_path: Path) -> None:
    """Commands make none either, but for `db upgrade`; where no certificate is known of a first start makes one."""
    path = tmp_path / "router.db"
    configured = settings(tmp_path, f"sqlite:///{path}")
    async with open_services(configured):
        assert path.exists()
    path.unlink()
    (tmp_path / "certificates").touch()
    with pytest.raises(StoreUnavailableError, match="db upgrade"):
        async with open_services(configured):
            pass
    assert not path.exists()
    await migrate(configured.database_url)
    async with open_services(configured):
        pass


async def test_a_process_that_is_started_again_does_not_wait_for_the_store(tmp_path: Path, server: Database) -> None:
    """Caddy gives up asking after ten seconds: the gate is back long before a frozen database may be called away."""
    url = await server.create(migrated=False)
    await migrate(url)
    patient = Limits(connect_time=60, statement_time=60)
    configured = settings(tmp_path, url).model_copy(update={"database": patient})
    server.freeze()
    try:
        async with (
            asyncio.timeout(30),
            open_store_in_time(configured, SystemClock(), Start.AGAIN) as store,
        ):
            assert store.closed is not None
            server.thaw()
            await eventually(lambda: store.closed is None, "the store is open")
    finally:
        server.thaw()


async def test_routes_come_from_redis(tmp_path: Path, server: Database, redis_server: Server, backend: Backend) -> None:
    """A node that starts while only Redis is there serves the hosts that are in Redis; others are 503, never 404."""
    url = await server.create(migrated=False)
    await migrate(url)
    configured = settings(
        tmp_path, url, redis_url=redis_server.url, redis={"prefix": f"{new_id()}:", "operation_time": 5}
    )
    await filled(configured, backend, redis_server)
    server.stop()
    try:
        async with running(configured) as node:
            assert await status_of(node) == 200
            assert await node.ask(HOST) == (200, "issued")
            assert await status_of(node, "new.sandbox.miosa.app") == 503
            assert (await node.admin("/readyz"))[1]["status"] == "degraded"
            server.start()
            await becomes(node, "ready")
            assert await status_of(node, "new.sandbox.miosa.app") == 404
    finally:
        server.start()


async def test_a_schema_that_does_not_fit_is_refused(tmp_path: Path, server: Database) -> None:
    """A store that can be reached and is too old is a mistake, and no outage: the start ends with what to do."""
    url = await server.create(migrated=False)
    with pytest.raises(StoreUnavailableError, match="db upgrade"):
        await App(settings(tmp_path, url)).start()


async def test_a_schema_that_turns_out_not_to_fit(tmp_path: Path, server: Database) -> None:
    """Where the store was away at the start the node stays degraded and says so, and is whole after the upgrade."""
    url = await server.create(migrated=False)
    server.stop()
    try:
        async with running(settings(tmp_path, url)) as node:
            server.start()
            deadline = time.monotonic() + 20
            while "db upgrade" not in ((await node.admin("/readyz"))[1]["checks"]["store"]["detail"] or ""):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            assert await status_of(node) == 503
            await migrate(url)
            await becomes(node, "ready")
            assert await status_of(node) == 404
    finally:
        server.start()


async def test_a_control_process_comes_back_without_the_store(
    tmp_path: Path, server: Database, backend: Backend
) -> None:
    """Of a node of several processes all may be lost, or never have been there, while the store is away: /ask and /readyz
    answer again within seconds, from the copy, and the node heals."""
    url = await server.create(migrated=False)
    node = Router(tmp_path, workers=2, database_url=url, state_dir=tmp_path)
    node.command("db", "upgrade")
    host = f"shop.{PLATFORM_DOMAIN}"

    def get(path: str) -> tuple[int, dict[str, str], bytes]:
        try:
            return node.get_admin(path)
        except OSError:
            return 0, {}, b""

    def visit() -> int:
        url, headers = f"http://{node.proxy}/", {"Host": host, "X-Forwarded-Proto": "https"}
        return Router.send(urllib.request.Request(url, headers=headers))[0]

    def asked() -> bool:
        status, headers, _ = get(f"/ask?domain={host}")
        return (status, headers.get("x-ask-reason")) == (200, "issued")

    def says(status: str) -> bool:
        code, _, body = get("/readyz")
        return code == 200 and json.loads(body)["status"] == status

    def both_serve() -> bool:
        return says("degraded") and json.loads(get("/readyz")[2])["workers"]["serving"] == 2

    try:
        node.start()
        node.register(node.tenant("Acme"), "shop", backend.port)
        for _ in range(30):  # both workers have been asked
            assert await asyncio.to_thread(visit) == 200
        await asyncio.to_thread(until, lambda: is_copied(tmp_path, host), "the copy is written", 20)
        server.stop()
        kill(control(node.process.pid)[0])
        await asyncio.to_thread(until, asked, "the gate answers from the copy", 30)
        assert says("degraded")
        assert await asyncio.to_thread(visit) == 200  # the workers know it still
        node.process.stop()
        await asyncio.to_thread(node.start)
        await asyncio.to_thread(until, both_serve, "both workers serve", 40)
        assert asked()
        assert await asyncio.to_thread(visit) == 503
        server.start()
        await asyncio.to_thread(until, lambda: says("ready"), "it heals", 20)
        await asyncio.to_thread(until, lambda: visit() == 200, "workers heal", 20)
    finally:
        server.start()
        node.process.stop()


async def test_a_host_that_has_just_moved(tmp_path: Path, server: Database, backend: Backend) -> None:
    """Where the store is cut off before its new place could be looked up it is served from the last known one; where it
    was taken away instead nobody sees it again."""
    url = await server.create(migrated=False)
    await migrate(url)
    configured = settings(tmp_path, url).model_copy(update={"database": Limits()})
    try:
        async with running(configured) as node, open_services(configured) as services:
            tenant = (await services.tenants.create("Acme")).id
            place = {"address": "127.0.0.1", "generation": "1", "state": "running", "ports": {"3000": backend.port}}
            for slug in ("moved", "gone"):
                resource = new_id()
                body = {"kind": "sandbox", "slug": slug, "tenant_id": tenant, "default_port": 3000}
                assert await put(node, f"/resources/{resource}", body) < 300
                assert await put(node, f"/endpoints/{resource}", place) < 300
                assert await status_of(node, f"{slug}.miosa.app") == 200
                again = place | {"generation": "2"} if slug == "moved" else place | {"state": "stopped"}
                assert await put(node, f"/endpoints/{resource}", again) < 300
            server.stop()
            assert await status_of(node, "moved.miosa.app") == 200
            assert await status_of(node, "gone.miosa.app") == 503
    finally:
        server.start()
