"""The computers and sandboxes of one workspace, listed under it."""

from dataclasses import replace

from router.api import computers, sandboxes
from router.api.computers import ComputerOut
from router.api.machines import MachineQuery, Presenter
from router.api.operations import Call, Counted, Handlers, Paged, operation
from router.api.principal import Access
from router.api.sandboxes import SandboxOut
from router.api.workspaces import authorized_workspace
from router.base.paging import Listing
from router.routes.records import Kind
from router.tenancy.resource_service import Resources
from router.tenancy.resources import Resource
from router.tenancy.workspaces import Workspaces


class WorkspaceMachines(Handlers):
    tag = "Workspaces"

    def __init__(self, *, workspaces: Workspaces, resources: Resources, presenter: Presenter) -> None:
        self._workspaces = workspaces
        self._resources = resources
        self._presenter = presenter

    @operation("GET", "/workspaces/{id}/computers", "List a workspace's computers", access=Access.WORKSPACE)
    async def computers(self, call: Call[None, MachineQuery]) -> Counted[ComputerOut]:
        """The newest first; each condition narrows."""
        found = await self._inside(call, Kind.COMPUTER)
        return Counted(await computers.shown(self._presenter, *found.items), found.total)

    @operation("GET", "/workspaces/{id}/sandboxes", "List a workspace's sandboxes", access=Access.WORKSPACE)
    async def sandboxes(self, call: Call[None, MachineQuery]) -> Paged[SandboxOut]:
        """The newest first; each condition narrows."""
        found = await self._inside(call, Kind.SANDBOX)
        return Paged(await sandboxes.shown(self._presenter, *found.items), found.total)

    async def _inside(self, call: Call[None, MachineQuery], kind: Kind) -> Listing[Resource]:
        workspace = await authorized_workspace(self._workspaces, call)
        wanted = call.query.where(call.principal, kind)
        where = replace(wanted, tenant_id=workspace.tenant_id, workspace_id=workspace.id)
        return await self._resources.list(where, call.query.window)
