"""/deployments: their records, under the tenant, a workspace and a project. What goes on air is in `publishing.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Protocol

from pydantic import Field

from router.api.cursors import CursorPaging, MomentCursor, moment_cursor, read_moment
from router.api.endpoint import Call, Paged, Reply, Resource, endpoint
from router.api.links import Links, shown
from router.api.models import Body, ExternalId, HostSlug, Instant, Metadata, Name, Out
from router.api.owned import OwnedBody, OwnerFilter
from router.api.principal import Principal, Reach
from router.api.scope import check_place, check_reach, tenant_of
from router.api.workspaces import ReachedWorkspaces
from router.api.workspaces import reached as reached_workspace
from router.errors import CONFLICT, NOT_FOUND, WORKSPACE_NOT_FOUND
from router.tenancy.deployments import Deployment, DeploymentState, Source, SourceType
from router.tenancy.ownership import Ownership
from router.tenancy.projects import Project
from router.tenancy.resources import Place, ResourceFilter
from router.tenancy.resources import Resource as Record
from router.unit import Listing, Window

Command = Annotated[str, Field(max_length=2000)]
Branch = Annotated[str, Field(max_length=255)]

_SOURCE = ("source_type", "repo_url", "branch", "build_command", "run_command", "auto_deploy")


class CreateDeployment(OwnedBody):
    """Commands, repository and branch are kept for the platform, which builds; nothing here acts on them."""

    name: Name
    slug: HostSlug | None = None
    source_type: SourceType | None = None
    repo_url: Command | None = None
    branch: Branch | None = None
    build_command: Command | None = None
    run_command: Command | None = None
    auto_deploy: bool | None = None
    metadata: Metadata | None = None


class PatchDeployment(Body):
    """What is not sent keeps its value; null clears it."""

    name: Name = Field(default_factory=str)
    slug: HostSlug | None = None
    source_type: SourceType | None = None
    repo_url: Command | None = None
    branch: Branch | None = None
    build_command: Command | None = None
    run_command: Command | None = None
    auto_deploy: bool | None = None
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
        return details


class DeploymentQuery(CursorPaging, OwnerFilter):
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
    metadata: Metadata
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


class Deployments(Protocol):
    """The verbs that these endpoints need."""

    async def create(
        self,
        tenant_id: str,
        name: str,
        *,
        ownership: Ownership,
        slug: str | None = None,
        source: Source | None = None,
        **details: Any,
    ) -> Deployment: ...

    async def get(self, deployment_id: str) -> Deployment: ...

    async def list(self, where: ResourceFilter, window: Window) -> Listing[Deployment]: ...

    async def update(
        self, deployment_id: str, *, slug: str | None, source: Source | None, **details: Any
    ) -> Deployment: ...

    async def delete(self, deployment_id: str) -> Deployment: ...


class Found(Protocol):
    async def get(self, deployment_id: str) -> Deployment: ...


class Places(Protocol):
    async def places(self, resources: Sequence[Record]) -> Mapping[str, Place]: ...


class ReachedProjects(Protocol):
    async def get(self, project_id: str) -> Project: ...


async def reached(deployments: Found, call: Call[Any, Any]) -> Deployment:
    """The deployment of the path. Raises RouterError: NOT_FOUND, FORBIDDEN."""
    deployment = await deployments.get(call.ids["id"])
    check_reach(call.principal, deployment.resource, "deployment")
    return deployment


class DeploymentShowcase:
    """Shows deployments: each with the names of where it lies and the URL at which it is reached."""

    def __init__(self, *, places: Places, links: Links) -> None:
        self._places = places
        self._links = links

    async def show(self, *deployments: Deployment) -> list[DeploymentOut]:
        """Deployments of one tenant as answers show them."""
        resources = [deployment.resource for deployment in deployments]
        places = await self._places.places(resources)
        links = await self._links.of(resources)
        return [
            DeploymentOut(
                **_fields(deployment, places.get(deployment.resource.project_id)),
                **shown(link).model_dump(),
                public_url=link.url,
            )
            for deployment, link in zip(deployments, links, strict=True)
        ]

    async def reply(self, deployment: Deployment) -> Reply[DeploymentOut]:
        """An answer with one deployment."""
        return Reply((await self.show(deployment))[0])


class DeploymentsApi(Resource):
    tag = "Deployments"

    def __init__(
        self,
        *,
        deployments: Deployments,
        workspaces: ReachedWorkspaces,
        projects: ReachedProjects,
        showcase: DeploymentShowcase,
    ) -> None:
        self._deployments = deployments
        self._workspaces = workspaces
        self._projects = projects
        self._showcase = showcase

    @endpoint("GET", "/deployments", "List deployments")
    async def list(self, call: Call[None, DeploymentQuery]) -> Paged[DeploymentOut]:
        """The newest first; each condition narrows."""
        return await self._page(call.query, call.query.where(call.principal))

    @endpoint("GET", "/workspaces/{id}/deployments", "List a workspace's deployments", reach=Reach.WORKSPACE)
    async def list_in_workspace(self, call: Call[None, DeploymentQuery]) -> Paged[DeploymentOut]:
        """The newest first; each condition narrows."""
        workspace = await reached_workspace(self._workspaces, call)
        where = call.query.where(call.principal)
        return await self._page(call.query, replace(where, tenant_id=workspace.tenant_id, workspace_id=workspace.id))

    @endpoint("GET", "/projects/{id}/deployments", "List a project's deployments")
    async def list_in_project(self, call: Call[None, DeploymentQuery]) -> Paged[DeploymentOut]:
        """The newest first; each condition narrows."""
        project = await self._project(call)
        where = call.query.where(call.principal)
        return await self._page(call.query, replace(where, tenant_id=project.tenant_id, project_id=project.id))

    @endpoint(
        "POST",
        "/deployments",
        "Create a deployment",
        status=201,
        problems=(WORKSPACE_NOT_FOUND, NOT_FOUND, CONFLICT),
    )
    async def create(self, call: Call[CreateDeployment]) -> Reply[DeploymentOut]:
        """It starts as `pending`; its hosts answer once a version is published. Workspace and project are found by the
        ownership fields, and made where a slug names one that does not exist.
        """
        return await self._create(call, call.body.ownership(call.principal))

    @endpoint(
        "POST",
        "/projects/{id}/deployments",
        "Create a deployment in a project",
        status=201,
        problems=(WORKSPACE_NOT_FOUND, CONFLICT),
    )
    async def create_in_project(self, call: Call[CreateDeployment]) -> Reply[DeploymentOut]:
        """As above; the path says which project."""
        project = await self._project(call)
        ownership = call.body.ownership(call.principal)
        return await self._create(call, replace(ownership, project_id=project.id, project_slug=None))

    @endpoint("GET", "/deployments/{id}", "Get a deployment")
    async def get(self, call: Call) -> Reply[DeploymentOut]:
        return await self._showcase.reply(await reached(self._deployments, call))

    @endpoint("PATCH", "/deployments/{id}", "Update a deployment", problems=(CONFLICT,))
    async def update(self, call: Call[PatchDeployment]) -> Reply[DeploymentOut]:
        """What is not sent keeps its value. Hosts of an old slug answer 410, and no other tenant can have it."""
        deployment = await reached(self._deployments, call)
        body = call.body
        changed = await self._deployments.update(
            deployment.id, slug=body.slug, source=_source(body.given()), **body.details()
        )
        return await self._showcase.reply(changed)

    @endpoint("DELETE", "/deployments/{id}", "Delete a deployment for good")
    async def delete(self, call: Call) -> Reply[DeploymentOut]:
        """Its hosts answer 410 from now on, and its slug stays the tenant's. What it was published from stays."""
        deployment = await reached(self._deployments, call)
        return await self._showcase.reply(await self._deployments.delete(deployment.id))

    async def _create(self, call: Call[CreateDeployment], ownership: Ownership) -> Reply[DeploymentOut]:
        body = call.body
        created = await self._deployments.create(
            tenant_of(call.principal),
            body.name,
            ownership=ownership,
            slug=body.slug,
            source=_source({name: value for name, value in body.given().items() if value is not None}),
            metadata=body.metadata or {},
        )
        return await self._showcase.reply(created)

    async def _page(self, query: DeploymentQuery, where: ResourceFilter) -> Paged[DeploymentOut]:
        found = await self._deployments.list(where, query.part(from_cursor=query.cursor is not None))
        page, following = query.cut(
            found.items, lambda deployment: moment_cursor(deployment.resource.created_at, deployment.id)
        )
        return Paged(await self._showcase.show(*page), found.total, following)

    async def _project(self, call: Call[Any, Any]) -> Project:
        project = await self._projects.get(call.ids["id"])
        check_place(call.principal, "project", project.tenant_id, project.workspace_id, project.id)
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
