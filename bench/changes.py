"""From a change to every worker of two nodes: `python -m bench.changes`, two minutes. `--changes 1000 --visitors 8`

A thousand moves, one after the other, through either node's API in turn, while visitors ask for all sites. For each one
a connection to each of the four workers asks for that site until the answer comes from the new place. The time counts
from the moment when the API's call is sent, and from its answer, which is when the platform may rely on it.

Then how many routes all workers dropped, beside how many they should have: each move touches one host, which each worker
knows.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from bench.fleet import Fleet, Moves, Probes, Seen, Site, Visitors, figures
from tests.support.workers import Connection

_SITES = 100
_PAUSE = 0.02  # seconds between the requests of one visitor
WITHIN = 0.050  # seconds, for 99 of 100


async def _until_seen(connection: Connection, site: Site, place: int) -> float:
    """When this worker answered from that place."""
    async with asyncio.timeout(10):
        while await connection.get(site.host) != (200, site.says(place)):
            await asyncio.sleep(0.001)
    return time.perf_counter()


async def _move(moves: Moves, site: Site, connections: Sequence[Connection]) -> tuple[float, float]:
    """Move it; seconds until all have seen it, from the call and from its answer."""
    called = time.perf_counter()
    seen = [asyncio.create_task(_until_seen(one, site, 1 - site.place)) for one in connections]
    if not await moves.move(site):
        sys.exit("a move was refused")
    answered = time.perf_counter()
    last = max(await asyncio.gather(*seen))
    return last - called, max(0.0, last - answered)


def _dropped(fleet: Fleet) -> int:
    """How many routes all processes have dropped so far."""
    return sum(int(sum(figures(node, "routes_dropped_total").values())) for node in fleet.nodes)


def _shown(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = (ordered[len(ordered) * share // 100] * 1000 for share in (50, 99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {ordered[-1] * 1000:.1f} ms"


async def _run(fleet: Fleet, changes: int, each: int) -> bool:
    async with AsyncExitStack() as stack:
        sites = await stack.enter_async_context(fleet.sites(_SITES))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        probes, moves = Probes(fleet), Moves(fleet, sites, session)
        stack.callback(probes.close)
        await probes.everywhere(sites, 30)
        connections = await probes.meet()
        visitors = await stack.enter_async_context(Visitors(fleet, sites, each=each, pause=_PAUSE))
        await asyncio.sleep(2)
        before = await asyncio.to_thread(_dropped, fleet)
        visitors.seen = Seen()
        began = time.monotonic()
        times = [await _move(moves, sites[number % _SITES], connections) for number in range(changes)]
        took = time.monotonic() - began
        await probes.everywhere(sites, 5)
        seen = visitors.seen
        dropped = await asyncio.to_thread(_dropped, fleet) - before
    since_answer = [one for _, one in times]
    print(f"{changes} changes in {took:.0f} s beside {seen.requests} requests [load {os.getloadavg()[0]:.1f}]")
    print(f"  seen by all {len(connections)} workers: from the API's answer {_shown(since_answer)}")
    print(f"  from the call itself, the commit included: {_shown([one for one, _ in times])}")
    print(f"  routes dropped: {dropped}, where {changes * len(connections)} had changed")
    print(f"  {len(seen.failed)} requests failed, {len(seen.wrong)} from a wrong site")
    p99 = sorted(since_answer)[changes * 99 // 100]
    return p99 <= WITHIN and dropped == changes * len(connections) and not seen.failed and not seen.wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--visitors", type=int, default=8, help="at each node")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Fleet(Path(name), cache__ttl=3600, cache__unknown_ttl=3600) as fleet:
        good = asyncio.run(_run(fleet, words.changes, words.visitors))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
