"""When resources were last used, as all nodes know it before the store does.

One sorted set per shard: ids of resources by the instant of their last use, in milliseconds. A node puts its uses here
every few seconds, one command per batch. One node at a time copies all of it to the store and removes what it has
copied, so a set has only what the store lacks. The node that put a use keeps it until the store has it
(`jobs/activity.py`): whatever becomes of Redis, nothing depends on what is here.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite

from router.base.clock import Clock
from router.base.ids import is_id
from router.cache.client import CacheUnavailableError, Client, Script
from router.cache.shards import Shard, Shards

BATCH = 500  # uses in one command
_MAX_USES = 100_000  # in a shard; the oldest leave first
_KEPT = 3_600_000  # milliseconds that a shard is kept that no node writes to
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

# KEYS: the set. ARGV: milliseconds that it is kept, how many it may have, then scores and ids. The later use wins.
PUT = Script("""\
redis.call('ZADD', KEYS[1], 'GT', unpack(ARGV, 3))
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.status_reply('OK')
""")

# KEYS: the set. ARGV: ids and scores: those leave that have not been used again meanwhile.
REMOVE = Script("""\
for i = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return redis.status_reply('OK')
""")

# Ids and scores as they lie in a shard.
_Raw = Sequence[tuple[bytes, float]]


class SharedUses:
    """jobs.activity.SharedUses and tenancy.uses.RecentUses. No method raises CacheUnavailableError: each says whether Redis
    answered. Every command has the client's deadline; while a shard's breaker is open it is not asked."""

    def __init__(self, client: Client, shards: Shards, clock: Clock) -> None:
        self._client = client
        self._shards = shards
        self._clock = clock
        self._breaker = client.breaker()

    async def put(self, uses: Mapping[str, datetime]) -> bool:
        """Note these uses; False where Redis may lack some of them. Without any: whether Redis answers."""
        try:
            if not uses:
                for shard in self._shards.all:
                    await self._client.run("read_uses", self._breaker, "ZCARD", shard.uses)
            for shard, ids in self._shards.sorted(uses).items():
                for begin in range(0, len(ids), BATCH):
                    words: list[str | int] = []
                    for one in ids[begin : begin + BATCH]:
                        words += ((uses[one] - _EPOCH) // _MILLISECOND, one)
                    await self._client.script("put_uses", self._breaker, PUT, [shard.uses], _KEPT, _MAX_USES, *words)
        except CacheUnavailableError:
            return False
        return True

    async def all(self) -> Mapping[str, datetime] | None:
        """Every use that the store may lack; None where Redis does not answer."""
        found: dict[str, datetime] = {}
        try:
            for shard in self._shards.all:
                async for raw in self._read(shard):
                    found.update(self._uses(raw))
        except CacheUnavailableError:
            return None
        return found

    async def of(self, ids: Collection[str]) -> Mapping[str, datetime]:
        """Those of these resources, as far as Redis answers."""
        found: dict[str, datetime] = {}
        try:
            for shard, wanted in self._shards.sorted(ids).items():
                scores = await self._client.run("read_uses", self._breaker, "ZMSCORE", shard.uses, *wanted)
                found.update(
                    self._uses(
                        (one.encode(), score) for one, score in zip(wanted, scores, strict=True) if score is not None
                    )
                )
        except CacheUnavailableError:
            return found
        return found

    async def taken(self) -> AsyncGenerator[Mapping[str, datetime]]:
        """All uses, in batches. Each is removed when the next is asked for, for then it is stored. Ends where Redis does not answer:
        what is left comes next time."""
        try:
            for shard in self._shards.all:
                async for raw in self._read(shard):
                    for begin in range(0, len(raw), BATCH):
                        batch = raw[begin : begin + BATCH]
                        yield self._uses(batch)
                        words = [word for one, score in batch for word in (one, repr(score))]
                        await self._client.script("remove_uses", self._breaker, REMOVE, [shard.uses], *words)
        except CacheUnavailableError:
            return

    async def _read(self, shard: Shard) -> AsyncIterator[_Raw]:
        """What is there from beginning to end is in one of the pieces, whatever comes and goes meanwhile."""
        cursor = 0
        while True:
            cursor, raw = await self._client.run(
                "read_uses", self._breaker, "ZSCAN", shard.uses, cursor, "COUNT", BATCH
            )
            yield raw
            if int(cursor) == 0:
                break
            await asyncio.sleep(0)

    def _uses(self, raw: Iterable[tuple[bytes, float]]) -> dict[str, datetime]:
        """Only what can be a use: others may have written here. One in the future, by a clock that is wrong, counts as now."""
        now = self._clock.now()
        latest = (now - _EPOCH) / _MILLISECOND
        found: dict[str, datetime] = {}
        for word, score in raw:
            one = bytes(word).decode("ascii", "replace")
            if is_id(one) and isfinite(score) and score >= 0:
                found[one] = now if score >= latest else _EPOCH + timedelta(milliseconds=int(score))
        return found
