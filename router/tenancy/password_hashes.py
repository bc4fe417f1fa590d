"""Passwords as slow hashes: argon2id (RFC 9106), in threads, since one takes tens of milliseconds and 19 MiB.

People choose passwords, and who gets hold of the table tries billions of them: so each try has to cost memory and time. The
parameters are the first that OWASP's Password Storage Cheat Sheet recommends for argon2id, m = 19 MiB, t = 2, p = 1, with
the 16 bytes of salt of RFC 9106 §3.1. RFC 9106 §4 recommends 64 MiB where memory allows; here strangers decide how
many tries run at once, and what is at risk is one preview. A hash says what it was made with, so other parameters hold from
the next right password on.

Texts are compared as Unicode's NFC (RFC 8265 §4.2.2): the same word may be typed in several ways.
"""

import asyncio
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError

from router.errors import StoreUnavailableError

MIN_LENGTH: Final = 8  # characters
MAX_LENGTH: Final = 256
CONCURRENCY: Final = 2  # hashes under way: 38 MiB, and two processors
MAX_WAITING: Final = 64  # that wait for one of these: some two seconds of work
# Of one tenant, so that strangers at its previews, however many it has, leave places to those of the others.
TENANT_CONCURRENCY: Final = 1
TENANT_WAITING: Final = 16

T = TypeVar("T")

_HASHER: Final = PasswordHasher(
    time_cost=2, memory_cost=19 * 1024, parallelism=1, salt_len=16, hash_len=32, type=Type.ID
)


@dataclass(slots=True)
class _Share:
    """What a tenant has of the places. It is forgotten when nobody uses it."""

    slots: asyncio.Semaphore
    waiting: int = 0  # for its own place, and then for one of the node's
    running: int = 0


class PasswordHashes:
    """Makes and checks hashes, at most so many at once and so many waiting, over all and of each tenant.
    Raises StoreUnavailableError where too many wait."""

    def __init__(self, *, hasher: PasswordHasher = _HASHER) -> None:
        self._hasher = hasher
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._waiting = 0
        self._shares: dict[str, _Share] = {}

    async def make(self, password: str, *, tenant_id: str) -> str:
        """The hash of a new password, with a salt of its own."""
        text = normal(password)
        return await self._run(tenant_id, lambda: self._hasher.hash(text))

    async def match(self, password_hash: str, password: str, *, tenant_id: str) -> bool:
        """Whether that is the password. What is longer than one may be is not hashed."""
        if len(password) > MAX_LENGTH:
            return False
        text = normal(password)
        return await self._run(tenant_id, lambda: self._verify(password_hash, text))

    def is_outdated(self, password_hash: str) -> bool:
        """Whether it was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(password_hash)

    def _verify(self, password_hash: str, text: str) -> bool:
        try:
            return self._hasher.verify(password_hash, text)
        except VerifyMismatchError:
            return False

    async def _run(self, tenant_id: str, work: Callable[[], T]) -> T:
        """In a thread. Its place is free again when it has ended, not when nobody waits for it any more."""
        share = self._shares.get(tenant_id) or _Share(asyncio.Semaphore(TENANT_CONCURRENCY))
        if self._waiting >= MAX_WAITING or share.waiting >= TENANT_WAITING:
            raise StoreUnavailableError("too many passwords are being checked")
        self._shares[tenant_id] = share
        self._waiting += 1
        share.waiting += 1
        try:
            # The tenant's first: who waits for that stands in nobody's way.
            await share.slots.acquire()
            try:
                await self._slots.acquire()
            except BaseException:
                share.slots.release()
                raise
            share.running += 1
        finally:
            self._waiting -= 1
            share.waiting -= 1
            self._forget_unused(tenant_id, share)
        running = asyncio.get_running_loop().run_in_executor(None, work)
        running.add_done_callback(lambda _: self._release(tenant_id, share))
        return await asyncio.shield(running)

    def _release(self, tenant_id: str, share: _Share) -> None:
        self._slots.release()
        share.slots.release()
        share.running -= 1
        self._forget_unused(tenant_id, share)

    def _forget_unused(self, tenant_id: str, share: _Share) -> None:
        if not share.waiting and not share.running:
            del self._shares[tenant_id]


def normal(password: str) -> str:
    """The text that is hashed. One password has one, however it was typed."""
    return unicodedata.normalize("NFC", password)
