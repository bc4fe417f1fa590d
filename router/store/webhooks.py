"""Stored webhooks and their deliveries."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.base.ids import new_id
from router.base.paging import Listing, Window
from router.store.connection import Connection
from router.store.journal_tables import events
from router.store.rows import Rows, conditions, fields_of, named
from router.store.types import Instant, JsonHas, NewId
from router.store.webhook_tables import webhook_deliveries, webhooks
from router.tenancy.deliveries import DELIVERY_TIMEOUT, Delivery, DeliveryState, Due, Settled, ordering_key_of
from router.tenancy.events import FAMILY, Event
from router.tenancy.webhooks import ALL, Webhook

_PENDING = DeliveryState.PENDING.value
_INTO = ("id", "webhook_id", "event_id", "lane", "state", "attempts", "created_at", "next_at")


def _of_event(event: Any) -> sa.Select[Any]:
    """The deliveries of an event, given as a table of one row; `e_lane`, `e_type` and `e_family` are the event's."""
    wanted = sa.or_(*(JsonHas(webhooks.c.event_types, word) for word in (*map(_given, ("type", "family")), ALL)))
    return (
        sa.select(
            NewId(),
            webhooks.c.id,
            event.c.id,
            _given("lane"),
            sa.literal(_PENDING),
            sa.literal(0),
            event.c.created_at,
            event.c.created_at,
        )
        .select_from(event.join(webhooks, webhooks.c.tenant_id == event.c.tenant_id))
        .where(
            webhooks.c.enabled,
            # A project's own webhook goes where its project goes.
            sa.or_(
                webhooks.c.project_id == event.c.project_id,
                sa.and_(
                    webhooks.c.project_id.is_(None),
                    sa.or_(webhooks.c.workspace_id.is_(None), webhooks.c.workspace_id == event.c.workspace_id),
                ),
            ),
            wanted,
        )
    )


def _given(name: str, type_: Any = sa.String) -> sa.BindParameter[Any]:
    return sa.bindparam(f"e_{name}", type_=type_)


def _with_event() -> sa.Executable:
    """PostgreSQL's way: event and deliveries in one statement, so that those without webhooks pay nothing for them."""
    columns = {column.name: _given(column.name, column.type) for column in events.c}
    event = sa.insert(events).values(columns).returning(*events.c).cte("event")
    return sa.insert(webhook_deliveries).from_select(_INTO, _of_event(event))


_FILE_WITH_EVENT = _with_event()
_FILE = sa.insert(webhook_deliveries).from_select(_INTO, _of_event(events).where(events.c.id == _given("id")))


def _is_due(next_at: sa.ColumnElement[Any], now: Any, latest: Any) -> sa.ColumnElement[bool]:
    """By now; or further ahead than an event is tried at all, which a clock that was ahead has written."""
    return sa.or_(next_at <= now, next_at > latest)


# SQLAlchemy builds this statement once: a node executes it every few seconds, also without any traffic.
_WAITING = sa.select(webhooks.c.id).where(
    webhooks.c.enabled,
    sa.exists().where(
        webhook_deliveries.c.webhook_id == webhooks.c.id,
        webhook_deliveries.c.state == _PENDING,
        _is_due(webhook_deliveries.c.next_at, sa.bindparam("now"), sa.bindparam("latest")),
    ),
)


async def add_events(connection: Connection, new: Sequence[Event]) -> None:
    """Store events, and file a delivery for each webhook that wants one."""
    if not new:
        return
    rows = [
        {f"e_{name}": value for name, value in fields_of(event).items()}
        | {"e_lane": ordering_key_of(event), "e_family": event.type.partition(".")[0] + FAMILY}
        for event in new
    ]
    if connection.dialect.name == "postgresql":
        await connection.execute(_FILE_WITH_EVENT, rows)
        return
    await connection.execute(sa.insert(events), [fields_of(event) for event in new])
    await connection.execute(
        _FILE, [{name: row[name] for name in ("e_id", "e_lane", "e_type", "e_family")} for row in rows]
    )


class SqlWebhooks(Rows):
    """tenancy.webhooks.WebhookRows"""

    async def add(self, webhook: Webhook) -> None:
        await self._connection.execute(sa.insert(webhooks).values(_values(webhook)))

    async def get(self, webhook_id: str) -> Webhook | None:
        select = sa.select(webhooks).where(webhooks.c.id == webhook_id)
        row = await self._one(self._locked(select, webhooks))
        return None if row is None else _read(row)

    async def list(
        self, window: Window, *, tenant_id: str, workspace_id: str | None = None, project_id: str | None = None
    ) -> Listing[Webhook]:
        where = conditions(webhooks, tenant_id=tenant_id, workspace_id=workspace_id, project_id=project_id)
        order = (webhooks.c.created_at, webhooks.c.id)
        return await self._listing(sa.select(webhooks).where(*where), window, order, _read)

    async def save(self, webhook: Webhook) -> None:
        await self._connection.execute(sa.update(webhooks).where(webhooks.c.id == webhook.id).values(_values(webhook)))

    async def delete(self, webhook_id: str) -> None:
        for table, column in ((webhook_deliveries, webhook_deliveries.c.webhook_id), (webhooks, webhooks.c.id)):
            await self._connection.execute(sa.delete(table).where(column == webhook_id))


_DELIVERY = sa.select(webhook_deliveries, events.c.type.label("event_type")).join(
    events, events.c.id == webhook_deliveries.c.event_id
)
_EARLIER = webhook_deliveries.alias("earlier")


class SqlDeliveries(Rows):
    """tenancy.deliveries.DeliveryRows"""

    async def file(self, webhook_id: str, event: Event) -> Delivery:
        await self._connection.execute(sa.insert(events).values(fields_of(event)))
        row = {
            "webhook_id": webhook_id,
            "event_id": event.id,
            "lane": event.id,
            "state": _PENDING,
            "attempts": 0,
            "created_at": event.created_at,
            "next_at": event.created_at,
        }
        await self._connection.execute(sa.insert(webhook_deliveries).values(row | {"id": NewId()}))
        (delivery,) = await self._connection.execute(_DELIVERY.where(webhook_deliveries.c.event_id == event.id))
        return _read_delivery(delivery)

    async def get(self, delivery_id: str) -> Delivery | None:
        row = await self._one(_DELIVERY.where(webhook_deliveries.c.id == delivery_id))
        return None if row is None else _read_delivery(row)

    async def replay(self, delivery_id: str, now: datetime) -> Delivery:
        old = webhook_deliveries.alias("old")
        again = sa.select(
            sa.literal(fresh := new_id()),
            old.c.webhook_id,
            old.c.event_id,
            sa.literal(fresh),
            sa.literal(_PENDING),
            sa.literal(0),
            sa.literal(now, Instant),
            sa.literal(now, Instant),
        ).where(old.c.id == delivery_id)
        await self._connection.execute(sa.insert(webhook_deliveries).from_select(_INTO, again))
        (delivery,) = await self._connection.execute(_DELIVERY.where(webhook_deliveries.c.id == fresh))
        return _read_delivery(delivery)

    async def list(self, webhook_id: str, window: Window, *, state: DeliveryState | None = None) -> Listing[Delivery]:
        wanted = conditions(webhook_deliveries, webhook_id=webhook_id, state=state)
        order, which = (webhook_deliveries.c.seq.desc(),), sa.select(webhook_deliveries.c.id).where(*wanted)
        key = webhook_deliveries.c.id
        return await self._listing(_DELIVERY, window, order, _read_delivery, key=key, which=which)

    async def give_up(self, webhook_id: str, reason: str, now: datetime) -> None:
        await self._connection.execute(
            sa.update(webhook_deliveries)
            .where(webhook_deliveries.c.webhook_id == webhook_id, webhook_deliveries.c.state == _PENDING)
            .values(state=DeliveryState.GIVEN_UP.value, next_at=None, last_error=reason, last_at=now)
        )

    async def switch_off(self, webhook_id: str, url: str, reason: str, now: datetime) -> bool:
        found = await self._connection.scalars(
            sa.update(webhooks)
            .where(webhooks.c.id == webhook_id, webhooks.c.url == url, webhooks.c.enabled)
            .values(enabled=False, updated_at=now)
            .returning(webhooks.c.id)
        )
        if found.first() is None:
            return False
        await self.give_up(webhook_id, reason, now)
        return True

    async def waiting(self, now: datetime) -> Sequence[str]:
        return list(await self._connection.scalars(_WAITING, {"now": now, "latest": now + DELIVERY_TIMEOUT}))

    async def due(self, webhook_id: str, now: datetime, without: Collection[str], limit: int) -> Sequence[Due]:
        mine = webhook_deliveries.c
        earlier = sa.exists().where(
            _EARLIER.c.webhook_id == mine.webhook_id,
            _EARLIER.c.lane == mine.lane,
            _EARLIER.c.state == _PENDING,
            _EARLIER.c.seq < mine.seq,
        )
        select = (
            sa.select(mine.id.label("delivery_id"), mine.attempts, mine.created_at.label("filed_at"), webhooks, events)
            .set_label_style(sa.LABEL_STYLE_TABLENAME_PLUS_COL)
            .join(webhooks, webhooks.c.id == mine.webhook_id)
            .join(events, events.c.id == mine.event_id)
            .where(
                mine.webhook_id == webhook_id,
                mine.state == _PENDING,
                _is_due(mine.next_at, now, now + DELIVERY_TIMEOUT),
                ~earlier,
            )
            .where(mine.id.not_in(sorted(without)))
            .order_by(mine.next_at, mine.seq)
            .limit(limit)
        )
        return [_read_due(named(row), now) for row in await self._connection.execute(select)]

    async def settle(self, settled: Settled) -> None:
        attempt = settled.attempt
        await self._connection.execute(
            sa.update(webhook_deliveries)
            .where(webhook_deliveries.c.id == settled.id, webhook_deliveries.c.state == _PENDING)
            .values(
                state=settled.state.value,
                attempts=settled.attempts,
                next_at=settled.next_at,
                last_at=settled.at,
                last_status=attempt.status,
                last_error=attempt.error,
                last_answer=attempt.answer,
            )
        )


def _values(webhook: Webhook) -> dict[str, Any]:
    return {**fields_of(webhook), "event_types": list(webhook.event_types)}


def _read(row: sa.Row[Any]) -> Webhook:
    return Webhook(**{**named(row), "event_types": tuple(row.event_types)})


def _read_delivery(row: sa.Row[Any]) -> Delivery:
    names = Delivery.__dataclass_fields__
    return Delivery(**{**{name: getattr(row, name) for name in names}, "state": DeliveryState(row.state)})


def _read_due(row: Any, now: datetime) -> Due:
    event = Event(**{column.name: row[f"events_{column.name}"] for column in events.c})
    webhook = Webhook(
        **{
            **{column.name: row[f"webhooks_{column.name}"] for column in webhooks.c},
            "event_types": tuple(row["webhooks_event_types"]),
        }
    )
    return Due(
        id=row["delivery_id"],
        webhook_id=webhook.id,
        url=webhook.url,
        secrets=webhook.secrets(now),
        event=event,
        attempts=row["webhook_deliveries_attempts"],
        created_at=row["filed_at"],
    )
