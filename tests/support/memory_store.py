"""A store's twin for the cache: versioned records and the changes that led to them, in memory."""

import asyncio
from collections.abc import Sequence

from router.access.ci_tokens import CiOutcome, CiVerdict
from router.access.visitors import PasswordCheck
from router.base.clock import Clock, SystemClock
from router.errors import StoreUnavailableError
from router.routes.batches import Found
from router.routes.records import Change, Record, Snapshot


class MemoryStore:
    """cache.shared.Store, its records and its feed in one. `down` makes everything fail, `silent` leaves reads of records
    without an answer; `reads` counts."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._records: dict[str, tuple[int, Record | None]] = {}
        self._changes: list[Change] = []
        self.down = False
        self.silent = False
        self.failed = 0
        self.reads: list[tuple[str, ...]] = []
        self.links: set[str] = set()  # those that work once and have not been used up
        self.ci_tokens: dict[tuple[str, str], CiVerdict] = {}
        self.may_verify = asyncio.Event()
        self.may_verify.set()
        self.passwords: set[tuple[str, str]] = set()  # by the ids of their secrets
        self.records = self
        self.feed = self

    def commit(self, key: str, record: Record | None) -> int:
        """Change a record; the number of the change."""
        version, _ = self._records.get(key, (0, None))
        self._records[key] = (version + 1, record)
        number = self.last + 1
        self._changes.append(Change(number, key, self._clock.now()))
        return number

    @property
    def last(self) -> int:
        """The number of the newest change."""
        return self._changes[-1].number if self._changes else 0

    def version(self, key: str) -> int:
        return self._records.get(key, (0, None))[0]

    def forget(self, number: int) -> None:
        """Trim the changes up to this one."""
        self._changes = [change for change in self._changes if change.number > number]

    async def fetch(self, keys: Sequence[str]) -> Found:
        snapshot = await self.fetch_versioned(keys)
        return Found({key: record for key, (_, record) in snapshot.items()}, sources=dict.fromkeys(keys, "sql"))

    async def fetch_versioned(self, keys: Sequence[str]) -> Snapshot:
        self._check()
        self.reads.append(tuple(keys))
        if self.silent:
            await asyncio.Event().wait()
        return Snapshot({key: self._records.get(key, (0, None)) for key in keys}, seen=await self.newest())

    async def use_up(self, secret_id: str) -> bool:
        """access.visitors.Visitors.use_up"""
        self._check()
        if self.silent:
            await asyncio.Event().wait()
        unused = secret_id in self.links
        self.links.discard(secret_id)
        return unused

    async def check_password(self, secret_id: str, password: str, client: str) -> PasswordCheck:
        """access.visitors.Visitors.check_password: who comes from 127.0.0.9 has tried too often."""
        self._check()
        return PasswordCheck(right=(secret_id, password) in self.passwords, wait=7 if client == "127.0.0.9" else 0)

    async def verify_ci_token(self, tenant_id: str, token: str) -> CiVerdict:
        """access.visitors.Visitors.verify_ci_token: nobody answers while `may_verify` is not set."""
        await self.may_verify.wait()
        return self.ci_tokens.get((tenant_id, token), CiVerdict(CiOutcome.WRONG))

    def moved(self) -> bool:
        return True

    async def pause(self) -> None:
        await asyncio.sleep(0.02)

    async def newest(self) -> int:
        self._check()
        return self.last

    async def oldest(self) -> int:
        self._check()
        return self._changes[0].number if self._changes else 0

    async def after(self, number: int, most: int) -> Sequence[Change]:
        self._check()
        first = next((at for at, change in enumerate(self._changes) if change.number > number), len(self._changes))
        return self._changes[first : first + most]

    def _check(self) -> None:
        if self.down:
            self.failed += 1
            raise StoreUnavailableError("switched off")
