"""What it costs to observe a small GET: metrics, access log and request records together are to take at most 5 % of its CPU time.

    python -m bench.observing              CPU time, the least of many rounds in turns; on a quiet machine, compiled
    python -m bench.observing --opcodes    the interpreter's instructions of our own code, nearly the same on any machine
    python -m bench.observing --valgrind   the processor's instructions of our own code; some minutes

As in `bench.instructions`: the real connections, pool and recorder between transports that throw away what they are given. A
whole GET has the kernel's and the event loop's part besides, which no part of observing touches; what is written to the log's
file is in neither. The first way has a recorder that hands batches to nobody but the gate's evidence.
"""

import argparse
import asyncio
import math
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.instructions import _ANSWER, _COUNTED, _TEMPLATES, Rig, _heads, opcodes
from bench.request_records import _KERNEL
from router.node.ipc.messages import records_line
from router.node.processes.garbage_collection import TRAFFIC, tune_gc
from router.node.record_keeping import packing_to
from router.records.packing import FORM

_GOAL = 0.05  # of the CPU time of a small GET
_ROUNDS = 60
_TRACED = 640  # requests whose opcodes are counted


@dataclass(frozen=True)
class Way:
    """What of observing is on."""

    counted: bool
    logged: bool
    recorded: bool

    def rig(self, folder: Path) -> Rig:
        log = folder / "access.log" if self.logged else None
        consumers = [packing_to(partial(records_line, FORM))] if self.recorded else []
        rig = Rig(log, private=False, consumers=consumers, counted=self.counted)
        asyncio.run(rig.warm_up())
        return rig


WAYS = {
    "nothing": Way(counted=False, logged=False, recorded=False),
    "metrics": Way(counted=True, logged=False, recorded=False),
    "metrics, log": Way(counted=True, logged=True, recorded=False),
    "metrics, log, records": Way(counted=True, logged=True, recorded=True),
}


def _times(folder: Path) -> dict[str, float]:
    """Microseconds of CPU time of a request in each way, in turns, so that none has the quieter moment."""
    rigs = {name: way.rig(folder) for name, way in WAYS.items()}
    requests = _heads(_TEMPLATES["browser"], _COUNTED)
    tune_gc(TRAFFIC)
    least = dict.fromkeys(WAYS, math.inf)
    for _ in range(_ROUNDS):
        for name, rig in rigs.items():
            begun = time.process_time()
            rig.run(requests, _ANSWER)
            least[name] = min(least[name], (time.process_time() - begun) / _COUNTED * 1e6)
    return least


def _opcodes(folder: Path) -> dict[str, float]:
    found = {}
    for name, way in WAYS.items():
        rig = way.rig(folder)
        rig.run(_heads(_TEMPLATES["browser"], _COUNTED), _ANSWER)  # what is remembered is warm
        found[name] = opcodes(rig, _heads(_TEMPLATES["browser"], _TRACED)).total() / _TRACED
    return found


def _processor(name: str) -> float:
    """Instructions per request: the difference between two runs under valgrind, of which one has more requests."""

    def counted(requests: int) -> int:
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-m"]
        command += ["bench.observing", "--way", name, "--only", str(requests)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
        return int(re.findall(r"Collected : (\d+)", done.stderr)[0])

    return (counted(3 * _COUNTED) - counted(_COUNTED)) / (2 * _COUNTED)


def _show(found: dict[str, float], unit: str, beside: float) -> float:
    """Print each way; the share that all of observing has of a request, with what the kernel takes `beside` it."""
    base = found["nothing"]
    for name, figure in found.items():
        print(f"{name:22} {figure:10.2f} {unit}  +{figure - base:.2f}  {(figure - base) / (base + beside):.1%}")
    return (found["metrics, log, records"] - base) / (base + beside)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opcodes", action="store_true", help="the interpreter's instructions")
    parser.add_argument("--valgrind", action="store_true", help="the processor's instructions")
    parser.add_argument("--way", choices=sorted(WAYS), help="for --only")
    parser.add_argument("--only", type=int, metavar="N", help="do that many requests in one way and measure nothing")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="miosa-bench-") as folder:
        if chosen.only:
            rig = WAYS[chosen.way].rig(Path(folder))
            tune_gc(TRAFFIC)
            rig.run(_heads(_TEMPLATES["browser"], chosen.only), _ANSWER)
        elif chosen.opcodes:
            _show(_opcodes(Path(folder)), "opcodes", 0.0)
        elif chosen.valgrind:
            _show({name: _processor(name) for name in WAYS}, "instructions", 0.0)
        else:
            share = _show(_times(Path(folder)), "µs of our code", _KERNEL)
            print(
                f"all of it: {share:.1%} of a small GET with {_KERNEL:g} µs of the kernel's; at most {_GOAL:.0%} wanted"
            )
            sys.exit(share > _GOAL)


if __name__ == "__main__":
    main()
