"""The text format that a scraper asks for: Prometheus's, or OpenMetrics where its Accept header names it."""

from collections.abc import Callable
from typing import Final, cast

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

PLAIN: Final = "text/plain"
OPENMETRICS: Final = "application/openmetrics-text"


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header names OpenMetrics. What else it says of versions is not ours to parse: both formats are of one."""
    return any(kind.partition(";")[0].strip().lower() == OPENMETRICS for kind in accept.split(","))


def encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """What writes a collector's families out, and the content type of that."""
    if wants_openmetrics(accept):
        return cast(Callable[[Collector], bytes], openmetrics.generate_latest), openmetrics.CONTENT_TYPE_LATEST
    return cast(Callable[[Collector], bytes], generate_latest), CONTENT_TYPE_PLAIN_0_0_4
