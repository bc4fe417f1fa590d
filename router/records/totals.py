"""Exact numbers of all requests, kept or not: per minute, resource and route; and per minute of a tenant as a whole, as if the tenant were
one more resource, with its own id and no route."""

import math
import secrets
import struct
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from router.records.record import is_client_error, is_error
from router.records.route_patterns import OTHER

MINUTE: Final = 60_000_000  # microseconds

# Buckets of a histogram per doubling: its values are right to 2.2 %.
_PER_OCTAVE: Final = 16
_PAIR: Final = struct.Struct("<HI")

_MAX_ROUTES: Final = 50  # that are counted apart, of one resource in one minute
_MAX_KEPT: Final = 50_000  # in memory; more are counted without their route
WHOLE: Final = ""  # the route of the numbers of a whole tenant
_LATE: Final = 2 * MINUTE  # after its end a minute's numbers leave the memory


class Totals(NamedTuple):
    """The numbers of one resource and route in one minute, as one process has counted them from some moment on. Several `part`s
    of the same minute add up; a newer one of the same `part` replaces the older. `histogram` is of whole times, without
    tunnels. Where `resource` is the tenant, they are of all its resources."""

    tenant: bytes
    resource: bytes
    minute: int  # microseconds since 1970
    route: str
    part: int
    requests: int
    errors: int
    client_errors: int
    received: int
    sent: int
    histogram: bytes


class _Count:
    """What is still being counted."""

    __slots__ = ("buckets", "client_errors", "errors", "part", "received", "requests", "sent")

    def __init__(self, part: int | None = None) -> None:
        self.part = secrets.randbits(62) if part is None else part
        self.requests = self.errors = self.client_errors = self.received = self.sent = 0
        self.buckets: dict[int, int] = {}

    def add(self, other: "_Count") -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.client_errors += other.client_errors
        self.received += other.received
        self.sent += other.sent
        for bucket, number in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + number


_Key = tuple[bytes, bytes, int, str]


class Counting:
    """Counts exchanges. Used by one thread at a time."""

    def __init__(self) -> None:
        self._counts: dict[_Key, _Count] = {}
        self._routes: dict[tuple[bytes, int], int] = {}
        self._changed: set[_Key] = set()
        self._parts: dict[tuple[bytes, int], int] = {}  # of the sums of tenants, by minute

    def add(
        self, tenant: bytes, resource: bytes, at: int, route: str, ending: str, status: int, received: int, sent: int,
        total: int,
    ) -> None:  # fmt: skip
        """One exchange that ended at `at`; `total` below 0: a tunnel."""
        minute = at - at % MINUTE
        key = (tenant, resource, minute, route)
        count = self._counts.get(key)
        if count is None:
            key, count = self._begin(tenant, resource, minute, route)
        self._changed.add(key)
        count.requests += 1
        if status >= 400 or ending != "--":  # most are neither
            count.errors += is_error(ending, status)
            count.client_errors += is_client_error(status)
        count.received += received
        count.sent += sent
        if total >= 0:
            bucket = bucket_of(total)
            count.buckets[bucket] = count.buckets.get(bucket, 0) + 1

    def _begin(self, tenant: bytes, resource: bytes, minute: int, route: str) -> tuple[_Key, _Count]:
        routes = self._routes.get((resource, minute), 0)
        if routes >= _MAX_ROUTES or len(self._counts) >= _MAX_KEPT:
            route = OTHER
        key = (tenant, resource, minute, route)
        count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = _Count()
            self._routes[resource, minute] = routes + 1
        return key, count

    @property
    def counts(self) -> bool:
        """Whether there is a minute that is not forgotten yet."""
        return bool(self._counts)

    def take_changed(self, now: int) -> list[Totals]:
        """What has changed since this was last asked, with the sums of tenants behind the rest. Minutes that are over by `now` are forgotten
        then: what comes later is another part of them."""
        changed = [_totals(key, self._counts[key]) for key in self._changed]
        changed += self._tenants({(key[0], key[2]) for key in self._changed})
        self._changed.clear()
        for key in [key for key in self._counts if key[2] + MINUTE + _LATE <= now]:
            del self._counts[key]
            self._routes.pop((key[1], key[2]), None)
            self._parts.pop((key[0], key[2]), None)
        return changed

    def _tenants(self, wanted: AbstractSet[tuple[bytes, int]]) -> list[Totals]:
        """The sums of these tenants and minutes."""
        sums: dict[tuple[bytes, int], _Count] = {}
        for key, count in self._counts.items():
            place = (key[0], key[2])
            if place in wanted:
                sum_ = sums.get(place)
                if sum_ is None:
                    sum_ = sums[place] = _Count(self._parts.get(place))
                    self._parts[place] = sum_.part
                sum_.add(count)
        return [_totals((tenant, tenant, minute, WHOLE), sum_) for (tenant, minute), sum_ in sums.items()]


def _totals(key: _Key, count: _Count) -> Totals:
    tenant, resource, minute, route = key
    histogram = b"".join([_PAIR.pack(bucket, number) for bucket, number in sorted(count.buckets.items())])
    return Totals(
        tenant,
        resource,
        minute,
        route,
        count.part,
        count.requests,
        count.errors,
        count.client_errors,
        count.received,
        count.sent,
        histogram,
    )


def bucket_of(microseconds: int) -> int:
    """The bucket of a duration."""
    return int(math.log2(microseconds + 1) * _PER_OCTAVE)


def duration_of(bucket: int) -> float:
    """The microseconds in the middle of a bucket."""
    return float(2 ** ((bucket + 0.5) / _PER_OCTAVE) - 1)


def merged(histograms: Iterable[bytes]) -> dict[int, int]:
    """The sum of histograms."""
    found: dict[int, int] = {}
    for histogram in histograms:
        for bucket, number in _PAIR.iter_unpack(histogram):
            found[bucket] = found.get(bucket, 0) + number
    return found


def percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """The duration in milliseconds within which that share of the requests ended, right to 2.2 %; None without any."""
    wanted = max(1, math.ceil(sum(buckets.values()) * share))
    for bucket in sorted(buckets):
        wanted -= buckets[bucket]
        if wanted <= 0:
            return round(duration_of(bucket) / 1000, 3)
    return None
