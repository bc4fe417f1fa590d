"""Ten thousand cold hosts at once, and who was there before: `python -m bench.burst`, two minutes.

A node of one worker on PostgreSQL and Redis has core 1 to itself. A visitor program of its own asks for known hosts at a
steady pace and notes how long each answer took, all the time. Beside it another asks for 10,000 hosts that nobody knows,
then for the same again, which costs as many connections to backends and no look-up, then for as many that only Redis
knows. Nothing may fail, and the visitors' p99 beside cold hosts should be less than twice that beside nothing else.
"""

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import uvloop

from bench import backend
from bench.cold import all_of, started
from bench.measure import family, pin
from router.store import migrate
from tests.support.crowd import Crowd
from tests.support.ports import answers, free_port
from tests.support.postgres import Postgres
from tests.support.processes import Process
from tests.support.redis import Server
from tests.support.router import Router
from tests.support.workers import Connection

_BURST = 10_000
_WARM = 200  # hosts that are known
_VISITORS, _PAUSE = 8, 0.01  # seconds between an answer and the next request: some are longer, some shorter
_FIRST = -15  # niceness of what visitors wait for on the core that all share: they and the backend
_KEPT = 2  # seconds that connections are kept: longer than between two visits of a host, shorter than between bursts


async def _visit(port: int, file: Path) -> None:
    """Ask for known hosts until killed; a line an answer: when, and how long it took, in seconds."""
    with file.open("w", buffering=1) as log:

        async def one(number: int) -> None:
            connection = await Connection.open(port)
            chance = random.Random(number)  # or all who waited for one stall would come together from then on
            own = _WARM // _VISITORS  # hosts, so that each is visited again before long
            turn = 0
            while True:
                turn += 1
                began = time.monotonic()
                status, _ = await connection.get(f"www.site{number * own + turn % own}.com")
                log.write(f"{began} {time.monotonic() - began} {status}\n")
                await asyncio.sleep(chance.expovariate(1 / _PAUSE))

        await asyncio.gather(*(one(number) for number in range(_VISITORS)))


def _waits(file: Path, begin: float, end: float) -> list[float]:
    lines = (line.split() for line in file.read_text().splitlines()[:-1])
    found = []
    for at, took, status in lines:
        if begin <= float(at) <= end:
            if status != "200":
                sys.exit(f"a known host was answered with {status}")
            found.append(float(took) * 1000)
    return sorted(found)


async def _send(port: int, connections: int, first: int, hosts: int) -> None:
    """The burst: 10,000 requests, as fast as they are answered. Says when it began and ended, and how many were not 200."""
    queue, failed = iter(range(_BURST)), 0
    opened = [await Connection.open(port) for _ in range(connections)]

    async def work(connection: Connection) -> None:
        nonlocal failed
        for number in queue:
            status, _ = await connection.get(f"www.site{first + number % hosts}.com")
            failed += status != 200

    began = time.monotonic()
    await asyncio.gather(*map(work, opened))
    print(began, time.monotonic(), failed)


def _burst(port: int, connections: int, *, first: int, hosts: int) -> tuple[float, float]:
    """When it began and ended. Ends the run where a request failed."""
    command = ["nice", "-n", "10", "taskset", "-c", "0", sys.executable, "-m", "bench.burst"]
    words = ["--send", str(port), "--connections", str(connections), "--first", str(first), "--hosts", str(hosts)]
    done = subprocess.run([*command, *words], check=True, capture_output=True, text=True)
    began, ended, failed = done.stdout.split()
    if failed != "0":
        sys.exit(f"{failed} requests were not answered with 200")
    return float(began), float(ended)


async def _prepare(server: Postgres, redis: Server, crowd: Crowd) -> str:
    """The database; and in Redis what the last burst asks for."""
    database = await server.create(migrated=False)
    await migrate(database)
    await crowd.fill(database)
    async with started(database, redis) as process:
        stored = 0
        for first in range(_WARM + _BURST, _WARM + 2 * _BURST, 500):
            hosts = [crowd.name(number) for number in range(first, first + 500)]
            if await all_of(process, hosts):
                sys.exit("hosts that should lead somewhere do not")
            stored += 500
            while process.count("redis_fills", "stored") < stored:
                await asyncio.sleep(0.01)
    return database


def _measure(node: Router, folder: Path, connections: int) -> bool:
    file = folder / "waits"
    visits = [sys.executable, "-m", "bench.burst", "--visit", str(node.proxy_port), "--file", str(file)]
    with Process(["nice", "-n", str(_FIRST), *visits], folder / "visits.log", folder=Path.cwd()) as visitors:
        visitors.until(lambda: file.exists() and file.stat().st_size > 50_000)
        pin(visitors.pid, 0)
        spans: list[tuple[str, tuple[float, float]]] = []

        def run(what: str, *, first: int, hosts: int) -> None:
            now = time.monotonic()
            time.sleep(2 * _KEPT)
            spans.append(("nothing else", (now + _KEPT, now + 2 * _KEPT)))
            spans.append((what, _burst(node.proxy_port, connections, first=first, hosts=hosts)))

        run(f"{_BURST} hosts that nobody knows", first=_WARM, hosts=_BURST)
        run("the same, known by now", first=_WARM, hosts=_BURST)
        run(f"{_BURST} hosts that Redis knows", first=_WARM + _BURST, hosts=_BURST)
        time.sleep(0.5)
    p99s: dict[str, float] = {}
    for what in dict.fromkeys(what for what, _ in spans):
        waits = sorted(wait for name, span in spans if name == what for wait in _waits(file, *span))
        took = statistics.median(end - begin for name, (begin, end) in spans if name == what)
        p99s[what] = waits[len(waits) * 99 // 100]
        print(
            f"  beside {what:34} ({took:4.1f} s): {len(waits):5} answers, p50 {statistics.median(waits):6.2f} ms,"
            f" p99 {p99s[what]:6.2f} ms, longest {waits[-1]:6.2f} ms"
        )
    nothing, nobody, known, redis = p99s.values()
    for what, base in (("nothing else", nothing), ("known hosts", known)):
        print(f"  p99 beside cold hosts against {what}: × {nobody / base:.2f}, × {redis / base:.2f}")
    return max(nobody, redis) < 2 * nothing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=64, help="on which the burst comes")
    parser.add_argument("--send", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--hosts", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--visit", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.visit is not None:
        uvloop.run(_visit(words.visit, words.file))
        return
    if words.send is not None:
        uvloop.run(_send(words.send, words.connections, words.first, words.hosts))
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server, redis = stack.enter_context(Postgres()), stack.enter_context(Server(folder))
        port = free_port()
        # The visitors' requests share the other core with all of this, and must wait for none of it.
        behind = stack.enter_context(backend.start(folder, port))
        behind.until(lambda: answers(port))
        crowd = Crowd(100, 3 * _BURST, 3 * _BURST, lambda _: ("127.0.0.1", {"3000": port}))
        database = asyncio.run(_prepare(server, redis, crowd))
        settings = {
            "workers": 1,
            "limits__drain_requests": 1,
            "limits__backend_idle": _KEPT,
            "access_log": folder / "log",
        }
        node = stack.enter_context(Router(folder, database_url=database, redis_url=redis.url, **settings))
        for other in (behind, redis._process, server._process):  # noqa: SLF001 - a bench may look inside
            pin(other.pid, 0)  # type: ignore[union-attr]
        for member in family(behind.pid):
            os.setpriority(os.PRIO_PROCESS, member, _FIRST)
        pin(node.process.pid, 1)
        print(f"one worker, {words.connections} connections [load {os.getloadavg()[0]:.1f}]")
        good = _measure(node, folder, words.connections)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
