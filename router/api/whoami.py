"""/whoami: the tenant of a key or a token, and its scope. Never the key itself."""

from typing import Annotated

from pydantic import Field

from router.api.authorization import tenant_of
from router.api.models import Instant, Out
from router.api.operations import Call, Data, Handlers, operation
from router.api.principal import Access, Principal
from router.tenancy.projects import Projects
from router.tenancy.tenants import Tenants
from router.tenancy.workspaces import Workspaces


class NamedOut(Out):
    id: str
    slug: str
    name: str


class WhoamiOut(Out):
    """`workspace` and `project` are null where it reaches more than one."""

    user: Annotated[None, Field(description="Keys belong to organizations; people are another service's.")] = None
    tenant_id: str
    organization: NamedOut
    tenant: Annotated[NamedOut, Field(description="The same.")]
    workspace: NamedOut | None
    project: NamedOut | None
    plan: str
    credential: Annotated[
        str, Field(description="`key`, `token`, or `session`: somebody who is signed in to the console.")
    ]
    key_id: str | None
    person: Annotated[
        str | None,
        Field(
            description="Of a session: their e-mail address, or their id at the provider where it has verified none."
        ),
    ]
    read_only: Annotated[bool, Field(description="Whether it may change nothing.")]
    expires_at: Annotated[Instant | None, Field(description="When a session ends.")]
    scope: str
    scopes: list[str]


class WhoamiApi(Handlers):
    tag = "Account"

    def __init__(self, *, tenants: Tenants, workspaces: Workspaces, projects: Projects) -> None:
        self._tenants = tenants
        self._workspaces = workspaces
        self._projects = projects

    @operation("GET", "/whoami", "Tell whom the key speaks for")
    async def whoami(self, call: Call) -> Data[WhoamiOut]:
        """With X-MIOSA-Tenant, whom it speaks for there."""
        principal = call.principal
        tenant = await self._tenants.get(tenant_of(principal))
        workspace_id, project_id = principal.workspace_id, principal.project_id
        workspace = await self._workspaces.get(workspace_id) if workspace_id is not None else None
        project = await self._projects.get(project_id) if project_id is not None else None
        organization = NamedOut.model_validate(tenant)
        kind, _, credential = principal.id.partition(":")
        scope = _scope(principal)
        return Data(
            WhoamiOut(
                tenant_id=tenant.id,
                organization=organization,
                tenant=organization,
                workspace=NamedOut.model_validate(workspace) if workspace is not None else None,
                project=NamedOut.model_validate(project) if project is not None else None,
                plan=tenant.plan,
                credential=kind if kind in {"key", "session"} else "token",
                key_id=credential.partition("@")[0] if kind == "key" else None,
                person=(principal.actor.name or principal.actor.id) if kind == "session" and principal.actor else None,
                read_only=principal.only_reads,
                expires_at=principal.until,
                scope=scope,
                scopes=[scope],
            )
        )


def _scope(principal: Principal) -> str:
    """As `keys create --scope` has it."""
    match principal.access:
        case Access.PROJECT:
            return f"project:{principal.project_id}"
        case Access.WORKSPACE:
            return f"workspace:{principal.workspace_id}"
        case Access.TENANT:
            return "tenant"
        case Access.PLATFORM:
            return "platform"
