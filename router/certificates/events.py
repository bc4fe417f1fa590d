"""Events of zones: one for each scope that has the zone, in the transaction of the change. The platform's own zone has no
tenant who could be told; what happens to it is in the log and the metrics."""

from datetime import datetime

from router.certificates.transaction import Tx
from router.routes.records import Scope


async def emit(tx: Tx, event_type: str, domain: str, now: datetime, **facts: object) -> None:
    """Tell the zone's owner. `facts` are JSON."""
    for preview in await tx.preview_domains.at([domain]):
        project_id = preview.scope_id if preview.scope is Scope.PROJECT else None
        workspace_id = preview.scope_id if preview.scope is Scope.WORKSPACE else None
        if project_id is not None:
            workspace_id = await tx.owners.workspace_of(project_id)
        await tx.events.emit(
            event_type,
            now,
            tenant_id=preview.tenant_id,
            workspace_id=workspace_id,
            project_id=project_id,
            data={"scope": "zone", "domain_id": preview.id, "fqdn": domain, **facts},
        )
