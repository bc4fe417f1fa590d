"""Tokens of CI systems in a worker: what is remembered, for how long, and that nobody asks twice for the same."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.access.ci_tokens import CiOutcome, CiVerdict
from router.access.keys import UNKNOWN
from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.proxy import ci_token_cache
from router.proxy.ci_token_cache import CiTokenCache
from tests.support.access import FAR, MemoryKeys
from tests.support.still_loop import StillLoop, still_clock

pytestmark = pytest.mark.asyncio
LOOP = StillLoop

MARK = b"m" * 32
GOOD = CiVerdict(CiOutcome.ACCEPTED, (("rule", 1),), "ada", FAR)
OLD = CiVerdict(CiOutcome.EXPIRED, (("rule", 1),), "ada", 1.0)


class Visitors(MemoryKeys):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def verify_ci_token(self, tenant_id: str, token: str) -> CiVerdict:
        self.looked_up.append(token)
        await self.may_answer.wait()
        self._check()
        return self.ci_tokens.get((tenant_id, token), CiVerdict(CiOutcome.WRONG))


@pytest_asyncio.fixture
async def clock() -> ManualClock:
    return still_clock()


@pytest_asyncio.fixture
async def visitors() -> Visitors:
    made = Visitors()
    made.ci_tokens = {("acme", f"good-{number}"): GOOD for number in range(5)} | {("acme", "old"): OLD}
    return made


@pytest_asyncio.fixture
async def cache(visitors: Visitors, clock: ManualClock) -> AsyncIterator[CiTokenCache]:
    made = CiTokenCache(visitors, clock, most=2)
    yield made
    await made.close()
    assert not made._asked
    assert not made._asked_of


@pytest.mark.parametrize(("token", "lasts"), [("good-1", 60), ("old", 10), ("wrong", 10)])
async def test_what_a_token_is_worth_is_remembered(
    cache: CiTokenCache, visitors: Visitors, clock: ManualClock, token: str, lasts: float
) -> None:
    """For a minute where it opens something, else for some seconds; then it is asked for again."""
    assert cache.peek(MARK, token) is UNKNOWN
    verdict = await cache.resolve("acme", MARK, token)
    clock.advance(lasts - 0.1)
    assert cache.peek(MARK, token) == verdict == await cache.resolve("acme", MARK, token)
    assert visitors.looked_up == [token]
    clock.advance(0.1)
    assert cache.peek(MARK, token) is UNKNOWN
    await cache.resolve("acme", MARK, token)
    assert visitors.looked_up == [token] * 2


async def test_other_rules_are_asked_for_anew(cache: CiTokenCache, visitors: Visitors) -> None:
    """What a token was worth by rules that are others now says nothing."""
    await cache.resolve("acme", MARK, "good-1")
    assert cache.peek(b"n" * 32, "good-1") is UNKNOWN
    assert await cache.resolve("rival", b"n" * 32, "good-1") == CiVerdict(CiOutcome.WRONG)
    assert cache.peek(MARK, "good-1") == GOOD


async def test_made_up_tokens_push_out_no_real_one(cache: CiTokenCache) -> None:
    """Each kind has its own room, and forgets the one that was asked for longest ago."""
    for name in ("good-1", "good-2"):
        await cache.resolve("acme", MARK, name)
    for number in range(10):
        await cache.resolve("acme", MARK, f"made-up-{number}")
    assert cache.peek(MARK, "good-1") == GOOD
    await cache.resolve("acme", MARK, "good-3")
    assert cache.peek(MARK, "good-2") is UNKNOWN
    assert len(cache) == 4


async def test_that_nobody_knows_is_not_remembered(cache: CiTokenCache, visitors: Visitors) -> None:
    """Neither that the CI system can't be asked, nor that the store can't."""
    visitors.ci_tokens["acme", "later"] = CiVerdict(CiOutcome.UNAVAILABLE)
    assert (await cache.resolve("acme", MARK, "later")).outcome is CiOutcome.UNAVAILABLE
    visitors.down = True
    with pytest.raises(StoreUnavailableError):
        await cache.resolve("acme", MARK, "later")
    visitors.down = False
    visitors.ci_tokens["acme", "later"] = GOOD
    assert await cache.resolve("acme", MARK, "later") == GOOD


async def test_a_crowd_asks_once(cache: CiTokenCache, visitors: Visitors) -> None:
    """Also where the first of them goes away meanwhile."""
    visitors.may_answer.clear()
    asking = [asyncio.ensure_future(cache.resolve("acme", MARK, "good-1")) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    visitors.may_answer.set()
    assert await asyncio.gather(*asking[1:]) == [GOOD] * 4
    assert visitors.looked_up == ["good-1"]


async def test_few_are_asked_for_at_once(
    cache: CiTokenCache, visitors: Visitors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those beyond are told that nobody knows now."""
    monkeypatch.setattr(ci_token_cache, "_MAX_ASKED", 2)
    visitors.may_answer.clear()
    asking = [asyncio.ensure_future(cache.resolve("acme", MARK, f"good-{number}")) for number in range(3)]
    with pytest.raises(StoreUnavailableError):
        await asking[2]
    visitors.may_answer.set()
    assert await asyncio.gather(*asking[:2]) == [GOOD] * 2


async def test_a_flood_at_one_tenants_previews_keeps_no_others_waiting(cache: CiTokenCache, visitors: Visitors) -> None:
    """Of each tenant only so many are asked for at once, and a place is free again after each answer."""
    visitors.may_answer.clear()
    flood = [asyncio.ensure_future(cache.resolve("rival", MARK, f"made-up-{number}")) for number in range(100)]
    await asyncio.sleep(0)
    asking = asyncio.ensure_future(cache.resolve("acme", MARK, "good-1"))
    await asyncio.sleep(0)
    visitors.may_answer.set()
    assert await asking == GOOD
    results = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(one, StoreUnavailableError) for one in results) == 84
    assert await cache.resolve("rival", MARK, "made-up-99") == CiVerdict(CiOutcome.WRONG)
