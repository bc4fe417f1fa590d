"""How much of the outbox this process knows to have happened, and so what it may believe of Redis.

A shard whose offset is before the newest change that this process has heard of there has lost changes, or has not been
told of them yet: nothing on it is believed. This process knows of its own changes before Redis is told; until Redis has
been, the records that they touched are not believed either.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

_MAX_OWN = 10_000


class Watermark:
    """Numbers of changes only; no I/O, no clock. `shard_of` says on which shard a key lies."""

    def __init__(self, shard_of: Callable[[str], Hashable]) -> None:
        self._shard_of = shard_of
        self._newest = 0
        self._newest_of: defaultdict[Hashable, int] = defaultdict(int)
        self._own: dict[str, int] = {}

    def heard_all(self, number: int) -> None:
        """Every shard must know of everything up to this change to be believed."""
        self._newest = max(self._newest, number)
        if self._own and min(self._own.values()) <= self._newest:
            self._own = {key: mine for key, mine in self._own.items() if mine > self._newest}

    def heard(self, changes: Iterable[tuple[str, int]]) -> None:
        """The shards of these records must know of these changes of them to be believed."""
        for key, number in changes:
            shard = self._shard_of(key)
            self._newest_of[shard] = max(self._newest_of[shard], number)
            if self._own.get(key, number + 1) <= number:
                del self._own[key]

    def committed(self, keys: Iterable[str], number: int) -> None:
        """This process has changed these records; `number` is the newest of the changes."""
        for key in keys:
            self._own[key] = number
        if len(self._own) > _MAX_OWN:  # Redis has been away for long: when it is back it must know all of this
            self.heard_all(max(self._own.values()))

    def believes(self, offset: int | None, key: str) -> bool:
        """Whether what is stored under this key is current, on a shard at this offset."""
        if offset is None or offset < self._newest:
            return False
        return offset >= self._newest_of[self._shard_of(key)] and offset >= self._own.get(key, 0)
