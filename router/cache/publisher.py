"""Delivers the outbox: each committed change into Redis, and its key onto the bus.

There is nothing to claim. How far a shelf of Redis has been told is written on the shelf (its mark), moves only from
where it really is, and is lost with the shelf's records if they are. So any number of publishers may run, on any number
of nodes; where two do the same, the second finds it done. The process that commits a change delivers it at once. The
others leave it alone until they see it a second time, and step in for one that died, or that has no publisher (the
command line).

Per round: read the changes after the lowest mark; read their records, as they are now; move each shelf from its mark to
the last of them; then tell the bus. A round that is repeated does no harm: of two versions the newer stays, and telling
a key twice costs a look-up. A shelf that went back (a failover, an old snapshot) is seen at the next heartbeat, at the
latest, and told again from there; one whose changes are not kept any more is emptied.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from router.cache.client import CacheUnavailableError, Client
from router.cache.news import News, encode_news
from router.cache.records import VersionedSource
from router.cache.shelves import Shelf, Shelves
from router.clock import Clock
from router.errors import StoreUnavailableError
from router.routes.records import Change, Snapshot
from router.settings import Redis as Limits
from router.tasks import Tasks

_LOOK_EVERY = 0.02  # seconds between looks at the outbox
_PATIENCE = 0.1  # seconds that another publisher has to tell the bus of what it has delivered
_BATCH = 200  # changes per round
_RETRY = (0.05, 1.0)  # seconds between tries while Redis or the store is away: the first, the longest

_log = structlog.get_logger("router.cache")


class Feed(Protocol):
    """The outbox, as a publisher sees it. All but `moved` raise StoreUnavailableError."""

    def moved(self) -> bool:
        """Whether another process may have committed since the last call."""

    async def newest(self) -> int:
        """The number of the newest change."""

    async def oldest(self) -> int:
        """The number of the oldest change that is still kept."""

    async def after(self, number: int, most: int) -> Sequence[Change]:
        """At most so many of the changes after this one, in their order."""


class Bus(Protocol):
    """What this process hears on the bus."""

    @property
    def published(self) -> int:
        """Everything up to this change has been told there."""


@dataclass(slots=True)
class _Place:
    """A shelf, and where its mark is as far as we know; None before we know anything.

    It has been told of everything up to `told`, which is further than the mark where nothing of it was the shelf's.
    """

    shelf: Shelf
    mark: int | None = None
    told: int = 0
    failing: bool = False
    retry_at: float = 0.0


class Publisher:
    """One process's share of the work."""

    def __init__(
        self,
        client: Client,
        shelves: Shelves,
        limits: Limits,
        *,
        feed: Feed,
        source: VersionedSource,
        bus: Bus,
        clock: Clock,
    ) -> None:
        self._client = client
        self._shelves = shelves
        self._limits = limits
        self._feed = feed
        self._source = source
        self._bus = bus
        self._clock = clock
        self._now = clock.monotonic
        self._breaker = client.breaker()
        self._channel = f"{limits.prefix}bus"
        self._tasks = Tasks("publisher")
        self._wake = asyncio.Event()
        self._places = [_Place(shelf) for shelf in shelves.all]
        self._announced = 0  # the bus has been told of everything up to this change
        self._settled = 0  # and of this a heartbeat ago
        self._own = 0  # this process's newest change
        self._seen = 0  # the newest change that was there at the last look
        self._unsure = True  # whether there may be changes that we have not looked at
        self._heartbeat_at = 0.0
        self._oldest_at: datetime | None = None
        self.waiting = 0  # changes that the bus has not been told of
        self.error: str | None = None

    @property
    def lag(self) -> float:
        """Seconds since the oldest change that is not delivered was committed."""
        if self._oldest_at is None:
            return 0.0
        return max(0.0, (self._clock.now() - self._oldest_at).total_seconds())

    def start(self) -> None:
        """Deliver from now on."""
        self._tasks.start("deliver", self._deliver_all())

    async def close(self) -> None:
        """Deliver no more; what is left over is in the outbox."""
        await self._tasks.close()

    def committed(self, number: int) -> None:
        """This process has committed changes up to this one."""
        self._own = max(self._own, number)
        self._wake.set()

    async def _deliver_all(self) -> None:
        first, longest = _RETRY
        wait = first
        while True:
            try:
                more = await self._round()
                if self.error is not None:
                    _log.info("changes are delivered again")
                self.error, wait = None, first
            except (CacheUnavailableError, StoreUnavailableError) as error:
                if self.error is None:
                    _log.warning("changes can't be delivered; they wait in the outbox", error=str(error))
                self.error, self._unsure = str(error), True
                await self._count_waiting()
                await asyncio.sleep(wait)
                wait = min(wait * 2, longest)
                continue
            if not more:
                await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_EVERY):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _round(self) -> bool:
        """Deliver what is there; whether there is more."""
        due = [place for place in self._places if not place.failing or self._now() >= place.retry_at]
        if not due:
            raise CacheUnavailableError(self.error or "no part of Redis can be reached")
        if unknown := [place for place in due if place.mark is None]:
            await self._locate(unknown)
        self._announced = max(self._announced, self._bus.published)
        if self._now() >= self._heartbeat_at:
            await self._beat(due)
        low = min([self._announced, *(place.told for place in due if place.mark is not None)])
        if low >= max(self._own, self._seen) and not self._unsure and not self._feed.moved():
            return False
        changes = await self._feed.after(low, _BATCH)
        self._unsure = False
        if changes and changes[0].number > low + 1 and await self._feed.oldest() > low + 1:
            _log.warning("changes were trimmed before they were delivered")
            await self._start_over()
            return True
        # Others' changes are theirs to deliver, unless they are still here at the second look.
        newest = max(self._own, self._seen)
        ready = [change for change in changes if change.number <= newest]
        self._seen = max([self._seen, *(change.number for change in changes[-1:])])
        self._note(changes)
        if ready:
            await self._deliver(ready, [place for place in due if place.mark is not None])
            self._note(changes[len(ready) :])
        return len(ready) == _BATCH

    def _note(self, left: Sequence[Change]) -> None:
        self.waiting = len(left)
        self._oldest_at = left[0].at if left else None

    async def _count_waiting(self) -> None:
        with suppress(StoreUnavailableError):
            self.waiting = max(0, await self._feed.newest() - self._announced)
            first = await self._feed.after(self._announced, 1)
            self._oldest_at = first[0].at if first else None

    async def _locate(self, places: Sequence[_Place]) -> None:
        """See where their marks are. A shelf without one is empty, and starts at the newest change.

        One that is further than the outbox has been told by another database: nothing that lies there is ours.
        """
        newest = await self._feed.newest()
        await self._reach(places, lambda place: self._find(place.shelf, newest))
        marks = [place.mark for place in places if place.mark is not None]
        if max(marks) > await self._feed.newest():
            _log.warning("Redis was filled from another database")
            await self._start_over()
        elif not self._announced:
            self._announced = self._settled = min(marks)

    async def _find(self, shelf: Shelf, newest: int) -> int:
        mark = await shelf.mark()
        return await shelf.advance({}, start=newest, to=newest) if mark is None else mark

    async def _start_over(self) -> None:
        """Nothing that lies in Redis can be vouched for: it is emptied, and starts at the newest change."""
        newest = await self._feed.newest()
        removed = await self._shelves.purge()
        await self._reach(self._places, lambda place: place.shelf.advance({}, start=0, to=newest))
        # Whoever has heard less than this has missed something, and is told so by the next heartbeat.
        self._announced = self._settled = max(self._announced, newest)
        _log.warning("Redis was emptied", removed=removed)

    async def _deliver(self, changes: Sequence[Change], places: Sequence[_Place]) -> None:
        to = changes[-1].number
        mine: dict[Shelf, list[Change]] = {}
        for change in changes:
            mine.setdefault(self._shelves.of(change.key), []).append(change)
        behind = []
        for place in places:
            if any(change.number > place.told for change in mine.get(place.shelf, ())):
                behind.append(place)
            else:
                place.told = max(place.told, to)
        if behind:
            records = await self._read([change.key for place in behind for change in mine[place.shelf]])

            async def move(place: _Place) -> int:
                known = {change.key: records[change.key] for change in mine[place.shelf] if change.key in records}
                return await place.shelf.advance(known, start=place.mark or 0, to=to)

            await self._reach(behind, move)
            if any(place.mark != to and not place.failing for place in behind):
                await self._leave_it_to_another(to)
                return
        news = [change for change in changes if change.number > self._announced]
        if news:
            numbers = {change.key: change.number for change in news}
            await self._publish(News(self._announced, to, numbers, news[0].at.timestamp()))
            self._announced = max(self._announced, to)

    async def _leave_it_to_another(self, to: int) -> None:
        """Another publisher was faster, and is about to tell the bus. Should it die before that, the next round does it;
        as it does where changes of our own have come, which nobody else will hurry with."""
        until = self._now() + _PATIENCE
        while self._bus.published < to and self._now() < until and not self._wake.is_set():  # noqa: ASYNC110 - seldom
            await asyncio.sleep(_PATIENCE / 50)

    async def _reach(self, places: Sequence[_Place], move: Callable[[_Place], Awaitable[int]]) -> None:
        """Do this to every place, and keep what its mark is then. Raises CacheUnavailableError where none answers."""
        before = sum(place.failing for place in self._places)
        errors = [error for error in await asyncio.gather(*(self._try(place, move) for place in places)) if error]
        if places and len(errors) == len(places):
            raise errors[0]
        if (failing := sum(place.failing for place in self._places)) != before:
            _log.warning("parts of Redis that can't be reached", failing=failing, of=len(self._places))

    async def _try(self, place: _Place, move: Callable[[_Place], Awaitable[int]]) -> CacheUnavailableError | None:
        try:
            place.mark = place.told = await move(place)
        except CacheUnavailableError as error:
            place.failing, place.retry_at = True, self._now() + self._limits.pause
            return error
        place.failing = False
        return None

    async def _beat(self, due: Sequence[_Place]) -> None:
        """See where the marks really are, and say on the bus what has been told."""
        self._heartbeat_at = self._now() + self._limits.heartbeat
        known = [place for place in due if place.mark is not None]
        await self._reach(known, lambda place: place.shelf.advance({}, start=place.mark or 0, to=place.told))
        # What was announced just now may still be on its way through a Cluster: it counts as missed a heartbeat later.
        # Shelves that can't be reached don't know of it either, and are not to be believed.
        told = min([self._announced, *(place.told for place in known if not place.failing)])
        await self._publish(News(self._settled, told))
        self._settled = self._announced

    async def _publish(self, news: News) -> None:
        await self._client.publish(self._breaker, self._channel, encode_news(news))

    async def _read(self, keys: Sequence[str]) -> Snapshot:
        """The records as they are now. One that the store stumbles over is taken out of Redis; nobody else waits for it."""
        wanted = tuple(dict.fromkeys(keys))
        try:
            return await self._source.fetch_versioned(wanted)
        except StoreUnavailableError:
            raise
        except Exception:  # noqa: BLE001 - a bug of ours with one record must not keep back the changes of all others
            if len(wanted) == 1:
                _log.exception("a record can't be read; it is not kept in Redis", key=wanted[0])
                await self._shelves.of(wanted[0]).remove(wanted[0])
                return Snapshot({}, seen=0)
            parts = [await self._read([key]) for key in wanted]
            return Snapshot({key: found for part in parts for key, found in part.items()}, seen=0)
