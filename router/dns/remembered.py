"""What is known for a while, and what is being found out.

Both are bounded: what is remembered by number and time, what is being found out by whoever waits for it. The last one to
go away ends it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from router.clock import Clock
from router.tasks import Tasks

K = TypeVar("K")
V = TypeVar("V")

_GRACE = 0.1  # seconds past its time that a search has to say what it has found


class Remembered(Generic[K, V]):
    """Values that expire; the oldest go first where there are too many."""

    def __init__(self, clock: Clock, most: int) -> None:
        self._clock = clock
        self._most = most
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        expires, value = kept
        if self._clock.monotonic() >= expires:
            del self._kept[key]
            return None
        return value

    def put(self, key: K, value: V, seconds: float) -> None:
        """Keep a value in place of an older one; for no time: keep none."""
        self._kept.pop(key, None)
        if seconds > 0:
            self._kept[key] = (self._clock.monotonic() + seconds, value)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)


class Search(Generic[V]):
    """Something that is being found out. `until` is the last instant that anybody waits for it."""

    task: asyncio.Task[V]

    def __init__(self, until: float) -> None:
        self.until = until
        self.waiting = 0


class Searches(Generic[K, V]):
    """At most one search at a time for the same thing, shared by all who want it."""

    def __init__(self, tasks: Tasks, clock: Clock) -> None:
        self._tasks = tasks
        self._clock = clock
        self._going: dict[K, Search[V]] = {}

    async def join(self, key: K, until: float, begin: Callable[[Search[V]], Coroutine[Any, Any, V]]) -> V:
        """What comes of it. `begin` is called with the search where none is going on.

        Raises TimeoutError at the instant `until`, asyncio.CancelledError where the search is ended by its owner.
        """
        search = self._going.get(key)
        if search is None:
            search = self._going[key] = Search(until)
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
        if self._going.get(key) is search:
            del self._going[key]
        search.task.cancel()
