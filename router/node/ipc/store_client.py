"""The store as a worker sees it: every read is a request to its control process.

So a worker needs no database driver, and the database has one client per node. Where the control process cannot be
asked, reads fail as if the database were away (StoreUnavailableError), and the resolver goes on with what it remembers.

No stale read can win: a change is announced only after its commit, and the control process starts a read when the
request arrives, so a request sent after the announcement sees the change. A request sent before it may return old
data, but by then its look-up is detached (`routes/resolver.py`), and what it writes to Redis carries the number of the
row that it had seen (`cache/shards.py`).
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from router.base.clock import Clock
from router.errors import StoreUnavailableError
from router.node.ipc.messages import ChangesRequest, NewestRequest, OldestRequest, RecordsRequest
from router.node.ipc.worker_side import WorkerSide
from router.routes.batches import Found
from router.routes.encoding import decode
from router.routes.follower import OutboxFollower
from router.routes.records import Change, Snapshot

POLL_INTERVAL = 1.0  # seconds between reads of the outbox at most, in case a message was lost


class StoreClient:
    """`records` and `feed` of the control process's store. Each request has `within` seconds."""

    def __init__(self, worker_side: WorkerSide, clock: Clock, *, within: float) -> None:
        self._worker_side = worker_side
        self._clock = clock
        self.records = RecordsClient(worker_side, within)
        self.feed = FeedClient(worker_side, within)

    def follow(self, on_keys: Callable[[Sequence[str]], object], on_gap: Callable[[], object]) -> OutboxFollower:
        """A follower of what is committed, here or on other nodes; as Store.follow."""
        return OutboxFollower(self.feed, WatchClient(self._worker_side, self._clock), on_keys=on_keys, on_gap=on_gap)


class RecordsClient:
    """routes.batches.RecordSource, routes.feed.VersionedSource"""

    def __init__(self, worker_side: WorkerSide, within: float) -> None:
        self._worker_side = worker_side
        self._within = within

    async def fetch(self, keys: Sequence[str]) -> Found:
        snapshot = await self.fetch_versioned(keys)
        return Found({key: record for key, (_, record) in snapshot.items()}, sources=dict.fromkeys(keys, "sql"))

    async def fetch_versioned(self, keys: Sequence[str]) -> Snapshot:
        """Raises StoreUnavailableError, and FaultError where reading one of them hit a bug."""
        answer = await self._worker_side.ask(partial(RecordsRequest, list(keys)), self._within)
        records = {key: decode(key, value.encode()) for key, value in answer.records.items()}
        if missing := [key for key in keys if key not in records]:
            raise StoreUnavailableError(f"the answer lacks {missing[0]}")
        return Snapshot(records, seen=answer.seen)


class FeedClient:
    """routes.feed.Feed"""

    def __init__(self, worker_side: WorkerSide, within: float) -> None:
        self._worker_side = worker_side
        self._within = within

    def moved(self) -> bool:
        """Always: it can't be known without asking."""
        return True

    async def pause(self) -> None:
        await asyncio.sleep(POLL_INTERVAL)

    async def newest(self) -> int:
        return (await self._worker_side.ask(NewestRequest, self._within)).number

    async def oldest(self) -> int:
        return (await self._worker_side.ask(OldestRequest, self._within)).number

    async def after(self, number: int, most: int) -> Sequence[Change]:
        answer = await self._worker_side.ask(partial(ChangesRequest, number, limit=most), self._within)
        return [Change(one, key, datetime.fromisoformat(at), *moved) for one, key, at, *moved in answer.changes]


class WatchClient:
    """routes.follower.Watch: the control process says when there is something to read."""

    def __init__(self, worker_side: WorkerSide, clock: Clock) -> None:
        self._worker_side = worker_side
        self._now = clock.monotonic
        self._signals = -1  # the signals that have been acted on
        self._poll_at = float("-inf")

    def moved(self) -> bool:
        now = self._now()
        if self._worker_side.signals == self._signals and now < self._poll_at:
            return False
        self._signals, self._poll_at = self._worker_side.signals, now + POLL_INTERVAL
        return True

    async def pause(self) -> None:
        await self.back_off(POLL_INTERVAL)

    async def back_off(self, wait: float) -> None:
        if self._worker_side.signals == self._signals:
            try:
                async with asyncio.timeout(wait):
                    await self._worker_side.changed()
            except TimeoutError:
                return

    def close(self) -> None:
        """Nothing: the channels are the worker side's."""
