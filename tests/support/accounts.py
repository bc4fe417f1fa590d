"""Tenants with a key of each reach, as people would have them."""

from dataclasses import dataclass

from router.base.key_scopes import KeyScope
from router.node.services import Services
from router.tenancy.projects import Project, ProjectFilter
from router.tenancy.tenants import Tenant
from router.tenancy.workspaces import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One tenant: its default workspace and project, another of each, and keys. `key` is the tenant's own."""

    tenant: Tenant
    default: Workspace
    default_project: Project
    workspace: Workspace
    project: Project
    key: str
    workspace_key: str
    project_key: str


async def open_account(services: Services, name: str) -> Account:
    """A new tenant; `workspace` is called "<name> Clinic" and has an external id, `project` is "<name> Site"."""
    tenant = await services.tenants.create(name)
    workspace, _ = await services.workspaces.create(
        tenant.id, name=f"{name} Clinic", external_workspace_id=f"{tenant.slug}_clinic"
    )
    project = await services.projects.create(tenant.id, name=f"{name} Site", workspace_id=workspace.id)
    default = await services.workspaces.default(tenant.id)
    in_default = await services.projects.list(ProjectFilter(tenant_id=tenant.id, workspace_id=default.id))
    _, key = await services.keys.create(tenant.id)
    _, workspace_key = await services.keys.create(tenant.id, scope=KeyScope.WORKSPACE, scope_id=workspace.id)
    _, project_key = await services.keys.create(tenant.id, scope=KeyScope.PROJECT, scope_id=project.id)
    return Account(
        tenant=tenant,
        default=default,
        default_project=in_default.items[0],
        workspace=workspace,
        project=project,
        key=key,
        workspace_key=workspace_key,
        project_key=project_key,
    )
