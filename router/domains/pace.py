"""How often one thing may be done to one record: what asks strangers' servers must not be asked for in a loop."""

import math

from router.clock import Clock
from router.errors import RATE_LIMITED, RouterError

_SWEEP_AT = 1000


class Pace:
    """Once every so many seconds for each key. Of one process: a fleet's nodes each count for themselves."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._now = clock.monotonic
        self._seconds = seconds
        self._again: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._again)

    def take(self, key: str) -> None:
        """Count one. Raises RouterError RATE_LIMITED, with the time to wait, where it is too early for another."""
        now = self._now()
        wait = self._again.get(key, now) - now
        if wait > 0:
            message = f"This may be asked for once in {self._seconds:g} s. Wait for the time in Retry-After."
            raise RouterError(RATE_LIMITED, message, retry_after=math.ceil(wait))
        if len(self._again) >= _SWEEP_AT:
            self._again = {other: again for other, again in self._again.items() if again > now}
        self._again[key] = now + self._seconds
