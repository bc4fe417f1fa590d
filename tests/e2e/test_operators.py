"""The operators' tools as commands, against a running node of several processes, and of one."""

import asyncio
import fcntl
import json
import os
import signal
import struct
import subprocess
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import pytest_asyncio

from tests.support.backends import Backend, Visit
from tests.support.operators import call
from tests.support.router import MIOSA_ROUTER, PLATFORM_DOMAIN, Router
from tests.support.waiting import PAUSE, eventually, until
from tests.support.workers import Connection, control, owner, workers

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]
HOST = f"shop.{PLATFORM_DOMAIN}"
# For what a node of one process does not do: replace a worker, or all processes at a reload.
SEVERAL = pytest.mark.parametrize("node", [2], ids=["workers"], indirect=True)


class Operated:
    """A node with its runtime folder, and a resource `shop`."""

    def __init__(self, router: Router, folder: Path) -> None:
        self.router = router
        self.read, self.act = folder / "operator-read.sock", folder / "operator.sock"
        self.tenant = ""
        self.hosts = 0

    @contextmanager
    def command(
        self, *words: str, stdout: int = subprocess.PIPE, **variables: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A command that runs until the block ends."""
        with subprocess.Popen(
            [MIOSA_ROUTER, *words],
            env={"PATH": "/usr/bin:/bin", **self.router.environment, **variables},
            cwd=self.router.folder,
            stdout=stdout,
            stderr=subprocess.PIPE,
        ) as running:
            try:
                yield running
            finally:
                running.kill()

    async def run(self, *words: str) -> tuple[int, str, str]:
        """(exit status, output, errors) of a command that ends."""
        with self.command(*words) as running:
            out, errors = await asyncio.wait_for(asyncio.to_thread(running.communicate), 30)
            return running.returncode, out.decode(), errors.decode()

    def log(self) -> list[Mapping[str, Any]]:
        """The node's own log lines."""
        return [json.loads(line) for line in self.router.output.splitlines() if line.startswith("{")]

    def acts(self, act: str) -> list[Mapping[str, Any]]:
        return [line for line in self.log() if line.get("event") == "operator_act" and line["act"] == act]


@pytest.fixture(scope="module", params=[2, 1], ids=["workers", "embedded"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    with TemporaryDirectory(prefix="op-") as folder:
        router = Router(tmp_path_factory.mktemp("node"), workers=request.param, runtime_dir=folder)
        with router:
            found = Operated(router, Path(folder))
            found.tenant = router.tenant("Acme")
            yield found
        assert not list(Path(folder).iterdir())


@pytest_asyncio.fixture
async def host(node: Operated) -> AsyncIterator[str]:
    """A host of a program that says hello."""

    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    node.hosts += 1
    slug = f"shop{node.hosts}"
    async with Backend(hello) as running:
        node.router.register(node.tenant, slug, running.port)
        yield f"{slug}.{PLATFORM_DOMAIN}"


async def connections(node: Operated) -> list[Connection]:
    """One to each process that takes traffic."""
    pid = node.router.process.pid
    pids = workers(pid) or [pid]
    found: dict[int, Connection] = {}
    for _ in range(200):
        connection = await Connection.open(node.router.proxy_port)
        await connection.get("nothing.example")
        by = owner(node.router.proxy_port, connection.port, pids)
        if by is None or by in found:
            connection.close()
        else:
            found[by] = connection
        if len(found) == len(pids):
            break
    assert len(found) == len(pids)
    return list(found.values())


async def next_line(running: subprocess.Popen[bytes]) -> Any:
    assert running.stdout is not None
    return json.loads(await asyncio.wait_for(asyncio.to_thread(running.stdout.readline), 30))


async def comes_true(ask: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Ask until the answer is the wanted one."""
    async with asyncio.timeout(90):
        while await ask() != wanted:
            await asyncio.sleep(PAUSE)


async def test_every_process_is_known(node: Operated) -> None:
    """The control process and each worker, or the only one."""
    status, said = await call(node.read, "GET", "/v1/node")
    assert status == 200
    pid = node.router.process.pid
    numbers = [one["process"] for one in said["processes"]]
    assert numbers == ([0, 1, 2] if workers(pid) else [0])
    assert {one["pid"] for one in said["processes"] if one["process"]} == set(workers(pid))


async def test_tap_shows_what_every_process_ends(node: Operated, host: str) -> None:
    """JSON lines, of the host that was asked for only; it ends with Ctrl-C, and is in the audit log."""
    with node.command("tap", host, "--json") as tap:
        assert await next_line(tap) == {"tap": {"host": host}, "max_rps": 100}
        opened = await connections(node)
        for connection in opened:
            assert (await connection.get(host))[0] == 200
        seen = [await next_line(tap) for _ in opened]
        tap.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(tap.wait, 30) == 0
        for connection in opened:
            connection.close()
    assert {one["worker"] for one in seen} == ({0} if len(opened) == 1 else {1, 2})
    assert {(one["host"], one["status"], one["path"], one["client_network"]) for one in seen} == {
        (host, 200, "/", "127.0.0.0/24")
    }
    (act,) = node.acts("tap")
    assert (act["subject"], act["uid"]) == (host, os.getuid())


async def test_tap_of_a_tenant_has_conditions(node: Operated, host: str) -> None:
    """Of its traffic only what fails; for people, at most so many in a second."""
    node.router.register(node.tenant, "gone", 1)
    with node.command("tap", "acme", "--status", "5xx", "--max-rps", "1") as tap:
        assert tap.stdout is not None
        first = await asyncio.to_thread(tap.stdout.readline)
        assert first == f"-- tapping tenant {node.tenant}, status 500-599\n".encode()
        connection = await Connection.open(node.router.proxy_port)
        for name in (host, f"gone.{PLATFORM_DOMAIN}", f"gone.{PLATFORM_DOMAIN}"):
            await connection.get(name)
        said = [(await asyncio.wait_for(asyncio.to_thread(tap.stdout.readline), 30)).decode() for _ in range(2)]
        connection.close()
    assert f" GET  gone.{PLATFORM_DOMAIN}/ " in said[0]
    assert said[1] == "-- 1 not shown: 1 over --max-rps\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tap", "a..b"], "is no host"),
        (["tap", HOST, "--status", "99"], "`status` is one such as 404"),
        (["tap", HOST, "--ending", "??"], "`ending` is one of"),
    ],
)
async def test_tap_refuses_what_it_does_not_know(node: Operated, words: list[str], says: str) -> None:
    status, out, errors = await node.run(*words)
    assert (status, out) == (1, "")
    assert says in errors


async def test_sessions_are_listed_and_cut_in_every_process(node: Operated) -> None:
    """Requests that a program does not answer: each worker's are shown, and end at a word, which is audited. Others go on."""
    release = asyncio.Event()

    async def silent(visit: Visit) -> None:
        await release.wait()
        await visit.answer(b"late")

    node.hosts += 1
    slug = f"shop{node.hosts}"
    host = f"{slug}.{PLATFORM_DOMAIN}"
    async with Backend(silent) as running:
        node.router.register(node.tenant, slug, running.port)
        node.router.register(node.tenant, f"{slug}-other", running.port)
        opened = await connections(node)
        spared = await Connection.open(node.router.proxy_port)
        asking = [asyncio.create_task(one.get(host), name="test: request") for one in opened]
        going_on = asyncio.create_task(spared.get(f"{slug}-other.{PLATFORM_DOMAIN}"), name="test: request")
        try:
            found: dict[str, Any] = {}
            async with asyncio.timeout(30):
                while found.get("total") != len(opened):
                    found = (await call(node.read, "GET", "/v1/sessions", query={"of": host}))[1]
            status, out, errors = await node.run("sessions", slug, "--json")
            assert (status, errors) == (0, "")
            rows = json.loads(out)["data"]
            assert {one["worker"] for one in rows} == ({0} if len(opened) == 1 else {1, 2})
            assert {(one["host"], one["state"], one["path"]) for one in rows} == {(host, "response_head", "/")}
            status, out, errors = await node.run("cut", host)
            assert (status, out) == (1, "")
            assert "--yes" in errors
            status, out, errors = await node.run("cut", host, "--yes")
            assert (status, errors) == (0, "")
            assert out.startswith(f"closed {len(opened)} exchange")
            assert [answer[0] for answer in await asyncio.gather(*asking)] == [503] * len(opened)
            assert not going_on.done()
        finally:
            release.set()
        assert (await going_on)[0] == 200
        for connection in (*opened, spared):
            connection.close()
    assert [(act["subject"], act["uid"]) for act in node.acts("cut")] == [(host, os.getuid())]
    _, out, _ = await node.run("audit", "list", "--tenant", node.tenant, "--action", "session.cut", "--json")
    entries = [(one["resource_name"], one["actor_id"], one["via"]) for one in json.loads(out)["data"]]
    assert entries == [(host, str(os.getuid()), "socket")]


async def test_top_adds_up_what_every_process_carries(node: Operated, host: str) -> None:
    """While requests come, a tool that asks once sees their rate, by worker, host and resource."""
    opened = await connections(node)
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            for connection in opened:
                assert (await connection.get(host))[0] == 200
            await connection.get("nothing.example")

    asking = asyncio.create_task(ask(), name="test: requests")
    try:
        status, out, errors = await node.run("top", "--once", "--json", "--window", "2")
    finally:
        done.set()
        await asking
    assert (status, errors) == (0, "")
    found = json.loads(out)
    assert found["seconds"] >= 1
    assert {one["worker"] for one in found["workers"]} == ({0} if len(opened) == 1 else {1, 2})
    assert all(one["requests_per_second"] > 0 for one in found["workers"])
    assert found["total"]["p99_ms"] >= found["total"]["p50_ms"] > 0
    assert found["total"]["client_connections"] >= len(opened)
    assert host in {one["host"] for one in found["hosts"]}
    assert host.partition(".")[0] in {one["slug"] for one in found["resources"]}
    assert "host_not_found" in {one["code"] for one in found["refusals"]}
    assert found["stores"]["database"] is True
    status, out, _ = await node.run("top", "--once", "--window", "1")
    assert status == 0
    assert out.startswith("miosa-router ")
    for connection in opened:
        connection.close()


async def test_errors_of_all_processes_are_one_list(node: Operated) -> None:
    """Each worker's, by their time; people see the byte."""
    opened = await connections(node)
    for number, connection in enumerate(opened):
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            connection._writer.write(f"GET / HTTP/1.1\r\nHost: bad{number}.example\r\nX Y: 1\r\n\r\n".encode())
            await connection._reader.readuntil(b"\r\n\r\n")
        connection.close()
    status, out, errors = await node.run("errors", "--json")
    assert (status, errors) == (0, "")
    found = json.loads(out)["errors"][-len(opened) :]
    assert [one["host"] for one in found] == [f"bad{number}.example" for number in range(len(opened))]
    assert {one["worker"] for one in found} == ({0} if len(opened) == 1 else {1, 2})
    assert {(one["byte"], one["source"]) for one in found} == {(" ", "RFC 9110 §5.1")}
    status, out, errors = await node.run("errors", "--last", "1")
    shown = out.splitlines()
    place = shown[4].index("^")
    assert shown[3][place - 1 : place + 2] == "X Y"


async def test_a_level_is_set_in_all_processes(node: Operated) -> None:
    """For a while, audited; the socket for questions refuses it, and shows it."""
    processes = [0, 1, 2] if workers(node.router.process.pid) else [0]
    status, said = await call(node.read, "POST", "/v1/log-levels", {"module": "router.proxy", "level": "debug"})
    assert (status, said["error"]["code"]) == (403, "read_only_socket")
    status, out, errors = await node.run("log-level", "router.proxy", "debug", "--for", "2m", "--json")
    assert (status, errors) == (0, "")
    (one,) = json.loads(out)["levels"]
    assert (one["module"], one["level"], one["processes"]) == ("router.proxy", "debug", processes)
    assert 100 < one["seconds_left"] <= 120
    act = node.acts("log_level")[-1]
    assert (act["subject"], act["log_level"], act["seconds"], act["uid"]) == ("router.proxy", "debug", 120, os.getuid())
    status, out, errors = await node.run("log-level", "router.proxy", "default")
    assert (status, out) == (0, "all modules  info     log_level of the settings\n")


async def test_a_level_ends_by_itself_everywhere(node: Operated) -> None:
    status, _, errors = await node.run("log-level", "router", "error", "--for", "1s")
    assert (status, errors) == (0, "")

    async def levels() -> Any:
        return (await call(node.read, "GET", "/v1/log-levels"))[1]["levels"]

    await comes_true(levels, wanted=[])


@SEVERAL
async def test_a_worker_that_starts_is_told(node: Operated) -> None:
    """It has the levels that the others were given."""
    before = workers(node.router.process.pid)
    await node.run("log-level", "router.gate", "debug", "--for", "5m")
    os.kill(before[0], signal.SIGKILL)

    async def told() -> bool:
        if set(workers(node.router.process.pid)) & {before[0]}:
            return False
        levels = (await call(node.read, "GET", "/v1/log-levels"))[1]
        return levels["processes"] == [0, 1, 2] and [one["processes"] for one in levels["levels"]] == [[0, 1, 2]]

    await comes_true(told, wanted=True)
    await node.run("log-level", "router.gate", "default")


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["router.nothing", "debug"], 1, "is no module"),
        (["sqlalchemy.engine", "debug"], 1, "is no module"),
        (["router", "loud"], 1, "A level is one of"),
        (["router", "debug", "--for", "25h"], 1, "24 hours"),
        (["router", "debug", "--for", "soon"], 2, "is not a time"),
        (["router"], 2, "give a module and its level"),
    ],
)
async def test_levels_that_can_not_be_set(node: Operated, words: list[str], status: int, says: str) -> None:
    found, _, errors = await node.run("log-level", *words)
    assert (found, says in errors) == (status, True), errors


async def test_top_fits_the_terminal(node: Operated) -> None:
    """On a terminal it takes the whole of it, follows its size, and gives it back with Ctrl-C."""
    ours, its = os.openpty()

    def size(rows: int, columns: int) -> None:
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    seen = b""

    async def until_seen(text: bytes) -> None:
        nonlocal seen
        async with asyncio.timeout(30):
            while text not in seen:
                seen += await asyncio.to_thread(os.read, ours, 65536)

    size(24, 80)
    try:
        with node.command("top", "--interval", "0.5", stdout=its, TERM="xterm-256color") as top:
            await until_seen(b"\x1b[?1049h")
            await until_seen(b"HOST")
            assert b"connections, " in seen
            seen = b""
            size(6, 20)
            top.send_signal(signal.SIGWINCH)
            await until_seen(b"miosa-router")
            await until_seen("\u2026".encode())  # lines are cut to the new size
            top.send_signal(signal.SIGINT)
            await until_seen(b"\x1b[?1049l")
            assert await asyncio.to_thread(top.wait, 30) == 0
    finally:
        os.close(its)
        os.close(ours)


async def test_a_debug_key_explains_requests_in_every_process(node: Operated, host: str) -> None:
    """`X-Miosa-Debug`, with the key of the resource's tenant, and with another's; and when it is revoked."""
    key, foreign = node.router.key(node.tenant), node.router.key(node.router.tenant("Stranger"))
    opened = await connections(node)
    for connection in opened:
        await connection.get(host, f"X-Miosa-Debug: {foreign}")
        assert b"server-timing" not in connection.head
        for _ in range(2):
            await connection.get(host, f"X-Miosa-Debug: {key}")
            assert b"server-timing: resolve;dur=" in connection.head
        assert b"key;dur=" not in connection.head
        assert b'source;desc="process"' in connection.head
    _, out, _ = await node.run("keys", "list", "--tenant", node.tenant, "--json")
    (listed,) = [one for one in json.loads(out)["data"] if key.startswith(one["prefix"])]
    assert (await node.run("keys", "revoke", listed["id"]))[0] == 0
    async with asyncio.timeout(30):
        for connection in opened:
            while b"server-timing" in connection.head:
                await connection.get(host, f"X-Miosa-Debug: {key}")
            connection.close()
    assert key not in node.router.output


async def test_a_command_says_why_it_reaches_no_node(node: Operated, tmp_path: Path) -> None:
    node.router.environment["MIOSA_ROUTER_RUNTIME_DIR"], before = (
        str(tmp_path),
        node.router.environment["MIOSA_ROUTER_RUNTIME_DIR"],
    )
    try:
        status, _, errors = await node.run("tap", HOST)
    finally:
        node.router.environment["MIOSA_ROUTER_RUNTIME_DIR"] = before
    assert status == 1
    assert f"no node with these settings answers at {tmp_path / 'operator-read.sock'}" in errors


@SEVERAL
async def test_a_reload_hands_the_sockets_over(node: Operated) -> None:
    """The new control process answers at the same files, with the new workers; taps of the old one end, and so do levels."""
    process = node.router.process
    before = {*control(process.pid), *workers(process.pid)}
    await node.run("log-level", "router.gate", "debug")

    async def replaced() -> bool:
        with suppress(OSError):
            said = (await call(node.read, "GET", "/v1/node"))[1]["processes"]
            pids = {one["process"]: one["pid"] for one in said}
            return sorted(pids) == [0, 1, 2] and before.isdisjoint(pids.values())
        return False

    async def levels() -> Any:
        return (await call(node.act, "GET", "/v1/log-levels"))[1]["levels"]

    with node.command("tap", HOST, "--json") as tap:
        await next_line(tap)
        process.signal(signal.SIGHUP)
        assert await next_line(tap) == {"end": "the node ends, or was reloaded"}
    await comes_true(replaced, wanted=True)
    await comes_true(levels, wanted=[])


async def test_taps_end_when_the_node_does(tmp_path: Path) -> None:
    """The drain tells them, so that nobody waits for more."""
    with TemporaryDirectory(prefix="op-") as folder, Router(tmp_path, runtime_dir=folder) as router:
        node = Operated(router, Path(folder))
        with node.command("tap", HOST, "--json") as tap:
            await next_line(tap)
            router.process.signal(signal.SIGTERM)
            assert await next_line(tap) == {"end": "the node ends, or was reloaded"}
            assert await asyncio.to_thread(tap.wait, 30) == 0
        await eventually(lambda: router.process.status == 0, "it has ended")
    until(lambda: not Path(folder).exists(), "nothing is left")
