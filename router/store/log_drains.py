"""Stored log drains."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from router.base.paging import Listing, Window
from router.drains.log_drain import BatchFormat, DrainKind, DrainState, LogDrain
from router.store.log_drain_tables import log_drains
from router.store.rows import Rows, fields_of, named

_PROGRESS: Final = frozenset(
    {"position", "delivered", "lost", "gap", "failures", "next_at", "last_at", "last_status", "last_error", "state"}
)
_ACTIVE: Final = DrainState.ACTIVE.value


class SqlLogDrains(Rows):
    """drains.log_drain.LogDrainRows"""

    async def add(self, drain: LogDrain) -> None:
        await self._connection.execute(sa.insert(log_drains).values(_values(drain)))

    async def get(self, drain_id: str) -> LogDrain | None:
        row = await self._one(self._locked(sa.select(log_drains).where(log_drains.c.id == drain_id), log_drains))
        return None if row is None else _read(row)

    async def list(self, window: Window, *, tenant_id: str) -> Listing[LogDrain]:
        select = sa.select(log_drains).where(log_drains.c.tenant_id == tenant_id)
        return await self._listing(select, window, (log_drains.c.created_at, log_drains.c.id), _read)

    async def save(self, drain: LogDrain) -> None:
        await self._connection.execute(sa.update(log_drains).where(log_drains.c.id == drain.id).values(_values(drain)))

    async def delete(self, drain_id: str) -> None:
        await self._connection.execute(sa.delete(log_drains).where(log_drains.c.id == drain_id))

    async def any(self) -> bool:
        exists = sa.exists().where(log_drains.c.state == _ACTIVE)
        return bool(await self._connection.scalar(sa.select(exists)))

    async def due(self, newest: int, now: datetime) -> Sequence[LogDrain]:
        columns = log_drains.c
        select = sa.select(log_drains).where(
            columns.state == _ACTIVE,
            columns.position < newest,
            sa.or_(columns.next_at.is_(None), columns.next_at <= now),
        )
        return [_read(row) for row in await self._connection.execute(select)]

    async def settle(self, drain: LogDrain) -> bool:
        columns = log_drains.c
        found = await self._connection.scalars(
            sa.update(log_drains)
            .where(columns.id == drain.id, columns.state == _ACTIVE, columns.updated_at == drain.updated_at)
            .values({name: value for name, value in _values(drain).items() if name in _PROGRESS})
            .returning(columns.id)
        )
        return found.first() is not None

    async def skip(self, drains: Sequence[str], position: int) -> None:
        columns = log_drains.c
        await self._connection.execute(
            sa.update(log_drains)
            .where(columns.id.in_(drains), columns.state == _ACTIVE, columns.position < position)
            .values(position=position)
        )

    async def after(self, drain_id: str, limit: int) -> Sequence[LogDrain]:
        columns = log_drains.c
        select = sa.select(log_drains).where(columns.id > drain_id, columns.credentials.is_not(None))
        rows = await self._connection.execute(select.order_by(columns.id).limit(limit))
        return [_read(row) for row in rows]

    async def reseal(self, drain_id: str, before: str, after: str) -> None:
        same = (log_drains.c.id == drain_id, log_drains.c.credentials == before)
        await self._connection.execute(sa.update(log_drains).where(*same).values(credentials=after))


def _values(drain: LogDrain) -> dict[str, Any]:
    return {**fields_of(drain), "credential_names": list(drain.credential_names)}


def _read(row: sa.Row[Any]) -> LogDrain:
    return LogDrain(
        **{
            **named(row),
            "kind": DrainKind(row.kind),
            "format": BatchFormat(row.format),
            "state": DrainState(row.state),
            "credential_names": tuple(row.credential_names),
        }
    )
