"""Where records lie in Redis, and the one script that puts them there.

A shelf is a group of keys that live and die together: all of them on one server, one hash slot's worth in a Cluster.
Each shelf has a mark: the number of the newest row of the outbox that it has been told of. The mark lies beside the
records, so whatever happens to them happens to it: a server that comes back from an old snapshot, or a replica that
became master without the last writes, shows an old mark; one that was flushed shows none.

The publisher moves the mark: it replaces the records of some rows and the mark in one step, and only from where the
shelf really is. Everybody else fills: puts down what a read of the store found, beside the number of the newest row
which that read had seen. Of a record that is there the newer version wins. Where there is none, a fill counts only if
the mark is not past what it has seen; otherwise a change may have come and gone since, and what the fill brings may be
older. So no fill ever undoes a change: not a slow one, nor one that crosses a flush, an eviction or a failover.
"""

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from router.cache.client import Client, Script
from router.redis_url import Layout
from router.routes.encoding import encode
from router.routes.records import Record
from router.settings import Redis as Limits

SHELVES = 16  # in a Cluster; enough to spread over its nodes, few enough to mark each at every change

# KEYS: the mark, then records. ARGV: where the publisher takes the shelf to be ("" for a fill), the newest row that was
# seen, where the mark goes ("" for a fill); then for each record its version, how long it is kept, and its value.
# Answers the mark (-1 for none) and how many records were stored. A publisher that is wrong about the mark stores none.
PUT = Script("""\
local mark = tonumber(redis.call('GET', KEYS[1]))
local from, seen, to = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if from and mark and mark ~= from then
  return {mark, 0}
end
local stored = 0
for i = 2, #KEYS do
  local at = 3 * i - 2
  local old = redis.call('GET', KEYS[i])
  local takes
  if old then
    takes = (tonumber(string.match(old, '^%d+')) or -1) < tonumber(ARGV[at])
  else
    takes = from or (mark and mark <= seen)
  end
  if takes then
    redis.call('SET', KEYS[i], ARGV[at + 2], 'PX', ARGV[at + 1])
    stored = stored + 1
  end
end
if to then
  redis.call('SET', KEYS[1], ARGV[3])
  mark = to
end
return {mark or -1, stored}
""")

Versioned = Mapping[str, tuple[int, Record | None]]


@dataclass(frozen=True, slots=True)
class Looked:
    """What a shelf has of some keys: values as they lie there, None where there is none."""

    mark: int | None
    values: Mapping[str, bytes | None]


class Shelf:
    """One shelf."""

    def __init__(self, client: Client, limits: Limits, tag: str) -> None:
        self._client = client
        self._limits = limits
        self._prefix = f"{limits.prefix}{tag}"
        self.breaker = client.breaker()

    def __repr__(self) -> str:
        return f"<Shelf {self._prefix}>"

    async def look(self, keys: Sequence[str]) -> Looked:
        """The mark and the values, as of one instant. Raises CacheUnavailableError."""
        names = [self._mark, *(self._name(key) for key in keys)]
        mark, *values = await self._client.run("look", self.breaker, "MGET", *names)
        return Looked(_number(mark), dict(zip(keys, values, strict=True)))

    async def fill(self, records: Versioned, seen: int) -> int:
        """Put down what a read that had seen row `seen` found; how much of it counted. Raises CacheUnavailableError."""
        _, stored = await self._put("fill", records, "", seen, "")
        return stored

    async def advance(self, records: Versioned, *, start: int, to: int) -> int:
        """Replace these records and move the mark; where it is now. Other than `to`: nothing was done, for it was not
        at `start`. Raises CacheUnavailableError."""
        mark, _ = await self._put("advance", records, start, to, to)
        return mark

    async def mark(self) -> int | None:
        """Where the mark is. Raises CacheUnavailableError."""
        return _number(await self._client.run("look", self.breaker, "GET", self._mark))

    async def remove(self, key: str) -> None:
        """Take a record away, which is safe at any time. Raises CacheUnavailableError."""
        await self._client.run("remove", self.breaker, "UNLINK", self._name(key))

    async def disown(self) -> None:
        """Take the mark back to the beginning: nobody believes what lies here until all of it has been told anew, or
        taken away. Whoever comes after one that died in between goes on with it. Raises CacheUnavailableError."""
        await self._client.run("advance", self.breaker, "SET", self._mark, 0)

    @property
    def _mark(self) -> str:
        return f"{self._prefix}mark"

    def _name(self, key: str) -> str:
        return f"{self._prefix}r:{key}"

    async def _put(
        self, operation: str, records: Versioned, start: int | str, seen: int, to: int | str
    ) -> tuple[int, int]:
        names = [self._mark, *(self._name(key) for key in records)]
        values: list[int | bytes] = []
        for version, record in records.values():
            values += (version, self._milliseconds(record), encode(version, record))
        mark, stored = await self._client.script(operation, self.breaker, PUT, names, start, seen, to, *values)
        return int(mark), int(stored)

    def _milliseconds(self, record: Record | None) -> int:
        seconds = self._limits.unknown_ttl if record is None else self._limits.ttl
        spread = self._limits.jitter
        return max(1, int(1000 * seconds * random.uniform(1 - spread, 1 + spread)))  # noqa: S311 - it hides nothing


class Shelves:
    """All shelves of one Redis."""

    def __init__(self, client: Client, limits: Limits) -> None:
        self._client = client
        self._limits = limits
        # A tag in braces is what a Cluster computes the slot from.
        tags = [f"{{{number}}}" for number in range(SHELVES)] if client.layout is Layout.CLUSTER else [""]
        self.all = [Shelf(client, limits, tag) for tag in tags]

    @property
    def available(self) -> bool:
        """Whether every shelf is asked at all."""
        return all(shelf.breaker.closed for shelf in self.all)

    def of(self, key: str) -> Shelf:
        """The shelf of a record's key."""
        return self.all[crc32(key.encode()) % len(self.all)] if len(self.all) > 1 else self.all[0]

    def sorted(self, keys: Iterable[str]) -> dict[Shelf, list[str]]:
        """The keys by shelf."""
        groups: dict[Shelf, list[str]] = {}
        for key in keys:
            groups.setdefault(self.of(key), []).append(key)
        return groups

    async def purge(self) -> int:
        """Disown every shelf and remove what lies there; how much it was. Raises CacheUnavailableError."""
        await asyncio.gather(*(shelf.disown() for shelf in self.all))
        breaker = self._client.breaker()
        removed = 0
        async for names in self._client.scan(breaker, f"{self._limits.prefix}*r:*"):
            for together in _by_tag(names):
                removed += await self._client.run("remove", breaker, "UNLINK", *together)
        return removed


def _by_tag(names: Iterable[bytes]) -> Iterable[list[bytes]]:
    """Names in groups that one command may have: those of a shelf."""
    groups: dict[bytes, list[bytes]] = {}
    for name in names:
        groups.setdefault(name.partition(b"}")[0] if b"}" in name else b"", []).append(name)
    return groups.values()


def _number(value: bytes | None) -> int | None:
    try:
        return None if value is None else int(value)
    except ValueError:  # somebody else's, or damaged: as good as absent
        return None
