"""Pace expensive work (look-ups of unknown hosts, new connections to backends), so that requests on warm routes do not
wait behind it.

Ten thousand hosts that are not known yet cost a quarter of a millisecond each, for a look-up and a connection. Without
pacing, dozens of them fall into one turn of the loop, and a warm request waits for all of them, twice: with its head and
with its response (`bench/burst.py`). So the first step is taken at once, and of those that wait each turn takes

- one, or a 64th of them where that is more: turns get longer under load, and with a fixed number steps would come in
  faster than they are taken;
- but no more than two milliseconds' worth, or a quarter of what the whole last turn took: where warm traffic makes turns
  long, cold hosts keep a share. A step's cost is measured: what it does itself, and what the tasks that it has started do
  in the next turn until they have to wait. What is counted is processor time: on a machine where others run too, a step
  that was interrupted costs no more than any other.
"""

import asyncio
import gc
from collections import deque
from collections.abc import Callable
from typing import Final

_SHARE: Final = 64  # one of so many that wait
_TURN: Final = 0.002  # seconds
_PART: Final = 4  # of the last turn
_FIRST_COST: Final = 0.000_1  # seconds of a step, before one was measured
_LEAST_COST: Final = 0.000_001
# The garbage collector runs after so many allocations more than deallocations. Where each new host evicts an old one that
# difference stays near zero, so a collection comes late, has much to look at, and takes 6 ms. So it is run here: gen-1
# every 32 steps takes a quarter of a millisecond.
_COLLECT_EVERY: Final = 32


class Pacer:
    """See the module. A step that raises is reported by the loop, and keeps no other from being taken."""

    def __init__(self, time: Callable[[], float]) -> None:
        """`time` is the processor time that this thread has used, in seconds."""
        self._time = time
        self._left = 1  # steps that this turn may still take
        self._waiting: deque[Callable[[], None]] = deque()
        self._scheduled = False
        self._taken = 0
        self._cost = _FIRST_COST  # seconds per step, a moving average
        self._taken_last = 0  # steps of the last turn, whose own work took `_spent` seconds
        self._spent = 0.0
        self._began = 0.0  # when the tasks started by them began to run
        self._last = 0.0  # when `_next` ran in the turn before this one

    def take(self, step: Callable[[], None]) -> None:
        """Run `step` now, or in the first turn that has room for it."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)
        if self._left and not self._waiting:
            self._run(step)
        else:
            self._waiting.append(step)

    def _next(self) -> None:
        """Another turn of the loop: what came in from sockets meanwhile has been served."""
        start = self._time()
        self._measure(start)
        seconds = max(_TURN, (start - self._last) / _PART) if self._last else _TURN
        waiting = self._waiting
        self._scheduled = bool(waiting)
        self._left = max(1, min(len(waiting) // _SHARE, int(seconds / self._cost)))
        self._last = start if waiting else 0.0
        if not waiting:
            return
        loop = asyncio.get_running_loop()
        loop.call_soon(self._begin)  # before the steps: the tasks that they start run between this and `_next`
        before = self._taken
        try:
            while self._left and waiting and self._time() - start < seconds:
                self._run(waiting.popleft())
        finally:  # also after a step that failed: those that wait have no other deadline
            self._left = 0
            self._spent = self._time() - start
            self._taken_last = self._taken - before
            loop.call_soon(self._next)

    def _begin(self) -> None:
        self._began = self._time()

    def _measure(self, now: float) -> None:
        if self._taken_last:
            cost = (self._spent + now - self._began) / self._taken_last
            self._cost = max(_LEAST_COST, (3 * self._cost + cost) / 4)
            self._taken_last = 0

    def _run(self, step: Callable[[], None]) -> None:
        self._left -= 1
        self._taken += 1
        if self._taken % _COLLECT_EVERY == 0:
            gc.collect(1)
        step()
