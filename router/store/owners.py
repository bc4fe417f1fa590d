"""The owners of domains, read from the rows of resources, workspaces and projects."""

from router.domains.owners import Owner, Place
from router.routes.records import Scope
from router.store.blocks import SqlBlocks
from router.store.projects import SqlProjects
from router.store.resources import SqlResources
from router.store.tenants import SqlTenants
from router.store.workspaces import SqlWorkspaces


class SqlOwners:
    """domains.owners.OwnerRows"""

    def __init__(
        self,
        *,
        tenants: SqlTenants,
        workspaces: SqlWorkspaces,
        projects: SqlProjects,
        resources: SqlResources,
        blocks: SqlBlocks,
    ) -> None:
        self._tenants = tenants
        self._workspaces = workspaces
        self._projects = projects
        self._resources = resources
        self._blocks = blocks

    async def resource(self, resource_id: str) -> Owner | None:
        found = await self._resources.get(resource_id)
        if found is None:
            return None
        return Owner(
            id=found.id,
            kind=found.kind,
            tenant_id=found.tenant_id,
            workspace_id=found.workspace_id,
            project_id=found.project_id,
            deleted_at=found.deleted_at,
            external_workspace_id=found.external_workspace_id,
            external_user_id=found.external_user_id,
            external_project_id=found.external_project_id,
        )

    async def place(self, scope: Scope, scope_id: str) -> Place | None:
        if scope is Scope.TENANT:
            return Place(scope_id) if await self._tenants.exists(scope_id) else None
        if scope is Scope.WORKSPACE:
            workspace = await self._workspaces.get(scope_id)
            return None if workspace is None else Place(workspace.tenant_id, workspace.id)
        project = await self._projects.get(scope_id)
        return None if project is None else Place(project.tenant_id, project.workspace_id, project.id)

    async def workspace_of(self, project_id: str) -> str | None:
        return await self._projects.workspace_of(project_id)

    async def blocked(self, domain_id: str) -> bool:
        return bool(await self._blocks.of_domains([domain_id]))
