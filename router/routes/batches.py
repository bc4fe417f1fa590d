"""Look-ups that wait at the same time share a round trip.

The first is sent at once. While a round trip is under way the rest gather, but only for a moment, so that one that hangs
delays no other. So ten thousand hosts that are not known yet cost about a thousand round trips, each key of a round trip
is asked for once, and no result comes from a read that began before it was asked for: a look-up joins only a batch that
has not been sent. Few round trips with few keys each: the results are processed on the loop that also carries traffic.

A queue that moves is not an outage. A waiting look-up fails when the source has returned nothing for as long as a round
trip may take, or when it has waited several times that.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.errors import StoreUnavailableError
from router.routes.records import Record

_MAX_KEYS: Final = 12  # per round trip: what takes the event loop some hundred microseconds to process
_GATHER_TIME: Final = 0.02  # seconds that look-ups gather beside a round trip: longer than one takes
_MAX_WAIT: Final = 5  # times what a round trip may take: how long a look-up waits to be sent at most
_CHECKS: Final = 4  # for look-ups that have waited too long, in the time that a round trip may take


class Found(dict[str, Record | None]):
    """Records by key. `sources` says where each key was looked up (`redis`, `sql`, `memory`).

    `unanswered` are keys that no source could be asked for now.
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
    """Where records come from. A key that has no record may be absent from the result or None."""

    async def fetch(self, keys: Sequence[str]) -> Found:
        """All records of `keys` in one round trip, each as of one instant. Raises StoreUnavailableError."""


class _Waiting:
    """One look-up that is not complete."""

    __slots__ = ("found", "keys", "since")

    def __init__(self, keys: Sequence[str], found: "asyncio.Future[Found]", since: float) -> None:
        self.keys = keys
        self.found = found
        self.since = since


class Batches:
    """Reads of one source: at most `concurrency` round trips at a time, each within `timeout` seconds."""

    def __init__(self, source: RecordSource, *, concurrency: int, timeout: float, tasks: Tasks, clock: Clock) -> None:
        self._source = source
        self._concurrency = concurrency
        self._timeout = timeout
        self._tasks = tasks
        self._now = clock.monotonic
        self._waiting: deque[_Waiting] = deque()
        self._under_way = 0
        self._sending: asyncio.Handle | None = None
        self._gathered = False  # the oldest of those that wait has gathered others for long enough
        self._gathering: asyncio.TimerHandle | None = None
        self._checking: asyncio.TimerHandle | None = None
        self._returned_at = 0.0  # when the source last returned something

    async def fetch(self, keys: Sequence[str]) -> Found:
        """What the source has of these keys. Raises StoreUnavailableError, also where they could not be sent in time."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(keys, loop.create_future(), self._now())
        self._waiting.append(waiting)
        if self._sending is None and self._under_way < self._concurrency:
            self._sending = loop.call_soon(self._send)  # together with the others of this turn of the loop
        if self._checking is None:
            self._checking = loop.call_later(self._timeout / _CHECKS, self._check)
        return await waiting.found

    def close(self) -> None:
        """Stop the timers. Look-ups that wait are not completed."""
        for timer in (self._gathering, self._checking):
            if timer is not None:
                timer.cancel()

    def _send(self) -> None:
        self._sending = None
        while self._under_way < self._concurrency and not self._tasks.closed and self._due():
            if batch := self._next():
                self._under_way += 1
                self._tasks.start("fetch", self._round_trip(batch))

    def _due(self) -> bool:
        """Whether a batch should be sent now; where it should be in a moment, a timer is set."""
        if not self._waiting or not self._under_way:
            return bool(self._waiting)
        left = 0.0 if self._gathered else self._waiting[0].since + _GATHER_TIME - self._now()
        self._gathered = False
        if left > 0 and self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(left, self._gathering_ended)
        return left <= 0

    def _gathering_ended(self) -> None:
        self._gathering = None
        self._gathered = True
        self._send()

    def _next(self) -> list[_Waiting]:
        """The next round trip's look-ups, the oldest first, without those that were cancelled."""
        batch: list[_Waiting] = []
        keys = 0
        while self._waiting and keys < _MAX_KEYS:
            waiting = self._waiting.popleft()
            if not waiting.found.done():
                batch.append(waiting)
                keys += len(waiting.keys)
        return batch

    def _check(self) -> None:
        """Fail look-ups that have waited too long; the oldest stand in front."""
        now = self._now()
        stuck = now - self._returned_at >= self._timeout
        while self._waiting:
            waited = now - self._waiting[0].since
            if waited < self._timeout or not (stuck or waited >= _MAX_WAIT * self._timeout):
                break
            _fail(self._waiting.popleft(), self._timed_out())
        self._checking = None
        if self._waiting:
            self._checking = asyncio.get_running_loop().call_later(self._timeout / _CHECKS, self._check)

    async def _round_trip(self, batch: Sequence[_Waiting]) -> None:
        try:
            await self._fetch(batch)
        finally:
            self._under_way -= 1
            self._send()

    async def _fetch(self, batch: Sequence[_Waiting]) -> None:
        keys = tuple(dict.fromkeys(key for waiting in batch for key in waiting.keys))
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._source.fetch(keys)
        except TimeoutError:
            for waiting in batch:
                _fail(waiting, self._timed_out())
            return
        except Exception as error:  # noqa: BLE001 - raised again where the look-up is awaited
            if len(batch) > 1 and not isinstance(error, StoreUnavailableError):
                # One key that the source fails for must not fail the others.
                for alone in batch:
                    await self._fetch([alone])
                return
            for waiting in batch:
                _fail(waiting, error)
            return
        self._returned_at = self._now()
        for waiting in batch:
            if waiting.found.done():
                continue
            try:
                waiting.found.set_result(found.only(waiting.keys))
            except StoreUnavailableError as error:
                _fail(waiting, error)

    def _timed_out(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"no answer within {self._timeout} s")


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.found.done():
        waiting.found.set_exception(error)
