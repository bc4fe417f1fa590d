"""Looks at what a node needs and cannot mend itself: the store, its clock, the disk; and counts certificates by state.

For metrics and `/readyz`. A metric is read at each scrape, where nothing may wait for the store: so this looks every few
seconds and keeps what it saw.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from router.base.clock import Clock
from router.base.disk import low_on_space
from router.base.ticks import tick
from router.errors import StoreUnavailableError
from router.observe.metrics import Metrics

_EVERY: Final = 10.0  # seconds between two looks at the store and its clock
_DISK_EVERY: Final = 5.0  # seconds between two looks at how much room is left
_COUNTED: Final = 300.0  # seconds between two counts of certificates: each reads an entry per certificate


class CertificateCounts(Protocol):
    async def count_by_state(self, now: float) -> Mapping[str, int]:
        """How many hosts and held certificates there are in each state; raises StoreUnavailableError."""


class StoreClock(Protocol):
    async def time(self) -> float:
        """The database's clock, in seconds since 1970; raises StoreUnavailableError."""


class Surroundings:
    """`apart` is how many seconds our clock is ahead of the database's, when last compared. `counts` None: certificates are
    counted by other nodes."""

    def __init__(
        self,
        store: StoreClock,
        counts: CertificateCounts | None,
        *,
        folders: Collection[Path],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._store = store
        self._counts = counts
        self._folders = folders
        self._clock = clock
        self.apart = 0.0
        self._answers = True
        self._disk: str | None = None
        self._disk_due = clock.monotonic()
        self._count_due = clock.monotonic()
        self._certificates: Mapping[str, int] = {}
        metrics.gauge("clock_offset_seconds", lambda: self.apart)
        metrics.gauge("store_available", lambda: float(self._answers))
        metrics.gauge("disk_low", lambda: float(self._disk is not None))
        if counts is not None:
            metrics.gauge("certificates", lambda: self._certificates)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await tick(_EVERY)

    async def look(self) -> None:
        """Once."""
        await self.disk()
        with suppress(StoreUnavailableError):  # `store_available` says so
            await self.ask_store()
            await self._count()

    async def ask_store(self) -> None:
        """Compare clocks. Raises StoreUnavailableError."""
        try:
            self.apart = self._clock.now().timestamp() - await self._store.time()
        except StoreUnavailableError:
            self._answers = False
            raise
        self._answers = True

    async def disk(self) -> str | None:
        """Which folder's filesystem is nearly full, in a sentence; None where there is room."""
        now = self._clock.monotonic()
        if now >= self._disk_due:
            self._disk_due = now + _DISK_EVERY
            self._disk = await asyncio.to_thread(low_on_space, self._folders)
        return self._disk

    async def _count(self) -> None:
        now = self._clock.monotonic()
        if self._counts is None or now < self._count_due:
            return
        self._certificates = await self._counts.count_by_state(self._clock.now().timestamp())
        self._count_due = now + _COUNTED
