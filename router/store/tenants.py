"""Stored tenants."""

from typing import Any

import sqlalchemy as sa

from router.store.rows import Rows, fields_of, named
from router.store.tables import tenants
from router.tenancy.tenants import Tenant
from router.unit import Listing, Window


class SqlTenants(Rows):
    """tenancy.tenants.TenantRows"""

    async def add(self, tenant: Tenant) -> None:
        await self._connection.execute(sa.insert(tenants).values(fields_of(tenant)))

    async def get(self, tenant_id: str) -> Tenant | None:
        row = await self._one(self._locked(sa.select(tenants).where(tenants.c.id == tenant_id), tenants))
        return None if row is None else _read(row)

    async def exists(self, tenant_id: str) -> bool:
        return await self._connection.scalar(sa.select(tenants.c.id).where(tenants.c.id == tenant_id)) is not None

    async def by_slug(self, slug: str) -> Tenant | None:
        row = await self._one(sa.select(tenants).where(tenants.c.slug == slug))
        return None if row is None else _read(row)

    async def list(self, window: Window) -> Listing[Tenant]:
        order = (tenants.c.created_at, tenants.c.id)
        return await self._listing(sa.select(tenants), window, order, _read)

    async def save(self, tenant: Tenant) -> None:
        await self._connection.execute(
            sa.update(tenants).where(tenants.c.id == tenant.id).values(fields_of(tenant, "id", "created_at"))
        )
        self._changes.tenant(tenant.id)


def _read(row: sa.Row[Any]) -> Tenant:
    return Tenant(**named(row))
