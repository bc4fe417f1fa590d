"""The bench: us and others on the same work in one run, interleaved. `python -m bench.run --quick`

The figure is the proxy's CPU time per request, user and system of all its processes: it holds from run to run on a
shared machine, and requests per second follow from it. Proxies have one core to themselves, load and backend the
other. Ours runs as `serve` with everything on: access log to a file, metrics, limits, deadlines.
"""

import argparse
import shutil
import socket
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Load, cpu_seconds, pin, wrk
from bench.peers import caddy, nginx
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.router import PLATFORM_DOMAIN, Router

_PROXY_CORE, _LOAD_CORE = 1, 0


@dataclass
class Contestant:
    """A proxy under test, and what its rounds gave: CPU microseconds per request, requests per second."""

    name: str
    port: int
    process: Process
    cpu: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    failed: int = 0

    def round(self, host: str, connections: int, seconds: int) -> None:
        before = cpu_seconds(self.process.pid)
        load: Load = wrk(
            f"http://127.0.0.1:{self.port}/", host, connections=connections, seconds=seconds, core=_LOAD_CORE
        )
        self.cpu.append((cpu_seconds(self.process.pid) - before) / load.requests * 1e6)
        self.rate.append(load.per_second)
        self.failed += load.failed


def _listens(port: int) -> Callable[[], bool]:
    def check() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return check


def _contestants(stack: ExitStack, folder: Path) -> tuple[str, list[Contestant]]:
    backend = free_port()
    program = stack.enter_context(
        Process([sys.executable, Path(__file__).with_name("backend.py"), str(backend)], folder / "backend.log")
    )
    program.until(_listens(backend))
    pin(program.pid, _LOAD_CORE)
    router = stack.enter_context(Router(folder, access_log=folder / "access.log", limits__drain_requests=0))
    router.register(router.tenant("Bench"), "bench", backend)
    found = [Contestant("miosa-router", router.proxy_port, router.process)]
    for name, start in (("nginx", nginx.start), ("caddy", caddy.start)):
        if name == "nginx" and shutil.which("nginx") is None:
            print("nginx is not installed: left out")
            continue
        port = free_port()
        process = stack.enter_context(start(folder, port, backend))
        process.until(_listens(port))
        found.append(Contestant(name, port, process))
    for contestant in found:
        pin(contestant.process.pid, _PROXY_CORE)
    return f"3000-bench.sandbox.{PLATFORM_DOMAIN}", found


def _table(contestants: list[Contestant], connections: int) -> str:
    ours = statistics.median(contestants[0].cpu)
    rows = [f"small GET, {connections} connections", f"{'':14}{'CPU µs/request':>20}{'requests/s':>12}{'ours ÷':>9}"]
    for one in contestants:
        median = statistics.median(one.cpu)
        spread = f"{median:.1f} ({min(one.cpu):.1f}–{max(one.cpu):.1f})"
        failed = f"  {one.failed} failed" if one.failed else ""
        rows.append(f"{one.name:14}{spread:>20}{statistics.median(one.rate):>12.0f}{ours / median:>9.2f}{failed}")
    return "\n".join(rows)


def main() -> int:
    """Run the bench; the exit status."""
    options = argparse.ArgumentParser(description="CPU time per request, ours against others in one run.")
    options.add_argument("--quick", action="store_true", help="one scenario, under a minute")
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=int, default=2, help="per contestant and round")
    chosen = options.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is not installed; on Debian: apt-get install wrk", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="miosa-bench-")))
        host, contestants = _contestants(stack, folder)
        for number in range(chosen.rounds + 1):
            for contestant in contestants:
                contestant.round(host, chosen.connections, chosen.seconds if number else 1)
                if number == 0:  # warm-up
                    contestant.cpu.clear()
                    contestant.rate.clear()
            print(f"round {number} of {chosen.rounds}", file=sys.stderr)
        print(_table(contestants, chosen.connections))
    return 0


if __name__ == "__main__":
    sys.exit(main())
