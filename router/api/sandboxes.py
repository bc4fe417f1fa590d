"""/sandboxes: their records. The platform runs them, and says over /internal/v1 where and in which state."""

from typing import Annotated

from pydantic import Field

from router.api.authorization import list_conditions, tenant_of
from router.api.machines import (
    CreateMachine,
    MachineOut,
    MachineQuery,
    PatchMachine,
    Presenter,
    Seconds,
    authorized_machine,
)
from router.api.models import ExternalId, Integer
from router.api.operations import Call, Data, Handlers, Paged, operation
from router.base.paging import Window
from router.errors import CONFLICT, NOT_FOUND, WORKSPACE_NOT_FOUND, RouterError
from router.routes.records import Kind, State
from router.tenancy.resource_service import Resources
from router.tenancy.resources import Resource, ResourceDetails, ResourceFilter

_TEMPLATE = "miosa-sandbox"
_MB = 1024  # of a GB

# How long it may live and whether it outlives its program are the platform's to keep; we keep what was asked.
_OPTIONS = ("timeout_sec", "always_on", "persistent")


class CreateSandbox(CreateMachine):
    """`template_id`, `image` and `template` mean the same, `disk_size_mb` and `disk_mb` too."""

    template_id: ExternalId | None = None
    image: ExternalId | None = None
    template: ExternalId | None = None
    cpu_count: Annotated[int, Field(ge=1, le=256)] | None = None
    memory_mb: Annotated[int, Field(ge=128, le=4 * 1024 * 1024)] | None = None
    disk_size_mb: Annotated[int, Field(ge=1, le=64 * 1024 * 1024)] | None = None
    disk_mb: Annotated[int, Field(ge=1, le=64 * 1024 * 1024)] | None = None
    timeout_sec: Integer | None = None
    idle_timeout_sec: Seconds | None = None
    always_on: bool | None = None
    persistent: bool | None = None

    def details(self) -> ResourceDetails:
        """What is wanted, as `Resources` takes it."""
        disk = self.disk_size_mb if self.disk_size_mb is not None else self.disk_mb
        options = {name: getattr(self, name) for name in _OPTIONS}
        return {
            **self.common(),
            "template_type": self.template_id or self.image or self.template or _TEMPLATE,
            "vcpus": self.cpu_count,
            "memory_mb": self.memory_mb,
            "disk_gb": -(-disk // _MB) if disk is not None else None,
            "auto_stop_seconds": self.idle_timeout_sec,
            "options": {name: value for name, value in options.items() if value is not None},
        }


class PatchSandbox(PatchMachine):
    timeout_sec: Integer | None = None
    idle_timeout_sec: Seconds | None = None
    always_on: bool | None = None
    persistent: bool | None = None

    def details(self) -> ResourceDetails:
        """What changes, as `Resources` takes it."""
        given = self.given()
        details = self.common()
        if "idle_timeout_sec" in given:
            details["auto_stop_seconds"] = self.idle_timeout_sec
        options = {name: given[name] for name in _OPTIONS if name in given}
        return {**details, "options": options} if options else details


class SandboxOut(MachineOut):
    """A sandbox. `idle_timeout_sec` null leaves it to the platform."""

    ready: bool
    template_id: str | None
    image_id: str | None
    disk_size_mb: int | None
    timeout_sec: int | None
    idle_timeout_sec: int | None
    always_on: bool
    persistent: bool


class SandboxesApi(Handlers):
    tag = "Sandboxes"

    def __init__(self, *, resources: Resources, presenter: Presenter) -> None:
        self._resources = resources
        self._presenter = presenter

    @operation("GET", "/sandboxes", "List sandboxes", one_transaction=True)
    async def list(self, call: Call[None, MachineQuery]) -> Paged[SandboxOut]:
        """The newest first; each condition narrows."""
        found = await self._resources.list(call.query.where(call.principal, Kind.SANDBOX), call.query.window)
        return Paged(await shown(self._presenter, *found.items), found.total)

    @operation(
        "POST", "/sandboxes", "Create a sandbox", status=201, problems=(WORKSPACE_NOT_FOUND, NOT_FOUND, CONFLICT)
    )
    async def create(self, call: Call[CreateSandbox]) -> Data[SandboxOut]:
        """It starts as `provisioning`. Workspace and project are found by the ownership fields, and made where a slug
        names one that does not exist.
        """
        body = call.body
        sandbox = await self._resources.create(
            Kind.SANDBOX,
            tenant_of(call.principal),
            ownership=body.ownership(call.principal),
            slug=body.slug,
            **body.details(),
        )
        return await self._response(sandbox)

    @operation("GET", "/sandboxes/by-name/{name:text}", "Get a sandbox by its name", one_transaction=True)
    async def get_by_name(self, call: Call) -> Data[SandboxOut]:
        """The newest of that name."""
        where = ResourceFilter(**list_conditions(call.principal), kind=Kind.SANDBOX, name=call.ids["name"])
        found = await self._resources.list(where, Window(limit=1))
        if not found.items:
            raise RouterError(NOT_FOUND, "sandbox not found")
        return await self._response(found.items[0])

    @operation("GET", "/sandboxes/{id}", "Get a sandbox", one_transaction=True)
    async def get(self, call: Call) -> Data[SandboxOut]:
        return await self._response(await authorized_machine(self._resources, call, Kind.SANDBOX))

    @operation("PATCH", "/sandboxes/{id}", "Update a sandbox", problems=(CONFLICT,))
    async def update(self, call: Call[PatchSandbox]) -> Data[SandboxOut]:
        """What is not sent keeps its value. Hosts of an old slug answer 410, and no other tenant can have it."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        return await self._response(
            await self._resources.update(sandbox.id, slug=call.body.slug, **call.body.details())
        )

    @operation("DELETE", "/sandboxes/{id}", "Delete a sandbox for good")
    async def delete(self, call: Call) -> Data[SandboxOut]:
        """Its hosts answer 410 from now on, and its slug stays the tenant's."""
        sandbox = await authorized_machine(self._resources, call, Kind.SANDBOX)
        return await self._response(await self._resources.delete(sandbox.id))

    async def _response(self, sandbox: Resource) -> Data[SandboxOut]:
        return Data((await shown(self._presenter, sandbox))[0])


async def shown(presenter: Presenter, *sandboxes: Resource) -> list[SandboxOut]:
    """Sandboxes of one tenant as responses show them."""
    return [
        SandboxOut(
            **fields,
            ready=sandbox.state is State.RUNNING,
            template_id=sandbox.template_type,
            image_id=sandbox.template_type,
            disk_size_mb=sandbox.disk_gb * _MB if sandbox.disk_gb is not None else None,
            timeout_sec=sandbox.options.get("timeout_sec"),
            idle_timeout_sec=sandbox.auto_stop_seconds,
            always_on=sandbox.options.get("always_on", False),
            # The official client sends it in an update's metadata, under another name.
            persistent=sandbox.options.get("persistent", sandbox.metadata.get("miosa_persistent") is True),
        )
        for sandbox, fields in zip(sandboxes, await presenter.fields(sandboxes), strict=True)
    ]
