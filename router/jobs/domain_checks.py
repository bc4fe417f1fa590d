"""DomainChecks: the checks of domains that are due, in slices that the nodes share.

What is due stands in the store. The result of a check is applied in one transaction that the job's lease guards, so a node
that takes over a slice finds exactly what is left of it, and no result is applied twice.

A process runs a fixed number of checks at once, in slots that the tenants share. The tenant with the fewest running checks is
served next, and a quarter of the slots is kept for tenants that have few: a name whose servers never answer holds its slot
for as long as a check may take.
"""

import asyncio
from collections import Counter as Count
from collections.abc import Sequence

import structlog

from router.base.clock import Clock
from router.base.leases import Lease
from router.base.tasks import Tasks
from router.domains.checks.queue import Due, DueKind, Queue
from router.domains.checks.schedule import WHOLE, Slice
from router.domains.checks.verification import Verification
from router.domains.transfers import Transfers
from router.errors import RouterError, StoreUnavailableError
from router.observe.metrics import Metrics

SLICES = 4  # among which nodes can share the checks: each node does some 100 a second, so this is for 8 million domains
CONCURRENCY = 64
RUN_TIME = 20.0  # seconds within which a run begins checks
_POLL_EVERY = 1.0  # seconds after which a run asks what has become due meanwhile
_BATCH = 256  # due checks read at once, so that a long queue is not sorted anew for each of them

_log = structlog.get_logger("router.jobs.domain_checks")


class DomainChecks:
    """Runs the checks that are due."""

    def __init__(
        self,
        *,
        queue: Queue,
        verification: Verification,
        transfers: Transfers,
        metrics: Metrics,
        clock: Clock,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._queue = queue
        self._metrics = metrics
        self._clock = clock
        self._now = clock.monotonic
        self._concurrency = concurrency
        self._running = 0  # slices that are worked on
        self._late: dict[Slice, float] = {}
        self._checks = {
            DueKind.CUSTOM: verification.recheck_custom_domain,
            DueKind.PREVIEW: verification.recheck_preview_domain,
            DueKind.CLAIM: transfers.recheck,
        }

    @property
    def late(self) -> float:
        """For how many seconds the longest-due check of this process's slices has been due."""
        return max(self._late.values(), default=0.0)

    @property
    def _slots(self) -> int:
        """Slots of each slice that is worked on."""
        return max(1, self._concurrency // max(1, self._running))

    @property
    def _share(self) -> int:
        """Slots that a tenant has whatever others do."""
        return max(1, self._slots // 8)

    async def run(self, lease: Lease, part: Slice = WHOLE) -> None:
        """Check until nothing of this part is due, or for `RUN_TIME`. Raises StoreUnavailableError."""
        self._running += 1
        try:
            await self._run(lease, part)
        finally:
            self._running -= 1

    async def _run(self, lease: Lease, part: Slice) -> None:
        tasks, busy, missed = Tasks("domain checks"), dict[str, tuple[Due, asyncio.Task[bool]]](), set[str]()
        waiting, asked = list[Due](), -_POLL_EVERY
        end = self._now() + RUN_TIME
        try:
            while True:
                now = self._now()
                if now >= end:
                    waiting.clear()
                elif len(busy) < self._slots and (not waiting or now - asked >= _POLL_EVERY):
                    waiting, asked = list(await self._queue.due(_BATCH, busy.keys() | missed, part)), now
                    self._late[part] = self._lateness(waiting)
                while (due := self._next(waiting, [other for other, _ in busy.values()])) is not None:
                    waiting.remove(due)
                    busy[due.id] = due, tasks.start(f"check {due.kind} {due.id}", self._check(due, lease))
                if not busy:
                    return
                going = [task for _, task in busy.values()]
                done, _ = await asyncio.wait(going, timeout=_POLL_EVERY, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    asked = -_POLL_EVERY
                ended = {key: task for key, (_, task) in busy.items() if task.done()}
                # What failed is due still. The next run does it: this one would do nothing else.
                missed |= {key for key, task in ended.items() if task.exception() is not None or not task.result()}
                busy = {key: one for key, one in busy.items() if key not in ended}
        finally:
            await tasks.close()

    def _lateness(self, waiting: Sequence[Due]) -> float:
        """Seconds since the longest-due one was due. What a clock that was ahead has dated later than now counts as 0."""
        now = self._clock.now()
        return max((0.0, *((now - due.since).total_seconds() for due in waiting)))

    def _next(self, waiting: Sequence[Due], busy: Sequence[Due]) -> Due | None:
        """The due check that a free slot goes to: the first in line of the tenant that has the fewest; None: it is kept free."""
        free = self._slots - len(busy)
        if not waiting or free <= 0:
            return None
        slots = Count(due.tenant_id for due in busy)
        due = min(waiting, key=lambda one: slots[one.tenant_id])
        kept = self._slots // 4  # slots that no tenant gets beyond its share
        return due if free > kept or slots[due.tenant_id] < self._share else None

    async def _check(self, due: Due, lease: Lease) -> bool:
        """Whether its result was applied."""
        try:
            result = await self._checks[due.kind](due.id, lease)
        except RouterError as error:
            # The domain was removed or changed during its check: no failure.
            _log.debug("domain check discarded", kind=due.kind, id=due.id, reason=error.message)
            self._metrics.count("domain_checks", due.kind, "gone")
        except StoreUnavailableError as error:
            _log.warning("domain check result not stored", kind=due.kind, id=due.id, error=str(error))
            self._metrics.count("domain_checks", due.kind, "lost")
        else:
            self._metrics.count("domain_checks", due.kind, result.value)
            return True
        return False
