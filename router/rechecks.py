"""Rechecks: the looks at domains that are due, one job for all nodes, at most so many at once.

What is due stands in the store, and so does what a look made of a domain, in one transaction that the job's lease guards.
So whoever takes the job over finds exactly what its predecessor had not finished, and nothing of that counts twice.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

import structlog

from router.clock import Clock
from router.domains.pointing import Finding
from router.domains.queue import Due, Sort
from router.errors import RouterError, StoreUnavailableError
from router.leases import Lease
from router.tasks import Tasks

AT_ONCE = 64
RUN_TIME = 20.0  # seconds within which a run begins looks
_PATIENCE = 1.0  # seconds after which what has become due meanwhile is asked for

_log = structlog.get_logger("router.rechecks")


class Queue(Protocol):
    async def due(self, limit: int, without: Collection[str] = ()) -> Sequence[Due]:
        """What is due now, the longest ago first, leaving out those ids."""


class Checker(Protocol):
    async def recheck_custom_domain(self, domain_id: str, under: Lease) -> Finding: ...

    async def recheck_preview_domain(self, preview_id: str, under: Lease) -> Finding: ...


class Claims(Protocol):
    async def recheck(self, claim_id: str, under: Lease) -> Finding: ...


class Counter(Protocol):
    def count(self, name: str, *labels: str) -> None: ...


class Rechecks:
    """Looks at what is due."""

    def __init__(
        self, *, queue: Queue, checker: Checker, claims: Claims, metrics: Counter, clock: Clock, at_once: int = AT_ONCE
    ) -> None:
        self._queue = queue
        self._metrics = metrics
        self._now = clock.monotonic
        self._at_once = at_once
        self._checks = {
            Sort.CUSTOM: checker.recheck_custom_domain,
            Sort.PREVIEW: checker.recheck_preview_domain,
            Sort.CLAIM: claims.recheck,
        }

    async def run(self, lease: Lease) -> None:
        """Look until nothing is due, or for `RUN_TIME`. Raises StoreUnavailableError."""
        tasks, busy, missed = Tasks("rechecks"), dict[str, asyncio.Task[bool]](), set[str]()
        end = self._now() + RUN_TIME
        try:
            while True:
                room = self._at_once - len(busy)
                if room and self._now() < end:
                    for due in await self._queue.due(room, busy.keys() | missed):
                        busy[due.id] = tasks.start(f"look at {due.sort} {due.id}", self._check(due, lease))
                if not busy:
                    return
                await asyncio.wait(busy.values(), timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
                ended = {key: task for key, task in busy.items() if task.done()}
                # What came to nothing is due still: for the next run, or this one would do nothing else.
                missed |= {key for key, task in ended.items() if task.exception() is not None or not task.result()}
                busy = {key: task for key, task in busy.items() if key not in ended}
        finally:
            await tasks.close()

    async def _check(self, due: Due, lease: Lease) -> bool:
        """Whether something came of it."""
        try:
            finding = await self._checks[due.sort](due.id, lease)
        except RouterError as error:
            # It was removed or changed while it was looked at: somebody else's doing, and no failure.
            _log.debug("a look came to nothing", sort=due.sort, id=due.id, reason=error.message)
            self._metrics.count("domain_checks", due.sort, "gone")
        except StoreUnavailableError as error:
            _log.warning("what a look found could not be stored", sort=due.sort, id=due.id, error=str(error))
            self._metrics.count("domain_checks", due.sort, "lost")
        else:
            self._metrics.count("domain_checks", due.sort, finding.value)
            return True
        return False
