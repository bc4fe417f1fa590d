"""A source of records whose answers wait until they are let go: for look-ups that cross with changes."""

import asyncio
from collections.abc import Sequence

from router.errors import StoreUnavailableError
from router.routes.batches import Found
from tests.support.memory_records import MemoryRecords


class HeldRecords(MemoryRecords):
    """As MemoryRecords, but each fetch reads at once and answers when `answer` or `fail` says so, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: asyncio.Queue[tuple[asyncio.Future[None], Sequence[str]]] = asyncio.Queue()
        self.under_way = 0
        self.most_under_way = 0

    async def fetch(self, keys: Sequence[str]) -> Found:
        found = await super().fetch(keys)
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            go: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.put_nowait((go, keys))
            await go
        finally:
            self.under_way -= 1
        return found

    async def asked(self) -> "Held":
        """The next fetch, once it has read what it will answer."""
        async with asyncio.timeout(5):
            return Held(*await self._waiting.get())


class Held:
    """One fetch that waits."""

    def __init__(self, go: asyncio.Future[None], keys: Sequence[str]) -> None:
        self._go = go
        self.keys = keys

    def answer(self) -> None:
        """Let it return what it read."""
        self._go.set_result(None)

    def fail(self, error: Exception | None = None) -> None:
        """Let it raise, StoreUnavailableError unless told otherwise."""
        self._go.set_exception(error or StoreUnavailableError("switched off"))
