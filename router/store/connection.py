"""What the store needs of a database: connections on which statements are awaited, and one way to read in one go."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

T = TypeVar("T")

Result = sa.Result[*tuple[Any, ...]]
ScalarResult = sa.ScalarResult[Any]


class Connection(Protocol):
    """A transaction under way. Statements go one after the other: a task must not start one before the last is done."""

    @property
    def dialect(self) -> sa.Dialect: ...

    async def execute(self, statement: sa.Executable, parameters: Any = None, /) -> Result:
        """The rows, all of them read."""

    async def scalars(self, statement: sa.Executable, parameters: Any = None, /) -> ScalarResult:
        """The first value of each row."""

    async def scalar(self, statement: sa.Executable, parameters: Any = None, /) -> Any:
        """The first value of the first row, or None."""


class Reader(Protocol):
    """Short reads, for the path that requests wait on."""

    @property
    def dialect(self) -> sa.Dialect: ...

    async def one(self, statement: sa.Select[Any], parameters: Mapping[str, Any], /) -> Mapping[str, Any]:
        """The one row of a statement that only reads, by column name, without a transaction around it. The parameters
        and what is found are as the driver has them."""

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` returns, run in one transaction that only reads. Raises StoreUnavailableError."""


class Engine(Reader, Protocol):
    """A database, for one kind of transactions. What goes wrong raises as `engine.translated` says.

    `closed` is why nothing may be asked of it now: each use raises StoreUnavailableError with that. None: it is open.
    """

    closed: str | None

    def begin(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction that is committed when the block ends, and undone when it raises."""

    def connect(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction that is undone when the block ends."""

    async def change(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` returns, run in one transaction that may write and is committed. Raises StoreUnavailableError."""

    async def dispose(self) -> None:
        """Close every connection."""


def rows_changed(result: Result) -> int:
    """How many rows a statement changed that returns none."""
    if not isinstance(result, sa.CursorResult):
        raise TypeError("only a statement without RETURNING counts its rows")
    return result.rowcount
