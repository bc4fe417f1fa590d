"""The settings' store, opened at once, or as soon as it can be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path

import structlog

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.errors import StoreRefusedError, StoreUnavailableError
from router.settings import Settings
from router.store.database import Store
from router.store.engine import sqlite_file
from router.store.migrate import migrate

_BACKOFF = (0.2, 2.0)  # seconds between tries to reach it: the first, the longest
_WAIT_AGAIN = (
    0.5  # seconds that `Start.AGAIN` waits for it: /ask is not answered meanwhile, and Caddy gives up after ten
)

_log = structlog.get_logger("router.store")


class Start(Enum):
    """What a process does that finds no store when it starts. An outage is no fault of the settings: a node that knows
    live certificates and has routes in Redis serves them meanwhile. A store that can be reached and does not fit is one.
    """

    FIRST = "first"  # goes on without it in an outage; refuses to start with a store that does not fit
    AGAIN = "again"  # goes on without it in any case, and soon: the node serves already, and needs its gate
    REPLACING = "replacing"  # refuses to start: the processes that it would replace have more in memory


@asynccontextmanager
async def open_store(settings: Settings, clock: Clock) -> AsyncIterator[Store]:
    """The settings' store. Raises StoreUnavailableError, also where its schema is older than this version needs.

    An SQLite file is made and migrated here: it is this program's own. A PostgreSQL database is shared, so migrating it
    is an operator's decision (`miosa-router db upgrade`); so is making a file anew where a node has served from one that
    is gone: an empty store would tell every visitor and Caddy that nothing was ever here.
    """
    await _migrate_own(settings)
    store = await Store.open(settings.database_url, clock=clock, limits=settings.database)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def open_store_in_time(settings: Settings, clock: Clock, start: Start) -> AsyncIterator[Store]:
    """As `open_store`; but where `start` allows, a store that can't be had now is opened by a task as soon as it can be.

    Until then each use of it raises StoreUnavailableError, and `Store.closed` says why.
    """
    store = Store.unopened(settings.database_url, clock=clock, limits=settings.database)
    tasks = Tasks("store")
    try:
        if start is Start.AGAIN:
            opening = tasks.start("open the store", _open_when_there(store, settings))
            await asyncio.wait({opening}, timeout=_WAIT_AGAIN)
        else:
            try:
                await _open(store, settings)
            except StoreUnavailableError as error:
                if start is Start.REPLACING or isinstance(error, StoreRefusedError):
                    raise
                tasks.start("open the store", _open_when_there(store, settings))
        if store.closed is not None:
            _log.error("starting without the store, retrying", error=store.closed)
        yield store
    finally:
        await tasks.close()
        await store.close()


async def _open_when_there(store: Store, settings: Settings) -> None:
    wait, longest = _BACKOFF
    while True:
        reason = store.closed
        try:
            await _open(store, settings)
        except StoreUnavailableError:
            if store.closed != reason:
                _log.error("store still unavailable, retrying", error=store.closed)
        else:
            _log.info("store opened")
            return
        await asyncio.sleep(wait)
        wait = min(wait * 2, longest)


async def _open(store: Store, settings: Settings) -> None:
    try:
        await _migrate_own(settings)
        await store.check()
    except StoreUnavailableError as error:
        store.keep_closed(f"the store has not been opened yet: {error}")
        raise


async def _migrate_own(settings: Settings) -> None:
    path = sqlite_file(settings.database_url)
    if path is not None:
        copy = settings.certificates_copy
        if copy is not None and copy.exists() and not _has_bytes(path):
            raise StoreUnavailableError(
                f"{path} is missing or empty, and this node has had one ({copy}): put it back, or have an empty one made by "
                "`miosa-router db upgrade`"
            )
        before, after = await migrate(settings.database_url, lock_time=settings.database.lock_time)
        if before != after:
            _log.info("database migrated", before=before, after=after)


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError:  # opening it reports the reason
        return True
