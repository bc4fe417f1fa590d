"""Leases: of several processes one holds each name, for as long as it keeps saying so.

    acquire ──► Lease   nobody held the name (a new token), or this holder did (the same token, held on)
            ──► None    another holds it
    free        which names could be acquired now: a look that changes nothing, for those who wait
    release     another may have it at once

Whoever dies loses its leases when their time is over. The store's clock alone decides when that is, so the processes'
own clocks may differ. A holder that was frozen past its time doesn't know that it lost: each holding has a token higher
than the one before, and what must never be done twice is done in a transaction that the token guards
(`Store.begin(under=lease)`).
"""

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from router.clock import Clock
from router.unit import T_co, Unit


@dataclass(frozen=True, slots=True)
class Lease:
    """The name is `holder`'s."""

    name: str
    holder: str
    token: int


class GuardedUnit(Unit[T_co], Protocol[T_co]):
    """A store whose transactions may go on under a lease: where that was lost they raise StoreUnavailableError."""

    def begin(self, under: Lease | None = None) -> AbstractAsyncContextManager[T_co]:
        """See `unit.Unit`."""


class Leases(Protocol):
    """Knows who holds what. Every method may raise StoreUnavailableError."""

    async def acquire(self, name: str, holder: str, seconds: float) -> Lease | None:
        """Take the name for so long, or hold it on. Of two at once exactly one gets it."""

    async def free(self, names: Collection[str]) -> Collection[str]:
        """Those of the names that nobody holds."""

    async def release(self, lease: Lease) -> None:
        """Let go of it, unless it was lost meanwhile."""


@dataclass(slots=True)
class _Held:
    lease: Lease
    until: float


class MemoryLeases:
    """The in-memory twin; passes the same contract tests."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, _Held] = {}

    async def acquire(self, name: str, holder: str, seconds: float) -> Lease | None:
        now, held = self._clock.monotonic(), self._held.get(name)
        token = 1
        if held is not None:
            running = held.until > now
            if running and held.lease.holder != holder:
                return None
            token = held.lease.token + (0 if running else 1)
        self._held[name] = _Held(Lease(name, holder, token), now + seconds)
        return self._held[name].lease

    async def free(self, names: Collection[str]) -> Collection[str]:
        now = self._clock.monotonic()
        return [name for name in names if name not in self._held or self._held[name].until <= now]

    async def release(self, lease: Lease) -> None:
        held = self._held.get(lease.name)
        if held is not None and held.lease == lease:
            held.until = float("-inf")
