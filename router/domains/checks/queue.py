"""What is due: custom domains, preview domains and claims whose next check has come, and what makes one come sooner.

Tenants take turns: each one's longest-due check first, then each one's second, and so on. One tenant with hundreds of
names that never answer does not delay the others.
"""

import enum
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from router.base.clock import Clock
from router.base.transactions import Transactions
from router.domains.checks.schedule import WHOLE, Slice
from router.domains.names import enclosing
from router.domains.transaction import Tx

EARLY_CHECK_EVERY = timedelta(seconds=60)  # of one domain, however often its name is asked for


class DueKind(enum.StrEnum):
    """What a due check is of."""

    CUSTOM = "custom"
    PREVIEW = "preview"
    CLAIM = "claim"


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """One check that is due, since when, of what and whose."""

    since: datetime
    kind: DueKind
    id: str
    tenant_id: str


def in_turn(found: Iterable[Due]) -> list[Due]:
    """Each tenant's longest-due one first, then each one's second, and so on."""
    turns = Counter[str]()
    placed = []
    for due in sorted(found):
        placed.append((turns[due.tenant_id], due))
        turns[due.tenant_id] += 1
    return [due for _, due in sorted(placed)]


class Queue:
    """Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def due(self, limit: int, without: Collection[str] = (), part: Slice = WHOLE) -> Sequence[Due]:
        """At most `limit` checks of this part that are due now, tenant by tenant in turn, leaving out the ids of those
        under way."""
        now, most = self._clock.now(), limit + len(without)
        async with self._store.read() as tx:
            found = [Due(since, DueKind.CUSTOM, *one) for since, *one in await tx.custom_domains.due(now, most, part)]
            found += [
                Due(since, DueKind.PREVIEW, *one) for since, *one in await tx.preview_domains.due(now, most, part)
            ]
            found += [Due(since, DueKind.CLAIM, *one) for since, *one in await tx.claims.due(now, most, part)]
        return in_turn(one for one in found if one.id not in without)[:limit]

    async def schedule_now(self, host: str) -> int:
        """A visitor tries this host: check now what it may belong to and does not route yet; how many domains that is."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            scheduled = await tx.custom_domains.schedule_now([host], now, now - EARLY_CHECK_EVERY)
            return scheduled + await tx.preview_domains.schedule_now(enclosing(host), now, now - EARLY_CHECK_EVERY)
