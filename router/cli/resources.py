"""`resources`: which sandboxes, computers and deployments exist, as the platform says over /internal/v1/resources."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from router.base.clock import iso
from router.base.ids import new_id
from router.base.paging import Listing
from router.cli.options import PAGE, AsJson, Config, Limit, OneTenant, Page, group, parse_pairs, uuid, window
from router.cli.output import show, show_list
from router.cli.run_command import named_tenant, reported, tenant_id, with_services
from router.routes.wakes import Wake

if TYPE_CHECKING:
    from router.node.services import Services
    from router.tenancy.resources import Resource, ResourceDetails

commands = group("Sandboxes, computers and deployments.")

_COLUMNS = ("id", "kind", "slug", "name", "state", "suspended", "tenant_id", "default_port")
_Kind = Literal["sandbox", "computer", "deployment"]  # `records.Kind`'s values, which a test compares
_Id = Annotated[str, typer.Argument(metavar="ID", callback=uuid("`resources list` shows the ids"))]


def _new_or_uuid(text: str) -> str | None:
    return new_id() if text == "new" else uuid("`new` makes one for a new resource")(text)


@commands.command("put")
def resources_put(
    resource_id: Annotated[
        str, typer.Argument(metavar="ID", callback=_new_or_uuid, help="A UUID, or `new`, which makes one.")
    ],
    kind: Annotated[_Kind, typer.Option(help="What it is; can't be changed later.")],
    slug: Annotated[str, typer.Option(help="Its name in host names, unique on the platform.")],
    tenant: Annotated[str, typer.Option(help="Its tenant's id or slug.")],
    workspace: Annotated[str | None, typer.Option(help="The workspace's id, if not the tenant's default one.")] = None,
    project: Annotated[str | None, typer.Option(help="The project's id, if not the tenant's default one.")] = None,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    default_port: Annotated[int | None, typer.Option(help="The port behind its host without a port.")] = None,
    exposed_port: Annotated[list[int] | None, typer.Option(help="A further port that is reached; repeatable.")] = None,
    host_mode: Annotated[
        list[str] | None,
        typer.Option(metavar="PORT=HOST", help="The Host that its server on this port wants to see; repeatable."),
    ] = None,
    scheme: Annotated[
        list[str] | None,
        typer.Option(metavar="PORT=SCHEME", help="https where its server on this port speaks TLS; repeatable."),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(metavar="PORT=PROTOCOL", help="h2c where its server on this port speaks HTTP/2 only; repeatable."),
    ] = None,
    wake: Annotated[
        Wake | None, typer.Option(help="Whose visit wakes it where it sleeps; at first what the tenant says.")
    ] = None,
    keeps_awake: Annotated[
        bool | None,
        typer.Option(
            "--keeps-awake/--no-keeps-awake", help="Whether its traffic counts as use; at first what the tenant says."
        ),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Create a resource, or change one. What is not given keeps its value."""
    from router.routes.records import Kind

    details: ResourceDetails = {}
    if name is not None:
        details["name"] = name
    if default_port is not None:
        details["default_port"] = default_port
    if exposed_port:
        details["exposed_ports"] = frozenset(exposed_port)
    if host_mode:
        details["host_modes"] = parse_pairs(host_mode, "--host-mode")
    if scheme:
        details["schemes"] = parse_pairs(scheme, "--scheme")
    if protocol:
        details["protocols"] = parse_pairs(protocol, "--protocol")
    if wake is not None:
        details["wake"] = wake
    if keeps_awake is not None:
        details["keeps_awake"] = keeps_awake

    async def put(services: "Services") -> "Resource":
        holder = await named_tenant(services, tenant)
        resource, _ = await services.resources.put(
            resource_id,
            kind=Kind(kind),
            slug=slug,
            tenant_id=holder.id,
            workspace_id=workspace,
            project_id=project,
            **details,
        )
        return resource

    with reported(as_json):
        about = None if resource_id == "new" else resource_id
        show(_resource(with_services(config, put, act="resource.set", about=about)), as_json)


@commands.command("get")
def resources_get(resource_id: _Id, config: Config = None, as_json: AsJson = False) -> None:
    """Show a resource."""
    with reported(as_json):
        found = with_services(config, lambda services: services.resources.get(resource_id), reads=True)
        show(_resource(found), as_json)


@commands.command("list")
def resources_list(
    tenant: OneTenant = None,
    kind: Annotated[_Kind | None, typer.Option(help="Only sandboxes, computers or deployments.")] = None,
    limit: Limit = PAGE,
    page: Page = 1,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List resources, the newest first, deleted ones left out. With `--json` every field is shown."""
    from router.routes.records import Kind
    from router.tenancy.resources import ResourceFilter

    async def find(services: "Services") -> "Listing[Resource]":
        where = ResourceFilter(kind=None if kind is None else Kind(kind), tenant_id=await tenant_id(services, tenant))
        return await services.resources.list(where, window(limit, page))

    with reported(as_json):
        show_list(with_services(config, find, reads=True), _resource, as_json, page, _COLUMNS)


@commands.command("delete")
def resources_delete(resource_id: _Id, config: Config = None, as_json: AsJson = False) -> None:
    """Delete a resource for good: its hosts answer 410 from now on."""
    with reported(as_json):
        deleted = with_services(
            config,
            lambda services: services.resources.delete(resource_id),
            act="resource.delete",
            about=resource_id,
        )
        show(_resource(deleted), as_json)


def _resource(resource: "Resource") -> dict[str, Any]:
    shown = {field.name: getattr(resource, field.name) for field in dataclasses.fields(resource)}
    del shown["deleted_at"]
    return shown | {
        "kind": resource.kind.value,
        "state": resource.state.value,
        "exposed_ports": sorted(resource.exposed_ports),
        "host_modes": {str(port): mode for port, mode in resource.host_modes.items()},
        "protocols": {str(port): protocol for port, protocol in resource.protocols.items()},
        "schemes": {str(port): scheme for port, scheme in resource.schemes.items()},
        "options": dict(resource.options),
        "tags": list(resource.tags),
        "metadata": dict(resource.metadata),
        "created_at": iso(resource.created_at),
        "updated_at": iso(resource.updated_at),
    }
