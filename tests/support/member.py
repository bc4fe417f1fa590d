"""One process of a fleet: a resolver on records out of Redis, and what keeps it up to date."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from router.base.clock import SystemClock
from router.cache import SharedCache
from router.observe.metrics import Metrics
from router.routes.records import Record
from router.routes.resolver import Resolver
from router.settings import Cache, Redis
from tests.support.memory_store import MemoryStore
from tests.support.records import PLATFORM

# Fast enough for tests, and slow enough for a machine that does other things too.
QUICK = Redis(heartbeat=0.2, silence=1.0, pause=0.2)


class Member:
    """A process whose store is a ledger. As a context it is started, and closed on the way out."""

    def __init__(
        self,
        url: str,
        ledger: MemoryStore,
        *,
        publishes: bool = True,
        limits: Redis = QUICK,
        cache: Cache | None = None,
        **changes: Any,
    ) -> None:
        self.metrics = Metrics()
        self.ledger = ledger
        clock = SystemClock()
        limits = limits.model_copy(update=changes)
        cache = cache or Cache(fetch_time=10.0)
        self.shared = SharedCache(
            url,
            limits,
            fetch_time=cache.fetch_time,
            store=ledger,
            publishes=publishes,
            metrics=self.metrics,
            clock=clock,
        )
        self.resolver = Resolver(
            self.shared.records,
            platform_domain=PLATFORM,
            reserved_ports=frozenset(),
            limits=cache,
            clock=clock,
        )
        self.keys: list[str] = []
        self.gaps = 0

    async def __aenter__(self) -> Self:
        await self.shared.start(self._hear, self._gap)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.resolver.close()
        await self.shared.close()

    def commit(self, key: str, record: Record | None) -> int:
        """Change a record, as a verb of this process does."""
        number = self.ledger.commit(key, record)
        self.shared.committed([key], number)
        self.resolver.drop([key])
        return number

    async def fetch(self, key: str) -> tuple[Record | None, str]:
        """A record past the resolver's memory, and where it came from."""
        found = await self.shared.records.fetch([key])
        return found[key], found.sources[key]

    def count(self, name: str, **labels: str) -> float:
        """A metric's value, 0 where it has none."""
        for family in text_string_to_metric_families(self.metrics.render("")[0].decode()):
            for sample in family.samples:
                if sample.name == f"miosa_router_{name}" and sample.labels == labels:
                    return float(sample.value)
        return 0.0

    def _hear(self, keys: Sequence[str]) -> None:
        self.keys += keys
        self.resolver.drop(keys)

    def _gap(self) -> None:
        self.gaps += 1
        self.resolver.drop_all()
