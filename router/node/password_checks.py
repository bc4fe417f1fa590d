"""Passwords that visitors type, where the store is: counted first, then compared."""

from typing import Final

from router.access.visitors import PasswordCheck
from router.api.rates import RateLimiter, SharedCounts
from router.base.addresses import subscriber
from router.base.clock import Clock
from router.store import Store
from router.tenancy.passwords import Passwords

TRIES_OF_ADDRESS: Final = 5  # a minute; of IPv6 its /64
TRIES_OF_PREVIEW: Final = 100  # an hour, by whoever
_HOUR: Final = 3600.0  # seconds


class PasswordChecks:
    """`counts` are those that all nodes share; without them, or while they can't be had, this node counts alone."""

    def __init__(self, store: Store, clock: Clock, counts: SharedCounts | None = None) -> None:
        self._passwords = Passwords(store, clock)
        self._tries_of_address = RateLimiter(clock, counts)
        self._tries_of_preview = RateLimiter(clock, counts, period=_HOUR)

    async def check(self, secret_id: str, password: str, client: str) -> PasswordCheck:
        """As access.visitors.Visitors.check_password. Of both counts one is taken before anything is hashed. That of the
        address goes first: one alone can't use up at once what others have of a preview's."""
        tries = await self._tries_of_address.take(f"passwords from {subscriber(client)}", TRIES_OF_ADDRESS)
        if not tries.allowed:
            return PasswordCheck(right=False, wait=tries.reset)
        found = await self._passwords.get(secret_id)
        if found is None:  # it was changed while the form was on its way
            return PasswordCheck(right=False)
        secret, tenant_id = found
        opened = secret.preview_id or secret.resource_id
        tries = await self._tries_of_preview.take(f"passwords of {opened}", TRIES_OF_PREVIEW)
        if not tries.allowed:
            return PasswordCheck(right=False, wait=tries.reset)
        return PasswordCheck(right=await self._passwords.matches(secret, tenant_id, password))
