"""The circuit breaker: a Redis that fails again and again is left alone for a while.

Each operation on a Redis that hangs costs its caller the whole budget before the store is asked, and its connection.
After `failures` in a row nobody asks any more; after `pause` seconds one operation tries, while the others go on
without, and what becomes of it decides. Pure but for the clock.
"""

from router.clock import Clock


class Breaker:
    """Not thread-safe. Whoever was admitted says afterwards how it went: `succeeded`, `failed` or `released`."""

    def __init__(self, *, failures: int, pause: float, clock: Clock) -> None:
        self._most = failures
        self._pause = pause
        self._now = clock.monotonic
        self._failures = 0
        self._until: float | None = None  # closed while None
        self._probing = False

    @property
    def closed(self) -> bool:
        """Whether everybody is admitted."""
        return self._until is None

    def admits(self) -> bool:
        """Whether an operation may go ahead now."""
        if self._until is None:
            return True
        if self._probing or self._now() < self._until:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """It answered."""
        self._failures = 0
        self._until = None
        self._probing = False

    def failed(self) -> None:
        """It did not answer, or not in time."""
        self._failures += 1
        self._probing = False
        if self._failures >= self._most:
            self._until = self._now() + self._pause

    def released(self) -> None:
        """Whoever asked went away before it could tell."""
        self._probing = False
