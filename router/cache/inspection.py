"""What an operator wants to know of a Redis: which one it is, how it answers, and what it does when it is full."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.base.breaker import Breaker
from router.base.clock import Clock
from router.cache.client import CacheUnavailableError, Client
from router.observe.metrics import Metrics
from router.settings import Redis as RedisSettings
from router.settings.redis_url import parse_redis_url


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFacts:
    """`latency` is of one round trip, in seconds, `clock_ahead` by how many this machine's clock is ahead. Of a Cluster: of
    one of its nodes."""

    version: str
    role: str  # master or slave, as Redis says
    latency: float
    clock_ahead: float | None
    max_memory: int  # bytes; 0 is no limit
    used_memory: int
    policy: str  # what it evicts when it is full
    replicas: int


async def inspect(url: str, settings: RedisSettings, clock: Clock, *, within: float) -> RedisFacts:
    """Each of three operations may take `within` seconds, the first connects. Raises CacheUnavailableError, SettingsError.

    Where this user may not run INFO or TIME, which the router itself does not need, what they say is unknown.
    """
    patient = settings.model_copy(update={"operation_time": within})
    client = Client(parse_redis_url(url), patient, metrics=Metrics(), clock=clock)
    try:
        breaker = client.breaker()
        await client.run("read", breaker, "PING")  # which connects
        started = time.perf_counter()
        await client.run("read", breaker, "PING")
        latency = time.perf_counter() - started
        info, ahead = await _info(client, breaker), await _clock_ahead(client, breaker, clock)
    finally:
        await client.close()
    return RedisFacts(
        version=str(info.get("redis_version", "unknown")),
        role=str(info.get("role", "unknown")),
        latency=latency,
        clock_ahead=ahead,
        max_memory=int(info.get("maxmemory", 0)),
        used_memory=int(info.get("used_memory", 0)),
        policy=str(info.get("maxmemory_policy", "unknown")),
        replicas=int(info.get("connected_slaves", 0)),
    )


async def _info(client: Client, breaker: Breaker) -> Mapping[str, Any]:
    try:
        answer = await client.run("read", breaker, "INFO")
    except CacheUnavailableError:
        return {}
    # A Cluster's client may ask every node and give the answers by node.
    return answer if "redis_version" in answer else next(iter(answer.values()))


async def _clock_ahead(client: Client, breaker: Breaker, clock: Clock) -> float | None:
    try:
        answer = await client.run("read", breaker, "TIME")
    except CacheUnavailableError:
        return None
    seconds, microseconds = next(iter(answer.values())) if isinstance(answer, dict) else answer
    return clock.now().timestamp() - int(seconds) - int(microseconds) / 1e6
