"""A place among a node's processes that is always to be filled."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from router.workers.process import Process

FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0  # seconds before a process that ended is replaced; doubled each time
LONG_LIFE = 60.0  # seconds after which an end is taken for an accident, not for a habit

_log = structlog.get_logger("router.workers")

Start = Callable[[int], Awaitable[Process]]


class StartError(Exception):
    """A process did not become ready. `problems` are those of its settings, where it was them."""

    def __init__(self, reason: str, problems: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(reason)
        self.problems = problems


class Post:
    """One place. `start(number)` gives a process, or raises StartError. `at_once` bounds how many posts start again
    at a time, so that what brings processes down can't bring all of them down and up together."""

    def __init__(self, number: int, start: Start, at_once: asyncio.Semaphore) -> None:
        self.number = number
        self.current: Process | None = None
        self.changing = asyncio.Lock()
        """Held by whoever starts a process for this place."""
        self._start = start
        self._at_once = at_once
        self._vacant = asyncio.Event()
        self._wait = FIRST_WAIT

    async def keep(self) -> None:
        """Keep it filled until cancelled."""
        await self._fill()
        while True:
            await self._vacant.wait()
            _log.warning("a process is to be started again", number=self.number, after=self._wait)
            await asyncio.sleep(self._wait)
            self._wait = min(self._wait * 2, LONGEST_WAIT)
            async with self._at_once:
                await self._fill()

    def take(self, process: Process) -> Process | None:
        """The place is this one's from now on; who had it before."""
        before, self.current = self.current, process
        if process.ended.is_set():
            self.left(process)
        else:
            self._vacant.clear()
        return before

    def left(self, process: Process) -> None:
        """A process has ended, whether it was this one's or not."""
        if process is self.current:
            if asyncio.get_running_loop().time() - process.ready_at >= LONG_LIFE:
                self._wait = FIRST_WAIT
            self.current = None
            self._vacant.set()

    async def _fill(self) -> None:
        async with self.changing:
            if self.current is not None:
                return  # a reload was faster
            try:
                self.take(await self._start(self.number))
            except StartError:
                self._vacant.set()
