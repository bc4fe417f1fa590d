"""What verbs need of a store, whatever their noun: a unit of work, and a window on a list.

A verb takes a `Unit` by constructor, opens `begin()` around what must happen together, and works on the rows that the
unit offers. Each noun says in its own file which rows it needs; the store offers all of them.
"""

import uuid
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Unit(Protocol[T_co]):
    """A store, as a verb sees it. Both methods raise StoreUnavailableError where the store does not answer in time."""

    def begin(self) -> AbstractAsyncContextManager[T_co]:
        """A transaction that may write: committed when the block ends, undone when it raises.

        When `begin()` has ended, every listener in this process has heard of the records that changed.
        """

    def read(self) -> AbstractAsyncContextManager[T_co]:
        """A transaction that only reads, as of one instant. Never waits for a writer."""


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


def new_id() -> str:
    """A UUID v4: the form of every id."""
    return str(uuid.uuid4())


def is_id(text: str) -> bool:
    """Whether `text` is a UUID in its one canonical spelling."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
