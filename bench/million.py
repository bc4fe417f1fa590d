"""A fleet's node with a million custom domains in PostgreSQL and Redis: `python -m bench.million`, six minutes.

`--domains 10000 --resources 2000 --tenants 20` for a glance. Three figures: what a host costs that the process does not
know but Redis does; what a worker holds when its cache has all the routes that it may have by default (each worker is
asked for as many hosts that exist and that don't, and then for as many others); and what a warm request costs in
CPU time, drawn from a thousand hosts, there and on a node that has a thousand domains in all.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import uvloop

from bench.cold import one_by_one, shown, started
from bench.measure import cpu_seconds
from router.routes.records import Snapshot
from router.settings import Cache
from router.store import migrate
from tests.support.backends import Backend, Visit
from tests.support.crowd import Crowd
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.processes import Process
from tests.support.redis import Server
from tests.support.router import Router
from tests.support.rss import rss
from tests.support.waiting import until
from tests.support.workers import Connection, owner, workers

_FEW = 1000  # hosts that are warm, and all that the small node has
_KNOWN, _UNKNOWN = Cache().hosts, Cache().unknown_hosts  # what a worker's cache holds by default
_ALONE = 2000  # cold hosts, one after the other
_BATCH = 1000  # records put into Redis at once
_ROUNDS, _SECONDS = 5, 3
_MIB = 1024 * 1024

# The hosts in their turn, so that no one of them is the only one warm.
_LUA = """
local n = 0
request = function()
  n = (n + 1) % {few}
  return wrk.format("GET", "/", {{["Host"] = "www.site" .. n .. ".com", ["User-Agent"] = "Mozilla/5.0 (X11; Linux)"}})
end
"""


async def _goodbye(visit: Visit) -> None:
    """An answer that leaves no connection: visitors of twenty thousand hosts don't come within half a minute."""
    await visit.answer(b"hello", b"200 OK", b"Connection: close")


async def _put_into_redis(database: str, redis: Server, keys: Iterable[str]) -> int:
    """Every record; how many."""
    count = 0
    async with started(database, redis) as process:
        queue = iter(keys)

        async def work() -> None:
            nonlocal count
            while some := list(itertools.islice(queue, _BATCH)):
                found: Snapshot = await process.store.records.fetch_versioned(some)
                for shard, mine in process.shared._shards.sorted(found).items():  # noqa: SLF001 - a bench may look inside
                    stored = await shard.fill({key: found[key] for key in mine}, found.seen)
                    count += stored

        await asyncio.gather(*(work() for _ in range(2)))
    return count


async def _cold(database: str, redis: Server, crowd: Crowd) -> None:
    hosts = [crowd.name(crowd.domains - 1 - number) for number in range(min(_ALONE, crowd.domains))]
    for what in ("a host of which Redis has the domain's record only", "a host that Redis knows"):
        async with started(database, redis) as process:
            took = await one_by_one(process, hosts)
            await asyncio.sleep(0.5)  # what was read is being put down
        print(f"  cold, {what}: {shown(took)}")


async def _ask_all(port: int, pids: Sequence[int], hosts: Sequence[str], each: int = 8) -> int:
    """Ask every worker for all of them, on several connections each; how many answered 200."""
    found: dict[int, list[Connection]] = {pid: [] for pid in pids}
    while any(len(mine) < each for mine in found.values()):
        connection = await Connection.open(port)
        await connection.get(hosts[0])
        pid = owner(port, connection.port, list(pids))
        if pid is not None and len(found[pid]) < each:
            found[pid].append(connection)
        else:
            connection.close()
    good = 0

    async def ask(connection: Connection, mine: Sequence[str]) -> None:
        nonlocal good
        for host in mine:
            status, _ = await connection.get(host)
            good += status == 200

    await asyncio.gather(
        *(ask(one, hosts[turn::each]) for connections in found.values() for turn, one in enumerate(connections))
    )
    for connection in itertools.chain.from_iterable(found.values()):
        connection.close()
    return good


async def _fill_caches(node: Router, crowd: Crowd, backend: Backend) -> None:
    pids = workers(node.process.pid)
    print(f"  workers at first: {_sizes(pids)}")
    for turn in range(2):
        first = turn * _KNOWN
        known = [crowd.name(number % crowd.domains) for number in range(first, first + _KNOWN)]
        unknown = [f"nobody{number}.example.net" for number in range(turn * _UNKNOWN, (turn + 1) * _UNKNOWN)]
        began = time.monotonic()
        good = await _ask_all(node.proxy_port, pids, [*known, *unknown])
        took = time.monotonic() - began
        print(
            f"  after {_KNOWN} hosts and {_UNKNOWN} unknown ones, {good} answers, {took:.0f} s: {_sizes(pids)}"
            f"  (they had {backend.accepted} connections to the backend)"
        )


def _sizes(pids: Sequence[int]) -> str:
    return ", ".join(f"{rss(pid) / _MIB:.0f} MiB" for pid in pids)


def _wrk(port: int, script: Path) -> int:
    """How many requests were answered, all of them well."""
    done = os.popen(f"wrk -t1 -c32 -d{_SECONDS}s -s {script} http://127.0.0.1:{port}/").read()
    if "Non-2xx" in done or "Socket errors" in done:
        sys.exit(done)
    return int(done.partition(" requests in")[0].split()[-1])


def _warm(nodes: dict[str, Router], folder: Path) -> None:
    script = folder / "hosts.lua"
    script.write_text(_LUA.format(few=_FEW))
    cost: dict[str, list[float]] = {name: [] for name in nodes}
    for turn in range(_ROUNDS + 1):
        for name, node in nodes.items():
            before = cpu_seconds(node.process.pid)
            requests = _wrk(node.proxy_port, script)
            if turn:  # the first one warms
                cost[name].append((cpu_seconds(node.process.pid) - before) / requests * 1e6)
    for name, found in cost.items():
        spread = f"{min(found):.1f}–{max(found):.1f}"
        print(f"  a warm request, {name}: {statistics.median(found):.1f} µs of CPU ({spread})")
    few, many = (statistics.median(found) for found in cost.values())
    print(f"  with a million as with a thousand: × {many / few:.2f}   [load {os.getloadavg()[0]:.1f}]")


def _node(folder: Path, name: str, database: str, redis: Server) -> Router:
    inner = folder / name
    inner.mkdir()
    return Router(
        inner,
        workers=2,
        database_url=database,
        redis_url=f"{redis.url}",
        redis__prefix=f"{name}:",
        access_log=inner / "access.log",
        limits__drain_requests=0,
        limits__drain_tunnels=0,
    )


async def _prepare(server: Postgres, crowd: Crowd) -> str:
    database = await server.create()
    await migrate(database)
    began = time.monotonic()
    await crowd.fill(database)
    print(
        f"{crowd.domains} domains, {crowd.resources} resources, {crowd.tenants} tenants: {time.monotonic() - began:.0f} s"
    )
    return database


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenants", type=int, default=2000)
    parser.add_argument("--resources", type=int, default=200_000)
    parser.add_argument("--domains", type=int, default=1_000_000)
    words = parser.parse_args()
    with ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options = {"shared_buffers": "1GB", "maintenance_work_mem": "512MB", "max_wal_size": "4GB"}
        server, redis = stack.enter_context(Postgres(**options)), stack.enter_context(Server(folder))
        fast, parting = free_port(), Backend(_goodbye)
        program = [sys.executable, Path(__file__).with_name("backend.py"), str(fast)]
        stack.enter_context(Process(program, folder / "backend.log"))
        runner.run(parting.__aenter__())

        def listens(resource: int) -> tuple[str, dict[str, int]]:
            return "127.0.0.1", {"3000": fast if resource < _FEW else parting.port}

        many = Crowd(words.tenants, words.resources, words.domains, listens)
        few = Crowd(10, _FEW, _FEW, listens)
        of_few = runner.run(_prepare(server, few))
        of_many = runner.run(_prepare(server, many))
        began = time.monotonic()
        count = runner.run(_put_into_redis(of_many, redis, many.keys()))
        memory = int(redis.info("memory").partition("used_memory:")[2].split()[0]) / _MIB
        print(f"  {count} records in Redis ({memory:.0f} MiB): {time.monotonic() - began:.0f} s")
        runner.run(_cold(of_many, redis, many))
        small, large = _node(folder, "few", of_few, redis), _node(folder, "miosa-router", of_many, redis)
        stack.enter_context(small)
        stack.enter_context(large)
        for node in (small, large):
            until(lambda node=node: len(workers(node.process.pid)) == 2 and node.ready(), "two workers", 40)
        runner.run(_fill_caches(large, many, parting))
        _warm({"a thousand domains": small, f"{many.domains} domains": large}, folder)
        runner.run(parting.__aexit__(None, None, None))


if __name__ == "__main__":
    main()
