"""/projects: the apps, sites and builds inside workspaces."""

from typing import Annotated

from pydantic import ConfigDict, Field

from router import errors
from router.api.authorization import authorize_place, bounds_of, list_conditions, tenant_of
from router.api.models import (
    Body,
    Deleted,
    Description,
    Exact,
    ExternalId,
    Id,
    Instant,
    Metadata,
    Name,
    Out,
    Paging,
    Slug,
)
from router.api.operations import Bare, Call, Counted, Data, Handlers, operation
from router.api.principal import Access, Principal
from router.base.paging import Listing
from router.tenancy.projects import Project, ProjectFilter, Projects


class CreateProject(Body):
    """One of `workspace_id`, `workspace_slug` and `external_workspace_id` says where; those that are sent must name the same."""

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


class PatchProject(Exact):
    """What is not sent keeps its value; null clears it, where it may be empty."""

    name: Name = Field(default_factory=str)
    slug: Slug = Field(default_factory=str)
    description: Description | None = None
    external_project_id: ExternalId | None = None
    external_workspace_id: ExternalId | None = None
    metadata: Metadata = Field(default_factory=dict)
    settings: Metadata = Field(default_factory=dict)


class MoveProject(Exact):
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


class ProjectsApi(Handlers):
    tag = "Projects"

    def __init__(self, projects: Projects) -> None:
        self._projects = projects

    @operation("GET", "/projects", "List projects")
    async def list(self, call: Call[None, ListProjects]) -> Counted[ProjectOut]:
        """The oldest first."""
        query = call.query
        listing = await self._projects.list(
            ProjectFilter(
                **list_conditions(call.principal, query.workspace_id),
                external_workspace_id=query.external_workspace_id,
                external_project_id=query.external_project_id,
            ),
            query.window,
        )
        return counted(listing)

    @operation(
        "POST",
        "/projects",
        "Create a project",
        status=201,
        problems=(errors.WORKSPACE_REQUIRED, errors.WORKSPACE_NOT_FOUND, errors.CONFLICT),
        access=Access.WORKSPACE,
    )
    async def create(self, call: Call[CreateProject]) -> Data[ProjectOut]:
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
            within=bounds_of(call.principal).workspace_id,
        )
        return Data(ProjectOut.model_validate(project))

    @operation("GET", "/projects/{id}", "Get a project")
    async def get(self, call: Call) -> Data[ProjectOut]:
        return Data(ProjectOut.model_validate(await self._authorized(call.principal, call.ids["id"])))

    @operation("PATCH", "/projects/{id}", "Update a project", problems=(errors.CONFLICT,))
    async def update(self, call: Call[PatchProject]) -> Data[ProjectOut]:
        await self._authorized(call.principal, call.ids["id"])
        return Data(ProjectOut.model_validate(await self._projects.update(call.ids["id"], **call.body.given())))

    @operation(
        "DELETE", "/projects/{id}", "Delete an empty project", problems=(errors.CONFLICT,), access=Access.WORKSPACE
    )
    async def delete(self, call: Call) -> Bare[Deleted]:
        """409 while it holds anything, and always for a workspace's default project."""
        await self._authorized(call.principal, call.ids["id"])
        await self._projects.delete(call.ids["id"])
        return Bare(Deleted(deleted=True))

    @operation(
        "POST",
        "/projects/{id}/move",
        "Move a project to another workspace",
        problems=(errors.WORKSPACE_NOT_FOUND, errors.CONFLICT),
        access=Access.TENANT,
    )
    async def move(self, call: Call[MoveProject]) -> Data[ProjectOut]:
        """With all that it holds. Preview domains and routes of the new workspace hold when this answers."""
        await self._authorized(call.principal, call.ids["id"])
        moved = await self._projects.move(call.ids["id"], call.body.target_workspace_id)
        return Data(ProjectOut.model_validate(moved))

    async def _authorized(self, principal: Principal, project_id: str) -> Project:
        project = await self._projects.get(project_id)
        authorize_place(principal, "project", project.tenant_id, project.workspace_id, project.id)
        return project


def counted(listing: Listing[Project]) -> Counted[ProjectOut]:
    """A page of projects, as every list of them shows it."""
    return Counted([ProjectOut.model_validate(project) for project in listing.items], listing.total)
