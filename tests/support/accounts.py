"""Tenants with a key of each reach, as people would have them."""

from dataclasses import dataclass

from router.tenancy import KeyScope, Project, Tenant, Workspace
from router.verbs import Verbs


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


async def open_account(verbs: Verbs, name: str) -> Account:
    """A new tenant; `workspace` is called "<name> Clinic" and has an external id, `project` is "<name> Site"."""
    tenant = await verbs.tenants.create(name)
    workspace, _ = await verbs.workspaces.create(
        tenant.id, name=f"{name} Clinic", external_workspace_id=f"{tenant.slug}_clinic"
    )
    project = await verbs.projects.create(tenant.id, name=f"{name} Site", workspace_id=workspace.id)
    default = await verbs.workspaces.default(tenant.id)
    in_default = await verbs.projects.list(tenant_id=tenant.id, workspace_id=default.id)
    _, key = await verbs.keys.create(tenant.id)
    _, workspace_key = await verbs.keys.create(tenant.id, scope=KeyScope.WORKSPACE, scope_id=workspace.id)
    _, project_key = await verbs.keys.create(tenant.id, scope=KeyScope.PROJECT, scope_id=project.id)
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
