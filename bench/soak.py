"""All hostile shapes mixed, for as long as one likes: `python -m bench.soak [--minutes 10] [--seed N]`.

One node of two workers on PostgreSQL and Redis. Three shapes at a time, drawn anew every few seconds (`bench/attack.py`),
while visitors ask for known sites and the sites move. A line a minute says how it goes. At the end, a minute after the last
attack, every gauge must be where it began, no worker may have been killed, and no request for a known site may have
failed. The exit status says so.
"""

import argparse
import asyncio
import http.client
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench import backend
from bench.fleet import figures, serving
from bench.neighbours import SHAPES
from tests.support.ports import answers, free_port
from tests.support.postgres import Postgres
from tests.support.processes import Process, children
from tests.support.redis import Server
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import until

_SITES, _VISITORS = 40, 4
_AT_ONCE, _EACH = 3, 6.0  # attacks at a time, and seconds of each
_PAUSE = 0.02  # seconds between the requests of one visitor
_MOVE = 0.5  # seconds between two sites that move
_PATIENCE = 30.0
_SETTLED = 60.0  # seconds until everything must be as before
_GROWTH = 1.5  # times what a worker had at the beginning, that it may have after the last attack
GAUGES = ("client_connections", "exchanges_in_flight", "exchanges_without_client", "tunnels", "backend_connections")
_HOSTILE = "loud"


@dataclass
class Visits:
    """What all visitors met."""

    requests: int = 0
    failed: list[str] = field(default_factory=list)
    longest: float = 0.0


class Visitor(threading.Thread):
    """Asks for one known site after the other, until `ending`."""

    def __init__(self, port: int, hosts: list[str], visits: Visits, ending: threading.Event) -> None:
        super().__init__(daemon=True)
        self._port, self._hosts, self._visits, self._ending = port, hosts, visits, ending

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE)
        while not self._ending.is_set():
            host = random.choice(self._hosts)
            began = time.monotonic()
            try:
                connection.request("GET", "/", headers={"Host": host})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self._visits.failed.append(f"{host}: {answer.status} {answer.headers.get('X-Miosa-Error', '')}")
            except (OSError, http.client.HTTPException) as error:
                self._visits.failed.append(f"{host}: {error!r}")
                connection.close()
            self._visits.requests += 1
            self._visits.longest = max(self._visits.longest, time.monotonic() - began)
            time.sleep(_PAUSE)
        connection.close()


class Mover(threading.Thread):
    """Says again and again that a site has been started anew, so that its connections are exchanged."""

    def __init__(self, router: Router, resources: list[str], port: int, ending: threading.Event) -> None:
        super().__init__(daemon=True)
        self._router, self._resources, self._port, self._ending = router, resources, port, ending
        self.moves = 0

    def run(self) -> None:
        while not self._ending.wait(_MOVE):
            self.moves += 1
            endpoint = {
                "address": "127.0.0.1",
                "generation": str(self.moves + 1),
                "state": "running",
                "ports": {"3000": self._port},
            }
            self._router.internal("PUT", f"/endpoints/{random.choice(self._resources)}", endpoint)


def gauges(router: Router) -> dict[str, float]:
    """The sums of what must be as it was."""
    return {name: sum(figures(router, name).values()) for name in GAUGES}


def memory(router: Router) -> list[int]:
    """MiB that each process of the node has, the supervisor's first."""
    found = []
    for pid in [router.process.pid, *sorted(children(router.process.pid))]:
        with suppress(OSError):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            found.append(pages * resource.getpagesize() >> 20)
    return found


def killed(router: Router) -> int:
    """Processes of the node that were killed as hung, or ended otherwise than they were told to."""
    return router.output.count("process not responding") + router.output.count("restarting process")


def attack(router: Router, seconds: float) -> list[str]:
    """Some shapes at once, to their end; which."""
    chosen = random.sample([shape for shape in SHAPES if shape != "nothing"], _AT_ONCE)
    host = f"{_HOSTILE}.{PLATFORM_DOMAIN}"
    command = ["nice", "-n", "5", sys.executable, "-m", "bench.attack", "run"]
    running = [subprocess.Popen([*command, shape, str(router.proxy_port), host, str(seconds)]) for shape in chosen]
    for one in running:
        one.wait(seconds + _PATIENCE)
    return chosen


def start(stack: ExitStack, folder: Path) -> tuple[Router, list[str], int]:
    """The node under test, its sites' ids, and their port."""
    postgres = stack.enter_context(Postgres())
    redis = stack.enter_context(Server(folder))
    quiet, hostile = free_port(), free_port()
    stack.enter_context(backend.start(folder, quiet)).until(lambda: answers(quiet))
    command = ["nice", "-n", "5", sys.executable, "-m", "bench.attack", "serve", str(hostile)]
    stack.enter_context(Process(command, folder / "attack.log", folder=Path.cwd())).until(lambda: answers(hostile))
    router = stack.enter_context(
        Router(
            folder,
            database_url=asyncio.run(postgres.create()),
            redis_url=redis.url,
            workers=2,
            access_log=folder / "access.log",
            limits__head_time=2,
            limits__connections_per_address=20_000,
            limits__exchanges_per_address=20_000,
        )
    )
    until(lambda: serving(router) == 2, "two workers serve", 40)
    tenant = router.tenant("Quiet")
    resources = [router.register(tenant, f"site{number}", quiet) for number in range(_SITES)]
    router.register(router.tenant("Loud"), _HOSTILE, hostile)
    return router, resources, quiet


def main() -> int:
    """Run it; the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    random.seed(chosen.seed)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="miosa-soak-")))
        router, resources, quiet = start(stack, folder)
        visits, ending = Visits(), threading.Event()
        hosts = [f"site{number}.{PLATFORM_DOMAIN}" for number in range(_SITES)]
        before, small = gauges(router), memory(router)
        visitors = [Visitor(router.proxy_port, hosts, visits, ending) for _ in range(_VISITORS)]
        mover = Mover(router, resources, quiet, ending)
        for thread in (*visitors, mover):
            thread.start()
        print(f"before: {before}, memory {small} MiB", flush=True)
        end, said, rounds = time.monotonic() + chosen.minutes * 60, time.monotonic(), 0
        while time.monotonic() < end:
            shapes = attack(router, _EACH)
            rounds += 1
            if time.monotonic() - said > 60 or time.monotonic() >= end:
                said = time.monotonic()
                print(
                    f"{rounds} rounds, {visits.requests:,} requests, {len(visits.failed)} failed, longest "
                    f"{visits.longest:.2f} s, {mover.moves} moves, {killed(router)} killed, memory {memory(router)} MiB"
                    f" (last: {', '.join(shapes)})",
                    flush=True,
                )
        ending.set()
        for thread in (*visitors, mover):
            thread.join(_PATIENCE)
        patience = time.monotonic() + _SETTLED
        while (after := gauges(router)) != before and time.monotonic() < patience:
            time.sleep(1)
        large = memory(router)
        print(f"after: {after}, memory {large} MiB")
        wrong = [f"{name} is {after[name]:g}, was {before[name]:g}" for name in GAUGES if after[name] != before[name]]
        wrong += [f"{len(visits.failed)} requests failed: {visits.failed[:5]}"] if visits.failed else []
        wrong += [f"{killed(router)} processes were killed"] if killed(router) else []
        wrong += [
            f"a process has {now} MiB, had {then}"
            for then, now in zip(small, large, strict=False)
            if now > then * _GROWTH + 32
        ]
        print("; ".join(wrong) or "everything is as it was")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
