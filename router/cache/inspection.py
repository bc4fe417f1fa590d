"""What an operator wants to know of a Redis: which one it is, how it answers, and what it does when it is full."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.base.clock import Clock
from router.cache.client import Client
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
    clock_ahead: float
    max_memory: int  # bytes; 0 is no limit
    used_memory: int
    policy: str  # what it evicts when it is full
    replicas: int


async def inspect(url: str, settings: RedisSettings, clock: Clock, *, within: float) -> RedisFacts:
    """Each of three operations may take `within` seconds, the first connects. Raises CacheUnavailableError, SettingsError."""
    patient = settings.model_copy(update={"operation_time": within})
    client = Client(parse_redis_url(url), patient, metrics=Metrics(), clock=clock)
    try:
        breaker = client.breaker()
        info: Mapping[str, Any] = _of_one_node(await client.run("read", breaker, "INFO"), "redis_version")
        started = time.perf_counter()
        seconds, microseconds = _time(await client.run("read", breaker, "TIME"))
        latency = time.perf_counter() - started
        ahead = clock.now().timestamp() - seconds - microseconds / 1e6
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


def _of_one_node(answer: Any, key: str) -> Any:
    """A Cluster's client may ask every node and give the answers by node."""
    return answer if key in answer else next(iter(answer.values()))


def _time(answer: Any) -> tuple[int, int]:
    seconds, microseconds = next(iter(answer.values())) if isinstance(answer, dict) else answer
    return int(seconds), int(microseconds)
