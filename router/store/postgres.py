"""PostgreSQL: a pool of connections, every wait with a timeout.

The server cancels a statement that takes too long and reports it. Where it does not respond at all (suspended, or the
network is down) the driver gives up a second later, and the connection is dropped without a goodbye message, since sending
one would wait too.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import asyncpg
import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from router.errors import StoreUnavailableError
from router.settings import Database
from router.store.failures import translated

T = TypeVar("T")

# To plan the statement that a look-up is takes many times longer than to run it. What readers ask for is found by its
# index whatever the values are.
_PLANNED_ONCE = {"plan_cache_mode": "force_generic_plan"}

# A statement's text, the names of its parameters in their order, and those that are constant.
_Compiled = tuple[str, tuple[str, ...], Mapping[str, Any]]

_GRACE = 1.0  # seconds that the server has to say that a statement took too long


class PostgresEngine:
    """connection.Engine"""

    def __init__(self, url: URL, limits: Database, *, reading: bool) -> None:
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=lambda: connect(url, limits, **(_PLANNED_ONCE if reading else {})),
            hide_parameters=True,  # of statements in errors: those end in the log
            pool_size=limits.connections,
            max_overflow=0,
            pool_timeout=limits.lock_time,
        )
        sa.event.listen(engine.sync_engine, "checkout", _refuse_dead)
        self.closed: str | None = None
        self._engine = engine
        self._compiled: dict[sa.Select[Any], _Compiled] = {}
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")  # the same connections
        if reading:
            self._engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        async with self.connect() as connection:
            yield connection
            await connection.commit()

    def connect(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._connected(self._engine)

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        if self.closed is not None:
            raise StoreUnavailableError(self.closed)
        async with engine.connect() as connection:
            try:
                yield connection
            except BaseException as error:
                if not _has_ended(error):
                    await _abandon(connection)
                raise

    @property
    def dialect(self) -> sa.Dialect:
        return self._engine.dialect

    async def one(self, statement: sa.Select[Any], parameters: Mapping[str, Any], /) -> Mapping[str, Any]:
        # Straight to the driver: SQLAlchemy's way there and back takes longer than all the rest.
        async with self._connected(self._single) as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            text, names, constants = self._compiled.get(statement) or self._compile(statement)
            values = {**constants, **parameters}
            (row,) = await driver.fetch(text, *[values[name] for name in names])
            return row  # type: ignore[no-any-return]

    def _compile(self, statement: sa.Select[Any]) -> _Compiled:
        compiled: Any = statement.compile(dialect=self.dialect)
        self._compiled[statement] = made = str(compiled), tuple(compiled.positiontup), compiled.params
        return made

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        with translated():
            async with self.connect() as connection:
                return await connection.run_sync(work)

    async def change(self, work: Callable[[sa.Connection], T]) -> T:
        with translated():
            async with self.begin() as connection:
                return await connection.run_sync(work)

    async def dispose(self) -> None:
        await self._engine.dispose()


async def connect(url: URL, limits: Database, **server_settings: str) -> Any:
    """A connection of the driver. It understands every option of the URL that libpq does."""
    milliseconds = str(int(limits.statement_time * 1000))
    return await asyncpg.connect(
        url.render_as_string(hide_password=False),
        timeout=limits.connect_time,
        command_timeout=limits.statement_time + _GRACE,
        server_settings={
            "application_name": "miosa-router",
            "lock_timeout": str(int(limits.lock_time * 1000)),
            "statement_timeout": milliseconds,
            "idle_in_transaction_session_timeout": milliseconds,
            **server_settings,
        },
    )


def _has_ended(error: BaseException) -> bool:
    """Whether no statement is under way any more: the server has said how it ended, it was never sent, or the error is not the
    database's. Else the driver may still be cancelling it, and whoever had the connection next would get what becomes of that."""
    if isinstance(error, sa.exc.DBAPIError):
        error = getattr(error.orig, "__cause__", None) or error
    if isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError)):
        return isinstance(error, ValueError)  # a value that does not fit its column
    return not isinstance(error, (OSError, asyncio.CancelledError))


async def _abandon(connection: AsyncConnection) -> None:
    """Close it without a goodbye message, so that it does not return to the pool."""
    if not connection.invalidated:
        driver = (await connection.get_raw_connection()).driver_connection
        if driver is not None:
            driver.terminate()
        await connection.invalidate()


def _refuse_dead(connection: Any, _record: object, _proxy: object) -> None:
    """Do not take connections that the server has closed, as after a restart: seen without a round trip."""
    if connection.driver_connection.is_closed():
        raise sa.exc.InvalidatePoolError
