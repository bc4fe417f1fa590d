"""/internal/v1/tenants: the end of a tenant."""

from collections.abc import Mapping
from typing import Literal

from router.api.models import Out
from router.api.operations import Auth, Call, Data, Handlers, operation
from router.tenancy.tenant_deletion import TenantDeletion


class DeletionOut(Out):
    """`rows` is how many rows of each table are the tenant's still; tables without one are left out."""

    id: str
    status: Literal["deleting"] = "deleting"
    rows: Mapping[str, int]


class InternalTenants(Handlers):
    tag = "Internal tenants"
    prefix = "/internal/v1/tenants"
    auth = Auth.INTERNAL

    def __init__(self, deletion: TenantDeletion) -> None:
        self._deletion = deletion

    @operation("DELETE", "/{id}", "Delete a tenant with everything of theirs", status=202)
    async def delete(self, call: Call) -> Data[DeletionOut]:
        """At once nothing of it is served and its keys open nothing; within seconds a node begins to delete all its rows, and goes on
        until none is left. Repeat the call to see how far that is: 404 says that it is done. It can't be undone."""
        tenant_id = call.ids["id"]
        rows = await self._deletion.begin(tenant_id)
        return Data(DeletionOut(id=tenant_id, rows={name: number for name, number in rows.items() if number}), 202)
