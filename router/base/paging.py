"""Parts of lists."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a list is wanted: `limit` items from `offset` on."""

    offset: int = 0
    limit: int = 100


FIRST = Window()


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A part of a list, and how many items the whole has."""

    items: tuple[T, ...]
    total: int
