"""Look-ups that share a round trip: who travels with whom, and that nobody's trouble is another's."""

import asyncio
from collections.abc import Sequence

import pytest

from router.base.tasks import Tasks
from router.errors import StoreUnavailableError
from router.routes.batches import Batches, Found
from tests.support.held import HeldRecords
from tests.support.records import resource
from tests.support.still_loop import StillLoop, pass_time, still_clock, turns

pytestmark = pytest.mark.asyncio
LOOP = StillLoop


class Source(HeldRecords):
    """Stumbles over some keys, and knows nothing of some others for now."""

    def __init__(self, *, poison: str | None = None, unanswered: str | None = None) -> None:
        super().__init__()
        self._poison = poison
        self._unanswered = unanswered
        self.put(resource("shop"), resource("blog"))

    async def fetch(self, keys: Sequence[str]) -> Found:
        found = await super().fetch(keys)
        if self._poison in keys:
            raise ZeroDivisionError
        found.unanswered = frozenset(key for key in keys if key == self._unanswered)
        return found


def batches(source: Source, concurrency: int = 1, timeout: float = 5.0) -> Batches:
    return Batches(source, concurrency=concurrency, timeout=timeout, tasks=Tasks("test"), clock=still_clock())


def go(made: Batches, *keys: str) -> "asyncio.Task[Found]":
    return asyncio.create_task(made.fetch(keys))


async def test_what_is_asked_in_one_turn_travels_together() -> None:
    """Each gets what it asked for, and no more."""
    source = Source()
    made = batches(source)
    first, second = go(made, "slug:shop", "zone:x.org"), go(made, "slug:blog", "zone:x.org")
    trip = await source.asked()
    assert trip.keys == ("slug:shop", "zone:x.org", "slug:blog")
    trip.answer()
    assert set(await first) == {"slug:shop", "zone:x.org"}
    assert set(await second) == {"slug:blog", "zone:x.org"}
    assert ((await first).source, (await first).sources) == ("memory", {"slug:shop": "memory", "zone:x.org": "memory"})


async def test_nobody_joins_a_trip_that_has_left() -> None:
    """An answer never comes from a read that began before it was asked for."""
    source = Source()
    made = batches(source)
    early = go(made, "slug:shop")
    trip = await source.asked()
    late = go(made, "slug:shop")
    source.remove("slug:shop")
    trip.answer()
    (await source.asked()).answer()
    assert (await early)["slug:shop"] is not None
    assert (await late)["slug:shop"] is None


async def test_whoever_gives_up_on_the_way_takes_nothing_from_the_others() -> None:
    """The trip goes on, and those who still wait get what they asked for."""
    source = Source()
    made = batches(source)
    first, second = go(made, "slug:shop"), go(made, "slug:blog")
    trip = await source.asked()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    trip.answer()
    assert set(await second) == {"slug:blog"}


async def test_whoever_gave_up_does_not_travel() -> None:
    """A look-up that nobody waits for is left out of the next trip."""
    source = Source()
    made = batches(source)
    first = go(made, "slug:shop")
    trip = await source.asked()
    gone, waiting = go(made, "slug:gone"), go(made, "slug:blog")
    await asyncio.sleep(0)
    gone.cancel()
    trip.answer()
    trip = await source.asked()
    assert trip.keys == ("slug:blog",)
    trip.answer()
    await asyncio.gather(first, waiting)


async def test_a_long_queue_is_cut_into_trips() -> None:
    """A trip has a dozen keys, so that answering it holds up nobody for long."""
    source = Source()
    made = batches(source, concurrency=4)
    waiting = [go(made, f"slug:x{number}", f"name:x{number}.org") for number in range(50)]
    sizes = []
    for _ in range(9):
        trip = await source.asked()
        sizes.append(len(trip.keys))
        trip.answer()
    await asyncio.gather(*waiting)
    assert sizes == [12] * 8 + [4]


async def test_one_trip_at_a_time_where_they_are_quick() -> None:
    """Look-ups that come while a trip is under way wait for it, so that the next one is shared by many."""
    source = Source()
    made = batches(source, concurrency=4)
    first = go(made, "slug:shop")
    trip = await source.asked()
    rest = [go(made, f"slug:x{number}") for number in range(8)]
    await turns()  # in any of which they could be sent
    trip.answer()
    trip = await source.asked()
    assert len(trip.keys) == 8
    trip.answer()
    await asyncio.gather(first, *rest)
    assert source.most_under_way == 1


async def test_a_trip_that_hangs_holds_up_others_for_a_moment_only() -> None:
    """Where the source is slow there are as many trips at once as there may be, and not one more."""
    source = Source()
    made = batches(source, concurrency=4)
    waiting, trips = [], []
    for number in range(4):
        waiting.append(go(made, f"slug:x{number}"))
        await pass_time(0.02)
        trips.append(await source.asked())
    waiting.append(go(made, "slug:x4"))
    await pass_time(1.0)
    assert source.fetches == 4
    trips[0].answer()
    trips.append(await source.asked())
    assert [trip.keys for trip in trips] == [(f"slug:x{number}",) for number in range(5)]
    for trip in trips[1:]:
        trip.answer()
    await asyncio.gather(*waiting)
    assert source.most_under_way == 4


async def test_a_queue_that_moves_is_no_outage() -> None:
    """Whoever waits longer than a trip may take, but behind trips that arrive, is answered."""
    source = Source()
    made = batches(source, timeout=3.0)
    waiting = [go(made, *(f"slug:x{number}-{key}" for key in range(32))) for number in range(6)]
    for _ in range(6):
        trip = await source.asked()
        await pass_time(1.0)
        trip.answer()
    assert len(await asyncio.gather(*waiting)) == 6


async def test_a_queue_that_stands_gives_up() -> None:
    """When nothing arrives, those who wait for a slot fail in the time of one trip, not one after the other."""
    source = Source()
    made = batches(source, timeout=2.0)
    waiting = [go(made, *(f"slug:x{number}-{key}" for key in range(32))) for number in range(6)]
    await source.asked()
    for _ in range(5):
        await pass_time(0.5)
    for one in waiting:
        with pytest.raises(StoreUnavailableError):
            await one
    assert source.fetches <= 3


async def test_no_queue_is_waited_in_for_ever() -> None:
    """Where trips arrive, but too slowly for all who wait, the last ones are told so."""
    source = Source()
    made = batches(source, timeout=3.0)
    waiting = [go(made, *(f"slug:x{number}-{key}" for key in range(32))) for number in range(40)]
    answered = 0
    while not waiting[-1].done():
        trip = await source.asked()
        await pass_time(1.0)
        trip.answer()
        await turns()
        answered += 1
    with pytest.raises(StoreUnavailableError):
        await waiting[-1]
    assert answered == 15  # five times what a trip may take, at one trip a second
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_key_that_fails_the_source_fails_alone() -> None:
    """The others of the trip are read again, each by itself."""
    source = Source(poison="slug:poison")
    made = batches(source)
    good, bad = go(made, "slug:shop"), go(made, "slug:poison")
    for _ in range(3):
        (await source.asked()).answer()
    assert (await good)["slug:shop"] is not None
    with pytest.raises(ZeroDivisionError):
        await bad


async def test_a_source_that_is_away_is_not_asked_again() -> None:
    """An outage is everybody's, at once."""
    source = Source()
    made = batches(source)
    waiting = [go(made, "slug:shop"), go(made, "slug:blog")]
    (await source.asked()).fail()
    for one in waiting:
        with pytest.raises(StoreUnavailableError):
            await one
    assert source.fetches == 1


async def test_what_is_unanswered_fails_only_who_asked_for_it() -> None:
    """While the store is away, a host whose records are all in Redis is served."""
    source = Source(unanswered="slug:blog")
    made = batches(source)
    served, failed = go(made, "slug:shop"), go(made, "slug:blog", "zone:x.org")
    (await source.asked()).answer()
    assert (await served)["slug:shop"] is not None
    with pytest.raises(StoreUnavailableError, match="not all that is needed"):
        await failed


async def test_a_trip_that_hangs_ends_in_time() -> None:
    """Its look-ups fail, and the next trip may leave."""
    source = Source()
    made = batches(source, timeout=2.0)
    hanging = go(made, "slug:shop")
    await source.asked()
    await pass_time(2.1)
    with pytest.raises(StoreUnavailableError, match=r"no answer within 2\.0 s"):
        await hanging
    again = go(made, "slug:shop")
    (await source.asked()).answer()
    assert (await again)["slug:shop"] is not None


@pytest.mark.parametrize(
    ("sources", "farthest"),
    [({}, "none"), ({"a": "redis"}, "redis"), ({"a": "redis", "b": "sql"}, "sql"), ({"a": "memory"}, "memory")],
)
async def test_the_farthest_source_counts(sources: dict[str, str], farthest: str) -> None:
    """A route is as costly as the dearest of its records."""
    assert Found({}, sources=sources).source == farthest
