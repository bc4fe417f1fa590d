"""/internal/v1/activity: when each resource was last used, so that the platform can stop idle ones."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Protocol

from pydantic import Field

from router.api.models import Instant, Moment, Out, Query
from router.api.operations import Auth, Call, Data, Handlers, operation

UNCOUNTED = Field(description="The same where `keeps_awake` is false: its traffic is no reason to keep it running.")


class Since(Query):
    since: Moment | None = None


class SeenOut(Out):
    resource_id: str
    last_activity_at: Annotated[Instant | None, Field(description="Null where its traffic does not count as use.")]
    last_uncounted_activity_at: Annotated[Instant | None, UNCOUNTED]


class Activity(Protocol):
    """The times at which resources were last used."""

    async def activity(self, since: datetime | None) -> tuple[Mapping[str, datetime], Mapping[str, datetime]]:
        """The last instant per resource id, as far as it was at or after `since`: of those whose traffic counts as use, and of
        the others."""


class InternalActivity(Handlers):
    tag = "Internal activity"
    prefix = "/internal/v1/activity"
    auth = Auth.INTERNAL

    def __init__(self, activity: Activity) -> None:
        self._activity = activity

    @operation("GET", "", "List when resources were last used")
    async def seen(self, call: Call[None, Since]) -> Data[list[SeenOut]]:
        """The latest first; with `since` only those that were used from then on.

        Use is an answer below 500 of the resource's own program, at its begin and its end. While a stream, an upload or a
        tunnel is open it is noted every 50 seconds, so stop nothing that was used within the last minute, or two where several nodes
        share a Redis. Our own pages, refusals, redirects and waiting pages are none; nor are WebSocket pings, where the organization says so
        (`pings_keep_awake`)."""
        counted, uncounted = await self._activity.activity(call.query.since)
        seen = [
            (at, SeenOut(resource_id=one, last_activity_at=at, last_uncounted_activity_at=None))
            for one, at in counted.items()
        ]
        seen += [
            (at, SeenOut(resource_id=one, last_activity_at=None, last_uncounted_activity_at=at))
            for one, at in uncounted.items()
        ]
        seen.sort(key=lambda one: one[0], reverse=True)
        return Data([one for _, one in seen])
