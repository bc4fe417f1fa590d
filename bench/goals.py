"""The goals, each as a ratio within one run where it can be one, and whether a run meets them."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.many_hosts import PER_HOST
from bench.results import Results, number
from bench.stage import OURS

Figure = Callable[[Results], float | None]


@dataclass(frozen=True, slots=True)
class Goal:
    """Met where the figure is at most `most`, or at least `least`."""

    what: str
    figure: Figure
    most: float | None = None
    least: float | None = None
    unit: str = "×"

    def judge(self, results: Results) -> dict[str, str]:
        bound = f"≤ {self.most}" if self.most is not None else f"≥ {self.least}"
        value = self.figure(results)
        row = {"goal": self.what, "bound": f"{bound} {self.unit}", "figure": "not measured", "met": "–"}
        if value is not None:
            met = value <= self.most if self.most is not None else value >= (self.least or 0)
            row |= {"figure": f"{number(value)} {self.unit}", "met": "met" if met else "not met"}
        return row


def _cpu(scenario: str, peer: str) -> Figure:
    """Our CPU time per unit over a peer's."""

    def figure(results: Results) -> float | None:
        ours, its = results.median(scenario, OURS, "cpu"), results.median(scenario, peer, "cpu")
        return None if ours is None or not its else ours / its

    return figure


def _memory_over(scenario: str, peer: str) -> Figure:
    """Our memory per unit over a peer's."""

    def figure(results: Results) -> float | None:
        ours, its = results.median(scenario, OURS, "memory"), results.median(scenario, peer, "memory")
        return None if ours is None or not its else ours / its

    return figure


def _way(name: str) -> Figure:
    """Our CPU time per request to a private preview by that way over that of a public one."""

    def figure(results: Results) -> float | None:
        its, public = results.median("private", name, "cpu"), results.median("private", OURS, "cpu")
        return None if its is None or not public else its / public

    return figure


def _grows(scenario: str) -> Figure:
    """Our CPU time per request over that of the 32 connections."""

    def figure(results: Results) -> float | None:
        more, base = results.median(scenario, OURS, "cpu"), results.median("get-32", OURS, "cpu")
        return None if more is None or not base else more / base

    return figure


def _later(quantile: str, peer: str) -> Figure:
    """Our time at the steady rate less a peer's."""

    def figure(results: Results) -> float | None:
        ours, its = results.median("steady", OURS, quantile), results.median("steady", peer, quantile)
        return None if ours is None or its is None else ours - its

    return figure


def _own(scenario: str, figure: str, who: str = OURS) -> Figure:
    return lambda results: results.median(scenario, who, figure)


GOALS = (
    Goal("visitors: CPU over nginx + Lua", _cpu("visitors", "nginx+lua"), most=1.0),
    Goal("visitors: CPU over static nginx", _cpu("visitors", "nginx"), most=1.3),
    Goal("small GET, 32 connections: CPU over nginx + Lua", _cpu("get-32", "nginx+lua"), most=1.0),
    Goal("small GET, 32 connections: CPU over static nginx", _cpu("get-32", "nginx"), most=1.3),
    Goal("small GET, 32 connections: CPU over Caddy", _cpu("get-32", "caddy"), most=0.30),
    Goal("small GET, 32 connections: CPU over an aiohttp proxy", _cpu("get-32", "aiohttp"), most=0.15),
    Goal("p50 at 2,000 requests/s over direct", _later("p50", "direct"), most=0.15, unit="ms"),
    Goal("p99 at 2,000 requests/s over direct", _later("p99", "direct"), most=0.5, unit="ms"),
    Goal("p99 at 2,000 requests/s over nginx", _later("p99", "nginx"), most=0.1, unit="ms"),
    Goal("p99.9 at 2,000 requests/s over nginx", _later("p99.9", "nginx"), most=0.1, unit="ms"),
    Goal("512 connections: CPU over 32", _grows("get-512"), most=1.15),
    Goal("Zipf over 10,000 hosts: CPU over nginx with an upstream per host", _cpu("zipf", PER_HOST), most=1.3),
    Goal("new connection per request: CPU over haproxy", _cpu("new-connection", "haproxy"), most=1.2),
    Goal("16 chunks of 1 KiB: CPU over nginx", _cpu("chunked", "nginx"), most=1.0),
    Goal("16 chunks of 1 KiB: CPU over haproxy", _cpu("chunked", "haproxy"), most=1.3),
    Goal(
        "a private preview, by the cookie of a link: CPU over a public one", _way("by the cookie of a link"), most=1.15
    ),
    Goal("1 MiB down: CPU over haproxy", _cpu("1m-down", "haproxy"), most=1.0),
    Goal("1 MiB up: CPU over haproxy", _cpu("1m-up", "haproxy"), most=1.0),
    Goal("100 MiB down: CPU over haproxy", _cpu("100m-down", "haproxy"), most=0.7),
    Goal("WebSocket echo of 64 bytes: CPU over Caddy", _cpu("echo", "caddy"), most=0.5),
    Goal("WebSocket echo of 64 bytes: CPU over haproxy", _cpu("echo", "haproxy"), most=0.95),
    Goal("an idle tunnel: router memory", _own("tunnels", "memory"), most=4.0, unit="KiB"),
    Goal("an idle client that keeps its connection: memory over nginx's", _memory_over("clients", "nginx"), most=2.0),
    Goal("two workers: throughput over one", _own("two-workers", "ratio"), least=1.7),
    Goal("a worker at its start: RSS", _own("idle", "rss", "worker of two"), most=42.0, unit="MiB"),
    *(
        Goal(f"at rest, {which}: of a core", _own("rest", "share", f"{OURS}, {which}"), most=0.3, unit="%")
        for which in ("one process", "two workers")
    ),
    *(
        Goal(f"from start to ready, {which}", _own("ready", "ready", f"{OURS}, {which}"), most=0.8, unit="s")
        for which in ("one process", "two workers")
    ),
    Goal("memory a minute after 2,000 slow readers, over that before", _own("slow-readers", "later"), most=1.2),
    Goal("ask: CPU per answer", _own("ask", "cpu"), most=60.0, unit="µs"),
)
