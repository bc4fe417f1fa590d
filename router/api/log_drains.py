"""/log-drains: where a tenant's request records are sent on to."""

from typing import Annotated

from pydantic import Field

from router.api.authorization import tenant_of
from router.api.models import Choice, Exact, Id, Instant, Name, Out, Paging
from router.api.operations import Call, Data, Handlers, Paged, operation
from router.api.principal import Access
from router.drains.credentials import MAX_HEADER_VALUE, MAX_HEADERS, MAX_STRUCTURED_DATA, Credentials
from router.drains.log_drain import BatchFormat, DrainKind, DrainState, LogDrain
from router.drains.log_drains import DrainChanges, LogDrains
from router.errors import CONFLICT, NOT_FOUND, NOT_SERVED_HERE
from router.tenancy.destinations import MAX_URL

Url = Annotated[
    str,
    Field(
        max_length=MAX_URL,
        description="`https://…` at a public address, or for syslog `syslog+tls://host:port`.",
        json_schema_extra={"format": "uri"},
        examples=["https://logs.example.com/v1/input"],
    ),
]
Headers = Annotated[
    dict[str, Annotated[str, Field(max_length=MAX_HEADER_VALUE)]],
    Field(
        max_length=MAX_HEADERS,
        description="Sent with each batch, such as a service's API key. Kept encrypted, and their values never shown.",
        examples=[{"DD-API-KEY": "…"}],
        json_schema_extra={"writeOnly": True},
    ),
]
StructuredData = Annotated[
    str,
    Field(
        max_length=MAX_STRUCTURED_DATA,
        description="Stands in each syslog line, where some services want their token. Kept encrypted, and never shown.",
        examples=['[TOKEN@41058 tag="edge"]'],
        json_schema_extra={"writeOnly": True},
    ),
]
BatchForm = Annotated[
    Choice[BatchFormat], Field(description="The body of a POST: a JSON array, or a line of JSON for each record.")
]
ErrorsOnly = Annotated[bool, Field(description="Send only requests that failed or were refused, and gaps.")]
OfResource = Annotated[Id | None, Field(description="Send only requests to this sandbox, computer or deployment.")]


class CreateLogDrain(Exact):
    """It begins with the requests from now on."""

    name: Name
    url: Url
    kind: Annotated[Choice[DrainKind], Field(description="`http`: batches by POST; `syslog`: RFC 5424 over TLS.")] = (
        DrainKind.HTTP
    )
    format: BatchForm = BatchFormat.JSON
    headers: Headers = Field(default_factory=dict)
    structured_data: StructuredData | None = None
    resource_id: OfResource = None
    errors_only: ErrorsOnly = False


class PatchLogDrain(Exact):
    """What is not sent keeps its value. `headers` replaces all that there are."""

    name: Name = Field(default_factory=str)
    url: Url = Field(default_factory=str)
    format: Annotated[BatchForm, Field(default_factory=lambda: BatchFormat.JSON)]
    headers: Headers = Field(default_factory=dict)
    structured_data: StructuredData | None = None
    resource_id: OfResource = None
    errors_only: Annotated[ErrorsOnly, Field(default_factory=bool)]
    state: Annotated[
        Choice[DrainState],
        Field(
            default_factory=lambda: DrainState.ACTIVE,
            description="`paused` sends nothing; made `active` again it begins with the requests from then on.",
        ),
    ]
    rotate_secret: Annotated[
        bool, Field(description="Make a new secret, which the response shows; for a day we sign with the old one too.")
    ] = False


class LogDrainOut(Out):
    """`delivered` counts records that its endpoint took, `lost` those that were given up because it had not taken them before they were
    too old to be kept. `failures` counts tries in a row that failed, the `last_…` are of the latest one, `next_at` is when the next one
    is. `headers` are names."""

    id: str
    tenant_id: str
    name: str
    kind: DrainKind
    url: str
    format: BatchFormat
    headers: list[str]
    has_structured_data: bool
    resource_id: str | None
    errors_only: bool
    state: DrainState
    delivered: int
    lost: int
    failures: int
    next_at: Instant | None
    last_at: Instant | None
    last_status: int | None
    last_error: str | None
    created_at: Instant
    updated_at: Instant


class NewLogDrainOut(LogDrainOut):
    secret: Annotated[
        str | None,
        Field(description="What we sign with, where it is new: this once. Null where the answer is a replayed one."),
    ]


class TestedOut(Out):
    """Whether the endpoint took a line of type `test`, and if not, why."""

    delivered: bool
    status: int | None
    error: str | None
    answer: Annotated[str | None, Field(description="How its answer began.")]


class LogDrainsApi(Handlers):
    tag = "Log drains"
    prefix = "/api/v1/log-drains"

    def __init__(self, drains: LogDrains) -> None:
        self._drains = drains

    @operation("GET", "", "List log drains", access=Access.TENANT)
    async def list(self, call: Call[None, Paging]) -> Paged[LogDrainOut]:
        """The oldest first; never their secrets."""
        found = await self._drains.list(tenant_of(call.principal), call.query.window)
        return Paged([LogDrainOut(**_shown(drain)) for drain in found.items], found.total)

    @operation(
        "POST",
        "",
        "Create a log drain",
        status=201,
        access=Access.TENANT,
        problems=(CONFLICT, NOT_FOUND, NOT_SERVED_HERE),
    )
    async def create(self, call: Call[CreateLogDrain]) -> Data[NewLogDrainOut]:
        """Records of requests are sent on within seconds, at least once: by `id` a receiver knows one that comes again. Each POST is signed
        as webhooks are. An endpoint that is away is tried for as long as records are kept; what it misses is counted."""
        body = call.body
        drain = await self._drains.create(
            tenant_of(call.principal),
            name=body.name,
            url=body.url,
            kind=body.kind,
            format=body.format,
            credentials=Credentials(headers=body.headers, structured_data=body.structured_data),
            resource_id=body.resource_id,
            errors_only=body.errors_only,
        )
        return _once(drain, drain.secret)

    @operation("GET", "/{id}", "Get a log drain", access=Access.TENANT)
    async def get(self, call: Call) -> Data[LogDrainOut]:
        return Data(LogDrainOut(**_shown(await self._drains.get(tenant_of(call.principal), call.ids["id"]))))

    @operation("PATCH", "/{id}", "Change a log drain", access=Access.TENANT, problems=(CONFLICT, NOT_SERVED_HERE))
    async def patch(self, call: Call[PatchLogDrain]) -> Data[NewLogDrainOut]:
        """It is tried again at once."""
        given = call.body.given()
        headers, structured_data = given.pop("headers", None), given.pop("structured_data", None)
        rotate = given.pop("rotate_secret", False)
        credentials = None
        if not {"headers", "structured_data"}.isdisjoint(call.body.model_fields_set):
            credentials = Credentials(headers=headers or {}, structured_data=structured_data)
        changes = DrainChanges(**given)  # type: ignore[typeddict-item]  # the fields of the body are its keys
        drain = await self._drains.update(
            tenant_of(call.principal), call.ids["id"], credentials=credentials, rotate_secret=rotate, **changes
        )
        return _once(drain, drain.secret if rotate else None)

    @operation("DELETE", "/{id}", "Delete a log drain", access=Access.TENANT)
    async def delete(self, call: Call) -> Data[LogDrainOut]:
        """What it has not sent yet is not sent."""
        return Data(LogDrainOut(**_shown(await self._drains.delete(tenant_of(call.principal), call.ids["id"]))))

    @operation("POST", "/{id}/test", "Test a log drain", access=Access.TENANT)
    async def test(self, call: Call) -> Data[TestedOut]:
        """Sends one line of type `test` now, signed as every batch is, and says what came of it."""
        attempt = await self._drains.test(tenant_of(call.principal), call.ids["id"])
        return Data(
            TestedOut(
                delivered=attempt.delivered, status=attempt.status, error=attempt.error, answer=attempt.answer or None
            )
        )


def _shown(drain: LogDrain) -> dict[str, object]:
    fields: dict[str, object] = {name: getattr(drain, name, None) for name in LogDrainOut.model_fields}
    has_data = drain.kind is DrainKind.SYSLOG and drain.credentials is not None
    return fields | {"headers": list(drain.credential_names), "has_structured_data": has_data}


def _once(drain: LogDrain, secret: str | None) -> Data[NewLogDrainOut]:
    shown = _shown(drain)
    return Data(NewLogDrainOut(**shown, secret=secret), kept=NewLogDrainOut(**shown, secret=None))
