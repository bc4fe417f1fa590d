"""What `tenants delete` does, and the proof that it prints."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.audit.act import operator
from router.audit.entry import Via
from router.base.clock import SystemClock
from router.cli.run_command import named_tenant, user
from router.errors import NOT_FOUND, RouterError
from router.node.record_keeping import open_kept
from router.node.services import open_services
from router.settings import Settings
from router.store.tenant_rows import STAYS, traces
from router.store.whole import read_whole
from router.tenancy.tenant_deletion import Progress

_ENTRY = "audit_entries.resource_id"  # the entry that says that the tenant was deleted


@dataclass(frozen=True, slots=True)
class Done:
    """Rows of each table before and after, and in which columns the tenant's id is found still."""

    tenant_id: str
    slug: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    found: Mapping[str, int]

    @property
    def left(self) -> bool:
        return any(self.after.values()) or set(self.found) - {_ENTRY} != set()

    def document(self) -> dict[str, Any]:
        rows = {name: {"before": number, "after": self.after.get(name, 0)} for name, number in self.before.items()}
        return {
            "id": self.tenant_id,
            "slug": self.slug,
            "rows": rows,
            "id_found_in": dict(self.found),
            "deleted": not self.left,
        }

    def text(self) -> str:
        width = max(map(len, self.before))
        lines = [f"{'table':<{width}}    before     after"]
        lines += [
            f"{name:<{width}} {number:>9} {self.after.get(name, 0):>9}"
            for name, number in self.before.items()
            if number
        ]
        lines.append(f"all other tables had no row of {self.slug}'s")
        places = ", ".join(f"{name} ({number})" for name, number in self.found.items()) or "none"
        lines.append(f"columns of the whole store in which {self.tenant_id} is found now: {places}")
        lines.append("what stays, without that id unless it is said above:")
        lines += [f"  {name}: {why}" for name, why in STAYS.items()]
        return "\n".join(lines)


async def delete_tenant(settings: Settings, named: str, progress: Progress) -> Done:
    """Delete it, and look for what is left. Raises RouterError: NOT_FOUND; StoreUnavailableError."""
    actor = operator(os.getuid(), user())
    async with open_services(settings) as services:
        tenant = await named_tenant(services, named)
        deletion = services.tenant_deletion
        before = await deletion.begin(tenant.id)
        await deletion.finish(tenant.id, actor=actor, via=Via.CLI, progress=progress)
        try:
            after = await deletion.begin(tenant.id)
        except RouterError as error:
            if error.problem is not NOT_FOUND:
                raise
            after = dict.fromkeys(before, 0)
    if settings.records.enabled:
        kept = open_kept(settings, SystemClock())
        try:
            await kept.forget_tenant(bytes.fromhex(tenant.id.replace("-", "")))
        finally:
            await kept.close()
    async with read_whole(settings.database_url) as store:
        found = await store.run(lambda: traces(store.connection, tenant.id))
    return Done(tenant.id, tenant.slug, before, after, found)
