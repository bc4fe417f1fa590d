"""Keys of records that a commit has changed, and which of them only lead elsewhere now."""

from collections.abc import Iterable, Mapping
from typing import Self


class Touched(tuple[str, ...]):  # noqa: SLOT001 - a tuple can have no slots, and `moved` has to lie somewhere
    """The keys, in their order. `moved` are those of which nothing changed but where the resource listens: as long as the
    new record can't be had, the last known route may still be used for these. Anything else may have taken a name away,
    and what was known of it is used no more."""

    moved: frozenset[str]

    def __new__(cls, keys: Iterable[str], moved: Iterable[str] = ()) -> Self:
        made = super().__new__(cls, keys)
        made.moved = frozenset(moved)
        return made


NOTHING_MOVED: frozenset[str] = frozenset()


def moved_among(keys: Iterable[str]) -> frozenset[str]:
    """Which of the keys have only moved; none where it is not known."""
    return keys.moved if isinstance(keys, Touched) else NOTHING_MOVED


def touched(changes: Iterable[tuple[str, bool]]) -> Touched:
    """The keys of these changes, each with whether it was only a move; moved are those that did nothing else."""
    only: dict[str, bool] = {}
    for key, moved in changes:
        only[key] = moved and only.get(key, True)
    return Touched(only, _those(only))


def _those(only: Mapping[str, bool]) -> Iterable[str]:
    return (key for key, moved in only.items() if moved)
