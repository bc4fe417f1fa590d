"""Switching the capture of a resource's exchanges on and off: the headers and the beginning of the bodies of each are kept until it
ends, which it does by itself."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from router.base.clock import Clock
from router.base.transactions import Transactions
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.resources import Resource, live
from router.tenancy.transaction import Tx

MAX_SECONDS: Final = 3600


class RequestCaptures:
    """Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @retry_on_deadlock
    async def start(self, resource_id: str, *, seconds: int, by: str) -> Resource:
        """Capture for so many seconds from now on, for the principal of that id. Raises RouterError NOT_FOUND."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            old = live(await tx.resources.get(resource_id))
            until = now + timedelta(seconds=min(seconds, MAX_SECONDS))
            new = replace(old, capture_since=now, capture_until=until, capture_by=by)
            await tx.resources.save(old, new)
            return new

    @retry_on_deadlock
    async def stop(self, resource_id: str) -> Resource:
        """Capture nothing more. Raises RouterError NOT_FOUND."""
        async with self._store.begin() as tx:
            old = live(await tx.resources.get(resource_id))
            if old.capture_until is None:
                return old
            new = replace(old, capture_since=None, capture_until=None, capture_by=None)
            await tx.resources.save(old, new)
            return new

    def is_on(self, resource: Resource) -> bool:
        """Whether its exchanges are captured now."""
        return resource.capture_until is not None and self._clock.now() < resource.capture_until
