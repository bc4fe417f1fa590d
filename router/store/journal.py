"""Stored events and intervals of use."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.base.ids import new_id
from router.base.paging import Listing, Window
from router.routes.records import Kind, State
from router.store.changes import Changes, chunks
from router.store.connection import Connection
from router.store.journal_tables import events, usage_intervals
from router.store.rows import Rows, conditions, named
from router.store.webhooks import add_events
from router.tenancy.events import FAMILY, Event, EventFilter
from router.tenancy.resources import Resource
from router.tenancy.usage import Interval


class SqlEvents(Rows):
    """tenancy.events.EventRows, and so base.events.EventSink. `stored` are those of this transaction."""

    def __init__(self, connection: Connection, changes: Changes, *, writing: bool) -> None:
        super().__init__(connection, changes, writing=writing)
        self.stored: list[Event] = []

    async def emit(
        self,
        event_type: str,
        now: datetime,
        *,
        tenant_id: str,
        workspace_id: str | None = None,
        project_id: str | None = None,
        resource_id: str | None = None,
        data: Mapping[str, Any],
    ) -> None:
        event = Event(
            id=new_id(),
            type=event_type,
            tenant_id=tenant_id,
            workspace_id=workspace_id,
            project_id=project_id,
            resource_id=resource_id,
            domain_id=data.get("domain_id"),
            data=dict(data),
            created_at=now,
        )
        await self.add([event])

    async def add(self, new: Sequence[Event]) -> None:
        self.stored += new
        await add_events(self._connection, new)

    async def get(self, event_id: str) -> Event | None:
        row = await self._one(sa.select(events).where(events.c.id == event_id))
        return None if row is None else Event(**named(row))

    async def list(self, where: EventFilter, window: Window) -> Listing[Event]:
        select = sa.select(events).where(
            *conditions(
                events,
                tenant_id=where.tenant_id,
                workspace_id=where.workspace_id,
                project_id=where.project_id,
                resource_id=where.resource_id,
                domain_id=where.domain_id,
            )
        )
        if where.type is not None and where.type.endswith(FAMILY):
            select = select.where(events.c.type.startswith(where.type.removesuffix("*"), autoescape=True))
        elif where.type is not None:
            select = select.where(events.c.type == where.type)
        order = (events.c.created_at.desc(), events.c.id)
        return await self._listing(select, window, order, lambda row: Event(**named(row)), _after(where.after))


def _after(position: tuple[datetime, str] | None) -> sa.ColumnElement[bool] | None:
    if position is None:
        return None
    created_at, event_id = position
    same = sa.and_(events.c.created_at == created_at, events.c.id > event_id)
    return sa.or_(events.c.created_at < created_at, same)


_OF_RESOURCE = ("tenant_id", "workspace_id", "project_id", "kind", "state", "size")


class SqlUsage(Rows):
    """tenancy.usage.UsageRows"""

    async def record(self, resources: Sequence[Resource], now: datetime) -> None:
        for chunk in chunks([resource.id for resource in resources]):
            await self._end(usage_intervals.c.resource_id.in_(chunk), now)
        new = [
            {name: getattr(resource, name) for name in _OF_RESOURCE}
            | {"id": new_id(), "resource_id": resource.id, "started_at": now}
            for resource in resources
            if resource.deleted_at is None
        ]
        if new:
            await self._connection.execute(sa.insert(usage_intervals), new)

    async def record_move(self, project_id: str, workspace_id: str, now: datetime) -> None:
        open_ones = (usage_intervals.c.project_id == project_id, usage_intervals.c.ended_at.is_(None))
        rows = (await self._connection.execute(sa.select(usage_intervals).where(*open_ones))).all()
        if rows:
            await self._end(usage_intervals.c.project_id == project_id, now)
            anew = {"workspace_id": workspace_id, "started_at": now}
            await self._connection.execute(
                sa.insert(usage_intervals), [{**named(row), **anew, "id": new_id()} for row in rows]
            )

    async def ran(
        self, workspace_id: str, kinds: Sequence[Kind], state: State, since: datetime, until: datetime
    ) -> Sequence[Interval]:
        columns = (usage_intervals.c.size, usage_intervals.c.started_at, usage_intervals.c.ended_at)
        began = sa.select(*columns).where(
            usage_intervals.c.workspace_id == workspace_id,
            usage_intervals.c.kind.in_(kinds),
            usage_intervals.c.state == state.value,
            usage_intervals.c.started_at < until,
        )
        # Apart, so that what ended long ago is not read: each is a range of one index.
        ended_at = usage_intervals.c.ended_at
        overlapping = sa.union_all(began.where(ended_at.is_(None)), began.where(ended_at > since))
        return [Interval(*row) for row in await self._connection.execute(overlapping)]

    async def _end(self, which: sa.ColumnElement[bool], now: datetime) -> None:
        await self._connection.execute(
            sa.update(usage_intervals).where(which, usage_intervals.c.ended_at.is_(None)).values(ended_at=now)
        )
