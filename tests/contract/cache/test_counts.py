"""Rate limits of a fleet: two nodes on one real Redis, and what becomes of them without it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from router.api.rates import RateLimiter
from router.base.clock import SystemClock
from router.cache.client import Client
from router.cache.counts import RedisCounts
from router.observe.metrics import Metrics
from router.settings import Redis
from router.settings.redis_url import parse_redis_url
from tests.support.figures import sample
from tests.support.redis import Server

pytestmark = pytest.mark.asyncio


class Node:
    """A node's limiter."""

    def __init__(self, url: str, limits: Redis) -> None:
        clock, self.metrics = SystemClock(), Metrics()
        self.client = Client(parse_redis_url(url), limits, metrics=self.metrics, clock=clock)
        self.limiter = RateLimiter(clock, RedisCounts(self.client, limits.prefix, self.metrics))

    async def allowed(self, times: int, limit: int = 10) -> int:
        """How many of so many requests pass."""
        return sum([(await self.limiter.take("owner:acme", limit)).allowed for _ in range(times)])

    @property
    def fallbacks(self) -> float:
        return sample(self.metrics, "miosa_router_rate_limit_fallbacks_total")


async def test_two_nodes_allow_what_one_does(url: str, limits: Redis) -> None:
    """Each request counts once, whichever node it comes to, and the window is one."""
    one, two = Node(url, limits), Node(url, limits)
    assert await one.allowed(6) + await two.allowed(6) == 10
    assert (await one.allowed(1), await two.allowed(1)) == (0, 0)
    allowance = await two.limiter.take("owner:globex", 10)
    assert (allowance.remaining, allowance.reset) == (9, 60)
    assert (one.fallbacks, two.fallbacks) == (0, 0)
    await one.client.close()
    await two.client.close()


async def test_a_counter_ends_with_its_window(server: Server, limits: Redis) -> None:
    """Redis keeps nothing of a bucket that is not used any more, and no address of a client in the clear."""
    node = Node(server.url, limits)
    counts = RedisCounts(node.client, limits.prefix, node.metrics)
    assert [await counts.count("address:203.0.113.9", 60.0) for _ in range(2)] == [
        (1, 60.0),
        (2, pytest.approx(60, abs=1)),
    ]
    breaker = node.client.breaker()
    names = [name async for found in node.client.scan(breaker, f"{limits.prefix}*") for name in found]
    assert len(names) == 1
    assert b"203.0.113.9" not in names[0]
    assert 0 < await node.client.run("read", breaker, "PTTL", names[0]) <= 60_000
    await node.client.close()


@contextmanager
def own_server(folder: Path) -> Iterator[Server]:
    with Server(folder) as started:
        yield started


@pytest.mark.realtime
@pytest.mark.parametrize("fault", ["stopped", "frozen"])
async def test_without_redis_each_node_counts_alone(folder: Path, short_limits: Redis, fault: str) -> None:
    """From what it knew; no request fails or waits for long, and the metric says that limits are per node now."""
    with own_server(folder) as server:
        one, two = Node(server.url, short_limits), Node(server.url, short_limits)
        assert await one.allowed(4) + await two.allowed(4) == 8
        if fault == "stopped":
            server.stop()
        else:
            server.freeze()
        # One knows of 4 requests and two of 8, as many as each had been told of last.
        assert (await one.allowed(10), await two.allowed(10)) == (6, 2)
        assert (one.fallbacks or 0) > 0
        assert (two.fallbacks or 0) > 0
        if fault == "frozen":
            server.thaw()
        await one.client.close()
        await two.client.close()
