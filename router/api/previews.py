"""Exposed ports of sandboxes: `expose`, and previews, which are the same thing with settings."""

import re
from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field

from router.api.links import LinkOut, Links, shown
from router.api.machines import authorized_machine
from router.api.models import PORT_NAME, Choice, Exact, Instant, Metadata, Moment, Name, Out, Paging, Port
from router.api.operations import Bare, Call, Data, Handlers, Paged, Spread, operation
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.routes.error_notes import ErrorNote, ErrorNotes
from router.routes.policies import Cors, Visibility
from router.routes.records import Kind
from router.tenancy.host_hints import HostHints
from router.tenancy.passwords import Passwords
from router.tenancy.preview_secrets import MIN_TTL, PreviewSecret, PreviewSecrets
from router.tenancy.previews import (
    MAX_NETWORKS,
    MAX_ORIGINS,
    ORIGIN,
    Preview,
    PreviewChanges,
    Previews,
    is_origin,
    no_origin,
)
from router.tenancy.resource_service import Resources
from router.tenancy.resources import PROTOCOLS, SCHEMES, Resource

_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOST = rf"({_LABEL}\.)+[a-zA-Z]{{2,63}}"

PreviewState = Literal["active", "expired", "deleted"]
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

NetworkText = Annotated[str, Field(max_length=50, examples=["203.0.113.0/24"])]


def _checked_origin(text: str) -> str:
    if not is_origin(text):
        raise ValueError(no_origin(text))
    return text


# pydantic would say "has invalid format" of a bare domain, which is what people write first.
Origin = Annotated[
    str,
    Field(max_length=300, examples=["https://app.example.com"], json_schema_extra={"pattern": f"^{ORIGIN}$"}),
    AfterValidator(_checked_origin),
]
LongTtl = Annotated[int, Field(ge=MIN_TTL, le=366 * 86400)]

Protocol = Annotated[
    str,
    Field(
        max_length=5,
        description="What the program on this port takes: `http1`, or `h2c` (HTTP/2 by prior knowledge), as gRPC servers do.",
        json_schema_extra={"enum": list(PROTOCOLS)},
    ),
]


# What a new preview has where nothing is said.
_USUAL = {
    one.name: one.default_factory() if one.default_factory is not MISSING else one.default for one in fields(Preview)
}


class Expose(Exact):
    port: Annotated[
        Port | None, Field(description="The default port where none is given, or the one that was exposed first.")
    ] = None


class PatchPreview(Exact):
    """What is not sent keeps its value. In a PATCH null is what a new preview has; elsewhere it is as good as not sent, except
    for the name and the expiry, which it clears."""

    visibility: Annotated[
        Choice[Visibility] | None,
        Field(
            description=(
                "Who gets in: everybody (`public`), who has a secret of it or a key that reaches it (`private`), those and "
                "whoever has any key of the organization (`tenant`), or programs only (`key`)."
            )
        ),
    ] = None
    host_mode: HostMode | None = None
    scheme: Scheme | None = None
    protocol: Protocol | None = None
    name: Name | None = None
    metadata: Metadata | None = None
    expires_at: Annotated[Moment | None, Field(description="From then on nobody gets in: its state is `expired`.")] = (
        None
    )
    hide: Annotated[
        bool | None,
        Field(description="Whether strangers are answered as if there were no such host, where it is not public."),
    ] = None
    identity: Annotated[
        bool | None,
        Field(
            description=(
                "Whether its program is told who each visitor is, by `X-Miosa-Identity`: a JSON Web Token that it can verify "
                "with the keys at `/.well-known/jwks.json`."
            )
        ),
    ] = None
    networks: Annotated[
        list[NetworkText] | None,
        Field(max_length=MAX_NETWORKS, description="Those that visitors' addresses must lie in; empty is any."),
    ] = None
    cors: Annotated[
        Choice[Cors] | None,
        Field(
            description=(
                "Whose scripts may read it: as its program says (`passthrough`), those of `cors_origins` (`allowlist`), or "
                "those of hosts of the same organization (`same-owner`). What its program says itself goes first."
            )
        ),
    ] = None
    cors_origins: Annotated[list[Origin] | None, Field(max_length=MAX_ORIGINS)] = None

    def changes(self) -> PreviewChanges:
        """Those that were sent; null is as good as not sent, except for the name and the expiry, which it clears."""
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
        if self.hide is not None:
            changes["hide"] = self.hide
        if self.identity is not None:
            changes["identity"] = self.identity
        if self.networks is not None:
            changes["networks"] = tuple(self.networks)
        if self.cors is not None:
            changes["cors"] = self.cors
        if self.cors_origins is not None:
            changes["cors_origins"] = tuple(dict.fromkeys(self.cors_origins))
        if "name" in self.model_fields_set:
            changes["name"] = self.name
        if "expires_at" in self.model_fields_set:
            changes["expires_at"] = self.expires_at
        return changes

    def update(self) -> PreviewChanges:
        """As `changes`, and null is what a new preview has."""
        cleared = {name: _USUAL[name] for name in self.model_fields_set if getattr(self, name) is None}
        return cast(PreviewChanges, {**cleared, **self.changes()})


class CreatePreview(PatchPreview):
    port: Port
    ttl_seconds: Annotated[LongTtl | None, Field(description="In how many seconds it expires, for `expires_at`.")] = (
        None
    )


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
    visibility: Annotated[
        Visibility, Field(description="Its own; where it has none, its machine's, or else the organization's.")
    ]
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
    expires_at: Instant | None
    hide: bool
    identity: Annotated[bool, Field(description="Its own word; where it has none, its machine's.")]
    networks: list[str]
    cors: Cors
    cors_origins: list[str]
    share_token_prefix: Annotated[
        str | None, Field(description="How the token of the newest of its share links that still work begins.")
    ]
    share_token_expires_at: Instant | None
    has_password: Annotated[
        bool,
        Field(description="Whether it has one of its own, also where that has expired; see the sandbox's beside it."),
    ]
    password_set_at: Instant | None
    password_expires_at: Instant | None
    password_last_used_at: Instant | None
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


class PreviewPresenter:
    """Shows previews: each with where it is reached, what would help its program, what was refused there, and the link that was made last."""

    def __init__(
        self,
        *,
        previews: Previews,
        secrets: PreviewSecrets,
        passwords: Passwords,
        links: Links,
        hints: HostHints,
        errors: ErrorNotes,
    ) -> None:
        self._previews = previews
        self._secrets = secrets
        self._passwords = passwords
        self._links = links
        self._hints = hints
        self._errors = errors

    async def fields(self, resource: Resource, *previews: Preview, deleted: bool = False) -> list[dict[str, Any]]:
        """The fields of `ExposedPort` of each preview of a resource."""
        ports = [preview.port for preview in previews]
        found, helps = await self._links.of_ports(resource, ports), await self._hints.of(resource.id, ports)
        usual = await self._previews.usual_visibility(resource)
        shared = await self._secrets.newest_links(resource.id)
        passwords = await self._passwords.of_resource(resource.id)
        return [
            {
                **link_fields(shown(link)),
                "id": preview.id,
                "tenant_id": resource.tenant_id,
                "port": preview.port,
                "name": preview.name,
                "visibility": preview.visibility or usual,
                "host_mode": preview.host_mode,
                "hints": [helps[preview.port]] if preview.port in helps else [],
                "errors": [PortError.of(note) for note in self._errors.of(resource.id, preview.port)],
                "scheme": preview.scheme,
                "protocol": preview.protocol,
                "metadata": dict(preview.metadata),
                "expires_at": preview.expires_at,
                "hide": preview.hide,
                "identity": resource.identity if preview.identity is None else preview.identity,
                "networks": list(preview.networks),
                "cors": preview.cors,
                "cors_origins": list(preview.cors_origins),
                "share_token_prefix": shared[preview.id].prefix if preview.id in shared else None,
                "share_token_expires_at": shared[preview.id].expires_at if preview.id in shared else None,
                **password_fields(passwords.get(preview.id)),
                "state": "deleted" if deleted else "expired" if self._previews.has_expired(preview) else "active",
                "external_workspace_id": resource.external_workspace_id,
                "external_user_id": resource.external_user_id,
                "external_project_id": resource.external_project_id,
                "created_at": preview.created_at,
                "updated_at": preview.updated_at,
            }
            for preview, link in zip(previews, found, strict=True)
        ]

    async def of_sandbox(self, sandbox: Resource, *previews: Preview, deleted: bool = False) -> list[PreviewOut]:
        """Previews of a sandbox as responses show them."""
        found = await self.fields(sandbox, *previews, deleted=deleted)
        return [PreviewOut(**fields, sandbox_id=sandbox.id) for fields in found]


def password_fields(secret: PreviewSecret | None) -> dict[str, Any]:
    """What is shown of a password, of one that is set or of none."""
    return {
        "has_password": secret is not None,
        "password_set_at": None if secret is None else secret.created_at,
        "password_expires_at": None if secret is None else secret.expires_at,
        "password_last_used_at": None if secret is None else secret.last_used_at,
    }


class SandboxPreviews(Handlers):
    tag = "Sandbox previews"
    prefix = "/api/v1/sandboxes/{id}"

    def __init__(self, *, resources: Resources, previews: Previews, links: Links, presenter: PreviewPresenter) -> None:
        self._resources = resources
        self._previews = previews
        self._links = links
        self._presenter = presenter

    @operation("POST", "/expose", "Expose a port of a sandbox", problems=(CONFLICT,), one_transaction=True)
    async def expose(self, call: Call[Expose]) -> Bare[ExposedOut]:
        """It is reachable when this answers. Exposing it again changes nothing."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        preview, _ = await self._previews.put(sandbox.id, call.body.port)
        (shown,) = await self._presenter.of_sandbox(sandbox, preview)
        return Bare(ExposedOut(**link_fields(shown), port=preview.port, preview=shown))

    @operation("GET", "/previews", "List the previews of a sandbox", one_transaction=True)
    async def list(self, call: Call[None, Paging]) -> Paged[PreviewOut]:
        """By port."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        found = await self._previews.list(sandbox.id, call.query.window)
        return Paged(await self._presenter.of_sandbox(sandbox, *found.items), found.total)

    @operation(
        "POST", "/previews", "Create a preview, which exposes its port", status=201, also=(200,), one_transaction=True
    )
    async def create(self, call: Call[CreatePreview]) -> Data[PreviewOut]:
        """It is exposed and closed to strangers at once: nobody gets in between. A port that has a preview keeps it, with
        what this says changed; that is answered with 200.
        """
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        preview, created = await self._previews.put(
            sandbox.id, call.body.port, ttl=call.body.ttl_seconds, **call.body.changes()
        )
        (shown,) = await self._presenter.of_sandbox(sandbox, preview)
        return Data(shown, 201 if created else 200)

    @operation("GET", "/previews/{preview_id}", "Get a preview", one_transaction=True)
    async def get(self, call: Call) -> Data[PreviewOut]:
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        preview = await self._previews.get(sandbox.id, call.ids["preview_id"])
        (shown,) = await self._presenter.of_sandbox(sandbox, preview)
        return Data(shown)

    @operation("PATCH", "/previews/{preview_id}", "Change how a port of a sandbox is served", one_transaction=True)
    async def update(self, call: Call[PatchPreview]) -> Data[PreviewOut]:
        """It holds for every visitor when this answers, also for those who are in."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        preview = await self._previews.change(sandbox.id, call.ids["preview_id"], **call.body.update())
        (shown,) = await self._presenter.of_sandbox(sandbox, preview)
        return Data(shown)

    @operation("DELETE", "/previews/{preview_id}", "Delete a preview, which closes its port", one_transaction=True)
    async def delete(self, call: Call) -> Data[PreviewOut]:
        """Its tokens and links end. The default port stays reachable, and with the organization's `auto_expose` every port
        does: then by whom the sandbox's own `visibility` says.
        """
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        preview = await self._previews.delete(sandbox.id, call.ids["preview_id"])
        (shown,) = await self._presenter.of_sandbox(sandbox, preview, deleted=True)
        return Data(shown)

    @operation("GET", "/ports/{port:text}/url", "Get the URL of a sandbox's port", one_transaction=True)
    async def port_url(self, call: Call) -> Spread[PortUrlOut]:
        """404 where the port is not exposed."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        return Spread(await url_of_port(self._previews, self._links, sandbox, port_of(call)))


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
