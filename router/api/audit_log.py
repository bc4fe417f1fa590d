"""/audit-log: who did what with which key from where. Entries are read, and neither changed nor deleted."""

import enum
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from router.api.authorization import authorize_place, list_conditions
from router.api.cursors import CursorPaging, MomentCursor, moment_cursor, read_moment
from router.api.events import TypePattern
from router.api.models import Choice, Id, Instant, Moment, Out, Query
from router.api.operations import Call, Data, Download, Handlers, Paged, operation
from router.api.principal import Access, Principal
from router.audit.entry import ActorType, Entry, EntryFilter, Outcome, Via
from router.audit.export import csv_head, csv_line, json_line
from router.audit.log import AuditLog
from router.errors import RATE_LIMITED, RouterError

MAX_EXPORTS: Final = 4  # of one tenant at once, on this node: each holds a connection for as long as its reader takes

_Word = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]


class AuditConditions(Query):
    action: Annotated[TypePattern | None, Field(description="One action, or all of a kind: `custom_domain.*`.")] = None
    type: Annotated[TypePattern | None, Field(description="Another name of `action`.")] = None
    actor_type: Choice[ActorType] | None = None
    actor_id: Annotated[
        _Word | None,
        Field(description="Of a key its id, of a token its subject. Never finds acts of the platform's people."),
    ] = None
    resource_type: Annotated[_Word | None, Field(description="The noun of an action, as `custom_domain`.")] = None
    resource_id: _Word | None = None
    outcome: Choice[Outcome] | None = None
    request_id: _Word | None = None
    workspace_id: Id | None = None
    project_id: Id | None = None
    since: Annotated[Moment | None, Field(description="Entries from then on.")] = None
    until: Annotated[Moment | None, Field(description="Entries before that.")] = None


class AuditQuery(AuditConditions, CursorPaging):
    cursor: MomentCursor | None = None
    after: Annotated[MomentCursor | None, Field(description="Another name of `cursor`.")] = None


class Format(enum.StrEnum):
    """How a file has entries: a JSON object in each line, or CSV with a line of names."""

    NDJSON = "ndjson"
    CSV = "csv"


class AuditExportQuery(AuditConditions):
    format: Choice[Format] = Format.NDJSON


class AuditEntryOut(Out):
    """Who did what. `changes` has the names of the fields that changed, with `old` and `new` where their values may be kept, else null.
    `count` is for how many equal refusals the entry stands. Of the platform's people an organization sees that it was they, and no
    name or address."""

    id: str
    created_at: Instant
    tenant_id: str | None
    workspace_id: str | None
    project_id: str | None
    actor_type: ActorType
    actor_id: str
    actor_name: str | None
    actor_scope: str | None
    via: Via
    action: str
    resource_type: str
    resource_id: str | None
    resource_name: str | None
    outcome: Outcome
    status: int | None
    code: str | None
    address: str | None
    request_id: str | None
    user_agent: str | None
    changes: dict[str, Any]
    count: int


class AuditLogApi(Handlers):
    tag = "Audit log"
    prefix = "/api/v1/audit-log"

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._exports: Counter[str | None] = Counter()  # that are under way, by tenant

    @operation("GET", "", "List entries of the audit log")
    async def list(self, call: Call[None, AuditQuery]) -> Paged[AuditEntryOut]:
        """The newest first. A key of a workspace or project sees what was done there; a key of the platform sees everything.

        Entries are kept for a year unless the platform says otherwise. Nothing changes or deletes one.
        """
        query = call.query
        after = read_moment(query.cursor or query.after)
        where = replace(conditions_of(call.principal, query), after=after)
        found, total = await self._audit.list(where, query.part(from_cursor=after is not None))
        items, cursor = query.cut(found, lambda entry: moment_cursor(entry.created_at, entry.id))
        return Paged([shown_to(call.principal, entry) for entry in items], total, cursor)

    @operation("GET", "/export", "Export the audit log")
    async def export(self, call: Call[None, AuditExportQuery]) -> Download[AuditEntryOut]:
        """All entries that fit, the newest first, as a file: a JSON object in each line, or CSV (`format=csv`), where what a spreadsheet
        would take for a formula has a quote before it. It is sent while it is read, with what there was when it began; a connection that
        is cut before the end says that it is not whole."""
        principal, query = call.principal, call.query
        pages = self._audit.export(conditions_of(principal, query))
        as_csv = query.format is Format.CSV

        async def parts() -> AsyncGenerator[bytes, None]:
            with self._one_more(principal.tenant_id):
                if as_csv:
                    yield csv_head()
                async with aclosing(pages):
                    async for page in pages:
                        rows = [shown_to(principal, entry).model_dump(mode="json") for entry in page]
                        yield b"".join(map(csv_line if as_csv else json_line, rows))

        kind = "text/csv" if as_csv else "application/x-ndjson"
        return Download(kind, f"audit-log.{query.format}", parts())

    @contextmanager
    def _one_more(self, tenant_id: str | None) -> Iterator[None]:
        """One more export under way. Raises RouterError RATE_LIMITED where the tenant has as many as it may."""
        if self._exports[tenant_id] >= MAX_EXPORTS:
            message = f"{MAX_EXPORTS} exports of this organization's audit log are under way. Wait until one has ended."
            raise RouterError(RATE_LIMITED, message, retry_after=5)
        self._exports[tenant_id] += 1
        try:
            yield
        finally:
            self._exports -= Counter((tenant_id,))  # and forget a tenant without any

    @operation("GET", "/{id}", "Get an entry of the audit log")
    async def get(self, call: Call) -> Data[AuditEntryOut]:
        entry = await self._audit.get(call.ids["id"])
        authorize_place(call.principal, "audit entry", entry.tenant_id or "", entry.workspace_id, entry.project_id)
        return Data(shown_to(call.principal, entry))


def conditions_of(principal: Principal, query: AuditConditions) -> EntryFilter:
    """What is asked for, inside what the caller may see. Raises RouterError FORBIDDEN."""
    tenant_id, workspace_id, project_id = None, query.workspace_id, query.project_id
    # What is not shown of the platform's people must not be found out by asking for it.
    hides = principal.access < Access.PLATFORM and (query.actor_id is not None or query.request_id is not None)
    if principal.access < Access.PLATFORM:  # the platform sees all tenants', unless it works for one
        bounds = list_conditions(principal, workspace_id, project_id)
        tenant_id, workspace_id, project_id = bounds["tenant_id"], bounds["workspace_id"], bounds["project_id"]
    return EntryFilter(
        tenant_id=tenant_id,
        workspace_id=workspace_id,
        project_id=project_id,
        action=query.action or query.type,
        actor_type=query.actor_type,
        actor_id=query.actor_id,
        resource_type=query.resource_type,
        resource_id=query.resource_id,
        outcome=query.outcome,
        request_id=query.request_id,
        since=query.since,
        until=query.until,
        not_by_platform=hides,
    )


def shown_to(principal: Principal, entry: Entry) -> AuditEntryOut:
    """An entry as the caller may see it."""
    out = AuditEntryOut.model_validate(entry)
    if principal.access is Access.PLATFORM or not entry.by_platform:
        return out
    hidden = {"actor_id": "platform", "actor_name": None, "address": None, "user_agent": None, "request_id": None}
    return out.model_copy(update=hidden)
