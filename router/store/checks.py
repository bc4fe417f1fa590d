"""The columns that custom domains and preview domains share: when each is looked at, and what the last look found."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.domains.checks import CheckState, Method
from router.domains.pointing import Finding
from router.store.connection import Connection
from router.store.rows import fields_of, named

_COLUMNS = frozenset(item.name for item in dataclasses.fields(CheckState))


def check_fields(state: CheckState) -> dict[str, Any]:
    """The columns' values."""
    return fields_of(state)


def read_check(row: sa.Row[Any]) -> CheckState:
    """The values of a row's columns."""
    values = {name: value for name, value in named(row).items() if name in _COLUMNS}
    values["finding"] = None if row.finding is None else Finding(row.finding)
    values["method"] = None if row.method is None else Method(row.method)
    return CheckState(**values)


def unchecked(row: sa.Row[Any]) -> dict[str, Any]:
    """What else a row has."""
    return {name: value for name, value in named(row).items() if name not in _COLUMNS}


async def due(
    connection: Connection, table: sa.Table, now: datetime, limit: int, *which: sa.ColumnElement[bool]
) -> Sequence[tuple[datetime, str]]:
    """When the next look is due, and the id, of those for which it is by now; the longest ago first."""
    select = (
        sa.select(table.c.next_check_at, table.c.id)
        .where(table.c.next_check_at <= now, *which)
        .order_by(table.c.next_check_at)
        .limit(limit)
    )
    return [(row.next_check_at, row.id) for row in await connection.execute(select)]


async def pull(
    connection: Connection, table: sa.Table, now: datetime, unless_since: datetime, *which: sa.ColumnElement[bool]
) -> int:
    """Let the next look be due now, unless it is already or one was seen since then; how many rows that was."""
    unseen = sa.or_(table.c.checked_at.is_(None), table.c.checked_at < unless_since)
    update = sa.update(table).where(table.c.next_check_at > now, unseen, *which).values(next_check_at=now)
    return len((await connection.execute(update.returning(table.c.id))).all())
