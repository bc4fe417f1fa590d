"""Counters of each resource since it was first counted, which only rise: what a Prometheus of its tenant reads.

They are made of the totals of minutes, by whoever stores those: what a total has more than when it was last stored is added
to the counters of its resource in the same transaction. So they are exact over all nodes and workers, go on after a restart,
and a batch that is stored twice counts once.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from router.records.totals import WHOLE, Totals, duration_of, merged

# Seconds: the upper ends of a histogram's buckets; one more holds the rest. Every second or third of the operators' buckets,
# since each costs a series per resource. The tables have a column for each: others need another table.
BOUNDS: Final[tuple[float, ...]] = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

OTHER: Final = bytes(16)  # the resource of the counters of all resources that have none of their own

_Key = tuple[bytes, bytes, int, str, int]


class Counters(NamedTuple):
    """What a resource has had so far. `buckets` are requests by whole time, each counted once, and `microseconds` the sum of these
    times, both right to 2.2 % and without tunnels."""

    tenant: bytes
    resource: bytes
    requests: int
    errors: int
    client_errors: int
    received: int
    sent: int
    microseconds: int
    buckets: tuple[int, ...]


def increases(stored: Iterable[Totals], new: Sequence[Totals]) -> list[Counters]:
    """What the `new` totals have more than the ones that they replace, by tenant and resource, in their order. The sums of tenants count
    nothing that their resources don't."""
    before = {_key(one): one for one in stored}
    found: dict[tuple[bytes, bytes], Counters] = {}
    for one in new:
        if one.route == WHOLE:
            continue
        key = (one.tenant, one.resource)
        sum_ = found.get(key) or Counters(*key, 0, 0, 0, 0, 0, 0, (0,) * (len(BOUNDS) + 1))
        found[key] = _added(sum_, before.get(_key(one)), one)
    return [found[key] for key in sorted(found)]


def _key(one: Totals) -> _Key:
    return one.tenant, one.resource, one.minute, one.route, one.part


def _added(to: Counters, old: Totals | None, new: Totals) -> Counters:
    # Of one part only later states replace earlier ones; the guard keeps a counter from ever falling.
    more = [max(0, now - was) for now, was in zip(new[5:10], old[5:10] if old is not None else (0,) * 5, strict=True)]
    was = merged([old.histogram]) if old is not None else {}
    buckets, microseconds = list(to.buckets), to.microseconds
    for bucket, number in merged([new.histogram]).items():
        increase = max(0, number - was.get(bucket, 0))
        if increase:
            place, duration = _place(bucket)
            buckets[place] += increase
            microseconds += increase * duration
    requests, errors, client_errors, received, sent = more
    return Counters(
        to.tenant,
        to.resource,
        to.requests + requests,
        to.errors + errors,
        to.client_errors + client_errors,
        to.received + received,
        to.sent + sent,
        microseconds,
        tuple(buckets),
    )


@lru_cache(maxsize=1024)
def _place(bucket: int) -> tuple[int, int]:
    """Which of our buckets holds one of the totals' histogram, and the time in it in microseconds."""
    duration = duration_of(bucket)
    return bisect_left(BOUNDS, duration / 1e6), round(duration)
