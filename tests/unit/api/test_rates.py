"""Rates: who is counted against which bucket, and what the headers say."""

import pytest

from router.api.rates import MAX_BUCKETS, Allowance, RateLimiter
from router.base.clock import ManualClock
from router.settings import Rates
from tests.support.api import KnownCredentials, serving
from tests.unit.api.shelf import PRINCIPALS, PublicApi, ShelfApi

pytestmark = pytest.mark.asyncio

BOOKS = "/api/v1/books"
RATES = Rates(workspace=3, auth=2, anonymous=2)


async def test_window_counts_down_and_refills() -> None:
    """The allowance is counted down, refused at zero, and whole again when the minute has passed."""
    clock = ManualClock()
    limiter = RateLimiter(clock)
    seen = []
    for _ in range(3):
        allowance = await limiter.take("a", 2)
        seen.append((allowance.allowed, allowance.remaining, allowance.reset))
        clock.advance(10)
    assert seen == [(True, 1, 60), (True, 0, 50), (False, 0, 40)]
    clock.advance(30)
    assert (await limiter.take("a", 2)).allowed


async def test_ended_windows_are_forgotten() -> None:
    """A scan from many addresses does not stay in memory."""
    clock = ManualClock()
    limiter = RateLimiter(clock)
    for number in range(10_000):
        await limiter.take(str(number), 1)
    clock.advance(61)
    await limiter.take("later", 1)
    assert len(limiter) == 1


async def test_windows_have_a_bound() -> None:
    """Buckets that clients can choose (addresses) take no more memory than so many."""
    limiter = RateLimiter(ManualClock())
    assert not (await limiter.take("busy", 1)).remaining
    for number in range(MAX_BUCKETS):
        await limiter.take(f"scan-{number}", 1)
        if number % 1000 == 0:
            assert not (await limiter.take("busy", 1)).allowed
    assert len(limiter) == MAX_BUCKETS


class OtherNodes:
    """api.rates.SharedCounts, at which other nodes count too."""

    def __init__(self) -> None:
        self.used = 0
        self.left = 20.0
        self.away = False
        self.asked = 0

    async def count(self, bucket: str, period: float) -> tuple[int, float] | None:
        self.asked += 1
        self.used += 1
        return None if self.away else (self.used, self.left)


async def test_the_fleet_counts_together() -> None:
    """What other nodes have let through is gone here too; one that is used up is not asked about again until it ends."""
    clock, others = ManualClock(), OtherNodes()
    limiter = RateLimiter(clock, others)
    others.used = 2
    assert await limiter.take("a", 4) == Allowance(True, 4, 1, 20)
    others.used = 4
    assert await limiter.take("a", 4) == Allowance(False, 4, 0, 20)
    clock.advance(5)
    assert await limiter.take("a", 4) == Allowance(False, 4, 0, 15)
    assert others.asked == 2
    clock.advance(15)
    others.used, others.left = 0, 60.0
    assert await limiter.take("a", 4) == Allowance(True, 4, 3, 60)


async def test_a_node_counts_alone_where_the_counts_are_away() -> None:
    """From what it knew last; a limit that is used up stays used up."""
    clock, others = ManualClock(), OtherNodes()
    limiter = RateLimiter(clock, others)
    others.used = 1
    assert (await limiter.take("a", 4)).remaining == 2
    others.away = True
    assert [(await limiter.take("a", 4)).allowed for _ in range(3)] == [True, True, False]
    assert (await limiter.take("b", 4)) == Allowance(True, 4, 3, 60)


async def test_headers_and_refusal() -> None:
    """Every answer carries the rate; the one too many is 429 with Retry-After, and the next minute is open."""
    clock = ManualClock()
    async with serving([ShelfApi()], KnownCredentials(PRINCIPALS), key="tenant", clock=clock, rates=RATES) as api:
        for remaining in ("2", "1", "0"):
            answer = await api("GET", BOOKS)
            assert answer.status == 200
            assert answer.headers["RateLimit-Limit"] == "3"
            assert answer.headers["RateLimit-Remaining"] == remaining
            assert answer.headers["RateLimit-Reset"] == "60"
            assert "Retry-After" not in answer.headers
        clock.advance(15)
        answer = await api("GET", BOOKS)
        assert (answer.status, answer.code) == (429, "rate_limited")
        assert answer.headers["Retry-After"] == "45"
        assert answer.headers["RateLimit-Remaining"] == "0"
        clock.advance(45)
        assert (await api("GET", BOOKS)).status == 200


async def test_buckets() -> None:
    """A workspace's keys and those of its projects share a bucket; its tenant's key and others have their own."""
    async with serving([ShelfApi()], KnownCredentials(PRINCIPALS), rates=RATES) as api:
        for key in ("workspace", "project", "workspace"):
            assert (await api("GET", BOOKS, key=key)).status == 200
        assert (await api("GET", BOOKS, key="project")).status == 429
        assert (await api("GET", BOOKS, key="tenant")).status == 200
        assert (await api("GET", BOOKS, key="other-tenant")).status == 200


async def test_auth_endpoints_have_their_own_rate() -> None:
    """Endpoints that check credentials count against the narrow rate only."""
    async with serving([ShelfApi()], KnownCredentials(PRINCIPALS), key="tenant", rates=RATES) as api:
        assert [(await api("POST", "/api/v1/sessions")).status for _ in range(3)] == [200, 200, 429]
        assert (await api("GET", BOOKS)).status == 200


async def test_anonymous_requests_count_by_address() -> None:
    """Requests without valid credentials share their address's rate; valid ones from there are not touched."""
    async with serving([ShelfApi(), PublicApi()], KnownCredentials(PRINCIPALS), rates=RATES) as api:
        assert (await api("GET", "/api/v1/status", key=None)).status == 200
        assert (await api("GET", BOOKS, key="wrong")).status == 401
        assert (await api("GET", BOOKS, key=None)).status == 429
        assert (await api("GET", "/docs", key=None)).status == 429
        assert (await api("GET", BOOKS, key="tenant")).status == 200


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("203.0.113.1", "203.0.113.2", False),
        ("203.0.113.1", "198.51.100.7, 203.0.113.1", True),
        ("203.0.113.1", "203.0.113.1, 127.0.0.1", True),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:1::1", False),
        ("203.0.113.1", "::ffff:203.0.113.1", True),
    ],
)
async def test_address_behind_proxies(first: str, second: str, *, shared: bool) -> None:
    """Behind a trusted proxy the address is the rightmost that is not one; IPv6 counts by /64."""
    rates = Rates(workspace=3, auth=1, anonymous=1)
    async with serving([PublicApi()], KnownCredentials({}), rates=rates) as api:
        assert (await api("GET", "/api/v1/status", key=None, headers={"X-Forwarded-For": first})).status == 200
        answer = await api("GET", "/api/v1/status", key=None, headers={"X-Forwarded-For": second})
        assert answer.status == (429 if shared else 200)
