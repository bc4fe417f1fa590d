"""Corrects times in the store that were written while a clock was ahead.

    schedules   when something is next due, further ahead than any schedule reaches: due now
    stamps      when something happened, an hour or more from now: now

It runs every ten minutes, so a reader may meet such a time for that long. Where that is too long, times are clamped as they
are read: leases (`store/leases.py`), due checks and deliveries, idempotency keys, the budgets'
attempts (`gate/budgets.py`), the days of waiting (`domains/checks/schedule.py`).

To a clock that is behind, everything else looks ahead. So nothing is corrected where the database's clock disagrees, and on
SQLite, which has no clock of its own, no table is changed in which many rows look ahead.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType

import sqlalchemy as sa

from router.base.clock import Clock
from router.errors import PruneRefusedError
from router.store.audit_tables import audit_entries
from router.store.certificate_tables import certificate_attempts, certificates
from router.store.connection import Engine, rows_changed
from router.store.deployment_tables import builds
from router.store.failures import translated
from router.store.held_certificate_tables import acme_orders, delegations, held_certificates
from router.store.journal_tables import events, idempotency, usage_intervals
from router.store.log_drain_tables import log_drains
from router.store.tables import (
    activity,
    custom_domains,
    name_claims,
    preview_domains,
    released_zones,
    resources,
    tombstones,
)
from router.store.types import DatabaseTime
from router.store.webhook_tables import webhook_deliveries

AHEAD = timedelta(hours=1)  # by which a stamp may be ahead: more than clocks of one fleet disagree by
_APART = 60.0  # seconds by which this machine's clock and the database's may disagree
_MANY, _SHARE = 1000, 0.5  # rows, and of the table's: more than a clock that was ahead for a while has written
_DAY = timedelta(days=1)

SCHEDULES: Mapping[sa.Column[datetime], timedelta] = MappingProxyType(
    {
        custom_domains.c.next_check_at: _DAY,
        preview_domains.c.next_check_at: _DAY,
        name_claims.c.next_check_at: _DAY,
        webhook_deliveries.c.next_at: 2 * _DAY,
        builds.c.deadline_at: 31 * _DAY,
        certificates.c.retry_at: 31 * _DAY,  # the longest window of a budget that may have to pass
        certificates.c.due_at: 400 * _DAY,  # the longest certificate's
        delegations.c.next_check_at: _DAY,
        held_certificates.c.renew_at: 400 * _DAY,
        held_certificates.c.ari_at: 31 * _DAY,
        acme_orders.c.next_at: 31 * _DAY,  # as retry_at
        acme_orders.c.deadline_at: _DAY,
        log_drains.c.next_at: timedelta(hours=1),
        resources.c.capture_until: timedelta(hours=2),  # an hour at most, by a clock that may disagree
    }
)
"""How far ahead each may be."""

STAMPS: Sequence[sa.Column[datetime]] = (
    events.c.created_at,
    audit_entries.c.created_at,
    webhook_deliveries.c.created_at,
    idempotency.c.claimed_at,
    usage_intervals.c.started_at,
    usage_intervals.c.ended_at,
    activity.c.last_at,
    tombstones.c.deleted_at,
    released_zones.c.released_at,
    certificates.c.seen_at,
    custom_domains.c.removed_at,
    *(
        table.c[name]
        for table in (custom_domains, preview_domains)
        for name in ("checked_at", "asked_at", "waiting_since", "failing_since")
    ),
    name_claims.c.checked_at,
    delegations.c.checked_at,
    held_certificates.c.removed_at,
    acme_orders.c.opened_at,
    acme_orders.c.closed_at,
)

# In seconds since 1970.
NUMBERS: Sequence[sa.Column[float]] = (
    certificate_attempts.c.opened_at,
    certificate_attempts.c.closed_at,
    certificate_attempts.c.changed_at,
    certificates.c.changed_at,
    held_certificates.c.changed_at,
)


class Mending:
    """See the module. Raises StoreUnavailableError, and PruneRefusedError where the clock may be wrong."""

    def __init__(self, reader: Engine, writer: Engine, clock: Clock) -> None:
        self._reader = reader
        self._writer = writer
        self._clock = clock

    async def run(self) -> int:
        """Put right what is wrong; how many values that was."""
        now = await self._now()
        seconds = now.timestamp()
        mended = 0
        for column, furthest in SCHEDULES.items():
            mended += await self._pull(column, column > now + furthest, now)
        for stamp in STAMPS:
            mended += await self._pull(stamp, stamp > now + AHEAD, now, careful=True)
        for number in NUMBERS:
            mended += await self._pull(number, number > seconds + AHEAD.total_seconds(), seconds, careful=True)
        return mended

    async def _now(self) -> datetime:
        now = self._clock.now()
        if self._reader.dialect.name == "postgresql":
            with translated():
                async with self._reader.connect() as connection:
                    apart = now.timestamp() - await connection.scalar(sa.select(DatabaseTime()))
            if abs(apart) > _APART:
                raise PruneRefusedError(
                    f"this machine's clock is {apart:+.0f} s from the database's: no time is changed"
                )
        return now

    async def _pull(
        self,
        column: sa.Column[datetime] | sa.Column[float],
        ahead: sa.ColumnElement[bool],
        to: datetime | float,
        *,
        careful: bool = False,
    ) -> int:
        table = column.table
        with translated():
            async with self._reader.connect() as connection:
                found = await connection.scalar(sa.select(sa.func.count()).select_from(table).where(ahead))
                if not found:
                    return 0
                rows = await connection.scalar(sa.select(sa.func.count()).select_from(table))
            alone = self._reader.dialect.name == "sqlite"
            if careful and alone and found > max(_MANY, _SHARE * rows):
                raise PruneRefusedError(f"{found} of {rows} rows of {table} are dated ahead: is the clock right?")
            async with self._writer.begin() as connection:
                return rows_changed(await connection.execute(sa.update(table).where(ahead).values({column.name: to})))
