"""/workspaces: a tenant's own customers, usually. What they hold and use is `workspace_reports.py`'s."""

from typing import Annotated, Any, Literal

from pydantic import Field

from router import errors
from router.api.authorization import list_conditions, tenant_of
from router.api.models import (
    Body,
    Deleted,
    Description,
    Exact,
    ExternalId,
    Instant,
    Integer,
    Metadata,
    Name,
    Out,
    Paging,
    Slug,
)
from router.api.operations import Bare, Call, Counted, Data, Handlers, Resolved, operation
from router.api.principal import Access
from router.errors import RouterError
from router.tenancy.workspaces import Workspace, WorkspaceNameExistsError, Workspaces

SizeName = Literal["small", "medium", "large"]
TemplateName = Annotated[str, Field(min_length=1, max_length=255)]


class CreateWorkspace(Body):
    name: Name
    slug: Annotated[Slug | None, Field(description="Made from the name where there is none.")] = None
    external_workspace_id: Annotated[
        ExternalId | None, Field(description="Your customer's id. A workspace that has it is answered instead.")
    ] = None
    external_user_id: ExternalId | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    allow_duplicate_name: Annotated[bool | None, Field(description="Make another one of a name that exists.")] = None


class PatchWorkspace(Exact):
    """What is not sent keeps its value; null clears it, where it may be empty."""

    name: Name = Field(default_factory=str)
    slug: Slug = Field(default_factory=str)
    description: Description | None = None
    external_workspace_id: ExternalId | None = None
    metadata: Metadata = Field(default_factory=dict)


class PutSettings(Exact):
    """What is not sent keeps its value; null is the default."""

    max_computers: Annotated[Integer | None, Field(description="null: no cap.")] = None
    max_computer_size: Annotated[SizeName | None, Field(description="null: no cap.")] = None
    default_computer_size: Annotated[SizeName | None, Field(description="null: small.")] = None
    default_auto_stop_seconds: Annotated[Integer | None, Field(description="0: no automatic stop.")] = None
    allowed_template_types: Annotated[
        list[TemplateName] | None, Field(max_length=100, description="Empty: all of them.")
    ] = None


class ListWorkspaces(Paging):
    external_workspace_id: ExternalId | None = None


class WorkspaceOut(Out):
    id: str
    tenant_id: str
    name: str
    slug: str
    external_workspace_id: str | None
    external_user_id: str | None
    description: str | None
    metadata: Metadata
    is_default: bool
    computer_count: int
    created_at: Instant
    updated_at: Instant


class SettingsOut(Out):
    max_computers: int | None
    max_computer_size: str | None
    default_computer_size: str
    default_auto_stop_seconds: int
    allowed_template_types: list[str]


class WorkspaceSettingsOut(Out):
    workspace_id: str
    settings: SettingsOut
    updated_at: Instant


class WorkspacesApi(Handlers):
    tag = "Workspaces"

    def __init__(self, workspaces: Workspaces) -> None:
        self._workspaces = workspaces

    @operation("GET", "/workspaces", "List workspaces", access=Access.WORKSPACE)
    async def list(self, call: Call[None, ListWorkspaces]) -> Counted[WorkspaceOut]:
        """The oldest first; a workspace's own key sees that one."""
        where = list_conditions(call.principal)
        listing = await self._workspaces.list(
            call.query.window,
            tenant_id=where["tenant_id"],
            workspace_id=where["workspace_id"],
            external_workspace_id=call.query.external_workspace_id,
        )
        return Counted([WorkspaceOut.model_validate(workspace) for workspace in listing.items], listing.total)

    @operation(
        "POST",
        "/workspaces",
        "Create a workspace",
        status=201,
        also=(200,),
        problems=(errors.WORKSPACE_NAME_EXISTS, errors.CONFLICT),
        access=Access.TENANT,
    )
    async def create(self, call: Call[CreateWorkspace]) -> Resolved[WorkspaceOut]:
        """An `external_workspace_id` that a workspace has already answers that one, with 200 and `reused`.

        A name that exists is refused with 409 and the workspace under `error.existing`, unless `allow_duplicate_name`.
        """
        body = call.body
        try:
            workspace, reused = await self._workspaces.create(
                tenant_of(call.principal),
                name=body.name,
                slug=body.slug,
                external_workspace_id=body.external_workspace_id,
                external_user_id=body.external_user_id,
                description=body.description,
                metadata=body.metadata,
                allow_duplicate_name=body.allow_duplicate_name or False,
            )
        except WorkspaceNameExistsError as error:
            existing = WorkspaceOut.model_validate(error.existing).model_dump(mode="json")
            raise RouterError(error.problem, beside={"existing": existing}) from None
        return Resolved(WorkspaceOut.model_validate(workspace), reused)

    @operation("GET", "/workspaces/{id}", "Get a workspace", access=Access.WORKSPACE)
    async def get(self, call: Call) -> Data[WorkspaceOut]:
        return Data(WorkspaceOut.model_validate(await authorized_workspace(self._workspaces, call)))

    @operation("PATCH", "/workspaces/{id}", "Update a workspace", problems=(errors.CONFLICT,), access=Access.WORKSPACE)
    async def update(self, call: Call[PatchWorkspace]) -> Data[WorkspaceOut]:
        await authorized_workspace(self._workspaces, call)
        return Data(WorkspaceOut.model_validate(await self._workspaces.update(call.ids["id"], **call.body.given())))

    @operation("PUT", "/workspaces/{id}/settings", "Set a workspace's caps and defaults", access=Access.TENANT)
    async def put_settings(self, call: Call[PutSettings]) -> Bare[WorkspaceSettingsOut]:
        """They hold for computers that are created or moved into it from now on. Its own key can't change them."""
        await authorized_workspace(self._workspaces, call)
        workspace = await self._workspaces.put_settings(call.ids["id"], **call.body.given())
        return Bare(
            WorkspaceSettingsOut(
                workspace_id=workspace.id, settings=SettingsOut(**workspace.caps), updated_at=workspace.updated_at
            )
        )

    @operation(
        "DELETE",
        "/workspaces/{id}",
        "Delete an empty workspace",
        problems=(errors.CONFLICT,),
        access=Access.TENANT,
    )
    async def delete(self, call: Call) -> Bare[Deleted]:
        """409 while it holds anything, and always for the default workspace."""
        await authorized_workspace(self._workspaces, call)
        await self._workspaces.delete(call.ids["id"])
        return Bare(Deleted(deleted=True))


async def authorized_workspace(workspaces: Workspaces, call: Call[Any, Any]) -> Workspace:
    """The workspace of the path. Raises RouterError: NOT_FOUND, FORBIDDEN, also where it is another tenant's."""
    workspace = await workspaces.get(call.ids["id"])
    if not call.principal.covers(workspace.tenant_id, workspace.id):
        raise RouterError(errors.FORBIDDEN)
    return workspace
