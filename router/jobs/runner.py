"""Periodic jobs, each run by one process of the fleet at a time.

Each job has a lease. Every process with the role `jobs` that does not hold all of them looks for free leases once a second and
acquires them; the holder runs the job when it is due, and renews the lease three times per `TTL`. So the job of a process that died starts
elsewhere within `TTL` and a second, and that of a process that ended cleanly within a second. A holder that could not
renew in time stops the job before another process can acquire the lease.

Work that grows with the fleet is divided into slices, each with a lease: jobs of one name with several keys. A process
holds at most its share of them, the number of slices divided by the number of processes.

The store keeps when each job last succeeded, beside its lease. A job that has not succeeded for three periods is
overdue; `overdue` reports it in every process that could run it, whichever process should have and whatever went wrong.

A job runs soon after its lease was acquired, then every `every` seconds, give or take a tenth, so that jobs don't stay
in step. A run that fails or takes too long is logged and counted, and the job runs again when it is next due. The store tells
whether anything was committed since a job last ran. If nothing was, a job with `rests` waits up to `REST` seconds before it runs
again, and one with `awaits_time` until something is due, so that an idle node uses little processor time.
"""

import asyncio
import os
import random
import socket
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from router.base.clock import Clock
from router.base.leases import Lease, Leases
from router.base.tasks import Tasks
from router.errors import PruneRefusedError, StoreUnavailableError
from router.observe.metrics import Metrics

TTL = 15.0  # seconds after which a lease that is not renewed expires
POLL_INTERVAL = 1.0  # seconds between two looks for free leases
# Seconds that a job which `rests` is not run where the store says that nothing was committed since it last was: only the time
# has passed then, so what becomes due meanwhile is begun so much later.
REST = 5.0
_LONGEST_REST = 60.0
_RENEWALS = 3
_PERIODS = 3  # that a job may not have been done
_JITTER = 0.1  # of `every`
_RELEASE_TIMEOUT = 2.0  # seconds to release all leases at the end

_log = structlog.get_logger("router.jobs.runner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`work` is called with the lease that it goes on under, every so many seconds, and cancelled after `within`.

    `key` is the lease's name: the job's, unless this is a slice of it.
    """

    name: str
    every: float
    within: float
    work: Callable[[Lease], Awaitable[object]]
    slice: int | None = None
    rests: bool = False  # it looks at nothing but the store and the time: see `REST`
    awaits_time: bool = False  # and when it has something to do next, `due_in` knows

    @property
    def key(self) -> str:
        return self.name if self.slice is None else f"{self.name}/{self.slice}"

    @property
    def longest_rest(self) -> float:
        """Seconds that it may not be run while nothing is due. The clock may have been set meanwhile."""
        return max(REST, min(_LONGEST_REST, self.overdue_after / 2))

    @property
    def overdue_after(self) -> float:
        """Seconds without a success after which it is overdue."""
        return _PERIODS * self.every + self.within


class CommitCount(Protocol):
    """A number that is another one when something was committed; the store's."""

    def __call__(self) -> int: ...

    async def moved(self, since: int) -> None:
        """Wait until it is not `since` any more."""


@dataclass(slots=True)
class _Holding:
    lease: Lease
    renewed: float
    task: asyncio.Task[None]


class Jobs:
    """The jobs that this process would do. `commits` None: the store can't tell whether something was committed. `due_in` says in how many seconds something is due. `poll_interval` and `ttl` are for tests."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        leases: Leases,
        metrics: Metrics,
        clock: Clock,
        commits: CommitCount | None = None,
        due_in: Callable[[], Awaitable[float]] | None = None,
        poll_interval: float = POLL_INTERVAL,
        ttl: float = TTL,
    ) -> None:
        self._jobs = {job.key: job for job in jobs}
        self._slices = Counter(job.name for job in jobs)
        self._leases = leases
        self._metrics = metrics
        self._clock = clock
        self._commits = commits
        self._due_in = due_in
        self._due: tuple[int, float] | None = (
            None  # after how many commits it was asked when something is due, and when that is
        )
        self._poll_interval = poll_interval
        self._ttl = ttl
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4()}"
        self._held: dict[str, _Holding] = {}
        self._last_runs: dict[str, float] = {}
        self._done: dict[str, float] = {}  # by key: when it was last done, here or elsewhere; of the monotonic clock
        self._refused: dict[str, str] = {}
        self._began = clock.monotonic()
        self._present = 1
        self._asked = float("-inf")
        self._away = False
        self._tasks = Tasks("jobs")
        metrics.gauge("job_held", self._gauge_held)
        metrics.gauge("job_last_run_timestamp_seconds", self._last_runs.copy)
        metrics.gauge("job_overdue_seconds", self._gauge_overdue)

    def start(self) -> None:
        """Begin to acquire leases and run their jobs."""
        self._tasks.start("hold leases", self._hold())

    async def close(self) -> None:
        """Stop all jobs and release their leases."""
        await self._tasks.close()
        try:
            async with asyncio.timeout(_RELEASE_TIMEOUT):
                for holding in list(self._held.values()):  # a process that is told twice to end closes them twice
                    await self._leases.release(holding.lease)
                await self._leases.leave(self._holder)
        except (StoreUnavailableError, TimeoutError) as error:
            _log.warning("leases not released: they will expire", error=str(error))
        self._held.clear()

    def overdue(self) -> Mapping[str, float]:
        """The jobs that have not succeeded anywhere for three periods, and for how many seconds each."""
        found: dict[str, float] = {}
        for key, job in self._jobs.items():
            idle = self._idle(key)
            if idle > job.overdue_after:
                found[job.name] = max(idle, found.get(job.name, 0.0))
        return found

    def check(self) -> str | None:
        """For /readyz: which jobs are overdue, and what this process refuses to delete."""
        late = [f"{name} was last done {idle:.0f} s ago" for name, idle in sorted(self.overdue().items())]
        refused = [f"{name} is refused: {why}" for name, why in sorted(self._refused.items())]
        return ", ".join([*late, *refused]) or None

    def _idle(self, key: str) -> float:
        return self._clock.monotonic() - self._done.get(key, self._began)

    async def _hold(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._renew_timeout()):
                    await self._renew()
                    await self._ask()
                    await self._take()
            except (StoreUnavailableError, TimeoutError) as error:
                if not self._away:
                    _log.warning("leases not renewed", error=str(error) or "no answer in time")
                self._away = True
            else:
                self._away = False
            self._drop_expired()
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        """Seconds until this process looks at leases again. One that holds the leases of all its jobs has none to look for: it
        waits until it has to renew the oldest."""
        wait = self._poll_interval * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  # no secret
        if self._away or self._held.keys() != self._jobs.keys():
            return wait
        oldest = min([self._asked, *(holding.renewed for holding in self._held.values())])
        return max(wait, oldest + self._ttl / _RENEWALS - self._clock.monotonic())

    def _renew_timeout(self) -> float:
        """How long to wait for the store: until the first lease has to be dropped, at most."""
        now = self._clock.monotonic()
        return min([self._ttl / _RENEWALS, *(self._expires_at(holding) - now for holding in self._held.values())])

    def _expires_at(self, holding: _Holding) -> float:
        """When the job has to stop: well before the lease may expire in the store."""
        return holding.renewed + self._ttl * (1 - 1 / _RENEWALS)

    async def _renew(self) -> None:
        for name, holding in list(self._held.items()):
            if holding.task.done():
                self._drop(name, "the job's task has ended")
        # Counted from before it was asked for: the store's time starts later.
        now, held = self._clock.monotonic(), dict(self._held)
        # In the same turn as `_ask`, whatever is due first: each commit wakes the jobs that rest.
        oldest = min([self._asked, *(holding.renewed for holding in held.values())])
        if now - oldest < self._ttl / _RENEWALS:
            return
        self._asked = float("-inf")
        ran = {holding.lease: self._idle(name) if name in self._done else None for name, holding in held.items()}
        still = set(await self._leases.renew(ran, self._ttl))
        for name, holding in held.items():
            if holding.lease in still:
                holding.renewed = now
            elif self._held.get(name) is holding:  # else it was released meanwhile
                self._drop(name, "another took it")

    async def _ask(self) -> None:
        """Register as present; read how many processes are, and when each job last succeeded."""
        now = self._clock.monotonic()
        if now - self._asked < self._ttl / _RENEWALS:
            return
        self._present = await self._leases.present(self._holder, self._ttl)
        for key, ago in (await self._leases.ran(self._jobs.keys())).items():
            self._done[key] = max(now - ago, self._done.get(key, float("-inf")))
        self._asked = now

    def _share(self, name: str) -> int:
        """How many of a job's slices are this process's to do."""
        return -(-self._slices[name] // max(1, self._present))

    def _mine(self, name: str) -> int:
        return sum(self._jobs[key].name == name for key in self._held)

    async def _take(self) -> None:
        wanted = self._jobs.keys() - self._held.keys()
        for name in await self._leases.free(wanted) if wanted else ():
            if self._mine(self._jobs[name].name) >= self._share(self._jobs[name].name):
                continue
            now = self._clock.monotonic()
            lease = await self._leases.acquire(name, self._holder, self._ttl)
            if lease is not None:
                _log.info("lease acquired", job=name, token=lease.token)
                task = self._tasks.start(name, self._do(self._jobs[name], lease))
                self._held[name] = _Holding(lease, now, task)

    def _drop_expired(self) -> None:
        for name, holding in list(self._held.items()):
            if self._clock.monotonic() >= self._expires_at(holding):
                self._drop(name, "it could not be renewed in time")

    def _drop(self, name: str, why: str) -> None:
        _log.warning("lease lost", job=name, reason=why)
        self._held.pop(name).task.cancel()
        self._refused.pop(self._jobs[name].name, None)

    async def _do(self, job: Job, lease: Lease) -> None:
        await asyncio.sleep(min(job.every, self._poll_interval) * random.random())  # noqa: S311  # no secret
        while True:
            began = self._clock.monotonic()
            commits = None if self._commits is None or not job.rests else self._commits()
            self._metrics.count("job_runs", job.name)
            try:
                async with asyncio.timeout(job.within):
                    await job.work(lease)
            except Exception as error:  # noqa: BLE001  # whatever it was, the job is due again
                commits = None
                self._metrics.count("job_failures", job.name)
                expected = isinstance(error, (StoreUnavailableError, TimeoutError, PruneRefusedError))
                if isinstance(error, PruneRefusedError):
                    self._refused[job.name] = str(error)
                _log.warning(
                    "job failed", job=job.name, error=str(error) or type(error).__name__, exc_info=not expected
                )
            else:
                self._last_runs[job.name] = self._clock.now().timestamp()
                self._done[job.key] = self._clock.monotonic()
                self._refused.pop(job.name, None)
            if await self._released_surplus(job, lease):
                return
            await asyncio.sleep(job.every * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311  # no secret
            if commits is not None and self._commits is not None and self._commits() == commits:
                until = began + await self._rest_of(job, began, commits)
                with suppress(TimeoutError):
                    async with asyncio.timeout(until - self._clock.monotonic()):
                        await self._commits.moved(commits)

    async def _rest_of(self, job: Job, began: float, commits: int) -> float:
        """For how many seconds a job that ran at `began` has nothing to do, if nothing is committed after `commits`."""
        if job.awaits_time and self._due_in is not None:
            if self._due is None or self._due[0] != commits:
                try:
                    async with asyncio.timeout(job.within):
                        self._due = commits, await self._due_in() + self._clock.monotonic()
                except Exception as error:  # noqa: BLE001  # the job runs on whatever it was
                    expected = isinstance(error, (StoreUnavailableError, TimeoutError))
                    _log.warning("not known when jobs are due", error=str(error), exc_info=not expected)
                    return REST
            left = self._due[1] - began
            if left > 0:  # else it did nothing about what is due
                return min(left, job.longest_rest)
        return REST

    async def _released_surplus(self, job: Job, lease: Lease) -> bool:
        """Whether this slice was left to another process, because we have more than our share."""
        if self._mine(job.name) <= self._share(job.name) or job.key not in self._held:
            return False
        del self._held[job.key]
        _log.info("releasing lease to another process", job=job.name, slice=job.slice)
        try:
            async with asyncio.timeout(_RELEASE_TIMEOUT):
                await self._leases.release(lease)
        except (StoreUnavailableError, TimeoutError) as error:
            _log.warning("lease not released: it will expire", job=job.name, error=str(error))
        return True

    def _gauge_held(self) -> Mapping[str, float]:
        return {name: float(self._mine(name)) for name in self._slices}

    def _gauge_overdue(self) -> Mapping[str, float]:
        return dict.fromkeys(self._slices, 0.0) | dict(self.overdue())
