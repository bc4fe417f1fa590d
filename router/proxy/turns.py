"""What is dear and can wait a moment takes turns: one step per turn of the loop, more where many wait.

Ten thousand hosts that nobody has asked for cost a quarter of a millisecond each, for a look-up and a new connection. Where
dozens of them are due in one turn of the loop, a request on a warm route waits for all of them, twice: once with its
head, once with its answer. Now it waits for one (`bench/burst.py`).
"""

import asyncio
import gc
from collections import deque
from collections.abc import Callable
from typing import Final

_LEAST: Final = 1  # steps per turn
# A share of those that wait is taken all the same. A turn is long where there is much to do, and with a fixed number they
# would come in faster than they are taken, and wait for ever.
_TURNS: Final = 64
# The collector counts what is new less what has gone. Where each new host pushes out another it sees next to nothing, and
# comes when everybody has to wait 6 ms for it. So it comes with the steps.
_COLLECTED: Final = 32  # steps: it looks at what they left within a quarter of a millisecond


class Turns:
    """See the module. A step must not raise."""

    def __init__(self) -> None:
        self._left = _LEAST
        self._waiting: deque[Callable[[], None]] = deque()
        self._scheduled = False
        self._taken = 0

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
        self._left = max(_LEAST, len(self._waiting) // _TURNS)
        self._scheduled = bool(self._waiting)
        if self._scheduled:  # before anything can go wrong: whoever waits here has no other deadline
            asyncio.get_running_loop().call_soon(self._next)
        while self._left and self._waiting:
            self._run(self._waiting.popleft())

    def _run(self, step: Callable[[], None]) -> None:
        self._left -= 1
        self._taken += 1
        if self._taken % _COLLECTED == 0:
            gc.collect(1)
        step()
