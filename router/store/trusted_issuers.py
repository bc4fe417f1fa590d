"""Stored rules about the CI systems that tenants trust."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.base.paging import Listing, Window
from router.store.issuer_tables import trusted_issuers
from router.store.rows import Rows, fields_of, named
from router.tenancy.trusted_issuers import Position, TrustedIssuer

_row = trusted_issuers.c
_ORDER = (_row.created_at, _row.id)


class SqlTrustedIssuers(Rows):
    """tenancy.trusted_issuers.TrustedIssuerRows"""

    async def add(self, issuer: TrustedIssuer) -> None:
        await self._connection.execute(sa.insert(trusted_issuers).values(fields_of(issuer)))
        self._changes.tenant(issuer.tenant_id)

    async def get(self, issuer_id: str) -> TrustedIssuer | None:
        select = sa.select(trusted_issuers).where(_row.id == issuer_id)
        row = await self._one(self._locked(select, trusted_issuers))
        return None if row is None else _read(row)

    async def list(self, tenant_id: str, window: Window, after: Position | None = None) -> Listing[TrustedIssuer]:
        select = sa.select(trusted_issuers).where(_row.tenant_id == tenant_id)
        behind = None
        if after is not None:
            at, issuer_id = after
            behind = sa.or_(_row.created_at > at, sa.and_(_row.created_at == at, _row.id > issuer_id))
        return await self._listing(select, window, _ORDER, _read, behind)

    async def of_issuer(self, tenant_id: str, issuer: str) -> Sequence[TrustedIssuer]:
        select = sa.select(trusted_issuers).where(_row.tenant_id == tenant_id, _row.issuer == issuer, _row.enabled)
        return [_read(row) for row in await self._connection.execute(select.order_by(*_ORDER))]

    async def save(self, issuer: TrustedIssuer) -> None:
        values = fields_of(issuer, "id", "tenant_id", "created_at", "last_used_at")
        await self._connection.execute(sa.update(trusted_issuers).where(_row.id == issuer.id).values(values))
        self._changes.tenant(issuer.tenant_id)

    async def delete(self, issuer: TrustedIssuer) -> None:
        await self._connection.execute(sa.delete(trusted_issuers).where(_row.id == issuer.id))
        self._changes.tenant(issuer.tenant_id)

    async def used(self, issuer_id: str, at: datetime) -> None:
        later = sa.or_(_row.last_used_at.is_(None), _row.last_used_at < at)
        await self._connection.execute(
            sa.update(trusted_issuers).where(_row.id == issuer_id, later).values(last_used_at=at)
        )


def _read(row: sa.Row[Any]) -> TrustedIssuer:
    return TrustedIssuer(**named(row))
