"""Stored claims to names."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.domains.checks.schedule import Slice
from router.domains.claims import Claim
from router.domains.names import registered_domain
from router.store.check_columns import due
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

    async def foreign(self, name: str, tenant_id: str, now: datetime) -> bool:
        return await self._foreign(name_claims.c.name == name, tenant_id, now)

    async def foreign_of(self, domains: Collection[str], tenant_id: str, now: datetime) -> bool:
        return await self._foreign(name_claims.c.registered.in_(sorted(domains)), tenant_id, now)

    async def _foreign(self, which: sa.ColumnElement[bool], tenant_id: str, now: datetime) -> bool:
        select = sa.select(name_claims.c.id).where(
            which, name_claims.c.tenant_id != tenant_id, name_claims.c.expires_at > now
        )
        return await self._connection.scalar(select.limit(1)) is not None

    async def put(self, claim: Claim) -> None:
        row = {**fields_of(claim), "registered": registered_domain(claim.name)}
        await self._connection.execute(_PUT.on(self._connection), row)

    async def drop(self, claim_id: str) -> None:
        await self._connection.execute(sa.delete(name_claims).where(name_claims.c.id == claim_id))

    async def due(self, now: datetime, limit: int, part: Slice) -> Sequence[tuple[datetime, str, str]]:
        return await due(self._connection, name_claims, now, limit, part)

    async def _find(self, *where: sa.ColumnElement[bool]) -> Claim | None:
        row = await self._one(self._locked(sa.select(name_claims).where(*where), name_claims))
        return None if row is None else _read(row)


def _read(row: sa.Row[Any]) -> Claim:
    return Claim(**{name: value for name, value in named(row).items() if name != "registered"})
