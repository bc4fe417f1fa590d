"""What the classes of rows share: a transaction, the record of what it changes, and a few turns of phrase."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa

from router.base.paging import Listing, Window
from router.store.changes import Changes
from router.store.connection import Connection

T = TypeVar("T")


class Rows:
    """One table's rows inside one transaction."""

    def __init__(self, connection: Connection, changes: Changes, *, writing: bool) -> None:
        self._connection = connection
        self._changes = changes
        self._writing = writing

    def _locked(self, select: sa.Select[Any], table: sa.Table) -> sa.Select[Any]:
        """In a transaction that writes, keep others from changing the row until the commit.

        NO KEY UPDATE, because keys never change: rows that refer to it may be added meanwhile. SQLite's one writer needs
        no such thing, and its dialect leaves the words out.
        """
        return select.with_for_update(of=table, key_share=True) if self._writing else select

    async def _one(self, select: sa.Select[Any]) -> sa.Row[Any] | None:
        row: sa.Row[Any] | None = (await self._connection.execute(select)).one_or_none()
        return row

    async def _listing(
        self,
        select: sa.Select[Any],
        window: Window,
        order: Iterable[sa.ColumnElement[Any]],
        read: Callable[[Any], T],
        after: sa.ColumnElement[bool] | None = None,
        key: sa.Column[Any] | None = None,
        which: sa.Select[Any] | None = None,
        total: sa.Select[int] | None = None,
    ) -> Listing[T]:
        """A part of what is selected, and how much there is in all. `after` narrows the part alone.

        With `key`, the column that identifies a row, keys are sorted and only the part's rows read whole. A sort carries
        all it selects: page 130 of 130 of 1,000 domains each took 1.15 s of processor time instead of 0.36 (SQLite).
        `which` selects the keys, where fewer tables say them than `select` joins: an index may have all of them in order.
        `total` says how many there are without counting them (`holdings.py`).
        """
        counted = select if which is None else which
        if total is None:
            ones = counted.with_only_columns(sa.literal(1), maintain_column_froms=True).subquery()
            total = sa.select(sa.func.count()).select_from(ones)
        number = await self._connection.scalar(total) or 0
        if after is not None:
            select, counted = select.where(after), counted.where(after)
        order = tuple(order)
        part = counted.order_by(*order).limit(_known(window.limit)).offset(_known(window.offset))
        if key is not None:
            part = select.where(key.in_(part.with_only_columns(key, maintain_column_froms=True))).order_by(*order)
        rows = await self._connection.execute(part)
        return Listing(tuple(read(row) for row in rows), number)


def _known(number: int) -> sa.BindParameter[int]:
    """A number that stands in the statement itself. Readers' plans are generic (`postgres.py`): of a LIMIT that is a parameter
    PostgreSQL assumes a tenth of all rows, and sorts them (0.5 s of 200,000) where an index has them in order."""
    return sa.bindparam(None, number, sa.Integer, literal_execute=True)


def named(row: sa.Row[Any]) -> Mapping[Any, Any]:
    """A row's values by column name."""
    return row._mapping  # noqa: SLF001  # SQLAlchemy's public name for it, underscored so that no column hides it


def fields_of(value: Any, *without: str) -> dict[str, Any]:
    """A dataclass's fields by name, not copied."""
    return {item.name: getattr(value, item.name) for item in dataclasses.fields(value) if item.name not in without}


def conditions(table: sa.Table, **wanted: object) -> list[sa.ColumnElement[bool]]:
    """`column = value` for each value that is given."""
    return [table.c[name] == value for name, value in wanted.items() if value is not None]
