"""The outbox's way to every process: in order, at least once, and whatever happens to Redis or to whoever publishes."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from router.cache.messages import BusMessage, encode_message
from router.routes.records import Snapshot
from router.settings import Redis
from tests.support import records as make
from tests.support.member import Member
from tests.support.memory_store import MemoryStore
from tests.support.redis import Server
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio

SHOP, BLOG = make.resource("shop"), make.resource("blog")


async def ready(*members: Member) -> None:
    """Wait until they hear the bus, and every shard has its mark."""
    await eventually(lambda: all(member.count("bus_connected") for member in members), "all hear the bus")
    async with asyncio.timeout(30):
        for shard in members[0].shared._shards.all:
            while await shard.offset() is None:
                await asyncio.sleep(0.01)


async def degraded(member: Member) -> str:
    """Wait until /readyz would say that something is missing; what."""
    async with asyncio.timeout(30):
        while (wrong := member.shared.check()) is None:
            await asyncio.sleep(0.01)
    return wrong


async def knows(member: Member, key: str, record: object) -> None:
    """Wait until Redis answers with this record."""
    async with asyncio.timeout(30):
        while await member.fetch(key) != (record, "redis"):
            await asyncio.sleep(0.01)


async def test_a_change_reaches_everybody(url: str, limits: Redis, ledger: MemoryStore) -> None:
    """Exactly what changed is told, to each once; then Redis has the new record."""
    async with Member(url, ledger, limits=limits) as one, Member(url, ledger, limits=limits, publishes=False) as two:
        await ready(one, two)
        gaps = two.gaps
        one.commit("slug:shop", SHOP)
        await eventually(lambda: two.keys == ["slug:shop"], "it is heard")
        assert await two.fetch("slug:shop") == (SHOP, "redis")
        one.commit("slug:shop", None)
        await eventually(lambda: len(two.keys) == 2, "it is heard")
        assert await two.fetch("slug:shop") == (None, "redis")
        assert (one.keys, one.gaps, two.gaps) == ([], 1, gaps)
        assert two.count("change_seconds_count") == 2


async def test_changes_keep_their_order(url: str, limits: Redis, ledger: MemoryStore) -> None:
    """Of a burst, each key's last change is told last."""
    async with Member(url, ledger, limits=limits) as one, Member(url, ledger, limits=limits) as two:
        await ready(one, two)
        told = [f"slug:s{number}" for number in range(700)]
        for number, key in enumerate(told):
            (one, two)[number % 2].commit(key, make.resource(key[5:]))
        await eventually(lambda: set(told[::2]) <= set(two.keys), "all are heard")
        # Each publisher is in a hurry with its own: some may be told twice, none in the wrong order.
        assert list(dict.fromkeys(key for key in two.keys if key in told[::2])) == told[::2]
        await eventually(lambda: one.shared._publisher.waiting == 0, "nothing waits")
        found = await one.shared.records.fetch(told)
        assert set(found.sources.values()) == {"redis"}


async def test_whoever_commits_elsewhere_is_delivered_for(url: str, limits: Redis, ledger: MemoryStore) -> None:
    """The command line has no publisher, and neither has a process that died after its commit."""
    async with Member(url, ledger, limits=limits) as one, Member(url, ledger, limits=limits) as two:
        await ready(one, two)
        ledger.commit("slug:shop", SHOP)
        await eventually(lambda: "slug:shop" in one.keys and "slug:shop" in two.keys, "both hear")
        assert await one.fetch("slug:shop") == (SHOP, "redis")


class Quiet(MemoryStore):
    """A store that says when something was committed elsewhere; it counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.news = asyncio.Event()
        self.paused = self.looks = 0

    def moved(self) -> bool:
        self.looks += 1
        return True

    async def pause(self) -> None:
        self.paused += 1
        try:
            await self.news.wait()
        finally:
            self.paused -= 1


async def test_the_outbox_is_looked_at_when_something_was_committed(server: Server, limits: Redis) -> None:
    """By others, of whom the store tells, or by this process. While all is delivered nobody looks."""
    quiet, seldom = Quiet(), limits.model_copy(update={"heartbeat": 600.0, "silence": 600.0})
    async with Member(server.url, quiet, limits=seldom) as one:
        await ready(one)
        await eventually(lambda: quiet.paused, "it waits")
        looks = quiet.looks
        one.commit("slug:shop", SHOP)
        await knows(one, "slug:shop", SHOP)
        await eventually(lambda: quiet.paused, "it waits again")
        assert quiet.looks <= looks + 2
        looks = quiet.looks
        quiet.commit("slug:blog", BLOG)
        quiet.news.set()
        await eventually(lambda: "slug:blog" in one.keys, "the other's change is heard")
        quiet.news.clear()
        await eventually(lambda: quiet.paused, "it waits again")
        assert quiet.looks > looks


@pytest.mark.realtime
async def test_what_redis_missed_is_delivered_when_it_is_back(
    folder: Path, short_limits: Redis, ledger: MemoryStore
) -> None:
    """Stopped and flushed, or just frozen; changes wait in the outbox, in their order, and are counted."""
    with Server(folder) as server:
        async with (
            Member(server.url, ledger, limits=short_limits) as one,
            Member(server.url, ledger, limits=short_limits, publishes=False) as two,
        ):
            await ready(one, two)
            for stop, start in ((server.stop, server.start), (server.freeze, server.thaw)):
                stop()
                one.keys.clear()
                two.keys.clear()
                for number in range(20):
                    one.commit(f"slug:s{number}", make.resource(f"s{number}", version=ledger.version("slug:shop")))
                await eventually(lambda: one.count("outbox_waiting") == 20, "they wait")
                assert one.count("outbox_lag_seconds") > 0
                await degraded(one)
                assert one.shared.facts()["waiting"] == 20
                start()
                await eventually(lambda: len(set(two.keys)) == 20 or two.gaps > 1, "they are heard")
                await eventually(lambda: one.count("outbox_waiting") == 0, "nothing waits any more")
                await knows(two, "slug:s7", (await ledger.fetch(["slug:s7"]))["slug:s7"])
                async with asyncio.timeout(30):
                    while one.shared.check() is not None or two.shared.check() is not None:
                        await asyncio.sleep(0.01)


@pytest.mark.realtime
async def test_while_the_bus_is_lost_the_store_is_followed(
    folder: Path, short_limits: Redis, ledger: MemoryStore
) -> None:
    """A change reaches every process in a moment, with Redis or without."""
    async with (
        Member(Server(folder).url, ledger, limits=short_limits) as one,
        Member(Server(folder).url, ledger, limits=short_limits, publishes=False) as two,
    ):
        one.commit("slug:shop", SHOP)
        await eventually(lambda: two.keys == ["slug:shop"], "it is heard", within=2)
        assert (one.keys, one.gaps + two.gaps) == ([], 0)
        one.commit("slug:shop", BLOG)
        await eventually(lambda: len(two.keys) == 2, "it is heard")
        assert "instead" in await degraded(two)
        assert two.shared.facts() == {"by": "store"}


async def test_without_publishers_the_store_is_followed(url: str, limits: Redis, ledger: MemoryStore) -> None:
    """A control plane that is down is no reason to miss a change that somebody made."""
    async with Member(url, ledger, limits=limits, publishes=False) as member:
        await eventually(lambda: member.gaps == 1, "it has subscribed")
        ledger.commit("slug:shop", SHOP)
        await eventually(lambda: member.keys == ["slug:shop"], "it is heard")
        async with Member(url, ledger, limits=limits) as other:
            await ready(other, member)
            gaps = member.gaps
            ledger.commit("slug:shop", BLOG)
            await eventually(lambda: len(member.keys) == 2, "it is heard")
            assert member.gaps == gaps


@pytest.mark.realtime
async def test_silence_is_looked_into(folder: Path, short_limits: Redis, ledger: MemoryStore) -> None:
    """Without publishers a process calls on the bus itself: while it hears that, its subscription is good; a server that
    is frozen answers nothing, and is left for a new connection."""
    with Server(folder) as server:
        async with Member(server.url, ledger, limits=short_limits, publishes=False, silence=1.5) as member:
            calls = {"operation": "publish", "result": "ok"}
            await eventually(lambda: member.count("redis_operations_total", **calls) > 1, "it calls again and again")
            assert member.gaps == 1
            server.freeze()
            await eventually(
                lambda: member.count("redis_operations_total", operation="publish", result="timeout"), "no answer"
            )
            server.thaw()
            await eventually(lambda: member.gaps > 1, "it has connected anew")


@pytest.mark.realtime
async def test_a_store_that_is_away_too_is_followed_again(
    folder: Path, short_limits: Redis, ledger: MemoryStore
) -> None:
    """From where it was left."""
    async with Member(Server(folder).url, ledger, limits=short_limits, publishes=False) as member:
        ledger.down = True
        ledger.commit("slug:shop", SHOP)
        failed = ledger.failed
        await eventually(lambda: ledger.failed > failed, "the store was asked in vain")
        assert member.keys == []
        ledger.down = False
        await eventually(lambda: member.keys == ["slug:shop"], "it is heard")


async def test_many_publishers_do_no_harm(url: str, limits: Redis, ledger: MemoryStore) -> None:
    """All may deliver the same; each change is stored, and told to everybody."""
    async with contextlib.AsyncExitStack() as stack:
        members = [await stack.enter_async_context(Member(url, ledger, limits=limits)) for _ in range(4)]
        await ready(*members)
        for number in range(60):
            members[number % 4].commit(f"slug:s{number % 7}", make.resource("s", version=number))
        await eventually(lambda: all(member.shared._publisher.waiting == 0 for member in members), "nothing waits")
        latest = await ledger.fetch([f"slug:s{number}" for number in range(7)])
        for member in members:
            for key, record in latest.items():
                await knows(member, key, record)


@pytest.mark.realtime
async def test_a_snapshot_that_comes_back_is_told_what_it_missed(
    folder: Path, short_limits: Redis, ledger: MemoryStore
) -> None:
    """A server that starts from an old snapshot shows an old mark: nothing of it is believed, then it is up to date."""
    with Server(folder) as server:
        async with Member(server.url, ledger, limits=short_limits) as member:
            await ready(member)
            member.commit("slug:shop", SHOP)
            await knows(member, "slug:shop", SHOP)
            server.ask("SAVE")
            member.commit("slug:shop", BLOG)
            await knows(member, "slug:shop", BLOG)
            server.stop()
            server.start()
            for _ in range(50):
                assert (await member.fetch("slug:shop"))[0] == BLOG
            await knows(member, "slug:shop", BLOG)
            assert server.ask("GET", f"{short_limits.prefix}mark") == b"2"


@pytest.mark.realtime
async def test_changes_that_were_trimmed_empty_redis(url: str, limits: Redis, ledger: MemoryStore) -> None:
    """What Redis holds can't be vouched for when nobody knows any more what changed."""
    async with Member(url, ledger, limits=limits) as member:
        await ready(member)
        for number in range(9):
            member.commit(f"slug:s{number}", SHOP)
        await knows(member, "slug:s8", SHOP)
    for number in range(9):
        ledger.commit(f"slug:s{number}", BLOG)
    ledger.forget(14)
    async with Member(url, ledger, limits=limits) as member, Member(url, ledger, limits=limits, publishes=False) as two:
        await ready(member, two)
        for number in range(9):
            await knows(two, f"slug:s{number}", BLOG)


async def test_a_redis_of_another_database_is_emptied(url: str, limits: Redis, ledger: MemoryStore) -> None:
    """A database that was restored from a backup, or made anew, has fewer changes than Redis has been told of."""
    async with Member(url, ledger, limits=limits) as member:
        await ready(member)
        for _ in range(5):
            member.commit("slug:shop", SHOP)
        await knows(member, "slug:shop", SHOP)
    anew = MemoryStore()
    anew.commit("slug:blog", BLOG)
    async with Member(url, anew, limits=limits) as member:
        await ready(member)
        await knows(member, "slug:shop", None)
        await knows(member, "slug:blog", BLOG)


@pytest.mark.parametrize("another", [False, True])
async def test_emptying_that_failed_in_the_middle_is_finished(folder: Path, limits: Redis, another: bool) -> None:
    """By the same publisher or by the next one; until then none of the old records is believed, or kept for good."""
    ledger, anew = MemoryStore(), MemoryStore()
    with Server(folder) as server:
        async with Member(server.url, ledger, limits=limits) as member:
            await ready(member)
            for _ in range(5):
                member.commit("slug:shop", SHOP)
            await knows(member, "slug:shop", SHOP)
        anew.commit("slug:blog", BLOG)
        server.ask("ACL", "SETUSER", "default", "-unlink")
        async with contextlib.AsyncExitStack() as stack:
            async with contextlib.AsyncExitStack() as first:
                member = await first.enter_async_context(Member(server.url, anew, limits=limits))
                denied = {"operation": "remove", "result": "error"}
                await eventually(
                    lambda: member.count("redis_operations_total", **denied) > 2, "it tries again and again"
                )
                assert await member.fetch("slug:shop") == (None, "sql")
                if not another:
                    stack.push_async_callback(first.pop_all().aclose)
            if another:
                member = await stack.enter_async_context(Member(server.url, anew, limits=limits))
            server.ask("ACL", "SETUSER", "default", "+unlink")
            await knows(member, "slug:shop", None)
            await knows(member, "slug:blog", BLOG)


async def test_a_record_that_can_t_be_read_holds_up_nobody(server: Server, limits: Redis) -> None:
    """It is taken out of Redis; the other changes are delivered."""

    class Stumbling(MemoryStore):
        poison = False

        async def fetch_versioned(self, keys: Sequence[str]) -> Snapshot:
            if self.poison and "slug:poison" in keys:
                raise ZeroDivisionError
            return await super().fetch_versioned(keys)

    ledger = Stumbling()
    async with Member(server.url, ledger, limits=limits) as member:
        await ready(member)
        member.commit("slug:poison", SHOP)
        await knows(member, "slug:poison", SHOP)
        ledger.poison = True
        member.commit("slug:poison", BLOG)
        member.commit("slug:shop", SHOP)
        await knows(member, "slug:shop", SHOP)
        await eventually(lambda: not server.ask("EXISTS", f"{limits.prefix}r:slug:poison"), "it is taken out")


async def test_a_store_that_is_away_delays(server: Server, limits: Redis, ledger: MemoryStore) -> None:
    """And no more than that."""
    async with Member(server.url, ledger, limits=limits) as member:
        await ready(member)
        ledger.commit("slug:shop", SHOP)
        ledger.down = True
        await eventually(lambda: member.shared._publisher.error == "switched off", "it is noticed")
        ledger.down = False
        await knows(member, "slug:shop", SHOP)
        await eventually(lambda: member.shared._publisher.error is None, "all is well")


async def say(server: Server, limits: Redis, message: bytes) -> None:
    server.ask("PUBLISH", f"{limits.prefix}bus", message)


async def test_what_was_missed_is_noticed(server: Server, limits: Redis, ledger: MemoryStore) -> None:
    """BusMessage that begins after what was heard last, a heartbeat that is further, a message that nobody understands."""
    async with Member(server.url, ledger, limits=limits) as member:
        await ready(member)
        for number, message in enumerate(
            (
                encode_message(BusMessage(10, 11, {"slug:shop": 11})),
                encode_message(BusMessage(20, 20)),
                b"noise",
            )
        ):
            before = member.gaps
            await say(server, limits, message)
            await eventually(lambda before=before: member.gaps == before + 1, f"gap {number} is told")
        assert member.keys == []
        assert member.count("bus_messages_total", type="gap") == 2
        assert member.count("bus_messages_total", type="malformed") == 1
        before = member.gaps
        await say(server, limits, encode_message(BusMessage(5, 6, {"slug:shop": 6})))
        await eventually(lambda: member.keys == ["slug:shop"], "what is told again is told again")
        assert member.gaps == before


async def test_a_reconnection_drops_everything(server: Server, limits: Redis, ledger: MemoryStore) -> None:
    """Whatever was said meanwhile."""
    async with Member(server.url, ledger, limits=limits) as member:
        await ready(member)
        assert member.gaps == 1
        route = await member.resolver.resolve(b"shop.miosa.app")
        server.ask("CLIENT", "KILL", "TYPE", "pubsub")
        await eventually(lambda: member.gaps == 2, "everything is dropped")
        assert (await member.resolver.resolve(b"shop.miosa.app")) is not route
        await ready(member)


async def test_a_listener_that_fails_ends_nothing(server: Server, limits: Redis, ledger: MemoryStore) -> None:
    """The next change is told as ever."""
    async with (
        Member(server.url, ledger, limits=limits) as one,
        Member(server.url, ledger, limits=limits, publishes=False) as two,
    ):
        await ready(one, two)

        def stumble(_keys: Sequence[str]) -> None:
            raise ZeroDivisionError

        two.shared._subscriber._follower._on_keys, as_ever = stumble, two.shared._subscriber._follower._on_keys
        one.commit("slug:shop", SHOP)
        await eventually(lambda: two.count("bus_messages_total", type="changes") == 1, "it is heard")
        two.shared._subscriber._follower._on_keys = as_ever
        one.commit("slug:blog", BLOG)
        await eventually(lambda: two.keys == ["slug:blog"], "the next is heard")


@pytest.mark.realtime
async def test_a_change_takes_milliseconds(url: str, limits: Redis, ledger: MemoryStore) -> None:
    """From the commit in one process to the drop in another: half of them within 100 ms, on a machine with much else to do as well."""
    async with Member(url, ledger, limits=limits) as one, Member(url, ledger, limits=limits, publishes=False) as two:
        await ready(one, two)
        gaps = two.gaps
        for number in range(100):
            one.commit("slug:shop", make.resource(version=number))
            async with asyncio.timeout(30):
                while len(two.keys) <= number:
                    await asyncio.sleep(0.001)
        within = two.count("change_seconds_bucket", le="0.1")
        assert within >= 50
        assert two.gaps == gaps
