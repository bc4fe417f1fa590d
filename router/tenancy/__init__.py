"""The verbs that the API and the command line share: one file per noun, each with its values, the rows that it needs
of a store (a `Protocol`), and its verbs.

    tenants → workspaces → projects → resources → endpoints, previews
                                      deployments → versions (publishing, checks) → releases, env
    keys open a tenant, a workspace or a project

A verb checks what the caller sent (VALIDATION_FAILED, with every wrong field), then does its work in one transaction.
Who may call it is not decided here: that is the API's.
Where verbs had to wait for each other in a circle, one begins anew (`anew.py`).
"""

from router.tenancy.endpoints import EndpointChange, Endpoints
from router.tenancy.events import Event, Events
from router.tenancy.keys import Key, Keys, KeyScope, Principal
from router.tenancy.ownership import Ownership
from router.tenancy.previews import Preview, Previews
from router.tenancy.projects import Project, Projects
from router.tenancy.registry import Resources
from router.tenancy.resources import Resource, ResourceDetails, ResourceFilter, StoredEndpoint
from router.tenancy.tenants import Tenant, Tenants
from router.tenancy.workspaces import Workspace, WorkspaceNameExistsError, Workspaces, WorkspaceStats

__all__ = [
    "EndpointChange",
    "Endpoints",
    "Event",
    "Events",
    "Key",
    "KeyScope",
    "Keys",
    "Ownership",
    "Preview",
    "Previews",
    "Principal",
    "Project",
    "Projects",
    "Resource",
    "ResourceDetails",
    "ResourceFilter",
    "Resources",
    "StoredEndpoint",
    "Tenant",
    "Tenants",
    "Workspace",
    "WorkspaceNameExistsError",
    "WorkspaceStats",
    "Workspaces",
]
