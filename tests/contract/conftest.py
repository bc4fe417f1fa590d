"""A store on a fresh database for each test, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.store import Store
from tests.support.database import Databases
from tests.support.postgres import Postgres
from tests.support.world import World


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    def server() -> Postgres:
        started: Postgres = request.getfixturevalue("postgres")
        return started

    return Databases(tmp_path_factory.mktemp("store"), server)


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[str]:
    """The URL of a database that nobody else uses."""
    async with databases.new(request.param) as url:
        yield url


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
