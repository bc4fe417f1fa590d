"""API keys and sessions in a worker: what is remembered, for how long, and what happens when look-ups, changes and failures cross."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TypeVar

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from router.access.keys import UNKNOWN
from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.proxy.record_cache import RecordCache
from router.routes.records import KeyRecord, SessionRecord, api_key_key, session_key
from router.settings import Cache
from tests.support.held import HeldRecords
from tests.support.memory_records import MemoryRecords
from tests.support.still_loop import StillLoop, pass_time, still_clock, turns

pytestmark = pytest.mark.asyncio
LOOP = StillLoop

LIMITS = Cache(ttl=60.0, unknown_ttl=5.0, stale_if_error=300.0, fetches=4, fetch_time=5.0)
ADA, BOB, CY = ("a" * 64, "b" * 64, "c" * 64)
Records = TypeVar("Records", bound=MemoryRecords)
KEY = KeyRecord("key-1", "acme", "tenant", "acme", 1)


@pytest_asyncio.fixture
async def clock() -> ManualClock:
    return still_clock()


@pytest.fixture
def source() -> MemoryRecords:
    return _filled(MemoryRecords())


@pytest.fixture
def held() -> HeldRecords:
    return _filled(HeldRecords())


def _filled(records: Records) -> Records:
    for digest in (ADA, BOB):
        records.put_under(api_key_key(digest), KEY)
    return records


@pytest_asyncio.fixture
async def cache(source: MemoryRecords, clock: ManualClock) -> AsyncIterator[RecordCache[KeyRecord]]:
    cache = RecordCache(
        source, KeyRecord, prefix=api_key_key(""), limits=LIMITS, clock=clock, most_known=2, most_unknown=2
    )
    yield cache
    await cache.close()
    assert not cache._flights


@pytest_asyncio.fixture
async def slow(held: HeldRecords, clock: ManualClock) -> AsyncIterator[RecordCache[KeyRecord]]:
    cache = RecordCache(held, KeyRecord, prefix=api_key_key(""), limits=LIMITS, clock=clock)
    yield cache
    await cache.close()
    assert not cache._flights


async def test_a_key_is_looked_up_once(cache: RecordCache[KeyRecord], source: MemoryRecords) -> None:
    """Then it is at hand until its time has passed."""
    assert cache.peek(ADA) is UNKNOWN
    assert await cache.resolve(ADA) == KEY
    assert cache.peek(ADA) == KEY == await cache.resolve(ADA)
    assert source.fetches == 1
    await pass_time(60.0)
    assert cache.peek(ADA) is UNKNOWN
    assert await cache.resolve(ADA) == KEY
    assert source.fetches == 2


async def test_each_kind_has_its_own(source: MemoryRecords, clock: ManualClock) -> None:
    """What stands under a session's key and is none, such as a newer version's, counts as absent; and so the other way."""
    session = SessionRecord("ses_1", "acme", "ada", None, 1, 1e12)
    source.put_under(session_key("ses_1"), session)
    source.put_under(session_key("ses_2"), KEY)
    cache = RecordCache(source, SessionRecord, prefix=session_key(""), limits=LIMITS, clock=clock)
    assert await cache.resolve("ses_1") == session
    assert await cache.resolve("ses_2") is None
    assert await cache.resolve(ADA) is None
    cache.drop([api_key_key("ses_1")])
    assert cache.peek("ses_1") == session
    cache.drop([session_key("ses_1")])
    assert cache.peek("ses_1") is UNKNOWN
    await cache.close()


async def test_that_there_is_none_is_remembered_briefly(cache: RecordCache[KeyRecord], source: MemoryRecords) -> None:
    """A program that goes on with a wrong key costs a look-up every few seconds, not one a request."""
    assert await cache.resolve(CY) is None
    assert cache.peek(CY) is None
    assert source.fetches == 1
    await pass_time(5.0)
    assert cache.peek(CY) is UNKNOWN


async def test_many_that_wait_for_one_key_share_a_look_up(slow: RecordCache[KeyRecord], held: HeldRecords) -> None:
    """One of them leaving does not take it from the others."""
    waiting = [asyncio.create_task(slow.resolve(ADA)) for _ in range(5)]
    fetch = await held.asked()
    waiting[0].cancel()
    fetch.answer()
    assert await asyncio.gather(*waiting[1:]) == [KEY] * 4
    assert held.fetches == 1


async def test_round_trips_are_few_at_a_time(slow: RecordCache[KeyRecord], held: HeldRecords) -> None:
    """Whoever makes up keys has at most half of the round trips that hosts may have, and none of theirs."""
    waiting = [asyncio.create_task(slow.resolve(f"{number:064x}")) for number in range(500)]
    for _ in range(100):
        await turns()
        await pass_time(0.05)
        while not held._waiting.empty():
            (await held.asked()).answer()
    assert await asyncio.gather(*waiting) == [None] * 500
    assert held.most_under_way == LIMITS.fetches // 2


async def test_made_up_keys_push_out_no_real_one(cache: RecordCache[KeyRecord]) -> None:
    """Both tables are bounded, and of each those stay that were asked for last."""
    await cache.resolve(ADA)
    await cache.resolve(BOB)
    for number in range(50):
        await cache.resolve(f"{number:064x}")
    assert cache.peek(ADA) == cache.peek(BOB) == KEY
    assert len(cache) == 4


async def test_the_key_that_was_not_used_for_longest_is_forgotten(
    cache: RecordCache[KeyRecord], source: MemoryRecords
) -> None:
    """Where more are used than are remembered."""
    source.put_under(api_key_key(CY), KEY)
    await cache.resolve(ADA)
    await cache.resolve(BOB)
    cache.peek(ADA)
    await cache.resolve(CY)
    assert cache.peek(ADA) == cache.peek(CY) == KEY
    assert cache.peek(BOB) is UNKNOWN


async def test_a_change_is_heard_and_seen(cache: RecordCache[KeyRecord], source: MemoryRecords) -> None:
    """A key that was remembered is told of and looked up again; so is one that there was none of. Others stay."""
    heard = list[str]()
    cache.on_drop(heard.append)
    for digest in (ADA, BOB, CY):
        await cache.resolve(digest)
    revoked = replace(KEY, revoked=True, version=2)
    source.put_under(api_key_key(ADA), revoked)
    source.put_under(api_key_key(CY), KEY)
    cache.drop(["slug:shop", api_key_key(ADA), "signing:cookies", api_key_key(CY), api_key_key("d" * 64)])
    assert heard == [ADA]
    assert cache.peek(ADA) is UNKNOWN
    assert await cache.resolve(ADA) == revoked
    assert await cache.resolve(CY) == KEY
    assert cache.peek(BOB) is UNKNOWN  # by now three are known, of two that are remembered


async def test_a_look_up_that_a_change_crosses_is_not_remembered(
    slow: RecordCache[KeyRecord], held: HeldRecords
) -> None:
    """Who waited gets what was read; who comes after the change starts a look-up of their own."""
    for what in (lambda: slow.drop([api_key_key(ADA)]), slow.drop_all):
        held.put_under(api_key_key(ADA), KEY)
        early = asyncio.create_task(slow.resolve(ADA))
        before = await held.asked()
        held.remove(api_key_key(ADA))
        what()
        late = asyncio.create_task(slow.resolve(ADA))
        await turns()
        await pass_time(0.05)
        after = await held.asked()
        after.answer()
        before.answer()
        assert (await early, await late) == (KEY, None)
        assert slow.peek(ADA) is None
        slow.drop([api_key_key(ADA)])


async def test_without_the_store_nothing_is_said_of_an_unknown_key(
    cache: RecordCache[KeyRecord], source: MemoryRecords
) -> None:
    """Not that it is wrong: that is not known."""
    source.down = True
    with pytest.raises(StoreUnavailableError):
        await cache.resolve(ADA)
    assert cache.peek(ADA) is UNKNOWN
    source.down = False
    assert await cache.resolve(ADA) == KEY


async def test_a_fault_of_ours_is_no_refusal(slow: RecordCache[KeyRecord], held: HeldRecords) -> None:
    """A bug in a source is logged, and who waits hears that keys can't be looked up."""
    with capture_logs() as logs:
        waiting = asyncio.create_task(slow.resolve(ADA))
        (await held.asked()).fail(LookupError("a bug"))
        with pytest.raises(StoreUnavailableError, match="fault of ours: LookupError"):
            await waiting
    assert "record look-up failed: bug" in [line["event"] for line in logs]


async def test_a_known_key_goes_on_while_the_store_is_away(
    cache: RecordCache[KeyRecord], source: MemoryRecords
) -> None:
    """For `stale_if_error` past its time, or past the moment when a change may have been missed; then not."""
    heard = list[str]()
    cache.on_drop(heard.append)
    for missed in (False, True):
        source.down = False
        await pass_time(60.0)
        assert await cache.resolve(ADA) == KEY
        source.down = True
        if missed:
            cache.drop_all()
            assert cache.peek(ADA) is UNKNOWN
        else:
            await pass_time(60.0)
        assert await cache.resolve(ADA) == KEY == cache.peek(ADA)
        await pass_time(299.0)
        assert await cache.resolve(ADA) == KEY
        await pass_time(2.0)
        with pytest.raises(StoreUnavailableError):
            await cache.resolve(ADA)
    assert heard == [ADA]


async def test_a_key_that_was_changed_does_not_outlive_the_store(
    cache: RecordCache[KeyRecord], source: MemoryRecords
) -> None:
    """What a change took away is used no more, whatever can be read."""
    await cache.resolve(ADA)
    source.down = True
    cache.drop([api_key_key(ADA)])
    with pytest.raises(StoreUnavailableError):
        await cache.resolve(ADA)


async def test_a_change_that_was_missed_is_told_when_it_is_seen(
    cache: RecordCache[KeyRecord], source: MemoryRecords
) -> None:
    """The store was away, and the key was revoked or removed meanwhile: who came in by it as it was must hear of it. That it
    is still the same is told to nobody."""
    heard = list[str]()
    await cache.resolve(ADA)
    await cache.resolve(BOB)
    cache.on_drop(heard.append)
    source.put_under(api_key_key(ADA), replace(KEY, revoked=True, version=2))
    for _ in range(2):
        await pass_time(60.0)
        await cache.resolve(ADA)
        await cache.resolve(BOB)
    assert heard == [ADA]
    source.remove(api_key_key(ADA))
    await pass_time(60.0)
    assert await cache.resolve(ADA) is None
    assert heard == [ADA, ADA]
