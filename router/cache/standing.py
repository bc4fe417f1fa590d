"""How much of the outbox this process knows to have happened, and so what it may believe of Redis.

A shelf whose mark lies before the newest change that this process has heard of there has forgotten changes, or has not
been told of them yet: nothing on it is believed. A change that this process made itself is known here before Redis can
be told; until it has been, the records that it touched are not believed either.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

_MOST_OWN = 10_000


class Standing:
    """Numbers of changes only; no I/O, no clock. `shelf_of` says on which shelf a key lies."""

    def __init__(self, shelf_of: Callable[[str], Hashable]) -> None:
        self._shelf_of = shelf_of
        self._newest = 0
        self._newest_of: defaultdict[Hashable, int] = defaultdict(int)
        self._own: dict[str, int] = {}

    def heard_all(self, number: int) -> None:
        """Every shelf must know of everything up to this change to be believed."""
        self._newest = max(self._newest, number)
        if self._own and min(self._own.values()) <= self._newest:
            self._own = {key: mine for key, mine in self._own.items() if mine > self._newest}

    def heard(self, changes: Iterable[tuple[str, int]]) -> None:
        """The shelves of these records must know of these changes of them to be believed."""
        for key, number in changes:
            shelf = self._shelf_of(key)
            self._newest_of[shelf] = max(self._newest_of[shelf], number)
            if self._own.get(key, number + 1) <= number:
                del self._own[key]

    def committed(self, keys: Iterable[str], number: int) -> None:
        """This process has changed these records; `number` is the newest of the changes."""
        for key in keys:
            self._own[key] = number
        if len(self._own) > _MOST_OWN:  # Redis has been away for long: when it is back it must know all of this
            self.heard_all(max(self._own.values()))

    def made(self, key: str, number: int) -> bool:
        """Whether this process has made this change of the record itself, or a later one."""
        return self._own.get(key, -1) >= number

    def believes(self, mark: int | None, key: str) -> bool:
        """Whether what lies under this key counts, on a shelf with this mark."""
        if mark is None or mark < self._newest:
            return False
        return mark >= self._newest_of[self._shelf_of(key)] and mark >= self._own.get(key, 0)
