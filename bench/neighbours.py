"""Nobody can hurt a neighbour: `python -m bench.neighbours [--quick] [--only SHAPE] [--peer NAME]`, ten minutes.

A resource that is quiet is asked every five milliseconds, and how long each answer took is noted; beside it another
resource has traffic of one hostile shape for two seconds (`bench/attack.py`). All proxies in the same run, one after the
other: ours, nginx with buffering off, Caddy, haproxy. Each has core 1 to itself; attackers and backends share core 0, where
whoever asks, and the backend that answers, come first. What a request waits for is so the proxy.

Ours runs a second time with two workers and a supervisor: no worker may be taken for hung. Goals, for each shape: the
longest wait no longer than nginx's in this run, and p99 at most 20 ms. The exit status says whether they are met.
"""

import argparse
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from bench import backend
from bench.measure import family, pin
from bench.peers import LIVE, STATIC, Ground, caddy, haproxy, nginx
from tests.support.ports import answers, free_port
from tests.support.processes import Process
from tests.support.router import Router

SHAPES = {
    "nothing": "nothing",
    "one-8": "8 downloads of 1-byte chunks",
    "one-32": "32 downloads of 1-byte chunks",
    "hundred-8": "8 downloads of 100-byte chunks",
    "up-8": "8 uploads of 1-byte chunks",
    "sized-8": "8 sized bodies of 1 GB",
    "ws-8": "8 storms of 1-byte WebSocket frames, both ways",
    "unknown": "10,000 pipelined unknown hosts",
    "bad": "2,000 bad requests at once",
    "slow-200": "200 slow readers of 10 MB",
    "events-32": "32 event streams of 1-byte events",
    "heads-8": "8 clients, answers whose heads all differ",
    "time-out": "3,000 heads that time out in one sweep",
    "resets": "500 resets a second",
    "leave": "1,000 clients that leave at once",
}
_QUICK = ("nothing", "one-8", "up-8", "bad")
_OTHERS = {"nginx": nginx.start_static, "caddy": caddy.start, "haproxy": haproxy.start}
OURS = "miosa-router"
TWO = "miosa-router, 2 workers"
_PROXY_CORE, _LOAD_CORE = 1, 0
_EVERY = 0.005
_BEFORE, _ATTACK = 0.3, 2.0  # seconds
_PATIENCE = 30.0
_P99 = 20.0  # ms


def come_first(pid: int) -> None:
    """Before all else on its core, so that what the machine does besides is not measured. Needs root; does nothing else."""
    with suppress(OSError):
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))


@dataclass
class Contestant:
    name: str
    port: int
    process: Process
    router: Router | None = None

    @property
    def hung(self) -> int:
        """Workers that were killed since they gave no sign of life, or that ended otherwise."""
        said = "" if self.router is None else self.router.output
        return said.count("process not responding") + said.count("restarting process")


class Visitor:
    """Asks for the quiet resource, one request after the other on a connection that is kept."""

    def __init__(self, port: int, end: float) -> None:
        self.waits: list[tuple[float, float]] = []  # when it was due, and how long the answer took
        self.failed = 0
        self._port, self._end = port, end
        self._request = f"GET / HTTP/1.1\r\nHost: {STATIC}\r\n\r\n".encode()

    def run(self) -> None:
        come_first(threading.get_native_id())
        while time.monotonic() < self._end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=_PATIENCE) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while time.monotonic() < self._end:
                    began = time.monotonic()
                    sock.sendall(self._request)
                    got = b""
                    while b"\r\n\r\n" not in got:
                        more = sock.recv(65536)
                        if not more:
                            raise ConnectionResetError
                        got += more
                    if not got.startswith(b"HTTP/1.1 200"):
                        self.failed += 1
                    waited = time.monotonic() - began
                    self.waits.append((began, waited * 1000))
                    time.sleep(max(0.0, _EVERY - waited))
                return
            self.failed += 1


def measure(one: Contestant, shape: str) -> tuple[float, float, int]:
    """(longest wait, p99, failures), the waits in ms from when the attack began."""
    # What was due in a long wait and could not be asked counts as well (no coordinated omission): see below.
    began = time.monotonic() + _BEFORE
    visitor = Visitor(one.port, began + _ATTACK + 0.2)
    thread = threading.Thread(target=visitor.run)
    thread.start()
    time.sleep(_BEFORE)
    command = ["taskset", "-c", str(_LOAD_CORE), "nice", "-n", "5", sys.executable, "-m", "bench.attack", "run"]
    seconds = _ATTACK + (1.0 if shape == "time-out" else 0.0)
    attack = subprocess.Popen([*command, shape, str(one.port), LIVE, str(seconds)])
    thread.join(_PATIENCE + 10)
    attack.wait(_PATIENCE)
    waits = []
    for at, wait in visitor.waits:
        if at + wait / 1000 > began:
            waits += [wait - due for due in range(0, max(1, int(wait)), int(_EVERY * 1000))]
    waits.sort()
    if not waits:
        return _PATIENCE * 1000, _PATIENCE * 1000, visitor.failed + 1
    return waits[-1], waits[len(waits) * 99 // 100], visitor.failed


def start(stack: ExitStack, folder: Path, peers: list[str], *, two: bool) -> list[Contestant]:
    """All that run. The quiet backend and whoever asks come first on their core."""
    quiet, hostile = free_port(), free_port()
    still = stack.enter_context(backend.start(folder, quiet))
    still.until(lambda: answers(quiet))
    loud = stack.enter_context(
        Process(
            ["nice", "-n", "5", sys.executable, "-m", "bench.attack", "serve", str(hostile)],
            folder / "attack.log",
            folder=Path.cwd(),
        )
    )
    loud.until(lambda: answers(hostile))
    for process in (still, loud):
        pin(process.pid, _LOAD_CORE)
    for member in family(still.pid):
        come_first(member)
    found = []
    most = {"limits__connections_per_address": 20_000, "limits__exchanges_per_address": 20_000}
    for name, workers in ((OURS, 1), (TWO, 2)) if two else ((OURS, 1),):
        place = folder / f"ours-{workers}"
        place.mkdir()
        router = Router(
            place,
            access_log=place / "access.log",
            workers=workers,
            limits__exchanges_per_resource=20_000,
            limits__head_time=2,
            limits__drain_requests=0,
            limits__drain_tunnels=0,
            **most,
        )
        router.command("db", "upgrade")
        router.start()
        stack.callback(router.process.stop)
        tenant = router.tenant("Bench")
        router.register(tenant, "bench", quiet)
        router.register(router.tenant("Loud"), "live", hostile)
        found.append(Contestant(name, router.proxy_port, router.process, router))
    for name in peers:
        place = folder / name
        place.mkdir()
        ground = Ground(place, free_port(), quiet, hostile)
        try:
            peer = _OTHERS[name](ground)
            stack.enter_context(peer.process)
            peer.process.until(lambda port=ground.port: answers(port))
        except (OSError, AssertionError) as error:
            print(f"{name} is left out: {str(error).partition(chr(10))[0]}", file=sys.stderr)
            continue
        found.append(Contestant(name, ground.port, peer.process))
    for one in found:
        pin(one.process.pid, _PROXY_CORE)
        for member in family(one.process.pid):
            # Not as above: whoever works without end in that class is stopped for 50 ms of each second.
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, member, -20)
                Path(f"/proc/{member}/autogroup").write_text("-20")
    return found


def main() -> int:
    """Run it; the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", action="append", choices=SHAPES, help="this shape; may be repeated")
    options.add_argument("--peer", action="append", choices=_OTHERS, help="ours and this one; may be repeated")
    options.add_argument("--quick", action="store_true", help="a few shapes beside nginx, in half a minute")
    options.add_argument("--rounds", type=int, default=1, help="the median of so many is shown")
    chosen = options.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    shapes = chosen.only or (list(_QUICK) if chosen.quick else list(SHAPES))
    peers = chosen.peer or (["nginx"] if chosen.quick else list(_OTHERS))
    good = True
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="miosa-neighbours-")))
        found = start(stack, folder, peers, two=not chosen.quick)
        os.sched_setaffinity(0, {_LOAD_CORE})
        print(f"GETs of a quiet resource beside each shape: longest / p99 in ms [load {os.getloadavg()[0]:.1f}]")
        print(f"| | {' | '.join(one.name for one in found)} | goals |")
        print("|---" + "|---:" * len(found) + "|---|")
        for shape in shapes:
            row: dict[str, tuple[float, float, int]] = {}
            for one in found:
                rounds = sorted(measure(one, shape) for _ in range(chosen.rounds))
                row[one.name] = rounds[len(rounds) // 2]
                time.sleep(0.3)
            longest, p99, failed = row[OURS]
            missed = [f"p99 over {_P99:.0f}"] if p99 > _P99 else []
            if "nginx" in row and shape != "time-out" and longest > max(row["nginx"][0], 5.0):
                missed.append("longer than nginx")
            missed += [f"{failed} failed"] if failed else []
            missed += [f"{one.name}: {one.hung} killed" for one in found if one.hung]
            good = good and not missed
            cells = [
                f"{worst:,.0f} / {high:,.0f}" + (f" ({count} failed)" if count else "")
                for worst, high, count in row.values()
            ]
            print(f"| {SHAPES[shape]} | {' | '.join(cells)} | {', '.join(missed) or 'met'} |", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
