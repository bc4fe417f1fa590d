"""Counters of some tenants, for the operators' metrics: those that the settings name, or the busiest. All others are `_other`.

A counter never falls. With `top N` a tenant has a series as long as it is among the N with the most requests of the last
five minutes; what it had before it was and after that counts as `_other`, and when it is again its series begins at 0, which
readers take for a restart.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final
from uuid import UUID

OTHER: Final = "_other"
PERIOD: Final = 300.0  # seconds after which the busiest are chosen anew
_MAX_SEEN: Final = 10_000  # tenants of a period that are compared; those that come later have to wait for the next one

_NAMES: Final = (
    "tenant_requests",
    "tenant_request_errors",
    "tenant_request_client_errors",
    "tenant_received_bytes",
    "tenant_sent_bytes",
)


class TenantSeries:
    """Counted by one thread; `read` may be called by another. `top` 0: those of `tenants` alone."""

    def __init__(self, tenants: Collection[bytes], top: int) -> None:
        self._top = top
        self._counts: dict[bytes, list[int]] = {tenant: [0] * len(_NAMES) for tenant in tenants}
        self._other = [0] * len(_NAMES)
        self._seen: Counter[bytes] = Counter()
        self._due: float | None = None

    def begin(self, now: float) -> None:
        """It is `now`, in seconds of any clock that goes on."""
        if self._due is None:
            self._due = now + PERIOD
        elif self._top and now >= self._due:
            self._due = now + PERIOD
            busiest = [tenant for tenant, _ in self._seen.most_common(self._top)]
            self._counts = {tenant: self._counts.get(tenant) or [0] * len(_NAMES) for tenant in busiest}
            self._seen.clear()

    def add(self, tenant: bytes, received: int, sent: int, *, error: bool, client_error: bool) -> None:
        """One exchange."""
        counts = self._counts.get(tenant)
        if self._top:
            if tenant in self._seen or len(self._seen) < _MAX_SEEN:
                self._seen[tenant] += 1
            if counts is None and len(self._counts) < self._top:  # in the first period whoever comes first
                counts = self._counts[tenant] = [0] * len(_NAMES)
        if counts is None:
            counts = self._other
        counts[0] += 1
        counts[1] += error
        counts[2] += client_error
        counts[3] += received
        counts[4] += sent

    def read(self) -> Mapping[str, Mapping[str, int]]:
        """The counters of each tenant that has some, and of all others, by the name of the metric."""
        shown = {str(UUID(bytes=tenant)): counts for tenant, counts in dict(self._counts).items()}
        return {name: dict(zip(_NAMES, counts, strict=True)) for name, counts in (shown | {OTHER: self._other}).items()}
