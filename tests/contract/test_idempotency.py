"""What every IdempotencyStore does: the in-memory one and SQL."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.base.idempotency import (
    KEPT,
    LEASE,
    Claimed,
    Different,
    IdempotencyStore,
    MemoryIdempotency,
    Replay,
    Running,
)
from router.settings import Database
from router.store.engine import parsed, writing_engine
from router.store.idempotency import SqlIdempotency
from tests.support.database import Databases

pytestmark = pytest.mark.asyncio

OWNER, KEY = "key:1", "5f6c"


@pytest_asyncio.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[IdempotencyStore]:
    if request.param == "memory":
        yield MemoryIdempotency()
        return
    async with databases.new(request.param) as database:
        engine = writing_engine(parsed(database, create=False), Database())
        yield SqlIdempotency(engine)
        await engine.dispose()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def claimed(store: IdempotencyStore, clock: ManualClock, fingerprint: str = "f") -> Claimed:
    claim = await store.claim(OWNER, KEY, fingerprint, clock.now())
    assert isinstance(claim, Claimed)
    return claim


async def test_life_of_a_key(store: IdempotencyStore, clock: ManualClock) -> None:
    """Claimed, then running, then replayed with status and body, byte by byte."""
    claim = await claimed(store, clock)
    assert await store.claim(OWNER, KEY, "f", clock.now()) == Running()
    await store.finish(claim, 201, b'{"a": "\xc3\xa9"}\x00', clock.now())
    assert await store.claim(OWNER, KEY, "f", clock.now()) == Replay(201, b'{"a": "\xc3\xa9"}\x00')


async def test_another_request_is_different(store: IdempotencyStore, clock: ManualClock) -> None:
    """A fingerprint of another request is told so, while the first runs and afterwards."""
    claim = await claimed(store, clock)
    assert await store.claim(OWNER, KEY, "g", clock.now()) == Different()
    await store.finish(claim, 200, b"", clock.now())
    assert await store.claim(OWNER, KEY, "g", clock.now()) == Different()


async def test_owners_do_not_meet(store: IdempotencyStore, clock: ManualClock) -> None:
    """The same key of another owner is another key."""
    await claimed(store, clock)
    assert isinstance(await store.claim("key:2", KEY, "g", clock.now()), Claimed)


async def test_of_many_at_once_one_gets_it(store: IdempotencyStore, clock: ManualClock) -> None:
    """Ten claims at the same time: one is claimed, nine are running."""
    claims = await asyncio.gather(*(store.claim(OWNER, KEY, "f", clock.now()) for _ in range(10)))
    assert sum(isinstance(claim, Claimed) for claim in claims) == 1
    assert sum(isinstance(claim, Running) for claim in claims) == 9


async def test_released_key_is_free(store: IdempotencyStore, clock: ManualClock) -> None:
    """After a failure of ours the key may be used again, for any request."""
    await store.release(await claimed(store, clock))
    await claimed(store, clock, "g")


async def test_answers_are_kept_for_a_day_from_the_answer(store: IdempotencyStore, clock: ManualClock) -> None:
    """An answer is replayed until 24 hours after it was given; then the key is free."""
    claim = await claimed(store, clock)
    clock.advance(60)
    await store.finish(claim, 200, b"", clock.now())
    clock.advance(KEPT.total_seconds() - 1)
    assert isinstance(await store.claim(OWNER, KEY, "f", clock.now()), Replay)
    clock.advance(1)
    await claimed(store, clock, "g")


async def test_crash_frees_the_key(store: IdempotencyStore, clock: ManualClock) -> None:
    """Who neither finishes nor releases loses the key with the lease, and can't write over the next one."""
    dead = await claimed(store, clock)
    clock.advance(LEASE.total_seconds() - 1)
    assert await store.claim(OWNER, KEY, "f", clock.now()) == Running()
    clock.advance(1)
    alive = await claimed(store, clock)
    await store.finish(dead, 500, b"late", clock.now())
    await store.release(dead)
    assert await store.claim(OWNER, KEY, "f", clock.now()) == Running()
    await store.finish(alive, 200, b"right", clock.now())
    assert await store.claim(OWNER, KEY, "f", clock.now()) == Replay(200, b"right")
