"""Deletes a tenant with everything of theirs, in steps that can be taken again.

    shut      at once: nothing of the tenant is served any more, its keys and sessions open nothing
    release   resources are destroyed, zones let go of: certificates are removed, slugs and zones stay protected from strangers
    forget    row by row, table by table; what has to stay (`store/tenant_rows.py`) is nobody's
    end       the tenant's own row, and the entry of the audit log that the deletion happened

The tenant's row says since when it is being deleted. So whoever was interrupted, or the job `delete_tenants` on another node,
goes on where it stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

import structlog

from router.audit.entry import SYSTEM, Actor, Entry, Via
from router.base.clock import Clock
from router.base.ids import new_id
from router.base.leases import GuardedTransactions, Lease
from router.errors import NOT_FOUND, RouterError
from router.routes.records import Scope
from router.tenancy import lifecycle
from router.tenancy.former import FORMER
from router.tenancy.transaction import Tx as TenancyTx

_AT_ONCE: Final = 50  # resources that one transaction destroys
_STEP: Final = 500  # rows that one transaction deletes
DELETED: Final = "tenant.delete"
"""The action of the entry that stays."""

Progress = Callable[[str, int], object]
"""Called with what is being deleted, and how many of that are gone by now."""

_log = structlog.get_logger("router.tenancy")


class TenantRows(Protocol):
    """The rows of a tenant, in whatever table."""

    async def counts(self, tenant_id: str) -> Mapping[str, int]:
        """How many rows of each table are the tenant's."""

    async def being_deleted(self) -> Sequence[str]:
        """Tenants that are, the first to begin with."""

    async def shut(self, tenant_id: str, now: datetime) -> None:
        """Nothing of theirs is served from now on, and no key or session opens anything."""

    async def living_resources(self, tenant_id: str, limit: int) -> Sequence[str]: ...

    async def preview_domains(self, tenant_id: str, limit: int) -> Sequence[tuple[str, str]]:
        """Scopes with a preview domain, and their ids."""

    async def hand_to_nobody(self, tenant_id: str, now: datetime) -> None:
        """What has to stay is nobody's."""

    async def forget_answers(self, tenant_id: str) -> None:
        """Delete the answers to requests that are kept for their repetition."""

    async def delete(self, table: str, tenant_id: str, limit: int) -> int:
        """Delete some rows of a table; how many it was."""

    async def note_deleted(self, tenant_id: str, entry: Entry) -> None:
        """Keep of the deletion what the audit log keeps; `entry` where it has none."""


class RequestRecords(Protocol):
    """records.kept.KeptRecords"""

    async def forget_tenant(self, tenant: bytes) -> None:
        """Delete everything of a tenant's."""


class Tx(TenancyTx, Protocol):
    """What a transaction of the store has for this."""

    @property
    def tenant_rows(self) -> TenantRows: ...


class TenantDeletion:
    """See the module. `order` are the tables in which rows are deleted, what refers to others first. Every method may raise
    StoreUnavailableError."""

    def __init__(
        self,
        store: GuardedTransactions[Tx],
        clock: Clock,
        *,
        order: Sequence[str],
        records: RequestRecords | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._order = order
        self._records = records

    async def begin(self, tenant_id: str) -> Mapping[str, int]:
        """Stop everything of the tenant's at once; how many rows of each table it has. Raises RouterError: NOT_FOUND."""
        async with self._store.begin() as tx:
            tenant = None if tenant_id == FORMER else await tx.tenants.get(tenant_id)
            if tenant is None:
                raise RouterError(NOT_FOUND, "tenant not found")
            await tx.tenant_rows.shut(tenant_id, self._clock.now())
            return await tx.tenant_rows.counts(tenant_id)

    async def finish(
        self,
        tenant_id: str,
        *,
        lease: Lease | None = None,
        actor: Actor = SYSTEM,
        via: Via = Via.JOB,
        progress: Progress = lambda _what, _gone: None,
    ) -> None:
        """Do all that is left to do; `begin` was called before. It can be called again, and by several at once."""
        await self._release(tenant_id, lease, progress)
        async with self._store.begin(lease) as tx:
            await tx.tenant_rows.forget_answers(tenant_id)
            await tx.tenant_rows.hand_to_nobody(tenant_id, self._clock.now())
        if self._records is not None:
            await self._records.forget_tenant(bytes.fromhex(tenant_id.replace("-", "")))
        for table in self._order:
            if table != "tenants":
                await self._forget(table, tenant_id, lease, progress)
        now = self._clock.now()
        entry = Entry(
            id=new_id(),
            created_at=now,
            actor_type=actor.type,
            actor_id=actor.id,
            actor_name=actor.name,
            via=via,
            action=DELETED,
            resource_type="tenant",
            resource_id=tenant_id,
        )
        async with self._store.begin(lease) as tx:
            await tx.tenant_rows.note_deleted(tenant_id, entry)
            await tx.tenant_rows.delete("tenants", tenant_id, 1)
        _log.info("tenant deleted", tenant_id=tenant_id)

    async def run(self, lease: Lease) -> None:
        """The job `delete_tenants`: finish what was begun."""
        async with self._store.read() as tx:
            begun = await tx.tenant_rows.being_deleted()
        for tenant_id in begun:
            await self.finish(tenant_id, lease=lease)

    async def _release(self, tenant_id: str, lease: Lease | None, progress: Progress) -> None:
        gone = 0
        while True:
            async with self._store.begin(lease) as tx:
                now = self._clock.now()
                ids = await tx.tenant_rows.living_resources(tenant_id, _AT_ONCE)
                for resource_id in ids:
                    resource = await tx.resources.get(resource_id)
                    if resource is not None and resource.deleted_at is None:
                        await lifecycle.destroy(tx, resource, now)
            gone += len(ids)
            progress("resources in service", gone)
            if len(ids) < _AT_ONCE:
                break
        scopes = [("", "")]
        while scopes:
            async with self._store.begin(lease) as tx:
                scopes = list(await tx.tenant_rows.preview_domains(tenant_id, _AT_ONCE))
                for scope, scope_id in scopes:
                    await tx.preview_domains.clear(Scope(scope), scope_id)

    async def _forget(self, table: str, tenant_id: str, lease: Lease | None, progress: Progress) -> None:
        gone, number = 0, _STEP
        while number == _STEP:
            async with self._store.begin(lease) as tx:
                number = await tx.tenant_rows.delete(table, tenant_id, _STEP)
            gone += number
            if number:
                progress(table, gone)
