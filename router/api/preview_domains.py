"""Preview domains: of the tenant, of a workspace, of a project. The answers have no envelope, as their pages show."""

from typing import Annotated, Any, Protocol

from pydantic import Field

from router.api.endpoint import Bare, Call, Resource, endpoint
from router.api.models import Body, HostName, Instant, Out, RecordOut
from router.api.principal import Reach
from router.api.scope import check_place, tenant_of
from router.domains.looking import Look
from router.domains.names import MAX_ZONE
from router.domains.preview import PreviewDomain, Standing
from router.domains.requirements import of_preview
from router.domains.urls import Urls
from router.errors import CHECKED_JUST_NOW, CONFLICT, FORBIDDEN, NOT_FOUND, RouterError
from router.hostname import default_host, sandbox_host
from router.routes.records import Scope
from router.tenancy.projects import Project
from router.tenancy.workspaces import Workspace

NOT_CONFIGURED = "not_configured"
_EXAMPLE_PORT = 3000
_VERIFY = (NOT_FOUND, CONFLICT, CHECKED_JUST_NOW)


class PutPreviewDomain(Body):
    preview_domain: Annotated[
        HostName,
        Field(
            description="The domain under which generated hosts shall be.", json_schema_extra={"maxLength": MAX_ZONE}
        ),
    ]


class UrlExamples(Out):
    default_preview: str
    port_preview: str
    deployment: str


class PreviewDomainOut(Out):
    """`preview_domain` is the scope's own, null where it inherits; `effective_domain` is what holds for it.

    `domain`, `cname_target`, `target` and `verified` say the same in the words of the clients. `failure_reason` is a code:
    `never_verified`, `dns_moved`. `checked_at` is when DNS was last looked at, `next_check_at` when it will be by itself.
    """

    scope: Scope
    id: str
    preview_domain: str | None
    effective_domain: str
    status: str
    dns_status: str
    url_examples: UrlExamples
    records: list[RecordOut]
    failure_reason: str | None
    caa_forbidden: bool
    checked_at: Instant | None
    next_check_at: Instant | None
    verified_at: Instant | None
    domain: str | None
    cname_target: str
    target: str
    verified: bool


class Previews(Protocol):
    """The verbs that these endpoints need."""

    async def standing(self, scope: Scope, scope_id: str) -> Standing: ...

    async def set(self, scope: Scope, scope_id: str, name: str) -> PreviewDomain: ...

    async def clear(self, scope: Scope, scope_id: str) -> PreviewDomain | None: ...


class Verifier(Protocol):
    async def preview_domain(self, scope: Scope, scope_id: str) -> tuple[PreviewDomain, Look]: ...


class _Workspaces(Protocol):
    async def get(self, workspace_id: str) -> Workspace: ...


class _Projects(Protocol):
    async def get(self, project_id: str) -> Project: ...


class _Surface(Resource):
    """What the three surfaces share."""

    def __init__(
        self,
        *,
        previews: Previews,
        verification: Verifier,
        workspaces: _Workspaces,
        projects: _Projects,
        urls: Urls,
        target: str,
    ) -> None:
        self._previews = previews
        self._verification = verification
        self._workspaces = workspaces
        self._projects = projects
        self._urls = urls
        self._target = target

    async def _workspace(self, call: Call[Any, Any]) -> str:
        """The id of a workspace in reach. Raises RouterError: NOT_FOUND, FORBIDDEN (another tenant's too)."""
        workspace = await self._workspaces.get(call.ids["id"])
        if not call.principal.covers(workspace.tenant_id, workspace.id):
            raise RouterError(FORBIDDEN)
        return workspace.id

    async def _project(self, call: Call[Any, Any]) -> str:
        """The id of a project in reach. Raises RouterError: NOT_FOUND, FORBIDDEN."""
        project = await self._projects.get(call.ids["id"])
        check_place(call.principal, "project", project.tenant_id, project.workspace_id, project.id)
        return project.id

    async def _get(self, scope: Scope, scope_id: str) -> Bare[PreviewDomainOut]:
        return Bare(self._shown(scope, scope_id, await self._previews.standing(scope, scope_id)))

    async def _put(self, scope: Scope, scope_id: str, body: PutPreviewDomain) -> Bare[PreviewDomainOut]:
        await self._previews.set(scope, scope_id, body.preview_domain)
        return await self._get(scope, scope_id)

    async def _clear(self, scope: Scope, scope_id: str) -> Bare[PreviewDomainOut]:
        await self._previews.clear(scope, scope_id)
        return await self._get(scope, scope_id)

    async def _verify(self, scope: Scope, scope_id: str) -> Bare[PreviewDomainOut]:
        preview, check = await self._verification.preview_domain(scope, scope_id)
        return Bare(self._shown(scope, scope_id, Standing(preview, preview), check))

    def _shown(self, scope: Scope, scope_id: str, standing: Standing, check: Look | None = None) -> PreviewDomainOut:
        own, effective = standing.own, standing.effective
        domain = effective.domain if effective is not None else self._urls.platform_domain
        dns_status = own.dns_status if own is not None else NOT_CONFIGURED
        seen = None if check is None or own is None else check.noted(own.check.checked_at or own.updated_at)
        needed = () if own is None else of_preview(own, self._target, seen)
        return PreviewDomainOut(
            scope=scope,
            id=scope_id,
            preview_domain=own.domain if own is not None else None,
            effective_domain=domain,
            status=own.status if own is not None else NOT_CONFIGURED,
            dns_status=check.dns_status if check is not None else dns_status,
            url_examples=UrlExamples(
                default_preview=self._urls.at(default_host("<slug>", domain)),
                port_preview=self._urls.at(sandbox_host("<slug>", domain, _EXAMPLE_PORT)),
                deployment=self._urls.at(default_host("<deployment-slug>", domain)),
            ),
            records=[RecordOut.model_validate(one) for one in needed],
            failure_reason=own.failure_reason if own is not None else None,
            caa_forbidden=own is not None and own.check.caa_forbidden,
            checked_at=own.check.checked_at if own is not None else None,
            next_check_at=own.check.next_check_at if own is not None else None,
            verified_at=own.verified_at if own is not None else None,
            domain=own.domain if own is not None else None,
            cname_target=self._target,
            target=self._target,
            verified=own is not None and own.verified,
        )


class TenantPreviewDomain(_Surface):
    tag = "Tenant preview domain"
    prefix = "/api/v1/tenant/preview-domain"

    @endpoint("GET", "", "Get the tenant's preview domain", reach=Reach.TENANT)
    async def get(self, call: Call) -> Bare[PreviewDomainOut]:
        return await self._get(Scope.TENANT, tenant_of(call.principal))

    @endpoint("PUT", "", "Set the tenant's preview domain", reach=Reach.TENANT, problems=(CONFLICT,))
    async def put(self, call: Call[PutPreviewDomain]) -> Bare[PreviewDomainOut]:
        """New URLs are under it at once, unless a workspace or a project has its own. Hosts under it answer once both
        `records` are verified; those under the platform's domain go on answering."""
        return await self._put(Scope.TENANT, tenant_of(call.principal), call.body)

    @endpoint("DELETE", "", "Clear the tenant's preview domain", reach=Reach.TENANT)
    async def clear(self, call: Call) -> Bare[PreviewDomainOut]:
        """New URLs are under the platform's domain again."""
        return await self._clear(Scope.TENANT, tenant_of(call.principal))

    @endpoint("GET", "/verify", "Check the tenant's preview domain", reach=Reach.TENANT, problems=_VERIFY)
    async def check(self, call: Call) -> Bare[PreviewDomainOut]:
        """Looks at DNS now; where both records lead to us the domain is verified."""
        return await self._verify(Scope.TENANT, tenant_of(call.principal))

    @endpoint("POST", "/verify", "Verify the tenant's preview domain", reach=Reach.TENANT, problems=_VERIFY)
    async def verify(self, call: Call) -> Bare[PreviewDomainOut]:
        """The same as GET."""
        return await self._verify(Scope.TENANT, tenant_of(call.principal))

    @endpoint("POST", "/check", "Look at the tenant's preview domain again", reach=Reach.TENANT, problems=_VERIFY)
    async def look(self, call: Call) -> Bare[PreviewDomainOut]:
        """The same, in the word that custom domains have for it."""
        return await self._verify(Scope.TENANT, tenant_of(call.principal))


class WorkspacePreviewDomain(_Surface):
    tag = "Workspace preview domain"
    prefix = "/api/v1/workspaces/{id}/preview-domain"

    @endpoint("GET", "", "Get a workspace's preview domain", reach=Reach.WORKSPACE)
    async def get(self, call: Call) -> Bare[PreviewDomainOut]:
        return await self._get(Scope.WORKSPACE, await self._workspace(call))

    @endpoint("PUT", "", "Set a workspace's preview domain", reach=Reach.WORKSPACE, problems=(CONFLICT,))
    async def put(self, call: Call[PutPreviewDomain]) -> Bare[PreviewDomainOut]:
        """In place of the tenant's, unless a project has its own."""
        return await self._put(Scope.WORKSPACE, await self._workspace(call), call.body)

    @endpoint("DELETE", "", "Clear a workspace's preview domain", reach=Reach.WORKSPACE)
    async def clear(self, call: Call) -> Bare[PreviewDomainOut]:
        """The workspace inherits the tenant's again, or the platform's."""
        return await self._clear(Scope.WORKSPACE, await self._workspace(call))

    @endpoint("GET", "/verify", "Check a workspace's preview domain", reach=Reach.WORKSPACE, problems=_VERIFY)
    async def check(self, call: Call) -> Bare[PreviewDomainOut]:
        """Looks at DNS now; where both records lead to us the domain is verified."""
        return await self._verify(Scope.WORKSPACE, await self._workspace(call))

    @endpoint("POST", "/verify", "Verify a workspace's preview domain", reach=Reach.WORKSPACE, problems=_VERIFY)
    async def verify(self, call: Call) -> Bare[PreviewDomainOut]:
        """The same as GET."""
        return await self._verify(Scope.WORKSPACE, await self._workspace(call))

    @endpoint("POST", "/check", "Look at a workspace's preview domain again", reach=Reach.WORKSPACE, problems=_VERIFY)
    async def look(self, call: Call) -> Bare[PreviewDomainOut]:
        """The same, in the word that custom domains have for it."""
        return await self._verify(Scope.WORKSPACE, await self._workspace(call))


class ProjectPreviewDomain(_Surface):
    tag = "Project preview domain"
    prefix = "/api/v1/projects/{id}/preview-domain"

    @endpoint("GET", "", "Get a project's preview domain")
    async def get(self, call: Call) -> Bare[PreviewDomainOut]:
        return await self._get(Scope.PROJECT, await self._project(call))

    @endpoint("PUT", "", "Set a project's preview domain", problems=(CONFLICT,))
    async def put(self, call: Call[PutPreviewDomain]) -> Bare[PreviewDomainOut]:
        """In place of the workspace's and the tenant's."""
        return await self._put(Scope.PROJECT, await self._project(call), call.body)

    @endpoint("DELETE", "", "Clear a project's preview domain")
    async def clear(self, call: Call) -> Bare[PreviewDomainOut]:
        """The project inherits the workspace's again, or the tenant's, or the platform's."""
        return await self._clear(Scope.PROJECT, await self._project(call))

    @endpoint("GET", "/verify", "Check a project's preview domain", problems=_VERIFY)
    async def check(self, call: Call) -> Bare[PreviewDomainOut]:
        """Looks at DNS now; where both records lead to us the domain is verified."""
        return await self._verify(Scope.PROJECT, await self._project(call))

    @endpoint("POST", "/verify", "Verify a project's preview domain", problems=_VERIFY)
    async def verify(self, call: Call) -> Bare[PreviewDomainOut]:
        """The same as GET."""
        return await self._verify(Scope.PROJECT, await self._project(call))

    @endpoint("POST", "/check", "Look at a project's preview domain again", problems=_VERIFY)
    async def look(self, call: Call) -> Bare[PreviewDomainOut]:
        """The same, in the word that custom domains have for it."""
        return await self._verify(Scope.PROJECT, await self._project(call))
