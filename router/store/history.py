"""Usage that is made coarser: as it was for 32 days, longer than any report goes back; then one row per machine, size and
day, and none for machines that did not run. What is older than `usage_retention` is deleted (`retention.py`).

Each step is a transaction of its own that changes some hundred rows, so that other writers do not wait for it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from router.base.transactions import Transactions
from router.store.changes import chunks
from router.store.journal_tables import usage_intervals
from router.store.pruning import FINE, FINE_USAGE, PruneGuard
from router.store.rows import Rows
from router.store.types import Instant
from router.tenancy.usage import COUNTED_KINDS, COUNTED_STATE

if TYPE_CHECKING:
    from router.store.transaction import Transaction

_MACHINES = 50  # of which one step makes the usage coarser
_fine = usage_intervals.c.rolled == sa.false()
_counted = sa.and_(
    usage_intervals.c.kind.in_([kind.value for kind in COUNTED_KINDS]), usage_intervals.c.state == COUNTED_STATE.value
)
_FINE_ROWS = 5000
_ROLL = (
    sa.update(usage_intervals)
    .where(usage_intervals.c.id == sa.bindparam("row"))
    .values(ended_at=sa.bindparam("end", type_=Instant), rolled=sa.true())
)
_GROUP = ("resource_id", "tenant_id", "workspace_id", "project_id", "kind", "size")


class SqlHistory(Rows):
    """The rows of usage, to be made coarser."""

    async def roll_up(self, before: datetime, after: str) -> str | None:
        """Roll up what ended before that, for the next machines after this id; the last one's id, None where there is none."""
        old = (_fine, usage_intervals.c.ended_at < before)
        some = sa.select(usage_intervals.c.resource_id).where(*old, usage_intervals.c.resource_id > after).distinct()
        ids = list(await self._connection.scalars(some.order_by(usage_intervals.c.resource_id).limit(_MACHINES)))
        if not ids:
            return None
        mine = (*old, usage_intervals.c.resource_id.in_(ids))
        await self._connection.execute(sa.delete(usage_intervals).where(*mine, ~_counted))
        select = sa.select(usage_intervals).where(*mine)
        select = select.order_by(usage_intervals.c.resource_id, usage_intervals.c.started_at).limit(_FINE_ROWS)
        rows = (await self._connection.execute(select)).all()
        stay = [{"row": row.id, "end": ended_at} for row, ended_at in _rolled(rows)]
        if stay:
            await self._connection.execute(_ROLL, stay)
        for chunk in chunks(sorted({row.id for row in rows} - {one["row"] for one in stay})):
            await self._connection.execute(sa.delete(usage_intervals).where(usage_intervals.c.id.in_(chunk)))
        return after if len(rows) == _FINE_ROWS else str(ids[-1])


def _rolled(rows: Sequence[sa.Row[Any]]) -> Iterable[tuple[sa.Row[Any], datetime]]:
    """The rows that stay, and when each is to end: of those of one machine and size that began and ended on the same day
    the first one, as long as all of them. So every day's sum stays what it was."""
    first: dict[tuple[Any, ...], sa.Row[Any]] = {}
    length: dict[tuple[Any, ...], timedelta] = {}
    for row in sorted(rows, key=lambda one: one.started_at):
        day = row.started_at.date() if row.started_at.date() == row.ended_at.date() else row.id
        group = (*(getattr(row, name) for name in _GROUP), day)
        first.setdefault(group, row)
        length[group] = length.get(group, timedelta()) + max(timedelta(), row.ended_at - row.started_at)
    return [(row, row.started_at + length[group]) for group, row in first.items()]


class History:
    """Rolls up usage."""

    def __init__(self, store: "Transactions[Transaction]", guard: PruneGuard) -> None:
        self._store = store
        self._guard = guard

    async def roll_up_usage(self) -> None:
        """See the module. Raises StoreUnavailableError, PruneRefusedError."""
        before = await self._guard.before(FINE_USAGE.rows, FINE)
        place: str | None = ""
        while place is not None:
            async with self._store.begin() as tx:
                place = await tx.history.roll_up(before, place)
