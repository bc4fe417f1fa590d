"""Which connections to PostgreSQL are used again after an error: those on which no statement is under way any more."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from router.errors import CONFLICT, RouterError
from router.settings import Database
from router.store.postgres import PostgresEngine
from tests.support.database import Databases

pytestmark = pytest.mark.asyncio

_FAILURES = (
    TimeoutError,
    asyncio.CancelledError,
    asyncpg.InternalClientError,
    asyncpg.InterfaceError,
    sa.exc.DBAPIError,
    RouterError,
)
_PID = sa.text("SELECT pg_backend_pid()")


@pytest_asyncio.fixture
async def engine(databases: Databases) -> AsyncIterator[PostgresEngine]:
    """With one connection: whoever comes next gets the same again, if it was given back."""
    async with databases.new("postgresql") as url:
        made = PostgresEngine(sa.make_url(url), Database(connections=1), reading=False)
        yield made
        await made.dispose()


async def pid_after(engine: PostgresEngine, fail: Callable[[AsyncConnection], Awaitable[object]]) -> tuple[int, int]:
    """The server's process of a connection whose use failed so, and of the one that is handed out next."""
    pids: list[int] = []

    async def use() -> None:
        async with engine.connect() as connection:
            pids.append((await connection.execute(_PID)).scalar_one())
            await fail(connection)

    with pytest.raises(_FAILURES):
        await use()
    async with engine.connect() as connection:
        pids.append((await connection.execute(_PID)).scalar_one())
    used, then = pids
    return used, then


async def _timeout(connection: AsyncConnection) -> None:
    """The driver gives the statement up while the server is at it: PostgreSQL's sleep is the statement, and nobody waits for its end."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    await driver.execute("SELECT pg_sleep(60)", timeout=0.05)


async def _given_up(connection: AsyncConnection) -> None:
    """The driver's statement, as look-ups run it: past SQLAlchemy, which notices when one of its own is given up."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    asyncio.get_running_loop().call_later(0.05, asyncio.current_task().cancel)  # type: ignore[union-attr]
    await driver.execute("SELECT pg_sleep(60)")


async def _confused(_connection: AsyncConnection) -> None:
    raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")


async def _busy(_connection: AsyncConnection) -> None:
    raise asyncpg.InterfaceError("cannot perform operation: another operation is in progress")


@pytest.mark.parametrize("fail", [_timeout, _given_up, _confused, _busy])
async def test_one_whose_statement_may_still_run(
    engine: PostgresEngine, fail: Callable[[AsyncConnection], Awaitable[object]]
) -> None:
    """Nobody gets it again: the driver may be cancelling it, and the next statement would get what becomes of that."""
    used, then = await pid_after(engine, fail)
    assert used != then


async def _refused(connection: AsyncConnection) -> None:
    await connection.execute(sa.text("SELECT 1 / 0"))


async def _too_large(connection: AsyncConnection) -> None:
    await connection.execute(sa.text("SELECT CAST(:n AS integer)"), {"n": 2**40})


async def _ours(_connection: AsyncConnection) -> None:
    raise RouterError(CONFLICT)


@pytest.mark.parametrize("fail", [_refused, _too_large, _ours])
async def test_one_whose_statement_has_ended(
    engine: PostgresEngine, fail: Callable[[AsyncConnection], Awaitable[object]]
) -> None:
    """The next one gets it: who sends what the server refuses costs nobody a connection."""
    used, then = await pid_after(engine, fail)
    assert used == then
