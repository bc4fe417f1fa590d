"""/internal/v1/resources: which sandboxes, computers and deployments exist."""

from typing import Annotated, Any

from pydantic import Field

from router import errors
from router.api.machines import Identity, KeepsAwake, MachineVisibility, MachineWake, Seconds, SizeName
from router.api.models import (
    Body,
    Choice,
    Exact,
    ExternalId,
    HostSlug,
    Id,
    Instant,
    Integer,
    Metadata,
    Name,
    Out,
    Port,
    PortName,
    Tags,
)
from router.api.operations import Auth, Call, Data, Handlers, operation
from router.api.previews import HostMode, Protocol, Scheme
from router.routes.policies import Visibility
from router.routes.records import Kind, State
from router.routes.wakes import Wake
from router.tenancy.resource_service import Resources
from router.tenancy.resources import Resource


class PutResource(Body):
    """What is not sent keeps its value; workspace and project default to the tenant's default ones."""

    kind: Choice[Kind]
    slug: HostSlug
    tenant_id: Id
    workspace_id: Id | None = None
    project_id: Id | None = None
    name: Name | None = None
    default_port: Port | None = None
    exposed_ports: Annotated[list[Port], Field(max_length=256)] = Field(default_factory=list)
    host_modes: Annotated[
        dict[PortName, HostMode], Field(default_factory=dict, json_schema_extra={"additionalProperties": False})
    ]
    schemes: Annotated[
        dict[PortName, Scheme], Field(default_factory=dict, json_schema_extra={"additionalProperties": False})
    ]
    protocols: Annotated[
        dict[PortName, Protocol], Field(default_factory=dict, json_schema_extra={"additionalProperties": False})
    ]
    first_byte: Annotated[float, Field(gt=0, le=86400)] | None = None
    visibility: MachineVisibility | None = None
    wake: MachineWake | None = None
    keeps_awake: KeepsAwake | None = None
    identity: Identity = False
    size: SizeName | None = None
    template_type: ExternalId | None = None
    vcpus: Integer | None = None
    memory_mb: Integer | None = None
    disk_gb: Integer | None = None
    auto_stop_seconds: Seconds | None = None
    options: Metadata = Field(default_factory=dict)
    tags: Tags = Field(default_factory=list)
    metadata: Metadata = Field(default_factory=dict)
    external_workspace_id: ExternalId | None = None
    external_user_id: ExternalId | None = None
    external_project_id: ExternalId | None = None

    def details(self) -> dict[str, Any]:
        """The fields beside those that say what it is and whose, as `Resources` takes them."""
        given = self.given()
        for name in ("kind", "slug", "tenant_id", "workspace_id", "project_id"):
            given.pop(name, None)
        if "exposed_ports" in given:
            given["exposed_ports"] = frozenset(self.exposed_ports)
        if "tags" in given:
            given["tags"] = tuple(dict.fromkeys(self.tags))
        if "host_modes" in given:
            given["host_modes"] = {int(port): mode for port, mode in self.host_modes.items()}
        if "schemes" in given:
            given["schemes"] = {int(port): scheme for port, scheme in self.schemes.items()}
        if "protocols" in given:
            given["protocols"] = {int(port): protocol for port, protocol in self.protocols.items()}
        return given


class PatchResource(Exact):
    """`destroyed` deletes it for good."""

    state: Choice[State] | None = None
    suspended: bool | None = None


class ResourceOut(Out):
    id: str
    kind: Kind
    slug: str
    tenant_id: str
    workspace_id: str
    project_id: str
    name: str | None
    state: State
    suspended: bool
    default_port: int | None
    exposed_ports: list[int]
    host_modes: dict[int, str]
    schemes: dict[int, str]
    protocols: dict[int, str]
    first_byte: float | None
    visibility: Visibility | None
    wake: Wake | None
    keeps_awake: bool | None
    identity: bool
    capture_since: Instant | None
    capture_until: Instant | None
    capture_by: str | None
    size: str | None
    template_type: str | None
    vcpus: int | None
    memory_mb: int | None
    disk_gb: int | None
    auto_stop_seconds: int | None
    options: Metadata
    tags: list[str]
    metadata: Metadata
    external_workspace_id: str | None
    external_user_id: str | None
    external_project_id: str | None
    created_at: Instant
    updated_at: Instant


class InternalResources(Handlers):
    tag = "Internal resources"
    prefix = "/internal/v1/resources"
    auth = Auth.INTERNAL

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @operation("PUT", "/{id}", "Create or update a resource", also=(201,), problems=(errors.CONFLICT,))
    async def put(self, call: Call[PutResource]) -> Data[ResourceOut]:
        """The same request twice changes nothing. 409 where the slug is another's or the id that of a deleted one."""
        body = call.body
        resource, created = await self._resources.put(
            call.ids["id"],
            kind=body.kind,
            slug=body.slug,
            tenant_id=body.tenant_id,
            workspace_id=body.workspace_id,
            project_id=body.project_id,
            **body.details(),
        )
        return Data(_shown(resource), 201 if created else 200)

    @operation("GET", "/{id}", "Get a resource")
    async def get(self, call: Call) -> Data[ResourceOut]:
        return Data(_shown(await self._resources.get(call.ids["id"])))

    @operation("PATCH", "/{id}", "Say that a resource is in another state, or suspended")
    async def patch(self, call: Call[PatchResource]) -> Data[ResourceOut]:
        body = call.body
        return Data(_shown(await self._resources.patch(call.ids["id"], state=body.state, suspended=body.suspended)))

    @operation("DELETE", "/{id}", "Delete a resource for good")
    async def delete(self, call: Call) -> Data[ResourceOut]:
        """Its hosts answer 410 from now on."""
        return Data(_shown(await self._resources.delete(call.ids["id"])))


def _shown(resource: Resource) -> ResourceOut:
    fields = {name: getattr(resource, name) for name in ResourceOut.model_fields}
    fields["exposed_ports"] = sorted(resource.exposed_ports)
    return ResourceOut(**fields)
