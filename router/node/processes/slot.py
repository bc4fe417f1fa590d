"""A slot: one of a node's processes, which is started again whenever it ends."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from router.node.processes.process import Process

FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0  # seconds before a process that ended is replaced; doubled each time
LONG_LIFE = 60.0  # seconds: a process that ran for so long is restarted without a growing delay

_log = structlog.get_logger("router.node.processes")

Start = Callable[[int], Awaitable[Process]]


class StartError(Exception):
    """A process did not become ready. `problems` are those of its settings, where it was them."""

    def __init__(self, reason: str, problems: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(reason)
        self.problems = problems


class Slot:
    """One slot. `start(number)` starts its process and returns it when it is ready, or raises StartError. `concurrency`
    bounds how many slots restart at a time: a fault that ends all processes must not restart all of them at once."""

    def __init__(self, number: int, start: Start, concurrency: asyncio.Semaphore) -> None:
        self.number = number
        self.current: Process | None = None
        self.changing = asyncio.Lock()
        """Held while a process is started for this slot."""
        self._start = start
        self._concurrency = concurrency
        self._vacant = asyncio.Event()
        self._wait = FIRST_WAIT

    async def keep(self) -> None:
        """Restart the process whenever it ends, until cancelled."""
        await self._fill()
        while True:
            await self._vacant.wait()
            _log.warning("restarting process", number=self.number, after=self._wait)
            await asyncio.sleep(self._wait)
            self._wait = min(self._wait * 2, LONGEST_WAIT)
            async with self._concurrency:
                await self._fill()

    def take(self, process: Process) -> Process | None:
        """The slot's process is this one from now on; returns the one before."""
        before, self.current = self.current, process
        if process.ended.is_set():
            self.left(process)
        else:
            self._vacant.clear()
        return before

    def left(self, process: Process) -> None:
        """A process has ended, this slot's or another's."""
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
