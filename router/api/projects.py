"""/projects: the apps, sites and builds inside workspaces."""

from collections.abc import Mapping
from typing import Annotated, Any, Protocol, Unpack

from pydantic import ConfigDict, Field

from router import errors
from router.api.endpoint import Bare, Call, Counted, Reply, Resource, endpoint
from router.api.models import Body, Deleted, Description, ExternalId, Id, Instant, Metadata, Name, Out, Paging, Slug
from router.api.principal import Principal, Reach
from router.api.scope import check_place, narrowed, tenant_of, within
from router.tenancy.projects import Project, ProjectChanges
from router.unit import Listing, Window


class CreateProject(Body):
    """One of `workspace_id`, `workspace_slug` and `external_workspace_id` says where; the first of them counts."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [selector], "properties": {selector: {"type": "string"}}}
                for selector in ("workspace_id", "workspace_slug", "external_workspace_id")
            ]
        }
    )

    name: Name
    slug: Annotated[Slug | None, Field(description="Made from the name where there is none.")] = None
    workspace_id: Id | None = None
    workspace_slug: Slug | None = None
    external_workspace_id: ExternalId | None = None
    external_project_id: ExternalId | None = None
    description: Description | None = None
    metadata: Metadata | None = None


class PatchProject(Body):
    """What is not sent keeps its value; null clears it, where it may be empty."""

    name: Name = Field(default_factory=str)
    slug: Slug = Field(default_factory=str)
    description: Description | None = None
    external_project_id: ExternalId | None = None
    external_workspace_id: ExternalId | None = None
    metadata: Metadata = Field(default_factory=dict)
    settings: Metadata = Field(default_factory=dict)


class MoveProject(Body):
    target_workspace_id: Id


class ListProjects(Paging):
    workspace_id: Id | None = None
    external_workspace_id: ExternalId | None = None
    external_project_id: ExternalId | None = None


class ProjectOut(Out):
    id: str
    tenant_id: str
    workspace_id: str
    external_workspace_id: str | None
    external_project_id: str | None
    name: str
    slug: str
    description: str | None
    metadata: Metadata
    settings: Metadata
    is_default: bool
    created_at: Instant
    updated_at: Instant


class Projects(Protocol):
    """The verbs that these endpoints need."""

    async def create(
        self,
        tenant_id: str,
        *,
        name: str,
        workspace_id: str | None,
        workspace_slug: str | None,
        external_workspace_id: str | None,
        slug: str | None,
        external_project_id: str | None,
        description: str | None,
        metadata: Mapping[str, Any] | None,
        within: str | None,
    ) -> Project: ...

    async def get(self, project_id: str) -> Project: ...

    async def list(
        self,
        window: Window,
        *,
        tenant_id: str | None,
        workspace_id: str | None,
        project_id: str | None,
        external_workspace_id: str | None = None,
        external_project_id: str | None = None,
    ) -> Listing[Project]: ...

    async def update(self, project_id: str, **changes: Unpack[ProjectChanges]) -> Project: ...

    async def move(self, project_id: str, workspace_id: str) -> Project: ...

    async def delete(self, project_id: str) -> Project: ...


class ProjectsApi(Resource):
    tag = "Projects"

    def __init__(self, projects: Projects) -> None:
        self._projects = projects

    @endpoint("GET", "/projects", "List projects")
    async def list(self, call: Call[None, ListProjects]) -> Counted[ProjectOut]:
        """The oldest first."""
        query = call.query
        listing = await self._projects.list(
            query.window,
            **narrowed(call.principal, query.workspace_id),
            external_workspace_id=query.external_workspace_id,
            external_project_id=query.external_project_id,
        )
        return counted(listing)

    @endpoint(
        "POST",
        "/projects",
        "Create a project",
        status=201,
        problems=(errors.WORKSPACE_REQUIRED, errors.WORKSPACE_NOT_FOUND, errors.CONFLICT),
        reach=Reach.WORKSPACE,
    )
    async def create(self, call: Call[CreateProject]) -> Reply[ProjectOut]:
        """Inside a workspace; a workspace's own key need not say which."""
        body = call.body
        project = await self._projects.create(
            tenant_of(call.principal),
            name=body.name,
            workspace_id=body.workspace_id,
            workspace_slug=body.workspace_slug,
            external_workspace_id=body.external_workspace_id,
            slug=body.slug,
            external_project_id=body.external_project_id,
            description=body.description,
            metadata=body.metadata,
            within=within(call.principal).workspace_id,
        )
        return Reply(ProjectOut.model_validate(project))

    @endpoint("GET", "/projects/{id}", "Get a project")
    async def get(self, call: Call) -> Reply[ProjectOut]:
        return Reply(ProjectOut.model_validate(await self._reached(call.principal, call.ids["id"])))

    @endpoint("PATCH", "/projects/{id}", "Update a project", problems=(errors.CONFLICT,))
    async def update(self, call: Call[PatchProject]) -> Reply[ProjectOut]:
        await self._reached(call.principal, call.ids["id"])
        return Reply(ProjectOut.model_validate(await self._projects.update(call.ids["id"], **call.body.given())))

    @endpoint("DELETE", "/projects/{id}", "Delete an empty project", problems=(errors.CONFLICT,), reach=Reach.WORKSPACE)
    async def delete(self, call: Call) -> Bare[Deleted]:
        """409 while it holds anything, and always for a workspace's default project."""
        await self._reached(call.principal, call.ids["id"])
        await self._projects.delete(call.ids["id"])
        return Bare(Deleted(deleted=True))

    @endpoint(
        "POST",
        "/projects/{id}/move",
        "Move a project to another workspace",
        problems=(errors.WORKSPACE_NOT_FOUND, errors.CONFLICT),
        reach=Reach.TENANT,
    )
    async def move(self, call: Call[MoveProject]) -> Reply[ProjectOut]:
        """With all that it holds. Preview domains and routes of the new workspace hold when this answers."""
        await self._reached(call.principal, call.ids["id"])
        moved = await self._projects.move(call.ids["id"], call.body.target_workspace_id)
        return Reply(ProjectOut.model_validate(moved))

    async def _reached(self, principal: Principal, project_id: str) -> Project:
        project = await self._projects.get(project_id)
        check_place(principal, "project", project.tenant_id, project.workspace_id, project.id)
        return project


def counted(listing: Listing[Project]) -> Counted[ProjectOut]:
    """A page of projects, as every list of them shows it."""
    return Counted([ProjectOut.model_validate(project) for project in listing.items], listing.total)
