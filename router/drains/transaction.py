"""One transaction as the services of this package see it; `store.transaction.Transaction` offers all of it."""

from typing import Any, Protocol

from router.base.events import EventSink
from router.drains.log_drain import LogDrainRows


class TenantRows(Protocol):
    """Of tenants this package only locks one."""

    async def get(self, tenant_id: str) -> Any: ...


class ResourceRows(Protocol):
    """Of resources this package only asks whose one is."""

    async def get(self, resource_id: str) -> Any: ...


class Tx(Protocol):
    """What `begin()` and `read()` of the store give."""

    @property
    def log_drains(self) -> LogDrainRows: ...

    @property
    def tenants(self) -> TenantRows: ...

    @property
    def resources(self) -> ResourceRows: ...

    @property
    def events(self) -> EventSink: ...
