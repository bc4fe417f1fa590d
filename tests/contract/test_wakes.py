"""Wakes on a real store with a real platform: one call over the fleet, whatever happens to the nodes, the platform and the
resource meanwhile."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from router.base.clock import SystemClock
from router.errors import StoreUnavailableError
from router.observe.metrics import Metrics
from router.outbound.wake import WakeCaller
from router.routes.records import Kind, ResourceRecord, State
from router.routes.wakes import Wake as Setting
from router.routes.wakes import WakeRecord, WakeState, wake_key
from router.settings import Wake
from router.store import Store
from router.tenancy import waking
from router.tenancy.blocks import BlockKind
from router.tenancy.resources import Resource
from router.tenancy.waking import Wakes
from tests.support.platform import SECRET, Platform
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.waiting import eventually, until
from tests.support.world import World

pytestmark = pytest.mark.asyncio

QUICK: dict[str, Any] = {"call_time": 0.5, "ask_time": 2.0, "hold": 1.0, "page_after": 1.0, "remember": 1.0}


@pytest.fixture
def world(store: Store) -> World:
    return World(store, SystemClock())


@pytest_asyncio.fixture
async def platform(world: World) -> AsyncIterator[Platform]:
    async with Platform() as one:
        yield one


class Node:
    """One node's wakes."""

    def __init__(self, store: Store, url: str, *, calls: bool = True, **settings: Any) -> None:
        clock = SystemClock()
        self.store = store
        self.metrics = Metrics()
        self.wakes = Wakes(
            store,
            clock,
            settings=Wake(**{"url": url, "secret": SECRET, **QUICK, **settings}),
            caller=WakeCaller(url, clock) if calls else None,
            metrics=self.metrics,
        )

    async def ask(self, *resources: Resource) -> list[bool]:
        return await asyncio.gather(*(self.wakes.ask(one.id, 3000, "http", "req-1") for one in resources))

    def counted(self, name: str, label: str = "") -> float:
        """The value of a counter or gauge, of that label's value where one is given."""
        names = {f"miosa_router_{name}", f"miosa_router_{name}_total"}
        samples = [sample for family in self.metrics.figures() for sample in family[4] if sample[0] in names]
        return float(sum(value for _, labels, value in samples if not label or label in labels.values()))

    async def watched(self, condition: Callable[[], Awaitable[object]], what: str, within: float = 20.0) -> None:
        """Do the job's rounds until it is so."""
        deadline = time.monotonic() + within
        while not await condition():
            assert time.monotonic() < deadline, f"not within {within} s: {what}"
            await self.wakes.watch()
            await asyncio.sleep(0.05)


@asynccontextmanager
async def nodes(database: str, url: str, count: int, **settings: Any) -> AsyncIterator[list[Node]]:
    """Several nodes on one database."""
    stores = [await Store.open(database, clock=SystemClock()) for _ in range(count)]
    made = [Node(store, url, **settings) for store in stores]
    try:
        yield made
    finally:
        for one in made:
            await one.wakes.close()
            await one.store.close()


@pytest_asyncio.fixture
async def node(database: str, platform: Platform) -> AsyncIterator[Node]:
    async with nodes(database, platform.url, 1) as (one,):
        yield one


async def sleeping(world: World, slug: str = "shop", **options: Any) -> Resource:
    """A sandbox that sleeps, of the tenant `Acme` unless another is given."""
    tenant = options.pop("tenant", None) or await world.tenant(slug)
    made = await world.sandbox(tenant, slug, **{"wake": Setting.ANY, **options})
    await world.resources.patch(made.id, state=State.PAUSED)
    return made


async def record(store: Store, resource: Resource) -> WakeRecord | None:
    key = wake_key(resource.id)
    found = (await store.records.fetch([key]))[key]
    assert found is None or isinstance(found, WakeRecord)
    return found


async def state(store: Store, resource: Resource) -> WakeState | None:
    found = await record(store, resource)
    return None if found is None else found.state


async def test_a_hundred_visitors_on_three_nodes_are_one_call(
    database: str, store: Store, world: World, platform: Platform
) -> None:
    """The first of them is told to the platform; every node sees how far it has come, until it runs."""
    shop = await sleeping(world)
    platform.silence()
    async with nodes(database, platform.url, 3) as several:
        await asyncio.gather(*(one.ask(shop) for one in several for _ in range(33)))
        for one in several:
            assert await state(one.store, shop) is WakeState.ASKED
        platform.go_on.set()
        await several[0].watched(lambda: _is(store, shop, WakeState.STARTING), "the platform has accepted it")
        (call,) = platform.calls
        assert call.body == {
            "resource_id": shop.id,
            "tenant_id": shop.tenant_id,
            "kind": "sandbox",
            "slug": "shop",
            "port": 3000,
            "reason": "http",
            "request_id": "req-1",
        }
        await world.place(shop, generation="boot-2")
        assert await record(store, shop) is None
        await several[1].wakes.watch()
        assert several[1].counted("wakes", "running") == 1
        await several[2].ask(shop)
        assert (await record(store, shop), len(platform.calls)) == (None, 1)


async def _is(store: Store, resource: Resource, wanted: WakeState | None) -> bool:
    return await state(store, resource) is wanted


@pytest.mark.realtime  # the platform has half a second for each answer
@pytest.mark.parametrize(
    ("answers", "after", "code", "calls"),
    [
        ((202,), WakeState.STARTING, 202, 1),
        ((200,), WakeState.STARTING, 200, 1),
        ((402,), WakeState.REFUSED, 402, 1),
        ((403,), WakeState.REFUSED, 403, 1),
        ((409,), WakeState.REFUSED, 409, 1),
        ((404,), WakeState.FAILED, 404, 1),
        ((302,), WakeState.FAILED, 302, 1),
        ((401,), WakeState.FAILED, 401, 1),
        ((500, 202), WakeState.STARTING, 202, 2),
        ((500, 429, 402), WakeState.REFUSED, 402, 3),
        ((503,), WakeState.FAILED, 503, None),
    ],
)
async def test_what_the_platform_says(
    store: Store,
    world: World,
    platform: Platform,
    node: Node,
    answers: tuple[int, ...],
    after: WakeState,
    code: int,
    calls: int | None,
) -> None:
    """Visitors of every node are told of it. Trouble is asked again under the same id, as long as there is time."""
    platform.answers = list(answers)
    shop = await sleeping(world)
    await node.ask(shop)
    await node.watched(lambda: _is(store, shop, after), f"it is {after}")
    found = await record(store, shop)
    assert found is not None
    assert found.code == code
    assert len({call.wake for call in platform.calls}) == 1
    assert len(platform.calls) == calls or (calls is None and 2 <= len(platform.calls) <= 4)


async def test_a_platform_that_is_down_is_not_hammered(database: str, store: Store, world: World) -> None:
    """After a few failures nobody is called for a while, whatever is asked for; then one call tries again."""
    port = free_port()
    tenant = await world.tenant()
    several = [await sleeping(world, f"s{number}", tenant=tenant) for number in range(6)]
    quick = {"failures": 3, "pause": 1.0, "remember": 60.0}
    async with nodes(database, f"http://127.0.0.1:{port}/wake", 1, **quick) as (node,):

        async def all_failed() -> bool:
            return all([await _is(store, one, WakeState.FAILED) for one in several[:5]])

        await node.ask(*several[:5])
        await node.watched(all_failed, "all have failed")
        assert node.counted("wake_calls", "no_answer") <= 7  # the first of each, and one of each pause
        assert node.counted("wake_calls", "not_sent") >= 4
        assert node.counted("wake_breaker_open") == 1
        assert node.counted("wakes", "failed") == 5
        async with Platform(port=port) as platform:
            late = several[5]

            async def accepted() -> bool:
                await node.ask(late)
                return bool(platform.calls)

            await eventually(lambda: node.wakes._breaker._until <= node.wakes._clock.monotonic(), "the pause is over")  # type: ignore[operator]
            await node.watched(accepted, "one call tries again")
            await node.watched(lambda: _is(store, late, WakeState.STARTING), "it is on its way")
            assert node.counted("wake_breaker_open") == 0


async def test_a_slow_platform(store: Store, world: World, platform: Platform, node: Node) -> None:
    """A call that takes too long is given up and made again; who answers none has failed when the time is over."""
    platform.silence()
    shop = await sleeping(world)
    began = time.monotonic()
    await node.ask(shop)
    await node.watched(lambda: _is(store, shop, WakeState.FAILED), "it has failed")
    assert time.monotonic() - began < 5
    found = await record(store, shop)
    assert found is not None
    assert found.code is None
    assert 2 <= len(platform.calls) <= 4


async def test_a_promise_that_is_not_kept(database: str, store: Store, world: World, platform: Platform) -> None:
    """The platform says that it is on its way, and it never runs: it has failed when the budget is over, and can be asked again
    a moment later."""
    shop = await sleeping(world)
    async with nodes(database, platform.url, 1, budget=2.0, remember=0.3) as (node,):
        await node.ask(shop)
        await node.watched(lambda: _is(store, shop, WakeState.STARTING), "it is on its way")
        await node.watched(lambda: _is(store, shop, WakeState.FAILED), "it has failed")
        await node.ask(shop)
        assert len(platform.calls) == 1
        await node.watched(lambda: _is(store, shop, None), "it is forgotten")
        await node.ask(shop)
        await eventually(lambda: len(platform.calls) == 2, "it is asked again")
        assert platform.calls[0].wake != platform.calls[1].wake


async def test_a_storm_keeps_the_limits(database: str, store: Store, world: World, platform: Platform) -> None:
    """Two tenants, two nodes, forty sleepers: never more on their way than allowed, places for the others, and each is asked
    for once."""
    tenants = [await world.tenant(name) for name in ("Acme", "Globex")]
    several = [await sleeping(world, f"{t.slug}{number}", tenant=t) for t in tenants for number in range(20)]
    platform.silence()
    async with nodes(
        database, platform.url, 2, per_tenant=3, per_fleet=5, call_time=30.0, ask_time=30.0, budget=60.0
    ) as (a, b):
        await asyncio.gather(a.ask(*several[::2]), b.ask(*several[1::2]))
        records = [await record(store, one) for one in several]
        states = [one.state for one in records if one is not None]
        assert states.count(WakeState.ASKED) == 5
        assert states.count(WakeState.QUEUED) == 35
        places = sorted(one.place for one in records if one is not None and one.place is not None)
        assert places[:10] == list(range(1, 11))
        assert len(places) == 35
        by_id = {one.id: one for one in several}

        async def boot(resource_id: str) -> None:
            await world.place(by_id[resource_id], generation="boot-2")

        platform.boot = boot
        platform.go_on.set()

        async def all_run() -> bool:
            return all([await _is(store, one, None) for one in several])

        await a.watched(all_run, "all of them run", within=60)
        assert sorted(call.body["resource_id"] for call in platform.calls) == sorted(by_id)
        assert platform.most_at_once <= 5
        await a.wakes.watch()
        assert a.counted("wakes", "running") + b.counted("wakes", "running") == 40


async def _deleted(world: World, shop: Resource) -> None:
    await world.resources.delete(shop.id)


async def _blocked(world: World, shop: Resource) -> None:
    await world.block(BlockKind.RESOURCE, shop.id)


async def _tenant_blocked(world: World, shop: Resource) -> None:
    await world.block(BlockKind.TENANT, shop.tenant_id)


@pytest.mark.parametrize("happens", [_deleted, _blocked, _tenant_blocked])
async def test_it_goes_away_meanwhile(
    store: Store, world: World, platform: Platform, node: Node, happens: Callable[[World, Resource], Awaitable[None]]
) -> None:
    """Its wake is over with the next round, the platform is not called again for it, and a late answer changes nothing."""
    platform.answers = [503, 202]
    platform.silence()
    shop = await sleeping(world)
    await node.ask(shop)
    await eventually(lambda: platform.calls, "the platform is asked")
    await happens(world, shop)
    await node.watched(lambda: _is(store, shop, None), "the wake is over")
    assert node.counted("wakes", "left") == 1
    platform.go_on.set()
    await node.wakes.close()
    assert len(platform.calls) == 1
    assert await record(store, shop) is None


async def test_what_is_not_to_be_woken(store: Store, world: World, platform: Platform, node: Node) -> None:
    """What runs, what nobody may wake, what does not exist, and another tenant's default: the platform is not called."""
    tenant = await world.tenant()
    running = await world.sandbox(tenant, "running", wake=Setting.ANY)
    closed = await sleeping(world, "closed", tenant=tenant, wake=Setting.OFF)
    unsaid = await sleeping(world, "unsaid", tenant=tenant, wake=None)
    await node.ask(running, closed, unsaid)
    await node.wakes.ask("3086d9a5-64b8-4b79-96b8-b404634d1b5b", 80, "http", "r")
    for one in (running, closed, unsaid):
        assert await record(store, one) is None
    await world.tenants.update(tenant.id, default_wake=Setting.AUTHORISED)
    await node.ask(unsaid)
    await eventually(lambda: platform.calls, "the platform is asked by the tenant's default")
    assert [call.body["resource_id"] for call in platform.calls] == [unsaid.id]


async def test_the_queue_is_full(store: Store, world: World, platform: Platform, database: str) -> None:
    """Whoever is asked for hears so, on every node; what is under way or in the queue keeps its place, and there is one for
    others once one of those has gone."""
    platform.silence()
    first, second, third = [await sleeping(world, f"s{number}") for number in range(3)]
    async with nodes(database, platform.url, 2, per_fleet=1, queue=1, call_time=30.0, ask_time=30.0) as (a, b):
        assert await a.ask(first) == [True]
        assert await b.ask(second) == [True]
        assert [*await a.ask(third, first, second), *await b.ask(third)] == [False, True, True, False]
        assert await record(store, third) is None
        assert a.counted("wakes", "full") + b.counted("wakes", "full") == 2
        await world.resources.delete(second.id)
        assert await b.ask(third) == [True]
        platform.go_on.set()


async def test_it_runs_and_sleeps_again_between_two_rounds(
    store: Store, world: World, platform: Platform, node: Node
) -> None:
    """The next request is another wake: nothing hangs on to the one that is over."""
    shop = await sleeping(world)
    await node.ask(shop)
    await node.watched(lambda: _is(store, shop, WakeState.STARTING), "it is on its way")
    await world.place(shop, generation="boot-2")
    await world.resources.patch(shop.id, state=State.STOPPED)
    await node.ask(shop)
    await eventually(lambda: len(platform.calls) == 2, "it is asked again")
    assert node.counted("wakes", "running") == 1
    assert platform.calls[0].wake != platform.calls[1].wake


async def test_a_node_without_a_caller(database: str, store: Store, world: World, platform: Platform) -> None:
    """It takes requests in; another node's job calls."""
    shop = await sleeping(world)
    other = await Store.open(database, clock=SystemClock())
    proxy_only = Node(other, platform.url, calls=False)
    await proxy_only.ask(shop)
    assert await state(store, shop) is WakeState.QUEUED
    async with nodes(database, platform.url, 1) as (node,):
        await node.wakes.watch()
        await eventually(lambda: platform.calls, "the other node calls")
    await proxy_only.wakes.close()
    await other.close()


@pytest.mark.realtime
async def test_who_follows_hears_of_each_state(database: str, store: Store, world: World, platform: Platform) -> None:
    """On the feed of all records; asking again for what is under way writes nothing."""
    shop = await sleeping(world)
    heard = list[str]()
    platform.silence()
    async with nodes(database, platform.url, 1) as (node,):
        node.store.after_commit(heard.extend)
        await node.ask(shop)
        assert heard == [wake_key(shop.id)]
        await asyncio.gather(*(node.ask(shop) for _ in range(20)))
        await node.wakes.watch()
        assert heard == [wake_key(shop.id)]
        platform.go_on.set()
        await eventually(lambda: len(heard) == 2, "it is on its way")
        store.after_commit(heard.extend)
        await world.place(shop)
        assert heard.count(wake_key(shop.id)) == 3
        await node.wakes.watch()
        assert heard.count(wake_key(shop.id)) == 3


async def test_a_closed_process_takes_nothing_more(store: Store, world: World, platform: Platform, node: Node) -> None:
    """Who asks it is told that it can't be known."""
    shop = await sleeping(world)
    await node.wakes.close()
    with pytest.raises(StoreUnavailableError):
        await node.ask(shop)


async def test_a_node_that_stops_gives_its_wakes_back(
    database: str, store: Store, world: World, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform has not answered yet: another node asks it in the next round, under the same id, long before the deadline."""
    monkeypatch.setattr(waking, "_CLOSE_TIMEOUT", 0.05)
    shop = await sleeping(world)
    platform.silence()
    async with nodes(database, platform.url, 2, ask_time=20, call_time=20) as (a, b):
        await a.ask(shop)
        await eventually(lambda: platform.calls, "the first node asks")
        await a.wakes.close()
        assert await state(store, shop) is WakeState.QUEUED
        await b.wakes.watch()
        await eventually(lambda: len(platform.calls) == 2, "the other node asks", within=5)
        assert platform.calls[0].wake == platform.calls[1].wake
        platform.go_on.set()
        await b.watched(lambda: _is(store, shop, WakeState.STARTING), "it is on its way")


async def test_who_waits_when_the_process_ends(database: str, store: Store, world: World) -> None:
    """Those of the round under way, and those of the next one: none waits for ever."""
    several = [await sleeping(world, f"s{number}") for number in range(3)]
    other = await Store.open(database, clock=SystemClock())
    node = Node(other, f"http://127.0.0.1:{free_port()}/wake")
    async with store.begin() as tx:  # holds up every round
        await tx.wakes.hold()
        asked = [asyncio.create_task(node.ask(several[0]))]
        await asyncio.sleep(0)
        await eventually(lambda: not node.wakes._requests, "a round has begun")
        asked += [asyncio.create_task(node.ask(one)) for one in several[1:]]
        await eventually(lambda: len(node.wakes._requests) == 2, "the others wait for the next one")
        await node.wakes.close()
        done, late = await asyncio.wait(asked, timeout=10)
    assert not late
    assert all(isinstance(one.exception(), StoreUnavailableError) for one in done)
    await other.close()


async def test_a_deployments_own_wake(store: Store, world: World, platform: Platform, node: Node) -> None:
    """The platform may let a deployment be woken, whose state it says itself; the tenant's default is that of machines."""
    tenant = await world.tenant()
    await world.tenants.update(tenant.id, default_wake=Setting.ANY)
    other = await world.sandbox(tenant, "other", kind=Kind.DEPLOYMENT)
    await world.resources.patch(other.id, state=State.STOPPED)
    found = (await store.records.fetch(["slug:other"]))["slug:other"]
    assert isinstance(found, ResourceRecord)
    assert found.wake is Setting.OFF
    await node.ask(other)
    assert await record(store, other) is None
    site = await world.sandbox(tenant, "site", kind=Kind.DEPLOYMENT, wake=Setting.ANY)
    await world.resources.patch(site.id, state=State.STOPPED)
    await node.ask(site)
    await eventually(lambda: platform.calls, "the platform is asked")
    assert platform.calls[0].body["kind"] == "deployment"


ANOTHER_NODE = """
import asyncio, json, sys
from router.base.clock import SystemClock
from router.observe.metrics import Metrics
from router.outbound.wake import WakeCaller
from router.settings import Wake
from router.store import Store
from router.tenancy.waking import Wakes

async def main(database, resource_id, settings):
    clock = SystemClock()
    store = await Store.open(database, clock=clock)
    limits = Wake(**settings)
    wakes = Wakes(store, clock, settings=limits, caller=WakeCaller(limits.url, clock), metrics=Metrics())
    await wakes.ask(resource_id, 3000, "http", "of-the-other")
    print("asked", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
"""


async def test_a_node_is_killed_while_it_asks(
    database: str, store: Store, world: World, platform: Platform, tmp_path: Path
) -> None:
    """kill -9 of a process in the middle of its call: no other node asks before that node's deadline; then one does, under the
    same id, and the resource is woken."""
    shop = await sleeping(world)
    platform.silence()
    settings = {"url": platform.url, "secret": SECRET, **QUICK, "call_time": 1.5}
    command = [sys.executable, "-c", ANOTHER_NODE, database, shop.id, json.dumps(settings)]
    with Process(command, tmp_path / "node.log", folder=Path.cwd()) as process:
        await eventually(lambda: platform.calls, "the other node asks")
        asked = time.monotonic()
        await asyncio.to_thread(until, lambda: "asked" in process.output, "its request was noted")
        process.signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)
    async with nodes(database, platform.url, 2) as (a, b):
        await asyncio.gather(a.ask(shop), b.ask(shop))
        found = await record(store, shop)
        assert found is not None
        assert found.state is WakeState.ASKED
        freed = found.until
        platform.go_on.set()

        async def twice() -> bool:
            await b.wakes.watch()
            return len(platform.calls) == 2

        await a.watched(twice, "another node asks")
        # The other node's call began up to a moment before `asked`; it has `ask_time` and two seconds.
        assert time.monotonic() - asked > 2.0 + 2.0 - 0.5
        assert await store.time() >= freed
        await a.watched(lambda: _is(store, shop, WakeState.STARTING), "it is on its way")
        first, second = platform.calls
        assert (first.body["request_id"], second.body["request_id"]) == ("of-the-other",) * 2
        assert first.wake == second.wake
        assert a.counted("wake_calls", "accepted") + b.counted("wake_calls", "accepted") == 1
