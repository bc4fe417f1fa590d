"""The keys that sign cookies of previews, and those that sign who their visitors are: the same on every node of the fleet.

A new key is known everywhere before it signs (`ahead`), and signs for `PERIOD`, or until the next one does. What it has
signed is believed for `overlap` longer than that: as long as any of it is valid. `replace` is for a key that has leaked.
Instants are seconds of the epoch.
"""

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.transactions import Transactions
from router.routes.records import COOKIES, IDENTITY, SigningKey
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.transaction import Tx

DAY: Final = 86400.0
PERIOD: Final = 30 * DAY
_LATE: Final = 30 * DAY  # by which the next key may come late, because the job could not run


@dataclass(frozen=True, slots=True)
class Purpose:
    """What keys are for. `ahead` is the seconds between a key's making and its first signature, `overlap` those for which what
    it has signed is believed after its last; `new_secret` makes one."""

    name: str
    ahead: float
    overlap: float
    new_secret: Callable[[], str]


def _new_private_number() -> str:
    from router.base.es256 import new_private_number  # noqa: PLC0415 - its library takes a while to load

    return new_private_number()


FOR_COOKIES: Final = Purpose(
    COOKIES,
    ahead=60.0,
    overlap=31 * DAY,  # the longest life of a cookie, and a day in which clocks may differ
    new_secret=lambda: secrets.token_hex(32),
)
FOR_IDENTITY: Final = Purpose(
    IDENTITY,
    ahead=DAY,  # in which programs read the published keys again
    overlap=3600.0,  # the five minutes that a token is valid, and clocks
    new_secret=_new_private_number,
)
PURPOSES: Final = (FOR_COOKIES, FOR_IDENTITY)


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

    async def make(self) -> None:
        """Make the first key of each purpose where there is none, once however many nodes start together."""
        for purpose in PURPOSES:
            await self._make(purpose)

    async def rotate(self) -> None:
        """Make the next key of each purpose where the newest has signed for long enough, and delete those that nothing valid is
        signed by."""
        for purpose in PURPOSES:
            await self._rotate(purpose)

    async def public(self) -> Sequence[SigningKey]:
        """The keys whose public halves programs verify by, the newest first: before they sign, and as long as anything that
        they have signed is valid."""
        now = self._clock.now().timestamp()
        async with self._store.read() as tx:
            return [key for key in await tx.signing_keys.list(IDENTITY) if key.until > now]

    @retry_on_deadlock
    async def _make(self, purpose: Purpose) -> None:
        async with self._store.read() as tx:
            if await tx.signing_keys.list(purpose.name):
                return
        new = _new(purpose, self._clock.now().timestamp())
        async with self._store.begin() as tx:
            await tx.signing_keys.hold()
            if not await tx.signing_keys.list(purpose.name):
                await tx.signing_keys.add(purpose.name, new)

    @retry_on_deadlock
    async def _rotate(self, purpose: Purpose) -> None:
        now = self._clock.now().timestamp()
        async with self._store.read() as tx:
            keys = await tx.signing_keys.list(purpose.name)
            if not _ended(keys, now) and not _retires(purpose, keys, now):
                return
        new = _new(purpose, now + purpose.ahead)
        last = new.since + purpose.overlap
        async with self._store.begin() as tx:
            await tx.signing_keys.hold()
            keys = await tx.signing_keys.list(purpose.name)
            if _retires(purpose, keys, now):
                for key in keys:
                    if key.until > last:
                        await tx.signing_keys.save(purpose.name, dataclasses.replace(key, until=last))
                await tx.signing_keys.add(purpose.name, new)
            await tx.signing_keys.delete(purpose.name, _ended(keys, now))

    @retry_on_deadlock
    async def replace(self, purpose: Purpose) -> SigningKey:
        """Delete every key and make a new one: what was signed before is void on every node from now on. With the key of cookies,
        which lets people in, all sessions of the console end too."""
        now = self._clock.now()
        key = _new(purpose, now.timestamp())
        async with self._store.begin() as tx:
            await tx.signing_keys.hold()
            await tx.signing_keys.delete(purpose.name, await tx.signing_keys.list(purpose.name))
            await tx.signing_keys.add(purpose.name, key)
            if purpose is FOR_COOKIES:
                await tx.sessions.revoke_console(now)
            return key


def _new(purpose: Purpose, since: float) -> SigningKey:
    return SigningKey(new_id(), purpose.new_secret(), since, since + PERIOD + _LATE + purpose.overlap)


def _ended(keys: Sequence[SigningKey], now: float) -> Sequence[SigningKey]:
    return [key for key in keys if key.until <= now]


def _retires(purpose: Purpose, keys: Sequence[SigningKey], now: float) -> bool:
    """Whether it is time for another key. One that was made while a clock was ahead signs only when its time has come."""
    return not any(now - PERIOD < key.since <= now + purpose.ahead for key in keys)
