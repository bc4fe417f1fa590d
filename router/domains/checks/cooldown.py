"""What one customer may ask for: how often for one name, and how much at once for one account. A check asks other people's
servers, so it must not be requested in a loop.
"""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from cachetools import TTLCache

from router.base.clock import Clock
from router.errors import RATE_LIMITED, RouterError

_MAX_KEYS = 16_384  # more than that at once, and the one that waits longest may be asked for again


class Cooldown:
    """Once every so many seconds for each key. Of one process: a fleet's nodes each count for themselves."""

    def __init__(self, clock: Clock, seconds: float, *, max_keys: int = _MAX_KEYS) -> None:
        self._now = clock.monotonic
        self._seconds = seconds
        self._again: TTLCache[str, float, float] = TTLCache(max_keys, seconds, timer=clock.monotonic)

    def __len__(self) -> int:
        self._again.expire()
        return len(self._again)

    def take(self, key: str) -> None:
        """Count one. Raises RouterError RATE_LIMITED, with the time to wait, where it is too early for another."""
        now = self._now()
        wait = self._again.get(key, now) - now
        if wait > 0:
            message = f"This may be asked for once in {self._seconds:g} s. Wait for the time in Retry-After."
            raise RouterError(RATE_LIMITED, message, retry_after=math.ceil(wait))
        self._again[key] = now + self._seconds


CONCURRENCY = 16  # checks of one tenant in progress at once


class ConcurrencyLimit:
    """At most so many at once for each key: one tenant's checks must leave room for those of others."""

    def __init__(self, limit: int = CONCURRENCY) -> None:
        self._limit = limit
        self._in_progress = Counter[str]()

    @contextmanager
    def take(self, key: str) -> Iterator[None]:
        """Hold one slot. Raises RouterError RATE_LIMITED where all are taken."""
        if self._in_progress[key] >= self._limit:
            message = f"{self._limit} checks are under way for this account. Wait for one of them to end."
            raise RouterError(RATE_LIMITED, message, retry_after=2)
        self._in_progress[key] += 1
        try:
            yield
        finally:
            self._in_progress[key] -= 1
            if not self._in_progress[key]:
                del self._in_progress[key]
