"""How late this process's event loop is, and what it does in one go that makes it late.

Whatever a request waits for besides its own work is another step of the loop. So while a process is busy, a timer of the
kernel is due every 20 ms, and `loop_lag_seconds` counts how late the loop came to each: as long as a request that had come at
that moment would have waited. After a stall each timer that became due meanwhile counts, not the first alone. A process that
rests has no timer: whether it is busy is seen once a second, in a tick that is there anyway.

`loop_step_seconds` times each of our own periodic steps, so that it says which of them a stall comes from.
"""

import asyncio
import ctypes
import gc
import os
import struct
from collections.abc import Callable
from time import thread_time
from typing import Any, Final, ParamSpec, TypeVar

from router.base.clock import Clock, SystemClock
from router.observe.metrics import Metrics

INTERVAL: Final = 0.02  # seconds; 50 times a second costs less than 0.1 % of a core
BUSY: Final = (
    0.02  # seconds of processor time since the last look; a process that rests takes less than a third of that
)
_MAX_MISSED: Final = 1000  # timers that one stall counts for: 20 seconds
_MONOTONIC, _NONBLOCK_AND_CLOSE = 1, 0o2004000  # of <time.h> and <sys/timerfd.h>

_now: Final = SystemClock.monotonic

P = ParamSpec("P")
T = TypeVar("T")


class KernelTimer:
    """A timerfd: a timer that becomes due at exact instants, where the loop's own are rounded to milliseconds. Linux has it; Python
    from 3.13 on only."""

    def __init__(self) -> None:
        """Raises OSError where there is none."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(self._libc, "timerfd_create"):
            raise OSError("no timerfd here")
        self.file = self._checked(self._libc.timerfd_create(_MONOTONIC, _NONBLOCK_AND_CLOSE))

    def every(self, seconds: float) -> None:
        """Become due again and again, first after that time; 0: rest."""
        nanoseconds = round(seconds * 1e9)
        one = (nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000)
        self._checked(self._libc.timerfd_settime(self.file, 0, struct.pack("4l", *one, *one), None))

    def take(self) -> int:
        """How often it has become due since this was last called."""
        try:
            return int.from_bytes(os.read(self.file, 8), "little")
        except BlockingIOError:
            return 0

    def close(self) -> None:
        os.close(self.file)

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


class LoopLag:
    """`look` is called once a second. `timer` and `cpu`, the processor time that this thread has used, are for tests."""

    def __init__(
        self,
        metrics: Metrics,
        clock: Clock,
        *,
        timer: Callable[[], KernelTimer] = KernelTimer,
        cpu: Callable[[], float] = thread_time,
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._cpu = cpu
        self._used = cpu()
        self._due = 0.0  # when the next one is
        self.running = False
        self._timer: KernelTimer | None = None
        try:
            self._timer = timer()
        except OSError:
            return  # nothing is measured here
        asyncio.get_running_loop().add_reader(self._timer.file, self._ticked)

    def look(self) -> None:
        """Measure until the next look if the process was busy since the last one."""
        used, self._used = self._used, self._cpu()
        busy = self._used - used >= BUSY
        if self._timer is None or busy == self.running:
            return
        self.running = busy
        self._due = self._clock.monotonic() + INTERVAL
        self._timer.every(INTERVAL if busy else 0)

    def close(self) -> None:
        if self._timer is not None:
            asyncio.get_running_loop().remove_reader(self._timer.file)
            self._timer.close()
            self._timer = None

    def _ticked(self) -> None:
        if self._timer is None:
            return
        now = self._clock.monotonic()
        missed = self._timer.take()
        for number in range(min(missed, _MAX_MISSED)):
            self._metrics.observe("loop_lag_seconds", max(0.0, now - self._due - number * INTERVAL))
        self._due += missed * INTERVAL


def timed(name: str, step: Callable[P, T], metrics: Metrics) -> Callable[P, T]:
    """`step`, with how long it takes counted under that name."""

    def run(*args: P.args, **words: P.kwargs) -> T:
        began = _now()
        try:
            return step(*args, **words)
        finally:
            metrics.observe("loop_step_seconds", _now() - began, name)

    return run


def time_collections(metrics: Metrics) -> Callable[[], None]:
    """Count how long runs of the garbage collector take, in whichever step they come; what is returned ends that."""
    began = 0.0

    def note(phase: str, _: dict[str, Any]) -> None:
        nonlocal began
        if phase == "start":
            began = _now()
        else:
            metrics.observe("loop_step_seconds", _now() - began, "collect_garbage")

    gc.callbacks.append(note)
    return lambda: gc.callbacks.remove(note)
