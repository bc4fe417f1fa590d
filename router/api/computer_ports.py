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
    PreviewPresenter,
    link_fields,
    port_of,
    url_of_port,
)
from router.errors import CONFLICT
from router.routes.records import Kind
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

    def __init__(self, *, resources: Resources, previews: Previews, links: Links, presenter: PreviewPresenter) -> None:
        self._resources = resources
        self._previews = previews
        self._links = links
        self._presenter = presenter

    @operation("POST", "/expose", "Expose a port of a computer", problems=(CONFLICT,), one_transaction=True)
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
        return Paged(await ports_shown(self._presenter, computer, *found.items), found.total)

    @operation("POST", "/ports", "Expose a port of a computer with settings", status=201, also=(200,))
    async def create(self, call: Call[CreatePreview]) -> Data[PortOut]:
        """It is exposed and closed to strangers at once: nobody gets in between. A port that is exposed stays so, with what
        this says changed; that is answered with 200.
        """
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        preview, created = await self._previews.put(
            computer.id, call.body.port, ttl=call.body.ttl_seconds, **call.body.changes()
        )
        return Data(await self._shown(computer, preview), 201 if created else 200)

    @operation("PATCH", "/ports/{port:text}", "Change how a port of a computer is served")
    async def update(self, call: Call[PatchPreview]) -> Data[PortOut]:
        """It holds for every visitor when this answers, also for those who are in."""
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        preview = await self._previews.update(computer.id, port_of(call), **call.body.update())
        return Data(await self._shown(computer, preview))

    @operation("DELETE", "/ports/{port:text}", "Close a port of a computer")
    async def delete(self, call: Call) -> Data[ClosedOut]:
        """Its tokens and links end. The default port stays reachable, and with the organization's `auto_expose` every port
        does: then by whom the computer's own `visibility` says.
        """
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
        return (await ports_shown(self._presenter, computer, preview))[0]


async def ports_shown(presenter: PreviewPresenter, computer: Resource, *previews: Preview) -> list[PortOut]:
    """Ports of a computer as responses show them."""
    return [PortOut(**fields, computer_id=computer.id) for fields in await presenter.fields(computer, *previews)]
