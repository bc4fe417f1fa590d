"""A node of several processes: one address, crashes and reloads that nobody notices, changes that everybody knows."""

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.support import activation
from tests.support.backends import Backend, Visit
from tests.support.processes import BIN, Process, alive, children
from tests.support.redis import Server
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import eventually, until
from tests.support.workers import Connection, Traffic, control, kill, owner, workers

pytestmark = [pytest.mark.e2e]

TUNNELS = 4  # seconds that tunnels last in a drain


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    folder = tmp_path_factory.mktemp("node")
    settings = {"workers": 2, "access_log": folder / "access.log", "limits__drain_tunnels": TUNNELS}
    settings |= {"limits__heartbeat_timeout": 2}
    with Router(folder, **settings) as router:
        settle(router)
        yield router
    assert router.process.status == 0


@pytest.fixture(scope="module")
def tenant(node: Router) -> str:
    return node.tenant("Acme")


def settle(router: Router) -> None:
    """Wait until two workers serve and nobody else is left."""
    until(lambda: standing(router) == {"serving": 2, "of": 2}, "two workers serve", 30)
    pid = router.process.pid
    until(lambda: (len(workers(pid)), len(control(pid))) == (2, 1), "nobody else is left", 30)


def standing(router: Router) -> object:
    return json.loads(router.get_admin("/readyz")[2])["workers"]


def register(router: Router, tenant: str, slug: str, port: int) -> str:
    router.register(tenant, slug, port)
    return f"{slug}.{PLATFORM_DOMAIN}"


async def hello(visit: Visit) -> None:
    await visit.answer(b"hello")


@asynccontextmanager
async def one_to_each(router: Router) -> AsyncIterator[dict[int, Connection]]:
    """A connection to each worker, by the worker's process."""
    pids = workers(router.process.pid)
    found: dict[int, Connection] = {}
    opened = []
    for _ in range(100):
        connection = await Connection.open(router.proxy_port)
        opened.append(connection)
        await connection.get("nothing.example")
        pid = owner(router.proxy_port, connection.port, pids)
        assert pid is not None
        found.setdefault(pid, connection)
        if len(found) == len(pids):
            break
    yield found
    for connection in opened:
        connection.close()


@pytest.mark.asyncio
async def test_workers_share_one_address(node: Router, tenant: str) -> None:
    """Every worker takes connections; /readyz counts them, metrics and access lines carry their numbers."""
    async with Backend(hello) as backend:
        host = await asyncio.to_thread(register, node, tenant, "shared", backend.port)
        async with one_to_each(node) as connections:
            assert set(connections) == set(workers(node.process.pid))
            for connection in connections.values():
                assert await connection.get(host) == (200, b"hello")

            def seen() -> set[int]:
                lines = (node.folder / "access.log").read_text().splitlines()
                return {row["worker"] for row in map(json.loads, lines) if row["host"] == host}

            await eventually(lambda: seen() == {1, 2}, "an access line of each worker")
            status, _, body = await asyncio.to_thread(node.get_admin, "/metrics")
    text = body.decode()
    assert status == 200
    assert re.findall(r'^miosa_router_client_connections{worker="(\d)"} [1-9]', text, re.MULTILINE) == ["1", "2"]
    assert re.findall(r'^process_cpu_seconds_total{worker="(\d)"}', text, re.MULTILINE) == ["1", "2", "0"]
    assert 'miosa_router_workers_serving{worker="0"} 2.0' in text
    assert text.count("# TYPE miosa_router_client_connections ") == 1
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in samples if 'worker="' not in line] == []
    assert len(samples) == len({line.rpartition(" ")[0] for line in samples})


@pytest.mark.asyncio
async def test_change_is_known_to_every_worker_when_the_api_returns(node: Router, tenant: str) -> None:
    """The next request after a change sees it, whichever worker it goes to."""
    await changes_are_known(node, tenant)


@pytest.mark.asyncio
async def test_change_is_known_with_redis_too(tmp_path: Path) -> None:
    """What Redis still says of the old record is not believed."""
    with Server(tmp_path) as redis, Router(tmp_path, workers=2, redis_url=redis.url) as router:
        settle(router)
        await changes_are_known(router, router.tenant("Acme"))


async def changes_are_known(node: Router, tenant: str) -> None:
    names = (b"one", b"other")
    backends = [Backend(lambda visit, name=name: visit.answer(name)) for name in names]  # type: ignore[misc]
    async with backends[0] as one, backends[1] as other:
        resource = await asyncio.to_thread(node.register, tenant, "moving", one.port)
        host = f"moving.{PLATFORM_DOMAIN}"
        async with one_to_each(node) as connections:
            for turn in range(20):
                backend = (one, other)[turn % 2]
                where = {"address": "127.0.0.1", "generation": str(turn + 2), "state": "running"}
                ports = {"3000": backend.port}
                await asyncio.to_thread(node.internal, "PUT", f"/endpoints/{resource}", {**where, "ports": ports})
                for connection in connections.values():
                    assert await connection.get(host) == (200, names[turn % 2])


@pytest.mark.asyncio
async def test_activity_reaches_the_control_process(node: Router, tenant: str) -> None:
    """What any worker served is known to the platform, which asks the API."""
    async with Backend(hello) as backend:
        resource = await asyncio.to_thread(node.register, tenant, "active", backend.port)
        async with one_to_each(node) as connections:
            for connection in connections.values():
                await connection.get(f"active.{PLATFORM_DOMAIN}")
        activity = await asyncio.to_thread(node.internal, "GET", "/activity")
    assert resource in json.dumps(activity)


@pytest.mark.asyncio
async def test_activity_outlives_every_process(node: Router, tenant: str) -> None:
    """What was used before the last seconds is known when all workers and the control process were killed."""
    async with Backend(hello) as backend:
        resource = await asyncio.to_thread(node.register, tenant, "remembered", backend.port)
        used_at = datetime.now(UTC)
        async with one_to_each(node) as connections:
            (pid, connection), *_ = connections.items()
            await connection.get(f"remembered.{PLATFORM_DOMAIN}")
        with closing(sqlite3.connect(node.folder / "router.db")) as database:
            until(
                lambda: database.execute("SELECT 1 FROM activity WHERE resource_id = ?", [resource]).fetchone(),
                "the use is stored without being asked for",
                20,
            )
        for killed in (pid, *control(node.process.pid), *(set(workers(node.process.pid)) - {pid})):
            os.kill(killed, signal.SIGKILL)
        await asyncio.to_thread(until, lambda: answers(node), "the node serves again", 30)
        settle(node)
        seen = (await asyncio.to_thread(node.internal, "GET", "/activity"))["data"]
    (found,) = [one for one in seen if one["resource_id"] == resource]
    late = used_at - datetime.fromisoformat(found["last_activity_at"])
    assert abs(late) < timedelta(seconds=5)


def answers(router: Router) -> bool:
    try:
        return standing(router) is not None
    except OSError:
        return False


@pytest.mark.asyncio
async def test_explain_and_ask_work_beside_the_workers(node: Router, tenant: str) -> None:
    """The control process answers for the whole node."""
    async with Backend(hello) as backend:
        host = await asyncio.to_thread(register, node, tenant, "asked", backend.port)
        status, headers, _ = await asyncio.to_thread(node.get_admin, f"/ask?domain={host}")
        assert (status, headers["x-ask-reason"]) == (200, "first_issue")
        _, _, body = await asyncio.to_thread(node.get_admin, f"/explain?host={host}")
        assert json.loads(body)["endpoint"]["port"] == backend.port


@pytest.mark.asyncio
async def test_what_was_refused_is_known_to_the_owner(node: Router, tenant: str) -> None:
    """From any worker to `/explain` and to the command: the program's response that breaks HTTP, and why."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        host = await asyncio.to_thread(register, node, tenant, "broken", server.sockets[0].getsockname()[1])
        async with one_to_each(node) as connections:
            for connection in connections.values():
                assert (await connection.get(host))[0] == 502

    def explained() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(node.get_admin(f"/explain?host={host}")[2])
        return found

    await eventually(lambda: [one["count"] for one in explained()["errors"]] == [2], "both workers have said so")
    (error,) = explained()["errors"]
    assert error["code"] == "bad_backend_response"
    assert "two Content-Lengths that differ" in error["message"]
    steps = await asyncio.to_thread(node.command, "explain", host)
    decision = next(step for step in steps if step["step"] == "decision")
    assert decision["errors"] == [error]
    assert decision["hints"] == []
    assert (decision["scheme"], decision["protocol"], decision["host_mode"]) == ("http", "http1", "auto")


@pytest.mark.asyncio
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
async def test_lost_worker_takes_only_its_own_connections(node: Router, tenant: str, how: signal.Signals) -> None:
    """kill -9, or one that hangs, under load: the other worker's connections and all new ones go on; it is replaced."""
    async with Backend(hello) as backend:
        host = await asyncio.to_thread(register, node, tenant, f"lost{how}", backend.port)
        before = workers(node.process.pid)
        async with Traffic(node.proxy_port, host, 20) as traffic:
            await eventually(lambda: traffic.answers[200] > 200, "traffic")
            victim = before[0]
            doomed = {connection.port for connection in traffic.open}
            doomed = {port for port in doomed if owner(node.proxy_port, port, before) == victim}
            os.kill(victim, how)
            await eventually(lambda: len(set(workers(node.process.pid)) - {victim}) == 2, "a successor", 30)
            await eventually(lambda: standing(node) == {"serving": 2, "of": 2}, "both serve again", 30)
            served = traffic.answers[200]
            await eventually(lambda: traffic.answers[200] > served + 200, "traffic after that")
        assert {port for port, _ in traffic.failures} <= doomed, traffic.failures
        assert set(traffic.answers) == {200}
        assert before[1] in workers(node.process.pid)
        assert '"after": 0.1' in node.process.output
        await asyncio.to_thread(settle, node)


HEAVY = {"aiohttp", "alembic", "asyncpg", "cryptography", "dns", "jwt", "redis", "rich", "sqlalchemy", "sqlite3"}
HEAVY |= {"argon2", "greenlet", "importlib.metadata", "pydantic", "pydantic_core", "tldextract", "typer", "zipfile"}
LOADED = """
import sys
sys.argv[1:] = ["no descriptor", "proxy=3"]
try:
    import router.node.processes.__main__
except ValueError:
    print(*(name for name, module in sys.modules.items() if module is not None))
"""


def test_workers_load_what_they_need(node: Router) -> None:
    """What only the control process works with no worker has in its memory: it is most of what a process holds."""
    loaded = subprocess.run(  # what a worker starts with
        [BIN / "python", "-P", "-c", LOADED], capture_output=True, text=True, check=True, timeout=60
    )
    assert "router.node.app" in loaded.stdout.split()
    assert HEAVY & set(loaded.stdout.split()) == set()
    for pid in workers(node.process.pid):  # what it has loaded since, as far as that are shared objects
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
        assert "uvloop" in maps
        assert {name for name in HEAVY if f"/{name}/" in maps or f"/_{name}." in maps} == set()


@pytest.mark.asyncio
async def test_lost_control_process_fails_no_known_host(node: Router, tenant: str) -> None:
    """kill -9: hosts that a worker knows are served on, others are 503 with Retry-After at worst until its successor is
    there; from then on all is as before."""
    async with Backend(hello) as backend:
        host = await asyncio.to_thread(register, node, tenant, "ruled", backend.port)
        async with one_to_each(node) as connections:
            for connection in connections.values():
                assert await connection.get(host) == (200, b"hello")
                assert (await connection.get(f"later.{PLATFORM_DOMAIN}"))[0] == 404
            seen: Counter[int] = Counter()
            (victim,) = control(node.process.pid)
            kill(victim)
            number = 0
            async with asyncio.timeout(30):
                while (now := control(node.process.pid)) in ([], [victim]) or standing_or_none(node) is None:
                    for connection in connections.values():
                        number += 1
                        assert await connection.get(host) == (200, b"hello")
                        status, _ = await connection.get(f"stranger{number}.{PLATFORM_DOMAIN}")
                        assert status == 404 or (status == 503 and b"retry-after:" in connection.head)
                        seen[status] += 1
                    await asyncio.sleep(0.02)
            assert now != [victim]
            assert seen[503] > 0
            await asyncio.to_thread(register, node, tenant, "later", backend.port)
            for connection in connections.values():
                assert await connection.get(f"later.{PLATFORM_DOMAIN}") == (200, b"hello")
                assert (await connection.get(f"stranger.{PLATFORM_DOMAIN}"))[0] == 404
        await asyncio.to_thread(settle, node)


def standing_or_none(router: Router) -> object:
    try:
        return standing(router)
    except (OSError, KeyError):
        return None


def test_all_lost_at_once(node: Router) -> None:
    """As when memory runs out: workers wait for the control process, and it for nobody."""
    for pid in children(node.process.pid):
        kill(pid)
    until(lambda: standing_or_none(node) == {"serving": 2, "of": 2}, "two workers serve again", 15)
    settle(node)


class Front(Router):
    """A node that carries traffic and nothing else."""

    def ready(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.proxy_port), 1):
            return self.output.count("process ready") == 2
        return False


def test_workers_without_a_control_process(tmp_path: Path) -> None:
    """A node of proxies alone: each has the store itself, and hears of what other nodes change."""
    folder = tmp_path / "front"
    folder.mkdir()
    with (
        Router(tmp_path) as first,
        Front(folder, workers=2, roles="proxy", database_url=f"sqlite:///{tmp_path / 'router.db'}") as front,
    ):

        async def changes() -> None:
            async with Backend(hello) as backend, one_to_each(front) as connections:
                assert len(connections) == 2
                host = f"fronted.{PLATFORM_DOMAIN}"
                for connection in connections.values():
                    assert (await connection.get(host))[0] == 404
                await asyncio.to_thread(register, first, first.tenant("Acme"), "fronted", backend.port)

                async def known() -> bool:
                    return [await one.get(host) for one in connections.values()] == [(200, b"hello")] * 2

                async with asyncio.timeout(30):
                    while not await known():
                        await asyncio.sleep(0.01)

        asyncio.run(changes())
        assert control(front.process.pid) == []


@pytest.mark.realtime
def test_stopped_supervisor_blames_nobody(node: Router) -> None:
    """One that was itself stopped for longer than a process may be silent has heard nobody, and kills nobody."""
    before = set(children(node.process.pid))
    node.process.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    until(lambda: time.monotonic() - stopped > 2.5, "longer than that")
    node.process.signal(signal.SIGCONT)
    until(lambda: time.monotonic() - stopped > 3.5, "some beats")
    assert set(children(node.process.pid)) == before


@pytest.mark.asyncio
async def test_reload_is_not_noticed(node: Router, tenant: str) -> None:
    """SIGHUP under load replaces every process without a failed request; open tunnels last until the drain's limit."""

    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with Backend(hello) as backend, serve(echo, "127.0.0.1", 0) as sockets:
        host = await asyncio.to_thread(register, node, tenant, "reloaded", backend.port)
        port = sockets.sockets[0].getsockname()[1]
        socket_host = await asyncio.to_thread(register, node, tenant, "socket", port)
        pid = node.process.pid
        before = set(children(pid))
        tunnels = [
            await connect(f"ws://{socket_host}/", host="127.0.0.1", port=node.proxy_port, proxy=None) for _ in range(10)
        ]
        async with Traffic(node.proxy_port, host, 20) as traffic:
            await eventually(lambda: traffic.answers[200] > 200, "traffic")
            node.process.signal(signal.SIGHUP)
            await eventually(lambda: len(set(children(pid)) - before) == 3, "three successors", 40)
            for tunnel in tunnels:
                await tunnel.send("still here")
                assert await tunnel.recv() == "still here"
            told = time.monotonic()
            await eventually(lambda: not before & set(children(pid)), "the old ones have gone", 40)
            assert time.monotonic() - told < 30
            served = traffic.answers[200]
            await eventually(lambda: traffic.answers[200] > served + 200, "traffic after that")
        assert traffic.failures == []
        for tunnel in tunnels:
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(tunnel.recv(), 5)
            assert tunnel.close_code == 1001
        await asyncio.to_thread(settle, node)


def test_killed_supervisor_leaves_nothing(tmp_path: Path) -> None:
    """When the supervisor dies, its processes end, and the address is free for the next one."""
    router = Router(tmp_path, workers=2)
    with router:
        settle(router)
        left = children(router.process.pid)
        assert len(left) == 3
        kill(router.process.pid)
        assert router.process.wait() == -signal.SIGKILL
        until(lambda: not any(map(alive, left)), "no process is left", 20)
        router.start()
        settle(router)
        left = children(router.process.pid)
        router.process.stop()
        assert router.process.status == 0
        assert not any(map(alive, left))


class Manager:
    """What listens at NOTIFY_SOCKET."""

    def __init__(self) -> None:
        self.name = f"@miosa-router-test-{id(self)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.name[1:])
        self._socket.setblocking(False)
        self.heard: list[dict[str, str]] = []

    def hears(self, name: str, after: int = 0) -> bool:
        """Whether that has been said, in or after the message with that number."""
        while True:
            try:
                data = self._socket.recv(4096)
            except BlockingIOError:
                return any(name in message for message in self.heard[after:])
            self.heard.append(dict(line.split("=", 1) for line in data.decode().split("\n")))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager() -> Iterator[Manager]:
    found = Manager()
    yield found
    found.close()


def test_under_systemd(tmp_path: Path, manager: Manager) -> None:
    """On sockets that were passed: ready, reloading, stopping and signs of life are told; a reload with settings that
    can't be used changes nothing and says so; one with good ones replaces everybody."""
    router = Router(tmp_path, workers=2)
    for name in ("PROXY_BIND", "API_BIND", "ADMIN_BIND"):
        router.environment[f"MIOSA_ROUTER_{name}"] = "127.0.0.1:1"  # not used: the sockets are passed
    config = tmp_path / "router.toml"
    config.write_text('docs_url = "https://docs.example/old"\n')
    ports = {"proxy": router.proxy_port, "api": router.api_port, "admin": router.admin_port}
    command = [sys.executable, activation.__file__, *(f"{name}={port}" for name, port in ports.items()), "--"]
    environment = {**router.environment, "NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "1000000"}
    with Process(
        [*command, str(BIN / "miosa-router"), "serve", "--config", str(config)],
        tmp_path / "router.log",
        environment,
        tmp_path,
    ) as process:
        process.until(lambda: manager.hears("READY"), 40)
        process.until(lambda: manager.hears("WATCHDOG", len(manager.heard)))
        process.until(lambda: standing(router) == {"serving": 2, "of": 2}, 30)
        before = set(children(process.pid))

        for bad in ('colour = "red"', "docs_url = "):
            config.write_text(bad)
            said = len(manager.heard)
            refusals = process.output.count("reload refused")
            process.signal(signal.SIGHUP)
            process.until(lambda refusals=refusals: process.output.count("reload refused") > refusals, 40)
            process.until(lambda said=said: manager.hears("RELOADING", said) and manager.hears("READY", said))
            assert "MONOTONIC_USEC" in next(message for message in manager.heard[said:] if "RELOADING" in message)
        process.until(lambda: set(children(process.pid)) == before)

        config.write_text('docs_url = "https://docs.example/new"\n')
        process.signal(signal.SIGHUP)
        process.until(lambda: len(set(children(process.pid)) - before) == 3, 40)
        process.until(lambda: len(children(process.pid)) == 3, 40)

        async def documentation() -> bytes:
            connection = await Connection.open(router.proxy_port)
            _, body = await connection.get("nothing.example")
            connection.close()
            return body

        assert b"https://docs.example/new" in asyncio.run(documentation())
        left = children(process.pid)
        assert not manager.hears("STOPPING")
        process.signal(signal.SIGTERM)
        until(lambda: manager.hears("STOPPING"), "stopping is told")
        assert process.wait() == 0
        assert not any(map(alive, left))
