"""Deletes old rows: the job `prune`, and what it asks before, since a wrong date would make all history old at once.

`retention.py` says which rows of which table are old when. The job goes through the tables, a few hundred rows per transaction,
so that no writer waits long: the rows are found by a reader, and deleted by their keys. What is done stays done; where its time is
up the job stops, and the next run begins with the table at which this one stopped.

A date may be wrong: a clock that is ahead by a hundred days makes all history old at once, and nothing brings it back. So
before anything is deleted three things are checked. Has the date jumped within the last day, as this process saw it? Does the
database's clock disagree? And of the rows that grew old before this process started or the date last jumped: are they more
than `share` of the table? Rows that grew old while this process ran are expected, however many they are.

A refusal is an error of the job: logged, counted, shown in `/readyz`; setting `prune_share` to 1 lets it pass.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import structlog

from router.base.clock import Clock, ClockWatch
from router.base.leases import GuardedTransactions, Lease
from router.errors import PruneRefusedError
from router.settings import Settings
from router.store.connection import Engine
from router.store.failures import translated
from router.store.journal_tables import usage_intervals
from router.store.old_rows import STEP
from router.store.retention import ATTEMPTS_KEPT, PRUNED, Pruned
from router.store.types import DatabaseTime

if TYPE_CHECKING:
    from router.store.transaction import Transaction

FINE = timedelta(days=32)  # for which usage stays as it was
RUN_TIME = 540.0  # seconds after which a run stops
_COUNTED = ("rows", "unwatched")
_FEW = 10  # rows that are worth no refusal, unless they are the whole table
_APART = 60.0  # seconds by which two machines' clocks may disagree
_PROGRESS = 20_000  # rows after which a line says how far it is

FINE_USAGE = Pruned(
    table=usage_intervals,
    rows="usage that is not rolled up",
    old=lambda at: usage_intervals.c.ended_at < at,
    kept=FINE,
    history=True,
    counts=usage_intervals.c.rolled == sa.false(),
)
"""What the job `roll_up_usage` makes coarser: older than any report goes back."""

_HISTORY: Mapping[str, Pruned] = MappingProxyType(
    {one.table.name: one for one in PRUNED if one.history} | {FINE_USAGE.rows: FINE_USAGE}
)

_log = structlog.get_logger("router.store.pruning")


class PruneGuard:
    """See the module. `share` is of a table's rows."""

    def __init__(self, reader: Engine, clock: Clock, watch: ClockWatch, *, share: float) -> None:
        self._reader = reader
        self._clock = clock
        self._watch = watch
        self._share = share

    async def before(self, table: str, kept: timedelta) -> datetime:
        """The instant before which rows of the table may be deleted now.

        Of a table that is none of history (what is kept for days only is old whenever a node was off for that long) just
        the clock is asked after. Raises PruneRefusedError, StoreUnavailableError.
        """
        now = self._clock.now()
        if self._share >= 1:
            return now - kept
        if (doubt := self._watch.doubt) is not None:
            raise PruneRefusedError(f"{doubt}: nothing of {table} is deleted within a day of that")
        counted: tuple[sa.ColumnElement[int], sa.ColumnElement[int]] = (sa.literal(0), sa.literal(0))
        if table in _HISTORY:
            one = _HISTORY[table]
            all_rows = () if one.counts is None else (one.counts,)
            counted = _count(one.table, *all_rows), _count(one.table, *all_rows, one.old(self._watch.since - kept))
        counts = sa.select(
            DatabaseTime(), *(number.label(name) for number, name in zip(counted, _COUNTED, strict=True))
        )
        with translated():
            async with self._reader.connect() as connection:
                time, rows, unwatched = (await connection.execute(counts)).one()
        apart = now.timestamp() - time
        if self._reader.dialect.name == "postgresql" and abs(apart) > _APART:
            raise PruneRefusedError(
                f"this machine's clock is {apart:+.0f} s from the database's: nothing of {table} is deleted"
            )
        if unwatched > self._share * rows and (unwatched > _FEW or unwatched == rows > 1):
            raise PruneRefusedError(
                f"{unwatched} of {rows} rows of {table} are old at once: is the clock right? "
                "Nothing is deleted unless `prune_share` allows it"
            )
        return now - kept


class Pruning:
    """The job. `period` says for how long the rows of `kept` stay (`periods`), `step` how many rows one
    transaction deletes at most."""

    def __init__(
        self,
        store: "GuardedTransactions[Transaction]",
        clock: Clock,
        guard: PruneGuard,
        period: Callable[[timedelta | str], timedelta],
        *,
        step: int = STEP,
    ) -> None:
        self._store = store
        self._clock = clock
        self._guard = guard
        self._period = period
        self._step = step
        self._next = 0  # in PRUNED

    async def run(self, lease: Lease | None = None, *, within: float = RUN_TIME) -> Mapping[str, int]:
        """Delete what is old, under a lease; how many rows of each table it was.

        Raises StoreUnavailableError, and PruneRefusedError after deleting what was not refused.
        """
        until = self._clock.monotonic() + within
        gone: dict[str, int] = {}
        refused: list[str] = []
        for of in (*PRUNED[self._next :], *PRUNED[: self._next]):
            try:
                before = await self._guard.before(of.table.name, self._period(of.kept))
            except PruneRefusedError as error:
                refused.append(str(error))
                continue
            number = await self._prune(of, before, lease, until)
            if number:
                gone[of.table.name] = number
                _log.info("old rows deleted", table=of.table.name, rows=number)
            if self._clock.monotonic() >= until:
                self._next = PRUNED.index(of)
                _log.warning("deleting old rows stopped: its time is up, the next run goes on", table=of.table.name)
                break
        else:
            self._next = 0
        await self._forget_versions(lease)
        if refused:
            raise PruneRefusedError("; ".join(refused))
        return gone

    async def _prune(self, of: Pruned, before: datetime, lease: Lease | None, until: float) -> int:
        number = shown = 0
        after: Sequence[Any] | None = None
        while self._clock.monotonic() < until:
            async with self._store.read() as tx:
                keys = await tx.old_rows.old_keys(of, before, after, self._step)
            if not keys:
                break
            async with self._store.begin(lease) as tx:
                number += await tx.old_rows.delete(of, before, keys)
            if len(keys) < self._step:
                break
            after = keys[-1] if of.walked else None
            if number - shown >= _PROGRESS:
                shown = number
                _log.info("deleting old rows", table=of.table.name, rows=number)
        return number

    async def _forget_versions(self, lease: Lease | None) -> None:
        place: str | None = ""
        while place is not None:
            async with self._store.begin(lease) as tx:
                place = await tx.old_rows.forget_versions(place)


def periods(settings: Settings, *, attempts_kept: float) -> Callable[[timedelta | str], timedelta]:
    """What `kept` of a table means with these settings. `attempts_kept` is for how many seconds the gate counts attempts."""

    def period(kept: timedelta | str) -> timedelta:
        if isinstance(kept, timedelta):
            return kept
        if kept == ATTEMPTS_KEPT:
            return timedelta(seconds=attempts_kept)
        value: Any = settings
        for name in kept.split("."):
            value = getattr(value, name)
        return timedelta(seconds=value)

    return period


def _count(table: sa.Table, *which: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(table).where(*which).scalar_subquery()
