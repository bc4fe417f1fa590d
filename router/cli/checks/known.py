"""What several checks need to know: found out once, all at the same time, before they begin."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.base.clock import Clock
from router.cache.client import CacheUnavailableError
from router.cache.inspection import RedisFacts
from router.cache.inspection import inspect as inspect_redis
from router.cli.running_node import Sample, node_metrics, node_readiness
from router.errors import StoreUnavailableError
from router.observe.secrets import mask_text
from router.settings import Settings, SettingsError
from router.store.inspection import StoreFacts
from router.store.inspection import inspect as inspect_store

_TIME = 6.0  # seconds for the store, and for Redis
_OPERATION = 2.0  # seconds for one operation of Redis


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """`store` and `redis` are a text where they could not be asked: why. `redis` None: the settings name none. `ready` and
    `metrics` are the running node's, None where none answers."""

    settings: Settings
    clock: Clock
    store: StoreFacts | str
    redis: RedisFacts | str | None
    ready: Mapping[str, Any] | None
    metrics: Sequence[Sample] | None

    @property
    def runs(self) -> bool:
        """Whether a node answers at `admin_bind`."""
        return self.ready is not None

    def total(self, name: str, **labels: str) -> float | None:
        """The sum of the node's numbers of that name and these labels; None where there is none."""
        values = [one.value for one in self.metrics or () if one.name == name and labels.items() <= one.labels.items()]
        return sum(values) if values else None


async def find_out(settings: Settings, clock: Clock) -> Known:
    """Within `_TIME` seconds, or a little more."""
    store, redis, ready, metrics = await asyncio.gather(
        _store(settings, clock),
        _redis(settings, clock),
        node_readiness(settings.admin_bind),
        node_metrics(settings.admin_bind),
    )
    return Known(settings=settings, clock=clock, store=store, redis=redis, ready=ready, metrics=metrics)


async def _store(settings: Settings, clock: Clock) -> StoreFacts | str:
    try:
        async with asyncio.timeout(_TIME):
            return await inspect_store(
                settings.database_url, settings.database, clock, window=settings.gate.account_window
            )
    except TimeoutError:
        return f"no answer within {_TIME:g} s"
    except (StoreUnavailableError, OSError) as error:  # a folder that may not be read, too
        return mask_text(str(error))


async def _redis(settings: Settings, clock: Clock) -> RedisFacts | str | None:
    if settings.redis_url is None:
        return None
    try:
        async with asyncio.timeout(_TIME):
            return await inspect_redis(settings.redis_url, settings.redis, clock, within=_OPERATION)
    except (CacheUnavailableError, SettingsError) as error:
        return mask_text(str(error))
    except TimeoutError:
        return f"no answer within {_TIME:g} s"
