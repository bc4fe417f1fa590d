"""What a process that carries traffic counts for `top`: all of its exchanges, by host and by resource, second by second.

While nobody looks, none of this runs: the consumer of ended exchanges is added by the first question, and removed when nobody has
asked for ten seconds. A question is answered with the sum of the last whole seconds, so any number of tools may ask. A second knows a
bounded number of hosts and resources; the others are counted without a name.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from router.base.clock import Clock
from router.errors import Fault
from router.observe.ended_exchange import Finished
from router.observe.recorder import Recorder
from router.records.record import is_client_error, is_error
from router.records.totals import bucket_of

LEASE: Final = 10.0  # seconds
MAX_WINDOW: Final = 10  # seconds
OTHERS: Final = ""
_MAX_NAMES: Final = 300  # of hosts, and of resources, in one second
MAX_SHOWN: Final = 100  # of each in an answer

Gauges = Callable[[], Mapping[str, float]]


class Count:
    """What has been counted of one host or resource, or of all. `buckets` are as in `records/totals.py`, of whole times without
    tunnels."""

    __slots__ = ("buckets", "client_errors", "errors", "received", "requests", "sent")

    def __init__(self) -> None:
        self.requests = self.errors = self.client_errors = self.received = self.sent = 0
        self.buckets: dict[int, int] = {}

    def add_one(self, done: Finished, bucket: int) -> None:
        """One exchange; `bucket` below 0: a tunnel."""
        self.requests += 1
        status, ending = done.status, done.ending
        if status >= 400 or ending != "--":  # most are neither
            self.errors += is_error(ending, status)
            self.client_errors += is_client_error(status)
        self.received += done.received
        self.sent += done.sent
        if bucket >= 0:
            self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def add(self, other: "Count") -> None:
        """All that the other has counted."""
        self.requests += other.requests
        self.errors += other.errors
        self.client_errors += other.client_errors
        self.received += other.received
        self.sent += other.sent
        for bucket, number in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + number

    def row(self) -> list[Any]:
        """As processes send it to each other."""
        counts = [self.requests, self.errors, self.client_errors, self.received, self.sent]
        return [*counts, list(self.buckets.items())]

    @classmethod
    def of(cls, row: Sequence[Any]) -> "Count":
        """What `row` has made."""
        count = cls()
        count.requests, count.errors, count.client_errors, count.received, count.sent = map(int, row[:5])
        count.buckets = {int(bucket): int(number) for bucket, number in row[5]}
        return count


Named = dict[str, Count]


class Second:
    """What has been counted in one second, or in some. `resources` are by id, slug and tenant, in one text. `refused` are problems of ours
    by code, `found` the exchanges whose host the process knew, `looked_up` those for which it had to ask."""

    def __init__(self) -> None:
        self.all = Count()
        self.hosts: Named = {}
        self.resources: Named = {}
        self.refused: dict[str, int] = {}
        self.found = 0
        self.looked_up = 0

    def add_one(self, done: Finished) -> None:
        """One exchange."""
        bucket = -1 if done.tunnel else bucket_of(max(0, int((done.ended - done.started) * 1e6)))
        self.all.add_one(done, bucket)
        route, problem = done.route, done.problem
        if problem is not None and problem.fault is not Fault.BACKEND:
            self.refused[problem.code] = self.refused.get(problem.code, 0) + 1
        if route is None:
            return
        if done.looked_up:
            self.looked_up += 1
        else:
            self.found += 1
        resource = route.resource
        # Hosts that lead nowhere are a stranger's choice, and whoever scans has many.
        _count_of(self.hosts, OTHERS if resource is None else route.host).add_one(done, bucket)
        if resource is not None:
            name = f"{resource.id} {resource.slug} {resource.tenant_id}"
            _count_of(self.resources, name).add_one(done, bucket)

    def add(self, other: "Second") -> None:
        """All that the other has counted."""
        self.all.add(other.all)
        for mine, others in ((self.hosts, other.hosts), (self.resources, other.resources)):
            for name, count in others.items():
                _count_of(mine, name, most=MAX_WINDOW * _MAX_NAMES).add(count)
        for code, number in other.refused.items():
            self.refused[code] = self.refused.get(code, 0) + number
        self.found += other.found
        self.looked_up += other.looked_up


def _count_of(counts: Named, name: str, *, most: int = _MAX_NAMES) -> Count:
    count = counts.get(name)
    if count is None:
        if len(counts) >= most:
            name = OTHERS
        count = counts.setdefault(name, Count())
    return count


class Rates:
    """The counting of this process. `gauges` are numbers as they are now, which the answer has too."""

    def __init__(self, recorder: Recorder, clock: Clock, gauges: Gauges) -> None:
        self._recorder = recorder
        self._clock = clock
        self._gauges = gauges
        self._until = 0.0
        self._begun: float | None = None  # when counting began
        self._seconds: deque[tuple[int, Second]] = deque(maxlen=MAX_WINDOW + 1)

    def answer(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The last `window` whole seconds; and go on counting for as long as a lease. `seconds` says how many there were."""
        now = self._clock.monotonic()
        self._until = now + LEASE
        if self._begun is None:
            self._begun = now
            self._recorder.add_consumer(self._consume)
        self._recorder.flush()
        window = max(1, min(int(arguments.get("window", 5)), MAX_WINDOW))
        end = int(now)  # the second that is not over
        begin = max(end - window, int(self._begun) + 1)
        total = Second()
        for at, second in self._seconds:
            if begin <= at < end:
                total.add(second)
        return {
            "seconds": max(0, end - begin),
            "all": total.all.row(),
            "hosts": _busiest(total.hosts),
            "resources": _busiest(total.resources),
            "refused": total.refused,
            "found": total.found,
            "looked_up": total.looked_up,
            "now": dict(self._gauges()),
        }

    def _consume(self, batch: Sequence[Finished]) -> None:
        now = self._clock.monotonic()
        if now >= self._until:
            self._recorder.remove_consumer(self._consume)
            self._begun = None
            self._seconds.clear()
            return
        at = int(now)
        if not self._seconds or self._seconds[-1][0] != at:
            self._seconds.append((at, Second()))
        second = self._seconds[-1][1]
        for done in batch:
            second.add_one(done)


def _busiest(counts: Named) -> list[list[Any]]:
    """Name and count of those with the most requests."""
    busiest = sorted(counts.items(), key=lambda one: -one[1].requests)[:MAX_SHOWN]
    return [[name, *count.row()] for name, count in busiest]
