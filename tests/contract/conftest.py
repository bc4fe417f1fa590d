"""A store on a fresh SQLite file for each test; the file is migrated once and copied."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from router.clock import ManualClock
from router.store import Store, migrate
from tests.support.world import World


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of this version."""
    path = tmp_path_factory.mktemp("store") / "migrated.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> str:
    """The URL of a database that nobody else uses."""
    path = tmp_path / "router.db"
    shutil.copy(migrated, path)
    return f"sqlite:///{path}"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def store(database: str, clock: ManualClock) -> AsyncIterator[Store]:
    opened = await Store.open(database, clock=clock)
    yield opened
    await opened.close()


@pytest.fixture
def world(store: Store, clock: ManualClock) -> World:
    return World(store, clock)
