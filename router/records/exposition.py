"""A tenant's own metrics, as its Prometheus reads them: the counters of its resources."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from router.observe.exposition import encoder
from router.records.counters import BOUNDS, Counters

OTHER: Final = "_other"
LABELS: Final = ("resource_id", "kind", "slug")
OWNER_LABELS: Final = ("workspace_id", "project_id")


@dataclass(frozen=True, slots=True)
class Row:
    """One metric. A counter's exposed name ends in `_total`. `field` is that of `Counters`."""

    name: str
    kind: Literal["counter", "histogram", "info"]
    help: str
    field: str = ""


TABLE: Final = (
    Row("miosa_requests", "counter", "Requests to the resource, WebSockets included", "requests"),
    Row(
        "miosa_request_errors",
        "counter",
        "Of these, those that were answered with a status from 500 on, or whose response broke off",
        "errors",
    ),
    Row(
        "miosa_request_client_errors", "counter", "Of these, those that were answered with 400 to 499", "client_errors"
    ),
    Row("miosa_received_bytes", "counter", "Bytes of bodies, and of WebSockets, from visitors", "received"),
    Row("miosa_sent_bytes", "counter", "Bytes of bodies, and of WebSockets, to visitors", "sent"),
    Row(
        "miosa_request_duration_seconds",
        "histogram",
        "Whole time of a request, right to 2.2 %; WebSockets are not in it",
    ),
    Row("miosa_resource_info", "info", "Always 1: the workspace and project of each resource that is shown"),
)
_BUCKETS: Final = (*[str(bound) for bound in BOUNDS], "+Inf")


@dataclass(frozen=True, slots=True)
class Shown:
    """The counters of a resource, with what it is called. Those of all others together are called `_other`."""

    counters: Counters
    resource_id: str = OTHER
    kind: str = OTHER
    slug: str = OTHER
    workspace_id: str = ""
    project_id: str = ""


def render(shown: Sequence[Shown], accept: str) -> tuple[bytes, str]:
    """The metrics in the format that an Accept header asks for, and its content type."""
    encode, content_type = encoder(accept)
    return encode(_Families(shown)), content_type


class _Families(Collector):
    def __init__(self, shown: Sequence[Shown]) -> None:
        self._shown = shown

    def collect(self) -> Iterable[Metric]:
        for row in TABLE:
            if row.kind == "counter":
                yield self._counter(row)
            elif row.kind == "histogram":
                yield self._histogram(row)
            else:
                yield self._info(row)

    def _counter(self, row: Row) -> Metric:
        family = CounterMetricFamily(row.name, row.help, labels=LABELS)
        for one in self._shown:
            family.add_metric(_labels(one), getattr(one.counters, row.field))
        return family

    def _histogram(self, row: Row) -> Metric:
        family = HistogramMetricFamily(row.name, row.help, labels=LABELS)
        for one in self._shown:
            running, buckets = 0, []
            for name, number in zip(_BUCKETS, one.counters.buckets, strict=True):
                running += number
                buckets.append((name, float(running)))
            family.add_metric(_labels(one), buckets, one.counters.microseconds / 1e6)
        return family

    def _info(self, row: Row) -> Metric:
        family = GaugeMetricFamily(row.name, row.help, labels=(*LABELS, *OWNER_LABELS))
        for one in self._shown:
            family.add_metric((*_labels(one), one.workspace_id, one.project_id), 1)
        return family


def _labels(one: Shown) -> tuple[str, str, str]:
    return one.resource_id, one.kind, one.slug
