"""Readers fill while writers change the same record: the last value wins everywhere, always."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from router.routes.records import Record, ResourceRecord, Snapshot
from router.settings import Redis
from tests.support import records as make
from tests.support.member import Member
from tests.support.memory_store import MemoryStore
from tests.support.waiting import eventually

pytestmark = [pytest.mark.asyncio, pytest.mark.realtime]

CHANGES, BURST = 10_000, 250
KEY = "slug:shop"


class SlowStore(MemoryStore):
    """Its answers are read at one instant and arrive at another, each after a while of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._chance = random.Random(7)
        self._made: dict[int | None, int] = {}  # a record's mark of its own, to the newest change that made it

    def commit(self, key: str, record: Record | None) -> int:
        number = super().commit(key, record)
        self._made[_mark_of(record)] = number
        return number

    def made_by(self, record: Record | None) -> int:
        """The newest change that made this record."""
        return self._made[_mark_of(record)]

    async def fetch_versioned(self, keys: Sequence[str]) -> Snapshot:
        snapshot = await super().fetch_versioned(keys)
        if self._chance.random() < 0.3:
            await asyncio.sleep(self._chance.random() * 0.06)  # longer than a change takes to be delivered
        return snapshot


def _mark_of(record: Record | None) -> int | None:
    return record.version if isinstance(record, ResourceRecord) else None


@pytest.mark.parametrize("url", ["server", "cluster"], indirect=True)
async def test_the_last_value_wins(url: str, limits: Redis) -> None:
    """Ten thousand changes in two processes, tombstones, evictions and flushes among them; readers in three, past their memory and
    through it. A process that commits never sees an older value than that; after each burst every process and Redis have
    the last value, and keep it when the slowest fill has arrived."""
    ledger = SlowStore()
    async with (
        Member(url, ledger, limits=limits) as one,
        Member(url, ledger, limits=limits) as two,
        Member(url, ledger, limits=limits, publishes=False) as three,
    ):
        members = (one, two, three)
        await eventually(lambda: all(member.count("bus_connected") for member in members), "all hear the bus")
        looks = 0

        def heard(member: Member) -> bool:
            return member.shared._subscriber.published >= ledger.last

        async def read(member: Member, done: asyncio.Event) -> None:
            nonlocal looks
            while not done.is_set():
                await member.fetch(KEY)
                looks += 1

        async def visit(member: Member, done: asyncio.Event) -> None:
            while not done.is_set():
                await member.resolver.resolve(b"shop.miosa.app")
                await asyncio.sleep(0)

        async def write(member: Member, numbers: range) -> None:
            for number in numbers:
                committed = member.commit(KEY, None if number % 50 == 7 else make.resource(version=number))
                if number % 25 == 0:
                    seen, _ = await member.fetch(KEY)
                    assert ledger.made_by(seen) >= committed

        for burst in range(0, CHANGES, BURST):
            done, half = asyncio.Event(), burst + BURST // 2
            readers = [asyncio.create_task(work(member, done)) for member in members for work in (read, visit)]
            async with asyncio.timeout(30):
                await asyncio.gather(write(one, range(burst, half)), write(two, range(half, burst + BURST)))
                done.set()
                while not all(heard(member) for member in members):
                    await asyncio.sleep(0)
                # Evicted, or flushed, while reads of before the last change are still on their way.
                await lose(one, mark=burst % 1000 == 0)
                await asyncio.gather(*readers)
            last = (await ledger.fetch([KEY]))[KEY]
            await agreed(members, last)
            await eventually(lambda: not any(member.shared.records._tasks for member in members), "all is put down")
            await agreed(members, last)
            for member in members:
                assert (await member.resolver.resolve(b"shop.miosa.app")).resource == last
        assert looks > 1000
        assert sum(member.count("redis_fills_total", result="outdated") for member in members) > 100


async def lose(member: Member, *, mark: bool) -> None:
    """Let Redis forget the record, and perhaps the mark beside it."""
    shard, client = member.shared._shards.of(KEY), member.shared._client
    await client.run("remove", shard.breaker, "UNLINK", shard._name(KEY), *([shard._offset_name] if mark else []))


async def agreed(members: Sequence[Member], last: Record | None) -> None:
    """Wait until every process believes Redis again, which has the last value."""
    async with asyncio.timeout(30):
        for member in members:
            while (found := await member.fetch(KEY))[1] != "redis":
                assert found[0] == last
            assert found[0] == last
