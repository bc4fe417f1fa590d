"""Stored claims to names."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.domains.claims import Claim
from router.store.rows import Rows, fields_of, named
from router.store.tables import name_claims
from router.store.upsert import Upsert, replacing

_PUT = Upsert(name_claims, replacing("wanted", "checks", "next_check_at", "checked_at"))


class SqlClaims(Rows):
    """domains.claims.ClaimRows"""

    async def get(self, claim_id: str) -> Claim | None:
        return await self._find(name_claims.c.id == claim_id)

    async def of(self, tenant_id: str, name: str) -> Claim | None:
        return await self._find(name_claims.c.tenant_id == tenant_id, name_claims.c.name == name)

    async def count(self, tenant_id: str) -> int:
        select = sa.select(sa.func.count()).select_from(name_claims).where(name_claims.c.tenant_id == tenant_id)
        return await self._connection.scalar(select) or 0

    async def put(self, claim: Claim) -> None:
        await self._connection.execute(_PUT.on(self._connection), fields_of(claim))

    async def drop(self, claim_id: str) -> None:
        await self._connection.execute(sa.delete(name_claims).where(name_claims.c.id == claim_id))

    async def due(self, now: datetime, limit: int) -> Sequence[tuple[datetime, str]]:
        select = (
            sa.select(name_claims.c.next_check_at, name_claims.c.id)
            .where(name_claims.c.next_check_at <= now)
            .order_by(name_claims.c.next_check_at)
            .limit(limit)
        )
        return [(row.next_check_at, row.id) for row in await self._connection.execute(select)]

    async def _find(self, *where: sa.ColumnElement[bool]) -> Claim | None:
        row = await self._one(self._locked(sa.select(name_claims).where(*where), name_claims))
        return None if row is None else _read(row)


def _read(row: sa.Row[Any]) -> Claim:
    return Claim(**named(row))
