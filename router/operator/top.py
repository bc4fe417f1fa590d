"""`top`: what this node carries now, of all its processes: rates of the last seconds, and what is open."""

import socket
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

from aiohttp import web

from router.base.clock import Clock
from router.operator.processes import Asked, Processes
from router.operator.rates import MAX_SHOWN, MAX_WINDOW, OTHERS, Count
from router.operator.server import Call, OperatorRoute, answer
from router.records.totals import percentile

DEFAULT_WINDOW: Final = 5

Gauge = Callable[[str], float | Mapping[str, float] | None]


class Top:
    """`gauge` reads a gauge of the control process by its name; None where it has none such."""

    def __init__(self, processes: Processes, gauge: Gauge, clock: Clock) -> None:
        self._processes = processes
        self._clock = clock
        self._gauge = gauge

    def routes(self) -> list[OperatorRoute]:
        """What the sockets answer."""
        return [OperatorRoute("GET", "/v1/top", self._top)]

    async def _top(self, call: Call) -> web.StreamResponse:
        asked = await self._processes.ask("top", window=call.number("window", DEFAULT_WINDOW, 1, MAX_WINDOW))
        return answer(document(asked, self._gauge, at=self._clock.now().timestamp()))


def document(asked: Asked, gauge: Gauge, *, at: float) -> dict[str, Any]:
    """What `top` shows, made of the answers of the processes that carry traffic."""
    found = [(one.process, one.value) for one in asked.answers]
    seconds = max((value["seconds"] for _, value in found), default=0)
    refused: dict[str, int] = {}
    for _, value in found:
        for code, number in value["refused"].items():
            refused[code] = refused.get(code, 0) + number
    known = sum(value["found"] for _, value in found)
    resolved = known + sum(value["looked_up"] for _, value in found)
    return {
        "node": socket.gethostname(),
        "version": version("miosa-router"),
        "at": round(at, 3),
        "seconds": seconds,
        "total": {
            **_rates(_summed([value["all"] for _, value in found]), seconds),
            **_now([value["now"] for _, value in found]),
            "cache_hit_share": round(known / resolved, 4) if resolved else None,
        },
        "workers": [
            {"worker": number, **_rates(Count.of(value["all"]), value["seconds"]), **_now([value["now"]])}
            for number, value in found
        ],
        "silent": asked.silent,
        "hosts": [{"host": name or None, **rates} for name, rates in _busiest([v["hosts"] for _, v in found], seconds)],
        "resources": [
            dict(zip(("resource_id", "slug", "tenant_id"), name.split(" "), strict=True)) | rates
            for name, rates in _busiest([v["resources"] for _, v in found], seconds)
            if name != OTHERS
        ],
        "refusals": [
            {"code": code, "per_second": _per_second(number, seconds)}
            for code, number in sorted(refused.items(), key=lambda one: -one[1])
        ],
        "stores": _stores(gauge),
        "certificates": _certificates(gauge),
    }


def _summed(rows: list[list[Any]]) -> Count:
    total = Count()
    for row in rows:
        total.add(Count.of(row))
    return total


def _busiest(answers: list[list[list[Any]]], seconds: int) -> list[tuple[str, dict[str, Any]]]:
    counts: dict[str, Count] = {}
    for rows in answers:
        for name, *row in rows:
            counts.setdefault(name, Count()).add(Count.of(row))
    busiest = sorted(counts.items(), key=lambda one: (-one[1].requests, one[0]))[:MAX_SHOWN]
    return [(name, _rates(count, seconds)) for name, count in busiest]


def _rates(count: Count, seconds: int) -> dict[str, Any]:
    return {
        "requests_per_second": _per_second(count.requests, seconds),
        "errors_per_second": _per_second(count.errors, seconds),
        "client_errors_per_second": _per_second(count.client_errors, seconds),
        "bytes_in_per_second": _per_second(count.received, seconds),
        "bytes_out_per_second": _per_second(count.sent, seconds),
        "p50_ms": percentile(count.buckets, 0.5) if count.buckets else None,
        "p99_ms": percentile(count.buckets, 0.99) if count.buckets else None,
    }


def _per_second(number: int, seconds: int) -> float:
    return round(number / seconds, 2) if seconds else 0.0


def _now(gauges: list[Mapping[str, float]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in gauges:
        for name, value in one.items():
            total[name] = total.get(name, 0) + int(value)
    return total


def _stores(gauge: Gauge) -> dict[str, bool | None]:
    """Whether each can be used; None where there is none, or nobody has looked."""
    names = {"database": "store_available", "redis": "redis_available", "bus": "bus_connected"}
    values = {name: gauge(metric) for name, metric in names.items()}
    return {name: bool(value) if isinstance(value, int | float) else None for name, value in values.items()}


def _certificates(gauge: Gauge) -> dict[str, int | None]:
    """How many are in each state that wants something done; as counted every five minutes."""
    states = gauge("certificates")
    found: dict[str, int | None] = {
        state: int(states.get(state, 0)) if isinstance(states, Mapping) else None
        for state in ("expiring", "expired", "failed", "rate_limited")
    }
    in_flight = gauge("certificates_in_flight")
    return found | {"in_flight": int(in_flight) if isinstance(in_flight, int | float) else None}
