"""Sends what is made to an OTLP collector: in batches, one at a time, from a bounded queue.

Fails open: while the collector is away a batch is kept and tried again (after 1 s, then twice as long, up to 30 s, or as it
asks by Retry-After), the queue fills, and what comes on top is dropped and counted. What the collector refuses is counted and
not sent again. OTLP 1.x, "OTLP/HTTP Response" and "Retryable Response Codes".
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import structlog

from router.base.tasks import Tasks
from router.observe.metrics import Metrics

MAX_BATCH: Final = 512
EVERY: Final = 1.0  # seconds between two batches, where less than a whole one waits
FIRST_PAUSE: Final = 1.0
_MAX_PAUSE: Final = 30.0
_CLOSE_TIME: Final = 3.0
_RETRYABLE: Final = frozenset({429, 502, 503, 504})

Item = TypeVar("Item")

_log = structlog.get_logger("router.telemetry")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the collector answered; `error` says why it did not. `retry_after` is in seconds."""

    status: int = 0
    body: bytes = b""
    retry_after: float | None = None
    error: str = ""


Send = Callable[[str, bytes], Awaitable[Answer]]  # to a path below the endpoint


@dataclass(frozen=True, slots=True)
class Signal(Generic[Item]):
    """One of the things that OTLP carries. `encode` makes a request of a batch, `rejected` reads an answer: how many were refused,
    and why."""

    name: str  # as metrics call it
    path: str
    encode: Callable[[Sequence[Item]], bytes]
    rejected: Callable[[bytes], tuple[int, str]]


class Exporter(Generic[Item]):
    """Takes items of one signal. `run_in_thread` runs work outside the event loop."""

    def __init__(
        self,
        signal: Signal[Item],
        send: Send,
        *,
        limit: int,
        metrics: Metrics,
        run_in_thread: Callable[[Callable[[], bytes]], Awaitable[bytes]],
    ) -> None:
        self._signal = signal
        self._send = send
        self._limit = limit
        self._metrics = metrics
        self._run_in_thread = run_in_thread
        self._waiting: deque[Item] = deque()
        self._sending = 0
        self._away = False
        self._more = asyncio.Event()
        self._closing = asyncio.Event()
        self._tasks = Tasks(f"telemetry: {signal.name}")
        self._running = self._tasks.start("send", self._run())

    def __len__(self) -> int:
        return len(self._waiting) + self._sending

    @property
    def away(self) -> bool:
        """Whether the collector did not take the last batch."""
        return self._away

    def take(self, items: Sequence[Item]) -> None:
        """Send these as soon as can be; what is more than may wait is dropped."""
        room = max(0, self._limit - len(self))
        self._waiting.extend(items[:room])
        self._count("dropped", len(items) - room if len(items) > room else 0)
        if len(self._waiting) >= MAX_BATCH:
            self._more.set()

    async def close(self) -> None:
        """Send what waits, if that can be done soon."""
        self._closing.set()
        self._more.set()
        await asyncio.wait({self._running}, timeout=_CLOSE_TIME)
        await self._tasks.close()
        self._count("dropped", len(self))

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._more.wait()
            self._more.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
                self._sending = len(batch)
                try:
                    await self._deliver(batch)
                except Exception:  # noqa: BLE001  # a fault of ours; what comes next is sent all the same
                    _log.exception("a batch of telemetry given up", type=self._signal.name)
                    self._count("dropped", len(batch))
                self._sending = 0
                if len(self._waiting) < MAX_BATCH and not self._closing.is_set():
                    break
            if self._closing.is_set():
                return

    async def _deliver(self, batch: Sequence[Item]) -> None:
        body = await self._run_in_thread(lambda: self._signal.encode(batch))
        pause = FIRST_PAUSE
        while True:
            answer = await self._send(self._signal.path, body)
            if answer.status not in _RETRYABLE and not answer.error:
                self._settle(batch, answer)
                return
            self._say(away=True, why=answer.error or f"status {answer.status}")
            wait = min(_MAX_PAUSE, pause if answer.retry_after is None else answer.retry_after)
            pause = min(_MAX_PAUSE, pause * 2)
            if self._closing.is_set():
                self._count("dropped", len(batch))
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._closing.wait()

    def _settle(self, batch: Sequence[Item], answer: Answer) -> None:
        if not 200 <= answer.status < 300:
            self._count("refused", len(batch))
            self._say(away=True, why=f"status {answer.status}")
            return
        try:
            refused, why = self._signal.rejected(answer.body)
        except ValueError:
            refused, why = 0, "its answer cannot be read"
        refused = min(refused, len(batch))
        self._count("refused", refused)
        self._count("sent", len(batch) - refused)
        if refused or why:
            _log.warning("telemetry was refused in part", type=self._signal.name, refused=refused, why=why[:200])
        self._say(away=False)

    def _say(self, *, away: bool, why: str = "") -> None:
        if away and not self._away:
            _log.error("telemetry cannot be sent", type=self._signal.name, error=why)
        elif self._away and not away:
            _log.info("telemetry is sent again", type=self._signal.name)
        self._away = away

    def _count(self, result: str, by: int) -> None:
        if by:
            self._metrics.count("telemetry_items", self._signal.name, result, by=by)


def collected(exporters: Sequence[Exporter[Any]]) -> float:
    """How many items wait in all."""
    return float(sum(map(len, exporters)))
