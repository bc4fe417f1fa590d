"""Rate limit for log lines that any client can cause: so many per second, and the rest only counted.

A line costs 150 to 250 µs, several times what it costs to refuse a request. Without a limit a client that sends
malformed requests would spend most of a worker's time on the log, and fill the disk.
"""

from collections.abc import Callable
from typing import Any

from router.observe.metrics import Metrics

_PER_SECOND = 20


class LimitedLog:
    """The first lines of each second go out. The first after some were left out says how many, as `suppressed`."""

    def __init__(self, log: Any, time: Callable[[], float], metrics: Metrics) -> None:
        self._log = log
        self._time = time
        self._metrics = metrics
        self._second = 0.0
        self._left = _PER_SECOND
        self._suppressed = 0

    def info(self, event: str, **values: object) -> None:
        """Log it, or count it."""
        now = self._time()
        if now >= self._second + 1:
            self._second = now
            self._left = _PER_SECOND
        if self._left == 0:
            self._suppressed += 1
            self._metrics.count("log_lines_suppressed")
            return
        self._left -= 1
        if self._suppressed:
            values["suppressed"] = self._suppressed
            self._suppressed = 0
        self._log.info(event, **values)
