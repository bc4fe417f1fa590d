"""The circuit breaker: after repeated failures a service is not used for a while.

Each operation on one that hangs costs its caller the whole deadline, and a connection. After `failures` failures in a row
the breaker opens: operations are refused at once. After `pause` seconds one operation is let through; its result closes
the breaker or keeps it open. Pure but for the clock.
"""

from router.base.clock import Clock


class Breaker:
    """Not thread-safe. A caller that was admitted reports how it went: `succeeded`, `failed` or `released`."""

    def __init__(self, *, failures: int, pause: float, clock: Clock) -> None:
        self._max_failures = failures
        self._pause = pause
        self._now = clock.monotonic
        self._failures = 0
        self._until: float | None = None  # closed while None
        self._probing = False

    @property
    def closed(self) -> bool:
        """Whether all operations are admitted."""
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
        if self._failures >= self._max_failures:
            self._until = self._now() + self._pause

    def released(self) -> None:
        """The caller was cancelled before there was a result."""
        self._probing = False
