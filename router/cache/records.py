"""Records from Redis, and from the store where Redis has none: the source of a fleet's resolvers.

One round trip asks Redis for all keys. Records that it lacks are read from the store in one round trip, and written to
Redis in the background. Where Redis is away the store answers everything; where the store is away, Redis answers what
it can, and the other keys are reported as unanswered. Look-ups share a round trip, so a store that hangs must not delay
those that Redis can answer: it has a shorter deadline than they have, and a circuit breaker of its own.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass

import structlog

from router.base.breaker import Breaker
from router.base.tasks import Tasks
from router.cache.client import CacheUnavailableError
from router.cache.shards import Shard, Shards
from router.cache.watermark import Watermark
from router.errors import StoreUnavailableError
from router.observe.metrics import Metrics
from router.routes.batches import Found
from router.routes.encoding import CorruptValueError, NewerFormatError, decode
from router.routes.feed import VersionedSource
from router.routes.records import Record, Snapshot

_MAX_FILLS = (
    64  # concurrent writes to Redis; beyond that what was read is not written, and the next process reads it again
)

_log = structlog.get_logger("router.cache")


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
        shards: Shards,
        source: VersionedSource,
        *,
        watermark: Watermark,
        breaker: Breaker,
        store_time: float,
        metrics: Metrics,
    ) -> None:
        self._shards = shards
        self._source = source
        self._watermark = watermark
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
            self._watermark.heard_all(snapshot.seen)
        self._put_down(snapshot)
        read = {key: record for key, (_, record) in snapshot.items()}
        return Found(look.records | read, sources=sources)

    def store_works(self) -> None:
        """A change has just been committed, so the store works: close its circuit breaker."""
        self._breaker.succeeded()

    async def close(self) -> None:
        """Cancel the writes to Redis under way."""
        await self._tasks.close()

    async def _read_store(self, keys: Sequence[str]) -> Snapshot:
        if not self._breaker.admits():
            raise StoreUnavailableError("circuit breaker open: the store did not answer")
        try:
            async with asyncio.timeout(self._store_time):
                snapshot = await self._source.fetch_versioned(keys)
        except TimeoutError as error:
            self._breaker.failed()
            raise StoreUnavailableError(f"the store did not answer within {self._store_time:g} s") from error
        except StoreUnavailableError:
            self._breaker.succeeded()  # it is away and says so at once, so asking costs no time
            raise
        except BaseException:  # cancelled, or it stumbled over one record
            self._breaker.released()
            raise
        self._breaker.succeeded()
        return snapshot

    async def _look(self, keys: Sequence[str]) -> _Look:
        groups = self._shards.sorted(keys)
        found = _Look({}, [])
        if len(groups) == 1:
            ((shard, wanted),) = groups.items()
            await self._look_at(shard, wanted, found)
        else:
            await asyncio.gather(*(self._look_at(shard, wanted, found) for shard, wanted in groups.items()))
        return found

    async def _look_at(self, shard: Shard, keys: Sequence[str], found: _Look) -> None:
        try:
            looked = await shard.look(keys)
        except CacheUnavailableError:
            found.missing += keys
            found.away = True
            self._metrics.count("redis_records", "away", by=len(keys))
            return
        for key, value in looked.values.items():
            if not self._watermark.believes(looked.offset, key):
                outcome = "behind"
            elif value is None:
                outcome = "absent"
            else:
                outcome = self._read(shard, key, value, found.records)
            if key not in found.records:
                found.missing.append(key)
            self._metrics.count("redis_records", outcome)

    def _read(self, shard: Shard, key: str, value: bytes, records: dict[str, Record | None]) -> str:
        """Decode one value into `records`, where that can be done; a word for the metrics."""
        try:
            _, record = decode(key, value)
        except NewerFormatError:
            return "newer_format"
        except CorruptValueError as error:
            _log.warning("corrupt value in Redis", error=str(error))
            self._start("remove what is corrupt", self._remove(shard, key))
            return "corrupt"
        records[key] = record
        return "none" if record is None else "hit"

    def _put_down(self, snapshot: Snapshot) -> None:
        for shard, keys in self._shards.sorted(snapshot).items():
            self._start("fill", self._fill(shard, {key: snapshot[key] for key in keys}, snapshot.seen))

    def _start(self, name: str, work: Coroutine[None, None, None]) -> None:
        if len(self._tasks) >= _MAX_FILLS or self._tasks.closed:
            work.close()
            self._metrics.count("redis_fills", "skipped")
            return
        self._tasks.start(name, work)

    async def _fill(self, shard: Shard, records: Mapping[str, tuple[int, Record | None]], seen: int) -> None:
        try:
            stored = await shard.fill(records, seen)
        except CacheUnavailableError:
            self._metrics.count("redis_fills", "failed", by=len(records))
            return
        self._metrics.count("redis_fills", "stored", by=stored)
        self._metrics.count("redis_fills", "outdated", by=len(records) - stored)

    async def _remove(self, shard: Shard, key: str) -> None:
        try:
            await shard.remove(key)
        except CacheUnavailableError as error:
            _log.warning("corrupt value not removed from Redis", error=str(error))
