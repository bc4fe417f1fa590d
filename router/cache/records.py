"""Records out of Redis, and out of the store where Redis does not know: the source of a fleet's resolvers.

Redis is asked once for all keys. What it lacks is read from the store in one round trip and put down behind the
caller's back. Where Redis is away the store answers everything; where the store is away, Redis answers what it can, and
the rest is said to be unanswered. Look-ups share a round trip, so a store that is frozen must not hold up those that
Redis can answer: it has less time than they have, and where it let that pass some times it is left alone for a while.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from router.cache.breaker import Breaker
from router.cache.client import CacheUnavailableError
from router.cache.shelves import Shelf, Shelves
from router.cache.standing import Standing
from router.errors import StoreUnavailableError
from router.observe.metrics import Metrics
from router.routes.batches import Found
from router.routes.encoding import CorruptValueError, NewerFormatError, decode
from router.routes.records import Record, Snapshot
from router.tasks import Tasks

_FILLS = 64  # at once; beyond, what was read is not put down, and the next process reads it again

_log = structlog.get_logger("router.cache")


class VersionedSource(Protocol):
    """The store, as the cache sees it."""

    async def fetch_versioned(self, keys: Sequence[str]) -> Snapshot:
        """All of `keys`, as of one instant. Raises StoreUnavailableError."""


@dataclass(slots=True)
class _Look:
    """What Redis knew of some keys."""

    records: dict[str, Record | None]
    missing: list[str]
    away: bool = False


class CachedRecords:
    """routes.batches.RecordSource. A read of the store has `store_time` seconds; `breaker` is for the store."""

    def __init__(
        self,
        shelves: Shelves,
        source: VersionedSource,
        *,
        standing: Standing,
        breaker: Breaker,
        store_time: float,
        metrics: Metrics,
    ) -> None:
        self._shelves = shelves
        self._source = source
        self._standing = standing
        self._breaker = breaker
        self._store_time = store_time
        self._metrics = metrics
        self._tasks = Tasks("cache")

    async def fetch(self, keys: Sequence[str]) -> Found:
        look = await self._look(keys)
        if not look.missing:
            return Found(look.records, sources=dict.fromkeys(keys, "redis"))
        sources = dict.fromkeys(look.records, "redis") | dict.fromkeys(look.missing, "sql")
        try:
            snapshot = await self._read_store(look.missing)
        except StoreUnavailableError:
            if not look.records:
                raise
            return Found(look.records, sources=sources, unanswered=frozenset(look.missing))
        if look.away:
            # Redis must know what we know before it is believed again.
            self._standing.heard_all(snapshot.seen)
        self._put_down(snapshot)
        read = {key: record for key, (_, record) in snapshot.items()}
        return Found(look.records | read, sources=sources)

    def store_works(self) -> None:
        """Somebody has just committed a change, so there is no reason to leave the store alone."""
        self._breaker.succeeded()

    async def close(self) -> None:
        """End what is being put down."""
        await self._tasks.close()

    async def _read_store(self, keys: Sequence[str]) -> Snapshot:
        if not self._breaker.admits():
            raise StoreUnavailableError("the store is left alone: it did not answer")
        try:
            async with asyncio.timeout(self._store_time):
                snapshot = await self._source.fetch_versioned(keys)
        except TimeoutError as error:
            self._breaker.failed()
            raise StoreUnavailableError(f"the store did not answer within {self._store_time:g} s") from error
        except StoreUnavailableError:
            self._breaker.succeeded()  # it is away, and says so at once: whoever asks next finds out when it is back
            raise
        except BaseException:  # cancelled, or it stumbled over one record
            self._breaker.released()
            raise
        self._breaker.succeeded()
        return snapshot

    async def _look(self, keys: Sequence[str]) -> _Look:
        groups = self._shelves.sorted(keys)
        found = _Look({}, [])
        if len(groups) == 1:
            ((shelf, wanted),) = groups.items()
            await self._look_at(shelf, wanted, found)
        else:
            await asyncio.gather(*(self._look_at(shelf, wanted, found) for shelf, wanted in groups.items()))
        return found

    async def _look_at(self, shelf: Shelf, keys: Sequence[str], found: _Look) -> None:
        try:
            looked = await shelf.look(keys)
        except CacheUnavailableError:
            found.missing += keys
            found.away = True
            self._metrics.count("redis_records", "away", by=len(keys))
            return
        for key, value in looked.values.items():
            if not self._standing.believes(looked.mark, key):
                outcome = "behind"
            elif value is None:
                outcome = "absent"
            else:
                outcome = self._read(shelf, key, value, found.records)
            if key not in found.records:
                found.missing.append(key)
            self._metrics.count("redis_records", outcome)

    def _read(self, shelf: Shelf, key: str, value: bytes, records: dict[str, Record | None]) -> str:
        """Decode one value into `records`, where that can be done; a word for the metrics."""
        try:
            _, record = decode(key, value)
        except NewerFormatError:
            return "newer_format"
        except CorruptValueError as error:
            _log.warning("a value in Redis is corrupt", error=str(error))
            self._start("remove what is corrupt", self._remove(shelf, key))
            return "corrupt"
        records[key] = record
        return "none" if record is None else "hit"

    def _put_down(self, snapshot: Snapshot) -> None:
        for shelf, keys in self._shelves.sorted(snapshot).items():
            self._start("fill", self._fill(shelf, {key: snapshot[key] for key in keys}, snapshot.seen))

    def _start(self, name: str, work: Coroutine[None, None, None]) -> None:
        if len(self._tasks) >= _FILLS or self._tasks.closed:
            work.close()
            self._metrics.count("redis_fills", "skipped")
            return
        self._tasks.start(name, work)

    async def _fill(self, shelf: Shelf, records: Mapping[str, tuple[int, Record | None]], seen: int) -> None:
        try:
            stored = await shelf.fill(records, seen)
        except CacheUnavailableError:
            self._metrics.count("redis_fills", "failed", by=len(records))
            return
        self._metrics.count("redis_fills", "stored", by=stored)
        self._metrics.count("redis_fills", "outdated", by=len(records) - stored)

    async def _remove(self, shelf: Shelf, key: str) -> None:
        try:
            await shelf.remove(key)
        except CacheUnavailableError as error:
            _log.warning("it could not be removed", error=str(error))
