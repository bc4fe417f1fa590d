"""The fleet's signing keys: made once, replaced in time, and never so that a valid cookie is refused or a void one believed."""

import asyncio

import pytest

from router.base.clock import ManualClock
from router.routes.records import SigningKey, SigningKeysRecord, signing_key
from router.store import Store
from router.tenancy.signing_keys import AHEAD, DAY, OVERLAP, PERIOD, SigningKeys

pytestmark = pytest.mark.asyncio

NAME = signing_key("cookies")


async def _keys(store: Store) -> tuple[SigningKey, ...]:
    """As their record has them."""
    record = (await store.records.fetch([NAME]))[NAME]
    assert record is None or isinstance(record, SigningKeysRecord)
    return () if record is None else record.keys


async def test_the_first_key_is_made_once(database: str, store: Store, clock: ManualClock) -> None:
    """However many nodes start together; from then on nothing changes."""
    stores = [await Store.open(database, clock=clock) for _ in range(3)]
    assert await _keys(store) == ()
    await asyncio.gather(*(SigningKeys(one, clock).make() for one in stores for _ in range(3)))
    (key,) = await _keys(store)
    assert len(bytes.fromhex(key.secret)) == 32
    assert key.since == clock.now().timestamp()
    assert key.until >= key.since + PERIOD + OVERLAP
    await SigningKeys(store, clock).make()
    await SigningKeys(store, clock).rotate()
    assert await _keys(store) == (key,)
    for one in stores:
        await one.close()


async def test_every_change_is_told_to_the_caches(store: Store, clock: ManualClock) -> None:
    """And only changes are: a job that finds nothing to do costs no cache a look-up."""
    heard = list[str]()
    store.after_commit(heard.extend)
    keys = SigningKeys(store, clock)
    await keys.make()
    assert heard == [NAME]
    await keys.make()
    await keys.rotate()
    assert heard == [NAME]
    clock.advance(PERIOD)
    await keys.rotate()
    assert heard == [NAME] * 2
    await keys.replace()
    assert heard == [NAME] * 3


async def test_a_cookie_is_believed_for_its_whole_life(store: Store, clock: ManualClock) -> None:
    """Over a year of days: the newest key that signs is there every day, and what it signs is believed for 30 days more, also
    where the job was not run for as long as it may be late. There are never more than three keys."""
    keys = SigningKeys(store, clock)
    await keys.make()
    believed: dict[str, float] = {}  # by key: until when the last cookie that it has signed lives
    for day in range(365):
        clock.advance(DAY)
        now = clock.now().timestamp()
        if not 100 <= day < 125:
            await keys.rotate()
        known = {key.id: key for key in await _keys(store)}
        assert len(known) <= 3
        signs = next(key for key in known.values() if key.since <= now < key.until)
        believed[signs.id] = now + 30 * DAY
        for key_id, until in believed.items():
            assert until <= now or known[key_id].until >= until
    assert len(believed) == 12


async def test_a_new_key_is_known_before_it_signs(store: Store, clock: ManualClock) -> None:
    """Or a node that has not heard of it yet would refuse what another has just signed."""
    keys = SigningKeys(store, clock)
    await keys.make()
    clock.advance(PERIOD)
    await asyncio.gather(keys.rotate(), keys.rotate())
    new, old = await _keys(store)
    assert new.since == clock.now().timestamp() + AHEAD
    assert old.until == new.since + OVERLAP


async def test_a_key_of_a_wrong_date_holds_nothing_up(store: Store, clock: ManualClock) -> None:
    """One that was made while a clock was a year ahead does not sign for a year; the others are rotated as ever."""
    ahead = ManualClock()
    ahead.advance(365 * DAY)
    await SigningKeys(store, clock).make()
    await SigningKeys(store, ahead).rotate()
    clock.advance(PERIOD)
    await SigningKeys(store, clock).rotate()
    now = clock.now().timestamp() + AHEAD
    assert next(key.since for key in await _keys(store) if key.since <= now) == now


async def test_a_leaked_key_is_void_at_once(store: Store, clock: ManualClock) -> None:
    """`replace` leaves none of those before, and the new one signs from that moment."""
    keys = SigningKeys(store, clock)
    await keys.make()
    clock.advance(PERIOD)
    await keys.rotate()
    before = await _keys(store)
    new = await keys.replace()
    assert await _keys(store) == (new,)
    assert new.since == clock.now().timestamp()
    assert {key.secret for key in before}.isdisjoint({new.secret})
