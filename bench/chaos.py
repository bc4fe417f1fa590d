"""What visitors notice when parts of a fleet fail: `python -m bench.chaos`, eight minutes. `--only "redis frozen"` for one.

Two nodes of two workers on PostgreSQL and on Redis under Sentinels; known sites are asked for all the time through both
nodes, and move all the time. Each fault lasts 20 s. Routes live for two seconds here instead of a minute, so that each
of them is looked up again and again while the fault lasts.

A row says how many requests there were; how many failed that were not on a killed process's own connections, and how
many were on those; how many answers came from a wrong site; the slowest answer; how many moves an API accepted
meanwhile; how long after the fault's end every worker knew where each site is; and what first requests got for hosts
that do not exist, and for some that do.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.fleet import (
    PATIENCE,
    Fleet,
    Moves,
    Probes,
    Seen,
    Site,
    Visitors,
    all_serve,
    control_of,
    family,
    kill_all,
    worker_of,
)
from tests.support.waiting import eventually

_SITES, _COLD = 40, 1200
_EACH, _PAUSE = 8, 0.02  # visitors per node, and seconds between the requests of one
_MOVES = 0.2  # seconds between moves
VISIBLE_WITHIN = 5.0  # seconds after the fault's end


class Scene:
    """The fleet under load. What a fault takes down it brings back itself, and says when that was done."""

    def __init__(self, fleet: Fleet, visitors: Visitors, seconds: float) -> None:
        self.fleet = fleet
        self.seconds = seconds
        self.own: set[int] = set()
        """The ports of connections that belonged to a process which was killed."""
        self._visitors = visitors

    def kill(self, pids: Sequence[int]) -> None:
        def look() -> None:
            self.own |= self._visitors.owned_by(pids)

        kill_all(pids, look)

    async def last(self) -> None:
        await asyncio.sleep(self.seconds)

    async def redis_stopped(self) -> None:
        for server in self.fleet.redis.servers:
            server.stop()
        await self.last()
        for server in self.fleet.redis.servers:
            await asyncio.to_thread(server.start)

    async def redis_frozen(self) -> None:
        for server in self.fleet.redis.servers:
            server.freeze()
        await self.last()
        for server in self.fleet.redis.servers:
            server.thaw()

    async def redis_flushed(self) -> None:
        """Again and again."""
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            self.fleet.redis.master.ask("FLUSHALL")
            await asyncio.sleep(0.5)

    async def redis_failed_over(self) -> None:
        """The master is killed and its replica takes over; the old one comes back and follows."""
        sentinels = self.fleet.redis
        old = sentinels.master
        old.stop()
        await eventually(lambda: sentinels.master is not old, "a new master is chosen", 20)
        await self.last()
        await asyncio.to_thread(old.start)

    async def postgresql_stopped(self) -> None:
        await asyncio.to_thread(self.fleet.postgres.stop)
        await self.last()
        await asyncio.to_thread(self.fleet.postgres.start)

    async def postgresql_frozen(self) -> None:
        self.fleet.postgres.freeze()
        await self.last()
        self.fleet.postgres.thaw()

    async def worker_killed(self) -> None:
        """One of each node, the second when the first has a successor."""
        for node in self.fleet.nodes:
            self.kill([worker_of(node)])
            await asyncio.sleep(self.seconds / 2)
        await all_serve(self.fleet)

    async def node_killed(self) -> None:
        """The supervisor and all its processes; the node is started again at the end."""
        node = self.fleet.nodes[1]
        self.own |= self._visitors.ports(node)  # those too that nobody has accepted yet
        self.kill(family(node))
        node.process.wait()
        await self.last()
        await asyncio.to_thread(node.start)
        await all_serve(self.fleet)

    async def control_process_killed(self) -> None:
        """Of each node."""
        for node in self.fleet.nodes:
            self.kill([control_of(node)])
            await asyncio.sleep(self.seconds / 2)
        await all_serve(self.fleet)

    async def both_stores_stopped(self) -> None:
        for server in self.fleet.redis.servers:
            server.stop()
        await self.postgresql_stopped()
        for server in self.fleet.redis.servers:
            await asyncio.to_thread(server.start)

    async def both_stores_frozen(self) -> None:
        for server in self.fleet.redis.servers:
            server.freeze()
        await self.postgresql_frozen()
        for server in self.fleet.redis.servers:
            server.thaw()


FAULTS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "none": Scene.last,
    "redis stopped": Scene.redis_stopped,
    "redis frozen": Scene.redis_frozen,
    "redis flushed": Scene.redis_flushed,
    "redis failed over": Scene.redis_failed_over,
    "postgresql stopped": Scene.postgresql_stopped,
    "postgresql frozen": Scene.postgresql_frozen,
    "worker killed": Scene.worker_killed,
    "node killed": Scene.node_killed,
    "control process killed": Scene.control_process_killed,
    "both stores stopped": Scene.both_stores_stopped,
    "both stores frozen": Scene.both_stores_frozen,
}


@dataclass
class Row:
    """What came of one fault."""

    fault: str
    seconds: float
    seen: Seen
    own: set[int]
    moved: int
    refused: int
    visible: float | None

    @property
    def others_failed(self) -> list[str]:
        return [what for port, what in self.seen.failed if port not in self.own]

    @property
    def faults(self) -> list[str]:
        """What must not be."""
        found = [*self.others_failed, *self.seen.wrong]
        if self.visible is None or self.visible > VISIBLE_WITHIN:
            found.append(f"moves visible after {self.visible} s")
        found += [said for said in self.seen.strangers if said not in _OF_STRANGERS]
        found += [f"a host that exists: {said}" for said in self.seen.cold if said not in _OF_COLD]
        return found

    def __str__(self) -> str:
        waits = sorted(self.seen.waits) or [0.0]
        visible = "never" if self.visible is None else f"{self.visible * 1000:.0f} ms"
        strangers, cold = (
            ", ".join(f"{count} × {said}" for said, count in sorted(counter.items()))
            for counter in (self.seen.strangers, self.seen.cold)
        )
        return (
            f"{self.fault}: {self.seconds:.0f} s, {self.seen.requests} requests, {len(self.others_failed)} failed"
            f" (+ {len(self.seen.failed) - len(self.others_failed)} of {len(self.own)} connections of what was killed,"
            f" {self.seen.redialled} redialled), {len(self.seen.wrong)} wrong;"
            f" p99 {waits[len(waits) * 99 // 100] * 1000:.0f} ms, slowest {waits[-1] * 1000:.0f} ms;"
            f" {self.moved} moves accepted, {self.refused} refused; visible {visible} after;"
            f" unknown hosts: {strangers}; hosts not asked for before: {cold}"
        )


_UNAVAILABLE = "503 resolver_unavailable+Retry-After"
_OF_STRANGERS = {"404 host_not_found", _UNAVAILABLE}
_OF_COLD = {"503 starting+Retry-After", _UNAVAILABLE}


async def _keep_moving(moves: Moves) -> None:
    while True:
        await moves.another()
        await asyncio.sleep(_MOVES)


async def _one(fault: str, scene: Scene, sites: Sequence[Site], visitors: Visitors, moves: Moves) -> Row:
    await all_serve(scene.fleet)
    probes = Probes(scene.fleet)
    await probes.everywhere(sites, 30)
    visitors.seen, scene.own, moves.made, moves.refused = Seen(), set(), 0, 0
    began = time.monotonic()
    moving = asyncio.create_task(_keep_moving(moves))
    await FAULTS[fault](scene)
    over = time.monotonic()
    moving.cancel()
    await asyncio.gather(moving, return_exceptions=True)
    visible: float | None = None
    try:
        async with asyncio.timeout(30):
            await moves.finish()
            await probes.everywhere(sites, 30)
        visible = time.monotonic() - over
    except TimeoutError as error:
        print(f"  {error}")
    probes.close()
    await asyncio.sleep(1)
    return Row(fault, over - began, visitors.seen, set(scene.own), moves.made, moves.refused, visible)


async def _run(fleet: Fleet, wanted: Sequence[str], seconds: float) -> bool:
    cold = [f"cold{number}" for number in range(_COLD)]
    await asyncio.to_thread(lambda: [fleet.resource(slug) for slug in cold])
    good = True
    async with AsyncExitStack() as stack:
        sites = await stack.enter_async_context(fleet.sites(_SITES))
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        visitors = await stack.enter_async_context(Visitors(fleet, sites, each=_EACH, pause=_PAUSE, cold=cold))
        scene, moves = Scene(fleet, visitors, seconds), Moves(fleet, sites, session)
        for fault in wanted:
            row = await _one(fault, scene, sites, visitors, moves)
            print(f"{row} [load {os.getloadavg()[0]:.1f}]", flush=True)
            for wrong in row.faults[:10]:
                print(f"  NOT AS IT SHOULD BE: {wrong}")
            good = good and not row.faults
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each fault lasts")
    parser.add_argument("--only", action="append", choices=list(FAULTS), help="this fault; may be repeated")
    parser.add_argument("--keep", type=Path, help="a folder for the nodes' logs, instead of one that is deleted")
    words = parser.parse_args()
    settings = {"cache__ttl": 2, "cache__unknown_ttl": 1}
    with tempfile.TemporaryDirectory() as name, Fleet(words.keep or Path(name), **settings) as fleet:
        good = asyncio.run(_run(fleet, words.only or list(FAULTS), words.seconds))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
