"""INSERT … ON CONFLICT, which SQLite and PostgreSQL share and SQLAlchemy has once per dialect."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from router.store.connection import Connection

Update = Callable[[Any], Mapping[str, Any]]


class Upsert:
    """A statement to be executed with rows: inserts each; where its primary key exists, sets what `update(excluded)`
    says, or nothing for None. `where(excluded)` narrows which existing rows are updated. With `select` the rows are what
    that finds; SQLite wants it to have a WHERE (https://www.sqlite.org/lang_upsert.html, 2.2).

    Made once per use, not per execution: making one costs more than running it, and SQLAlchemy compiles the same
    statement only once.
    """

    def __init__(
        self,
        table: sa.Table,
        update: Update | None,
        *,
        where: Callable[[Any], sa.ColumnElement[bool]] | None = None,
        returning: Collection[sa.Column[Any]] = (),
        select: sa.Select[Any] | None = None,
    ) -> None:
        self._statements: dict[str, sa.Executable] = {}
        for name, dialect in (("postgresql", postgresql), ("sqlite", sqlite)):
            insert = dialect.insert(table)
            if select is not None:
                insert = insert.from_select(list(table.columns), select)
            key = list(table.primary_key.columns)
            if update is None:
                insert = insert.on_conflict_do_nothing(index_elements=key)
            else:
                insert = insert.on_conflict_do_update(
                    index_elements=key,
                    set_=dict(update(insert.excluded)),
                    where=where(insert.excluded) if where is not None else None,
                )
            self._statements[name] = insert.returning(*returning) if returning else insert

    def on(self, connection: Connection) -> sa.Executable:
        """The statement for this connection's database."""
        return self._statements[connection.dialect.name]


def replacing(*columns: str) -> Update:
    """An update that sets these columns to what would have been inserted."""
    return lambda excluded: {column: excluded[column] for column in columns}
