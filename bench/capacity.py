"""Where a machine ends: the formula of docs/capacity.md, and whether the page's constants hold here: `python -m bench.capacity`.

A minute: it starts a node of two workers, measures the constants that need no crowd, and shows each beside the page's. The exit status is 1 where one is more than `--factor` (2) times as large. Instructions and clocks differ between
machines: what counts is that nothing has grown.

    --fleet     instead, what one node and two nodes ask of PostgreSQL and Redis, at rest and for a thousand requests
"""

import argparse
import asyncio
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import asyncpg

from bench.measure import cpu_seconds, family, memory
from router.base.clock import SystemClock
from router.settings import Records
from router.store.request_records_sqlite import SqliteRecords
from tests.support.ports import answers, free_port
from tests.support.postgres import Postgres
from tests.support.processes import Process
from tests.support.redis import Server
from tests.support.request_records import row
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import until
from tests.support.workers import workers

PAGE = Path(__file__).parents[1] / "docs" / "capacity.md"
_ROW = re.compile(r"\| `(?P<name>\w+)` \| (?P<value>[\d.,]+) \|")

_MIB = 1024.0  # KiB
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Constants:
    """What one of each takes. Times in µs of a core, memory in KiB, the rest in bytes."""

    cpu_request: float
    cpu_connection: float
    worker: float
    control_process: float
    route: float
    connection: float
    tunnel: float
    exchange: float
    slow_side: float
    spare: float
    log_line: float
    record: float


@dataclass(frozen=True, slots=True)
class Load:
    """What a node carries. `requests` and `connections_opened` are of a second."""

    requests: float
    connections_opened: float = 0
    clients: int = 0
    backends: int = 0
    tunnels: int = 0
    exchanges: int = 0
    slow: int = 0
    routes: int = 12_000
    workers: int = 2
    recorded: float = 1.0


@dataclass(frozen=True, slots=True)
class Needs:
    """What that takes: cores, MiB, descriptors of each worker, GB of access log and of records a day."""

    cores: float
    memory: float
    descriptors: int
    log: float
    records: float


BUSY = 0.7  # of a core: what is above waits in queues
RESERVE = 512  # descriptors of a worker that its listeners may not use (base/descriptors.py)


def needs(load: Load, one: Constants) -> Needs:
    """The formula of the page."""
    cpu = load.requests * one.cpu_request + load.connections_opened * one.cpu_connection
    # Each worker has a cache of its own; connections are spread.
    held = load.workers * (one.worker + load.routes * one.route + one.spare) + one.control_process
    held += (load.clients + load.backends) * one.connection + load.tunnels * one.tunnel
    held += load.exchanges * one.exchange + load.slow * one.slow_side
    sockets = load.clients + load.backends + 2 * load.tunnels
    return Needs(
        cores=cpu / 1e6 / BUSY,
        memory=held / _MIB,
        descriptors=sockets // load.workers + RESERVE,
        log=load.requests * _DAY * one.log_line / 1e9,
        records=load.requests * load.recorded * _DAY * one.record / 1e9,
    )


def stated(page: str) -> Constants:
    """The constants as the page's table has them. Raises TypeError where one is missing."""
    found = {match["name"]: float(match["value"].replace(",", "")) for match in _ROW.finditer(page)}
    return Constants(**{item.name: found[item.name] for item in fields(Constants) if item.name in found})


def _measured(folder: Path, stack: ExitStack) -> dict[str, float]:
    port, log = free_port(), folder / "access.log"
    program = [sys.executable, str(Path(__file__).with_name("backend.py")), str(port)]
    backend = stack.enter_context(Process(program, folder / "backend.log"))
    backend.until(lambda: answers(port))
    most = {f"limits__{name}": 20_000 for name in ("exchanges_per_resource", "exchanges_per_address")}
    node = stack.enter_context(Router(folder, access_log=log, workers=2, limits__drain_requests=0, **most))
    node.register(node.tenant("Acme"), "shop", port)
    until(lambda: len(workers(node.process.pid)) == 2, "two workers", 40)
    first, second = workers(node.process.pid)
    found: dict[str, float] = {}
    rest = [pid for pid in family(node.process.pid) if pid not in (first, second)]
    found["worker"] = max(memory(pid) for pid in (first, second)) / 1024
    found["control_process"] = sum(memory(pid, "Pss") for pid in rest) / 1024
    pid = node.process.pid
    _wrk(node, 1)
    for name, close in (("cpu_request", False), ("cpu_connection", True)):
        before = cpu_seconds(pid)
        done = _wrk(node, 5, close=close)
        found[name] = (cpu_seconds(pid) - before) / done * 1e6
    found["cpu_connection"] = max(0.0, found["cpu_connection"] - found["cpu_request"])
    time.sleep(2)  # what is buffered of the log is written
    lines = log.read_bytes()
    found["log_line"] = len(lines) / lines.count(b"\n")
    for name, mode, count in (("tunnel", "tunnels", 1000),):
        with _Sockets(mode, node.proxy_port, f"shop.{PLATFORM_DOMAIN}", 8):
            before_memory = _of_workers(node)
        with _Sockets(mode, node.proxy_port, f"shop.{PLATFORM_DOMAIN}", count):
            time.sleep(1)
            found[name] = (_of_workers(node) - before_memory) / count / 1024
    found["record"] = asyncio.run(_record(folder / "records"))
    return found


def _of_workers(node: Router) -> int:
    return sum(memory(pid) for pid in workers(node.process.pid))


def _wrk(node: Router, seconds: int, *, close: bool = False) -> int:
    """How many requests whose heads all differ were answered, on connections that are kept or opened for each."""
    script = Path(__file__).parent / "wrk" / "differing.lua"
    words = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", str(script), "-H", f"Host: shop.{PLATFORM_DOMAIN}"]
    words += ["-H", "Connection: close"] if close else []
    done = subprocess.run([*words, f"http://{node.proxy}/"], capture_output=True, text=True, check=True).stdout
    return int(done.partition(" requests in")[0].split()[-1])


class _Sockets:
    """So many long connections (`bench/sockets.py`), while the block runs."""

    def __init__(self, mode: str, port: int, host: str, count: int) -> None:
        words = [sys.executable, "-m", "bench.sockets", mode, str(port), str(count)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{host}\n.\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


async def _record(file: Path, count: int = 20_000) -> float:
    """Bytes that a record takes on the disk."""
    kept = SqliteRecords(file, Records(), SystemClock())
    at = int(time.time() * 1e6)
    for start in range(0, count, 1000):
        await kept.append([row(number, at=at + number) for number in range(start, start + 1000)], [])
    await kept.close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file.stat().st_size / count


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the stores have done so far, and who is connected."""

    transactions: int
    commands: int
    postgres: int
    redis: int


async def _asked(database: str, redis: Server) -> _Asked:
    connection = await asyncpg.connect(database, server_settings={"application_name": "bench"})
    try:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        done = await connection.fetchval(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        )
        there = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'miosa-router'"
        )
    finally:
        await connection.close()
    found: Mapping[str, Any] = dict(
        line.split(":", 1) for part in ("stats", "clients") for line in redis.info(part).splitlines() if ":" in line
    )
    return _Asked(done, int(found["total_commands_processed"]), there, int(found["connected_clients"]))


def _fleet(folder: Path, stack: ExitStack, seconds: int) -> None:
    server, redis = stack.enter_context(Postgres()), stack.enter_context(Server(folder))
    database, port = asyncio.run(server.create()), free_port()
    program = [sys.executable, str(Path(__file__).with_name("backend.py")), str(port)]
    stack.enter_context(Process(program, folder / "backend.log")).until(lambda: answers(port))
    nodes: list[Router] = []
    print("| nodes | | PostgreSQL transactions | Redis commands | PostgreSQL connections | Redis connections |")
    print("|---:|---|---:|---:|---:|---:|")
    for number in (1, 2):
        own = folder / str(number)
        own.mkdir()
        common = {
            "database_url": database,
            "redis_url": redis.url,
            "workers": 2,
            "access_log": "",
            "log_format": "json",
        }
        node = Router(own, **common, **({"internal_token": nodes[0].token} if nodes else {}))
        node.token = nodes[0].token if nodes else node.token
        nodes.append(stack.enter_context(node))
        until(lambda node=node: len(workers(node.process.pid)) == 2, "two workers", 40)
        if number == 1:
            node.register(node.tenant("Acme"), "shop", port)
        for each in nodes:
            _wrk(each, 1)
        time.sleep(5)
        before = asyncio.run(_asked(database, redis))
        time.sleep(seconds)
        after = asyncio.run(_asked(database, redis))
        rest = (after.transactions - before.transactions) / seconds, (after.commands - before.commands) / seconds
        print(f"| {number} | at rest, a second | {rest[0]:.1f} | {rest[1]:.1f} | {after.postgres} | {after.redis} |")
        before, began = asyncio.run(_asked(database, redis)), time.monotonic()
        done = sum(_wrk(each, 10) for each in nodes)
        time.sleep(2)
        after, lasted = asyncio.run(_asked(database, redis)), time.monotonic() - began
        most = [
            max(0.0, total - each * lasted) / done * 1000
            for total, each in zip(
                (after.transactions - before.transactions, after.commands - before.commands), rest, strict=True
            )
        ]
        print(
            f"| {number} | for 1,000 requests more | {most[0]:.2f} | {most[1]:.2f} | {after.postgres} | {after.redis} |",
            flush=True,
        )


def main() -> int:
    """Measure; the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--factor", type=float, default=2.0)
    options.add_argument("--fleet", action="store_true")
    options.add_argument("--seconds", type=int, default=20)
    words = options.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="miosa-bench-")))
        if words.fleet:
            _fleet(folder, stack, words.seconds)
            return 0
        measured = _measured(folder, stack)
    page = stated(PAGE.read_text())
    worst = 0.0
    for name, value in measured.items():
        said = getattr(page, name)
        worst = max(worst, value / said)
        print(f"{name:16} {value:10.1f}  the page says {said:10.1f}  × {value / said:.2f}")
    print(f"the page holds within a factor of {words.factor}: {'yes' if worst <= words.factor else 'no'}")
    return 0 if worst <= words.factor else 1


if __name__ == "__main__":
    sys.exit(main())
