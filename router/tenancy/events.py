"""What happened to whom: one row per change of a life, written with the change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from router.unit import FIRST, Listing, Unit, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`type` is a noun and what happened to it, as in `sandbox.created`; `data` holds what the noun alone does not."""

    id: str
    type: str
    tenant_id: str
    workspace_id: str | None = None
    project_id: str | None = None
    resource_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime


class EventRows(Protocol):
    """Stored events."""

    async def note(
        self,
        event_type: str,
        now: datetime,
        *,
        tenant_id: str,
        workspace_id: str | None = None,
        project_id: str | None = None,
        resource_id: str | None = None,
        data: Mapping[str, Any],
    ) -> None:
        """Store one event."""

    async def add(self, new: Sequence[Event]) -> None:
        """Store several."""

    async def list(
        self,
        window: Window,
        *,
        tenant_id: str,
        workspace_id: str | None = None,
        project_id: str | None = None,
        resource_id: str | None = None,
    ) -> Listing[Event]:
        """The newest first; each condition that is given narrows."""


class EventsTx(Protocol):
    @property
    def events(self) -> EventRows: ...


class Events:
    """What happened, for whoever asks. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Unit[EventsTx]) -> None:
        self._store = store

    async def list(
        self,
        window: Window = FIRST,
        *,
        tenant_id: str,
        workspace_id: str | None = None,
        project_id: str | None = None,
        resource_id: str | None = None,
    ) -> Listing[Event]:
        """The newest first; each condition that is given narrows."""
        async with self._store.read() as tx:
            return await tx.events.list(
                window, tenant_id=tenant_id, workspace_id=workspace_id, project_id=project_id, resource_id=resource_id
            )
