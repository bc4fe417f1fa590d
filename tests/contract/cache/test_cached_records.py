"""Reading through Redis: what it answers, what the store answers in its place, and what is believed of either."""

import asyncio
import time
from pathlib import Path

import pytest

from router import errors
from router.cache.client import CacheUnavailableError
from router.errors import StoreUnavailableError
from router.routes.encoding import FORMAT
from router.settings import Cache, Redis
from tests.support import records as make
from tests.support.member import Member
from tests.support.memory_store import MemoryStore
from tests.support.redis import Server
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio

SHOP, BLOG = make.resource("shop"), make.resource("blog")


async def hears(member: Member) -> None:
    await eventually(lambda: member.count("bus_connected"), "the bus is heard")


async def marked(member: Member) -> None:
    """Wait until every shard has its mark."""
    async with asyncio.timeout(30):
        for shard in member.shared._shards.all:
            while await shard.offset() is None:
                await asyncio.sleep(0.01)


async def fills(member: Member, keys: int) -> None:
    """Wait until so many records have been put down."""
    await eventually(lambda: member.count("redis_fills_total", result="stored") >= keys, f"{keys} records are put down")


async def test_a_miss_is_read_once_and_put_down(url: str, limits: Redis, ledger: MemoryStore) -> None:
    """All of it in one read of the store; then Redis answers, what is absent included."""
    async with Member(url, ledger, limits=limits) as member:
        await hears(member)
        await marked(member)
        member.commit("slug:shop", SHOP)
        keys = ("name:shop.org", "zone:org", "slug:shop", "slug:none")
        await eventually(lambda: member.count("bus_messages_total", type="changes"), "the change is delivered")
        ledger.reads.clear()
        found = await member.shared.records.fetch(keys)
        assert (found["slug:shop"], found["slug:none"]) == (SHOP, None)
        assert found.sources == {**dict.fromkeys(keys, "sql"), "slug:shop": "redis"}
        assert ledger.reads == [("name:shop.org", "zone:org", "slug:none")] or len(ledger.reads) == 1
        await fills(member, 3)
        ledger.down = True
        found = await member.shared.records.fetch(keys)
        assert (found.source, found["slug:shop"], found["zone:org"]) == ("redis", SHOP, None)


async def test_a_cold_host_is_one_round_trip(server: Server, limits: Redis, ledger: MemoryStore) -> None:
    """One command for all its keys."""
    async with Member(server.url, ledger, limits=limits) as member:
        await hears(member)
        ledger.commit("slug:shop", SHOP)
        before = member.count("redis_operations_total", operation="read", result="ok")
        for _ in range(2):
            route = await member.resolver.resolve(b"3000-shop.sandbox.miosa.app")
            assert route.resource == SHOP
        assert member.count("redis_operations_total", operation="read", result="ok") == before + 1


async def test_one_host_and_many_who_ask(url: str, limits: Redis, ledger: MemoryStore) -> None:
    """Ten thousand first requests for one host: one look in Redis per shard, one read of the store."""
    ledger.commit("slug:shop", SHOP)
    async with (
        Member(url, ledger, limits=limits, publishes=False) as member,
        Member(url, ledger, limits=limits) as other,
    ):
        await hears(other)
        await marked(other)
        ledger.reads.clear()
        routes = await asyncio.gather(*(member.resolver.resolve(b"shop.miosa.app") for _ in range(10_000)))
        assert {id(route) for route in routes} == {id(routes[0])}
        assert routes[0].resource == SHOP
        assert len(ledger.reads) == 1
        shards = len(member.shared._shards.sorted(routes[0].keys))
        assert member.count("redis_operations_total", operation="read", result="ok") == shards


async def test_what_was_changed_here_is_seen_at_once(url: str, limits: Redis, ledger: MemoryStore) -> None:
    """Before Redis has been told: the store is asked; afterwards Redis again."""
    async with (
        Member(url, ledger, limits=limits, publishes=False) as member,
        Member(url, ledger, limits=limits) as other,
    ):
        await hears(other)
        await hears(member)
        await marked(other)
        other.commit("slug:shop", SHOP)
        await eventually(lambda: member.keys == ["slug:shop"], "it is heard")
        assert await member.fetch("slug:shop") == (SHOP, "redis")
        member.commit("slug:shop", BLOG)
        assert await member.fetch("slug:shop") == (BLOG, "sql")
        await eventually(lambda: other.keys == ["slug:shop"], "the other has stepped in and delivered it")
        assert await member.fetch("slug:shop") == (BLOG, "redis")
        assert member.keys == ["slug:shop"]  # it was not told again of what it did itself


async def test_a_flush_is_harmless(url: str, limits: Redis, ledger: MemoryStore) -> None:
    """Nothing that lies there without a mark counts; after the next heartbeat it is filled again."""
    async with Member(url, ledger, limits=limits) as member:
        await hears(member)
        member.commit("slug:shop", SHOP)
        await eventually(lambda: member.count("bus_messages_total", type="changes"), "the change is delivered")
        for shard in member.shared._shards.all:
            await shard.remove("slug:shop")
            await member.shared._client.run("remove", shard.breaker, "UNLINK", shard._offset_name)
        assert await member.fetch("slug:shop") == (SHOP, "sql")

        async def redis_again() -> None:
            async with asyncio.timeout(30):
                while await member.fetch("slug:shop") != (SHOP, "redis"):
                    await asyncio.sleep(0.01)

        await redis_again()


@pytest.mark.parametrize("damage", [b"", b"damage", b"99999 {}", b'7 {"f":1}', b"7 [1]"])
async def test_damage_is_a_miss_and_is_taken_away(
    server: Server, limits: Redis, ledger: MemoryStore, damage: bytes
) -> None:
    """Whatever lies there, whoever put it there: the store answers, and soon a good value lies there."""
    async with Member(server.url, ledger, limits=limits) as member:
        await hears(member)
        member.commit("slug:shop", SHOP)
        await eventually(lambda: member.count("bus_messages_total", type="changes"), "the change is delivered")
        server.ask("SET", f"{limits.prefix}r:slug:shop", damage)
        assert await member.fetch("slug:shop") == (SHOP, "sql")
        assert member.count("redis_records_total", result="corrupt") == 1
        async with asyncio.timeout(30):
            while await member.fetch("slug:shop") != (SHOP, "redis"):
                await asyncio.sleep(0.01)


async def test_a_newer_format_is_left_alone(server: Server, limits: Redis, ledger: MemoryStore) -> None:
    """A fleet that is being upgraded does not fight over its cache."""
    async with Member(server.url, ledger, limits=limits) as member:
        await hears(member)
        member.commit("slug:shop", SHOP)
        await eventually(lambda: member.count("bus_messages_total", type="changes"), "the change is delivered")
        newer = b'1 {"f":%d,"all":"new"}' % (FORMAT + 1)
        server.ask("SET", f"{limits.prefix}r:slug:shop", newer)
        assert await member.fetch("slug:shop") == (SHOP, "sql")
        await eventually(lambda: member.count("redis_fills_total", result="outdated"), "the fill was refused")
        assert server.ask("GET", f"{limits.prefix}r:slug:shop") == newer
        assert member.count("redis_records_total", result="newer_format") == 1


async def test_a_damaged_mark_is_as_good_as_none(server: Server, limits: Redis, ledger: MemoryStore) -> None:
    """Nothing is believed; the publisher puts it right."""
    async with Member(server.url, ledger, limits=limits) as member:
        await hears(member)
        member.commit("slug:shop", SHOP)
        await eventually(lambda: member.count("bus_messages_total", type="changes"), "the change is delivered")
        server.ask("SET", f"{limits.prefix}mark", b"damage")
        assert await member.fetch("slug:shop") == (SHOP, "sql")
        await eventually(lambda: server.ask("GET", f"{limits.prefix}mark") == b"1", "it is put right")


@pytest.mark.realtime
async def test_without_redis_the_store_answers(folder: Path, short_limits: Redis, ledger: MemoryStore) -> None:
    """Never there, gone, frozen, back: a look-up costs more, and is right."""
    server = Server(folder)
    ledger.commit("slug:shop", SHOP)
    async with Member(server.url, ledger, limits=short_limits) as member:
        assert await member.fetch("slug:shop") == (SHOP, "sql")
        assert "Redis is away" in (member.shared.check() or "") or "bus is not heard" in (member.shared.check() or "")
        for _ in range(10):
            assert (await member.fetch("slug:shop"))[0] == SHOP
        assert member.count("redis_available") == 0
        with server:
            await hears(member)
            async with asyncio.timeout(30):
                while await member.fetch("slug:shop") != (SHOP, "redis"):
                    await asyncio.sleep(0.01)
            await eventually(lambda: member.count("redis_available") == 1, "it counts as available")
            assert member.shared.check() is None
            server.freeze()
            for _ in range(short_limits.failures + 2):
                assert await member.fetch("slug:shop") == (SHOP, "sql")


async def test_what_redis_knows_is_served_without_the_store(url: str, limits: Redis, ledger: MemoryStore) -> None:
    """Of hosts that were asked for together, those whose records are all in Redis."""
    async with Member(url, ledger, limits=limits) as member:
        await hears(member)
        await marked(member)
        member.commit("slug:shop", SHOP)
        await eventually(lambda: member.count("bus_messages_total", type="changes"), "the change is delivered")
        await member.shared.records.fetch(["name:shop.miosa.app", "zone:miosa.app", "zone:app", "slug:shop"])
        await fills(member, 3)
        ledger.down = True
        served, failed = await asyncio.gather(
            member.resolver.resolve(b"shop.miosa.app"), member.resolver.resolve(b"unknown.miosa.app")
        )
        assert (served.resource, served.source) == (SHOP, "redis")
        assert failed.problem is not None
        assert failed.problem.code == "resolver_unavailable"
        found = await member.shared.records.fetch(["slug:shop", "slug:other"])
        assert (found["slug:shop"], found.unanswered) == (SHOP, {"slug:other"})
        with pytest.raises(StoreUnavailableError):
            await member.shared.records.fetch(["slug:other"])


@pytest.mark.realtime
async def test_a_store_that_says_nothing_holds_up_nobody_whom_redis_can_answer(
    server: Server, limits: Redis, ledger: MemoryStore
) -> None:
    """Look-ups share a round trip: what the store owes is said to be unanswered before the others' time is over. After
    some such failures nobody waits for it, and when it answers again it is asked again."""
    cache = Cache(fetch_time=1.0)
    async with Member(server.url, ledger, limits=limits, cache=cache, pause=2.0) as member:
        await hears(member)
        await marked(member)
        for record in (SHOP, BLOG):
            member.commit(f"slug:{record.slug}", record)
        await eventually(lambda: member.count("bus_messages_total", type="changes"), "the changes are delivered")
        for slug in ("shop", "blog"):
            await member.shared.records.fetch([f"name:{slug}.miosa.app", "zone:miosa.app", "zone:app", f"slug:{slug}"])
        await fills(member, 4)
        ledger.silent = True
        served, failed = await asyncio.gather(
            member.resolver.resolve(b"shop.miosa.app"), member.resolver.resolve(b"unknown.miosa.app")
        )
        assert (served.resource, served.source) == (SHOP, "redis")
        assert failed.problem is errors.RESOLVER_UNAVAILABLE
        for _ in range(limits.failures):
            assert (await member.resolver.resolve(b"unknown.miosa.app")).problem is errors.RESOLVER_UNAVAILABLE
        before, reads = time.monotonic(), len(ledger.reads)
        served, failed = await asyncio.gather(
            member.resolver.resolve(b"blog.miosa.app"), member.resolver.resolve(b"other.miosa.app")
        )
        assert (served.resource, failed.problem) == (BLOG, errors.RESOLVER_UNAVAILABLE)
        assert time.monotonic() - before < cache.fetch_time / 2
        assert len(ledger.reads) == reads
        ledger.silent = False
        async with asyncio.timeout(30):
            while (await member.resolver.resolve(b"unknown.miosa.app")).problem is not errors.HOST_NOT_FOUND:
                await asyncio.sleep(0.01)


@pytest.mark.realtime
async def test_visitors_of_known_hosts_do_not_wait_for_two_that_are_frozen(
    folder: Path, short_limits: Redis, ledger: MemoryStore
) -> None:
    """Whoever comes first after the route's time waits once, as long as a look-up may take; then nobody does, however
    often it is found out anew that both still say nothing."""
    cache = Cache(ttl=0.05, fetch_time=1.0)
    with Server(folder) as server:
        async with Member(server.url, ledger, limits=short_limits, cache=cache) as member:
            await hears(member)
            member.commit("slug:shop", SHOP)
            resolver, host = member.resolver, b"shop.miosa.app"
            assert (await resolver.resolve(host)).resource == SHOP
            server.freeze()
            ledger.silent = True
            await eventually(lambda: resolver.peek(host) is None, "the route's time is over")
            assert (await resolver.resolve(host)).source == "stale"
            for _ in range(3):
                await eventually(lambda: resolver.peek(host) is None, "it would be looked up again")
                before = time.monotonic()
                route = await resolver.resolve(host)
                assert (route.resource, route.source) == (SHOP, "stale")
                assert time.monotonic() - before < cache.fetch_time / 2
            server.thaw()
            ledger.silent = False
            await eventually(lambda: resolver.peek(host) is None, "it would be looked up again")
            async with asyncio.timeout(30):
                while (await resolver.resolve(host)).source == "stale":
                    await asyncio.sleep(0.05)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_whoever_commits_shows_that_the_store_is_back(
    server: Server, limits: Redis, ledger: MemoryStore, elsewhere: bool
) -> None:
    """A change takes a route away, and the store that was left alone is asked for the new one at once."""
    cache = Cache(fetch_time=0.4)
    async with (
        Member(server.url, ledger, limits=limits, cache=cache, pause=60.0, failures=1) as member,
        Member(server.url, ledger, limits=limits) as other,
    ):
        await hears(member)
        await hears(other)
        ledger.silent = True
        assert (await member.resolver.resolve(b"shop.miosa.app")).problem is errors.RESOLVER_UNAVAILABLE
        ledger.silent = False
        assert (await member.resolver.resolve(b"shop.miosa.app")).problem is errors.RESOLVER_UNAVAILABLE
        (other if elsewhere else member).commit("slug:shop", SHOP)
        if elsewhere:
            await eventually(lambda: "slug:shop" in member.keys, "it hears of the change")
        assert (await member.resolver.resolve(b"shop.miosa.app")).resource == SHOP


@pytest.mark.realtime
async def test_without_either_it_says_so(folder: Path, short_limits: Redis, ledger: MemoryStore) -> None:
    """An outage, not an absence."""
    async with Member(Server(folder).url, ledger, limits=short_limits) as member:
        ledger.down = True
        with pytest.raises(StoreUnavailableError):
            await member.fetch("slug:shop")


@pytest.mark.realtime
async def test_redis_is_not_believed_before_it_has_caught_up(
    folder: Path, short_limits: Redis, ledger: MemoryStore
) -> None:
    """After an outage this process knows more than Redis does; it never goes back to what it knew before."""
    with Server(folder) as server:
        async with Member(server.url, ledger, limits=short_limits) as member:
            await hears(member)
            member.commit("slug:shop", SHOP)
            await eventually(lambda: member.count("bus_messages_total", type="changes"), "the change is delivered")
        async with Member(server.url, ledger, limits=short_limits, publishes=False) as member:
            await eventually(lambda: member.shared._subscriber.error == "not connected yet", "nobody publishes")
            assert await member.fetch("slug:shop") == (SHOP, "redis")
            server.freeze()
            ledger.commit("slug:shop", BLOG)
            assert await member.fetch("slug:shop") == (BLOG, "sql")
            server.thaw()
            shard = member.shared._shards.of("slug:shop")

            async def back() -> bool:
                try:
                    return await shard.offset() == 1
                except CacheUnavailableError:
                    return False

            async with asyncio.timeout(30):
                while not await back():
                    await asyncio.sleep(0.01)
            assert await member.fetch("slug:shop") == (BLOG, "sql")
            assert member.count("redis_records_total", result="behind") >= 1


async def test_fills_do_not_pile_up(server: Server, limits: Redis, ledger: MemoryStore) -> None:
    """What can't be put down in time is left to the next reader, and counted."""
    async with Member(server.url, ledger, limits=limits) as member:
        await marked(member)
        await asyncio.gather(*(member.shared.records.fetch([f"slug:s{number}"]) for number in range(200)))
        assert member.count("redis_fills_total", result="skipped") > 0
        await fills(member, 1)
