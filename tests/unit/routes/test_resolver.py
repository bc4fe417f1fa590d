"""The resolver: what it remembers, for how long, and what happens when look-ups, changes and failures cross."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import pytest
import pytest_asyncio
import structlog

from router import errors
from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.hostname import InvalidHostError
from router.routes.chain import Level
from router.routes.changed_keys import Touched, touched
from router.routes.records import State
from router.routes.resolver import Resolver
from router.routes.route import Route
from router.settings import Cache, load
from tests.support.held import HeldRecords
from tests.support.memory_records import MemoryRecords
from tests.support.records import PLATFORM, claim, name, resource, zone
from tests.support.still_loop import StillLoop, pass_time, still_clock

pytestmark = pytest.mark.asyncio
LOOP = StillLoop

LIMITS = Cache(hosts=4, unknown_hosts=3, ttl=60.0, unknown_ttl=5.0, stale_if_error=300.0, fetches=2, fetch_time=5.0)
SHOP = resource("shop")

Build = Callable[..., Resolver]


@pytest_asyncio.fixture
async def clock() -> ManualClock:
    """The loop's: its timers are due when a test moves it."""
    return still_clock()


@pytest.fixture
def source() -> MemoryRecords:
    records = MemoryRecords()
    records.put(SHOP, resource("blog"), name("shop.org", SHOP), zone("example.com", claim("tenant", "acme")))
    return records


@pytest.fixture
def held() -> HeldRecords:
    records = HeldRecords()
    records.put(SHOP, resource("blog"), name("shop.org", SHOP), zone("example.com", claim("tenant", "acme")))
    return records


@pytest_asyncio.fixture
async def build(clock: ManualClock) -> AsyncIterator[Build]:
    """Makes resolvers, and afterwards checks that each forgot its look-ups and closes it."""
    made: list[Resolver] = []

    def make(source: MemoryRecords, reserved_ports: frozenset[int] = frozenset(), **changes: float) -> Resolver:
        limits = LIMITS.model_copy(update=changes)
        resolver = Resolver(source, platform_domain=PLATFORM, reserved_ports=reserved_ports, limits=limits, clock=clock)
        made.append(resolver)
        return resolver

    yield make
    for resolver in made:
        await resolver.close()
        assert_consistent(resolver)


def assert_consistent(resolver: Resolver) -> None:
    """The indexes say exactly what the tables say: nothing leaks, and a drop finds everything."""
    hosts_of: dict[str, set[bytes]] = {}
    for host, route in (resolver._known | resolver._unknown).items():
        for key in route.keys:
            hosts_of.setdefault(key, set()).add(host)
    assert {key: set(resolver._hosts_of.of(key)) for key in resolver._hosts_of} == hosts_of
    assert not resolver._known.keys() & resolver._unknown.keys()
    assert not resolver._flights
    assert not resolver._flights_of
    assert len(resolver._tasks) == 0


async def settled(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def looked_up(resolver: Resolver, host: bytes, held: HeldRecords) -> Route:
    """The host's route, for which the source is asked once and answers."""
    task = asyncio.create_task(resolver.resolve(host))
    (await held.asked()).answer()
    return await task


def problem(route: Route | None) -> str | None:
    assert route is not None
    return route.problem.code if route.problem else None


async def test_a_route_is_looked_up_once_and_remembered(source: MemoryRecords, build: Build) -> None:
    """The first request fetches; the rest are a look in a table."""
    resolver = build(source)
    assert resolver.peek(b"shop.miosa.app") is None
    route = await resolver.resolve(b"shop.miosa.app")
    assert (route.host, route.resource, route.port, route.problem) == ("shop.miosa.app", SHOP, 3000, None)
    assert (route.source, route.decision.level) == ("memory", Level.PLATFORM)
    assert resolver.peek(b"shop.miosa.app") is route
    assert await resolver.resolve(b"shop.miosa.app") is route
    assert source.fetches == 1
    assert len(resolver) == 1


@pytest.mark.parametrize("raw", [b"SHOP.miosa.app", b"shop.miosa.app.", b"shop.miosa.app:443", b"Shop.Miosa.App.:80"])
async def test_spellings_of_a_host_share_one_route(source: MemoryRecords, build: Build, raw: bytes) -> None:
    """Case, dot and port make no second look-up and no second entry."""
    resolver = build(source)
    route = await resolver.resolve(b"shop.miosa.app")
    assert resolver.peek(raw) is route
    assert await resolver.resolve(raw) is route
    assert (source.fetches, len(resolver)) == (1, 1)


@pytest.mark.parametrize("raw", [b"", b"a b", b"x..y", b"\xff", b"a" * 5000, b"[::1", b"shop.miosa.app:0"])
async def test_an_invalid_host_is_refused_without_a_look_up(source: MemoryRecords, build: Build, raw: bytes) -> None:
    """400, at once, from `peek` and `resolve` alike; nothing is remembered."""
    resolver = build(source)
    for route in (resolver.peek(raw), await resolver.resolve(raw)):
        assert problem(route) == "invalid_host"
        assert route is not None
        assert route.decision.reason == "invalid_host"
        assert len(route.host) <= 260
    assert (source.fetches, len(resolver)) == (0, 0)


async def test_a_route_is_used_for_its_ttl(source: MemoryRecords, build: Build, clock: ManualClock) -> None:
    """Up to the ttl the table answers, from then on the source does."""
    resolver = build(source)
    first = await resolver.resolve(b"shop.miosa.app")
    clock.advance(49.9)
    assert resolver.peek(b"shop.miosa.app") is first
    clock.advance(10.1)
    assert resolver.peek(b"shop.miosa.app") is None
    assert resolver.peek(b"SHOP.miosa.app") is None
    second = await resolver.resolve(b"shop.miosa.app")
    assert second is not first
    assert (source.fetches, len(resolver)) == (2, 1)


async def test_a_route_in_use_is_renewed_before_its_time_ends(
    held: HeldRecords, build: Build, clock: ManualClock
) -> None:
    """Once, behind a request, and no request waits for that. One that nobody asks for is left alone."""
    resolver = build(held)
    for host in (b"shop.miosa.app", b"blog.miosa.app"):
        await looked_up(resolver, host, held)
    route = resolver.peek(b"shop.miosa.app")
    clock.advance(50)
    assert resolver.peek(b"shop.miosa.app") is route
    renewal = await held.asked()
    clock.advance(9)
    assert resolver.peek(b"shop.miosa.app") is route
    renewal.answer()
    await settled(lambda: not resolver._tasks)
    assert held.fetches == 3
    renewed = resolver.peek(b"shop.miosa.app")
    assert renewed is not route
    clock.advance(49)
    assert resolver.peek(b"shop.miosa.app") is renewed
    assert resolver.peek(b"blog.miosa.app") is None
    assert held.fetches == 3


async def test_renewals_are_one_at_a_time(held: HeldRecords, build: Build, clock: ManualClock) -> None:
    """Traffic on the same loop has the turns between; those whose time ends meanwhile wait for their next request."""
    resolver = build(held)
    for host in (b"shop.miosa.app", b"blog.miosa.app"):
        await looked_up(resolver, host, held)
    clock.advance(50)
    for host in (b"shop.miosa.app", b"blog.miosa.app"):
        assert resolver.peek(host) is not None
    for _ in range(2):
        renewal = await held.asked()
        assert held.under_way == 1
        renewal.answer()
    await settled(lambda: not resolver._tasks)


async def test_a_change_during_a_renewal(held: HeldRecords, build: Build, clock: ManualClock) -> None:
    """What a renewal read before a change is not remembered after it."""
    resolver = build(held)
    await looked_up(resolver, b"shop.miosa.app", held)
    clock.advance(50)
    assert resolver.peek(b"shop.miosa.app") is not None
    renewal = await held.asked()
    resolver.drop(held.put(replace(SHOP, default_port=4000)))
    renewal.answer()
    await settled(lambda: not resolver._tasks)
    assert resolver.peek(b"shop.miosa.app") is None


async def test_a_renewal_that_fails_costs_nothing(source: MemoryRecords, build: Build, clock: ManualClock) -> None:
    """The route is used until its time ends, as if nobody had tried."""
    resolver = build(source)
    route = await resolver.resolve(b"shop.miosa.app")
    source.down = True
    clock.advance(50)
    assert resolver.peek(b"shop.miosa.app") is route
    await settled(lambda: not resolver._tasks)
    clock.advance(9)
    assert resolver.peek(b"shop.miosa.app") is route
    assert (route.source, source.fetches) == ("memory", 2)
    clock.advance(1)
    assert resolver.peek(b"shop.miosa.app") is None


async def test_an_unknown_host_is_remembered_briefly(source: MemoryRecords, build: Build, clock: ManualClock) -> None:
    """A negative answer spares the source too, for the shorter ttl."""
    resolver = build(source)
    route = await resolver.resolve(b"no.miosa.app")
    assert problem(route) == "host_not_found"
    clock.advance(4.9)
    assert resolver.peek(b"no.miosa.app") is route
    assert await resolver.resolve(b"no.miosa.app") is route
    clock.advance(0.1)
    assert resolver.peek(b"no.miosa.app") is None
    await resolver.resolve(b"no.miosa.app")
    assert source.fetches == 2


async def test_known_routes_are_bounded_and_the_oldest_goes_first(source: MemoryRecords, build: Build) -> None:
    """More hosts than the bound push out the oldest, and the indexes forget them too."""
    resolver = build(source)
    hosts = [b"shop.miosa.app", b"shop.sandbox.miosa.app", b"blog.miosa.app", b"shop.org", b"shop.example.com"]
    for host in hosts:
        await resolver.resolve(host)
    assert len(resolver) == 4
    assert resolver.peek(hosts[0]) is None
    assert all(resolver.peek(host) for host in hosts[1:])
    assert_consistent(resolver)


def boxes(count: int) -> MemoryRecords:
    """So many resources, box0 and on."""
    source = MemoryRecords()
    source.put(*(resource(slug=f"box{number}") for number in range(count)))
    return source


async def test_hosts_that_are_asked_for_once_push_out_none_that_is_busy(build: Build) -> None:
    """A crawler that visits every host of the platform evicts what it has visited, and not the busy ones."""
    resolver = build(boxes(50))
    busy = await resolver.resolve(b"box0.miosa.app")
    for number in range(1, 50):
        assert resolver.peek(b"box0.miosa.app") is busy
        await resolver.resolve(b"box%d.miosa.app" % number)
    assert len(resolver) == 4
    assert_consistent(resolver)


async def test_many_busy_hosts_in_a_row_are_passed_over(build: Build) -> None:
    """The oldest two hundred are all busy when the first room is needed: none of them goes."""
    resolver = build(boxes(300), hosts=240)
    busy = [b"box%d.miosa.app" % number for number in range(200)]
    for number in range(300):
        await resolver.resolve(b"box%d.miosa.app" % number)
        assert all(resolver.peek(host) for host in busy[:number])
    assert len(resolver) == 240
    assert_consistent(resolver)


async def test_what_is_dropped_while_room_is_made_is_not_forgotten_twice(build: Build) -> None:
    """A change takes away a route that was about to make room; the next one does."""
    resolver = build(boxes(50), hosts=20)
    for number in range(25):  # the first five are forgotten
        await resolver.resolve(b"box%d.miosa.app" % number)
    assert resolver.drop(["slug:box5"]) == 1
    for number in range(25, 27):  # one into its place, one for the oldest
        await resolver.resolve(b"box%d.miosa.app" % number)
    assert [number for number in range(27) if resolver.peek(b"box%d.miosa.app" % number)] == list(range(7, 27))
    assert_consistent(resolver)


async def test_busy_hosts_are_bounded_too(build: Build) -> None:
    """Where all have been used, the oldest goes."""
    resolver = build(boxes(50), hosts=20)
    for number in range(50):
        host = b"box%d.miosa.app" % number
        await resolver.resolve(host)
        assert resolver.peek(host) is not None
    assert len(resolver) == 20
    assert_consistent(resolver)


@pytest.mark.parametrize("pattern", ["no-%d.miosa.app", "%d-shop.sandbox.miosa.app", "x%d.example.org"])
async def test_a_scan_evicts_no_route(source: MemoryRecords, build: Build, pattern: str) -> None:
    """Unknown hosts, and ports that a resource does not expose, have a table of their own."""
    resolver = build(source)
    route = await resolver.resolve(b"shop.miosa.app")
    for number in range(1, 50):
        assert problem(await resolver.resolve((pattern % number).encode())) == "host_not_found"
    assert resolver.peek(b"shop.miosa.app") is route
    assert len(resolver) == 1 + 3
    assert_consistent(resolver)


@pytest.mark.parametrize(
    "changes", [{"suspended": True}, {"state": State.STOPPED}, {"state": State.DESTROYED}], ids=str
)
async def test_a_host_that_exists_is_known_whatever_it_answers(build: Build, changes: dict[str, object]) -> None:
    """Stopped, deleted and blocked are answers about a known host: they keep the longer ttl."""
    source = MemoryRecords()
    source.put(resource("shop", **changes))
    resolver = build(source)
    route = await resolver.resolve(b"shop.miosa.app")
    assert route.expires == LIMITS.ttl
    assert route.problem is not None


async def test_a_known_host_that_becomes_unknown_changes_tables(
    source: MemoryRecords, build: Build, clock: ManualClock
) -> None:
    """A host is in one table only, whichever way it goes."""
    resolver = build(source)
    await resolver.resolve(b"shop.miosa.app")
    source.remove("slug:shop")
    clock.advance(60)
    assert problem(await resolver.resolve(b"shop.miosa.app")) == "host_not_found"
    assert_consistent(resolver)
    source.put(SHOP)
    clock.advance(5)
    assert problem(await resolver.resolve(b"shop.miosa.app")) is None
    assert_consistent(resolver)
    assert len(resolver) == 1


async def test_look_ups_of_one_host_are_one_flight(held: HeldRecords, build: Build) -> None:
    """A hundred visitors of a new preview make one fetch and get one route."""
    resolver = build(held)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(resolver.resolve(host)) for host in [b"shop.miosa.app", b"SHOP.miosa.app:443"] * 50]
        fetch = await held.asked()
        assert fetch.keys == ("name:shop.miosa.app", "zone:miosa.app", "slug:shop")
        fetch.answer()
    assert held.fetches == 1
    assert len({id(task.result()) for task in tasks}) == 1


async def test_whoever_asked_first_may_go_away(held: HeldRecords, build: Build) -> None:
    """The look-up belongs to all who wait: one that is cancelled takes nothing from the others."""
    resolver = build(held)
    first = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    fetch = await held.asked()
    second = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    await settled(lambda: bool(resolver._flights))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    fetch.answer()
    assert (await second).resource == SHOP
    assert held.fetches == 1


async def test_a_look_up_that_everybody_left_is_remembered_all_the_same(held: HeldRecords, build: Build) -> None:
    """A visitor who gives up has still warmed the table, and a failure then disturbs nobody."""
    resolver = build(held)
    for fails in (True, False):
        visitor = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
        fetch = await held.asked()
        visitor.cancel()
        with pytest.raises(asyncio.CancelledError):
            await visitor
        if fails:
            fetch.fail()
        else:
            fetch.answer()
        await settled(lambda: not resolver._flights)
    assert resolver.peek(b"shop.miosa.app") is not None


async def test_look_ups_at_once_are_bounded(held: HeldRecords, build: Build) -> None:
    """A burst of new hosts does not become a burst of queries: those that have to wait go together."""
    resolver = build(held)
    async with asyncio.TaskGroup() as group:
        under_way = []
        for number in range(LIMITS.fetches):
            group.create_task(resolver.resolve(b"x%d.miosa.app" % number))
            await pass_time(0.02)
            under_way.append(await held.asked())
        waiting = [group.create_task(resolver.resolve(b"y%d.miosa.app" % number)) for number in range(4)]
        await settled(lambda: len(resolver._flights) == LIMITS.fetches + len(waiting))
        for fetch in under_way:
            fetch.answer()
        together = await held.asked()
        assert {f"slug:y{number}" for number in range(4)} <= set(together.keys)
        assert together.keys.count("zone:miosa.app") == 1
        together.answer()
    assert held.fetches == LIMITS.fetches + 1
    assert held.most_under_way == LIMITS.fetches


async def test_a_look_up_without_an_answer_ends_in_time(held: HeldRecords, build: Build) -> None:
    """A source that hangs is one that is down: 503, not a visitor who waits for ever."""
    resolver = build(held, fetch_time=2.0)
    looking = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    await pass_time(2.1)
    route = await looking
    assert problem(route) == "resolver_unavailable"
    assert held.under_way == 0


async def test_waiting_for_a_slot_counts_as_waiting(held: HeldRecords, build: Build) -> None:
    """When every slot hangs, the next look-up fails in the same time."""
    resolver = build(held, fetch_time=2.0)
    hanging = []
    for number in range(LIMITS.fetches):
        hanging.append(asyncio.create_task(resolver.resolve(b"x%d.miosa.app" % number)))
        await pass_time(0.02)
        await held.asked()
    waits = asyncio.create_task(resolver.resolve(b"waits.miosa.app"))
    for _ in range(6):
        await pass_time(0.5)
    routes = await asyncio.gather(waits, *hanging)
    assert {problem(route) for route in routes} == {"resolver_unavailable"}
    assert held.most_under_way == LIMITS.fetches
    assert len(resolver) == 0


@pytest.mark.parametrize(
    ("key", "touched"),
    [
        ("slug:shop", {b"shop.miosa.app", b"shop.example.com", b"3000-shop.sandbox.miosa.app"}),
        ("slug:blog", {b"blog.example.com"}),
        ("zone:example.com", {b"shop.example.com", b"blog.example.com", b"no.example.com"}),
        ("slug:no", {b"no.example.com"}),
        ("name:no.example.com", {b"no.example.com"}),
        ("name:shop.example.com", {b"shop.example.com"}),
        ("slug:nobody", set()),
    ],
)
async def test_a_drop_evicts_exactly_what_was_assembled_from_the_key(
    source: MemoryRecords, build: Build, key: str, touched: set[bytes]
) -> None:
    """Nothing else is forgotten, unknown hosts are found too, and listeners hear of each route."""
    resolver = build(source, hosts=10, unknown_hosts=10)
    hosts = {
        b"shop.miosa.app",
        b"shop.example.com",
        b"3000-shop.sandbox.miosa.app",
        b"blog.example.com",
        b"no.example.com",
    }
    for host in hosts:
        await resolver.resolve(host)
    told: list[str] = []
    resolver.on_drop(lambda route: told.append(route.host))
    assert resolver.drop([key, key]) == len(touched)
    assert {host for host in hosts if resolver.peek(host) is None} == touched
    assert sorted(told) == sorted(host.decode() for host in touched)
    assert_consistent(resolver)


async def test_a_change_is_seen_by_the_next_request(source: MemoryRecords, build: Build) -> None:
    """Put, drop, and the next look sees the new record: known, gone and known again."""
    resolver = build(source)
    assert (await resolver.resolve(b"shop.miosa.app")).port == 3000
    resolver.drop(source.put(replace(SHOP, default_port=4000)))
    assert (await resolver.resolve(b"shop.miosa.app")).port == 4000
    resolver.drop(source.remove("slug:shop"))
    assert problem(await resolver.resolve(b"shop.miosa.app")) == "host_not_found"
    resolver.drop(source.put(SHOP))
    assert problem(await resolver.resolve(b"shop.miosa.app")) is None


async def test_a_drop_during_a_look_up_detaches_it(held: HeldRecords, build: Build) -> None:
    """Those who waited get what was read; whoever asks after the change gets the change; only that is remembered."""
    resolver = build(held)
    before = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    old = await held.asked()
    assert resolver.drop(held.put(replace(SHOP, default_port=4000))) == 0
    after = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    await pass_time(0.02)  # it gathers others beside the round trip
    new = await held.asked()
    new.answer()
    assert (await after).port == 4000
    old.answer()
    assert (await before).port == 3000
    route = resolver.peek(b"shop.miosa.app")
    assert route is not None
    assert route.port == 4000
    assert held.fetches == 2


async def test_a_detached_look_up_that_lands_first_changes_nothing(held: HeldRecords, build: Build) -> None:
    """The old answer is not remembered, and the flight of those who asked later stays theirs."""
    resolver = build(held)
    before = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    old = await held.asked()
    resolver.drop(held.put(replace(SHOP, default_port=4000)))
    after = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    await pass_time(0.02)  # it gathers others beside the round trip
    new = await held.asked()
    old.answer()
    assert (await before).port == 3000
    assert resolver.peek(b"shop.miosa.app") is None
    third = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    await asyncio.sleep(0)
    new.answer()
    assert (await after).port == (await third).port == 4000
    assert held.fetches == 2


async def test_a_drop_of_one_key_leaves_no_trace_of_the_look_up_under_the_others(
    held: HeldRecords, build: Build
) -> None:
    """A detached look-up is forgotten under all of its keys."""
    resolver = build(held)
    task = asyncio.create_task(resolver.resolve(b"shop.example.com"))
    fetch = await held.asked()
    resolver.drop(["zone:example.com"])
    assert not resolver._flights_of
    fetch.answer()
    await task
    assert len(resolver) == 0


async def test_a_drop_leaves_other_look_ups_alone(held: HeldRecords, build: Build) -> None:
    """Two hosts share a zone; a change of one's slug detaches that one only."""
    resolver = build(held)
    shop = asyncio.create_task(resolver.resolve(b"shop.example.com"))
    first = await held.asked()
    blog = asyncio.create_task(resolver.resolve(b"blog.example.com"))
    await pass_time(0.02)  # it gathers others beside the round trip
    second = await held.asked()
    resolver.drop(["slug:shop"])
    first.answer()
    second.answer()
    await shop
    route = await blog
    assert resolver.peek(b"blog.example.com") is route
    assert resolver.peek(b"shop.example.com") is None


async def test_drop_all_trusts_nothing_and_forgets_nothing(source: MemoryRecords, build: Build) -> None:
    """After a gap in the bus everything is looked up again, unless the source is down as well."""
    resolver = build(source)
    route = await resolver.resolve(b"shop.miosa.app")
    await resolver.resolve(b"no.miosa.app")
    told: list[str] = []
    resolver.on_drop(lambda route: told.append(route.host))
    resolver.drop_all()
    assert told == ["shop.miosa.app"]
    assert resolver.peek(b"shop.miosa.app") is None
    assert resolver.peek(b"no.miosa.app") is None
    source.down = True
    assert await resolver.resolve(b"shop.miosa.app") is route
    assert route.source == "stale"


async def test_drop_all_detaches_every_look_up(held: HeldRecords, build: Build) -> None:
    """What was read before the gap is not remembered after it."""
    resolver = build(held)
    task = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    fetch = await held.asked()
    resolver.drop_all()
    fetch.answer()
    assert (await task).port == 3000
    assert len(resolver) == 0


async def test_drop_all_does_not_make_a_failure_worse(held: HeldRecords, build: Build, clock: ManualClock) -> None:
    """A look-up that crosses with `drop_all` and fails still has the last known route to answer with."""
    resolver = build(held)
    route = await looked_up(resolver, b"shop.miosa.app", held)
    clock.advance(60)
    second = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    fetch = await held.asked()
    resolver.drop_all()
    fetch.fail()
    assert await second is route


async def test_a_failure_is_503_and_never_404(source: MemoryRecords, build: Build) -> None:
    """Not knowing is a fault of ours, and is asked again by the next request."""
    resolver = build(source)
    source.down = True
    route = await resolver.resolve(b"shop.miosa.app")
    assert route.problem is errors.RESOLVER_UNAVAILABLE
    assert route.decision.reason == "resolver_unavailable"
    assert len(resolver) == 0
    assert resolver.peek(b"shop.miosa.app") is None
    source.down = False
    assert problem(await resolver.resolve(b"shop.miosa.app")) is None


async def test_an_unknown_host_is_not_unknown_for_longer_because_the_source_is_down(
    source: MemoryRecords, build: Build, clock: ManualClock
) -> None:
    """A stale 404 would be a fault of ours that looks like the visitor's."""
    resolver = build(source)
    assert problem(await resolver.resolve(b"no.miosa.app")) == "host_not_found"
    source.down = True
    assert problem(await resolver.resolve(b"no.miosa.app")) == "host_not_found"
    clock.advance(5)
    assert problem(await resolver.resolve(b"no.miosa.app")) == "resolver_unavailable"


async def test_the_last_known_route_is_used_while_the_source_is_down(
    source: MemoryRecords, build: Build, clock: ManualClock
) -> None:
    """For `stale_if_error` past its ttl, asking again each second; then 503; and a source that is back is believed."""
    resolver = build(source)
    route = await resolver.resolve(b"shop.miosa.app")
    source.down = True
    clock.advance(60)
    assert await resolver.resolve(b"shop.miosa.app") is route
    assert (route.source, source.fetches) == ("stale", 2)
    clock.advance(0.9)
    assert resolver.peek(b"shop.miosa.app") is route
    assert source.fetches == 2
    clock.advance(0.1)
    assert resolver.peek(b"shop.miosa.app") is None
    assert await resolver.resolve(b"shop.miosa.app") is route
    await settled(lambda: source.fetches == 3)
    clock.advance(298.5)  # half a second before 360 s
    assert await resolver.resolve(b"shop.miosa.app") is route
    assert route.expires == 360.0
    clock.advance(0.6)
    assert problem(await resolver.resolve(b"shop.miosa.app")) == "resolver_unavailable"
    source.down = False
    fresh = await resolver.resolve(b"shop.miosa.app")
    assert (fresh.source, problem(fresh)) == ("memory", None)


async def test_nobody_waits_for_a_source_that_fails(held: HeldRecords, build: Build, clock: ManualClock) -> None:
    """Once a look-up has failed, the last known routes answer at once, while others find out whether it still does.

    One of them suffices to believe it again; the source may have failed for a while, and nobody noticed."""
    resolver = build(held)
    for host in (b"shop.miosa.app", b"blog.miosa.app"):
        await looked_up(resolver, host, held)
    clock.advance(60)
    waits = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    (await held.asked()).fail()
    assert (await waits).source == "stale"

    blog = await resolver.resolve(b"blog.miosa.app")
    assert (blog.source, blog.resource) == ("stale", resource("blog"))
    assert resolver.peek(b"blog.miosa.app") is blog
    silent = await held.asked()
    clock.advance(1)
    assert await resolver.resolve(b"blog.miosa.app") is blog  # and no second look-up
    silent.answer()
    await settled(lambda: resolver.peek(b"blog.miosa.app") is not blog)
    assert resolver.peek(b"blog.miosa.app").source == "memory"

    clock.advance(60)
    waits = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    fetch = await held.asked()
    assert not waits.done()
    resolver.drop(held.put(replace(SHOP, default_port=4000)))
    fetch.answer()
    await waits


async def test_a_source_that_never_ends_to_fail_says_so_once(
    source: MemoryRecords, build: Build, clock: ManualClock
) -> None:
    """Thousands of hosts are asked for each second: a line for each would be an outage of its own."""
    resolver = build(source)
    source.down = True
    with structlog.testing.capture_logs() as lines:
        for number in range(10):
            await resolver.resolve(b"shop%d.miosa.app" % number)
        source.down = False
        await resolver.resolve(b"shop.miosa.app")
        clock.advance(10)
        await resolver.resolve(b"blog.miosa.app")
    assert [line["event"] for line in lines] == ["route look-ups failing", "route look-ups work again"]


async def test_a_route_that_was_dropped_is_not_used_again(source: MemoryRecords, build: Build) -> None:
    """A change took it away: it is known to be wrong, which is worse than not knowing."""
    resolver = build(source)
    await resolver.resolve(b"shop.miosa.app")
    resolver.drop(["slug:shop"])
    source.down = True
    assert problem(await resolver.resolve(b"shop.miosa.app")) == "resolver_unavailable"


@pytest.mark.parametrize("keys", [Touched(["slug:shop"], ["slug:shop"]), Touched(["slug:shop"]), ["slug:shop"]])
async def test_a_route_that_moved_is_used_where_the_new_one_cannot_be_had(
    source: MemoryRecords, build: Build, clock: ManualClock, keys: Sequence[str]
) -> None:
    """The last known answer, until the source answers again or `stale_if_error` is over. Where anything else has changed,
    or may have, it may have been taken away: 503."""
    resolver = build(source)
    before = await resolver.resolve(b"shop.miosa.app")
    source.down = True
    assert resolver.drop(keys) == 1
    assert resolver.peek(b"shop.miosa.app") is None
    moved = isinstance(keys, Touched) and bool(keys.moved)
    assert problem(await resolver.resolve(b"shop.miosa.app")) == (None if moved else "resolver_unavailable")
    if moved:
        assert await resolver.resolve(b"shop.miosa.app") is before
        assert resolver.drop(["slug:shop"]) == 1  # what is taken away later is gone
        assert problem(await resolver.resolve(b"shop.miosa.app")) == "resolver_unavailable"
    source.down = False
    clock.advance(1.1)
    now = await resolver.resolve(b"shop.miosa.app")
    assert now.problem is None
    assert now is not before


@pytest.mark.parametrize("change", ["moved", "news may have been missed"])
async def test_the_old_place_is_used_no_longer_than_stale_if_error(
    source: MemoryRecords, build: Build, clock: ManualClock, change: str
) -> None:
    """Counted from the change, not from the end of the route's ttl: so long nobody else may have the address."""
    resolver = build(source)
    await resolver.resolve(b"shop.miosa.app")
    source.down = True
    if change == "moved":
        resolver.drop(Touched(["slug:shop"], ["slug:shop"]))
    else:
        resolver.drop_all()
    clock.advance(LIMITS.stale_if_error - 1.0)
    assert problem(await resolver.resolve(b"shop.miosa.app")) is None
    resolver.drop(Touched(["slug:shop"], ["slug:shop"]))  # again, of which this process hears late
    clock.advance(2.0)
    assert problem(await resolver.resolve(b"shop.miosa.app")) == "resolver_unavailable"


async def test_what_has_only_moved() -> None:
    """A key of which one of several changes is no move has not only moved."""
    keys = touched([("slug:a", True), ("slug:b", True), ("slug:b", False), ("slug:a", True), ("slug:c", False)])
    assert (tuple(keys), keys.moved) == (("slug:a", "slug:b", "slug:c"), {"slug:a"})


async def test_a_detached_look_up_that_fails_answers_with_what_came_meanwhile(held: HeldRecords, build: Build) -> None:
    """The newer route answers, and the failure of an older look-up does not age it."""
    resolver = build(held)
    before = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    old = await held.asked()
    resolver.drop(held.put(replace(SHOP, default_port=4000)))
    after = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    await pass_time(0.02)  # it gathers others beside the round trip
    (await held.asked()).answer()
    route = await after
    old.fail()
    assert await before is route
    assert (route.source, route.expires) == ("memory", 0.02 + LIMITS.ttl)


async def test_a_fault_inside_a_source_is_503_too(held: HeldRecords, build: Build) -> None:
    """A source that breaks its promise is logged and answered for; nobody waits in vain, nobody sees a 404."""
    resolver = build(held)
    task = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    (await held.asked()).fail(KeyError("a bug"))
    assert problem(await task) == "resolver_unavailable"


@pytest.mark.parametrize(
    "host", [b"49152-shop.sandbox.miosa.app", b"49152-no.sandbox.example.com", b"49152-x.sandbox.y"]
)
async def test_reserved_ports_are_refused_before_any_look_up(source: MemoryRecords, build: Build, host: bytes) -> None:
    """The platform's agents can't be probed, whether the slug exists or not."""
    resolver = build(source, frozenset({49152}))
    route = await resolver.resolve(host)
    assert (problem(route), route.decision.reason) == ("host_not_found", "reserved_port")
    assert (source.fetches, len(resolver)) == (0, 0)


async def test_a_reserved_default_port_is_not_served(source: MemoryRecords, build: Build) -> None:
    """A reserved port is refused under the hosts that don't name it, too; other ports work."""
    resolver = build(source, frozenset({3000}))
    for host in (b"shop.miosa.app", b"shop.example.com", b"shop.org"):
        assert (await resolver.resolve(host)).decision.reason == "reserved_port"
    assert problem(await resolver.resolve(b"5173-shop.sandbox.miosa.app")) is None


async def test_explain_looks_past_the_table_and_leaves_it_alone(source: MemoryRecords, build: Build) -> None:
    """What the source says now, beside what is remembered."""
    resolver = build(source)
    route = await resolver.resolve(b"shop.miosa.app")
    source.put(replace(SHOP, default_port=4000))
    assert (await resolver.explain(b"Shop.miosa.app:443")).port == 4000
    assert resolver.peek(b"shop.miosa.app") is route
    assert resolver.remembered("shop.miosa.app") is route
    assert (await resolver.resolve(b"no.miosa.app")) is resolver.remembered("no.miosa.app")
    assert resolver.remembered("blog.miosa.app") is None


async def test_explain_says_what_resolve_would(source: MemoryRecords, build: Build) -> None:
    """A reserved port is explained as one."""
    resolver = build(source, frozenset({5173}))
    assert (await resolver.explain(b"5173-shop.sandbox.miosa.app")).decision.reason == "reserved_port"


async def test_explain_raises_what_is_wrong(source: MemoryRecords, build: Build) -> None:
    """Whoever explains wants to know: an invalid host and a source that is down are errors here."""
    resolver = build(source)
    with pytest.raises(InvalidHostError):
        await resolver.explain(b"a b")
    source.down = True
    with pytest.raises(StoreUnavailableError):
        await resolver.explain(b"shop.miosa.app")


async def test_close_ends_the_look_ups_under_way(held: HeldRecords, build: Build) -> None:
    """Nothing of the resolver outlives it."""
    resolver = build(held)
    task = asyncio.create_task(resolver.resolve(b"shop.miosa.app"))
    await held.asked()
    await resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held.under_way == 0
    with pytest.raises(RuntimeError, match="resolver is closed"):
        await resolver.resolve(b"blog.miosa.app")


async def test_a_route_says_what_it_is(source: MemoryRecords, build: Build) -> None:
    """For logs and failing tests."""
    resolver = build(source)
    assert repr(await resolver.resolve(b"shop.miosa.app")) == "<Route shop.miosa.app → shop:3000 by platform>"
    assert repr(await resolver.resolve(b"no.miosa.app")) == "<Route no.miosa.app → host_not_found by none>"
    source.put(name("old.org", None, redirect_to="new.org"))
    assert repr(await resolver.resolve(b"old.org")) == "<Route old.org → -:None by exact>"


async def test_a_resolver_of_the_settings(clock: ManualClock) -> None:
    """The platform's domain and the ports that no host may name are the settings'."""
    settings = load(environ={"MIOSA_ROUTER_PLATFORM_DOMAIN": "apps.example", "MIOSA_ROUTER_RESERVED_PORTS": "9000"})
    source = MemoryRecords()
    source.put(resource("shop"))
    resolver = Resolver.of(source, settings, clock)
    assert (await resolver.resolve(b"shop.apps.example")).port == 3000
    assert (await resolver.resolve(b"shop.miosa.app")).problem is not None
    assert (await resolver.resolve(b"9000-shop.sandbox.apps.example")).problem is not None
    await resolver.close()


async def test_the_host_where_people_sign_in(source: MemoryRecords, clock: ManualClock) -> None:
    """It is ours, whatever records say, at once, in any spelling, and takes no room."""
    source.put(name("login.miosa.app", SHOP))
    resolver = Resolver(
        source,
        platform_domain=PLATFORM,
        reserved_ports=frozenset(),
        limits=LIMITS,
        clock=clock,
        login_host="login.miosa.app",
    )
    for host in (b"login.miosa.app", b"LOGIN.miosa.app.", b"login.miosa.app:8443"):
        route = resolver.peek(host)
        assert route is not None
        assert (route.decision.reason, route.resource, route.problem, route.special) == ("login", None, None, True)
        assert await resolver.resolve(host) is route
        assert await resolver.explain(host) is route
    assert len(resolver) == 0
    resolver.drop_all()
    assert resolver.peek(b"login.miosa.app") is not None
    assert (await resolver.resolve(b"xlogin.miosa.app")).problem is errors.HOST_NOT_FOUND
    await resolver.close()
