"""Stored wakes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from router.routes.records import Kind, State
from router.routes.wakes import Wake, WakeState, wake_key
from router.store.changes import chunks
from router.store.locks import hold_wakes
from router.store.rows import Rows, fields_of, named
from router.store.tables import resources, tenants
from router.store.types import DatabaseTime
from router.store.upsert import Upsert, replacing
from router.store.wake_tables import RUNS_BY_NOW, wakes
from router.tenancy.wakes import Sleeper, StoredWake

_ENDED = (WakeState.REFUSED.value, WakeState.FAILED.value)
_FORGOTTEN = 500  # rows of one round
_TIME = sa.select(DatabaseTime())
_PUT = Upsert(wakes, replacing(*(column.name for column in wakes.columns if column.name != "resource_id")))
_HAS_TO_DO = sa.or_(wakes.c.state.not_in(_ENDED), wakes.c.until <= DatabaseTime())
_PENDING = sa.select(sa.exists().where(_HAS_TO_DO))
_SLEEPERS = (
    sa.select(
        resources.c.id,
        resources.c.tenant_id,
        resources.c.kind,
        resources.c.slug,
        resources.c.state,
        resources.c.wake,
        tenants.c.default_wake,
        sa.or_(resources.c.suspended, tenants.c.suspended).label("suspended"),
    )
    .join(tenants, tenants.c.id == resources.c.tenant_id)
    .where(resources.c.id.in_(sa.bindparam("ids", expanding=True)), resources.c.deleted_at.is_(None))
)
# What visitors are shown.
_SHOWN = ("state", "since", "until", "place", "code")


class SqlWakes(Rows):
    """tenancy.wakes.WakeRows"""

    async def hold(self) -> float:
        await hold_wakes(self._connection)
        return float(await self._connection.scalar(_TIME))

    async def pending(self) -> bool:
        return bool(await self._connection.scalar(_PENDING))

    async def list(self, ids: Collection[str], now: float) -> Sequence[StoredWake]:
        found = list(await self._connection.execute(sa.select(wakes).where(wakes.c.state.not_in(_ENDED))))
        over = sa.select(wakes).where(wakes.c.state.in_(_ENDED), wakes.c.until <= now)
        found += await self._connection.execute(over.order_by(wakes.c.until).limit(_FORGOTTEN))
        for chunk in chunks(sorted(ids)):
            found += await self._connection.execute(sa.select(wakes).where(wakes.c.resource_id.in_(chunk)))
        return [_read(row) for row in {row.resource_id: row for row in found}.values()]

    async def sleepers(self, ids: Collection[str]) -> Mapping[str, Sleeper]:
        found: dict[str, Sleeper] = {}
        for chunk in chunks(sorted(ids)):
            for row in await self._connection.execute(_SLEEPERS, {"ids": chunk}):
                found[row.id] = Sleeper(
                    resource_id=row.id,
                    tenant_id=row.tenant_id,
                    kind=Kind(row.kind),
                    slug=row.slug,
                    state=State(row.state),
                    wake=wake_of(row),
                    suspended=bool(row.suspended),
                )
        return found

    async def save(self, old: Mapping[str, StoredWake], new: Sequence[StoredWake]) -> None:
        changed = [wake for wake in new if old.get(wake.resource_id) != wake]
        if changed:
            await self._connection.execute(_PUT.on(self._connection), [_values(wake) for wake in changed])
        for wake in changed:
            before = old.get(wake.resource_id)
            if before is None or any(getattr(before, name) != getattr(wake, name) for name in _SHOWN):
                self._changes.record(wake_key(wake.resource_id))

    async def delete(self, ids: Collection[str]) -> None:
        for chunk in chunks(sorted(ids)):
            gone = sa.delete(wakes).where(wakes.c.resource_id.in_(chunk)).returning(wakes.c.resource_id, wakes.c.state)
            for row in await self._connection.execute(gone):
                if row.state != RUNS_BY_NOW:
                    self._changes.record(wake_key(row.resource_id))

    async def running(self, ids: Collection[str]) -> None:
        for chunk in chunks(sorted(ids)):
            ended = (
                sa.update(wakes)
                .where(wakes.c.resource_id.in_(chunk), wakes.c.state != RUNS_BY_NOW)
                .values(state=RUNS_BY_NOW, until=DatabaseTime())
                .returning(wakes.c.resource_id)
            )
            for resource_id in await self._connection.scalars(ended):
                self._changes.record(wake_key(resource_id))


def wake_of(row: Any) -> Wake:
    """Whose requests wake a resource, by its row with its tenant's `default_wake`, which is that of machines: a deployment is
    woken where the platform says so."""
    return Wake.of(row.wake or (Wake.OFF if row.kind == Kind.DEPLOYMENT else row.default_wake))


def _values(wake: StoredWake) -> dict[str, Any]:
    return fields_of(wake) | {"state": RUNS_BY_NOW if wake.state is None else wake.state.value}


def _read(row: sa.Row[Any]) -> StoredWake:
    return StoredWake(**{**named(row), "state": None if row.state == RUNS_BY_NOW else WakeState(row.state)})
