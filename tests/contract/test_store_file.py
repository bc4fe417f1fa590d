"""An SQLite file that is taken away, or replaced, under a running node."""

import shutil
from pathlib import Path

import pytest

from router.base.clock import SystemClock
from router.errors import StoreUnavailableError
from router.routes.records import State
from router.store import Store, migrate
from tests.support.world import World

pytestmark = pytest.mark.asyncio


async def test_a_file_that_was_replaced_is_an_outage_that_says_so(tmp_path: Path) -> None:
    """Neither reads nor writes go to the file that has lost its name; when the old one is back, they work again."""
    path = tmp_path / "router.db"
    url = f"sqlite:///{path}"
    await migrate(url)
    store = await Store.open(url, clock=SystemClock())
    try:
        world = World(store, SystemClock())
        shop = await world.sandbox(await world.tenant(), "shop")
        path.rename(tmp_path / "old.db")
        with pytest.raises(StoreUnavailableError, match="No such file"):
            await world.resources.get(shop.id)
        shutil.copy(tmp_path / "old.db", path)
        with pytest.raises(StoreUnavailableError, match="restart the router"):
            await world.resources.get(shop.id)
        with pytest.raises(StoreUnavailableError, match="restart the router"):
            await world.resources.patch(shop.id, state=State.STOPPED)
        with pytest.raises(StoreUnavailableError, match="restart the router"):
            await store.records.fetch(["slug:shop"])
        (tmp_path / "old.db").replace(path)
        await world.resources.patch(shop.id, state=State.STOPPED)
        assert (await world.resources.get(shop.id)).state is State.STOPPED
    finally:
        await store.close()
