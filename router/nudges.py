"""Nudges: somebody asked for a certificate for a name that waits for its verification, so its owner is at it right now.

The gate says so from the middle of an answer, where nothing may wait: what is to be done is noted here and done by a task.
Strangers choose the names, so each counts once a minute, and no more of them are kept than `most`.
"""

import asyncio
from typing import Protocol

import structlog

from router.clock import Clock
from router.errors import StoreUnavailableError
from router.tasks import Tasks

EVERY = 60.0  # seconds between two nudges about one name
MOST = 1024  # names remembered, and so the most nudges in a minute
_STORE_TIME = 5.0  # seconds

_log = structlog.get_logger("router.nudges")


class Puller(Protocol):
    async def pull(self, host: str) -> int:
        """Let what waits for this host's name be looked at now. Raises StoreUnavailableError."""


class Nudges:
    """Call it with a canonical name: it returns at once."""

    def __init__(self, *, queue: Puller, clock: Clock, most: int = MOST) -> None:
        self._queue = queue
        self._now = clock.monotonic
        self._most = most
        self._heard: dict[str, float] = {}
        self._waiting: list[str] = []
        self._tasks = Tasks("nudges")

    def __call__(self, name: str) -> None:
        now = self._now()
        while self._heard and now - next(iter(self._heard.values())) >= EVERY:
            del self._heard[next(iter(self._heard))]
        if name in self._heard or len(self._heard) >= self._most or self._tasks.closed:
            return
        self._heard[name] = now
        self._waiting.append(name)
        if not len(self._tasks):
            self._tasks.start("pull", self._pull())

    async def close(self) -> None:
        """Forget what is still to be done."""
        await self._tasks.close()

    async def _pull(self) -> None:
        while self._waiting:
            name = self._waiting.pop(0)
            try:
                async with asyncio.timeout(_STORE_TIME):
                    await self._queue.pull(name)
            except (StoreUnavailableError, TimeoutError) as error:
                # The schedule brings it all the same.
                _log.info("a nudge came to nothing", name=name, error=str(error) or "no answer in time")
