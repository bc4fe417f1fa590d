"""INSERT … ON CONFLICT, which SQLite and PostgreSQL share and SQLAlchemy has once per dialect."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

_Insert = postgresql.Insert | sqlite.Insert


def upsert(
    connection: AsyncConnection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    update: Callable[[Any], Mapping[str, Any]] | None,
    *,
    where: Callable[[Any], sa.ColumnElement[bool]] | None = None,
) -> _Insert:
    """Insert `rows`; where the primary key exists, set what `update(excluded)` says, or nothing for None.

    `where(excluded)` narrows which existing rows are updated.
    """
    insert: _Insert
    if connection.dialect.name == "postgresql":
        insert = postgresql.insert(table).values(list(rows))
    else:
        insert = sqlite.insert(table).values(list(rows))
    key = list(table.primary_key.columns)
    if update is None:
        return insert.on_conflict_do_nothing(index_elements=key)
    return insert.on_conflict_do_update(
        index_elements=key,
        set_=dict(update(insert.excluded)),
        where=where(insert.excluded) if where is not None else None,
    )
