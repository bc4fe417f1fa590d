"""A bounded cache whose values expire, each after its own time."""

from typing import Generic, TypeVar

from cachetools import TLRUCache

from router.base.clock import Clock

K = TypeVar("K")
V = TypeVar("V")


class TtlCache(Generic[K, V]):
    """At most `max_size` values; the one that was used least recently makes room for a new one."""

    def __init__(self, clock: Clock, max_size: int) -> None:
        self._cache: TLRUCache[K, tuple[float, V], float] = TLRUCache(
            max_size, lambda _, entry, now: now + entry[0], timer=clock.monotonic
        )

    def __len__(self) -> int:
        self._cache.expire()
        return len(self._cache)

    def get(self, key: K) -> V | None:
        entry = self._cache.get(key)
        return None if entry is None else entry[1]

    def put(self, key: K, value: V, seconds: float) -> None:
        """Keep a value for so long, in place of an older one; for 0 seconds: keep none."""
        if seconds > 0:
            self._cache[key] = seconds, value
        else:
            self._cache.pop(key, None)
