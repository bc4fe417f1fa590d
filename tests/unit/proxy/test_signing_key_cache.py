"""The fleet's signing keys in a worker: when they are there, and when they are not used any more."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.proxy.signing_key_cache import SigningKeyCache
from router.routes.records import SigningKey, SigningKeysRecord, signing_key
from router.settings import Cache
from tests.support.held import HeldRecords
from tests.support.memory_records import MemoryRecords
from tests.support.still_loop import StillLoop, pass_time, still_clock, turns

pytestmark = pytest.mark.asyncio
LOOP = StillLoop

LIMITS = Cache(stale_if_error=300.0, fetch_time=5.0)
KEY = signing_key("cookies")
FIRST = SigningKeysRecord("cookies", (SigningKey("1", "00" * 32, 0.0, 100.0),), 1)
SECOND = SigningKeysRecord("cookies", (SigningKey("2", "11" * 32, 50.0, 200.0), *FIRST.keys), 2)


@pytest_asyncio.fixture
async def clock() -> ManualClock:
    return still_clock()


@pytest.fixture
def source() -> MemoryRecords:
    return MemoryRecords()


@pytest_asyncio.fixture
async def holder(source: MemoryRecords, clock: ManualClock) -> AsyncIterator[SigningKeyCache]:
    holder = SigningKeyCache(source, "cookies", limits=LIMITS, clock=clock)
    yield holder
    await holder.close()


async def test_they_are_read_at_the_start(holder: SigningKeyCache, source: MemoryRecords) -> None:
    """Who needs them at once waits for that."""
    source.put(FIRST)
    assert holder.record is None
    holder.start()
    assert await holder.ready() == FIRST == holder.record


async def test_they_are_asked_for_until_they_are_there(holder: SigningKeyCache, source: MemoryRecords) -> None:
    """Whether nobody has made them yet or the store is away; who waits too long hears that they are not known."""
    holder.start()
    await pass_time(1.0)
    source.down = True
    await pass_time(1.0)
    waiting = asyncio.create_task(holder.ready())
    await pass_time(5.0)
    with pytest.raises(StoreUnavailableError):
        await waiting
    source.down = False
    source.put(FIRST)
    await pass_time(1.0)
    assert holder.record == FIRST


async def test_a_change_is_read_and_nothing_is_missing_meanwhile(
    holder: SigningKeyCache, source: MemoryRecords
) -> None:
    """Rotation takes no cookie away; changes of other records are none of ours."""
    source.put(FIRST)
    holder.start()
    await holder.ready()
    source.put(SECOND)
    holder.drop(["slug:shop", "signing:other", "key:" + "a" * 64])
    await turns()
    assert holder.record == FIRST
    holder.drop(["slug:shop", KEY])
    assert holder.record == FIRST
    await turns()
    assert holder.record == SECOND
    await pass_time(600.0)
    assert holder.record == SECOND


async def test_keys_that_changed_are_used_for_a_moment_only(holder: SigningKeyCache, source: MemoryRecords) -> None:
    """One that has leaked may be among them: where the new ones can't be read in time there are none."""
    source.put(FIRST)
    holder.start()
    await holder.ready()
    source.down = True
    holder.drop([KEY])
    await pass_time(0.9)
    assert holder.record == FIRST
    await pass_time(0.2)
    assert holder.record is None
    source.down = False
    await pass_time(1.0)
    assert holder.record == FIRST


async def test_keys_that_may_have_changed_outlive_the_store_for_a_while(
    holder: SigningKeyCache, source: MemoryRecords
) -> None:
    """As routes do. A change that is heard of meanwhile counts."""
    source.put(FIRST)
    holder.start()
    await holder.ready()
    source.down = True
    holder.drop_all()
    await pass_time(299.0)
    assert holder.record == FIRST
    await pass_time(2.0)
    assert holder.record is None
    source.down = False
    await pass_time(1.0)
    source.down = True
    holder.drop_all()
    holder.drop([KEY])
    await pass_time(1.1)
    assert holder.record is None


async def test_what_was_read_while_it_changed_is_read_again(clock: ManualClock) -> None:
    """It may be older than the change."""
    held = HeldRecords()
    held.put(FIRST)
    holder = SigningKeyCache(held, "cookies", limits=LIMITS, clock=clock)
    holder.start()
    old = await held.asked()
    held.put(SECOND)
    holder.drop([KEY])
    old.answer()
    new = await held.asked()
    assert holder.record is None
    new.answer()
    assert await holder.ready() == SECOND
    await holder.close()
