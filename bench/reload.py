"""Rolling reloads under load: what breaks? `python -m bench.reload [--reloads 20] [--requests 100000] [--sockets 200]`

A node of two workers; kept-alive connections ask, each 20 ms after its last answer, while SIGHUP after SIGHUP replaces every process, each
as soon as the one before is done. WebSockets that were open before the first reload say something after each. The run
goes on until there were so many reloads and so many requests.
"""

import argparse
import asyncio
import re
import signal
import statistics
import tempfile
import time
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from tests.support.backends import Backend, Visit
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import eventually
from tests.support.workers import Traffic


async def _hello(visit: Visit) -> None:
    await visit.answer(b"hello")


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def _all_echo(sockets: list[ClientConnection]) -> int:
    """How many still answer."""

    async def answers(one: ClientConnection) -> bool:
        await one.send("still here")
        return await asyncio.wait_for(one.recv(), 10) == "still here"

    results = await asyncio.gather(*map(answers, sockets), return_exceptions=True)
    return sum(result is True for result in results)


async def _run(router: Router, reloads: int, requests: int, count: int, drain: float) -> bool:
    tenant = await asyncio.to_thread(router.tenant, "Bench")
    took: list[float] = []
    alive: list[int] = []
    async with Backend(_hello) as backend, serve(_echo, "127.0.0.1", 0) as echo:
        await asyncio.to_thread(router.register, tenant, "hello", backend.port)
        await asyncio.to_thread(router.register, tenant, "echo", echo.sockets[0].getsockname()[1])
        uri = f"ws://echo.{PLATFORM_DOMAIN}/"
        sockets = [
            await connect(uri, host="127.0.0.1", port=router.proxy_port, proxy=None, ping_interval=None)
            for _ in range(count)
        ]
        started = time.monotonic()
        async with Traffic(router.proxy_port, f"hello.{PLATFORM_DOMAIN}", 16, pause=0.02) as traffic:
            for number in range(1, reloads + 1):
                begun = time.monotonic()
                router.process.signal(signal.SIGHUP)
                await eventually(lambda n=number: router.process.output.count('"reloaded"') == n, "a reload", 120)
                took.append(time.monotonic() - begun)
                if time.monotonic() - started < drain:
                    alive.append(await _all_echo(sockets))
                print(f"reload {number}: {took[-1]:.1f} s, {traffic.answers.total()} answers so far")
            await eventually(lambda: traffic.answers.total() >= requests, "enough requests", 600)
        seconds = time.monotonic() - started
        ended = await asyncio.gather(*(asyncio.wait_for(one.wait_closed(), drain + 30) for one in sockets))
        codes = {one.close_code for one in sockets}
    await eventually(lambda: backend.open == 0, "the backend's connections are closed")
    errors = re.findall(r'^.*"level": "error".*$', router.process.output, re.MULTILINE)
    print(f"{reloads} reloads in {seconds:.0f} s, median {statistics.median(took):.2f} s each")
    print(f"{traffic.answers.total()} requests ({dict(traffic.answers)}), {len(traffic.failures)} failed")
    print(
        f"{count} WebSockets: {min(alive, default=0)} answered after each of {len(alive)} reloads before the drain limit"
    )
    print(f"{len(ended)} ended at the limit of {drain:g} s, with codes {sorted(map(str, codes))}")
    print(f"{len(errors)} errors in the log")
    for failure in traffic.failures[:10]:
        print(" failed:", failure)
    for error in errors[:10]:
        print(" ", error)
    return not traffic.failures and not errors and min(alive, default=count) == count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--sockets", type=int, default=200)
    parser.add_argument("--drain", type=float, default=300.0, help="drain_tunnels, in seconds")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        limits = {"limits__drain_requests": 30, "limits__drain_tunnels": wanted.drain}
        with Router(Path(name), workers=2, access_log="", **limits) as router:
            clean = asyncio.run(_run(router, wanted.reloads, wanted.requests, wanted.sockets, wanted.drain))
    raise SystemExit(0 if clean else 1)


if __name__ == "__main__":
    main()
