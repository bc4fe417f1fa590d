"""How records are stored in Redis, and the one script that writes them.

A shard is a group of keys that are lost together: all keys on a single server, one hash slot of a Cluster. Each shard
has an offset: the number of the newest row of the outbox that it includes. The offset is a key beside the records, so
whatever happens to them happens to it: a server restored from an old snapshot, or a replica that became master without
the last writes, has an old offset; one that was flushed has none.

The publisher advances the offset: it replaces the records of some rows and the offset in one step, if the shard is at
the offset that it expects. All other processes fill: they write what a read of the store found, with the number of the
newest row that the read had seen. Of two versions of a record the newer wins. Where there is no record, a fill counts
only if the offset is not past the row that it has seen; otherwise a change may have come and gone since, and the fill
may be older. So no fill ever undoes a change: not a slow one, nor one that crosses a flush, an eviction or a failover.

A shard that has to be emptied has the offset `EMPTYING` from before its first record is removed until after its last one.
No process reads or fills the shard meanwhile. If the publisher fails in between, the mark stays, and the next publisher
that sees it removes the rest.
"""

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from router.cache.client import Client, Script
from router.routes.encoding import encode
from router.routes.records import Record
from router.settings import Redis
from router.settings.redis_url import Layout

EMPTYING = -1  # the offset of a shard whose records are being removed
SHARDS = 16  # in a Cluster; enough to spread over its nodes, few enough to offset each at every change

# KEYS: the offset, then records. ARGV: where the publisher takes the shard to be ("" for a fill), the newest row that was
# seen, where the offset goes ("" for a fill); then for each record its version, how long it is kept, and its value.
# Returns the offset (-1 for none) and how many records were stored: none for a publisher that expected another offset.
PUT = Script("""\
local offset = tonumber(redis.call('GET', KEYS[1]))
local from, seen, to = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if from and offset and offset ~= from then
  return {offset, 0}
end
if not from and offset and offset < 0 then
  return {offset, 0}
end
local stored = 0
for i = 2, #KEYS do
  local at = 3 * i - 2
  local old = redis.call('GET', KEYS[i])
  local takes
  if old then
    takes = (tonumber(string.match(old, '^%d+')) or -1) < tonumber(ARGV[at])
  else
    takes = from or (offset and offset <= seen)
  end
  if takes then
    redis.call('SET', KEYS[i], ARGV[at + 2], 'PX', ARGV[at + 1])
    stored = stored + 1
  end
end
if to then
  redis.call('SET', KEYS[1], ARGV[3])
  offset = to
end
return {offset or -1, stored}
""")

Versioned = Mapping[str, tuple[int, Record | None]]


@dataclass(frozen=True, slots=True)
class Looked:
    """What a shard has of some keys: values as they lie there, None where there is none."""

    offset: int | None
    values: Mapping[str, bytes | None]


class Shard:
    """One shard."""

    def __init__(self, client: Client, settings: Redis, tag: str) -> None:
        self._client = client
        self._settings = settings
        self._prefix = f"{settings.prefix}{tag}"
        self.breaker = client.breaker()

    def __repr__(self) -> str:
        return f"<Shard {self._prefix}>"

    async def look(self, keys: Sequence[str]) -> Looked:
        """The offset and the values, as of one instant. Raises CacheUnavailableError."""
        names = [self._offset_name, *(self._name(key) for key in keys)]
        offset, *values = await self._client.run("read", self.breaker, "MGET", *names)
        return Looked(_number(offset), dict(zip(keys, values, strict=True)))

    async def fill(self, records: Versioned, seen: int) -> int:
        """Put down what a read that had seen row `seen` found; how much of it counted. Raises CacheUnavailableError."""
        _, stored = await self._put("fill", records, "", seen, "")
        return stored

    async def advance(self, records: Versioned, *, start: int, to: int) -> int:
        """Replace these records and move the offset; where it is now. Other than `to`: nothing was done, for it was not
        at `start`. Raises CacheUnavailableError."""
        offset, _ = await self._put("advance", records, start, to, to)
        return offset

    async def offset(self) -> int | None:
        """Where the offset is. Raises CacheUnavailableError."""
        return _number(await self._client.run("read", self.breaker, "GET", self._offset_name))

    async def remove(self, key: str) -> None:
        """Take a record away, which is safe at any time. Raises CacheUnavailableError."""
        await self._client.run("remove", self.breaker, "UNLINK", self._name(key))

    async def disown(self) -> None:
        """Set the offset to EMPTYING: no process trusts the records here until `advance` has moved it from there. Raises
        CacheUnavailableError."""
        await self._client.run("advance", self.breaker, "SET", self._offset_name, EMPTYING)

    @property
    def uses(self) -> str:
        """The name of the set of uses of resources that belong here (`uses.py`)."""
        return f"{self._prefix}uses"

    @property
    def _offset_name(self) -> str:
        return f"{self._prefix}mark"

    def _name(self, key: str) -> str:
        return f"{self._prefix}r:{key}"

    async def _put(
        self, operation: str, records: Versioned, start: int | str, seen: int, to: int | str
    ) -> tuple[int, int]:
        names = [self._offset_name, *(self._name(key) for key in records)]
        values: list[int | bytes] = []
        for version, record in records.values():
            values += (version, self._milliseconds(record), encode(version, record))
        offset, stored = await self._client.script(operation, self.breaker, PUT, names, start, seen, to, *values)
        return int(offset), int(stored)

    def _milliseconds(self, record: Record | None) -> int:
        seconds = self._settings.unknown_ttl if record is None else self._settings.ttl
        spread = self._settings.jitter
        return max(1, int(1000 * seconds * random.uniform(1 - spread, 1 + spread)))  # noqa: S311 - it hides nothing


class Shards:
    """All shards of one Redis."""

    def __init__(self, client: Client, settings: Redis) -> None:
        self._client = client
        self._settings = settings
        # A tag in braces is what a Cluster computes the slot from.
        tags = [f"{{{number}}}" for number in range(SHARDS)] if client.layout is Layout.CLUSTER else [""]
        self.all = [Shard(client, settings, tag) for tag in tags]

    @property
    def available(self) -> bool:
        """Whether every shard is asked at all."""
        return all(shard.breaker.closed for shard in self.all)

    def of(self, key: str) -> Shard:
        """The shard of a record's key."""
        return self.all[crc32(key.encode()) % len(self.all)] if len(self.all) > 1 else self.all[0]

    def sorted(self, keys: Iterable[str]) -> dict[Shard, list[str]]:
        """The keys by shard."""
        groups: dict[Shard, list[str]] = {}
        for key in keys:
            groups.setdefault(self.of(key), []).append(key)
        return groups

    async def disown(self) -> None:
        """Disown every shard. Raises CacheUnavailableError, then some are and others may not be."""
        await asyncio.gather(*(shard.disown() for shard in self.all))

    async def purge(self) -> int:
        """Remove the records of every shard, which is safe at any time; how many there were. Raises CacheUnavailableError."""
        breaker = self._client.breaker()
        removed = 0
        async for names in self._client.scan(breaker, f"{self._settings.prefix}*r:*"):
            for together in _by_tag(names):
                removed += await self._client.run("remove", breaker, "UNLINK", *together)
        return removed


def _by_tag(names: Iterable[bytes]) -> Iterable[list[bytes]]:
    """Names in groups that one command may have: those of a shard."""
    groups: dict[bytes, list[bytes]] = {}
    for name in names:
        groups.setdefault(name.partition(b"}")[0] if b"}" in name else b"", []).append(name)
    return groups.values()


def _number(value: bytes | None) -> int | None:
    try:
        return None if value is None else int(value)
    except ValueError:  # another program's, or damaged: as good as absent
        return None
