"""INSERT … ON CONFLICT, which SQLite and PostgreSQL share and SQLAlchemy has once per dialect."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from router.store.connection import Connection

Update = Callable[[Any], Mapping[str, Any]]

_DIALECTS: Mapping[str, Any] = {"postgresql": postgresql, "sqlite": sqlite}


class Upsert:
    """A statement to be executed with rows: inserts each; where its primary key exists, sets what `update(excluded)`
    says, or nothing for None. `where(excluded)` narrows which existing rows are updated. With `select` the rows are what
    that finds; SQLite wants it to have a WHERE (https://www.sqlite.org/lang_upsert.html, 2.2).

    Made once, when it is first used, and not per execution: making one costs more than running it, and SQLAlchemy compiles the same
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
        self._table = table
        self._update = update
        self._where = where
        self._returning = returning
        self._select = select
        self._statements: dict[str, sa.Executable] = {}

    def on(self, connection: Connection | sa.Connection) -> sa.Executable:
        """The statement for this connection's database."""
        name = connection.dialect.name
        found = self._statements.get(name)
        if found is None:
            found = self._statements[name] = self._made(_DIALECTS[name])
        return found

    def _made(self, dialect: Any) -> sa.Executable:
        insert = dialect.insert(self._table)
        if self._select is not None:
            insert = insert.from_select(list(self._table.columns), self._select)
        key = list(self._table.primary_key.columns)
        if self._update is None:
            insert = insert.on_conflict_do_nothing(index_elements=key)
        else:
            insert = insert.on_conflict_do_update(
                index_elements=key,
                set_=dict(self._update(insert.excluded)),
                where=self._where(insert.excluded) if self._where is not None else None,
            )
        made: sa.Executable = insert.returning(*self._returning) if self._returning else insert
        return made


def replacing(*columns: str) -> Update:
    """An update that sets these columns to what would have been inserted."""
    return lambda excluded: {column: excluded[column] for column in columns}
