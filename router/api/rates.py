"""Rates: how many requests a minute a workspace, a key or an address may make.

A fixed window per bucket: the first request opens it, the minute's allowance is counted down, and the window's end
refills it whole. Simple to explain in three headers, and one counter with an expiry in Redis when nodes share it.
Fail-open: a limiter that cannot answer must not take the API down with it; implementations decide and count that.
"""

import math
from dataclasses import dataclass
from typing import Protocol

from router.clock import Clock

PERIOD = 60.0  # seconds
_SWEEP_AT = 10_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a bucket has left. `reset` is in whole seconds, at least 1."""

    allowed: bool
    limit: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """RateLimit-Limit, -Remaining and -Reset; Retry-After where nothing is left."""
        shown = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }
        if not self.allowed:
            shown["Retry-After"] = str(self.reset)
        return shown


class Limiter(Protocol):
    """Counts requests per bucket."""

    async def take(self, bucket: str, limit: int) -> Allowance:
        """Count one request against `limit` per minute."""


class MemoryLimiter:
    """A Limiter for one process."""

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        self._windows: dict[str, tuple[float, int]] = {}
        self._sweep_at = _SWEEP_AT

    def __len__(self) -> int:
        return len(self._windows)

    async def take(self, bucket: str, limit: int) -> Allowance:
        now = self._now()
        ends, used = self._windows.get(bucket, (0.0, 0))
        if ends <= now:
            ends, used = now + PERIOD, 0
            self._sweep(now)
        allowed = used < limit
        used = min(used + 1, limit)
        self._windows[bucket] = (ends, used)
        return Allowance(allowed, limit, limit - used, max(1, math.ceil(ends - now)))

    def _sweep(self, now: float) -> None:
        # Addresses are the clients' choice, so buckets are: forget the ended ones, at a cost that grows with doublings.
        if len(self._windows) < self._sweep_at:
            return
        self._windows = {bucket: window for bucket, window in self._windows.items() if window[0] > now}
        self._sweep_at = max(_SWEEP_AT, 2 * len(self._windows))
