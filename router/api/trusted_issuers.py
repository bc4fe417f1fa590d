"""/tenant/trusted-issuers: the CI systems whose tokens open a tenant's previews that are not public."""

from typing import Annotated

from pydantic import Field

from router.api.authorization import authorize_place, tenant_of
from router.api.cursors import CursorPaging, MomentCursor, moment_cursor, read_moment
from router.api.models import Exact, Id, Instant, Name, Out
from router.api.operations import Call, Data, Handlers, Paged, operation
from router.api.principal import Access, Principal
from router.errors import CONFLICT, NOT_FOUND
from router.tenancy.claim_patterns import MAX_CLAIMS, MAX_PATTERN
from router.tenancy.projects import Projects
from router.tenancy.trusted_issuers import MAX_AUDIENCE, MAX_ISSUER, TrustedIssuer, TrustedIssuers
from router.tenancy.workspaces import Workspaces

IssuerUrl = Annotated[
    str,
    Field(
        max_length=MAX_ISSUER,
        description="Where the CI system says which keys it signs with: https, to the letter as `iss` in its tokens.",
        json_schema_extra={"format": "uri"},
        examples=["https://token.actions.githubusercontent.com"],
    ),
]
Audience = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_AUDIENCE,
        description="What pipelines have tokens made for: `aud` has to be it, or have it. Take one that nothing else takes.",
        examples=["https://previews.example.com"],
    ),
]
Claims = Annotated[
    dict[str, Annotated[str, Field(max_length=MAX_PATTERN)]],
    Field(
        min_length=1,
        max_length=MAX_CLAIMS,
        description="What each of these claims has to be: a value, or a pattern in which `*` stands for any characters. Of "
        "GitHub and GitLab.com, where anybody has pipelines, one has to say whose are meant.",
        examples=[{"repository": "acme/shop", "ref": "refs/heads/*"}],
    ),
]


class IssuerQuery(CursorPaging):
    cursor: MomentCursor | None = None


class CreateIssuer(Exact):
    """Without `workspace_id` and `project_id` it opens everything that the organization has and that is not public."""

    name: Name
    issuer: IssuerUrl
    audience: Audience
    claims: Claims
    enabled: bool = True
    workspace_id: Annotated[Id | None, Field(description="Open what is in this workspace alone.")] = None
    project_id: Annotated[Id | None, Field(description="Open what is in this project alone.")] = None


class PatchIssuer(Exact):
    """What is not sent keeps its value. A change of anything but the name ends what came in by it before."""

    name: Name = Field(default_factory=str)
    issuer: IssuerUrl = Field(default_factory=str)
    audience: Audience = Field(default_factory=str)
    claims: Claims = Field(default_factory=dict)
    enabled: Annotated[bool, Field(default_factory=bool)]
    workspace_id: Id | None = None
    project_id: Id | None = None


class IssuerOut(Out):
    """`last_used_at` is when it last let a pipeline in, to the minute."""

    id: str
    tenant_id: str
    workspace_id: str | None
    project_id: str | None
    name: str
    issuer: str
    audience: str
    claims: dict[str, str]
    enabled: bool
    created_at: Instant
    updated_at: Instant
    last_used_at: Instant | None


class TrustedIssuersApi(Handlers):
    tag = "Trusted issuers"
    prefix = "/api/v1/tenant/trusted-issuers"

    def __init__(self, issuers: TrustedIssuers, *, workspaces: Workspaces, projects: Projects) -> None:
        self._issuers = issuers
        self._workspaces = workspaces
        self._projects = projects

    @operation("GET", "", "List trusted issuers", access=Access.TENANT)
    async def list(self, call: Call[None, IssuerQuery]) -> Paged[IssuerOut]:
        """The oldest first."""
        query = call.query
        part = query.part(from_cursor=query.cursor is not None)
        found = await self._issuers.list(tenant_of(call.principal), part, read_moment(query.cursor))
        items, cursor = query.cut(found.items, lambda issuer: moment_cursor(issuer.created_at, issuer.id))
        return Paged([_shown(issuer) for issuer in items], found.total, cursor)

    @operation("POST", "", "Trust an issuer", status=201, access=Access.TENANT, problems=(CONFLICT, NOT_FOUND))
    async def create(self, call: Call[CreateIssuer]) -> Data[IssuerOut]:
        """From when this answers, a pipeline whose token the rule fits opens previews that are not public: as `Authorization:
        Bearer`, without a secret that has to be kept anywhere. The program behind the preview does not see the token."""
        await self._authorize(call.principal, call.body)
        return Data(_shown(await self._issuers.create(tenant_of(call.principal), **call.body.model_dump())))

    @operation("GET", "/{id}", "Get a trusted issuer", access=Access.TENANT)
    async def get(self, call: Call) -> Data[IssuerOut]:
        return Data(_shown(await self._issuers.get(tenant_of(call.principal), call.ids["id"])))

    @operation("PATCH", "/{id}", "Change a trusted issuer", access=Access.TENANT)
    async def patch(self, call: Call[PatchIssuer]) -> Data[IssuerOut]:
        """Holds everywhere when this answers; streams that came in by what it was before end within two seconds."""
        await self._authorize(call.principal, call.body)
        changed = await self._issuers.update(tenant_of(call.principal), call.ids["id"], **call.body.given())
        return Data(_shown(changed))

    @operation("DELETE", "/{id}", "Trust an issuer no more", access=Access.TENANT)
    async def delete(self, call: Call) -> Data[IssuerOut]:
        """Its tokens open nothing from now on, and streams that came in by them end within two seconds."""
        return Data(_shown(await self._issuers.delete(tenant_of(call.principal), call.ids["id"])))

    async def _authorize(self, principal: Principal, body: CreateIssuer | PatchIssuer) -> None:
        """Refuse a place that the caller may not see."""
        if body.project_id is not None:
            project = await self._projects.get(body.project_id)
            authorize_place(principal, "project", project.tenant_id, project.workspace_id, project.id)
        if body.workspace_id is not None:
            workspace = await self._workspaces.get(body.workspace_id)
            authorize_place(principal, "workspace", workspace.tenant_id, workspace.id)


def _shown(issuer: TrustedIssuer) -> IssuerOut:
    return IssuerOut(
        **{name: getattr(issuer, name) for name in IssuerOut.model_fields if name != "claims"},
        claims=dict(issuer.claims),
    )
