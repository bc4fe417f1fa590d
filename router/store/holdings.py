"""How many of each noun a scope holds: numbers that are there, in place of rows that are counted.

Triggers keep them (revision 0037), in the transaction of each change: of whatever version of ours, and of an operator.

    SQLite        has one writer: a trigger changes the number itself
    PostgreSQL    a tenant's number would be a row that each transaction of that tenant's waits for until another has committed.
                  So a trigger adds a row that says by how much the number has changed, and the job `sum_up_holdings` adds
                  such rows up. What a scope holds is its number and its changes together, as of one instant
"""

from collections.abc import Sequence

import sqlalchemy as sa

from router.store.connection import Engine
from router.store.failures import translated
from router.store.tables import custom_domains, metadata, preview_domains, projects, resources, workspaces
from router.store.types import Id

_EMPTY = sa.text("number = 0")
_AT_ONCE = 5000  # changes that are added up in one transaction

# Nouns: a kind of resource, `custom_domain`, `preview_domain`, `project`, `workspace`.
holdings = sa.Table(
    "holdings",
    metadata,
    sa.Column("scope_id", Id, primary_key=True),
    sa.Column("noun", sa.String(20), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Index("ix_holdings_empty", "scope_id", sqlite_where=_EMPTY, postgresql_where=_EMPTY),
)

holding_changes = sa.Table(
    "holding_changes",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("scope_id", Id, nullable=False),
    sa.Column("noun", sa.String(20), nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Index("ix_holding_changes_scope", "scope_id", "noun"),
)

COUNTED: Sequence[sa.Table] = (resources, custom_domains, projects, workspaces, preview_domains)
"""The tables whose living rows are counted."""

# PostgreSQL: the oldest changes, that no other process adds up now, become a part of the numbers; in one order, so that two don't
# wait for each other.
_SUM_UP = sa.text("""
    WITH gone AS (
        DELETE FROM holding_changes WHERE id IN (
            SELECT id FROM holding_changes ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
        ) RETURNING scope_id, noun, number
    ), changed AS (
        INSERT INTO holdings (scope_id, noun, number)
        SELECT scope_id, noun, sum(number) FROM gone GROUP BY 1, 2 HAVING sum(number) <> 0 ORDER BY 1, 2
        ON CONFLICT (scope_id, noun) DO UPDATE SET number = holdings.number + excluded.number
    )
    SELECT count(*) FROM gone
""")
_DROP_EMPTY = sa.delete(holdings).where(_EMPTY)


async def sum_up(reader: Engine, writer: Engine) -> None:
    """Add the changes up. Raises StoreUnavailableError."""
    with translated():
        async with reader.connect() as connection:
            if await connection.scalar(sa.select(holding_changes.c.id).limit(1)) is None:
                return
        added = _AT_ONCE
        while added >= _AT_ONCE:
            async with writer.begin() as connection:
                added = await connection.scalar(_SUM_UP, {"limit": _AT_ONCE})
                await connection.execute(_DROP_EMPTY)


def number_held(scope_id: str | sa.Column[str] | None, noun: str) -> sa.ColumnElement[int]:
    """How many the scope holds, as a column."""
    number, changes = (
        sa.select(value).where(table.c.scope_id == scope_id, table.c.noun == noun).scalar_subquery()
        for table, value in ((holdings, holdings.c.number), (holding_changes, sa.func.sum(holding_changes.c.number)))
    )
    # PostgreSQL's sum is no integer.
    return sa.cast(sa.func.coalesce(number, 0) + sa.func.coalesce(changes, 0), sa.BigInteger)


def held(scope_id: str | None, noun: str) -> sa.Select[int]:
    """How many the scope holds."""
    return sa.select(number_held(scope_id, noun))


def all_held(scope_id: sa.BindParameter[str]) -> sa.Select[str, int]:
    """Of each noun how many the scope holds."""
    of_scope = [
        sa.select(table.c.noun, table.c.number).where(table.c.scope_id == scope_id)
        for table in (holdings, holding_changes)
    ]
    both = sa.union_all(*of_scope).subquery()
    return sa.select(both.c.noun, sa.func.sum(both.c.number).label("number")).group_by(both.c.noun)


def held_within(
    noun: str, *, tenant_id: str | None, workspace_id: str | None, project_id: str | None = None
) -> sa.Select[int] | None:
    """How many the narrowest of these scopes holds, if it lies in the others; None where no scope is given."""
    scope_id = project_id or workspace_id or tenant_id
    if scope_id is None:
        return None
    found = held(scope_id, noun)
    table = projects if project_id is not None else workspaces
    around = {"tenant_id": tenant_id, "workspace_id": workspace_id if project_id is not None else None}
    given = [table.c[name] == value for name, value in around.items() if value is not None]
    return (
        found if scope_id == tenant_id or not given else found.where(sa.exists().where(table.c.id == scope_id, *given))
    )
