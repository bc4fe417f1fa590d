"""Stored tenants."""

from typing import Any

import sqlalchemy as sa

from router.base.paging import Listing, Window
from router.routes.records import Kind
from router.routes.wakes import Wake
from router.store.holdings import all_held
from router.store.policies import visibility_of
from router.store.rows import Rows, fields_of, named
from router.store.tables import tenants
from router.tenancy.former import FORMER
from router.tenancy.tenants import Holdings, Tenant

_HELD = all_held(sa.bindparam("tenant_id"))


class SqlTenants(Rows):
    """tenancy.tenants.TenantRows"""

    async def add(self, tenant: Tenant) -> None:
        await self._connection.execute(sa.insert(tenants).values(fields_of(tenant)))

    async def get(self, tenant_id: str) -> Tenant | None:
        row = await self._one(self._locked(sa.select(tenants).where(tenants.c.id == tenant_id), tenants))
        return None if row is None else _read(row)

    async def exists(self, tenant_id: str) -> bool:
        select = sa.select(tenants.c.id).where(tenants.c.id == tenant_id, tenants.c.deleted_at.is_(None))
        return await self._connection.scalar(select) is not None

    async def by_slug(self, slug: str) -> Tenant | None:
        row = await self._one(sa.select(tenants).where(tenants.c.slug == slug))
        return None if row is None else _read(row)

    async def list(self, window: Window) -> Listing[Tenant]:
        order = (tenants.c.created_at, tenants.c.id)
        return await self._listing(sa.select(tenants).where(tenants.c.id != FORMER), window, order, _read)

    async def holdings(self, tenant_id: str) -> Holdings:
        rows = await self._connection.execute(_HELD, {"tenant_id": tenant_id})
        held = {row.noun: int(row.number) for row in rows}
        return Holdings(
            workspaces=held.get("workspace", 0),
            projects=held.get("project", 0),
            sandboxes=held.get(Kind.SANDBOX, 0),
            computers=held.get(Kind.COMPUTER, 0),
            deployments=held.get(Kind.DEPLOYMENT, 0),
            custom_domains=held.get("custom_domain", 0),
        )

    async def save(self, tenant: Tenant) -> None:
        await self._connection.execute(
            sa.update(tenants).where(tenants.c.id == tenant.id).values(fields_of(tenant, "id", "created_at"))
        )
        self._changes.tenant(tenant.id)


def _read(row: sa.Row[Any]) -> Tenant:
    return Tenant(
        **{
            **named(row),
            "default_visibility": visibility_of(row.default_visibility),
            "default_wake": Wake.of(row.default_wake),
        }
    )
