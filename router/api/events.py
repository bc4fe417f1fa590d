"""/events: what happened to what the caller may see."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from router.api.authorization import authorize, list_conditions
from router.api.cursors import CursorPaging, MomentCursor, moment_cursor, read_moment
from router.api.models import Id, Instant, Out
from router.api.operations import Call, Data, Handlers, Paged, operation
from router.tenancy.events import EventFilter, Events

# A noun and what happened to it, or a noun and `*` for any event of it.
TYPE = r"^[a-z][a-z_]{0,38}\.([a-z][a-z_]{0,38}|\*)$"


def check_type(text: str) -> str:
    """Raises ValueError."""
    if re.fullmatch(TYPE[1:-1], text) is None:
        raise ValueError("must be a type, such as domain.verified, or domain.* for all of a kind")
    return text


TypePattern = Annotated[
    str, AfterValidator(check_type), Field(json_schema_extra={"pattern": TYPE}, examples=["domain.*"])
]


class EventQuery(CursorPaging):
    type: Annotated[TypePattern | None, Field(description="One type, or all of a kind: `domain.*`.")] = None
    resource_id: Id | None = None
    domain_id: Id | None = None
    workspace_id: Id | None = None
    project_id: Id | None = None
    cursor: MomentCursor | None = None


class EventOut(Out):
    """What happened. `workspace_id`, `project_id`, `resource_id` and `domain_id` are null where it is not about one."""

    id: str
    type: str
    tenant_id: str
    workspace_id: str | None
    project_id: str | None
    resource_id: str | None
    domain_id: str | None
    data: dict[str, Any]
    created_at: Instant


class EventsApi(Handlers):
    tag = "Events"
    prefix = "/api/v1/events"

    def __init__(self, events: Events) -> None:
        self._events = events

    @operation("GET", "", "List events")
    async def list(self, call: Call[None, EventQuery]) -> Paged[EventOut]:
        """The newest first. They are kept for some time, a month unless the platform says otherwise."""
        query = call.query
        found = await self._events.list(
            EventFilter(
                **list_conditions(call.principal, query.workspace_id, query.project_id),
                resource_id=query.resource_id,
                domain_id=query.domain_id,
                type=query.type,
                after=read_moment(query.cursor),
            ),
            query.part(from_cursor=query.cursor is not None),
        )
        items, cursor = query.cut(found.items, lambda event: moment_cursor(event.created_at, event.id))
        return Paged([EventOut.model_validate(event) for event in items], found.total, cursor)

    @operation("GET", "/{id}", "Get an event")
    async def get(self, call: Call) -> Data[EventOut]:
        event = await self._events.get(call.ids["id"])
        authorize(call.principal, event, "event")
        return Data(EventOut.model_validate(event))
