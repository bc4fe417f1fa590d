"""Which requests of a resource are recorded where it gets more than `records.per_second`: all that failed, and a sample of
the rest."""

from typing import Final

_SAMPLED: Final = 10  # one in so many is kept
_FLOODED: Final = 100  # and one in so many of a flood that is ten times as large


class Sampler:
    """Used by one thread at a time."""

    def __init__(self, per_second: int) -> None:
        self._limit = per_second
        self._second = 0
        self._seen: dict[bytes, int] = {}

    def begin(self, now: float) -> None:
        """It is `now`, in seconds of any clock that goes on."""
        if int(now) != self._second:
            self._second = int(now)
            self._seen.clear()

    def weigh(self, resource: bytes, *, error: bool) -> int:
        """How many requests the record of this one stands for; 0: it is not kept."""
        seen = self._seen[resource] = self._seen.get(resource, 0) + 1
        if error or seen <= self._limit:
            return 1
        every = _SAMPLED if seen <= _SAMPLED * self._limit else _FLOODED
        return 0 if seen % every else every
