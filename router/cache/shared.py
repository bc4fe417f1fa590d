"""What a process has of Redis: the records, the bus, and its share of delivering the outbox."""

import asyncio
from collections.abc import Callable, Sequence

from router.base.breaker import Breaker
from router.base.clock import Clock
from router.cache.client import Client
from router.cache.counts import RedisCounts
from router.cache.publisher import Publisher
from router.cache.records import CachedRecords
from router.cache.shards import Shards
from router.cache.subscriber import Subscriber
from router.cache.uses import SharedUses
from router.cache.watermark import Watermark
from router.observe.metrics import Metrics
from router.routes.feed import RecordStore
from router.settings import Redis
from router.settings.redis_url import parse_redis_url


class SharedCache:
    """`records` is the source for the resolver, `counts` are the API's rate limits of all nodes, `uses` the
    last uses of resources. `committed` must hear of this process's commits before any other listener.

    With `publishes` this process delivers the outbox too: each that commits changes should. A look-up has `fetch_time`
    seconds; what Redis may take of them is left out of what the store has.
    """

    def __init__(
        self,
        redis_url: str,
        settings: Redis,
        *,
        fetch_time: float,
        store: RecordStore,
        publishes: bool,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._store = store
        self._publishes = publishes
        self._metrics = metrics
        self._clock = clock
        self._client = Client(parse_redis_url(redis_url), settings, metrics=metrics, clock=clock)
        self._shards = Shards(self._client, settings)
        self._watermark = Watermark(self._shards.of)
        self.counts = RedisCounts(self._client, settings.prefix, metrics)
        self.uses = SharedUses(self._client, self._shards, clock)
        self._subscriber: Subscriber | None = None
        self._publisher: Publisher | None = None
        self.records = CachedRecords(
            self._shards,
            store.records,
            watermark=self._watermark,
            breaker=Breaker(failures=settings.failures, pause=settings.pause, clock=clock),
            store_time=max(fetch_time / 2, fetch_time - 2 * settings.operation_time),
            metrics=metrics,
        )

    async def start(
        self, on_keys: Callable[[Sequence[str]], object], on_gap: Callable[[], object], *, store_required: bool = True
    ) -> None:
        """Hear of others' changes: `on_keys` of those that are known, `on_gap` where something was missed.

        Redis need not be there. Raises StoreUnavailableError, unless the store need not be either.
        """

        def heard(keys: Sequence[str]) -> None:
            self.records.store_works()
            on_keys(keys)

        self._subscriber = subscriber = Subscriber(
            self._client,
            self._settings,
            feed=self._store.feed,
            watermark=self._watermark,
            on_keys=heard,
            on_gap=on_gap,
            metrics=self._metrics,
            clock=self._clock,
        )
        await subscriber.start(required=store_required)
        self._metrics.gauge("redis_available", lambda: float(self._shards.available))
        self._metrics.gauge("bus_connected", lambda: float(subscriber.connected))
        if self._publishes:
            self._publisher = publisher = Publisher(
                self._client,
                self._shards,
                self._settings,
                feed=self._store.feed,
                source=self._store.records,
                bus=subscriber,
                clock=self._clock,
            )
            publisher.start()
            self._metrics.gauge("outbox_waiting", lambda: float(publisher.waiting))
            self._metrics.gauge("outbox_lag_seconds", lambda: publisher.lag)

    def committed(self, keys: Sequence[str], number: int) -> None:
        """This process has changed these records; `number` is the newest of the changes."""
        self._watermark.committed(keys, number)
        self.records.store_works()
        if self._subscriber is not None:
            self._subscriber.committed(keys, number)
        if self._publisher is not None:
            self._publisher.committed(number)

    def check(self) -> str | None:
        """For /readyz: what is not as it should be. Never a reason to send traffic elsewhere."""
        if not self._shards.available:
            return f"Redis is away ({self._client.error}); the store is asked instead"
        if self._subscriber is not None and not self._subscriber.connected:
            return f"the bus is not heard ({self._subscriber.error}); the store is followed instead"
        if self._publisher is not None and self._publisher.error is not None:
            return f"{self._publisher.waiting} changes wait for Redis ({self._publisher.error})"
        if self._publisher is not None and self._publisher.lag > self._settings.silence:
            return f"{self._publisher.waiting} changes wait, the first for {self._publisher.lag:.0f} s"
        return None

    def facts(self) -> dict[str, object]:
        """For /readyz: how changes travel now."""
        facts: dict[str, object] = {
            "by": "bus" if self._subscriber is not None and self._subscriber.connected else "store"
        }
        if self._publisher is not None:
            facts |= {"waiting": self._publisher.waiting, "lag_seconds": round(self._publisher.lag, 3)}
        return facts

    async def close(self) -> None:
        """End everything, and close every connection."""
        ending = [self.records.close()]
        if self._publisher is not None:
            ending.append(self._publisher.close())
        if self._subscriber is not None:
            ending.append(self._subscriber.close())
        await asyncio.gather(*ending)
        await self._client.close()
