"""Uses of resources on their way through a real Redis to a real store: one node puts them, another reads and copies them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from router.base.clock import ManualClock, SystemClock
from router.base.ids import new_id
from router.cache.client import Client
from router.cache.shards import Shards
from router.cache.uses import SharedUses
from router.errors import StoreUnavailableError
from router.jobs.activity import ActivityFeed, copy_shared
from router.observe.metrics import Metrics
from router.settings import Redis
from router.settings.redis_url import parse_redis_url
from tests.support.redis import Server
from tests.support.world import World

pytestmark = pytest.mark.asyncio

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Node:
    """A node's part of it, whose wall clock says NOW."""

    def __init__(self, url: str, limits: Redis) -> None:
        self.client = Client(parse_redis_url(url), limits, metrics=Metrics(), clock=SystemClock())
        self.shards = Shards(self.client, limits)
        clock = ManualClock()
        clock.advance((NOW - clock.now()).total_seconds())
        self.uses = SharedUses(self.client, self.shards, clock)

    async def raw(self, *command: str | int) -> object:
        return await self.client.run("read_uses", self.client.breaker(), *command)


@pytest_asyncio.fixture
async def nodes(url: str, limits: Redis) -> AsyncIterator[tuple[Node, Node]]:
    one, two = Node(url, limits), Node(url, limits)
    yield one, two
    await one.client.close()
    await two.client.close()


def times(count: int) -> dict[str, datetime]:
    return {new_id(): NOW - timedelta(milliseconds=17 * number) for number in range(count)}


async def taken(node: Node) -> dict[str, datetime]:
    found: dict[str, datetime] = {}
    async with aclosing(node.uses.taken()) as batches:
        async for batch in batches:
            found |= batch
    return found


async def test_the_later_use_wins(nodes: tuple[Node, Node]) -> None:
    """Whichever node puts it, and in whatever order."""
    one, two = nodes
    shop, blog = new_id(), new_id()
    early = NOW - timedelta(seconds=20)
    assert await one.uses.put({shop: NOW, blog: early})
    assert await two.uses.put({shop: early, blog: NOW})
    assert await one.uses.all() == {shop: NOW, blog: NOW}
    assert await two.uses.of([shop, new_id()]) == {shop: NOW}


async def test_many_uses_are_copied_once(nodes: tuple[Node, Node]) -> None:
    """Batches have all of them, and nothing is left afterwards, in every layout."""
    one, two = nodes
    uses = times(3000)
    assert await one.uses.put(uses)
    assert await two.uses.all() == uses
    assert await taken(two) == uses
    assert await one.uses.all() == {}


async def test_use_during_a_copy_is_not_lost(nodes: tuple[Node, Node]) -> None:
    """What was used again between the reading and the removing stays for the next copy."""
    one, two = nodes
    shop = new_id()
    later = NOW - timedelta(seconds=1)
    await one.uses.put({shop: NOW - timedelta(seconds=9)})
    async with aclosing(two.uses.taken()) as batches:
        async for _ in batches:
            await one.uses.put({shop: later})
    assert await taken(two) == {shop: later}


async def test_what_could_not_be_stored_stays(nodes: tuple[Node, Node]) -> None:
    """A copy that fails at the store removes nothing."""
    one, two = nodes
    uses = times(3)
    await one.uses.put(uses)

    class Down:
        async def record_activity(self, seen: Mapping[str, datetime]) -> None:
            raise StoreUnavailableError("switched off")

    with pytest.raises(StoreUnavailableError):
        await copy_shared(two.uses, Down())  # type: ignore[arg-type]
    assert await one.uses.all() == uses


async def test_sets_end_and_are_bounded(nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each expires where no node writes to it, and keeps no more than so many: the latest."""
    monkeypatch.setattr("router.cache.uses._MAX_USES", 3)
    one, _ = nodes
    shop = new_id()
    same = [other for other in times(400) if one.shards.of(other) is one.shards.of(shop)]
    assert len(same) > 3
    await one.uses.put({other: NOW - timedelta(seconds=1 + number) for number, other in enumerate(same)})
    await one.uses.put({shop: NOW})
    name = one.shards.of(shop).uses
    left = await one.raw("PTTL", name)
    assert isinstance(left, int)
    assert 0 < left <= 3_600_000
    assert set(await one.uses.all() or ()) == {shop, *same[:2]}


async def test_what_is_no_use_is_left_out(nodes: tuple[Node, Node]) -> None:
    """Redis' bytes are not believed: no id, no instant; one in the future counts as now."""
    one, two = nodes
    shop = new_id()
    name = one.shards.of(shop).uses
    for member, score in (("x", 1), ("a\0b", 1), (new_id(), "-1"), (new_id(), "-inf"), (new_id(), "nan")):
        if score != "nan":
            await one.raw("ZADD", name, score, member)
    await one.raw("ZADD", name, "inf", new_id())
    await one.raw("ZADD", name, 1e18, shop)
    assert await two.uses.all() == {shop: NOW}
    assert await taken(two) == {shop: NOW}
    assert await one.raw("EXISTS", name) == 0


async def test_key_of_another_kind_is_an_outage(nodes: tuple[Node, Node]) -> None:
    """Not an error that anybody sees: the node stores its uses itself."""
    one, _ = nodes
    shop = new_id()
    await one.raw("SET", one.shards.of(shop).uses, "something else")
    assert not await one.uses.put({shop: NOW})
    assert await one.uses.all() is None
    assert await one.uses.of([shop]) == {}
    assert await taken(one) == {}


@pytest.mark.realtime
@pytest.mark.parametrize("fault", ["stopped", "frozen", "flushed"])
async def test_redis_that_fails_loses_nothing(
    tmp_path: Path, short_limits: Redis, world: World, clock: ManualClock, fault: str
) -> None:
    """What one node had put there before is stored by it: at once where Redis does not answer, else when it has not come to
    the store in time. The other node reads it then."""
    shop = await world.sandbox(await world.tenant(), "shop")
    with Server(tmp_path) as server:
        one = Node(server.url, short_limits)
        used = {shop.id: clock.monotonic()}
        feed = ActivityFeed(
            used=lambda since: {key: at for key, at in used.items() if at >= since},
            rows=world.resources,
            clock=clock,
            shared=one.uses,
        )
        at = clock.now()
        await feed.copy()
        assert await world.resources.activity() == {}
        assert (await feed.activity(None))[0] == {shop.id: at}
        clock.advance(45)
        if fault == "flushed":
            server.ask("FLUSHALL")
            for _ in range(2):
                await feed.copy()
                clock.advance(45)
        else:
            await asyncio.to_thread(server.stop if fault == "stopped" else server.freeze)
            assert (await feed.activity(None))[0] == {shop.id: at}
        assert await world.resources.activity() == {shop.id: at}
        if fault == "frozen":
            server.thaw()
        await one.client.close()
