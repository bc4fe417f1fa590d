"""Rate limits: how many requests per minute a workspace, a key or an address may make.

A fixed window per bucket: the first request opens it, each request counts the allowance down, and when the window ends
the allowance is whole again. Where the nodes share a Redis they count there together, so that a limit is one of the
whole fleet. Where Redis does not answer in time this node counts alone (fail open: at worst each node allows the whole
limit), and says so in `miosa_router_rate_limit_fallbacks_total`.
"""

import math
from dataclasses import dataclass
from typing import Protocol

from cachetools import TTLCache

from router.base.clock import Clock

PERIOD = 60.0  # seconds
MAX_BUCKETS = 100_000  # windows remembered here; the least recently used goes first, some 300 bytes each


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


class SharedCounts(Protocol):
    """Counts that all nodes share."""

    async def count(self, bucket: str, period: float) -> tuple[int, float] | None:
        """Count one request: how many there are in the bucket's window, this one included, and the seconds until it ends; a
        window lasts `period` seconds. None where the counts can't be had in time."""


@dataclass(slots=True)
class _Window:
    ends: float
    used: int


class RateLimiter:
    """Counts requests per bucket, with the other nodes where there is `shared`. Not thread-safe."""

    def __init__(self, clock: Clock, shared: SharedCounts | None = None, *, period: float = PERIOD) -> None:
        self._now = clock.monotonic
        self._shared = shared
        self._period = period
        self._windows: TTLCache[str, _Window] = TTLCache(MAX_BUCKETS, period, timer=clock.monotonic)

    def __len__(self) -> int:
        return len(self._windows)

    async def take(self, bucket: str, limit: int) -> Allowance:
        """Count one request against `limit` per period."""
        now = self._now()
        window = self._windows.get(bucket)
        if window is None or window.ends <= now:
            window = self._windows[bucket] = _Window(now + self._period, 0)
        window.used += 1
        # A window that is used up stays so until it ends: a flood of requests costs Redis nothing.
        if self._shared is not None and window.used <= limit:
            counted = await self._shared.count(bucket, self._period)
            if counted is not None:
                used, left = counted
                window.used, window.ends = max(used, window.used), now + left
        return Allowance(window.used <= limit, limit, max(0, limit - window.used), max(1, math.ceil(window.ends - now)))
