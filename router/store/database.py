"""The store: transactions for the services, records for the resolver, notice of changes for the caches."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import URL, make_url

from router.audit.act import current_act
from router.base.clock import Clock, ClockWatch
from router.base.leases import Lease
from router.base.transactions import AMBIENT
from router.errors import RouterError
from router.routes.follower import OutboxFollower, Watch
from router.settings import Database
from router.store.acme_orders import SqlTxtSource
from router.store.ambient import Ambient, AmbientSnapshot, ambient_of, snapshot_of
from router.store.certificates import SqlCertificateLog
from router.store.connection import Connection
from router.store.engine import parsed, reading_engine, writing_engine
from router.store.failures import translated
from router.store.feed import Feed
from router.store.future_times import Mending
from router.store.held_certificates import SqlHeldLog
from router.store.holdings import sum_up
from router.store.idempotency import SqlIdempotency
from router.store.leases import SqlLeases, guard
from router.store.migrate import check
from router.store.next_due import next_due
from router.store.pruning import PruneGuard
from router.store.records import SqlRecords
from router.store.transaction import Transaction
from router.store.types import DatabaseTime
from router.store.watch import Commits, DataVersion, FileVersion, Notifications, NotifiedCommits

_log = structlog.get_logger("router.store")

Listener = Callable[[Sequence[str]], object]
NumberListener = Callable[[Sequence[str], int], object]

_LIMITS = Database()
_TIME = sa.select(DatabaseTime())


class Store:
    """One database. Made by `Store.open` or `Store.unopened`; not thread-safe: one per event loop."""

    def __init__(self, url: URL, clock: Clock, limits: Database) -> None:
        self._url = url
        self._clock = clock
        self._limits = limits
        self._writer = writing_engine(url, limits)
        # A job may have dozens of results to write: half of the connections stay free for those who wait for an answer.
        self._of_jobs = asyncio.Semaphore(max(1, limits.connections // 2))
        self._reader = reading_engine(url, limits)
        self._listeners: list[Listener] = []
        self._number_listeners: list[NumberListener] = []
        self._followers: list[OutboxFollower] = []
        self.idempotency = SqlIdempotency(self._writer)
        self.records = SqlRecords(self._reader)
        self._notifications = None if url.get_backend_name() == "sqlite" else Notifications(url, limits)
        self._leasing = self._writer if self._notifications is not None else writing_engine(url, limits)
        # What asks again and again whether something has changed need not ask while this is the same number.
        self.commits = (
            Commits(self._leasing, FileVersion(url))
            if self._notifications is None
            else NotifiedCommits(self._notifications)
        )
        self.leases = SqlLeases(self._reader, self._leasing)
        self.certificate_log = SqlCertificateLog(self._reader, self._writer)
        self.held_log = SqlHeldLog(self._reader)
        self.txt_source = SqlTxtSource(self._reader)
        self.feed = Feed(self._reader, self._writer, self._watch())

    @classmethod
    async def open(cls, database_url: str, *, clock: Clock, limits: Database = _LIMITS) -> "Store":
        """The store behind `settings.database_url`, migrated before. Raises StoreUnavailableError where it is not."""
        store = cls(parsed(database_url, create=False), clock, limits)
        try:
            await store._reader.run(check)
        except BaseException:
            await store.close()
            raise
        return store

    @classmethod
    def unopened(cls, database_url: str, *, clock: Clock, limits: Database = _LIMITS) -> "Store":
        """The same without a connection: until `check` has succeeded each use raises StoreUnavailableError."""
        store = cls(make_url(database_url), clock, limits)
        store.keep_closed("the store has not been reached yet")
        return store

    @property
    def closed(self) -> str | None:
        """Why nothing is asked of the database yet; None from the moment when it was found fit."""
        return self._reader.closed

    async def check(self) -> None:
        """Find out whether the database is there and fits, and open the store if so. Raises StoreUnavailableError."""
        engine = reading_engine(parsed(self._url.render_as_string(hide_password=False), create=False), self._limits)
        try:
            await engine.run(check)
        finally:
            await engine.dispose()
        self._reader.closed = self._writer.closed = self._leasing.closed = None

    async def due_in(self) -> float:
        """Seconds until the first of all that waits for its time: 0 or less for what is due, inf where nothing waits. Raises
        StoreUnavailableError."""
        first = await next_due(self._reader)
        return math.inf if first is None else (first - self._clock.now()).total_seconds()

    async def time(self) -> float:
        """The database's clock, in seconds since 1970: one round trip. Raises StoreUnavailableError."""
        with translated():
            async with self._reader.connect() as connection:
                return float(await connection.scalar(_TIME))

    async def sum_up_holdings(self) -> None:
        """Add up by how much the numbers of what scopes hold have changed. Raises StoreUnavailableError."""
        await sum_up(self._reader, self._writer)

    def mending(self) -> Mending:
        """What puts right the times that a clock which was ahead has left."""
        return Mending(self._reader, self._writer, self._clock)

    def guard(self, watch: ClockWatch, *, share: float) -> PruneGuard:
        """What is asked before old rows are deleted."""
        return PruneGuard(self._reader, self._clock, watch, share=share)

    def keep_closed(self, reason: str) -> None:
        """Ask the database for nothing until `check` succeeds; each use is refused with this."""
        self._reader.closed = self._writer.closed = self._leasing.closed = reason

    @asynccontextmanager
    async def begin(self, under: Lease | None = None) -> AsyncIterator[Transaction]:
        """A transaction that may write. When it has ended, every listener knows what changed.

        `under` a lease it goes on only while that is held, and waits until one of the connections that jobs may use is free.

        Where the task is cancelled during the commit it is not known whether that happened; the follower will read it.
        Raises StoreUnavailableError, and RouterError CONFLICT where another took the same name at the same time.
        """
        ambient = ambient_of(self._writer) if under is None else None
        if ambient is not None:
            with translated():
                async with ambient.change() as transaction:
                    yield transaction
            return
        snapshot = snapshot_of(self._reader)
        if snapshot is not None:
            await snapshot.commit()
        with translated():
            async with nullcontext() if under is None else self._of_jobs, self._writer.begin() as connection:
                if under is not None:
                    await guard(connection, under)
                transaction = self._writing(connection)
                yield transaction
                tell = await self._sealed(transaction)
        tell()

    @asynccontextmanager
    async def ambient(self, *, reading: bool = False) -> AsyncIterator[None]:
        """What this task does in the block is one transaction as far as that can be (`ambient.py`), committed when the block
        ends, undone when it raises. With `reading` it is one that only reads. Raises as `begin`."""
        ambient = AmbientSnapshot(self._reader) if reading else Ambient(self._writer, self._writing, self._sealed)
        token = AMBIENT.set(ambient)
        try:
            with translated():
                try:
                    yield
                    await ambient.commit()
                except BaseException as error:
                    await ambient.undo(error)
                    raise
        finally:
            ambient.over = True
            AMBIENT.reset(token)

    def _writing(self, connection: Connection) -> Transaction:
        return Transaction(connection, self._clock.now(), writing=True, act=current_act())

    async def _sealed(self, transaction: Transaction) -> Callable[[], None]:
        """Do the last thing before the commit. To be called after it: what tells everybody."""
        keys, ids = await transaction.seal()

        def tell() -> None:
            transaction.committed()
            if keys:
                for follower in self._followers:
                    follower.committed(keys, ids[-1])
                self._notify(keys, ids[-1])

        return tell

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """A transaction that only reads, as of one instant. Raises StoreUnavailableError.

        Within an ambient transaction it reads there, and so what that has changed."""
        writing = ambient_of(self._writer)
        open_now = writing if writing is not None and writing.connection is not None else None
        ambient = open_now or snapshot_of(self._reader)
        if ambient is not None:
            with translated():
                try:
                    yield Transaction(await ambient.opened(), self._clock.now(), writing=False)
                except RouterError:
                    raise  # about what was read
                except BaseException as error:
                    # A statement may be under way: the connection is not to be used again.
                    await ambient.undo(error)
                    raise
            return
        with translated():
            async with self._reader.connect() as connection:
                yield Transaction(connection, self._clock.now(), writing=False)

    def after_commit(self, listener: Listener) -> None:
        """Call `listener(keys)` with the touched keys of each commit of this process, before `begin` returns."""
        self._listeners.append(listener)

    def on_number(self, listener: NumberListener) -> None:
        """As `after_commit`, but sooner, and with the number of the commit's newest change in the outbox."""
        self._number_listeners.append(listener)

    def follow(self, on_keys: Listener, on_gap: Callable[[], object]) -> OutboxFollower:
        """A follower of what other processes commit; `start` it before anything is cached, `close` it before the store."""
        follower = OutboxFollower(self.feed, self._watch(), on_keys=on_keys, on_gap=on_gap)
        self._followers.append(follower)
        return follower

    async def close(self) -> None:
        """Close every connection."""
        self.feed.close()
        if self._notifications is not None:
            await self._notifications.close()
        if isinstance(self.commits, Commits):
            await self.commits.close()
            await self._leasing.dispose()
        await self._writer.dispose()
        await self._reader.dispose()

    def _watch(self) -> Watch:
        return DataVersion(self._url) if self._notifications is None else self._notifications.watch()

    def _notify(self, keys: Sequence[str], number: int) -> None:
        calls = [partial(listener, keys, number) for listener in self._number_listeners]
        calls += [partial(listener, keys) for listener in self._listeners]
        for call in calls:
            try:
                call()
            except Exception:  # noqa: BLE001  # the change is committed: a listener's mistake is not the caller's failure
                _log.exception("change listener failed", listener=repr(call.func))
