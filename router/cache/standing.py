"""How much of the outbox this process knows to have happened, and so what it may believe of Redis.

A shelf whose mark lies before the newest row that this process has heard of has forgotten changes, or has not been
told of them yet: nothing on it is believed. A change that this process made itself is known here before Redis can be
told; until it has been, the records that it touched are not believed either.
"""

from collections.abc import Iterable

_MOST_OWN = 10_000


class Standing:
    """Row numbers of the outbox only; no I/O, no clock."""

    def __init__(self) -> None:
        self.newest = 0  # the newest row that Redis must know of to be believed
        self._own: dict[str, int] = {}

    def heard(self, row: int) -> None:
        """The bus, or a read of the store that Redis could not answer, has told of everything up to this row."""
        self.newest = max(self.newest, row)
        if self._own and min(self._own.values()) <= self.newest:
            self._own = {key: mine for key, mine in self._own.items() if mine > self.newest}

    def committed(self, keys: Iterable[str], row: int) -> None:
        """This process has changed these records; `row` is the newest of the change."""
        for key in keys:
            self._own[key] = row
        if len(self._own) > _MOST_OWN:  # Redis has been away for long: when it is back it must know all of this
            self.heard(max(self._own.values()))

    def knows(self, key: str, row: int) -> bool:
        """Whether this process has made this change itself, or a later one of the same record."""
        return self._own.get(key, -1) >= row

    def believes(self, mark: int | None, key: str) -> bool:
        """Whether what lies under this key counts, on a shelf with this mark."""
        return mark is not None and mark >= self.newest and mark >= self._own.get(key, 0)
