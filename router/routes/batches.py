"""Look-ups that wait at the same time share a round trip.

The first goes at once. While a round trip is under way the rest gather, for a moment at most, so that one that hangs
holds up nobody else; so ten thousand cold hosts cost some thousand round trips, each key of a round trip is asked for
once, and nothing is ever answered from a read that began before it was asked: a look-up joins only what has not left
yet. Few round trips with few keys each: what they bring is worked through on the loop that also carries everybody
else's traffic.

A queue that moves is no outage. Those who wait give up when the source has brought nothing for as long as a round trip
may take, or when they have waited several times that.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

from router.errors import StoreUnavailableError
from router.routes.records import Record
from router.tasks import Tasks

_KEYS = 12  # per round trip: what takes the event loop some hundred microseconds to work through
_MOMENT = 0.02  # seconds that look-ups gather beside a round trip: longer than one takes
_PATIENCE = 5  # times what a round trip may take: how long a look-up waits for its turn at most
_SWEEPS = 4  # looks at who has waited too long, in the time that a round trip may take


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


class _Waiting:
    """One look-up that waits for its turn."""

    __slots__ = ("answer", "keys", "since")

    def __init__(self, keys: Sequence[str], answer: "asyncio.Future[Found]", since: float) -> None:
        self.keys = keys
        self.answer = answer
        self.since = since


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
        self._gathering: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._brought = 0.0  # when the source last brought something

    async def fetch(self, keys: Sequence[str]) -> Found:
        """What the source has of these keys. Raises StoreUnavailableError, also where their turn did not come in time."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(keys, loop.create_future(), loop.time())
        self._waiting.append(waiting)
        if self._leaving is None and self._under_way < self._at_once:
            self._leaving = loop.call_soon(self._leave)  # with whatever else this turn of the loop brings
        if self._sweeping is None:
            self._sweeping = loop.call_later(self._time / _SWEEPS, self._sweep)
        return await waiting.answer

    def close(self) -> None:
        """Look no more after those who wait."""
        for timer in (self._gathering, self._sweeping):
            if timer is not None:
                timer.cancel()

    def _leave(self) -> None:
        self._leaving = None
        while self._under_way < self._at_once and not self._tasks.closed and self._gathered():
            if batch := self._next():
                self._under_way += 1
                self._tasks.start("fetch", self._travel(batch))

    def _gathered(self) -> bool:
        """Whether some who wait should travel now. If they should in a moment, they will."""
        if not self._waiting or not self._under_way:
            return bool(self._waiting)
        loop = asyncio.get_running_loop()
        left = self._waiting[0].since + _MOMENT - loop.time()
        if left > 0 and self._gathering is None:
            self._gathering = loop.call_later(left, self._moment_passed)
        return left <= 0

    def _moment_passed(self) -> None:
        self._gathering = None
        self._leave()

    def _next(self) -> list[_Waiting]:
        """The next round trip's look-ups, the oldest first; those that nobody waits for any more are left out."""
        batch: list[_Waiting] = []
        keys = 0
        while self._waiting and keys < _KEYS:
            waiting = self._waiting.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
                keys += len(waiting.keys)
        return batch

    def _sweep(self) -> None:
        """Give up for those who have waited too long; the oldest stand in front."""
        now = asyncio.get_running_loop().time()
        stuck = now - self._brought >= self._time
        while self._waiting:
            waited = now - self._waiting[0].since
            if waited < self._time or not (stuck or waited >= _PATIENCE * self._time):
                break
            _fail(self._waiting.popleft(), self._late())
        self._sweeping = None
        if self._waiting:
            self._sweeping = asyncio.get_running_loop().call_later(self._time / _SWEEPS, self._sweep)

    async def _travel(self, batch: Sequence[_Waiting]) -> None:
        try:
            await self._fetch(batch)
        finally:
            self._under_way -= 1
            self._leave()

    async def _fetch(self, batch: Sequence[_Waiting]) -> None:
        keys = tuple(dict.fromkeys(key for waiting in batch for key in waiting.keys))
        try:
            async with asyncio.timeout(self._time):
                found = await self._source.fetch(keys)
        except TimeoutError:
            for waiting in batch:
                _fail(waiting, self._late())
            return
        except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
            if len(batch) > 1 and not isinstance(error, StoreUnavailableError):
                # One key that the source stumbles over must not fail the others.
                for alone in batch:
                    await self._fetch([alone])
                return
            for waiting in batch:
                _fail(waiting, error)
            return
        self._brought = asyncio.get_running_loop().time()
        for waiting in batch:
            if waiting.answer.done():
                continue
            try:
                waiting.answer.set_result(found.only(waiting.keys))
            except StoreUnavailableError as error:
                _fail(waiting, error)

    def _late(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"no answer within {self._time} s")


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
