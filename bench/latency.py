"""The scenario of a constant rate far below any limit: how late responses are. `--minutes 10` of it for ours and nginx."""

import math
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bench.load import steady
from bench.peers import STATIC
from bench.results import Table
from bench.scenarios import Bench
from bench.stage import OURS, Contestant
from tests.support.router import Router

RATE = 2000
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
_TURN = 30  # seconds of one contestant, where it is minutes
_DIRECT_EVERY = 5  # turns there are one of no proxy, which is only the ground that the others stand on
_SCRAPE = 10.0  # seconds between two readings of the metrics


def quantile(times: Counter[int], share: float) -> float:
    """Milliseconds that this share of requests took at most, of counts by tens of microseconds."""
    wanted = math.ceil(times.total() * share)
    for bucket in sorted(times):
        wanted -= times[bucket]
        if wanted <= 0:
            return bucket / 100
    raise ValueError("no request was answered")


def steady_rate(bench: Bench) -> None:
    """Rounds of two seconds, or turns of half a minute until each has had its minutes."""
    long = bench.minutes > 0
    words = f", {bench.minutes:g} minutes each" if long else ""
    table = bench.results.table("steady", f"latency at {RATE:,} requests a second, 64 connections{words}", "request")
    table.notes.append("Each request counts from when it was due, whatever those before it did (bench/rate.py).")
    if long:
        table.notes.append(
            f"In turns of {_TURN} s, the quantiles of all of them together; no proxy has one turn in {_DIRECT_EVERY}. Our metrics are read every {_SCRAPE:g} s;"
            " the access log, activity and sweeps go on as they do in life."
        )
    contestants = bench.contestants(OURS, "nginx", "direct") if long else bench.contestants()
    turns = math.ceil(bench.minutes * 60 / _TURN) if long else bench.rounds
    all_times: dict[str, Counter[int]] = {one.name: Counter() for one in contestants}
    with _scraped(bench.stage.router, on=long):
        for number in range(turns + 1):
            for one in contestants:
                if long and one.process is None and number % _DIRECT_EVERY:
                    continue
                times = _turn(table, one, (_TURN if long else 2 * bench.seconds) if number else 1, counts=number > 0)
                if number == 0:
                    continue
                all_times[one.name] += times
                if not long:
                    for name, share in QUANTILES.items():
                        table.add(one.name, name, quantile(times, share))
    if long:
        for who, times in all_times.items():
            for name, share in QUANTILES.items():
                table.add(who, name, quantile(times, share))


def _turn(table: Table, one: Contestant, seconds: int, *, counts: bool) -> Counter[int]:
    before = one.cpu()
    found = steady(one.port, STATIC, rate=RATE, seconds=seconds)
    if counts:
        table.fail(one.name, int(found["failed"]))
        if before is not None:
            table.add(one.name, "cpu", ((one.cpu() or 0) - before) / found["done"] * 1e6)
    return Counter({int(bucket): count for bucket, count in found["times"].items()})


@contextmanager
def _scraped(router: Router, *, on: bool) -> Iterator[None]:
    """Somebody reads the metrics meanwhile, as Prometheus does."""
    ended = threading.Event()

    def scrape() -> None:
        while not ended.wait(_SCRAPE):
            with suppress(OSError):
                router.get_admin("/metrics")

    thread = threading.Thread(target=scrape, daemon=True)
    if on:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if on:
            thread.join(2 * _SCRAPE)
