"""What takes packs of request records, and makes and sends what the settings want of them."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

import structlog
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.observe.metrics import Metrics
from router.records.lost import tally
from router.settings import Telemetry as TelemetrySettings
from router.telemetry.exporter import Exporter, Send, Signal, collected
from router.telemetry.spans import Made, SpanMaker

_EVERY: Final = 0.5  # seconds
_MAX_PACKS: Final = 4 * 1024 * 1024  # bytes that wait for the thread

T = TypeVar("T")

_log = structlog.get_logger("router.telemetry")


class Telemetry:
    """See the module. `take` is called by whoever carries traffic or hears of it; it never waits."""

    def __init__(
        self,
        settings: TelemetrySettings,
        signals: tuple[Signal[Span], Signal[LogRecord]],
        send: Send,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._maker = SpanMaker(
            traces=settings.traces,
            logs=settings.logs,
            sample=settings.sample,
            honour_sampled=settings.honour_sampled,
            per_second=settings.per_second,
        )
        self._thread = ThreadPoolExecutor(1, "telemetry")
        spans, logs = signals
        self._spans = Exporter(spans, send, limit=settings.queue, metrics=metrics, run_in_thread=self._in_thread)
        self._logs = Exporter(logs, send, limit=settings.queue, metrics=metrics, run_in_thread=self._in_thread)
        self._packs: deque[bytes] = deque()
        self._size = 0
        self._closing = asyncio.Event()
        self._tasks = Tasks("telemetry")
        self._running = self._tasks.start("make spans", self._run())
        metrics.gauge("telemetry_waiting", lambda: collected((self._spans, self._logs)))

    @property
    def away(self) -> bool:
        """Whether the collector does not take what is sent."""
        return self._spans.away or self._logs.away

    def take(self, pack: bytes) -> None:
        """A pack of records of ended exchanges."""
        if self._size + len(pack) > _MAX_PACKS:
            lost = sum(tally(pack).values())
            self._metrics.count("telemetry_items", "logs" if self._settings.logs else "spans", "dropped", by=lost)
            return
        self._packs.append(pack)
        self._size += len(pack)

    async def close(self) -> None:
        """Send what waits, if that can be done soon."""
        self._closing.set()
        await asyncio.wait({self._running}, timeout=_EVERY * 2)
        await self._tasks.close()
        await asyncio.gather(self._spans.close(), self._logs.close())
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY):
                    await self._closing.wait()
            packs = list(self._packs)
            self._packs.clear()
            self._size = 0
            if packs:
                await self._make(packs)
            if self._closing.is_set():
                return

    async def _make(self, packs: list[bytes]) -> None:
        epoch = self._clock.now().timestamp() - self._clock.monotonic()
        try:
            made: Made = await self._in_thread(lambda: self._maker.make(packs, epoch))
        except Exception:  # noqa: BLE001 - a bug in telling of traffic stops no telling of what comes next
            _log.exception("spans cannot be made")
            return
        self._spans.take(made.spans)
        self._logs.take(made.logs)
        self._metrics.count("telemetry_items", "spans", "sampled_out", by=made.sampled_out)
        self._metrics.count("telemetry_items", "spans", "dropped", by=made.dropped)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
