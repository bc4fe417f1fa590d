"""`endpoints`: where resources listen now, as the platform says over /internal/v1/endpoints."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from router.base.clock import iso
from router.cli.options import AsJson, Config, group, parse_pairs, uuid
from router.cli.output import show
from router.cli.run_command import reported, with_services

if TYPE_CHECKING:
    from router.tenancy.resources import StoredEndpoint

commands = group("Where resources listen now.")

# `records.State`'s values, which a test compares.
_State = Literal["provisioning", "starting", "running", "paused", "stopping", "stopped", "error", "destroyed"]
_Id = Annotated[str, typer.Argument(metavar="RESOURCE", callback=uuid("`resources list` shows the ids"))]
_Version = Annotated[
    str | None,
    typer.Option(
        "--version-id", callback=uuid("the API lists a deployment's versions"), help="Of this version of a deployment."
    ),
]


@commands.command("put")
def endpoints_put(
    resource_id: _Id,
    address: Annotated[str, typer.Option(help="Its IP address, inside `backend_networks`.")],
    generation: Annotated[
        str, typer.Option(help="Another one after each boot; connections to the old one are closed.")
    ] = "1",
    state: Annotated[_State, typer.Option(help="The state that the resource is in.")] = "running",
    port: Annotated[
        list[str] | None,
        typer.Option(metavar="PORT=REAL", help="The port it really listens on for a public one; repeatable."),
    ] = None,
    listening: Annotated[
        list[str] | None,
        typer.Option(metavar="PORT=ADDRESS", help="What a program listens on inside; repeatable. For its visitors."),
    ] = None,
    version_id: _Version = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say where a resource listens. A public port that `--port` does not name is the same number there."""
    from router.routes.records import ListeningSocket, State
    from router.tenancy.endpoints import EndpointChange

    ports = {}
    for public, real in parse_pairs(port or [], "--port").items():
        if not real.isdecimal():
            raise typer.BadParameter(f"{real!r} is not a port", param_hint="--port")
        ports[public] = int(real)
    change = EndpointChange(
        resource_id=resource_id,
        address=address,
        generation=generation,
        state=State(state),
        ports=ports,
        listening=None
        if listening is None
        else tuple(ListeningSocket(*pair) for pair in parse_pairs(listening, "--listening").items()),
        version_id=version_id,
    )
    with reported(as_json):
        put = with_services(
            config,
            lambda services: services.resources.endpoints.put(change),
            act="endpoint.set",
            about=resource_id,
        )
        show(_endpoint(put), as_json)


@commands.command("get")
def endpoints_get(
    resource_id: _Id, version_id: _Version = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Show where a resource listens."""
    with reported(as_json):
        found = with_services(
            config, lambda services: services.resources.endpoints.get(resource_id, version_id), reads=True
        )
        show(_endpoint(found), as_json)


@commands.command("delete")
def endpoints_delete(
    resource_id: _Id, version_id: _Version = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Forget where a resource listens. Its state stays."""
    with reported(as_json):
        with_services(
            config,
            lambda services: services.resources.endpoints.delete(resource_id, version_id),
            act="endpoint.delete",
            about=resource_id,
        )
        show({"resource_id": resource_id, "deleted": True}, as_json)


def _endpoint(endpoint: "StoredEndpoint") -> dict[str, Any]:
    return {
        "resource_id": endpoint.resource_id,
        "version_id": endpoint.version_id,
        "address": endpoint.address,
        "generation": endpoint.generation,
        "state": endpoint.state.value,
        "ports": {str(public): real for public, real in endpoint.ports.items()},
        "listening": None
        if endpoint.listening is None
        else [{"port": port, "address": address} for port, address in endpoint.listening],
        "updated_at": iso(endpoint.updated_at),
    }
