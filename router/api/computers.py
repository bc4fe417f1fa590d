"""/computers: their records. The platform runs them, and says over /internal/v1 where and in which state.

The official client reads a computer's fields at the top of a response, the conventions put them into `data`: responses
have both.
"""

from router.api.authorization import bounds_of, tenant_of
from router.api.machines import (
    CreateMachine,
    MachineOut,
    MachineQuery,
    PatchMachine,
    Presenter,
    Seconds,
    authorized_machine,
)
from router.api.models import Exact, ExternalId, Id
from router.api.operations import Call, Handlers, Paged, Spread, operation
from router.errors import CONFLICT, NOT_FOUND, WORKSPACE_NOT_FOUND
from router.routes.records import Kind
from router.tenancy.ownership import Ownership
from router.tenancy.resource_service import Resources
from router.tenancy.resources import Resource, ResourceDetails

_TEMPLATE = "miosa-desktop"


class CreateComputer(CreateMachine):
    """Size and automatic stop default to the workspace's settings."""

    template_type: ExternalId | None = None
    auto_stop_seconds: Seconds | None = None

    def details(self) -> ResourceDetails:
        """What is wanted, as `Resources` takes it."""
        return {
            **self.common(),
            "template_type": self.template_type or _TEMPLATE,
            "auto_stop_seconds": self.auto_stop_seconds,
        }


class PatchComputer(PatchMachine):
    auto_stop_seconds: Seconds | None = None

    def details(self) -> ResourceDetails:
        """What changes, as `Resources` takes it."""
        details = self.common()
        if "auto_stop_seconds" in self.given():
            details["auto_stop_seconds"] = self.auto_stop_seconds
        return details


class MoveComputer(Exact):
    """Where to: a workspace, and a project of it where that is not its default one."""

    workspace_id: Id
    project_id: Id | None = None


class ComputerOut(MachineOut):
    """A computer. `auto_stop_seconds` 0 is never."""

    template_type: str | None
    vcpus: int | None
    disk_gb: int | None
    auto_stop_seconds: int | None
    sandbox_url: str


class ComputersApi(Handlers):
    tag = "Computers"

    def __init__(self, *, resources: Resources, presenter: Presenter) -> None:
        self._resources = resources
        self._presenter = presenter

    @operation("GET", "/computers", "List computers", one_transaction=True)
    async def list(self, call: Call[None, MachineQuery]) -> Paged[ComputerOut]:
        """The newest first; each condition narrows."""
        found = await self._resources.list(call.query.where(call.principal, Kind.COMPUTER), call.query.window)
        return Paged(await shown(self._presenter, *found.items), found.total)

    @operation(
        "POST", "/computers", "Create a computer", status=201, problems=(WORKSPACE_NOT_FOUND, NOT_FOUND, CONFLICT)
    )
    async def create(self, call: Call[CreateComputer]) -> Spread[ComputerOut]:
        """It starts as `provisioning`. The workspace's settings cap how many there may be, and of which size and
        template; what is over a cap is 422.
        """
        body = call.body
        computer = await self._resources.create(
            Kind.COMPUTER,
            tenant_of(call.principal),
            ownership=body.ownership(call.principal),
            slug=body.slug,
            **body.details(),
        )
        return await self._spread(computer)

    @operation("GET", "/computers/{id}", "Get a computer", one_transaction=True)
    async def get(self, call: Call) -> Spread[ComputerOut]:
        return await self._spread(await authorized_machine(self._resources, call, Kind.COMPUTER))

    @operation("PATCH", "/computers/{id}", "Update a computer", problems=(CONFLICT,))
    async def update(self, call: Call[PatchComputer]) -> Spread[ComputerOut]:
        """What is not sent keeps its value. Hosts of an old slug answer 410, and no other tenant can have it."""
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        return await self._spread(await self._resources.update(computer.id, slug=call.body.slug, **call.body.details()))

    @operation(
        "POST",
        "/computers/{id}/move",
        "Move a computer to another workspace or project",
        problems=(WORKSPACE_NOT_FOUND,),
    )
    async def move(self, call: Call[MoveComputer]) -> Spread[ComputerOut]:
        """Its URLs follow at once: what this answers with is routed when it arrives. The other workspace's settings
        must allow it.
        """
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        body = call.body
        to = Ownership(workspace_id=body.workspace_id, project_id=body.project_id, bounds=bounds_of(call.principal))
        return await self._spread(await self._resources.move(computer.id, to))

    @operation("DELETE", "/computers/{id}", "Delete a computer for good")
    async def delete(self, call: Call) -> Spread[ComputerOut]:
        """Its hosts answer 410 from now on, and its slug stays the tenant's."""
        computer = await authorized_machine(self._resources, call, Kind.COMPUTER)
        return await self._spread(await self._resources.delete(computer.id))

    async def _spread(self, computer: Resource) -> Spread[ComputerOut]:
        return Spread((await shown(self._presenter, computer))[0])


async def shown(presenter: Presenter, *computers: Resource) -> list[ComputerOut]:
    """Computers of one tenant as responses show them."""
    return [
        ComputerOut(
            # The client takes no computer without a name.
            **{**fields, "name": computer.name or computer.slug},
            template_type=computer.template_type,
            vcpus=computer.vcpus,
            disk_gb=computer.disk_gb,
            auto_stop_seconds=computer.auto_stop_seconds,
            sandbox_url=fields["preview_url"],
        )
        for computer, fields in zip(computers, await presenter.fields(computers), strict=True)
    ]
