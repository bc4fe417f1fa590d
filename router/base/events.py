"""Where services write that something happened: in the transaction that makes it so."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol


class EventSink(Protocol):
    """Takes events; the stored ones, with all that belongs to them, are `tenancy/events.py`'s."""

    async def emit(
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
        """Store one event. `event_type` is a noun and what happened to it, as in `sandbox.created`."""
