"""What developers may know of the requests to their resources: records, numbers, and records as they come."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from router.base.clock import Clock
from router.base.secret_box import SecretLostError
from router.errors import NOT_FOUND, NOT_SERVED_HERE, RATE_LIMITED, RouterError, StoreUnavailableError
from router.records.captures import Capture, CaptureCodec
from router.records.counters import Counters
from router.records.kept import KeptRecords
from router.records.record import CAPTURED, GAP, Record, RecordFilter, details_of
from router.records.totals import MINUTE, Totals, merged, percentile

POLL: Final = 0.5  # seconds between two looks for new records
_AT_ONCE: Final = 200  # records of one look
_MAX_LISTENERS: Final = 200  # of all tenants
_NO_CAPTURE: Final = "capture_not_found"
_POINTS: Final = 120  # of a series, at most


@dataclass(frozen=True, slots=True)
class Numbers:
    """What totals add up to. Percentiles are in milliseconds, None without a request."""

    requests: int
    errors: int
    client_errors: int
    received: int
    sent: int
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None

    @property
    def error_rate(self) -> float:
        """The share of requests that failed."""
        return round(self.errors / self.requests, 6) if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Period:
    """Whole minutes: from `since` on, before `until`, in microseconds since 1970."""

    since: int
    until: int


class RequestLogs:
    """Reads what is kept; None: requests are not recorded here."""

    def __init__(
        self,
        kept: KeptRecords | None,
        clock: Clock,
        *,
        listeners_per_tenant: int = 5,
        codec: CaptureCodec | None = None,
    ) -> None:
        """`codec` None: nothing is captured here."""
        self._kept = kept
        self._codec = codec
        self._clock = clock
        self._listeners_per_tenant = listeners_per_tenant
        self._listeners: dict[bytes, int] = {}

    async def page(self, where: RecordFilter, *, limit: int, before: int | None) -> tuple[Sequence[Record], int | None]:
        """Records, the newest first, and where the next page begins; None behind the last one.

        Raises RouterError NOT_SERVED_HERE, StoreUnavailableError.
        """
        found = await self._on().find(where, limit=limit + 1, before=before)
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    async def record(self, tenant: bytes, record_id: int) -> Record:
        """One of the tenant's records. Raises RouterError: NOT_SERVED_HERE, NOT_FOUND; StoreUnavailableError."""
        found = await self._on().find(RecordFilter(tenant=tenant), limit=1, before=record_id + 1)
        if not found or found[0].id != record_id or found[0].ending == GAP:
            raise RouterError(NOT_FOUND, "request log not found")
        return found[0]

    async def capture(self, record: Record) -> Capture:
        """What was captured of the exchange of this record. Raises RouterError: NOT_SERVED_HERE, NOT_FOUND; StoreUnavailableError."""
        _, codec = self._capturing()
        stored = await self._on().capture(record.tenant, record.resource, record.request_id, record.at - record.total)
        if stored is None or not details_of(record).flags & CAPTURED:
            raise RouterError(
                NOT_FOUND, "Nothing of this request was captured, or it is no longer kept.", code=_NO_CAPTURE
            )
        try:
            return codec.opened(stored)
        except SecretLostError as error:
            why = "What was captured of this request was encrypted with a key that the router no longer has."
            raise RouterError(NOT_FOUND, why, code=_NO_CAPTURE) from error

    async def forget(self, tenant: bytes, resource: bytes) -> None:
        """Delete what was captured of the exchanges of this resource up to now. Raises RouterError NOT_SERVED_HERE,
        StoreUnavailableError."""
        kept, _ = self._capturing()
        await kept.forget(tenant, resource, int(self._clock.now().timestamp() * 1e6))

    def check_captures(self) -> None:
        """Raises RouterError NOT_SERVED_HERE where nothing is captured."""
        self._capturing()

    async def totals(self, tenant: bytes, resource: bytes, period: Period) -> Sequence[Totals]:
        """The totals of a resource; with the tenant as `resource`, of all its resources. Raises RouterError NOT_SERVED_HERE, StoreUnavailableError."""
        return await self._on().totals(tenant, resource, period.since, period.until)

    async def counters(self, tenant: bytes) -> Sequence[Counters]:
        """The counters of a tenant's resources. Raises RouterError NOT_SERVED_HERE, StoreUnavailableError."""
        return await self._on().counters(tenant)

    def period(self, since: int | None, until: int | None) -> Period:
        """The whole minutes around what was asked for: by default the last hour."""
        until = int(self._clock.now().timestamp() * 1e6) + 1 if until is None else until
        since = until - 60 * MINUTE if since is None else since
        return Period(since // MINUTE * MINUTE, -(-until // MINUTE) * MINUTE)

    async def listen(self, where: RecordFilter, after: int | None) -> AsyncGenerator[Record | None, None]:
        """Records as they are stored, from the one behind `after` on, else from now on; None where there was none for a moment.

        Raises RouterError: NOT_SERVED_HERE, RATE_LIMITED where the tenant or all of them listen too often already;
        StoreUnavailableError.
        """
        kept = self._on()
        last = await kept.newest() if after is None else after
        mine = self._listeners.get(where.tenant, 0)
        if mine >= self._listeners_per_tenant or sum(self._listeners.values()) >= _MAX_LISTENERS:
            raise RouterError(RATE_LIMITED, f"{mine} streams are open already.", retry_after=10)
        records = self._follow(kept, where, last)
        await anext(records)  # from here on it is counted, and gives its place back when it is closed
        return records

    async def _follow(self, kept: KeptRecords, where: RecordFilter, last: int) -> AsyncGenerator[Record | None, None]:
        self._listeners[where.tenant] = self._listeners.get(where.tenant, 0) + 1
        try:
            yield None
            while True:
                try:
                    found = await kept.find(where, limit=_AT_ONCE, after=last)
                except StoreUnavailableError:  # it goes on when the store is back
                    found = []
                for record in found:
                    last = record.id
                    yield record
                yield None
                if len(found) < _AT_ONCE:
                    await asyncio.sleep(POLL)
        finally:
            left = self._listeners[where.tenant] - 1
            if left:
                self._listeners[where.tenant] = left
            else:
                del self._listeners[where.tenant]

    def _capturing(self) -> tuple[KeptRecords, CaptureCodec]:
        kept = self._on()
        if self._codec is None:
            raise RouterError(NOT_SERVED_HERE, "Headers and bodies are not captured here (records.captures).")
        return kept, self._codec

    def _on(self) -> KeptRecords:
        if self._kept is None:
            raise RouterError(NOT_SERVED_HERE, "Requests are not recorded here (records.enabled).")
        return self._kept


def numbers(totals: Iterable[Totals]) -> Numbers:
    """What these add up to."""
    found = list(totals)
    buckets = merged(one.histogram for one in found)
    return Numbers(
        requests=sum(one.requests for one in found),
        errors=sum(one.errors for one in found),
        client_errors=sum(one.client_errors for one in found),
        received=sum(one.received for one in found),
        sent=sum(one.sent for one in found),
        p50=percentile(buckets, 0.5),
        p90=percentile(buckets, 0.9),
        p95=percentile(buckets, 0.95),
        p99=percentile(buckets, 0.99),
    )


def step_of(period: Period) -> int:
    """The microseconds from one point of a series over the period to the next: whole minutes."""
    minutes = (period.until - period.since) // MINUTE
    return max(1, -(-minutes // _POINTS)) * MINUTE


def series(totals: Sequence[Totals], period: Period) -> list[tuple[int, Numbers]]:
    """The numbers over the period, in steps of whole minutes; steps without a request are left out."""
    step = step_of(period)
    found: dict[int, list[Totals]] = {}
    for one in totals:
        found.setdefault(period.since + (one.minute - period.since) // step * step, []).append(one)
    return [(at, numbers(found[at])) for at in sorted(found)]


def by_route(totals: Sequence[Totals]) -> list[tuple[str, Numbers]]:
    """The numbers of each route, the one with the most requests first."""
    found: dict[str, list[Totals]] = {}
    for one in totals:
        found.setdefault(one.route, []).append(one)
    counted = [(route, numbers(its)) for route, its in found.items()]
    return sorted(counted, key=lambda one: (-one[1].requests, one[0]))
