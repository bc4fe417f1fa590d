"""When resources were last used: from the proxy's memory, where each request leaves it, to the store, where the platform
asks for it.

The proxy keeps one instant per resource: of the begin and the end of each answer below 500 of its program, and every 50 s
while a stream, an upload or a tunnel is open (`proxy/sweep.py`). Our own responses are no use of it. Copying what is new
every few seconds costs a few transactions, whatever the traffic; so with a process that is killed go its last seconds.
A query in this process stores what is in memory first.

Many nodes together would write a lot of rows. So where there is a Redis each node puts its uses there, a query reads both,
and one node at a time copies what is there to the store (`copy_shared`). Redis is not trusted to keep anything: a node
remembers what it has put there until it has seen it in the store, and stores itself what it does not find after
`_SETTLED`, or all of it at once where Redis does not answer.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from router.base.clock import Clock
from router.base.ticks import tick
from router.errors import StoreUnavailableError

INTERVAL = 5.0  # seconds between two copies
COPY_EVERY = 30.0  # seconds between two copies from Redis to the store
LAG = 1.0  # seconds by which the proxy's coarse clock may be late: what lies that close to a copy is copied again
_MAX_RESOURCES = 50  # in one transaction: ten thousand at once would block the event loop for 15 ms
_SETTLED = 40.0  # seconds after which a use that was put into Redis should be in the store
_MAX_KEPT = 100_000  # uses that are remembered until they are stored; the oldest leave first

_log = structlog.get_logger("router.jobs.activity")


class ActivityRows(Protocol):
    """The methods of `Resources` that concern activity."""

    async def record_activity(self, seen: Mapping[str, datetime]) -> None:
        """Keep the later instant of each resource. Raises StoreUnavailableError."""

    async def not_recorded(self, seen: Mapping[str, datetime]) -> Collection[str]:
        """Those of which an earlier instant is kept, or none. Raises StoreUnavailableError."""

    async def activity(
        self, since: datetime | None, *, counted: bool, recent: Mapping[str, datetime] | None = None
    ) -> Mapping[str, datetime]:
        """What is kept, and what is `recent`. Raises StoreUnavailableError."""


class SharedUses(Protocol):
    """Uses of all nodes that the store may lack."""

    async def put(self, uses: Mapping[str, datetime]) -> bool:
        """Note them; False where some may be lacking. Without any: whether they would be taken."""

    async def all(self) -> Mapping[str, datetime] | None:
        """All of them; None where they can't be read."""

    def taken(self) -> AsyncGenerator[Mapping[str, datetime]]:
        """All in batches, each of which is removed when the next is asked for."""


class ActivityFeed:
    """`used(since)` gives the proxy's instants by resource id, of the monotonic clock: of what was used at or after that one.

    Where other processes have them, `gather` asks these before each copy, and an instant may be known `lag` seconds
    late.
    """

    def __init__(
        self,
        *,
        used: Callable[[float], Mapping[str, float]],
        rows: ActivityRows,
        clock: Clock,
        gather: Callable[[], Awaitable[object]] | None = None,
        lag: float = LAG,
        shared: SharedUses | None = None,
    ) -> None:
        self._used = used
        self._gather = gather
        self._lag = lag
        self._rows = rows
        self._clock = clock
        self._shared = shared
        self._copied_until = float("-inf")
        # What was put into Redis and may not be stored: in the last `_SETTLED` seconds, and before.
        self._put: dict[str, datetime] = {}
        self._put_before: dict[str, datetime] = {}
        self._owing = False  # whether all of that has to be stored now, as Redis may not have it
        self._settled_at = clock.monotonic()
        self._copying = asyncio.Lock()

    async def activity(self, since: datetime | None) -> tuple[Mapping[str, datetime], Mapping[str, datetime]]:
        """The last instant per resource, as far as it was at or after `since`: of those whose traffic counts as use, and of the
        others. Raises StoreUnavailableError."""
        await self.copy()
        recent: Mapping[str, datetime] | None = None
        if self._shared is not None:
            # Before the store is read: what leaves Redis then is stored.
            recent = await self._shared.all()
            if recent is None:
                async with self._copying:
                    self._owing = True
                    await self._store_put()
        return (
            await self._rows.activity(since, counted=True, recent=recent),
            await self._rows.activity(since, counted=False, recent=recent),
        )

    async def copy(self) -> None:
        """Store what happened since the last copy, or put it into Redis. Raises StoreUnavailableError: then the next copy has
        it."""
        async with self._copying:
            await self._copy()

    async def run(self) -> None:
        """Copy until cancelled."""
        while True:
            await tick(INTERVAL)
            try:
                await self.copy()
            except StoreUnavailableError as error:
                _log.warning("activity not stored yet", error=str(error))

    async def _copy(self) -> None:
        if self._gather is not None:
            await self._gather()
        monotonic, now = self._clock.monotonic(), self._clock.now()
        fresh = {
            resource_id: _to_the_millisecond(now - timedelta(seconds=max(0.0, monotonic - at)))
            for resource_id, at in self._used(self._copied_until - self._lag).items()
        }
        if self._shared is None:
            await self._store(fresh)
            self._copied_until = monotonic
            return
        known = fresh or self._put or self._put_before
        self._owing |= bool(known) and not await self._shared.put(fresh)
        self._keep(fresh)
        self._copied_until = monotonic
        if self._owing:
            await self._store_put()
        elif monotonic - self._settled_at >= _SETTLED:
            await self._store_missing(self._put_before)
            self._put_before, self._put = self._put, {}
            self._settled_at = monotonic

    def _keep(self, fresh: Mapping[str, datetime]) -> None:
        self._put.update(fresh)
        while len(self._put) > _MAX_KEPT:
            del self._put[next(iter(self._put))]

    async def _store_put(self) -> None:
        """Store all that was put into Redis and may be lost with it."""
        await self._store_missing(self._put_before | self._put)
        self._put_before, self._put, self._owing = {}, {}, False

    async def _store_missing(self, uses: Mapping[str, datetime]) -> None:
        missing = await self._rows.not_recorded(uses) if uses else ()
        await self._store({resource_id: uses[resource_id] for resource_id in missing})

    async def _store(self, uses: Mapping[str, datetime]) -> None:
        items = tuple(uses.items())
        for begin in range(0, len(items), _MAX_RESOURCES):
            await self._rows.record_activity(dict(items[begin : begin + _MAX_RESOURCES]))


def _to_the_millisecond(at: datetime) -> datetime:
    """As Redis keeps it: what comes back from there is not earlier than what was put."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


async def copy_shared(shared: SharedUses, rows: ActivityRows) -> None:
    """Store what all nodes have put into Redis. Raises StoreUnavailableError: then it stays there for the next copy."""
    async with aclosing(shared.taken()) as batches:
        async for uses in batches:
            await rows.record_activity(uses)
