"""The fleet's signing keys: made once, replaced in time, and never so that a valid cookie is refused or a void one believed."""

import asyncio

import pytest

from router.access.cookies import MAX_AGE, TOLERANCE
from router.access.identity import LIFE
from router.base.clock import ManualClock
from router.routes.records import SigningKey, SigningKeysRecord, signing_key
from router.store import Store
from router.tenancy.signing_keys import DAY, PERIOD, PURPOSES, Purpose, SigningKeys

pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("purpose", PURPOSES, ids=lambda purpose: purpose.name)]


async def _keys(store: Store, purpose: Purpose) -> tuple[SigningKey, ...]:
    """As their record has them."""
    name = signing_key(purpose.name)
    record = (await store.records.fetch([name]))[name]
    assert record is None or isinstance(record, SigningKeysRecord)
    return () if record is None else record.keys


async def test_the_first_key_is_made_once(database: str, store: Store, clock: ManualClock, purpose: Purpose) -> None:
    """However many nodes start together; from then on nothing changes."""
    stores = [await Store.open(database, clock=clock) for _ in range(3)]
    assert await _keys(store, purpose) == ()
    await asyncio.gather(*(SigningKeys(one, clock).make() for one in stores for _ in range(3)))
    (key,) = await _keys(store, purpose)
    assert len(bytes.fromhex(key.secret)) == 32
    assert key.since == clock.now().timestamp()
    assert key.until >= key.since + PERIOD + purpose.overlap
    await SigningKeys(store, clock).make()
    await SigningKeys(store, clock).rotate()
    assert await _keys(store, purpose) == (key,)
    for one in stores:
        await one.close()


async def test_every_change_is_told_to_the_caches(store: Store, clock: ManualClock, purpose: Purpose) -> None:
    """And only changes are: a job that finds nothing to do costs no cache a look-up."""
    heard = list[str]()
    store.after_commit(heard.extend)
    keys = SigningKeys(store, clock)
    everything = [signing_key(one.name) for one in PURPOSES]
    await keys.make()
    assert heard == everything
    await keys.make()
    await keys.rotate()
    assert heard == everything
    clock.advance(PERIOD)
    await keys.rotate()
    assert heard == everything * 2
    await keys.replace(purpose)
    assert heard == [*everything * 2, signing_key(purpose.name)]


async def test_what_is_signed_is_believed_for_its_whole_life(
    store: Store, clock: ManualClock, purpose: Purpose
) -> None:
    """Over a year of days: the newest key that signs is there every day, and what it signs is believed for as long as it is
    valid, also where the job was not run for as long as it may be late. There are never more than three keys."""
    keys = SigningKeys(store, clock)
    await keys.make()
    life = {"cookies": MAX_AGE, "identity": LIFE}[purpose.name]
    assert purpose.overlap >= life + TOLERANCE
    believed: dict[str, float] = {}  # by key: until when the last that it has signed is valid
    for day in range(365):
        clock.advance(DAY)
        now = clock.now().timestamp()
        if not 100 <= day < 125:
            await keys.rotate()
        known = {key.id: key for key in await _keys(store, purpose)}
        assert len(known) <= 3
        signs = next(key for key in known.values() if key.since <= now < key.until)
        believed[signs.id] = now + life
        for key_id, until in believed.items():
            assert until <= now or known[key_id].until >= until
    assert len(believed) in (11, 12)


async def test_a_new_key_is_known_before_it_signs(store: Store, clock: ManualClock, purpose: Purpose) -> None:
    """Or a node that has not heard of it yet would refuse what another has just signed."""
    keys = SigningKeys(store, clock)
    await keys.make()
    clock.advance(PERIOD)
    await asyncio.gather(keys.rotate(), keys.rotate())
    new, old = await _keys(store, purpose)
    assert new.since == clock.now().timestamp() + purpose.ahead
    assert old.until == new.since + purpose.overlap


async def test_a_key_of_a_wrong_date_holds_nothing_up(store: Store, clock: ManualClock, purpose: Purpose) -> None:
    """One that was made while a clock was a year ahead does not sign for a year; the others are rotated as ever."""
    ahead = ManualClock()
    ahead.advance(365 * DAY)
    await SigningKeys(store, clock).make()
    await SigningKeys(store, ahead).rotate()
    clock.advance(PERIOD)
    await SigningKeys(store, clock).rotate()
    now = clock.now().timestamp() + purpose.ahead
    assert next(key.since for key in await _keys(store, purpose) if key.since <= now) == now


async def test_a_leaked_key_is_void_at_once(store: Store, clock: ManualClock, purpose: Purpose) -> None:
    """`replace` leaves none of those before, and the new one signs from that moment."""
    keys = SigningKeys(store, clock)
    await keys.make()
    clock.advance(PERIOD)
    await keys.rotate()
    before = await _keys(store, purpose)
    new = await keys.replace(purpose)
    assert await _keys(store, purpose) == (new,)
    assert new.since == clock.now().timestamp()
    assert {key.secret for key in before}.isdisjoint({new.secret})
