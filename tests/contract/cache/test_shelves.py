"""What may be put down on a shelf of Redis, and when: the one script, on every layout."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.cache.client import Client
from router.cache.shelves import SHELVES, Shelf, Shelves
from router.clock import SystemClock
from router.observe.metrics import Metrics
from router.redis_url import Layout, parse_redis_url
from router.routes.encoding import decode
from router.routes.records import Record
from router.settings import Redis
from tests.support import records as make

pytestmark = pytest.mark.asyncio

SHOP, BLOG = make.resource("shop"), make.resource("blog")


@pytest_asyncio.fixture
async def client(url: str, limits: Redis) -> AsyncIterator[Client]:
    made = Client(parse_redis_url(url), limits, metrics=Metrics(), clock=SystemClock())
    yield made
    await made.close()


@pytest.fixture
def shelves(client: Client, limits: Redis) -> Shelves:
    return Shelves(client, limits)


@pytest.fixture
def shelf(shelves: Shelves) -> Shelf:
    """The shelf of `slug:shop`."""
    return shelves.of("slug:shop")


async def lies(shelf: Shelf, key: str = "slug:shop") -> tuple[int, Record | None] | None:
    """What lies there, believed or not."""
    value = (await shelf.look([key])).values[key]
    return None if value is None else decode(key, value)


async def test_a_shelf_is_empty_at_first(shelf: Shelf) -> None:
    """No mark, no records."""
    looked = await shelf.look(["slug:shop", "slug:blog"])
    assert (looked.mark, looked.values) == (None, {"slug:shop": None, "slug:blog": None})
    assert await shelf.mark() is None


async def test_the_publisher_replaces_records_and_moves_the_mark(shelf: Shelf) -> None:
    """In one step."""
    assert await shelf.advance({"slug:shop": (1, SHOP)}, start=0, to=4) == 4
    looked = await shelf.look(["slug:shop"])
    assert looked.mark == 4
    assert await lies(shelf) == (1, SHOP)


async def test_a_publisher_that_is_wrong_about_the_mark_does_nothing(shelf: Shelf) -> None:
    """It is told where the mark is, and goes on from there: back after a failover, ahead where another was faster."""
    await shelf.advance({}, start=0, to=4)
    for start in (3, 5):
        assert await shelf.advance({"slug:shop": (1, SHOP)}, start=start, to=6) == 4
    assert await lies(shelf) is None
    assert await shelf.mark() == 4


@pytest.mark.parametrize("theirs", [6, 7])
async def test_no_publisher_undoes_a_newer_version(shelf: Shelf, theirs: int) -> None:
    """Telling a shelf again is harmless; and a newer record may have come by a fill."""
    await shelf.advance({"slug:shop": (theirs, BLOG)}, start=0, to=4)
    assert await shelf.advance({"slug:shop": (6, SHOP)}, start=4, to=5) == 5
    assert await lies(shelf) == (theirs, BLOG)


async def test_a_fill_counts_where_nothing_happened_since(shelf: Shelf) -> None:
    """The mark is not past what the read has seen."""
    await shelf.advance({}, start=0, to=4)
    assert await shelf.fill({"slug:shop": (2, SHOP)}, seen=4) == 1
    assert await lies(shelf) == (2, SHOP)
    assert await shelf.mark() == 4


async def test_a_fill_from_before_a_change_does_not_count(shelf: Shelf) -> None:
    """Even where the change has left nothing to compare with: it was evicted, or has expired."""
    await shelf.advance({}, start=0, to=5)
    assert await shelf.fill({"slug:shop": (2, SHOP)}, seen=4) == 0
    assert await lies(shelf) is None


async def test_a_fill_after_a_flush_does_not_count(shelf: Shelf) -> None:
    """Nobody can tell what has been there, until the publisher has marked the shelf anew."""
    assert await shelf.fill({"slug:shop": (2, SHOP)}, seen=4) == 0
    await shelf.advance({}, start=4, to=4)
    assert await shelf.fill({"slug:shop": (2, SHOP)}, seen=4) == 1


@pytest.mark.parametrize(("theirs", "stored"), [(1, 1), (2, 0), (3, 0), (11, 0)])
async def test_a_fill_replaces_older_versions_only(shelf: Shelf, theirs: int, stored: int) -> None:
    """Versions are compared as numbers, whatever the mark."""
    await shelf.advance({"slug:shop": (theirs, BLOG)}, start=0, to=9)
    assert await shelf.fill({"slug:shop": (2, SHOP)}, seen=4) == stored
    assert await lies(shelf) == ((2, SHOP) if stored else (theirs, BLOG))


async def test_tombstones_have_versions_too(shelf: Shelf) -> None:
    """A late fill does not bring back what was deleted."""
    await shelf.advance({"slug:shop": (3, None)}, start=0, to=4)
    assert await shelf.fill({"slug:shop": (2, SHOP)}, seen=4) == 0
    assert await lies(shelf) == (3, None)
    assert await shelf.advance({"slug:shop": (4, SHOP)}, start=4, to=5) == 5
    assert await lies(shelf) == (4, SHOP)


async def test_what_is_no_record_gives_way(shelf: Shelf, client: Client, limits: Redis) -> None:
    """Damage has no version."""
    await shelf.advance({"slug:shop": (1, SHOP)}, start=0, to=1)
    await client.run("fill", shelf.breaker, "SET", shelf._name("slug:shop"), "damage")
    assert await shelf.fill({"slug:shop": (0, None)}, seen=1) == 1
    assert await lies(shelf) == (0, None)


async def test_several_records_are_judged_one_by_one(shelves: Shelves, shelf: Shelf) -> None:
    """A newer one among them keeps the others from nothing."""
    keys = [key for number in range(200) if shelves.of(key := f"slug:s{number}") is shelf][:3]
    await shelf.advance({keys[0]: (5, BLOG)}, start=0, to=1)
    assert await shelf.fill(dict.fromkeys(keys, (2, SHOP)), seen=1) == 2
    assert [await lies(shelf, key) for key in keys] == [(5, BLOG), (2, SHOP), (2, SHOP)]


async def test_times_to_live_are_jittered(shelves: Shelves, client: Client, limits: Redis) -> None:
    """What is there is kept long, that there is nothing less long, and no two expire together."""
    shelf = shelves.all[0]
    keys = [key for number in range(1000) if shelves.of(key := f"slug:s{number}") is shelf][:20]
    await shelf.advance({key: (1, SHOP if at % 2 else None) for at, key in enumerate(keys)}, start=0, to=1)
    left = [await client.run("look", shelf.breaker, "PTTL", shelf._name(key)) / 1000 for key in keys]
    for number, (ttl, at_most) in enumerate(zip(left, (limits.unknown_ttl, limits.ttl) * 10, strict=True)):
        assert at_most * 0.88 < ttl <= at_most * 1.1, number
    assert len(set(left)) > 15
    assert await client.run("look", shelf.breaker, "PTTL", shelf._mark) == -1


async def test_the_script_survives_a_server_that_forgot_it(shelf: Shelf, client: Client) -> None:
    """A restart, a failover: the script is sent again."""
    await shelf.advance({}, start=0, to=1)
    await client._redis.execute_command("SCRIPT FLUSH")
    assert await shelf.advance({}, start=1, to=2) == 2


async def test_a_purge_takes_all_that_is_ours(shelves: Shelves, client: Client, limits: Redis) -> None:
    """And nothing else; the marks are at the beginning, so that whoever dies in between has not finished."""
    other = Shelves(client, limits.model_copy(update={"prefix": f"x{limits.prefix}"}))
    for all_of in (shelves, other):
        for number in range(40):
            shelf = all_of.of(f"slug:s{number}")
            await shelf.advance({f"slug:s{number}": (1, SHOP)}, start=await shelf.mark() or 0, to=number + 1)
    assert await shelves.purge() == 40
    assert {await shelf.mark() for shelf in shelves.all} == {0}
    assert [await lies(shelves.of(key), key) for key in ("slug:s0", "slug:s39")] == [None, None]
    assert await lies(other.of("slug:s0"), "slug:s0") == (1, SHOP)


async def test_a_cluster_has_several_shelves(client: Client, shelves: Shelves) -> None:
    """Spread over its nodes; a single server has one."""
    keys = [f"slug:s{number}" for number in range(1000)]
    used = {shelves.of(key) for key in keys}
    assert len(used) == len(shelves.all) == (SHELVES if client.layout is Layout.CLUSTER else 1)
    assert sum(len(group) for group in shelves.sorted(keys).values()) == 1000
    assert repr(shelves.all[0]).startswith("<Shelf t")
