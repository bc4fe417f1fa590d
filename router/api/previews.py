"""Exposed ports of sandboxes: `expose`, and previews, which are the same thing with settings."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from router.api.links import LinkOut, Links, shown
from router.api.machines import authorized_machine
from router.api.models import PORT_NAME, Exact, Instant, Metadata, Name, Out, Paging, Port
from router.api.operations import Bare, Call, Data, Handlers, Paged, Spread, operation
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.routes.error_notes import ErrorNote, ErrorNotes
from router.routes.records import Kind
from router.tenancy.host_hints import HostHints
from router.tenancy.previews import VISIBILITIES, Preview, PreviewChanges, Previews
from router.tenancy.resource_service import Resources
from router.tenancy.resources import PROTOCOLS, SCHEMES, Resource

_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOST = rf"({_LABEL}\.)+[a-zA-Z]{{2,63}}"

PreviewState = Literal["active", "deleted"]
Visibility = Annotated[str, Field(max_length=20, json_schema_extra={"enum": list(VISIBILITIES)})]
HostMode = Annotated[
    str,
    Field(
        max_length=253,
        pattern=f"^(auto|preserve|localhost|{_HOST})$",
        description=(
            "The Host that the program is told: `preserve` (as the visitor sent it), `localhost`, a name, or `auto`: as "
            "`preserve`, until the program refuses the host as dev servers do, and as `localhost` from then on."
        ),
        # A label with hyphens in third and fourth place is an A-label or nothing (RFC 5891 §4.2.3.1).
        json_schema_extra={"pattern": rf"^(auto|preserve|localhost|(?!..--)(?!.*\...--){_HOST})$"},
    ),
]

Scheme = Annotated[
    str,
    Field(
        max_length=5,
        description="What the program on this port speaks: `http`, or `https` where it terminates TLS by itself.",
        json_schema_extra={"enum": list(SCHEMES)},
    ),
]

Protocol = Annotated[
    str,
    Field(
        max_length=5,
        description="What the program on this port takes: `http1`, or `h2c` (HTTP/2 by prior knowledge), as gRPC servers do.",
        json_schema_extra={"enum": list(PROTOCOLS)},
    ),
]


class Expose(Exact):
    port: Annotated[
        Port | None, Field(description="The default port where none is given, or the one that was exposed first.")
    ] = None


class PatchPreview(Exact):
    """What is not sent keeps its value."""

    visibility: Visibility | None = None
    host_mode: HostMode | None = None
    scheme: Scheme | None = None
    protocol: Protocol | None = None
    name: Name | None = None
    metadata: Metadata | None = None

    def changes(self) -> PreviewChanges:
        """Those that were sent; null is as good as not sent, except for the name, which it clears."""
        changes: PreviewChanges = {}
        if self.visibility is not None:
            changes["visibility"] = self.visibility
        if self.host_mode is not None:
            changes["host_mode"] = self.host_mode
        if self.scheme is not None:
            changes["scheme"] = self.scheme
        if self.protocol is not None:
            changes["protocol"] = self.protocol
        if self.metadata is not None:
            changes["metadata"] = self.metadata
        if "name" in self.model_fields_set:
            changes["name"] = self.name
        return changes


class CreatePreview(PatchPreview):
    port: Port


class PortError(Out):
    """What visitors of a port got instead of a response, because its program's response or their request was refused."""

    code: Annotated[str, Field(description="The error's code, as in `X-Miosa-Error`.")]
    reason: str | None
    message: Annotated[str, Field(description="Why, the last time: names and sizes of headers, never their values.")]
    count: Annotated[int, Field(description="How often, from `first_at` to `last_at`.")]
    first_at: Instant
    last_at: Instant

    @classmethod
    def of(cls, note: ErrorNote) -> "PortError":
        return cls(
            code=note.code,
            reason=note.reason,
            message=note.message,
            count=note.count,
            first_at=note.first,
            last_at=note.last,
        )


class ExposedPort(LinkOut):
    """What is shown of a preview, whatever it is of."""

    id: str
    tenant_id: str
    port: int
    name: str | None
    visibility: str
    host_mode: str
    hints: Annotated[
        list[str], Field(description="What would help the program on this port, as this node has seen it.")
    ]
    errors: Annotated[
        list[PortError],
        Field(
            description="Responses and requests of this port that were refused since this node started, the latest first."
        ),
    ]
    scheme: str
    protocol: str
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


class PortUrlOut(LinkOut):
    """Where one port is reached."""

    port: int


class SandboxPreviews(Handlers):
    tag = "Sandbox previews"
    prefix = "/api/v1/sandboxes/{id}"

    def __init__(
        self, *, resources: Resources, previews: Previews, links: Links, hints: HostHints, errors: ErrorNotes
    ) -> None:
        self._resources = resources
        self._previews = previews
        self._links = links
        self._hints = hints
        self._errors = errors

    @operation("POST", "/expose", "Expose a port of a sandbox", problems=(CONFLICT,))
    async def expose(self, call: Call[Expose]) -> Bare[ExposedOut]:
        """It is reachable when this answers. Exposing it again changes nothing."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        preview, _ = await self._previews.put(sandbox.id, call.body.port)
        shown = await self._shown(sandbox, preview)
        return Bare(ExposedOut(**link_fields(shown), port=preview.port, preview=shown))

    @operation("GET", "/previews", "List the previews of a sandbox")
    async def list(self, call: Call[None, Paging]) -> Paged[PreviewOut]:
        """By port."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        found = await self._previews.list(sandbox.id, call.query.window)
        fields = await exposed(self._links, self._hints, self._errors, sandbox, found.items)
        return Paged([PreviewOut(**item, sandbox_id=sandbox.id) for item in fields], found.total)

    @operation("POST", "/previews", "Create a preview, which exposes its port", status=201, also=(200,))
    async def create(self, call: Call[CreatePreview]) -> Data[PreviewOut]:
        """A port that has a preview keeps it, with what this says changed; that is answered with 200."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        preview, created = await self._previews.put(sandbox.id, call.body.port, **call.body.changes())
        return Data(await self._shown(sandbox, preview), 201 if created else 200)

    @operation("GET", "/previews/{preview_id}", "Get a preview")
    async def get(self, call: Call) -> Data[PreviewOut]:
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        return Data(await self._shown(sandbox, await self._previews.get(sandbox.id, call.ids["preview_id"])))

    @operation("DELETE", "/previews/{preview_id}", "Delete a preview, which closes its port")
    async def delete(self, call: Call) -> Data[PreviewOut]:
        """The default port stays reachable, and with the organization's `auto_expose` every port does."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        preview = await self._previews.delete(sandbox.id, call.ids["preview_id"])
        return Data(await self._shown(sandbox, preview, state="deleted"))

    @operation("GET", "/ports/{port:text}/url", "Get the URL of a sandbox's port")
    async def port_url(self, call: Call) -> Spread[PortUrlOut]:
        """404 where the port is not exposed."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        return Spread(await url_of_port(self._previews, self._links, sandbox, port_of(call)))

    async def _shown(self, sandbox: Resource, preview: Preview, state: PreviewState = "active") -> PreviewOut:
        (fields,) = await exposed(self._links, self._hints, self._errors, sandbox, [preview], state)
        return PreviewOut(**fields, sandbox_id=sandbox.id)


async def exposed(
    links: Links,
    hints: HostHints,
    errors: ErrorNotes,
    resource: Resource,
    previews: Sequence[Preview],
    state: PreviewState = "active",
) -> list[dict[str, Any]]:
    """The fields of `ExposedPort` of each preview of a resource."""
    ports = [preview.port for preview in previews]
    found, helps = await links.of_ports(resource, ports), await hints.of(resource.id, ports)
    return [
        {
            **link_fields(shown(link)),
            "id": preview.id,
            "tenant_id": resource.tenant_id,
            "port": preview.port,
            "name": preview.name,
            "visibility": preview.visibility,
            "host_mode": preview.host_mode,
            "hints": [helps[preview.port]] if preview.port in helps else [],
            "errors": [PortError.of(note) for note in errors.of(resource.id, preview.port)],
            "scheme": preview.scheme,
            "protocol": preview.protocol,
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


def port_of(call: Call[Any, Any]) -> int:
    """The port of the path. Raises RouterError NOT_FOUND where it is none: no such port is exposed."""
    text = call.ids["port"]
    if re.fullmatch(PORT_NAME, text) is None:
        raise RouterError(NOT_FOUND, "port not found")
    return int(text)


async def url_of_port(previews: Previews, links: Links, resource: Resource, port: int) -> PortUrlOut:
    """Where a port is reached. Raises RouterError NOT_FOUND where it is not exposed."""
    if not await previews.is_reachable(resource.id, port):
        raise RouterError(NOT_FOUND, f"Port {port} of this {resource.kind} is not exposed.", code="port_not_found")
    (link,) = await links.of_ports(resource, [port])
    return PortUrlOut(**link_fields(shown(link)), port=port)


def link_fields(shown: LinkOut) -> dict[str, Any]:
    """The fields of a link, to stand among others."""
    return {name: getattr(shown, name) for name in LinkOut.model_fields}
