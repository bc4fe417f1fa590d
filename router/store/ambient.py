"""An ambient transaction: a request's Idempotency-Key, its change, what it reads for its response, and that response, in one.

    claim      the transaction begins, with the key's row
    begin()    a service's change joins it; a second change commits what there is first, and begins another
    read()     reads on its connection, while it is open
    finish     the response is stored in it, and it is committed

So a process that dies has stored both the change and the response that a repeated request gets, or neither. Each `begin()`
still stands or falls by itself: where it raises, the transaction is undone, with nothing in it but what was read and the key,
which the next one claims again. Whoever waits for anything but the store commits before (`transactions.commit_ambient`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from router.base.transactions import AMBIENT
from router.errors import StoreUnavailableError
from router.store.connection import Connection, Engine
from router.store.transaction import Transaction

Claiming = Callable[[Connection], Awaitable[None]]


class Ambient:
    """base.transactions.Ambient. Of one task. `make` makes a transaction on a connection; `seal` does the last thing before its
    commit, and says what is to be called after it."""

    def __init__(
        self,
        writer: Engine,
        make: Callable[[Connection], Transaction],
        seal: Callable[[Transaction], Awaitable[Callable[[], None]]],
    ) -> None:
        self.writer = writer
        self._make = make
        self._seal = seal
        self._under_way: AbstractAsyncContextManager[Connection] | None = None
        self._connection: Connection | None = None
        self._change: Transaction | None = None
        self._claiming: Claiming | None = None
        self._claimed = False
        self._lost = False
        self.over = False

    @property
    def connection(self) -> Connection | None:
        """That of the transaction; None where none is open."""
        return self._connection

    def claims(self, claiming: Claiming) -> None:
        """The key was claimed in the open transaction. Where that is undone, the next one begins with `claiming`."""
        self._claiming = claiming
        self._claimed = True

    async def opened(self) -> Connection:
        """The connection of the transaction, which begins if none is open. Raises StoreUnavailableError once a change was lost."""
        self._check()
        if self._connection is None:
            under_way = self.writer.begin()
            self._connection = await under_way.__aenter__()
            self._under_way = under_way
            if self._claiming is not None and not self._claimed:
                try:
                    await self._claiming(self._connection)
                except BaseException as error:
                    await self.undo(error)
                    raise
                self._claimed = True
        return self._connection

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Transaction]:
        """One `begin()`."""
        if self._change is not None:
            await self.commit()
        transaction = self._make(await self.opened())
        try:
            yield transaction
            await transaction.write_entries()
        except BaseException as error:
            await self.undo(error)
            raise
        self._change = transaction

    async def commit(self) -> None:
        self._check()
        if self._under_way is None:
            return
        told, changed = None, self._change is not None
        try:
            if self._change is not None:
                told = await self._seal(self._change)
        except BaseException as error:
            await self.undo(error)
            raise
        under_way = self._forget()
        try:
            await _end(under_way, None)
        except BaseException:
            self._lost = changed
            raise
        if self._claimed:
            self._claiming = None
        if told is not None:
            told()

    async def undo(self, error: BaseException) -> None:
        """Undo what is not committed, because of that error."""
        if self._under_way is None:
            return
        # Its own `begin()` has said that it is made. Nobody may be told so now.
        self._lost = self._lost or self._change is not None
        self._claimed = False
        await _end(self._forget(), error)

    def _check(self) -> None:
        if self._lost:
            raise StoreUnavailableError("a change of this call was undone")

    def _forget(self) -> AbstractAsyncContextManager[Connection]:
        under_way = self._under_way
        if under_way is None:
            raise RuntimeError("no transaction is under way")
        self._under_way = self._connection = self._change = None
        return under_way


class AmbientSnapshot:
    """base.transactions.Ambient, of a request that only reads: all of it as of one instant, on one connection. A change ends it."""

    def __init__(self, reader: Engine) -> None:
        self.reader = reader
        self._under_way: AbstractAsyncContextManager[Connection] | None = None
        self._connection: Connection | None = None
        self.over = False

    async def opened(self) -> Connection:
        """The connection of the transaction, which begins if none is open."""
        if self._connection is None:
            under_way = self.reader.connect()
            self._connection = await under_way.__aenter__()
            self._under_way = under_way
        return self._connection

    async def commit(self) -> None:
        await self.undo(None)

    async def undo(self, error: BaseException | None) -> None:
        """End it, because of that error."""
        under_way, self._under_way, self._connection = self._under_way, None, None
        if under_way is not None:
            await _end(under_way, error)


async def _end(under_way: AbstractAsyncContextManager[Connection], error: BaseException | None) -> None:
    trace = None if error is None else error.__traceback__
    try:
        await under_way.__aexit__(None if error is None else type(error), error, trace)
    except BaseException as raised:
        if raised is not error:
            raise


def snapshot_of(reader: Engine) -> AmbientSnapshot | None:
    """The one that this task is in, where it is one of that database."""
    found = AMBIENT.get()
    return found if isinstance(found, AmbientSnapshot) and found.reader is reader and not found.over else None


def ambient_of(writer: Engine) -> Ambient | None:
    """The one that this task is in, where it is one of that database."""
    found = AMBIENT.get()
    return found if isinstance(found, Ambient) and found.writer is writer and not found.over else None
