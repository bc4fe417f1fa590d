"""Stored entries of the audit log."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from router.audit.entry import (
    FAMILY,
    PLATFORM_SCOPE,
    PLATFORMS,
    ActorType,
    AuditRows,
    Entry,
    EntryFilter,
    Outcome,
    Via,
)
from router.base.paging import Window
from router.store.audit_tables import audit_entries as entries
from router.store.changes import chunks
from router.store.connection import Connection
from router.store.rows import conditions, fields_of, named
from router.store.upsert import Upsert, replacing

_PUT = Upsert(
    entries,
    replacing(
        *("tenant_id", "workspace_id", "project_id", "resource_id", "resource_name"),
        *("outcome", "status", "code", "changes", "count"),
    ),
)
_BATCH = 100  # rows of one statement
_FILTERED = (
    *("tenant_id", "workspace_id", "project_id", "actor_type", "actor_id", "resource_type", "resource_id"),
    *("outcome", "request_id"),
)


class SqlAudit(AuditRows):
    """audit.entry.AuditRows"""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def put(self, entries: Sequence[Entry]) -> None:
        for start in range(0, len(entries), _BATCH):
            rows = [_values(entry) for entry in entries[start : start + _BATCH]]
            await self._connection.execute(_PUT.on(self._connection), rows)

    async def get(self, entry_id: str) -> Entry | None:
        row = (await self._connection.execute(sa.select(entries).where(entries.c.id == entry_id))).one_or_none()
        return None if row is None else _read(row)

    async def list(self, where: EntryFilter, window: Window) -> Sequence[Entry]:
        select = sa.select(entries).where(*_where(where))
        if where.after is not None:
            at, entry_id = where.after
            same = sa.and_(entries.c.created_at == at, entries.c.id > entry_id)
            # The first condition is the second's own, for the index.
            select = select.where(entries.c.created_at <= at, sa.or_(entries.c.created_at < at, same))
        order = (entries.c.created_at.desc(), entries.c.id)
        part = select.order_by(*order).limit(window.limit).offset(window.offset)
        return [_read(row) for row in await self._connection.execute(part)]

    async def count(self, where: EntryFilter) -> int:
        return await self._connection.scalar(sa.select(sa.func.count()).select_from(entries).where(*_where(where))) or 0

    async def over(self, most: int) -> Mapping[str | None, int]:
        number = sa.func.count().label("number")
        select = sa.select(entries.c.tenant_id, number).group_by(entries.c.tenant_id).having(number > most)
        return {row.tenant_id: row.number - most for row in await self._connection.execute(select)}

    async def trim(self, tenant_id: str | None, number: int) -> int:
        own = entries.c.tenant_id.is_(None) if tenant_id is None else entries.c.tenant_id == tenant_id
        oldest = sa.select(entries.c.id).where(own).order_by(entries.c.created_at)
        # Refusals cost whoever makes them nothing: they must not push out what has happened.
        refused = oldest.where(entries.c.outcome == Outcome.REFUSED.value).limit(number)
        gone = await self._delete(list(await self._connection.scalars(refused)))
        if gone < number:
            gone += await self._delete(list(await self._connection.scalars(oldest.limit(number - gone))))
        return gone

    async def _delete(self, ids: Sequence[str]) -> int:
        for chunk in chunks(ids):
            await self._connection.execute(sa.delete(entries).where(entries.c.id.in_(chunk)))
        return len(ids)


def _where(where: EntryFilter) -> list[sa.ColumnElement[bool]]:
    found = conditions(entries, **{name: getattr(where, name) for name in _FILTERED})
    if where.action is not None and where.action.endswith(FAMILY):
        found.append(entries.c.action.startswith(where.action.removesuffix("*"), autoescape=True))
    elif where.action is not None:
        found.append(entries.c.action == where.action)
    if where.since is not None:
        found.append(entries.c.created_at >= where.since)
    if where.until is not None:
        found.append(entries.c.created_at < where.until)
    if where.not_by_platform:
        found.append(entries.c.actor_type.not_in([one.value for one in PLATFORMS]))
        found.append(sa.or_(entries.c.actor_scope.is_(None), entries.c.actor_scope != PLATFORM_SCOPE))
    return found


def _values(entry: Entry) -> dict[str, Any]:
    return {
        **fields_of(entry),
        "actor_type": entry.actor_type.value,
        "via": entry.via.value,
        "outcome": entry.outcome.value,
        "changes": dict(entry.changes),
    }


def _read(row: sa.Row[Any]) -> Entry:
    return Entry(
        **{
            **named(row),
            "actor_type": ActorType(row.actor_type),
            "via": Via(row.via),
            "outcome": Outcome(row.outcome),
        }
    )
