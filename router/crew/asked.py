"""The store as a worker has it: what it wants to know it asks its control process.

So a worker holds no database driver, and a database has one process per node to answer. What that process can't be asked
is as unknown as with a store that is away: StoreUnavailableError, and the resolver goes on with what it remembers.

That what was asked and what has changed never cross needs no more than with a store of one's own. A change is told only
when it is committed, and a question begins a read when it arrives, so whoever asks after it was told reads the change.
Whoever asked before may be answered with what was, before or after it is told: its look-up is detached by then
(`routes/resolver.py`), and what it puts into Redis says how much it had seen (`cache/shelves.py`).
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from router.clock import Clock
from router.crew.member import Membership
from router.errors import StoreUnavailableError
from router.routes.batches import Found
from router.routes.encoding import decode
from router.routes.follower import OutboxFollower
from router.routes.records import Change, Snapshot

BACKSTOP = 1.0  # seconds without a look at the outbox, at most: what is told here is told again there


class AskedStore:
    """`records` and `feed` of the control process's store. Each question has `within` seconds."""

    def __init__(self, membership: Membership, clock: Clock, *, within: float) -> None:
        self._membership = membership
        self._clock = clock
        self.records = AskedRecords(membership, within)
        self.feed = AskedFeed(membership, within)

    def follow(self, on_keys: Callable[[Sequence[str]], object], on_gap: Callable[[], object]) -> OutboxFollower:
        """A follower of what is committed, here or on other nodes; as Store.follow."""
        return OutboxFollower(self.feed, AskedWatch(self._membership, self._clock), on_keys=on_keys, on_gap=on_gap)


class AskedRecords:
    """routes.batches.RecordSource, cache.records.VersionedSource"""

    def __init__(self, membership: Membership, within: float) -> None:
        self._membership = membership
        self._within = within

    async def fetch(self, keys: Sequence[str]) -> Found:
        snapshot = await self.fetch_versioned(keys)
        return Found({key: record for key, (_, record) in snapshot.items()}, sources=dict.fromkeys(keys, "sql"))

    async def fetch_versioned(self, keys: Sequence[str]) -> Snapshot:
        """Raises StoreUnavailableError, and FaultError where the store stumbles over one of them."""
        answer = await self._membership.ask({"do": "records", "keys": list(keys)}, self._within)
        records = {key: decode(key, value.encode()) for key, value in answer["records"].items()}
        if missing := [key for key in keys if key not in records]:
            raise StoreUnavailableError(f"nothing was said of {missing[0]}")
        return Snapshot(records, seen=answer["seen"])


class AskedFeed:
    """routes.follower.Feed, cache.publisher.Feed"""

    def __init__(self, membership: Membership, within: float) -> None:
        self._membership = membership
        self._within = within

    def moved(self) -> bool:
        """Whether somebody may have committed: it can't be told without asking."""
        return True

    async def newest(self) -> int:
        return await self._number("newest")

    async def oldest(self) -> int:
        return await self._number("oldest")

    async def after(self, number: int, most: int) -> Sequence[Change]:
        answer = await self._membership.ask({"do": "after", "number": number, "most": most}, self._within)
        return [Change(one, key, datetime.fromisoformat(at)) for one, key, at in answer["changes"]]

    async def _number(self, which: str) -> int:
        number: int = (await self._membership.ask({"do": which}, self._within))["number"]
        return number


class AskedWatch:
    """routes.follower.Watch: the control process says when it has heard something, or is there again."""

    def __init__(self, membership: Membership, clock: Clock) -> None:
        self._membership = membership
        self._now = clock.monotonic
        self._heard = -1
        self._look_by = float("-inf")

    def moved(self) -> bool:
        now = self._now()
        if self._membership.heard == self._heard and now < self._look_by:
            return False
        self._heard, self._look_by = self._membership.heard, now + BACKSTOP
        return True

    async def pause(self) -> None:
        await self.back_off(BACKSTOP)

    async def back_off(self, wait: float) -> None:
        if self._membership.heard == self._heard:
            try:
                async with asyncio.timeout(wait):
                    await self._membership.news()
            except TimeoutError:
                return

    def close(self) -> None:
        """Nothing: the links are the membership's."""
