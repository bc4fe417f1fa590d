"""The keys that sign cookies of previews, the same on every node of the fleet.

A new key is known everywhere before it signs (`AHEAD`), and signs for `PERIOD`, or until the next one does. What it has
signed is believed for `OVERLAP` longer than that: as long as any cookie lives. `replace` is for a key that has leaked.
Instants are seconds of the epoch.
"""

import dataclasses
import secrets
from collections.abc import Sequence
from typing import Final, Protocol

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.transactions import Transactions
from router.routes.records import SigningKey
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.transaction import Tx

COOKIES: Final = "cookies"  # what they sign

DAY: Final = 86400.0
PERIOD: Final = 30 * DAY
OVERLAP: Final = 31 * DAY  # the longest life of a cookie, and a day in which clocks may differ
AHEAD: Final = 60.0  # seconds between a key's making and its first signature
_LATE: Final = 30 * DAY  # by which the next key may come late, because the job could not run


class SigningKeyRows(Protocol):
    """Stored signing keys."""

    async def hold(self) -> None:
        """Wait until no other transaction changes signing keys."""

    async def list(self, purpose: str) -> Sequence[SigningKey]:
        """The newest first."""

    async def add(self, purpose: str, key: SigningKey) -> None: ...

    async def save(self, purpose: str, key: SigningKey) -> None:
        """Store every field."""

    async def delete(self, purpose: str, keys: Sequence[SigningKey]) -> None: ...


class SigningKeys:
    """The service of signing keys. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @retry_on_deadlock
    async def make(self) -> None:
        """Make the first key where there is none, once however many nodes start together."""
        async with self._store.read() as tx:
            if await tx.signing_keys.list(COOKIES):
                return
        async with self._store.begin() as tx:
            await tx.signing_keys.hold()
            if not await tx.signing_keys.list(COOKIES):
                await tx.signing_keys.add(COOKIES, _new(self._clock.now().timestamp()))

    @retry_on_deadlock
    async def rotate(self) -> None:
        """Make the next key where the newest has signed for long enough, and delete those that nothing valid is signed by."""
        now = self._clock.now().timestamp()
        async with self._store.read() as tx:
            keys = await tx.signing_keys.list(COOKIES)
            if not _ended(keys, now) and not _retires(keys, now):
                return
        async with self._store.begin() as tx:
            await tx.signing_keys.hold()
            keys = await tx.signing_keys.list(COOKIES)
            if _retires(keys, now):
                new = _new(now + AHEAD)
                for key in keys:
                    if key.until > new.since + OVERLAP:
                        await tx.signing_keys.save(COOKIES, dataclasses.replace(key, until=new.since + OVERLAP))
                await tx.signing_keys.add(COOKIES, new)
            await tx.signing_keys.delete(COOKIES, _ended(keys, now))

    @retry_on_deadlock
    async def replace(self) -> SigningKey:
        """Delete every key and make a new one: what was signed before is void on every node from now on."""
        async with self._store.begin() as tx:
            await tx.signing_keys.hold()
            await tx.signing_keys.delete(COOKIES, await tx.signing_keys.list(COOKIES))
            key = _new(self._clock.now().timestamp())
            await tx.signing_keys.add(COOKIES, key)
            return key


def _new(since: float) -> SigningKey:
    return SigningKey(new_id(), secrets.token_hex(32), since, since + PERIOD + _LATE + OVERLAP)


def _ended(keys: Sequence[SigningKey], now: float) -> Sequence[SigningKey]:
    return [key for key in keys if key.until <= now]


def _retires(keys: Sequence[SigningKey], now: float) -> bool:
    """Whether it is time for another key. One that was made while a clock was ahead signs only when its time has come."""
    return not any(now - PERIOD < key.since <= now + AHEAD for key in keys)
