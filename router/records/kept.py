"""Where records are kept, as those who write and read them see it."""

from collections.abc import Sequence
from typing import Protocol

from router.records.captures import StoredCapture
from router.records.counters import Counters
from router.records.record import Record, RecordFilter, Row
from router.records.totals import Totals


class KeptRecords(Protocol):
    """A store of records and totals. Every method raises StoreUnavailableError where it is away or too slow."""

    async def append(self, records: Sequence[Row], totals: Sequence[Totals]) -> None:
        """Store records, which get their ids in this order, and totals; all or nothing."""

    async def find(
        self, where: RecordFilter, *, limit: int, before: int | None = None, after: int | None = None
    ) -> list[Record]:
        """Those with ids below `before`, the newest first; or with `after` those above it, the oldest first."""

    async def count(self, where: RecordFilter, *, after: int, before: int) -> int:
        """How many there are with ids above `after` and below `before`."""

    async def newest(self) -> int:
        """The id of the record that was stored last; 0 for none."""

    async def totals(self, tenant: bytes, resource: bytes, since: int, until: int) -> list[Totals]:
        """Those of minutes that begin at or after `since`, and before `until`: microseconds since 1970. With the tenant as `resource`:
        those of all its resources."""

    async def counters(self, tenant: bytes) -> list[Counters]:
        """Those of a tenant: of each resource that was counted within `retention_hours`, up to `metrics_per_tenant`; those of
        all others are `counters.OTHER`'s."""

    async def keep(self, captures: Sequence[StoredCapture]) -> None:
        """Store captures, but for those of resources whose captures were deleted (`forget`) at or after their instant."""

    async def capture(self, tenant: bytes, resource: bytes, request_id: str, at: int) -> StoredCapture | None:
        """That of the request with this id which began nearest to `at`, in microseconds since 1970."""

    async def forget(self, tenant: bytes, resource: bytes, now: int) -> None:
        """Delete the captures of a resource, also those from before `now` that have not been stored yet."""

    async def forget_tenant(self, tenant: bytes) -> None:
        """Delete everything of a tenant's."""

    async def prune(self, now: int) -> None:
        """Delete what is older than it may be, and the oldest of those who have more than they may, by `now`."""

    async def close(self) -> None: ...
