"""How late the event loop is: measured while a process is busy, by timers that each count."""

import asyncio
import gc
import os

import pytest

from router.base.clock import ManualClock
from router.observe.loop_lag import BUSY, INTERVAL, KernelTimer, LoopLag, time_collections, timed
from router.observe.metrics import Metrics
from tests.unit.observe.test_metrics import one, series


class Timer(KernelTimer):
    """Becomes due when the test says so."""

    def __init__(self) -> None:
        self.file, self._due = os.pipe()
        self.interval = 0.0
        self.taken = asyncio.Event()

    def every(self, seconds: float) -> None:
        self.interval = seconds

    async def expire(self, times: int) -> None:
        os.write(self._due, bytes([times]))
        await self.taken.wait()
        self.taken.clear()

    def take(self) -> int:
        self.taken.set()
        return os.read(self.file, 1)[0]

    def close(self) -> None:
        os.close(self.file)
        os.close(self._due)


class Cpu:
    """Processor time, as the test says."""

    used = 0.0

    def __call__(self) -> float:
        return self.used


def within(metrics: Metrics, seconds: str) -> float:
    return one(metrics, "loop_lag_seconds_bucket", le=seconds)


def steps(metrics: Metrics, name: str) -> float:
    return series(metrics)["loop_step_seconds_count", frozenset({("name", name)})]


@pytest.mark.asyncio
async def test_each_timer_that_a_stall_delayed_counts() -> None:
    """As long as a request that had come when it was due would have waited, whichever way the loop came to it late."""
    clock, metrics, timer, cpu = ManualClock(), Metrics(), Timer(), Cpu()
    lag = LoopLag(metrics, clock, timer=lambda: timer, cpu=cpu)
    cpu.used = BUSY
    lag.look()
    clock.advance(INTERVAL + 0.000_2)
    await timer.expire(1)
    clock.advance(2 * INTERVAL + 0.004)  # so one was due so long ago, and one 4 ms
    await timer.expire(2)
    lag.close()
    assert within(metrics, "0.00025") == 1
    assert within(metrics, "0.005") == 2
    assert within(metrics, "0.025") == 3


@pytest.mark.asyncio
async def test_a_process_that_rests_has_no_timer() -> None:
    """It would be woken by it and by nothing else; one that is busy again has it again."""
    cpu, timer = Cpu(), Timer()
    lag = LoopLag(Metrics(), ManualClock(), timer=lambda: timer, cpu=cpu)
    intervals = []
    for used in (BUSY * 0.5, BUSY * 2, BUSY * 4, BUSY * 4.5, BUSY * 6):
        cpu.used = used
        lag.look()
        intervals.append(timer.interval)
    lag.close()
    assert intervals == [0.0, INTERVAL, INTERVAL, 0, INTERVAL]


@pytest.mark.asyncio
async def test_a_machine_without_such_timers_measures_nothing() -> None:
    """The rest of the process is as elsewhere."""

    def none() -> KernelTimer:
        raise OSError("no timerfd here")

    cpu = Cpu()
    lag = LoopLag(Metrics(), ManualClock(), timer=none, cpu=cpu)
    cpu.used = 1.0
    lag.look()
    lag.close()
    assert not lag.running


@pytest.mark.asyncio
async def test_the_kernels_timer_comes_to_a_loop() -> None:
    """Again and again, until it is told to rest."""
    timer = KernelTimer()
    came: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.add_reader(timer.file, lambda: came.put_nowait(timer.take()))
    timer.every(0.001)
    assert await came.get() >= 1
    assert await came.get() >= 1
    timer.every(0)
    loop.remove_reader(timer.file)
    timer.take()
    assert timer.take() == 0
    timer.close()


def test_steps_are_counted_by_name() -> None:
    """Also one that fails; and collections of garbage, until that is ended."""
    metrics = Metrics()

    def fail(_: float) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        timed("report_uses", fail, metrics)(1.0)
    end = time_collections(metrics)
    gc.collect()
    end()
    before = steps(metrics, "collect_garbage")
    gc.collect()
    assert steps(metrics, "report_uses") == 1
    assert steps(metrics, "collect_garbage") == before >= 1
