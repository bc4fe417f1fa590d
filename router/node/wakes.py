"""What has resources woken, for the visitors of this process and of its workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from router.base.clock import Clock
from router.observe.metrics import Metrics
from router.outbound.wake import WakeCaller
from router.settings import Settings
from router.store import Store
from router.tenancy.waking import Wakes


@asynccontextmanager
async def open_wakes(
    store: Store, url: str, settings: Settings, clock: Clock, metrics: Metrics
) -> AsyncIterator[Wakes]:
    """By requests to the platform at `url`. A node that has only the proxy's role takes visitors' requests in, and those with
    the API or jobs call the platform."""
    calls = not settings.roles.isdisjoint(("api", "jobs"))
    wakes = Wakes(
        store,
        clock,
        settings=settings.wake,
        caller=WakeCaller(url, clock) if calls else None,
        metrics=metrics,
    )
    try:
        yield wakes
    finally:
        await wakes.close()
