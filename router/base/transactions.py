"""Transactions as services see them, whatever their noun.

A service takes a store as `Transactions[Tx]` by constructor, opens `begin()` around what must happen together, and works on
the rows that `Tx` offers. Each noun says in its own file what its rows can do; the store offers all of them.
"""

from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Transactions(Protocol[T_co]):
    """A store, as a service sees it. Both methods raise StoreUnavailableError where it does not respond in time."""

    def begin(self) -> AbstractAsyncContextManager[T_co]:
        """A transaction that may write: committed when the block ends, rolled back when it raises.

        When `begin()` has ended, every listener in this process has been called with the records that changed.
        """

    def read(self) -> AbstractAsyncContextManager[T_co]:
        """A transaction that only reads, as of one instant. Never waits for a writer."""


class Ambient(Protocol):
    """A transaction that is open around a call: what `begin` and `read` do meanwhile is part of it (`store/ambient.py`)."""

    async def commit(self) -> None:
        """Commit what has been done so far and hold no connection; what follows is another transaction."""


AMBIENT: ContextVar[Ambient | None] = ContextVar("ambient_transaction", default=None)


async def commit_ambient() -> None:
    """To be called before a service waits for anything but the store (DNS, HTTP): no connection and no lock is held then.

    What it has changed so far is committed, also where the call around it is one transaction.
    """
    ambient = AMBIENT.get()
    if ambient is not None:
        await ambient.commit()
