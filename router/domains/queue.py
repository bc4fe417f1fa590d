"""What is due: custom domains, preview domains and claims whose next look has come, and what makes one come sooner."""

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from router.clock import Clock
from router.domains.claims import ClaimRows
from router.domains.custom import DomainRows
from router.domains.names import enclosing
from router.domains.preview import ZoneRows
from router.unit import Unit

NUDGE_EVERY = timedelta(seconds=60)  # for one domain, whoever nudges


class Sort(enum.StrEnum):
    """What is looked at."""

    CUSTOM = "custom"
    PREVIEW = "preview"
    CLAIM = "claim"


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """One look that is due, since when, and of what."""

    since: datetime
    sort: Sort
    id: str


class QueueTx(Protocol):
    """What a transaction offers to the queue."""

    @property
    def custom_domains(self) -> DomainRows: ...

    @property
    def preview_domains(self) -> ZoneRows: ...

    @property
    def claims(self) -> ClaimRows: ...


class Queue:
    """Every method may raise StoreUnavailableError."""

    def __init__(self, store: Unit[QueueTx], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def due(self, limit: int, without: Collection[str] = ()) -> Sequence[Due]:
        """At most `limit` looks that are due now, the longest ago first, leaving out the ids of those under way."""
        now, most = self._clock.now(), limit + len(without)
        async with self._store.read() as tx:
            found = [Due(since, Sort.CUSTOM, one) for since, one in await tx.custom_domains.due(now, most)]
            found += [Due(since, Sort.PREVIEW, one) for since, one in await tx.preview_domains.due(now, most)]
            found += [Due(since, Sort.CLAIM, one) for since, one in await tx.claims.due(now, most)]
        return sorted(one for one in found if one.id not in without)[:limit]

    async def pull(self, host: str) -> int:
        """Somebody wants to visit this host: whatever waits and could be what it belongs to is looked at now."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            pulled = await tx.custom_domains.pull([host], now, now - NUDGE_EVERY)
            return pulled + await tx.preview_domains.pull(enclosing(host), now, now - NUDGE_EVERY)
