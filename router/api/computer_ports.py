"""Exposed ports of computers. A computer's port is its preview, found by its number."""

from router.api.links import LinkOut, Links, shown
from router.api.machines import authorized_machine
from router.api.models import Out, Paging
from router.api.operations import Bare, Call, Data, Handlers, Paged, Spread, operation
from router.api.previews import (
    CreatePreview,
    Expose,
    ExposedPort,
    PatchPreview,
    PortUrlOut,
    exposed,
    link_fields,
    port_of,
    url_of_port,
)
from router.errors import CONFLICT
from router.routes.error_notes import ErrorNotes
from router.routes.records import Kind
from router.tenancy.host_hints import HostHints
from router.tenancy.previews import Preview, Previews
from router.tenancy.resource_service import Resources
from router.tenancy.resources import Resource


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


class ComputerPorts(Handlers):
    tag = "Computer ports"
    prefix = "/api/v1/computers/{id}"

    def __init__(
        self, *, resources: Resources, previews: Previews, links: Links, hints: HostHints, errors: ErrorNotes
    ) -> None:
        self._resources = resources
        self._previews = previews
        self._links = links
        self._hints = hints
        self._errors = errors

    @operation("POST", "/expose", "Expose a port of a computer", problems=(CONFLICT,))
    async def expose(self, call: Call[Expose]) -> Bare[ExposedPortOut]:
        """It is reachable when this answers. Exposing it again changes nothing."""
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        preview, _ = await self._previews.put(computer.id, call.body.port)
        shown = await self._shown(computer, preview)
        return Bare(ExposedPortOut(**link_fields(shown), port=preview.port, preview=shown))

    @operation("GET", "/ports", "List the exposed ports of a computer")
    async def list(self, call: Call[None, Paging]) -> Paged[PortOut]:
        """By number. Ports that the platform exposed are in the computer's `exposed_ports`."""
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        found = await self._previews.list(computer.id, call.query.window)
        fields = await exposed(self._links, self._hints, self._errors, computer, found.items)
        return Paged([PortOut(**item, computer_id=computer.id) for item in fields], found.total)

    @operation("POST", "/ports", "Expose a port of a computer with settings", status=201, also=(200,))
    async def create(self, call: Call[CreatePreview]) -> Data[PortOut]:
        """A port that is exposed stays so, with what this says changed; that is answered with 200."""
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        preview, created = await self._previews.put(computer.id, call.body.port, **call.body.changes())
        return Data(await self._shown(computer, preview), 201 if created else 200)

    @operation("PATCH", "/ports/{port:text}", "Change how a port of a computer is served")
    async def update(self, call: Call[PatchPreview]) -> Data[PortOut]:
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        preview = await self._previews.update(computer.id, port_of(call), **call.body.changes())
        return Data(await self._shown(computer, preview))

    @operation("DELETE", "/ports/{port:text}", "Close a port of a computer")
    async def delete(self, call: Call) -> Data[ClosedOut]:
        """The default port stays reachable, and with the organization's `auto_expose` every port does."""
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        port = port_of(call)
        await self._previews.close(computer.id, port)
        return Data(ClosedOut(port=port, deleted=True))

    @operation("GET", "/ports/{port:text}/url", "Get the URL of a computer's port")
    async def port_url(self, call: Call) -> Spread[PortUrlOut]:
        """404 where the port is not exposed."""
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        return Spread(await url_of_port(self._previews, self._links, computer, port_of(call)))

    @operation("GET", "/urls", "List the URLs of a computer's ports")
    async def urls(self, call: Call[None, Paging]) -> Paged[PortUrlOut]:
        """By number: its default port and those that are exposed."""
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        ports = await self._previews.reachable(computer.id)
        window = call.query.window
        page = ports[window.offset : window.offset + window.limit]
        found = await self._links.of_ports(computer, page)
        items = [PortUrlOut(**link_fields(shown(link)), port=port) for port, link in zip(page, found, strict=True)]
        return Paged(items, len(ports))

    async def _shown(self, computer: Resource, preview: Preview) -> PortOut:
        (fields,) = await exposed(self._links, self._hints, self._errors, computer, [preview])
        return PortOut(**fields, computer_id=computer.id)
