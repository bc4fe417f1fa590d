"""Jobs on leases in memory: once among several processes, moved when one ends, and stopped when a lease is lost."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from router.base.clock import SystemClock
from router.base.leases import Lease, MemoryLeases
from router.errors import StoreUnavailableError
from router.jobs import runner
from router.jobs.runner import Job, Jobs
from router.observe.metrics import Metrics
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio

NAME = "trim_outbox"  # one of the closed set
POLL_INTERVAL = 0.01
TTL = 0.5


class SharedLeases(MemoryLeases):
    """The store that all processes share. `down` makes it fail, `silent` makes it wait."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.down = self.silent = False

    async def acquire(self, name: str, holder: str, seconds: float, ran: float | None = None) -> Lease | None:
        await self._reach()
        return await super().acquire(name, holder, seconds, ran)

    async def renew(self, ran: Mapping[Lease, float | None], seconds: float) -> Collection[Lease]:
        await self._reach()
        return await super().renew(ran, seconds)

    async def free(self, names: Collection[str]) -> Collection[str]:
        await self._reach()
        return await super().free(names)

    async def release(self, lease: Lease) -> None:
        await self._reach()
        await asyncio.sleep(0)  # as a store does, it lets others go on
        await super().release(lease)

    async def _reach(self) -> None:
        if self.silent:
            await asyncio.Event().wait()
        if self.down:
            raise StoreUnavailableError("switched off")


class Worker:
    """One process, and what it did: the tokens that each run went on under."""

    def __init__(self, leases: SharedLeases, *, within: float = 5.0) -> None:
        self.tokens: list[int] = []
        self.under_way = 0
        self.fails = False
        self.hangs = False
        self.metrics = Metrics()
        job = Job(name=NAME, every=POLL_INTERVAL, within=within, work=self._work)
        self.jobs = Jobs(
            [job], leases=leases, metrics=self.metrics, clock=SystemClock(), poll_interval=POLL_INTERVAL, ttl=TTL
        )

    async def _work(self, lease: Lease) -> None:
        self.tokens.append(lease.token)
        self.under_way += 1
        try:
            if self.fails:
                raise ZeroDivisionError
            if self.hangs:
                await asyncio.Event().wait()
        finally:
            self.under_way -= 1

    def number(self, name: str) -> float:
        """A metric's value for the job."""
        text = self.metrics.render("")[0].decode()
        for line in text.splitlines():
            if line.startswith(f'miosa_router_{name}{{name="{NAME}"}}'):
                return float(line.split()[-1])
        return 0.0


@pytest.fixture
def leases() -> SharedLeases:
    return SharedLeases()


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


def begin(stack: AsyncExitStack, worker: Worker) -> Worker:
    stack.push_async_callback(worker.jobs.close)
    worker.jobs.start()
    return worker


async def test_a_job_is_done_again_and_again(leases: SharedLeases, stack: AsyncExitStack) -> None:
    """Once after each pause, under one lease, and counted."""
    worker = begin(stack, Worker(leases))
    await eventually(lambda: len(worker.tokens) >= 3, "it was done three times")
    assert set(worker.tokens) == {1}
    assert worker.number("job_held") == 1
    assert worker.number("job_runs_total") >= 3
    assert worker.number("job_failures_total") == 0
    assert worker.number("job_last_run_timestamp_seconds") > 0


async def test_one_of_several_does_it(leases: SharedLeases, stack: AsyncExitStack) -> None:
    """While the holder lives, the others only look; longer than a lease lasts without renewal."""
    first = begin(stack, Worker(leases))
    await eventually(lambda: first.tokens, "the first one has it")
    second = begin(stack, Worker(leases))
    clock = SystemClock()
    until = clock.monotonic() + 2 * TTL
    await eventually(lambda: clock.monotonic() > until, "two leases' time is over")
    assert second.tokens == []
    assert set(first.tokens) == {1}
    assert (first.number("job_held"), second.number("job_held")) == (1, 0)


async def test_a_clean_end_hands_it_over(leases: SharedLeases, stack: AsyncExitStack) -> None:
    """The next process has it long before the lease would have ended."""
    first = begin(stack, Worker(leases))
    await eventually(lambda: first.tokens, "the first one has it")
    second = begin(stack, Worker(leases))
    await first.jobs.close()
    await eventually(lambda: second.tokens, "the second one has it", within=TTL)
    assert second.tokens[0] == 2


async def test_a_process_that_dies_loses_it(leases: SharedLeases, stack: AsyncExitStack) -> None:
    """What a dead process held is free when the lease has ended, and not before."""
    assert await leases.acquire(NAME, "the dead", TTL) is not None
    worker = begin(stack, Worker(leases))
    await eventually(lambda: worker.tokens, "it moved")
    assert worker.tokens[0] == 2


async def test_a_failure_is_not_the_end(leases: SharedLeases, stack: AsyncExitStack) -> None:
    """It is counted and logged, and the job is done again."""
    worker = Worker(leases)
    worker.fails = True
    begin(stack, worker)
    await eventually(lambda: worker.number("job_failures_total") >= 2, "it failed twice")
    assert worker.number("job_last_run_timestamp_seconds") == 0
    worker.fails = False
    await eventually(lambda: worker.number("job_last_run_timestamp_seconds"), "it succeeded")


async def test_a_job_that_hangs_is_cancelled(leases: SharedLeases, stack: AsyncExitStack) -> None:
    """After its own deadline, and then it is due again."""
    worker = Worker(leases, within=0.02)
    worker.hangs = True
    begin(stack, worker)
    await eventually(lambda: worker.number("job_failures_total") >= 2, "it was cancelled twice")
    assert worker.under_way <= 1


@pytest.mark.parametrize("how", ["down", "silent"])
async def test_who_cannot_renew_stops_in_time(leases: SharedLeases, stack: AsyncExitStack, how: str) -> None:
    """A process that can't reach the store stops its work before another could begin it; later it goes on anew."""
    worker = Worker(leases)
    worker.hangs = True
    begin(stack, worker)
    await eventually(lambda: worker.under_way, "it is at work")
    setattr(leases, how, True)
    await eventually(lambda: not worker.under_way, "it stopped", within=TTL)
    setattr(leases, how, False)
    worker.hangs = False
    await eventually(lambda: worker.tokens[-1] == 2, "it has a new lease")


async def test_a_lease_that_another_took_ends_the_work(leases: SharedLeases, stack: AsyncExitStack) -> None:
    """A process that was frozen past its time finds out at its next look."""
    worker = Worker(leases)
    worker.hangs = True
    begin(stack, worker)
    await eventually(lambda: worker.under_way, "it is at work")
    await leases.release(Lease(NAME, worker.jobs._holder, 1))
    assert await leases.acquire(NAME, "another", 60.0) is not None
    await eventually(lambda: not worker.under_way, "it stopped")


async def test_an_end_without_the_store(leases: SharedLeases, stack: AsyncExitStack) -> None:
    """Closing has an end too where nothing can be released."""
    worker = begin(stack, Worker(leases))
    await eventually(lambda: worker.tokens, "it has it")
    leases.down = True
    await worker.jobs.close()
    assert worker.under_way == 0


class Sliced:
    """A process that would do all four slices of a job."""

    def __init__(self, leases: SharedLeases) -> None:
        jobs = [Job(name=NAME, every=POLL_INTERVAL, within=5.0, work=self._work, slice=number) for number in range(4)]
        self.jobs = Jobs(
            jobs, leases=leases, metrics=Metrics(), clock=SystemClock(), poll_interval=POLL_INTERVAL, ttl=TTL
        )

    async def _work(self, lease: Lease) -> None:
        assert lease.name.startswith(f"{NAME}/")

    @property
    def held(self) -> int:
        return len(self.jobs._held)


async def test_slices_are_shared_out(leases: SharedLeases, stack: AsyncExitStack) -> None:
    """One process does all slices; another that comes gets half of them, and all when the first has ended."""
    first, second = Sliced(leases), Sliced(leases)
    stack.push_async_callback(first.jobs.close)
    stack.push_async_callback(second.jobs.close)
    first.jobs.start()
    await eventually(lambda: first.held == 4, "it has them all")
    second.jobs.start()
    await eventually(lambda: (first.held, second.held) == (2, 2), "each has its share")
    await first.jobs.close()
    await eventually(lambda: second.held == 4, "the other one has them all")


async def test_an_end_that_is_asked_for_twice(leases: SharedLeases) -> None:
    """Both calls end, and all leases are free."""
    worker = Sliced(leases)
    worker.jobs.start()
    await eventually(lambda: worker.held == 4, "it has them all")
    await asyncio.gather(worker.jobs.close(), worker.jobs.close())
    assert len(await leases.free([f"{NAME}/{number}" for number in range(4)])) == 4


async def test_a_job_that_nobody_does_is_overdue(leases: SharedLeases, stack: AsyncExitStack) -> None:
    """After three periods without a success it is said, in every process; and no more when it was done, by whichever."""
    first, second = Worker(leases, within=0.1), Worker(leases, within=0.1)
    first.fails = True
    begin(stack, first)
    await eventually(lambda: first.tokens, "the first one has it")
    begin(stack, second)
    await eventually(lambda: NAME in first.jobs.overdue() and NAME in second.jobs.overdue(), "both say so")
    assert NAME in (second.jobs.check() or "")
    assert second.number("job_overdue_seconds") > 0.1
    first.fails = False
    await eventually(lambda: not first.jobs.overdue(), "the one that does it knows at once")
    await eventually(lambda: second.number("job_overdue_seconds") < TTL, "the other one hears of it")


async def test_who_holds_all_leases_looks_for_none(stack: AsyncExitStack) -> None:
    """It renews them three times within their time; one that waits for a lease looks again and again."""
    leases = SharedLeases()
    first, second = Worker(leases), Worker(leases)
    begin(stack, first)
    await eventually(lambda: first.tokens, "the first one has it")
    await eventually(lambda: first.jobs._pause() > TTL / 6, "it rests until it renews it")
    assert first.jobs._pause() <= TTL / 3
    begin(stack, second)
    assert second.jobs._pause() < 2 * POLL_INTERVAL


class CommitCount:
    """jobs.runner.CommitCount"""

    def __init__(self) -> None:
        self.number = 1
        self._news = asyncio.Event()

    def __call__(self) -> int:
        return self.number

    async def moved(self, since: int) -> None:
        while self.number == since:
            await self._news.wait()

    def commit(self) -> None:
        self.number += 1
        self._news.set()
        self._news = asyncio.Event()


class Resting:
    """One process with a job of each kind: one that never rests, one that rests, and one that waits for what is due."""

    def __init__(self, due_in: float = 3600.0) -> None:
        self.runs = {"trim_outbox": 0, "warm_certificates": 0, "end_blocks": 0}
        self.commits = CommitCount()
        self.asked = 0
        self.due_at = SystemClock.monotonic() + due_in
        self.jobs = Jobs(
            [
                self._job("trim_outbox"),
                self._job("warm_certificates", rests=True),
                self._job("end_blocks", rests=True, awaits_time=True),
            ],
            leases=SharedLeases(),
            metrics=Metrics(),
            clock=SystemClock(),
            commits=self.commits,
            due_in=self._due_in,
            poll_interval=POLL_INTERVAL,
            ttl=TTL,
        )

    def _job(self, name: str, *, rests: bool = False, awaits_time: bool = False) -> Job:
        async def work(_: Lease) -> None:
            self.runs[name] += 1

        return Job(name=name, every=POLL_INTERVAL, within=300.0, work=work, rests=rests, awaits_time=awaits_time)

    async def _due_in(self) -> float:
        self.asked += 1
        if self.due_at == float("-inf"):
            raise StoreUnavailableError("switched off")
        return self.due_at - SystemClock.monotonic()

    async def ran(self, number: int) -> None:
        """The one that never rests has run so often more."""
        goal = self.runs["trim_outbox"] + number
        await eventually(lambda: self.runs["trim_outbox"] >= goal, "the one that never rests has run")


async def test_a_job_rests_while_nothing_is_committed() -> None:
    """What it would look at is as it was; with the next commit it runs again, and one that looks at other things too never rests."""
    resting = Resting()
    resting.jobs.start()
    await eventually(lambda: all(resting.runs.values()), "all have run")
    await resting.ran(5)
    assert (resting.runs["warm_certificates"], resting.runs["end_blocks"]) == (1, 1)
    resting.commits.commit()
    await eventually(
        lambda: (resting.runs["warm_certificates"], resting.runs["end_blocks"]) == (2, 2), "they run after a commit"
    )
    await resting.jobs.close()


async def test_a_job_rests_until_something_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it runs, though nothing was committed, and rests no longer than that; when something is due is asked once for all commits."""
    monkeypatch.setattr(runner, "REST", 0.05)
    resting = Resting()
    resting.jobs.start()
    await eventually(
        lambda: resting.runs["warm_certificates"] >= 4, "one that does not wait for its time runs now and then"
    )
    assert (resting.runs["end_blocks"], resting.asked) == (1, 1)
    resting.due_at = SystemClock.monotonic() + 0.1
    resting.commits.commit()
    await eventually(lambda: resting.runs["end_blocks"] >= 3, "it runs after the commit, and when something is due")
    assert resting.asked == 2
    await resting.jobs.close()


async def test_a_job_does_not_wait_for_what_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the store can't say when something is due, it runs as often as one that has no time to wait for."""
    monkeypatch.setattr(runner, "REST", 0.05)
    resting = Resting(due_in=float("-inf"))
    resting.jobs.start()
    await eventually(lambda: resting.runs["end_blocks"] >= 3, "it runs")
    await resting.jobs.close()


async def test_nothing_rests_so_long_that_it_would_be_overdue() -> None:
    """The rest is half of that, and never more than a minute."""

    async def work(_: Lease) -> None: ...

    assert Job(name=NAME, every=1.0, within=10.0, work=work).longest_rest == 6.5
    assert Job(name=NAME, every=10.0, within=600.0, work=work).longest_rest == 60.0
