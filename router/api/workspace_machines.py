"""The computers and sandboxes of one workspace, listed under it."""

from dataclasses import replace
from typing import Protocol

from router.api import computers, sandboxes
from router.api.computers import ComputerOut
from router.api.endpoint import Call, Counted, Paged, Resource, endpoint
from router.api.machines import MachineQuery, Showcase
from router.api.principal import Reach
from router.api.sandboxes import SandboxOut
from router.api.workspaces import ReachedWorkspaces, reached
from router.routes.records import Kind
from router.tenancy.resources import Resource as Record
from router.tenancy.resources import ResourceFilter
from router.unit import Listing, Window


class Listed(Protocol):
    """The verb that these endpoints need."""

    async def list(self, where: ResourceFilter, window: Window) -> Listing[Record]: ...


class WorkspaceMachines(Resource):
    tag = "Workspaces"

    def __init__(self, *, workspaces: ReachedWorkspaces, resources: Listed, showcase: Showcase) -> None:
        self._workspaces = workspaces
        self._resources = resources
        self._showcase = showcase

    @endpoint("GET", "/workspaces/{id}/computers", "List a workspace's computers", reach=Reach.WORKSPACE)
    async def computers(self, call: Call[None, MachineQuery]) -> Counted[ComputerOut]:
        """The newest first; each condition narrows."""
        found = await self._inside(call, Kind.COMPUTER)
        return Counted(await computers.shown(self._showcase, *found.items), found.total)

    @endpoint("GET", "/workspaces/{id}/sandboxes", "List a workspace's sandboxes", reach=Reach.WORKSPACE)
    async def sandboxes(self, call: Call[None, MachineQuery]) -> Paged[SandboxOut]:
        """The newest first; each condition narrows."""
        found = await self._inside(call, Kind.SANDBOX)
        return Paged(await sandboxes.shown(self._showcase, *found.items), found.total)

    async def _inside(self, call: Call[None, MachineQuery], kind: Kind) -> Listing[Record]:
        workspace = await reached(self._workspaces, call)
        wanted = call.query.where(call.principal, kind)
        where = replace(wanted, tenant_id=workspace.tenant_id, workspace_id=workspace.id)
        return await self._resources.list(where, call.query.window)
