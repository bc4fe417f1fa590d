"""What happened to whom: one row per change of a life, written with the change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from router.clock import Clock
from router.errors import NOT_FOUND, RouterError
from router.unit import FIRST, Listing, Unit, Window

FAMILY = ".*"  # behind a noun: whatever happened to it

_CHUNK = 1000  # rows that one transaction deletes


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

    async def get(self, event_id: str) -> Event | None: ...

    async def list(
        self,
        window: Window,
        *,
        tenant_id: str,
        workspace_id: str | None = None,
        project_id: str | None = None,
        resource_id: str | None = None,
        domain_id: str | None = None,
        type: str | None = None,
        after: tuple[datetime, str] | None = None,
    ) -> Listing[Event]:
        """The newest first; each condition that is given narrows. `type` may end with FAMILY. `after` leaves out the event
        of that `created_at` and id, and those that come before it."""

    async def prune(self, before: datetime, most: int) -> int:
        """Delete at most so many that are older; how many it were."""


class EventsTx(Protocol):
    @property
    def events(self) -> EventRows: ...


class Events:
    """What happened, for whoever asks. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Unit[EventsTx], clock: Clock, *, retention: float) -> None:
        """`retention` is how long events are kept, in seconds."""
        self._store = store
        self._clock = clock
        self._retention = timedelta(seconds=retention)

    async def get(self, event_id: str) -> Event:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            event = await tx.events.get(event_id)
        if event is None:
            raise RouterError(NOT_FOUND, "event not found")
        return event

    async def list(
        self,
        window: Window = FIRST,
        *,
        tenant_id: str,
        workspace_id: str | None = None,
        project_id: str | None = None,
        resource_id: str | None = None,
        domain_id: str | None = None,
        type: str | None = None,
        after: tuple[datetime, str] | None = None,
    ) -> Listing[Event]:
        """As EventRows.list."""
        async with self._store.read() as tx:
            return await tx.events.list(
                window,
                tenant_id=tenant_id,
                workspace_id=workspace_id,
                project_id=project_id,
                resource_id=resource_id,
                domain_id=domain_id,
                type=type,
                after=after,
            )

    async def prune(self) -> None:
        """Delete what is older than anybody wants to know, a piece at a time so that no writer waits long."""
        before = self._clock.now() - self._retention
        gone = _CHUNK
        while gone == _CHUNK:
            async with self._store.begin() as tx:
                gone = await tx.events.prune(before, _CHUNK)
