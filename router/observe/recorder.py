"""What the proxy pays for being observed: one list append per exchange. Everything else happens here, in batches."""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Final, Literal

import structlog

from router.base.clock import Clock
from router.base.ticks import until_tick
from router.observe.access import JsonLines, Lines, TextLines
from router.observe.ended_exchange import Finished
from router.observe.metrics import Metrics
from router.observe.output import WAITING, Output

# Exchanges after which the proxy flushes without waiting for the interval. Few, so that what they leave in memory is
# still in the processor's cache when it is read again: 64 instead of some thousands took 28% off a request's CPU time.
BATCH: Final = 64

INTERVAL = 0.1  # seconds between flushes
_REST: Final = 10  # times as long between them while nothing ends: a process that rests is woken by little else
_COMPLAIN_EVERY = 60.0  # seconds between two complaints about a consumer that fails
_OVER = 5.0  # seconds without a lost line after which no more are expected

Consumer = Callable[[Sequence[Finished]], None]

_log = structlog.get_logger("router.observe")


class AccessLog:
    """Access lines on their way to a file, a pipe or a terminal."""

    def __init__(self, output: Output, lines: Lines, clock: Clock) -> None:
        self._output = output
        self._lines = lines
        self._clock = clock

    def write(self, batch: Sequence[Finished]) -> None:
        """One line per exchange, now or soon; see `Output`."""
        # The pair is read at each batch, so that dates follow the wall clock when it is set.
        epoch = self._clock.now().timestamp() - self._clock.monotonic()
        self._output.write(self._lines.render(batch, epoch))

    def take_lost(self) -> int:
        """How many lines have been lost since this was last asked."""
        return self._output.take_lost()

    @property
    def error(self) -> str:
        """Why the last of them were."""
        return self._output.error

    @property
    def flows(self) -> bool:
        """Whether no line waits."""
        return self._output.flows

    def reopen(self) -> None:
        """Open the file again after it was moved away. Raises OSError; the old one is kept then."""
        self._output.reopen()

    def close(self) -> None:
        """Write what waits, if that can be done soon, and close the file."""
        self._output.close()


def open_access_log(
    where: str, form: Literal["auto", "json", "text"], *, worker: int | None, clock: Clock, waiting: int = WAITING
) -> AccessLog | None:
    """The access log of the settings `access_log` and `log_format`; None where there is to be none. Raises OSError."""
    if not where:
        return None
    output = Output(where, waiting=waiting)
    text = form == "text" or (form == "auto" and output.terminal)
    lines: Lines = TextLines(colours=output.terminal) if text else JsonLines(worker)
    return AccessLog(output, lines, clock)


class Recorder:
    """Takes exchanges that have ended from the list `finished` and makes metrics and access lines of them.

    `finished` is the same list for ever, so its `append` may be kept. Each of `consumers` gets each batch too, to
    learn from traffic. Fails open: a log that cannot be written, or a bug in a consumer, never stops traffic; it
    is logged, and lost lines are counted.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        clock: Clock,
        access: AccessLog | None = None,
        consumers: Sequence[Consumer] = (),
    ) -> None:
        self.finished: list[Finished] = []
        self._metrics = metrics
        self._clock = clock
        self._access = access
        self._consumers: tuple[Consumer, ...] = (metrics.exchange, *consumers)
        self._quiet_until: float | None = None
        self._lost_until = 0.0
        self._lost = 0  # lines, of which the log has not said how many there were

    def flush(self) -> None:
        """Work off what has ended so far. Raises nothing."""
        if not self.finished:
            return
        began = self._clock.monotonic()
        batch = self.finished.copy()
        self.finished.clear()
        for consumer in self._consumers:
            try:
                consumer(batch)
            except Exception:  # noqa: BLE001 - traffic outlives any bug in watching it
                self._complain("a consumer of ended exchanges failed", len(batch))
        if self._access is not None:
            try:
                self._access.write(batch)
            except Exception:  # noqa: BLE001 - as above
                self._metrics.count("access_lines_lost", by=len(batch))
                self._complain("access log writable again: lines were lost", len(batch))
        self._metrics.observe("loop_step_seconds", self._clock.monotonic() - began, "flush")

    def add_consumer(self, consumer: Consumer) -> None:
        """Give it each batch from now on."""
        self._consumers = (*self._consumers, consumer)

    def remove_consumer(self, consumer: Consumer) -> None:
        """Give it none from now on."""
        self._consumers = tuple(one for one in self._consumers if one != consumer)

    async def run(self, interval: float = INTERVAL) -> None:
        """Flush every `interval` seconds until cancelled, and then once more; less often the longer nothing ends."""
        pause = interval
        try:
            while True:
                await asyncio.sleep(pause if pause < interval * _REST else until_tick(pause))
                pause = interval if self.finished else min(pause * 1.5, interval * _REST)
                self.flush()
                self.look_for_lost()
        finally:
            self.flush()

    def reopen(self) -> None:
        """Open the access log's file again, after logrotate has moved it away. Raises OSError; the old one is kept."""
        self.flush()
        if self._access is not None:
            self._access.reopen()

    def close(self) -> None:
        """Flush and close the access log. What ends later is counted and not written."""
        self.flush()
        if self._access is not None:
            self._access.close()
            self.look_for_lost()
            self._lost_until = -math.inf  # how many is said now or never
            self.look_for_lost()
            self._access = None

    def look_for_lost(self) -> None:
        """Count lines that were lost; say so when it begins, and how many there were when it is over."""
        access = self._access
        if access is None:
            return
        lost = access.take_lost()
        if lost:
            self._metrics.count("access_lines_lost", by=lost)
            if not self._lost:
                _log.error("access log not writable: losing lines", why=access.error)
            self._lost += lost
            self._lost_until = self._clock.monotonic() + _OVER
        elif self._lost and access.flows and self._clock.monotonic() >= self._lost_until:
            _log.warning("access log writable again: lines were lost", lines=self._lost)
            self._lost = 0

    def _complain(self, what: str, exchanges: int) -> None:
        now = self._clock.monotonic()
        if self._quiet_until is None or now >= self._quiet_until:
            self._quiet_until = now + _COMPLAIN_EVERY
            _log.exception(what, exchanges=exchanges)
