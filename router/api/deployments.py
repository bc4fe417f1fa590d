"""/deployments: their records, under the tenant, a workspace and a project. What goes on air is in `publishing.py`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AliasChoices, Field

from router.api.authorization import authorize, authorize_place, bounds_of, tenant_of
from router.api.blocked import BlockedOut, blocked
from router.api.cursors import CursorPaging, MomentCursor, moment_cursor, read_moment
from router.api.links import Links, shown
from router.api.machines import Identity, MachineVisibility
from router.api.models import Choice, Exact, ExternalId, HostSlug, Id, Instant, Metadata, Name, Out
from router.api.operations import Call, Data, Handlers, Paged, operation
from router.api.ownership_fields import OwnershipBody, OwnershipQuery
from router.api.principal import Access, Principal
from router.api.workspaces import authorized_workspace
from router.errors import CONFLICT, NOT_FOUND, WORKSPACE_NOT_FOUND
from router.routes.policies import Visibility
from router.tenancy.blocks import Blocks
from router.tenancy.deployments import Deployment, Deployments, DeploymentState, Source, SourceType
from router.tenancy.ownership import Ownership
from router.tenancy.projects import Project, Projects
from router.tenancy.resource_service import Resources
from router.tenancy.resources import Place, ResourceFilter
from router.tenancy.workspaces import Workspaces

Command = Annotated[str, Field(max_length=2000)]
Branch = Annotated[str, Field(max_length=255)]

_SOURCE = ("source_type", "repo_url", "branch", "build_command", "run_command", "auto_deploy")


class CreateDeployment(OwnershipBody):
    """Commands, repository and branch are kept for the platform, which builds; nothing here acts on them."""

    name: Name
    slug: HostSlug | None = None
    source_type: Choice[SourceType] | None = None
    repo_url: Command | None = None
    branch: Branch | None = None
    build_command: Command | None = None
    run_command: Command | None = None
    auto_deploy: bool | None = None
    visibility: MachineVisibility | None = None
    identity: Identity = False
    metadata: Metadata | None = None


class PatchDeployment(Exact):
    """What is not sent keeps its value; null clears it."""

    name: Name = Field(default_factory=str)
    slug: HostSlug | None = None
    source_type: Choice[SourceType] | None = None
    repo_url: Command | None = None
    branch: Branch | None = None
    build_command: Command | None = None
    run_command: Command | None = None
    auto_deploy: bool | None = None
    visibility: MachineVisibility | None = None
    identity: Identity | None = None
    metadata: Metadata | None = None
    external_workspace_id: ExternalId | None = None
    external_user_id: ExternalId | None = None
    external_project_id: ExternalId | None = None

    def details(self) -> dict[str, Any]:
        """What was sent of the resource's own fields."""
        given = self.given()
        details = {name: given[name] for name in given if name not in {"slug", *_SOURCE}}
        if "metadata" in details:
            details["metadata"] = self.metadata or {}
        if "identity" in details:
            details["identity"] = self.identity is True
        return details


class MoveDeployment(Exact):
    """Where to: a workspace, and a project of it where that is not its default one. The clients send
    `target_workspace_id` for `workspace_id`."""

    workspace_id: Annotated[Id, Field(validation_alias=AliasChoices("workspace_id", "target_workspace_id"))]
    project_id: Id | None = None


class DeploymentQuery(CursorPaging, OwnershipQuery):
    """`status` and `state` are two names of the same condition."""

    state: DeploymentState | None = None
    status: DeploymentState | None = None
    cursor: MomentCursor | None = None

    def where(self, principal: Principal) -> ResourceFilter:
        """What was asked for, inside what the caller may see. Raises RouterError FORBIDDEN."""
        state = self.state or self.status
        return ResourceFilter(
            **self.conditions(principal),
            states=state.states if state is not None else (),
            after=read_moment(self.cursor),
        )


class DeploymentOut(Out):
    """A deployment. `public_url` answers once a version is live; fields that only the platform fills are null."""

    id: str
    tenant_id: str
    owner_id: None = None
    workspace_id: str
    workspace_slug: str | None
    workspace_name: str | None
    project_id: str
    project_slug: str | None
    project_name: str | None
    external_workspace_id: str | None
    external_user_id: str | None
    external_project_id: str | None
    name: str
    slug: str
    state: DeploymentState
    status: DeploymentState
    source_type: SourceType | None
    repo_url: str | None
    repo_provider: None = None
    branch: str | None
    build_command: str | None
    run_command: str | None
    runtime_image: None = None
    auto_deploy: bool
    active_version_id: str | None
    active_release_id: str | None
    current_build_id: str | None
    running_artifact_sha256: None = None
    custom_domain_id: str | None
    linked_database_id: None = None
    deployment_product: None = None
    docker_deploy_host_id: None = None
    docker_deploy_app: None = None
    port: int | None
    visibility: Annotated[Visibility | None, Field(description="Null is the organization's `default_visibility`.")]
    identity: bool
    metadata: Metadata
    blocked: BlockedOut | None
    public_url: str
    auto_subdomain: str
    url: str
    fallback_url: str
    preview_domain: str
    url_class: str
    stable_for_embedding: bool
    recommended_next_action: str
    created_at: Instant
    updated_at: Instant
    destroyed_at: Instant | None


async def authorized_deployment(deployments: Deployments, call: Call[Any, Any]) -> Deployment:
    """The deployment of the path. Raises RouterError: NOT_FOUND, FORBIDDEN."""
    deployment = await deployments.get(call.ids["id"])
    authorize(call.principal, deployment.resource, "deployment")
    return deployment


class DeploymentPresenter:
    """Shows deployments: each with the names of where it lies and the URL at which it is reached."""

    def __init__(self, *, places: Resources, blocks: Blocks, links: Links) -> None:
        self._places = places
        self._blocks = blocks
        self._links = links

    async def show(self, *deployments: Deployment) -> list[DeploymentOut]:
        """Deployments of one tenant as responses show them."""
        resources = [deployment.resource for deployment in deployments]
        places = await self._places.places(resources)
        links = await self._links.of(resources)
        blocks = await self._blocks.of_resources([resource.id for resource in resources])
        return [
            DeploymentOut(
                **_fields(deployment, places.get(deployment.resource.project_id)),
                **shown(link).model_dump(),
                public_url=link.url,
                blocked=blocked(blocks.get(deployment.id)),
            )
            for deployment, link in zip(deployments, links, strict=True)
        ]

    async def response(self, deployment: Deployment) -> Data[DeploymentOut]:
        """A response with one deployment."""
        return Data((await self.show(deployment))[0])


class DeploymentsApi(Handlers):
    tag = "Deployments"

    def __init__(
        self,
        *,
        deployments: Deployments,
        resources: Resources,
        workspaces: Workspaces,
        projects: Projects,
        presenter: DeploymentPresenter,
    ) -> None:
        self._deployments = deployments
        self._resources = resources
        self._workspaces = workspaces
        self._projects = projects
        self._presenter = presenter

    @operation("GET", "/deployments", "List deployments")
    async def list(self, call: Call[None, DeploymentQuery]) -> Paged[DeploymentOut]:
        """The newest first; each condition narrows."""
        return await self._page(call.query, call.query.where(call.principal))

    @operation("GET", "/workspaces/{id}/deployments", "List a workspace's deployments", access=Access.WORKSPACE)
    async def list_in_workspace(self, call: Call[None, DeploymentQuery]) -> Paged[DeploymentOut]:
        """The newest first; each condition narrows."""
        workspace = await authorized_workspace(self._workspaces, call)
        where = call.query.where(call.principal)
        return await self._page(call.query, replace(where, tenant_id=workspace.tenant_id, workspace_id=workspace.id))

    @operation("GET", "/projects/{id}/deployments", "List a project's deployments")
    async def list_in_project(self, call: Call[None, DeploymentQuery]) -> Paged[DeploymentOut]:
        """The newest first; each condition narrows."""
        project = await self._project(call)
        where = call.query.where(call.principal)
        return await self._page(call.query, replace(where, tenant_id=project.tenant_id, project_id=project.id))

    @operation(
        "POST",
        "/deployments",
        "Create a deployment",
        status=201,
        problems=(WORKSPACE_NOT_FOUND, NOT_FOUND, CONFLICT),
    )
    async def create(self, call: Call[CreateDeployment]) -> Data[DeploymentOut]:
        """It starts as `pending`; its hosts answer once a version is published. Workspace and project are found by the
        ownership fields, and made where a slug names one that does not exist.
        """
        return await self._create(call, call.body.ownership(call.principal))

    @operation(
        "POST",
        "/projects/{id}/deployments",
        "Create a deployment in a project",
        status=201,
        problems=(WORKSPACE_NOT_FOUND, CONFLICT),
    )
    async def create_in_project(self, call: Call[CreateDeployment]) -> Data[DeploymentOut]:
        """As above; the path says which project."""
        project = await self._project(call)
        ownership = call.body.ownership(call.principal)
        return await self._create(call, replace(ownership, project_id=project.id, project_slug=None))

    @operation("GET", "/deployments/{id}", "Get a deployment")
    async def get(self, call: Call) -> Data[DeploymentOut]:
        return await self._presenter.response(await authorized_deployment(self._deployments, call))

    @operation("PATCH", "/deployments/{id}", "Update a deployment", problems=(CONFLICT,))
    async def update(self, call: Call[PatchDeployment]) -> Data[DeploymentOut]:
        """What is not sent keeps its value. Hosts of an old slug answer 410, and no other tenant can have it."""
        deployment = await authorized_deployment(self._deployments, call)
        body = call.body
        changed = await self._deployments.update(
            deployment.id, slug=body.slug, source=_source(body.given()), **body.details()
        )
        return await self._presenter.response(changed)

    @operation("POST", "/deployments/{id}/stop", "Take a deployment off the air", problems=(CONFLICT,))
    async def stop(self, call: Call) -> Data[DeploymentOut]:
        """Its hosts answer 503 `stopped` from now on. Publish, promote or roll back to put it on air again."""
        deployment = await authorized_deployment(self._deployments, call)
        return await self._presenter.response(await self._deployments.stop(deployment.id))

    @operation(
        "POST",
        "/deployments/{id}/move",
        "Move a deployment to another workspace or project",
        problems=(WORKSPACE_NOT_FOUND,),
    )
    async def move(self, call: Call[MoveDeployment]) -> Data[DeploymentOut]:
        """Its URLs follow at once: what this answers with is routed when it arrives."""
        deployment = await authorized_deployment(self._deployments, call)
        body = call.body
        to = Ownership(workspace_id=body.workspace_id, project_id=body.project_id, bounds=bounds_of(call.principal))
        await self._resources.move(deployment.id, to)
        return await self._presenter.response(await self._deployments.get(deployment.id))

    @operation("DELETE", "/deployments/{id}", "Delete a deployment for good")
    async def delete(self, call: Call) -> Data[DeploymentOut]:
        """Its hosts answer 410 from now on, and its slug stays the tenant's. What it was published from stays."""
        deployment = await authorized_deployment(self._deployments, call)
        return await self._presenter.response(await self._deployments.delete(deployment.id))

    async def _create(self, call: Call[CreateDeployment], ownership: Ownership) -> Data[DeploymentOut]:
        body = call.body
        created = await self._deployments.create(
            tenant_of(call.principal),
            body.name,
            ownership=ownership,
            slug=body.slug,
            source=_source({name: value for name, value in body.given().items() if value is not None}),
            metadata=body.metadata or {},
            visibility=body.visibility,
            identity=body.identity,
        )
        return await self._presenter.response(created)

    async def _page(self, query: DeploymentQuery, where: ResourceFilter) -> Paged[DeploymentOut]:
        found = await self._deployments.list(where, query.part(from_cursor=query.cursor is not None))
        page, following = query.cut(
            found.items, lambda deployment: moment_cursor(deployment.resource.created_at, deployment.id)
        )
        return Paged(await self._presenter.show(*page), found.total, following)

    async def _project(self, call: Call[Any, Any]) -> Project:
        project = await self._projects.get(call.ids["id"])
        authorize_place(call.principal, "project", project.tenant_id, project.workspace_id, project.id)
        return project


def _source(given: Mapping[str, Any]) -> Source:
    """Those of the given fields that say what it is made from. `auto_deploy` can't be cleared: it is yes or no."""
    source: Any = {name: given[name] for name in _SOURCE if name in given}
    if source.get("auto_deploy", True) is None:
        del source["auto_deploy"]
    found: Source = source
    return found


def _fields(deployment: Deployment, place: Place | None) -> dict[str, Any]:
    resource = deployment.resource
    return {
        **{name: getattr(resource, name) for name in _OF_RESOURCE},
        **{name: getattr(deployment, name) for name in _OF_DEPLOYMENT},
        "name": resource.name or resource.slug,
        "workspace_slug": place and place.workspace_slug,
        "workspace_name": place and place.workspace_name,
        "project_slug": place and place.project_slug,
        "project_name": place and place.project_name,
        "status": deployment.state,
        "port": resource.default_port,
        "visibility": resource.visibility,
        "identity": resource.identity,
        "metadata": dict(resource.metadata),
        "auto_subdomain": resource.slug,
        "destroyed_at": resource.deleted_at,
    }


_OF_RESOURCE = (
    "id",
    "tenant_id",
    "workspace_id",
    "project_id",
    "external_workspace_id",
    "external_user_id",
    "external_project_id",
    "slug",
    "created_at",
    "updated_at",
)
_OF_DEPLOYMENT = (
    *_SOURCE,
    "state",
    "active_version_id",
    "active_release_id",
    "current_build_id",
    "custom_domain_id",
)
