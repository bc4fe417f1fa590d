"""The columns that custom domains and preview domains share: when each is checked, and what the last check found."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from router.domains.checks.pointing import CheckResult
from router.domains.checks.schedule import FURTHEST, CheckState, Method, Slice
from router.store.connection import Connection
from router.store.rows import fields_of, named

_OLDEST, _NEWEST = 2048, 512  # rows of a long queue

_RESULT = "finding"  # the name of the column of CheckState.result
_COLUMNS = frozenset(item.name for item in dataclasses.fields(CheckState)) - {"result"} | {_RESULT}


def check_fields(state: CheckState) -> dict[str, Any]:
    """The columns' values."""
    values = fields_of(state)
    values[_RESULT] = values.pop("result")
    return values


def read_check(row: sa.Row[Any]) -> CheckState:
    """The values of a row's columns."""
    values = {name: value for name, value in named(row).items() if name in _COLUMNS}
    result = values.pop(_RESULT)
    values["result"] = None if result is None else CheckResult(result)
    values["method"] = None if row.method is None else Method(row.method)
    return CheckState(**values)


def unchecked(row: sa.Row[Any]) -> dict[str, Any]:
    """What else a row has."""
    return {name: value for name, value in named(row).items() if name not in _COLUMNS}


async def due(
    connection: Connection, table: sa.Table, now: datetime, limit: int, part: Slice
) -> Sequence[tuple[datetime, str, str]]:
    """When the next check is due, the id and the tenant, of rows of that part for which it is by now: each tenant's first, the
    longest ago first, then each one's second, and so on.

    Of a queue that is longer than that only both ends are read: a million rows would be sorted for each batch. A
    tenant with few of them is at the end that came last, and so has its turn at once.
    """
    parameters = {"now": now, "furthest": now + FURTHEST, "limit": limit}
    return [
        (row.next_check_at, row.id, row.tenant_id) for row in await connection.execute(_due(table, part), parameters)
    ]


@cache  # it is asked a dozen times a second, and takes ten times as long to be made as to be executed
def _due(table: sa.Table, part: Slice) -> sa.Select[Any]:
    at = table.c.next_check_at
    living = [table.c.removed_at.is_(None)] if "removed_at" in table.c else []
    ready = sa.select(at, table.c.id, table.c.tenant_id).where(*living, slice_of(table, part))
    # Each a range of the index on the time, in its order: with OR between the two SQLite read the whole index, or all ids.
    late = ready.where(at <= sa.bindparam("now", type_=at.type))
    ahead = ready.where(at > sa.bindparam("furthest", type_=at.type))
    ends = [
        select.order_by(order).limit(most).subquery()
        for select, order, most in ((late, at, _OLDEST), (late, at.desc(), _NEWEST), (ahead, at, _NEWEST))
    ]
    both = sa.union(*(sa.select(end) for end in ends)).subquery()
    turn = sa.func.row_number().over(partition_by=both.c.tenant_id, order_by=both.c.next_check_at).label("turn")
    turns = sa.select(both, turn).subquery()
    return sa.select(turns).order_by(turns.c.turn, turns.c.next_check_at).limit(sa.bindparam("limit", type_=sa.Integer))


def slice_of(table: sa.Table, part: Slice) -> sa.ColumnElement[bool]:
    """Whose ids begin with one of a slice's hexadecimal digits."""
    first, after = part.bounds
    # Not the column itself: SQLite would look through all ids of a slice in place of what is due.
    digits = table.c.id + ""
    above = digits >= first
    return above if after is None else sa.and_(above, digits < after)


async def schedule_now(
    connection: Connection, table: sa.Table, now: datetime, unless_since: datetime, *which: sa.ColumnElement[bool]
) -> int:
    """Let the next check be due now, unless it is already or the last was later than `unless_since`; how many rows that was."""
    unseen = sa.or_(table.c.checked_at.is_(None), table.c.checked_at < unless_since, table.c.checked_at > now)
    update = sa.update(table).where(table.c.next_check_at > now, unseen, *which).values(next_check_at=now)
    return len((await connection.execute(update.returning(table.c.id))).all())
