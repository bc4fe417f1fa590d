"""Two PostgreSQL servers in one `database_url`: the one that takes writes is used, and after a failover the other."""

import asyncio

import pytest

from router.base.clock import SystemClock
from router.errors import StoreUnavailableError
from router.routes.records import State
from router.settings import Database
from router.settings.database_url import check_database_url
from router.store import Store, migrate
from tests.support.postgres import REPLICATED, Postgres, Standby
from tests.support.world import World

LIMITS = Database(connections=2, connect_time=1.0, statement_time=2.0, lock_time=1.0)


@pytest.mark.asyncio
@pytest.mark.realtime
async def test_a_standby_that_was_promoted_is_used() -> None:
    """The standby is named first, and the primary is used all the same; when it is gone and the standby has been promoted,
    the same store reads what was written before, and writes, without a restart."""
    with Postgres(**REPLICATED) as primary, Standby(primary) as standby:
        url = check_database_url(
            f"postgresql://postgres@/postgres?host=127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
            "&target_session_attrs=read-write"
        )
        await migrate(url)
        store = await Store.open(url, clock=SystemClock(), limits=LIMITS)
        try:
            world = World(store, SystemClock())
            shop = await world.sandbox(await world.tenant(), "shop")
            primary.stop()
            with pytest.raises(StoreUnavailableError):
                await world.resources.patch(shop.id, state=State.STOPPED)
            standby.promote()
            async with asyncio.timeout(20):
                while True:
                    try:
                        await world.resources.patch(shop.id, state=State.STOPPED)
                        break
                    except StoreUnavailableError:
                        await asyncio.sleep(0.05)
            assert (await world.resources.get(shop.id)).state is State.STOPPED
        finally:
            await store.close()
