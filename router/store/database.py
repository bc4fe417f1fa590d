"""The store: transactions for the verbs, records for the resolver, news of changes for the caches."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import structlog
from sqlalchemy.engine import URL

from router.clock import Clock
from router.leases import Lease
from router.routes.follower import OutboxFollower, Watch
from router.settings import Database
from router.store.certificates import SqlCertificateLog
from router.store.engine import parsed, reading_engine, writing_engine
from router.store.failures import translated
from router.store.feed import Feed
from router.store.idempotency import SqlIdempotency
from router.store.leases import SqlLeases, guard
from router.store.migrate import check
from router.store.records import SqlRecords
from router.store.transaction import Transaction
from router.store.watch import DataVersion, Notifications

_log = structlog.get_logger("router.store")

Listener = Callable[[Sequence[str]], object]
NumberListener = Callable[[Sequence[str], int], object]

_LIMITS = Database()


class Store:
    """One database. Made by `Store.open`; not thread-safe: one per event loop."""

    def __init__(self, url: URL, clock: Clock, limits: Database) -> None:
        self._url = url
        self._clock = clock
        self._limits = limits
        self._writer = writing_engine(url, limits)
        self._reader = reading_engine(url, limits)
        self._listeners: list[Listener] = []
        self._number_listeners: list[NumberListener] = []
        self._followers: list[OutboxFollower] = []
        self.idempotency = SqlIdempotency(self._writer)
        self.records = SqlRecords(self._reader)
        self._notifications = None if url.get_backend_name() == "sqlite" else Notifications(url, limits, clock)
        self.leases = SqlLeases(self._reader, self._writer)
        self.certificate_log = SqlCertificateLog(self._reader, self._writer)
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

    @asynccontextmanager
    async def begin(self, under: Lease | None = None) -> AsyncIterator[Transaction]:
        """A transaction that may write. When it has ended, every listener knows what changed.

        `under` a lease it goes on only while that is held.

        Where the task is cancelled during the commit nobody can tell whether it happened; the follower will.
        Raises StoreUnavailableError, and RouterError CONFLICT where another took the same name at the same time.
        """
        with translated():
            async with self._writer.begin() as connection:
                if under is not None:
                    await guard(connection, under)
                transaction = Transaction(connection, self._clock.now(), writing=True)
                yield transaction
                keys, ids = await transaction.seal()
        if keys:
            for follower in self._followers:
                follower.committed(keys, ids[-1])
            self._tell(keys, ids[-1])

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """A transaction that only reads, as of one instant. Raises StoreUnavailableError."""
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
        await self._writer.dispose()
        await self._reader.dispose()

    def _watch(self) -> Watch:
        return DataVersion(self._url) if self._notifications is None else self._notifications.watch()

    def _tell(self, keys: Sequence[str], number: int) -> None:
        calls = [partial(listener, keys, number) for listener in self._number_listeners]
        calls += [partial(listener, keys) for listener in self._listeners]
        for call in calls:
            try:
                call()
            except Exception:  # noqa: BLE001  # the change is committed: a listener's mistake is not the verb's failure
                _log.exception("a listener failed", listener=repr(call.func))
