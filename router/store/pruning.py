"""Guards the deletion of old rows against a wrong date.

What is old is a matter of the date, and a date may be wrong: a clock that is ahead by a hundred days makes all history
old at once, and nothing brings it back. So before anything is deleted three things are checked. Has the date jumped
within the last day, as this process saw it? Does the database's clock disagree? And of the rows that grew old before this
process started or the date last jumped: are they more than `share` of the table? Rows that grew old while this process ran
are expected, however many they are.

A refusal is an error of the job: logged, counted, shown in `/readyz`; setting `prune_share` to 1 lets it pass.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

import sqlalchemy as sa

from router.base.clock import Clock, ClockWatch
from router.errors import PruneRefusedError
from router.store.certificate_tables import certificates
from router.store.connection import Engine
from router.store.failures import translated
from router.store.journal_tables import events, usage_intervals
from router.store.tables import activity, custom_domains, released_zones, resources, tombstones
from router.store.types import DatabaseTime

_COUNTED = ("rows", "unwatched")
_FEW = 10  # rows that are worth no refusal, unless they are the whole table
_APART = 60.0  # seconds by which two machines' clocks may disagree

Older = Callable[[datetime], sa.ColumnElement[bool]]

# The tables that grow with time; which rows of each count, and which of them are older than an instant.
_TABLES: Mapping[str, tuple[sa.Table, sa.ColumnElement[bool], Older]] = MappingProxyType(
    {
        "events": (events, sa.true(), lambda at: events.c.created_at < at),
        "certificates": (
            certificates,
            sa.true(),
            lambda at: sa.or_(
                certificates.c.seen_at < at,
                sa.and_(certificates.c.seen_at.is_(None), certificates.c.changed_at < at.timestamp()),
            ),
        ),
        "usage_intervals": (usage_intervals, sa.true(), lambda at: usage_intervals.c.ended_at < at),
        "usage that is not rolled up": (
            usage_intervals,
            usage_intervals.c.rolled == sa.false(),
            lambda at: usage_intervals.c.ended_at < at,
        ),
        "custom_domains": (custom_domains, sa.true(), lambda at: custom_domains.c.removed_at < at),
        "tombstones": (tombstones, sa.true(), lambda at: tombstones.c.deleted_at < at),
        "released_zones": (released_zones, sa.true(), lambda at: released_zones.c.released_at < at),
        "activity": (
            activity,
            sa.true(),
            lambda at: activity.c.resource_id.in_(sa.select(resources.c.id).where(resources.c.deleted_at < at)),
        ),
    }
)


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
        if table in _TABLES:
            of, counts_at_all, older = _TABLES[table]
            counted = _count(of, counts_at_all), _count(of, counts_at_all, older(self._watch.since - kept))
        counts = sa.select(DatabaseTime(), *(one.label(name) for one, name in zip(counted, _COUNTED, strict=True)))
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


def _count(table: sa.Table, *which: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(table).where(*which).scalar_subquery()
