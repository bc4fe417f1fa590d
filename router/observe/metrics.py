"""The numbers behind the metrics of `metric_table.py`.

The data plane cannot pay a lock and a method call per observation, so the numbers are plain integers in dictionaries,
added to in batches by the recorder, and prometheus_client only writes them out (`merged_metrics.py`). All of it happens
on one event loop, so nothing is locked.

A label value outside its closed set is a bug of ours and shows up as `other`: observing must not break what it observes.
"""

import platform
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from router.base.version import installed_version
from router.observe.access import resolution_source
from router.observe.ended_exchange import Finished
from router.observe.figures import Figures
from router.observe.metric_table import BOUNDS, PREFIX, STATUS_CLASSES, TABLE, Row
from router.observe.process_figures import process_figures
from router.observe.trace_context import trace_id_of

OTHER = "other"

Exemplar = tuple[str, str, float, float]  # request id, trace id or empty, seconds, monotonic instant of the end

_MAX_EXEMPLAR: Final = (
    100  # characters of a request id; OpenMetrics allows 128 for the labels of an exemplar with their names
)

TenantCounts = Mapping[str, Mapping[str, int]]  # of each tenant that is shown, by the name of the metric

GaugeCallback = Callable[[], float | Mapping[str, float]]


TRAFFIC: Final = ("client_connections", "exchanges_in_flight", "tunnels", "requests_waiting", "requests_held")


class _Histogram:
    """Counts per bucket (not cumulative) and the sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add_one(self, seconds: float) -> None:
        bucket = 0
        for (
            bound
        ) in self.bounds:  # most are in one of the first, which is found so before `bisect` has read its arguments
            if seconds <= bound:
                break
            bucket += 1
        self.counts[bucket] += 1
        self.total += seconds

    def add(self, other: "_Histogram") -> None:
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def buckets(self) -> list[tuple[str, float]]:
        cumulative, running = [], 0
        names = (*[str(bound) for bound in self.bounds], "+Inf")
        for name, count in zip(names, self.counts, strict=True):
            running += count
            cumulative.append((name, float(running)))
        return cumulative


class Metrics:
    """The numbers of one process. `worker` is its number, where there are several, and becomes a label. `version` is the program's, where it is known."""

    def __init__(self, worker: int | None = None, version: str | None = None) -> None:
        self._worker = {} if worker is None else {"worker": str(worker)}
        self._counts: dict[str, dict[tuple[str, ...], int]] = {
            row.name: _zeros(row) for row in TABLE if row.kind == "counter"
        }
        self._histograms = {
            row.name: defaultdict[str, _Histogram](partial(_Histogram, row.bounds))
            for row in TABLE
            if row.kind == "histogram"
        }
        for row in TABLE:
            if row.kind == "histogram" and not row.labels:  # as `_zeros`: what was never observed is 0, and not unknown
                self._histograms[row.name][""] = _Histogram(row.bounds)
        self._gauges: dict[str, GaugeCallback] = {}
        self._tenants: Callable[[], TenantCounts] | None = None
        self._exemplars: dict[tuple[str, str, int], Exemplar] = {}  # by metric, label and bucket
        self._epoch: Callable[[], float] | None = None
        self._build = (version or installed_version(), platform.python_version())

    def exchange(self, batch: Sequence[Finished]) -> None:
        """Count exchanges that have ended."""
        ended: dict[tuple[str, int, str], int] = {}
        known_from: dict[tuple[str, bool], int] = {}
        durations, first_bytes = self._histograms["exchange_seconds"], self._histograms["first_byte_seconds"]
        received = sent = retries = 0
        longest, slowest_level = -1.0, ""
        slowest: Finished | None = None
        # As in the access line: what depends on the route only is often still right. And most end as the one before did.
        last: object = self
        level, source = "none", ""
        alike, same_level, same_status, same_ending = 0, "", 0, ""
        alike_known, same_source, same_looked_up = 0, "", False
        for done in batch:
            route, started = done.route, done.started
            if route is not last:
                last = route
                level, source = ("none", "") if route is None else (route.decision.level, route.source)
            if route is not None:
                looked_up = done.looked_up
                if source != same_source or looked_up is not same_looked_up:
                    _add(known_from, (same_source, same_looked_up), alike_known)
                    alike_known, same_source, same_looked_up = 0, source, looked_up
                alike_known += 1
            status, ending = done.status, done.ending
            if status != same_status or ending != same_ending or level != same_level:
                _add(ended, (same_level, same_status, same_ending), alike)
                alike, same_level, same_status, same_ending = 0, level, status, ending
            alike += 1
            received += done.received
            sent += done.sent
            if done.tries > 1:
                retries += done.tries - 1
            if done.tunnel:
                continue
            seconds = done.ended - started
            durations[level].add_one(seconds)
            if seconds > longest:
                longest, slowest, slowest_level = seconds, done, level
            if done.first_byte:
                first_bytes[level].add_one(done.first_byte - started)
        if slowest is not None:
            self._exemplify(slowest, slowest_level)
            done = batch[-1]
            if not done.tunnel:
                self._exemplify(done, level)
        _add(known_from, (same_source, same_looked_up), alike_known)
        _add(ended, (same_level, same_status, same_ending), alike)
        for (level, status, ending), count in ended.items():
            self.count("exchanges", level, _status_class(status), ending, by=count)
        for (origin, looked_up), count in known_from.items():
            self.count("resolutions", resolution_source(origin, looked_up=looked_up), by=count)
        self.count("received_bytes", by=received)
        self.count("sent_bytes", by=sent)
        self.count("retries", by=retries)

    def _exemplify(self, done: Finished, level: str) -> None:
        """Remember an exchange as the example of the buckets that it is in. Of each batch the slowest and the last one are: rare
        buckets have recent examples so, and a request costs no look-up."""
        request_id = done.request_id
        if len(request_id) > _MAX_EXEMPLAR:
            return
        trace_id = trace_id_of(done.traceparent) if done.traceparent and len(request_id) < _MAX_EXEMPLAR // 2 else ""
        found = [("exchange_seconds", done.ended - done.started)]
        if done.first_byte:
            found.append(("first_byte_seconds", done.first_byte - done.started))
        for name, seconds in found:
            self._exemplars[name, level, bisect_left(BOUNDS, seconds)] = (request_id, trace_id, seconds, done.ended)

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Add to a counter of the table. Raises KeyError if it is none."""
        counts = self._counts[name]
        counts[labels] = counts.get(labels, 0) + by

    def observe(self, name: str, seconds: float, label: str = "") -> None:
        """Add to a histogram of the table. Raises KeyError if it is none."""
        self._histograms[name][label].add_one(seconds)

    def gauge(self, name: str, callback: GaugeCallback) -> None:
        """Read a gauge of the table by `callback()` at each scrape: a number, or one per value of its label.

        Raises KeyError if there is no such gauge.
        """
        if not any(row.name == name and row.kind == "gauge" for row in TABLE):
            raise KeyError(name)
        self._gauges[name] = callback

    def traffic(self) -> dict[str, float]:
        """What of the traffic is open or waits, as gauges say it now."""
        values = {name: self.now(name) for name in TRAFFIC}
        return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}

    def now(self, name: str) -> float | Mapping[str, float] | None:
        """What a gauge would say at a scrape; None where this process has none of that name."""
        callback = self._gauges.get(name)
        return None if callback is None else callback()

    def tenants(self, callback: Callable[[], TenantCounts]) -> None:
        """Read the counters of tenants by `callback()` at each scrape: of each one that is shown, by the names of the table."""
        self._tenants = callback

    def epoch(self, callback: Callable[[], float]) -> None:
        """`callback()` is the wall-clock time (seconds since 1970) of the monotonic instant 0, for the times of exemplars."""
        self._epoch = callback

    def render(self, accept: str, others: Iterable[Figures] | None = None) -> tuple[bytes, str]:
        """All metrics in the format that an Accept header asks for, and its content type.

        `others` are the figures of the node's other processes, where it has some.
        """
        # What writes them out is 2 MiB, which a worker, whose figures another process writes out, does not load.
        from router.observe import merged_metrics  # noqa: PLC0415

        return merged_metrics.render((*(others or ()), self.figures(exemplars=True)), accept)

    def figures(self, exemplars: bool = False) -> Figures:
        """This process's metrics, with `exemplars` where they are asked for: a process of an older version does not know them."""
        families: list[list[Any]] = []
        for row in TABLE:
            if row.kind == "counter":
                families.append(self._counter(row))
            elif row.kind == "histogram":
                families.append(self._histogram(row, exemplars))
            else:
                families.append(self._gauge(row))
        return families + process_figures(self._worker)

    def _counter(self, row: Row) -> list[Any]:
        name = PREFIX + row.name
        samples: list[list[Any]] = []
        if tuple(row.labels) == ("tenant",):
            for tenant, counts in {} if self._tenants is None else self._tenants().items():
                samples.append([name + "_total", self._labels(row, (tenant,)), counts[row.name]])
            return [name, row.kind, row.help, False, samples]
        closed: dict[tuple[str, ...], int] = {}
        for labels, count in self._counts[row.name].items():
            known = _close(row, labels)
            closed[known] = closed.get(known, 0) + count
        for labels, count in closed.items():
            samples.append([name + "_total", self._labels(row, labels), count])
        return [name, row.kind, row.help, False, samples]

    def _histogram(self, row: Row, exemplars: bool) -> list[Any]:
        name = PREFIX + row.name
        closed = defaultdict[tuple[str, ...], _Histogram](partial(_Histogram, row.bounds))
        for label, histogram in self._histograms[row.name].items():
            closed[_close(row, (label,) if row.labels else ())].add(histogram)
        epoch = 0.0 if self._epoch is None else self._epoch()
        samples: list[list[Any]] = []
        for labels, histogram in closed.items():
            shown = self._labels(row, labels)
            total = 0.0
            for bucket, (le, total) in enumerate(histogram.buckets()):
                sample: list[Any] = [name + "_bucket", {**shown, "le": le}, total]
                example = self._exemplar(row.name, labels[0] if labels else "", bucket, epoch) if exemplars else None
                if example is not None:
                    sample.append(example)
                samples.append(sample)
            samples.append([name + "_count", shown, total])
            samples.append([name + "_sum", shown, histogram.total])
        return [name, row.kind, row.help, False, samples]

    def _exemplar(self, name: str, label: str, bucket: int, epoch: float) -> list[Any] | None:
        found = self._exemplars.get((name, label, bucket))
        if found is None:
            return None
        request_id, trace_id, seconds, ended = found
        names = {"request_id": request_id} | ({"trace_id": trace_id} if trace_id else {})
        return [names, seconds, ended + epoch if epoch else None]

    def _gauge(self, row: Row) -> list[Any]:
        name = PREFIX + row.name
        samples: list[list[Any]] = []
        if row.name == "build_info":
            samples.append([name, self._labels(row, self._build), 1])
        elif row.name in self._gauges:
            value = self._gauges[row.name]()
            if isinstance(value, Mapping):
                for label, number in value.items():
                    samples.append([name, self._labels(row, _close(row, (label,))), number])
            else:
                samples.append([name, self._labels(row, ()), value])
        return [name, row.kind, row.help, True, samples]

    def _labels(self, row: Row, values: tuple[str, ...]) -> dict[str, str]:
        return dict(zip(row.labels, values, strict=False)) | self._worker


_Key = TypeVar("_Key")


def _add(counts: dict[_Key, int], key: _Key, count: int) -> None:
    if count:
        counts[key] = counts.get(key, 0) + count


def _zeros(row: Row) -> dict[tuple[str, ...], int]:
    """A counter that starts at 0, so that its first increase is seen as one, where its series are few."""
    if not row.labels:
        return {(): 0}
    if len(row.labels) > 1:
        return {}
    (values,) = row.labels.values()
    return {(value,): 0 for value in values}


def _close(row: Row, labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        str(value) if value in values else OTHER for values, value in zip(row.labels.values(), labels, strict=True)
    )


def _status_class(status: int) -> str:
    return STATUS_CLASSES[status // 100] if status < 600 else OTHER
