"""The store: transactions for the verbs, records for the resolver, news of changes for the caches."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.engine import URL

from router.clock import Clock
from router.store.engine import Reader, driver_url, probe, reading_engine, translated, writing_engine
from router.store.idempotency import SqlIdempotency
from router.store.migrate import check
from router.store.outbox import OutboxFollower
from router.store.records import SqlRecords
from router.store.transaction import Transaction

_log = structlog.get_logger("router.store")

Listener = Callable[[Sequence[str]], object]


class Store:
    """One database. Made by `Store.open`; not thread-safe: one per event loop."""

    def __init__(self, url: URL, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._writer = writing_engine(url)
        self._reader = reading_engine(url)
        self._listeners: list[Listener] = []
        self._followers: list[OutboxFollower] = []
        self._records_reader = Reader(url, self._reader)
        self.idempotency = SqlIdempotency(self._writer)
        self.records = SqlRecords(self._records_reader)

    @classmethod
    async def open(cls, database_url: str, *, clock: Clock) -> "Store":
        """The store behind `settings.database_url`, migrated before. Raises StoreUnavailableError where it is not."""
        url = driver_url(database_url)
        probe(url, create=False)
        store = cls(url, clock)
        try:
            with translated():
                async with store._reader.connect() as connection:
                    await check(connection)
        except BaseException:
            await store.close()
            raise
        return store

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Transaction]:
        """A transaction that may write. When it has ended, every listener knows what changed.

        Where the task is cancelled during the commit nobody can tell whether it happened; the follower will.
        Raises StoreUnavailableError, and RouterError CONFLICT where another took the same name at the same time.
        """
        with translated():
            async with self._writer.begin() as connection:
                transaction = Transaction(connection, self._clock.now(), writing=True)
                yield transaction
                keys, ids = await transaction.seal()
        for follower in self._followers:
            follower.committed(ids)
        if keys:
            self._tell(keys)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """A transaction that only reads, as of one instant. Raises StoreUnavailableError."""
        with translated():
            async with self._reader.connect() as connection:
                yield Transaction(connection, self._clock.now(), writing=False)

    def after_commit(self, listener: Listener) -> None:
        """Call `listener(keys)` with the touched keys of each commit of this process, before `begin` returns."""
        self._listeners.append(listener)

    def follow(self, on_keys: Listener, on_gap: Callable[[], object]) -> OutboxFollower:
        """A follower of what other processes commit; `start` it before anything is cached, `close` it before the store."""
        reader = reading_engine(self._url, connections=1)
        follower = OutboxFollower(self._url, reader, self._writer, self._clock, on_keys=on_keys, on_gap=on_gap)
        self._followers.append(follower)
        return follower

    async def close(self) -> None:
        """Close every connection."""
        await self._writer.dispose()
        await self._reader.dispose()
        self._records_reader.close()

    def _tell(self, keys: Sequence[str]) -> None:
        for listener in self._listeners:
            try:
                listener(keys)
            except Exception:  # noqa: BLE001  # the change is committed: a listener's mistake is not the verb's failure
                _log.exception("a listener failed", listener=repr(listener))
