"""Exposed ports of sandboxes: `expose`, and previews, which are the same thing with settings."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol, Unpack

from pydantic import Field

from router.api.endpoint import Bare, Call, Paged, Reply, Resource, endpoint
from router.api.links import LinkOut, Links, shown
from router.api.machines import Found, reached
from router.api.models import Body, Instant, Metadata, Name, Paging, Port
from router.errors import CONFLICT
from router.routes.records import Kind
from router.tenancy.previews import VISIBILITIES, Preview, PreviewChanges
from router.tenancy.resources import Resource as Record
from router.unit import Listing, Window

_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOST = rf"({_LABEL}\.)+[a-zA-Z]{{2,63}}"

PreviewState = Literal["active", "deleted"]
Visibility = Annotated[str, Field(max_length=20, json_schema_extra={"enum": list(VISIBILITIES)})]
HostMode = Annotated[
    str,
    Field(
        max_length=253,
        pattern=f"^(preserve|localhost|{_HOST})$",
        description="The Host that the program sees: `preserve` (as the visitor sent it), `localhost`, or a name.",
        # A label with hyphens in third and fourth place is an A-label or nothing (RFC 5891 §4.2.3.1).
        json_schema_extra={"pattern": rf"^(preserve|localhost|(?!..--)(?!.*\...--){_HOST})$"},
    ),
]


class Expose(Body):
    port: Annotated[
        Port | None, Field(description="The default port where none is given, or the one that was exposed first.")
    ] = None


class PatchPreview(Body):
    """What is not sent keeps its value."""

    visibility: Visibility | None = None
    host_mode: HostMode | None = None
    name: Name | None = None
    metadata: Metadata | None = None

    def changes(self) -> PreviewChanges:
        """Those that were sent; null is as good as not sent, except for the name, which it clears."""
        changes: PreviewChanges = {}
        if self.visibility is not None:
            changes["visibility"] = self.visibility
        if self.host_mode is not None:
            changes["host_mode"] = self.host_mode
        if self.metadata is not None:
            changes["metadata"] = self.metadata
        if "name" in self.model_fields_set:
            changes["name"] = self.name
        return changes


class CreatePreview(PatchPreview):
    port: Port


class ExposedPort(LinkOut):
    """What is shown of a preview, whatever it is of."""

    id: str
    tenant_id: str
    port: int
    name: str | None
    visibility: str
    host_mode: str
    metadata: Metadata
    state: PreviewState
    external_workspace_id: str | None
    external_user_id: str | None
    external_project_id: str | None
    created_at: Instant
    updated_at: Instant


class PreviewOut(ExposedPort):
    """A port of a sandbox, and where it is reached."""

    sandbox_id: str


class ExposedOut(LinkOut):
    """Where the port is reached."""

    port: int
    preview: PreviewOut


class Previews(Protocol):
    """The verbs that these endpoints, and those of computers, need."""

    async def put(
        self, resource_id: str, port: int | None = None, **changes: Unpack[PreviewChanges]
    ) -> tuple[Preview, bool]: ...

    async def get(self, resource_id: str, preview_id: str) -> Preview: ...

    async def list(self, resource_id: str, window: Window) -> Listing[Preview]: ...

    async def update(self, resource_id: str, port: int, **changes: Unpack[PreviewChanges]) -> Preview: ...

    async def delete(self, resource_id: str, preview_id: str) -> Preview: ...

    async def close(self, resource_id: str, port: int) -> None: ...


class SandboxPreviews(Resource):
    tag = "Sandbox previews"
    prefix = "/api/v1/sandboxes/{id}"

    def __init__(self, *, resources: Found, previews: Previews, links: Links) -> None:
        self._resources = resources
        self._previews = previews
        self._links = links

    @endpoint("POST", "/expose", "Expose a port of a sandbox", problems=(CONFLICT,))
    async def expose(self, call: Call[Expose]) -> Bare[ExposedOut]:
        """It is reachable when this answers. Exposing it again changes nothing."""
        sandbox = await reached(self._resources, call, Kind.SANDBOX)
        preview, _ = await self._previews.put(sandbox.id, call.body.port)
        shown = await self._shown(sandbox, preview)
        return Bare(ExposedOut(**link_fields(shown), port=preview.port, preview=shown))

    @endpoint("GET", "/previews", "List the previews of a sandbox")
    async def list(self, call: Call[None, Paging]) -> Paged[PreviewOut]:
        """By port."""
        sandbox = await reached(self._resources, call, Kind.SANDBOX)
        found = await self._previews.list(sandbox.id, call.query.window)
        fields = await exposed(self._links, sandbox, found.items)
        return Paged([PreviewOut(**item, sandbox_id=sandbox.id) for item in fields], found.total)

    @endpoint("POST", "/previews", "Create a preview, which exposes its port", status=201, also=(200,))
    async def create(self, call: Call[CreatePreview]) -> Reply[PreviewOut]:
        """A port that has a preview keeps it, with what this says changed; that is answered with 200."""
        sandbox = await reached(self._resources, call, Kind.SANDBOX)
        preview, created = await self._previews.put(sandbox.id, call.body.port, **call.body.changes())
        return Reply(await self._shown(sandbox, preview), 201 if created else 200)

    @endpoint("GET", "/previews/{preview_id}", "Get a preview")
    async def get(self, call: Call) -> Reply[PreviewOut]:
        sandbox = await reached(self._resources, call, Kind.SANDBOX)
        return Reply(await self._shown(sandbox, await self._previews.get(sandbox.id, call.ids["preview_id"])))

    @endpoint("DELETE", "/previews/{preview_id}", "Delete a preview, which closes its port")
    async def delete(self, call: Call) -> Reply[PreviewOut]:
        """The default port stays reachable, and with the organization's `auto_expose` every port does."""
        sandbox = await reached(self._resources, call, Kind.SANDBOX)
        preview = await self._previews.delete(sandbox.id, call.ids["preview_id"])
        return Reply(await self._shown(sandbox, preview, state="deleted"))

    async def _shown(self, sandbox: Record, preview: Preview, state: PreviewState = "active") -> PreviewOut:
        (fields,) = await exposed(self._links, sandbox, [preview], state)
        return PreviewOut(**fields, sandbox_id=sandbox.id)


async def exposed(
    links: Links, resource: Record, previews: Sequence[Preview], state: PreviewState = "active"
) -> list[dict[str, Any]]:
    """The fields of `ExposedPort` of each preview of a resource."""
    found = await links.of_ports(resource, [preview.port for preview in previews])
    return [
        {
            **link_fields(shown(link)),
            "id": preview.id,
            "tenant_id": resource.tenant_id,
            "port": preview.port,
            "name": preview.name,
            "visibility": preview.visibility,
            "host_mode": preview.host_mode,
            "metadata": dict(preview.metadata),
            "state": state,
            "external_workspace_id": resource.external_workspace_id,
            "external_user_id": resource.external_user_id,
            "external_project_id": resource.external_project_id,
            "created_at": preview.created_at,
            "updated_at": preview.updated_at,
        }
        for preview, link in zip(previews, found, strict=True)
    ]


def link_fields(shown: LinkOut) -> dict[str, Any]:
    """The fields of a link, to stand among others."""
    return {name: getattr(shown, name) for name in LinkOut.model_fields}
