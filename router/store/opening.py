"""The settings' store, opened."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from router.clock import Clock
from router.settings import Settings
from router.store.database import Store
from router.store.migrate import migrate

_log = structlog.get_logger("router.store")


@asynccontextmanager
async def open_store(settings: Settings, clock: Clock) -> AsyncIterator[Store]:
    """The settings' store. Raises StoreUnavailableError, also where its schema is older than this version needs.

    An SQLite file is made and migrated here: it is this program's own. A PostgreSQL database is shared, so migrating it
    is somebody's decision (`miosa-router db upgrade`).
    """
    if settings.database_url.startswith("sqlite:"):
        before, after = await migrate(settings.database_url)
        if before != after:
            _log.info("database migrated", before=before, after=after)
    store = await Store.open(settings.database_url, clock=clock, limits=settings.database)
    try:
        yield store
    finally:
        await store.close()
