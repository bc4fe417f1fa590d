"""Jobs: what has to be done again and again, by one process of all.

Each job has a lease of its own. Every process with the role `jobs` looks each second which leases are free and takes
them; whoever has one does the job when it is due, and holds the lease on three times before it would end. So a job of a
process that died starts elsewhere within `TTL` and a second, one that was let go of at a clean end within a second. A
holder that could not renew in time stops before anybody else can begin.

A job starts soon after its lease was taken, then every `every` seconds, give or take a tenth, so that many jobs don't
meet for ever. One that fails or takes too long is logged, counted, and tried again when it is next due.
"""

import asyncio
import os
import random
import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from router.clock import Clock
from router.errors import StoreUnavailableError
from router.leases import Lease, Leases
from router.observe.metrics import Metrics
from router.tasks import Tasks

TTL = 15.0  # seconds that a lease outlives its holder
LOOK = 1.0  # seconds between two looks at who holds what
_RENEWALS = 3
_JITTER = 0.1  # of `every`
_RELEASE_TIME = 2.0  # seconds to let go of everything at the end

_log = structlog.get_logger("router.jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`work` is called with the lease that it goes on under, every so many seconds, and cancelled after `within`."""

    name: str
    every: float
    within: float
    work: Callable[[Lease], Awaitable[object]]


@dataclass(slots=True)
class _Holding:
    lease: Lease
    renewed: float
    task: asyncio.Task[None]


class Jobs:
    """The jobs that this process would do. `look` and `ttl` are for tests."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        leases: Leases,
        metrics: Metrics,
        clock: Clock,
        look: float = LOOK,
        ttl: float = TTL,
    ) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._leases = leases
        self._metrics = metrics
        self._clock = clock
        self._look = look
        self._ttl = ttl
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4()}"
        self._held: dict[str, _Holding] = {}
        self._last_runs: dict[str, float] = {}
        self._away = False
        self._tasks = Tasks("jobs")
        metrics.gauge("job_held", self._gauge_held)
        metrics.gauge("job_last_run_timestamp_seconds", self._last_runs.copy)

    def start(self) -> None:
        """Begin to look for free jobs."""
        self._tasks.start("hold leases", self._hold())

    async def close(self) -> None:
        """Stop what is under way and let others have it."""
        await self._tasks.close()
        try:
            async with asyncio.timeout(_RELEASE_TIME):
                for holding in self._held.values():
                    await self._leases.release(holding.lease)
        except (StoreUnavailableError, TimeoutError) as error:
            _log.warning("leases not released: they end by themselves", error=str(error))
        self._held.clear()

    async def _hold(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._patience()):
                    await self._renew()
                    await self._take()
            except (StoreUnavailableError, TimeoutError) as error:
                if not self._away:
                    _log.warning("leases can't be seen to", error=str(error) or "no answer in time")
                self._away = True
            else:
                self._away = False
            self._give_up_what_is_over()
            await asyncio.sleep(self._look * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311  # no secret

    def _patience(self) -> float:
        """How long a silent store may be waited for: no longer than until something has to be given up."""
        now = self._clock.monotonic()
        return min([self._ttl / _RENEWALS, *(self._over_at(holding) - now for holding in self._held.values())])

    def _over_at(self, holding: _Holding) -> float:
        """When the job has to stop, long enough before the lease may end."""
        return holding.renewed + self._ttl * (1 - 1 / _RENEWALS)

    async def _renew(self) -> None:
        for name, holding in list(self._held.items()):
            # Counted from before it was asked for: the store's time starts later.
            now = self._clock.monotonic()
            if holding.task.done():
                self._drop(name, "the job's task has ended")
            elif now - holding.renewed >= self._ttl / _RENEWALS:
                lease = await self._leases.acquire(name, self._holder, self._ttl)
                if lease == holding.lease:
                    holding.renewed = now
                else:
                    self._drop(name, "another took it")

    async def _take(self) -> None:
        wanted = self._jobs.keys() - self._held.keys()
        for name in await self._leases.free(wanted) if wanted else ():
            now = self._clock.monotonic()
            lease = await self._leases.acquire(name, self._holder, self._ttl)
            if lease is not None:
                _log.info("doing a job", job=name, token=lease.token)
                task = self._tasks.start(name, self._do(self._jobs[name], lease))
                self._held[name] = _Holding(lease, now, task)

    def _give_up_what_is_over(self) -> None:
        for name, holding in list(self._held.items()):
            if self._clock.monotonic() >= self._over_at(holding):
                self._drop(name, "it could not be renewed in time")

    def _drop(self, name: str, why: str) -> None:
        _log.warning("no longer doing a job", job=name, reason=why)
        self._held.pop(name).task.cancel()

    async def _do(self, job: Job, lease: Lease) -> None:
        await asyncio.sleep(min(job.every, self._look) * random.random())  # noqa: S311  # no secret
        while True:
            self._metrics.count("job_runs", job.name)
            try:
                async with asyncio.timeout(job.within):
                    await job.work(lease)
            except Exception as error:  # noqa: BLE001  # whatever it was, the job is due again
                self._metrics.count("job_failures", job.name)
                expected = isinstance(error, (StoreUnavailableError, TimeoutError))
                _log.warning(
                    "a job failed", job=job.name, error=str(error) or type(error).__name__, exc_info=not expected
                )
            else:
                self._last_runs[job.name] = self._clock.now().timestamp()
            await asyncio.sleep(job.every * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311  # no secret

    def _gauge_held(self) -> Mapping[str, float]:
        return {name: float(name in self._held) for name in self._jobs}
