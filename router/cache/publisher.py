"""Delivers the outbox: writes the records of each committed change to Redis, and publishes their keys on the bus.

No publisher needs a lease. How far a shard of Redis is up to date is stored on the shard (its offset); the offset is
advanced by compare-and-set, and is lost together with the shard's records. So any number of publishers may run, on any
number of nodes: where two deliver the same changes, the second finds them delivered. The process that commits a change
delivers it at once. The others wait until they see it a second time, and then deliver it for a process that died, or
that has no publisher (the command line).

Per round: read the changes after the lowest offset; read their records as they are now; advance each shard from its
offset to the last change; then publish. Repeating a round is harmless: of two versions the newer stays, and publishing
a key twice costs a look-up. A shard whose offset went back (a failover, an old snapshot) is noticed at the next
heartbeat at the latest, and delivered to again from there; one whose changes were trimmed from the outbox is emptied.
Where that fails in the middle, any publisher that sees it begun finishes it before it delivers there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.base.ticks import until_tick
from router.cache.client import CacheUnavailableError, Client
from router.cache.messages import BusMessage, encode_message
from router.cache.shards import EMPTYING, Shard, Shards
from router.errors import StoreUnavailableError
from router.routes.changed_keys import touched
from router.routes.feed import Feed, VersionedSource
from router.routes.records import Change, Snapshot
from router.settings import Redis

_POLL_INTERVAL = 0.02  # seconds between looks at the outbox while changes there are not delivered
_DELIVERY_GRACE = 0.1  # seconds that another publisher has to tell the bus of what it has delivered
_BATCH = 200  # changes per round
_RETRY = (0.05, 1.0)  # seconds between tries while Redis or the store is away: the first, the longest

_log = structlog.get_logger("router.cache")


class Bus(Protocol):
    """What this process hears on the bus."""

    @property
    def published(self) -> int:
        """Everything up to this change has been told there."""


@dataclass(slots=True)
class _Place:
    """A shard, and where its offset is as far as we know; None before we know anything.

    It has been told of everything up to `told`, which is further than the offset where nothing of it was the shard's.
    """

    shard: Shard
    offset: int | None = None
    told: int = 0
    failing: bool = False
    retry_at: float = 0.0


class Publisher:
    """One process's share of the work."""

    def __init__(
        self,
        client: Client,
        shards: Shards,
        settings: Redis,
        *,
        feed: Feed,
        source: VersionedSource,
        bus: Bus,
        clock: Clock,
    ) -> None:
        self._client = client
        self._shards = shards
        self._settings = settings
        self._feed = feed
        self._source = source
        self._bus = bus
        self._clock = clock
        self._now = clock.monotonic
        self._breaker = client.breaker()
        self._channel = f"{settings.prefix}bus"
        self._tasks = Tasks("publisher")
        self._wake = asyncio.Event()
        self._places = [_Place(shard) for shard in shards.all]
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
                    _log.info("outbox delivery resumed")
                self.error, wait = None, first
            except (CacheUnavailableError, StoreUnavailableError) as error:
                if self.error is None:
                    _log.warning("outbox delivery failed: changes wait in the outbox", error=str(error))
                self.error, self._unsure = str(error), True
                await self._count_waiting()
                await asyncio.sleep(wait)
                wait = min(wait * 2, longest)
                continue
            if not more:
                await self._rest()

    async def _rest(self) -> None:
        """Wait for a commit of this process or another, or until something is due: 3,000 looks a minute were a third of what a
        node at rest did."""
        reached = [place for place in self._places if not place.failing]
        settled = not self._unsure and self._settled_among(reached)
        due = [self._heartbeat_at, *(place.retry_at for place in self._places if place.failing)]
        left = max(0.0, min(due) - self._now()) if settled else _POLL_INTERVAL
        rest = Tasks("publisher's rest")
        waited: list[asyncio.Task[Any]] = [rest.start("hear of own commits", self._wake.wait())]
        if settled:
            waited.append(rest.start("hear of others' commits", self._hear_of_others()))
        try:
            await asyncio.wait(waited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await rest.close()
        self._wake.clear()

    async def _hear_of_others(self) -> None:
        """Wait until another process may have committed. After a write to SQLite's file, one of this process's leases too, that is
        looked at several times."""
        while not self._unsure:
            await self._feed.pause()
            self._unsure = self._feed.moved()

    def _settled_among(self, places: Sequence[_Place]) -> bool:
        """Whether all changes that were seen are delivered there, and have been announced."""
        return self._low(places) >= max(self._own, self._seen)

    def _low(self, places: Sequence[_Place]) -> int:
        """Everything up to this change has been delivered there, and announced."""
        return min([self._announced, *(place.told for place in places if place.offset is not None)])

    async def _round(self) -> bool:
        """Deliver what is there; whether there is more."""
        due = [place for place in self._places if not place.failing or self._now() >= place.retry_at]
        if not due:
            raise CacheUnavailableError(self.error or "no part of Redis can be reached")
        if unknown := [place for place in due if place.offset is None]:
            await self._locate(unknown)
        self._announced = max(self._announced, self._bus.published)
        if self._now() >= self._heartbeat_at:
            await self._heartbeat(due)
        if begun := [place for place in due if place.offset == EMPTYING]:
            await self._empty(begun)
            return True
        low = self._low(due)
        if self._settled_among(due) and not self._unsure and not self._feed.moved():
            return False
        changes = await self._feed.after(low, _BATCH)
        self._unsure = False
        if changes and changes[0].number > low + 1 and await self._feed.oldest() > low + 1:
            _log.warning("outbox rows were trimmed before they were delivered")
            await self._start_over()
            return True
        # Others' changes are theirs to deliver, unless they are still here at the second look.
        newest = max(self._own, self._seen)
        ready = [change for change in changes if change.number <= newest]
        self._seen = max([self._seen, *(change.number for change in changes[-1:])])
        self._note(changes)
        if ready:
            await self._deliver(ready, [place for place in due if place.offset is not None])
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
        """See where their offsets are. A shard without one is empty, and starts at the newest change.

        One that is further than the outbox has been told by another database: nothing that lies there is ours.
        """
        newest = await self._feed.newest()
        await self._reach(places, lambda place: self._find(place.shard, newest))
        offsets = [place.offset for place in places if place.offset is not None]
        if max(offsets) > await self._feed.newest():
            _log.warning("Redis was filled from another database")
            await self._start_over()
        elif not self._announced and EMPTYING not in offsets:
            self._announced = self._settled = min(offsets)

    async def _find(self, shard: Shard, newest: int) -> int:
        offset = await shard.offset()
        return await shard.advance({}, start=newest, to=newest) if offset is None else offset

    async def _start_over(self) -> None:
        """Nothing that lies in Redis can be vouched for: it is emptied, and starts at the newest change."""
        for place in self._places:  # where this fails, the next round sees how far it came
            place.offset = None
        await self._shards.disown()
        await self._empty(self._places)

    async def _empty(self, places: Sequence[_Place]) -> None:
        """Remove what lies in Redis. These places, which were disowned before, start at the newest change then. Others may
        do the same at once: the first that has removed everything ends it for all."""
        newest = await self._feed.newest()
        removed = await self._shards.purge()
        await self._reach(places, lambda place: place.shard.advance({}, start=EMPTYING, to=newest))
        # Whoever has heard less than this has missed something, and is told so by the next heartbeat.
        self._announced = self._settled = max(self._announced, newest)
        _log.warning("Redis was emptied", removed=removed)

    async def _deliver(self, changes: Sequence[Change], places: Sequence[_Place]) -> None:
        to = changes[-1].number
        mine: dict[Shard, list[Change]] = {}
        for change in changes:
            mine.setdefault(self._shards.of(change.key), []).append(change)
        behind = []
        for place in places:
            if any(change.number > place.told for change in mine.get(place.shard, ())):
                behind.append(place)
            else:
                place.told = max(place.told, to)
        if behind:
            records = await self._read([change.key for place in behind for change in mine[place.shard]])

            async def move(place: _Place) -> int:
                known = {change.key: records[change.key] for change in mine[place.shard] if change.key in records}
                return await place.shard.advance(known, start=place.offset or 0, to=to)

            await self._reach(behind, move)
            if any(place.offset != to and not place.failing for place in behind):
                await self._leave_it_to_another(to)
                return
        unpublished = [change for change in changes if change.number > self._announced]
        if unpublished:
            numbers = {change.key: change.number for change in unpublished}
            moved = touched((change.key, change.moved) for change in unpublished).moved
            await self._publish(BusMessage(self._announced, to, numbers, unpublished[0].at.timestamp(), moved))
            self._announced = max(self._announced, to)

    async def _leave_it_to_another(self, to: int) -> None:
        """Another publisher was faster and is about to publish. Wait a moment for it; if it dies before that, the next round
        publishes. Changes of our own end the wait, since other publishers leave those to us at first."""
        until = self._now() + _DELIVERY_GRACE
        while self._bus.published < to and self._now() < until and not self._wake.is_set():  # noqa: ASYNC110 - seldom
            await asyncio.sleep(_DELIVERY_GRACE / 50)

    async def _reach(self, places: Sequence[_Place], move: Callable[[_Place], Awaitable[int]]) -> None:
        """Do this to every place, and keep what its offset is then. Raises CacheUnavailableError where none answers."""
        before = sum(place.failing for place in self._places)
        errors = [error for error in await asyncio.gather(*(self._try(place, move) for place in places)) if error]
        if places and len(errors) == len(places):
            raise errors[0]
        if (failing := sum(place.failing for place in self._places)) != before:
            _log.warning("shards of Redis not reachable", failing=failing, of=len(self._places))

    async def _try(self, place: _Place, move: Callable[[_Place], Awaitable[int]]) -> CacheUnavailableError | None:
        try:
            place.offset = place.told = await move(place)
        except CacheUnavailableError as error:
            place.failing, place.retry_at = True, self._now() + self._settings.pause
            return error
        place.failing = False
        return None

    async def _heartbeat(self, due: Sequence[_Place]) -> None:
        """See where the offsets really are, and say on the bus what has been told."""
        self._heartbeat_at = self._now() + until_tick(self._settings.heartbeat)
        known = [place for place in due if place.offset not in {None, EMPTYING}]
        await self._reach(known, lambda place: place.shard.advance({}, start=place.offset or 0, to=place.told))
        # What was announced just now may still be on its way through a Cluster: it counts as missed a heartbeat later.
        # Shards that can't be reached don't know of it either, and are not to be believed.
        told = min([self._announced, *(place.told for place in known if not place.failing)])
        await self._publish(BusMessage(self._settled, told))
        self._settled = self._announced

    async def _publish(self, message: BusMessage) -> None:
        await self._client.publish(self._breaker, self._channel, encode_message(message))

    async def _read(self, keys: Sequence[str]) -> Snapshot:
        """The records as they are now. One whose reading fails because of a bug is removed from Redis; the others are delivered."""
        wanted = tuple(dict.fromkeys(keys))
        try:
            return await self._source.fetch_versioned(wanted)
        except StoreUnavailableError:
            raise
        except Exception:  # noqa: BLE001 - a bug of ours with one record must not keep back the changes of all others
            if len(wanted) == 1:
                _log.exception("record could not be read: removed from Redis", key=wanted[0])
                await self._shards.of(wanted[0]).remove(wanted[0])
                return Snapshot({}, seen=0)
            parts = [await self._read([key]) for key in wanted]
            return Snapshot({key: found for part in parts for key, found in part.items()}, seen=0)
