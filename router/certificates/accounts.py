"""The fleet's account at the authority: made once, opened by each process that places orders, and given another key.

The key is stored before the account is registered: an authority that is asked again with the same key answers with the same
account (RFC 8555 §7.3.1), so whoever died in between leaves no second one.
"""

from dataclasses import replace

import structlog

from router.base.clock import Clock
from router.base.leases import GuardedTransactions, Lease
from router.base.secret_box import SecretBox, SecretLostError
from router.certificates.account import Account, account_key_purpose
from router.certificates.authority import Authority, AuthorityError, RefusedError
from router.certificates.keys import new_key
from router.certificates.transaction import Tx

GONE = "accountDoesNotExist"
_AGAIN = 60.0  # seconds between two tries to replace the key

_log = structlog.get_logger("router.certificates")


class Accounts:
    """The account at one authority. Methods may raise StoreUnavailableError, and what the authority raises; RefusedError
    `accountKeyLost` where no `secrets_key` opens its key."""

    def __init__(self, store: GuardedTransactions[Tx], clock: Clock, *, authority: Authority, box: SecretBox) -> None:
        self._store = store
        self._clock = clock
        self._authority = authority
        self._box = box
        self._again_at = float("-inf")
        self.uri: str | None = None
        """Of the account, from when this process has opened it."""

    async def open(self, under: Lease | None = None) -> str:
        """Let the authority work with the account; its uri. Costs nothing where that was done."""
        if self.uri is None:
            self.uri = await self._open(await self._stored(under), under)
        return self.uri

    def forget(self) -> None:
        """The authority does not know the account (any more): the next `open` finds out."""
        self.uri = None

    async def replace_key(self, under: Lease | None = None) -> None:
        """Give the account the key that is wanted for it, if one is (`AccountKeys`) and no order has been begun: TXT values belong
        to the key. Orders that are planned wait for it (`wants_key`)."""
        async with self._store.read() as tx:
            account, begun = await tx.acme_accounts.get(self._authority.directory), await tx.acme_orders.begun()
        if account is None or account.next_sealed_key is None or begun or self._clock.monotonic() < self._again_at:
            return
        self._again_at = self._clock.monotonic() + _AGAIN
        uri = await self.open(under)
        try:
            await self._authority.roll_key(self._key(account.next_sealed_key))
        except AuthorityError:
            self.forget()  # its answer may have got lost: `open` finds out which of both keys it knows
            raise
        await self._save(replace(_with_next(account, account.next_sealed_key), uri=uri), under)
        _log.info("account key replaced", account=uri)

    async def _open(self, account: Account, under: Lease | None) -> str:
        key = self._key(account.sealed_key)
        try:
            uri = await self._authority.open_account(key, account.uri)
        except RefusedError as refused:
            if refused.kind != GONE or account.uri is None:
                raise
            if account.next_sealed_key is not None:
                return await self._open(_with_next(replace(account, uri=None), account.next_sealed_key), under)
            uri = await self._authority.open_account(key, None)
        if uri != account.uri:
            await self._save(replace(account, uri=uri), under)
        return uri

    async def _stored(self, under: Lease | None) -> Account:
        directory = self._authority.directory
        async with self._store.read() as tx:
            found = await tx.acme_accounts.get(directory)
        if found is not None:
            return found
        new = Account(directory=directory, sealed_key=self._seal(new_key()), created_at=self._clock.now())
        async with self._store.begin(under) as tx:
            return await tx.acme_accounts.make(new)

    async def _save(self, account: Account, under: Lease | None) -> None:
        async with self._store.begin(under) as tx:
            await tx.acme_accounts.save(account)

    def _seal(self, key: str) -> str:
        return self._box.seal(key, purpose=account_key_purpose(self._authority.directory))

    def _key(self, sealed: str) -> str:
        try:
            return self._box.open(sealed, purpose=account_key_purpose(self._authority.directory))
        except SecretLostError as error:
            raise RefusedError(
                "accountKeyLost", "the router cannot read the key of its account at the authority"
            ) from error


class AccountKeys:
    """Another key for an account, because the old one may have leaked. It is stored here, and taken to the authority by the
    process that drives orders: of two that did, one would sign with a key that is void."""

    def __init__(self, store: GuardedTransactions[Tx], *, box: SecretBox) -> None:
        self._store = store
        self._box = box

    async def want_new(self, directory: str) -> bool:
        """Have the key replaced as soon as no order is under way; False where there is no account at this directory. Raises
        NoSecretsKeyError, StoreUnavailableError."""
        async with self._store.begin() as tx:
            account = await tx.acme_accounts.get(directory)
            if account is None:
                return False
            if account.next_sealed_key is None:
                sealed = self._box.seal(new_key(), purpose=account_key_purpose(directory))
                await tx.acme_accounts.save(replace(account, next_sealed_key=sealed))
        return True


def _with_next(account: Account, next_key: str | None) -> Account:
    return replace(account, sealed_key=next_key or account.sealed_key, next_sealed_key=None)
