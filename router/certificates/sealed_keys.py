"""All private keys of this package as they are stored: sealed again when `secrets_key` is replaced, and forgotten when it is
lost.

A key that no key of `secrets_key` opens is not taken for lost by itself: a node whose settings are wrong would have every
certificate ordered anew, and the authority's limits are for a week.
"""

import enum
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

from router.base.clock import Clock
from router.base.secret_box import SecretBox, SecretLostError
from router.base.transactions import Transactions
from router.certificates.account import account_key_purpose
from router.certificates.held import key_purpose
from router.certificates.order import order_key_purpose
from router.certificates.request import request_key_purpose

_CHUNK: Final = 200  # keys in one transaction


class SealedKey(enum.StrEnum):
    """What has one."""

    HELD = "held"
    ACCOUNT = "account"
    NEXT_ACCOUNT = "next_account"
    ORDER = "order"
    REQUEST = "request"

    def purpose(self, row: str) -> str:
        """What the key of the row with this primary key is sealed for."""
        return _PURPOSES[self](row)


_PURPOSES: Final = {
    SealedKey.HELD: key_purpose,
    SealedKey.ACCOUNT: account_key_purpose,
    SealedKey.NEXT_ACCOUNT: account_key_purpose,
    SealedKey.ORDER: order_key_purpose,
    SealedKey.REQUEST: request_key_purpose,
}


class SealedKeyRows(Protocol):
    """Stored keys of every kind, by the primary key of their row."""

    async def after(self, kind: SealedKey, row: str, limit: int) -> Sequence[tuple[str, str]]:
        """Rows and their sealed keys, in order, beginning behind `row`."""

    async def reseal(self, kind: SealedKey, row: str, before: str, after: str) -> None:
        """Replace a sealed key, unless it is another one than `before` by now."""

    async def forget(self, kind: SealedKey, row: str, before: str, now: datetime) -> None:
        """Let go of what the key belongs to, unless it is another one than `before` by now: a held certificate is removed, an
        order abandoned, an account and a request are deleted, and another key for an account is wanted no more."""


class Tx(Protocol):
    """What this needs of a transaction."""

    @property
    def sealed_keys(self) -> SealedKeyRows: ...


class SealedKeys:
    """Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock, *, box: SecretBox) -> None:
        self._store = store
        self._clock = clock
        self._box = box

    async def reseal(self, *, forget: bool = False, chunk: int = _CHUNK) -> tuple[int, int]:
        """Seal every key anew that another key than the first has sealed; how many they were, and how many could not be opened.
        Those stay as they are; with `forget`, what they belong to is let go of, so that it is ordered anew, or asked for."""
        done, lost = 0, 0
        for kind in SealedKey:
            last = ""
            while True:
                async with self._store.begin() as tx:
                    rows = await tx.sealed_keys.after(kind, last, chunk)
                    for row, before in rows:
                        last = row
                        if self._box.is_current(before):
                            continue
                        try:
                            key = self._box.open(before, purpose=kind.purpose(row))
                        except SecretLostError:
                            lost += 1
                            if forget:
                                await tx.sealed_keys.forget(kind, row, before, self._clock.now())
                            continue
                        await tx.sealed_keys.reseal(kind, row, before, self._box.seal(key, purpose=kind.purpose(row)))
                        done += 1
                if len(rows) < chunk:
                    break
        return done, lost
