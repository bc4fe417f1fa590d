"""/internal/v1/activity: when each resource last served a request, so that the platform can stop idle ones."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from router.api.models import Instant, Moment, Out, Query
from router.api.operations import Auth, Call, Data, Handlers, operation


class Since(Query):
    since: Moment | None = None


class SeenOut(Out):
    resource_id: str
    last_activity_at: Instant


class Activity(Protocol):
    """The times at which resources last served a request."""

    async def activity(self, since: datetime | None) -> Mapping[str, datetime]:
        """The last instant per resource id, as far as it was at or after `since`."""


class InternalActivity(Handlers):
    tag = "Internal activity"
    prefix = "/internal/v1/activity"
    auth = Auth.INTERNAL

    def __init__(self, activity: Activity) -> None:
        self._activity = activity

    @operation("GET", "", "List when resources last served a request")
    async def seen(self, call: Call[None, Since]) -> Data[list[SeenOut]]:
        """The latest first; with `since` only those that served one from then on."""
        found = await self._activity.activity(call.query.since)
        latest = sorted(found.items(), key=lambda item: item[1], reverse=True)
        return Data([SeenOut(resource_id=resource_id, last_activity_at=at) for resource_id, at in latest])
