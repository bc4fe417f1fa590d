"""Counts that all nodes share: so many events of a bucket within a window, for the API's rate limits.

One script per event, so one round trip: it counts and, for the first event, starts the window. A Redis that evicts or
loses a counter starts a new window, which allows more, never less.
"""

from hashlib import blake2b

from router.cache.client import CacheUnavailableError, Client, Script
from router.observe.metrics import Metrics

# KEYS: the counter. ARGV: milliseconds that a window lasts. Answers the count and the milliseconds that are left.
COUNT = Script("""\
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  left = tonumber(ARGV[1])
end
return {count, left}
""")


class RedisCounts:
    """api.rates.SharedCounts. It fails within the settings' `operation_time`, and at once while Redis is failing."""

    def __init__(self, client: Client, prefix: str, metrics: Metrics) -> None:
        self._client = client
        self._prefix = prefix
        self._metrics = metrics
        self._breaker = client.breaker()

    async def count(self, bucket: str, period: float) -> tuple[int, float] | None:
        # Hashed: no client's address is stored, and the name cannot be taken for a record's (`r:`) by `Shards.purge`.
        name = f"{self._prefix}limit:{blake2b(bucket.encode(), digest_size=16).hexdigest()}"
        try:
            count, left = await self._client.script("count", self._breaker, COUNT, [name], int(1000 * period))
        except CacheUnavailableError:
            self._metrics.count("rate_limit_fallbacks")
            return None
        return int(count), int(left) / 1000
