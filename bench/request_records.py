"""What request records cost: `python -m bench.request_records [--records N]`

First what whoever carries traffic pays: a small GET through our own code, as in `bench.instructions`, without records, with them
packed and handed over in the process, and with them packed and sent as a worker does, in turns. Then what the process that
keeps them pays: to read packs, and to store what is in them in SQLite. CPU time, the least of many rounds.

With `--load` a whole node: 2,000 recorded requests a second for ten minutes, or `--seconds N --rate N`: loss, bounds, p99 (`record_load.py`).
"""

import argparse
import asyncio
import math
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench import record_load
from bench.instructions import _ANSWER, _COUNTED, _TEMPLATES, Rig, _heads
from router.base.clock import SystemClock
from router.node.ipc.messages import records_line
from router.node.processes.garbage_collection import TRAFFIC, tune_gc
from router.node.record_keeping import packing_to
from router.records.packing import FORM, pack
from router.records.reading import PackReader
from router.records.record import Row
from router.routes.route import Route
from router.settings import Records
from router.store.request_records_sqlite import SqliteRecords
from tests.support.ended import ended, route

_KERNEL = 14.0  # µs of a small GET that are the kernel's and the event loop's (bench/README.md)
_ROUNDS = 40
_PACKS_AT_ONCE = 16  # of 64 records: half a second of 2,000 requests per second
_TENANTS, _RESOURCES = 20, 200


def _carrying() -> None:
    ways: dict[str, Callable[[bytes], object] | None] = {
        "without records": None,
        "packed": lambda _: None,
        "packed and sent": partial(records_line, FORM),
    }
    with tempfile.TemporaryDirectory(prefix="miosa-bench-") as folder:
        rigs = {}
        for name, take in ways.items():
            consumers = [] if take is None else [packing_to(take)]
            rigs[name] = Rig(Path(folder) / f"{len(rigs)}.log", private=False, consumers=consumers)
            asyncio.run(rigs[name].warm_up())
        tune_gc(TRAFFIC)
        requests = _heads(_TEMPLATES["browser"], _COUNTED)
        least = dict.fromkeys(ways, math.inf)
        for _ in range(_ROUNDS):
            for name, rig in rigs.items():
                begun = time.process_time()
                rig.run(requests, _ANSWER)
                least[name] = min(least[name], (time.process_time() - begun) / _COUNTED * 1e6)
    base = least["without records"]
    for name, figure in least.items():
        whole = (figure + _KERNEL) / (base + _KERNEL)
        print(f"{name:18} {figure:6.2f} µs of our code  +{figure - base:.2f} µs  {whole:.3f} × a small GET")


def _routes() -> list[Route]:
    found = []
    for number in range(_RESOURCES):
        one = route(f"box{number}")
        assert one.resource is not None
        tenant = str(uuid.UUID(int=number % _TENANTS + 1))
        one.resource = replace(one.resource, id=str(uuid.uuid4()), tenant_id=tenant)
        found.append(one)
    return found


def _packs(records: int) -> list[bytes]:
    routes = _routes()
    made = []
    for begun in range(0, records, 64):
        batch = [
            ended(id=uuid.uuid4().hex.encode(), route=routes[n % _RESOURCES], target=b"/api/users/%d/posts?x=1" % n)
            for n in range(begun, begun + 64)
        ]
        made.append(pack(batch))
    return made


async def _keeping(records: int) -> None:
    packs = _packs(records)
    clock = SystemClock()
    reading = storing = math.inf
    with tempfile.TemporaryDirectory(prefix="miosa-bench-") as folder:
        file = Path(folder) / "requests"
        store = SqliteRecords(file, Records(), clock)
        reader = PackReader(10**7)
        for place in range(0, len(packs) - _PACKS_AT_ONCE + 1, _PACKS_AT_ONCE):
            rows: list[Row] = []
            now = clock.now().timestamp()
            begun = time.process_time()
            for one in packs[place : place + _PACKS_AT_ONCE]:
                reader.read(one, now, now, rows)
            reading = min(reading, (time.process_time() - begun) / len(rows))
            totals = reader.counting.take_changed(int(now * 1e6)) if place % (10 * _PACKS_AT_ONCE) == 0 else []
            begun = time.process_time()
            await store.append(rows, totals)
            storing = min(storing, (time.process_time() - begun) / len(rows))
        await store.close()
        size = file.stat().st_size / (len(packs) * 64)
    print(f"read {reading * 1e6:.1f} µs, store {storing * 1e6:.1f} µs a record; {size:.0f} bytes a record in the file")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--load", action="store_true", help="a node under load instead: bench/record_load.py")
    record_load.add_words(parser)
    chosen = parser.parse_args()
    if chosen.load:
        record_load.measure(chosen)
        return
    _carrying()
    asyncio.run(_keeping(chosen.records))


if __name__ == "__main__":
    main()
