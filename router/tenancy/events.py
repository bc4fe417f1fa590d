"""Events: what happened to a record, written in the transaction that changes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from router.base.events import EventSink
from router.base.paging import FIRST, Listing, Window
from router.base.transactions import Transactions
from router.errors import NOT_FOUND, RouterError
from router.tenancy.transaction import Tx

FAMILY = ".*"  # behind a noun: whatever happened to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`type` is a noun and what happened to it, as in `sandbox.created`; `data` holds what the noun alone does not.

    `domain_id` is the custom domain's that it is about, which `data` says too.
    """

    id: str
    type: str
    tenant_id: str
    workspace_id: str | None = None
    project_id: str | None = None
    resource_id: str | None = None
    domain_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Conditions of a list; None is no condition. `type` may end with FAMILY. `after` leaves out the event of that
    `created_at` and id, and those that come before it.
    """

    tenant_id: str
    workspace_id: str | None = None
    project_id: str | None = None
    resource_id: str | None = None
    domain_id: str | None = None
    type: str | None = None
    after: tuple[datetime, str] | None = None


class EventRows(EventSink, Protocol):
    """Stored events."""

    async def add(self, new: Sequence[Event]) -> None:
        """Store several."""

    async def get(self, event_id: str) -> Event | None: ...

    async def list(self, where: EventFilter, window: Window) -> Listing[Event]:
        """The newest first. The total leaves `after` aside."""


class Events:
    """Reads events. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx]) -> None:
        self._store = store

    async def get(self, event_id: str) -> Event:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            event = await tx.events.get(event_id)
        if event is None:
            raise RouterError(NOT_FOUND, "event not found")
        return event

    async def list(self, where: EventFilter, window: Window = FIRST) -> Listing[Event]:
        """The newest first; each condition of `where` narrows."""
        async with self._store.read() as tx:
            return await tx.events.list(where, window)
