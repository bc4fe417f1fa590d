"""What may be put down on a shard of Redis, and when: the one script, on every layout."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.base.clock import SystemClock
from router.cache.client import Client
from router.cache.shards import EMPTYING, SHARDS, Shard, Shards
from router.observe.metrics import Metrics
from router.routes.encoding import decode
from router.routes.records import Record
from router.settings import Redis
from router.settings.redis_url import Layout, parse_redis_url
from tests.support import records as make

pytestmark = pytest.mark.asyncio

SHOP, BLOG = make.resource("shop"), make.resource("blog")


@pytest_asyncio.fixture
async def client(url: str, limits: Redis) -> AsyncIterator[Client]:
    # What is stored is the subject here, not how soon: the first operation of a Cluster's client asks for its nodes too.
    patient = limits.model_copy(update={"operation_time": 5.0})
    made = Client(parse_redis_url(url), patient, metrics=Metrics(), clock=SystemClock())
    yield made
    await made.close()


@pytest.fixture
def shards(client: Client, limits: Redis) -> Shards:
    return Shards(client, limits)


@pytest.fixture
def shard(shards: Shards) -> Shard:
    """The shard of `slug:shop`."""
    return shards.of("slug:shop")


async def lies(shard: Shard, key: str = "slug:shop") -> tuple[int, Record | None] | None:
    """What lies there, believed or not."""
    value = (await shard.look([key])).values[key]
    return None if value is None else decode(key, value)


async def test_a_shelf_is_empty_at_first(shard: Shard) -> None:
    """No mark, no records."""
    looked = await shard.look(["slug:shop", "slug:blog"])
    assert (looked.offset, looked.values) == (None, {"slug:shop": None, "slug:blog": None})
    assert await shard.offset() is None


async def test_the_publisher_replaces_records_and_moves_the_offset(shard: Shard) -> None:
    """In one step."""
    assert await shard.advance({"slug:shop": (1, SHOP)}, start=0, to=4) == 4
    looked = await shard.look(["slug:shop"])
    assert looked.offset == 4
    assert await lies(shard) == (1, SHOP)


async def test_a_publisher_that_is_wrong_about_the_mark_does_nothing(shard: Shard) -> None:
    """It is told where the mark is, and goes on from there: back after a failover, ahead where another was faster."""
    await shard.advance({}, start=0, to=4)
    for start in (3, 5):
        assert await shard.advance({"slug:shop": (1, SHOP)}, start=start, to=6) == 4
    assert await lies(shard) is None
    assert await shard.offset() == 4


@pytest.mark.parametrize("theirs", [6, 7])
async def test_no_publisher_undoes_a_newer_version(shard: Shard, theirs: int) -> None:
    """Telling a shard again is harmless; and a newer record may have come by a fill."""
    await shard.advance({"slug:shop": (theirs, BLOG)}, start=0, to=4)
    assert await shard.advance({"slug:shop": (6, SHOP)}, start=4, to=5) == 5
    assert await lies(shard) == (theirs, BLOG)


async def test_a_fill_counts_where_nothing_happened_since(shard: Shard) -> None:
    """The mark is not past what the read has seen."""
    await shard.advance({}, start=0, to=4)
    assert await shard.fill({"slug:shop": (2, SHOP)}, seen=4) == 1
    assert await lies(shard) == (2, SHOP)
    assert await shard.offset() == 4


async def test_a_fill_from_before_a_change_does_not_count(shard: Shard) -> None:
    """Even where the change has left nothing to compare with: it was evicted, or has expired."""
    await shard.advance({}, start=0, to=5)
    assert await shard.fill({"slug:shop": (2, SHOP)}, seen=4) == 0
    assert await lies(shard) is None


async def test_a_fill_after_a_flush_does_not_count(shard: Shard) -> None:
    """Nobody can tell what has been there, until the publisher has marked the shard anew."""
    assert await shard.fill({"slug:shop": (2, SHOP)}, seen=4) == 0
    await shard.advance({}, start=4, to=4)
    assert await shard.fill({"slug:shop": (2, SHOP)}, seen=4) == 1


@pytest.mark.parametrize(("theirs", "stored"), [(1, 1), (2, 0), (3, 0), (11, 0)])
async def test_a_fill_replaces_older_versions_only(shard: Shard, theirs: int, stored: int) -> None:
    """Versions are compared as numbers, whatever the mark."""
    await shard.advance({"slug:shop": (theirs, BLOG)}, start=0, to=9)
    assert await shard.fill({"slug:shop": (2, SHOP)}, seen=4) == stored
    assert await lies(shard) == ((2, SHOP) if stored else (theirs, BLOG))


async def test_tombstones_have_versions_too(shard: Shard) -> None:
    """A late fill does not bring back what was deleted."""
    await shard.advance({"slug:shop": (3, None)}, start=0, to=4)
    assert await shard.fill({"slug:shop": (2, SHOP)}, seen=4) == 0
    assert await lies(shard) == (3, None)
    assert await shard.advance({"slug:shop": (4, SHOP)}, start=4, to=5) == 5
    assert await lies(shard) == (4, SHOP)


async def test_what_is_no_record_gives_way(shard: Shard, client: Client, limits: Redis) -> None:
    """Damage has no version."""
    await shard.advance({"slug:shop": (1, SHOP)}, start=0, to=1)
    await client.run("fill", shard.breaker, "SET", shard._name("slug:shop"), "damage")
    assert await shard.fill({"slug:shop": (0, None)}, seen=1) == 1
    assert await lies(shard) == (0, None)


async def test_several_records_are_judged_one_by_one(shards: Shards, shard: Shard) -> None:
    """A newer one among them keeps the others from nothing."""
    keys = [key for number in range(200) if shards.of(key := f"slug:s{number}") is shard][:3]
    await shard.advance({keys[0]: (5, BLOG)}, start=0, to=1)
    assert await shard.fill(dict.fromkeys(keys, (2, SHOP)), seen=1) == 2
    assert [await lies(shard, key) for key in keys] == [(5, BLOG), (2, SHOP), (2, SHOP)]


async def test_times_to_live_are_jittered(shards: Shards, client: Client, limits: Redis) -> None:
    """What is there is kept long, that there is nothing less long, and no two expire together."""
    shard = shards.all[0]
    keys = [key for number in range(1000) if shards.of(key := f"slug:s{number}") is shard][:20]
    await shard.advance({key: (1, SHOP if at % 2 else None) for at, key in enumerate(keys)}, start=0, to=1)
    left = [await client.run("read", shard.breaker, "PTTL", shard._name(key)) / 1000 for key in keys]
    for number, (ttl, at_most) in enumerate(zip(left, (limits.unknown_ttl, limits.ttl) * 10, strict=True)):
        assert at_most * 0.88 < ttl <= at_most * 1.1, number
    assert len(set(left)) > 15
    assert await client.run("read", shard.breaker, "PTTL", shard._offset_name) == -1


async def test_the_script_survives_a_server_that_forgot_it(shard: Shard, client: Client) -> None:
    """A restart, a failover: the script is sent again."""
    await shard.advance({}, start=0, to=1)
    await client._redis.execute_command("SCRIPT FLUSH")
    assert await shard.advance({}, start=1, to=2) == 2


async def test_a_purge_takes_all_that_is_ours(shards: Shards, client: Client, limits: Redis) -> None:
    """And nothing else; until it is over the shards have the mark of those that are being emptied."""
    other = Shards(client, limits.model_copy(update={"prefix": f"x{limits.prefix}"}))
    for all_of in (shards, other):
        for number in range(40):
            shard = all_of.of(f"slug:s{number}")
            await shard.advance({f"slug:s{number}": (1, SHOP)}, start=await shard.offset() or 0, to=number + 1)
    await shards.disown()
    assert await shards.purge() == 40
    assert {await shard.offset() for shard in shards.all} == {EMPTYING}
    assert [await lies(shards.of(key), key) for key in ("slug:s0", "slug:s39")] == [None, None]
    assert await lies(other.of("slug:s0"), "slug:s0") == (1, SHOP)


async def test_a_shard_that_is_being_emptied_takes_no_record(shard: Shard) -> None:
    """Not from a read that began before, either: the offset will be past what that had seen."""
    await shard.advance({"slug:shop": (1, SHOP)}, start=0, to=4)
    await shard.disown()
    for key, version in (("slug:shop", 2), ("slug:blog", 1)):
        assert await shard.fill({key: (version, BLOG)}, 9) == 0
    assert await lies(shard) == (1, SHOP)
    assert await shard.advance({}, start=4, to=5) == EMPTYING
    assert await shard.advance({}, start=EMPTYING, to=5) == 5
    assert await shard.fill({"slug:blog": (1, BLOG)}, 5) == 1


async def test_a_cluster_has_several_shelves(client: Client, shards: Shards) -> None:
    """Spread over its nodes; a single server has one."""
    keys = [f"slug:s{number}" for number in range(1000)]
    used = {shards.of(key) for key in keys}
    assert len(used) == len(shards.all) == (SHARDS if client.layout is Layout.CLUSTER else 1)
    assert sum(len(group) for group in shards.sorted(keys).values()) == 1000
    assert repr(shards.all[0]).startswith("<Shard t")
