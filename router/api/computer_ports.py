"""Exposed ports of computers. A computer's port is its preview, found by its number."""

import re
from typing import Any

from router.api.endpoint import Bare, Call, Paged, Reply, Resource, endpoint
from router.api.links import LinkOut, Links
from router.api.machines import Found, reached
from router.api.models import PORT_NAME, Out, Paging
from router.api.previews import CreatePreview, Expose, ExposedPort, PatchPreview, Previews, exposed, link_fields
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.routes.records import Kind
from router.tenancy.previews import Preview
from router.tenancy.resources import Resource as Record


class PortOut(ExposedPort):
    """A port of a computer, and where it is reached."""

    computer_id: str


class ExposedPortOut(LinkOut):
    """Where the port is reached."""

    port: int
    preview: PortOut


class ClosedOut(Out):
    port: int
    deleted: bool


class ComputerPorts(Resource):
    tag = "Computer ports"
    prefix = "/api/v1/computers/{id}"

    def __init__(self, *, resources: Found, previews: Previews, links: Links) -> None:
        self._resources = resources
        self._previews = previews
        self._links = links

    @endpoint("POST", "/expose", "Expose a port of a computer", problems=(CONFLICT,))
    async def expose(self, call: Call[Expose]) -> Bare[ExposedPortOut]:
        """It is reachable when this answers. Exposing it again changes nothing."""
        computer = await reached(self._resources, call, Kind.COMPUTER)
        preview, _ = await self._previews.put(computer.id, call.body.port)
        shown = await self._shown(computer, preview)
        return Bare(ExposedPortOut(**link_fields(shown), port=preview.port, preview=shown))

    @endpoint("GET", "/ports", "List the exposed ports of a computer")
    async def list(self, call: Call[None, Paging]) -> Paged[PortOut]:
        """By number. Ports that the platform exposed are in the computer's `exposed_ports`."""
        computer = await reached(self._resources, call, Kind.COMPUTER)
        found = await self._previews.list(computer.id, call.query.window)
        fields = await exposed(self._links, computer, found.items)
        return Paged([PortOut(**item, computer_id=computer.id) for item in fields], found.total)

    @endpoint("POST", "/ports", "Expose a port of a computer with settings", status=201, also=(200,))
    async def create(self, call: Call[CreatePreview]) -> Reply[PortOut]:
        """A port that is exposed stays so, with what this says changed; that is answered with 200."""
        computer = await reached(self._resources, call, Kind.COMPUTER)
        preview, created = await self._previews.put(computer.id, call.body.port, **call.body.changes())
        return Reply(await self._shown(computer, preview), 201 if created else 200)

    @endpoint("PATCH", "/ports/{port:text}", "Change how a port of a computer is served")
    async def update(self, call: Call[PatchPreview]) -> Reply[PortOut]:
        computer = await reached(self._resources, call, Kind.COMPUTER)
        preview = await self._previews.update(computer.id, _port(call), **call.body.changes())
        return Reply(await self._shown(computer, preview))

    @endpoint("DELETE", "/ports/{port:text}", "Close a port of a computer")
    async def delete(self, call: Call) -> Reply[ClosedOut]:
        """The default port stays reachable, and with the organization's `auto_expose` every port does."""
        computer = await reached(self._resources, call, Kind.COMPUTER)
        port = _port(call)
        await self._previews.close(computer.id, port)
        return Reply(ClosedOut(port=port, deleted=True))

    async def _shown(self, computer: Record, preview: Preview) -> PortOut:
        (fields,) = await exposed(self._links, computer, [preview])
        return PortOut(**fields, computer_id=computer.id)


def _port(call: Call[Any, Any]) -> int:
    """The port of the path. Raises RouterError NOT_FOUND where it is none: no such port is exposed."""
    text = call.ids["port"]
    if re.fullmatch(PORT_NAME, text) is None:
        raise RouterError(NOT_FOUND, "port not found")
    return int(text)
