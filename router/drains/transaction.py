"""One transaction as the services of this package see it; `store.transaction.Transaction` offers all of it."""

from typing import Any, Protocol

from router.base.events import EventSink
from router.drains.log_drain import LogDrainRows


class TenantLock(Protocol):
    """Of tenants this package only locks one."""

    async def get(self, tenant_id: str) -> Any:
        """The tenant, locked until the transaction ends; None where there is none."""


class ResourceOwners(Protocol):
    """Of resources this package only asks whose one is, and whether it is there."""

    async def get(self, resource_id: str) -> Any:
        """The resource: its `tenant_id` and `deleted_at`. None where there is none."""


class Tx(Protocol):
    """What `begin()` and `read()` of the store give."""

    @property
    def log_drains(self) -> LogDrainRows: ...

    @property
    def tenants(self) -> TenantLock: ...

    @property
    def resources(self) -> ResourceOwners: ...

    @property
    def events(self) -> EventSink: ...
