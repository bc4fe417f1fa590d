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


def not_after(instant: datetime, now: datetime) -> datetime:
    """An instant that must have passed, as far as it can have: one that lies ahead was written by a clock that was ahead."""
    return min(instant, now)


_JUMP = 60.0  # seconds by which the dates may drift from the durations between two looks: more than any slewing
_DOUBT = 86400.0  # seconds for which the clock is in doubt after a jump: time for an operator to correct it


class ClockWatch:
    """Notices when the date jumps, by comparing it with the clock that counts durations.

    `since` is the date from which on time has passed under our eyes: what grew old before that did so unwatched.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen = clock.monotonic()
        self.since = clock.now()
        self._offset = self._offset_now()
        self._jumped_at = float("-inf")
        self.jump = 0.0  # seconds of the last jump; negative where it went back

    def look(self) -> bool:
        """Whether the date has jumped since the last look."""
        offset, self._seen = self._offset_now(), self._clock.monotonic()
        jump, self._offset = offset - self._offset, offset
        if abs(jump) <= _JUMP:
            return False
        self.jump, self._jumped_at = jump, self._seen
        self.since = self._clock.now()
        return True

    @property
    def doubt(self) -> str | None:
        """What is to be said of a jump of the last day; None where there was none."""
        self.look()
        ago = self._seen - self._jumped_at
        return f"the clock jumped by {self.jump:+.0f} s {ago:.0f} s ago" if ago < _DOUBT else None

    def _offset_now(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()


class ManualClock:
    """A clock that moves only by `advance`, and whose date moves alone by `set_ahead`."""

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

    def set_ahead(self, seconds: float) -> None:
        """Move the date alone, forward or back, as when the clock is set."""
        self._start += timedelta(seconds=seconds)


def iso(instant: datetime) -> str:
    """`2026-05-17T10:00:00Z`: how every time is shown. `instant` must be timezone-aware."""
    if instant.tzinfo is None:
        raise ValueError("naive datetime")
    # Not strftime, which writes the year 99 without the zeros that RFC 3339 wants.
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
