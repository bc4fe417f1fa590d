"""When resources were last used: from the proxy's memory, where each request leaves it, to the store, where the platform
asks for it.

The proxy keeps one instant per resource: of the begin and the end of each answer below 500 of its program, and every 50 s
while a stream, an upload or a tunnel is open (`proxy/sweep.py`). Our own responses are no use of it. Copying what is new
every few seconds costs a few transactions, whatever the traffic; so with a process that is killed go its last seconds.
A query in this process stores what is in memory first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from router.base.clock import Clock
from router.errors import StoreUnavailableError

INTERVAL = 5.0  # seconds between two copies
_MAX_RESOURCES = 50  # in one transaction: ten thousand at once would block the event loop for 15 ms
_LAG = 1.0  # seconds by which the proxy's coarse clock may be late: what lies that close to a copy is copied again

_log = structlog.get_logger("router.jobs.activity")


class ActivityRows(Protocol):
    """The methods of `Resources` that concern activity."""

    async def record_activity(self, seen: Mapping[str, datetime]) -> None:
        """Keep the later instant of each resource. Raises StoreUnavailableError."""

    async def activity(self, since: datetime | None, *, counted: bool) -> Mapping[str, datetime]:
        """What is kept. Raises StoreUnavailableError."""


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
        lag: float = _LAG,
    ) -> None:
        self._used = used
        self._gather = gather
        self._lag = lag
        self._rows = rows
        self._clock = clock
        self._copied_until = float("-inf")

    async def activity(self, since: datetime | None) -> tuple[Mapping[str, datetime], Mapping[str, datetime]]:
        """The last instant per resource, as far as it was at or after `since`: of those whose traffic counts as use, and of the
        others. Raises StoreUnavailableError."""
        await self.copy()
        return await self._rows.activity(since, counted=True), await self._rows.activity(since, counted=False)

    async def copy(self) -> None:
        """Store what happened since the last copy. Raises StoreUnavailableError: then the next copy has it."""
        if self._gather is not None:
            await self._gather()
        monotonic, now = self._clock.monotonic(), self._clock.now()
        fresh = tuple(self._used(self._copied_until - self._lag).items())
        for begin in range(0, len(fresh), _MAX_RESOURCES):
            await self._rows.record_activity(
                {
                    resource_id: now - timedelta(seconds=max(0.0, monotonic - at))
                    for resource_id, at in fresh[begin : begin + _MAX_RESOURCES]
                }
            )
        self._copied_until = monotonic

    async def run(self) -> None:
        """Copy until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.copy()
            except StoreUnavailableError as error:
                _log.warning("activity not stored yet", error=str(error))
