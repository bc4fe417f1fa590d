"""EarlyChecks: a domain that waits for its verification is checked now, because a certificate was asked for under its name.

A handshake for the name means that a visitor tries it, most likely its owner. The gate calls this while it answers
/ask, where nothing may wait: the call notes the name, and a task changes the schedule.

Strangers choose the names. So each counts once a minute, at most `max_names` are kept, and the names of one registered
domain can use a share of them: every host under a preview domain that waits is a name.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable

import structlog
from cachetools import TTLCache

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.domains.names import registered_domain
from router.errors import StoreUnavailableError

EVERY = 60.0  # seconds between two early checks of one name
MAX_NAMES = 1024  # remembered, and so the most early checks in a minute
_SHARE = 16  # how many registered domains it takes to use up all of them
_STORE_TIMEOUT = 5.0  # seconds

_log = structlog.get_logger("router.jobs.early_checks")


class EarlyChecks:
    """Call it with a canonical name: it returns at once.

    `schedule_now` makes the check of what waits for that name due (`domains.checks.queue.Queue.schedule_now`).
    """

    def __init__(
        self, *, schedule_now: Callable[[str], Awaitable[object]], clock: Clock, max_names: int = MAX_NAMES
    ) -> None:
        self._schedule_now = schedule_now
        self._max_names = max_names
        self._share = max(1, max_names // _SHARE)
        self._asked: TTLCache[str, str, float] = TTLCache(max_names, EVERY, timer=clock.monotonic)  # name: domain
        self._of_domain = Counter[str]()
        self._waiting = deque[str]()
        self._tasks = Tasks("early checks")

    def __call__(self, name: str) -> None:
        with self._asked.timer:  # one instant for all: what expires is counted here, and nowhere else
            for _, domain in self._asked.expire():
                self._of_domain[domain] -= 1
                if not self._of_domain[domain]:
                    del self._of_domain[domain]
            if name in self._asked or len(self._asked) >= self._max_names or self._tasks.closed:
                return
            domain = registered_domain(name)
            if self._of_domain[domain] >= self._share:
                return
            self._of_domain[domain] += 1
            self._asked[name] = domain
        self._waiting.append(name)
        if not len(self._tasks):
            self._tasks.start("schedule", self._schedule())

    async def close(self) -> None:
        """Forget what is still to be done."""
        await self._tasks.close()

    async def _schedule(self) -> None:
        while self._waiting:
            name = self._waiting.popleft()
            try:
                async with asyncio.timeout(_STORE_TIMEOUT):
                    await self._schedule_now(name)
            except (StoreUnavailableError, TimeoutError) as error:
                # The domain is checked when its schedule says so.
                _log.info("early check not scheduled", name=name, error=str(error) or "store timeout")
