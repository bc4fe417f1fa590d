"""What a workspace used: hours of running machines and the credits for them, in buckets of an hour or a day.

Facts are the intervals that `lifecycle.py` records: a resource in one state, with one size, for one workspace. Computers
and sandboxes count while they run. Buckets start at whole hours or days of UTC; the last one is the current one, so a
window of 7 days in days is today and the six days before. What is rounded are the sums from the start of the series, of
which its numbers are the differences: so they add up to the total.
"""

import enum
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from router.base.clock import Clock
from router.base.transactions import Transactions
from router.routes.records import Kind, State
from router.settings import Credits
from router.tenancy.resources import Resource
from router.tenancy.transaction import Tx
from router.tenancy.workspaces import found

COUNTED_KINDS = (Kind.COMPUTER, Kind.SANDBOX)
COUNTED_STATE = State.RUNNING

_MICROSECOND = timedelta(microseconds=1)
_HOUR = timedelta(hours=1)
_MICROSECONDS = _HOUR // _MICROSECOND  # of an hour
_PARTS = 1_000_000  # what an hour is rounded to: 3.6 milliseconds


class Period(enum.StrEnum):
    """How far back a report goes."""

    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"


class Granularity(enum.StrEnum):
    """How long one bucket is."""

    HOUR = "hour"
    DAY = "day"


_LENGTH = {Period.DAY: timedelta(days=1), Period.WEEK: timedelta(days=7), Period.MONTH: timedelta(days=30)}
_WIDTH = {Granularity.HOUR: _HOUR, Granularity.DAY: timedelta(days=1)}


@dataclass(frozen=True, slots=True)
class Interval:
    """One machine ran, with that size. `ended_at` None: it still runs."""

    size: str | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was used from `ts` on, until the next bucket."""

    ts: datetime
    credits_used: int
    compute_hours: float


@dataclass(frozen=True, slots=True)
class WorkspaceUsage:
    """The report of one workspace."""

    workspace_id: str
    window: Period
    granularity: Granularity
    total_credits_used: int
    total_compute_hours: float
    series: tuple[Bucket, ...]


class UsageRows(Protocol):
    """Stored intervals of use: a resource in one state, with one size, for one workspace."""

    async def record(self, resources: Sequence[Resource], now: datetime) -> None:
        """End the intervals that are open, and open one for what each resource is now (none once it is destroyed)."""

    async def record_move(self, project_id: str, workspace_id: str, now: datetime) -> None:
        """From `now` on, what the project's resources use counts for that workspace."""

    async def ran(
        self, workspace_id: str, kinds: Sequence[Kind], state: State, since: datetime, until: datetime
    ) -> Sequence[Interval]:
        """The intervals of these kinds of resources in that state that overlap the time from `since` to `until`."""


class Usage:
    """Reports of use. `rates` are the credits of one hour. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock, *, rates: Credits) -> None:
        self._store = store
        self._clock = clock
        self._rates: Mapping[str | None, float] = rates.model_dump() | {None: rates.unsized}

    async def of_workspace(self, workspace_id: str, window: Period, granularity: Granularity) -> WorkspaceUsage:
        """Raises RouterError: NOT_FOUND."""
        now = self._clock.now()
        width = _WIDTH[granularity]
        count = _LENGTH[window] // width
        start = _floor(now, granularity) - (count - 1) * width
        async with self._store.read() as tx:
            found(await tx.workspaces.get(workspace_id))
            intervals = await tx.usage.ran(workspace_id, COUNTED_KINDS, COUNTED_STATE, start, now)
        machines = _spread(intervals, start, now, width, count)
        cost, ran = 0.0, 0  # from the start of the series on
        sums = [(0, 0)]
        for number in range(count):
            for size, spent in machines.items():
                cost += self._rates.get(size, self._rates[None]) * spent[number] / _MICROSECONDS
                ran += spent[number]
            sums.append((round(cost), round(ran * _PARTS / _MICROSECONDS)))
        return WorkspaceUsage(
            workspace_id=workspace_id,
            window=window,
            granularity=granularity,
            total_credits_used=sums[-1][0],
            total_compute_hours=sums[-1][1] / _PARTS,
            series=tuple(
                Bucket(start + number * width, after[0] - before[0], (after[1] - before[1]) / _PARTS)
                for number, (before, after) in enumerate(itertools.pairwise(sums))
            ),
        )


def _floor(instant: datetime, granularity: Granularity) -> datetime:
    whole = instant.replace(minute=0, second=0, microsecond=0)
    return whole if granularity is Granularity.HOUR else whole.replace(hour=0)


def _spread(
    intervals: Iterable[Interval], start: datetime, now: datetime, width: timedelta, count: int
) -> dict[str | None, list[int]]:
    """Per size, the microseconds that machines ran in each of the buckets.

    An interval costs the same however many buckets it covers: the whole ones are noted by where they begin and end.
    """
    per_bucket = width // _MICROSECOND
    parts: dict[str | None, list[int]] = {}
    wholes: dict[str | None, list[int]] = {}
    for interval in intervals:
        begin = (max(interval.started_at, start) - start) // _MICROSECOND
        end = (min(interval.ended_at or now, now) - start) // _MICROSECOND
        if end <= begin:
            continue
        part = parts.setdefault(interval.size, [0] * count)
        whole = wholes.setdefault(interval.size, [0] * (count + 1))
        first, last = begin // per_bucket, min(end // per_bucket, count - 1)
        if first == last:
            part[first] += end - begin
            continue
        part[first] += (first + 1) * per_bucket - begin
        part[last] += end - last * per_bucket
        whole[first + 1] += 1
        whole[last] -= 1
    for size, part in parts.items():
        running = 0
        for number in range(count):
            running += wholes[size][number]
            part[number] += running * per_bucket
    return parts
