"""Leases: of several processes one holds each name, for as long as it renews it.

    acquire ──► Lease   the name was free (a new token), or this holder had it (the same token, renewed)
            ──► None    another process holds it
    renew       those of several leases that the holder still has, renewed
    free        which names could be acquired now; changes nothing, for processes that wait for one
    release     another process may have it at once
    ran         how long ago the job that each name stands for was last done, by any holder
    present     how many processes take part: a fair share is counted from that

No lease lasts longer than `LONGEST` seconds. One that expires later than that was written while the store's clock was
ahead. It counts as free: its holder may be dead, and would keep the name until that time has come.

A process that dies loses its leases when they expire. The store's clock alone decides when that is, so the processes' own
clocks may differ. A holder that was suspended past the expiry does not know that it lost the lease. So each holding has a
token higher than the one before, and what must not be done twice is done in a transaction that the token guards
(`Store.begin(under=lease)`).
"""

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from router.base.clock import Clock
from router.base.transactions import T_co, Transactions

LONGEST = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Lease:
    """`holder` has the name until the lease expires or is released."""

    name: str
    holder: str
    token: int


class GuardedTransactions(Transactions[T_co], Protocol[T_co]):
    """A store whose transactions may depend on a lease: where it was lost they raise StoreUnavailableError."""

    def begin(self, under: Lease | None = None) -> AbstractAsyncContextManager[T_co]:
        """See `Transactions.begin`."""


class Leases(Protocol):
    """The leases of all processes. Every method may raise StoreUnavailableError."""

    async def acquire(self, name: str, holder: str, seconds: float, ran: float | None = None) -> Lease | None:
        """Take the name for so many seconds, `LONGEST` at most, or renew it. Of two calls at once exactly one gets it.

        `ran`: so many seconds ago the holder last did the job that the name stands for.
        """

    async def renew(self, ran: Mapping[Lease, float | None], seconds: float) -> Collection[Lease]:
        """Renew several leases of one holder for so many seconds, `LONGEST` at most; those of them that it still has. `ran` says
        for each what it says in `acquire`."""

    async def free(self, names: Collection[str]) -> Collection[str]:
        """Those of the names that no process holds."""

    async def release(self, lease: Lease) -> None:
        """Give it back, unless it was lost meanwhile."""

    async def ran(self, names: Collection[str]) -> Mapping[str, float]:
        """How many seconds ago the job of each was last done, as far as that is known."""

    async def present(self, holder: str, seconds: float) -> int:
        """Register this process as taking part for so many seconds; how many processes are registered now."""

    async def leave(self, holder: str) -> None:
        """This process no longer takes part."""


@dataclass(slots=True)
class _Held:
    lease: Lease
    until: float


class MemoryLeases:
    """The in-memory twin; passes the same contract tests."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._ran: dict[str, float] = {}
        self._present: dict[str, float] = {}

    async def acquire(self, name: str, holder: str, seconds: float, ran: float | None = None) -> Lease | None:
        now, held = self._clock.monotonic(), self._held.get(name)
        token = 1
        if held is not None:
            running = held.until > now
            if running and held.lease.holder != holder:
                return None
            token = held.lease.token + (0 if running else 1)
        self._held[name] = _Held(Lease(name, holder, token), now + min(seconds, LONGEST))
        if ran is not None:
            self._ran[name] = now - ran
        return self._held[name].lease

    async def renew(self, ran: Mapping[Lease, float | None], seconds: float) -> Collection[Lease]:
        now = self._clock.monotonic()
        held = [lease for lease in ran if lease.name in self._held and self._held[lease.name].lease == lease]
        still = [lease for lease in held if self._held[lease.name].until > now]
        for lease in still:
            await self.acquire(lease.name, lease.holder, seconds, ran[lease])
        return still

    async def free(self, names: Collection[str]) -> Collection[str]:
        now = self._clock.monotonic()
        return [name for name in names if name not in self._held or self._held[name].until <= now]

    async def release(self, lease: Lease) -> None:
        held = self._held.get(lease.name)
        if held is not None and held.lease == lease:
            held.until = float("-inf")

    async def ran(self, names: Collection[str]) -> Mapping[str, float]:
        now = self._clock.monotonic()
        return {name: now - self._ran[name] for name in names if name in self._ran}

    async def present(self, holder: str, seconds: float) -> int:
        now = self._clock.monotonic()
        self._present[holder] = now + seconds
        return sum(until > now for until in self._present.values())

    async def leave(self, holder: str) -> None:
        self._present.pop(holder, None)
