"""Time comes from here, so that tests can move it. Two clocks: one for durations, one for dates.

`Clock` is the need; `SystemClock` reads the machine, `ManualClock` is its twin that stands still until told to move.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What code that cares about time needs."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back. For durations and deadlines."""

    def now(self) -> datetime:
        """The current instant, timezone-aware, UTC. For what is stored or shown."""


class SystemClock:
    """The machine's clocks."""

    # The built-in itself: the data plane reads it several times per request.
    monotonic = staticmethod(time.monotonic)

    def now(self) -> datetime:
        return datetime.now(UTC)


class ManualClock:
    """A clock that moves only by `advance`."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0

    def monotonic(self) -> float:
        return self._elapsed

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds` (>= 0)."""
        if seconds < 0:
            raise ValueError("a clock does not go back")
        self._elapsed += seconds


def iso(instant: datetime) -> str:
    """`2026-05-17T10:00:00Z`: how every time is shown. `instant` must be timezone-aware."""
    if instant.tzinfo is None:
        raise ValueError("naive datetime")
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
