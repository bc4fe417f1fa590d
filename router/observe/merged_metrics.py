"""The metrics of several processes as one exposition: each worker hands over its figures, the control process joins them.

Figures are plain lists, ready for JSON (`figures.py`). A family may come from several processes; the text formats want it once.

Where two processes have one number, because a worker that ends still has tunnels while its successor serves, counters
are the successor's alone: a sum would fall when the first has gone, which readers take for a restart and count twice.
Gauges of ours are added up: tunnels of both are open.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from router.observe.exposition import encoder
from router.observe.figures import Figures


def render(everybody: Iterable[Figures], accept: str) -> tuple[bytes, str]:
    """All of it in the format that an Accept header asks for, and its content type. Later ones replace earlier ones."""
    registry = CollectorRegistry()
    registry.register(_Joined(everybody))
    encode, content_type = encoder(accept)
    return encode(registry), content_type


class _Joined(Collector):
    def __init__(self, everybody: Iterable[Figures]) -> None:
        self._everybody = everybody

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        exemplars: dict[tuple[str, tuple[tuple[str, str], ...]], Exemplar] = {}
        for one in self._everybody:
            for name, kind, text, added, samples in one:
                families.setdefault(name, Metric(name, text, kind))
                known = values.setdefault(name, {})
                for sample, labels, value, *exemplar in samples:
                    series = (sample, tuple(labels.items()))
                    if exemplar:
                        exemplars[series] = Exemplar(*exemplar[0])
                    known[series] = value + (known.get(series, 0.0) if added else 0.0)
        for name, family in families.items():
            for (sample, labels), value in values[name].items():
                family.add_sample(sample, dict(labels), value, exemplar=exemplars.get((sample, labels)))
            yield family
