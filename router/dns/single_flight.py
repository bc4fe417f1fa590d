"""Single-flight: at most one search for the same thing at a time, shared by every caller that wants it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from router.base.clock import Clock
from router.base.tasks import Tasks

K = TypeVar("K")
V = TypeVar("V")

_GRACE = 0.1  # seconds past its time that a search has to return what it has found


class Search(Generic[V]):
    """One search in progress. `until` is the latest deadline of its callers."""

    task: asyncio.Task[V]

    def __init__(self, until: float) -> None:
        self.until = until
        self.waiting = 0


class SingleFlight(Generic[K, V]):
    """Searches in progress by key. The last caller that goes away cancels its search."""

    def __init__(self, tasks: Tasks, clock: Clock) -> None:
        self._tasks = tasks
        self._clock = clock
        self._in_progress: dict[K, Search[V]] = {}

    async def join(self, key: K, until: float, begin: Callable[[Search[V]], Coroutine[Any, Any, V]]) -> V:
        """The search's result. `begin` starts one where none is in progress.

        `until` is an instant of the monotonic clock. Raises TimeoutError then, asyncio.CancelledError where the search was
        cancelled by the owner of `tasks`, and what the search raises.
        """
        search = self._in_progress.get(key)
        if search is None:
            search = self._in_progress[key] = Search(until)
            search.task = self._tasks.start(f"find {key}", begin(search))
            search.task.add_done_callback(lambda _: self._end(key, search))
        search.until = max(search.until, until)
        search.waiting += 1
        try:
            return await self._wait(search, until)
        finally:
            search.waiting -= 1
            if not search.waiting:
                self._end(key, search)

    async def _wait(self, search: Search[V], until: float) -> V:
        done, _ = await asyncio.wait([search.task], timeout=max(until - self._clock.monotonic(), 0) + _GRACE)
        if not done:
            raise TimeoutError
        return search.task.result()

    def _end(self, key: K, search: Search[V]) -> None:
        if self._in_progress.get(key) is search:
            del self._in_progress[key]
        search.task.cancel()
