"""Look-ups that wait at the same time share a round trip.

The first goes at once. While as many round trips are under way as there may be, the rest gather; so ten thousand cold
hosts cost a few hundred round trips, each key of a round trip is asked for once, and nothing is ever answered from a
read that began before it was asked: a look-up joins only what has not left yet.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

from router.errors import StoreUnavailableError
from router.routes.records import Record
from router.tasks import Tasks

_KEYS = 96  # per round trip: what takes the event loop a millisecond or two to work through


class Found(dict[str, Record | None]):
    """Records by key. `sources` says where the answer about each key came from (`redis`, `sql`, `memory`).

    `unanswered` are keys that nobody could say anything about for now.
    """

    def __init__(
        self,
        records: Mapping[str, Record | None],
        *,
        sources: Mapping[str, str],
        unanswered: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(records)
        self.sources = sources
        self.unanswered = unanswered

    @property
    def source(self) -> str:
        """The farthest place that had to be asked."""
        places = set(self.sources.values())
        return next((place for place in ("sql", "redis", "memory") if place in places), "none")

    def only(self, keys: Sequence[str]) -> "Found":
        """What was found of these keys. Raises StoreUnavailableError where one of them is unanswered."""
        if not self.unanswered.isdisjoint(keys):
            raise StoreUnavailableError("the store is away, and not all that is needed is in Redis")
        return Found({key: self.get(key) for key in keys}, sources={key: self.sources[key] for key in keys})


class RecordSource(Protocol):
    """Where records come from. A key that has no record may be absent from the answer or None."""

    async def fetch(self, keys: Sequence[str]) -> Found:
        """All records of `keys` in one round trip, each as of one instant. Raises StoreUnavailableError."""


_Waiting = tuple[Sequence[str], "asyncio.Future[Found]"]


class Batches:
    """Reads of one source, `at_once` round trips at a time, each within `time` seconds."""

    def __init__(self, source: RecordSource, *, at_once: int, time: float, tasks: Tasks) -> None:
        self._source = source
        self._at_once = at_once
        self._time = time
        self._tasks = tasks
        self._waiting: deque[_Waiting] = deque()
        self._under_way = 0
        self._leaving: asyncio.Handle | None = None

    async def fetch(self, keys: Sequence[str]) -> Found:
        """What the source has of these keys. Raises StoreUnavailableError, also where their turn did not come in time."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Found] = loop.create_future()
        self._waiting.append((keys, answer))
        if self._leaving is None and self._under_way < self._at_once:
            self._leaving = loop.call_soon(self._leave)  # with whatever else this turn of the loop brings
        try:
            async with asyncio.timeout(self._time):
                return await answer
        except TimeoutError:
            raise StoreUnavailableError(f"no answer within {self._time} s") from None

    def _leave(self) -> None:
        self._leaving = None
        while self._under_way < self._at_once and (batch := self._next()):
            self._under_way += 1
            self._tasks.start("fetch", self._travel(batch))

    def _next(self) -> list[_Waiting]:
        """The next round trip's look-ups, the oldest first; those that nobody waits for any more are left out."""
        batch: list[_Waiting] = []
        keys = 0
        while self._waiting and keys < _KEYS:
            waiting = self._waiting.popleft()
            if not waiting[1].done():
                batch.append(waiting)
                keys += len(waiting[0])
        return batch

    async def _travel(self, batch: Sequence[_Waiting]) -> None:
        try:
            await self._fetch(batch)
        finally:
            self._under_way -= 1
            self._leave()

    async def _fetch(self, batch: Sequence[_Waiting]) -> None:
        keys = tuple(dict.fromkeys(key for wanted, _ in batch for key in wanted))
        try:
            async with asyncio.timeout(self._time):
                found = await self._source.fetch(keys)
        except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
            if len(batch) > 1 and not isinstance(error, (StoreUnavailableError, TimeoutError)):
                # One key that the source stumbles over must not fail the others.
                for alone in batch:
                    await self._fetch([alone])
                return
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for wanted, answer in batch:
            if answer.done():
                continue
            try:
                answer.set_result(found.only(wanted))
            except StoreUnavailableError as error:
                answer.set_exception(error)
