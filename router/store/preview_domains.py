"""Stored preview domains, and the zones that they make."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.domains.preview import PreviewDomain, PreviewStatus
from router.routes.records import Scope, zone_key
from router.store.checks import check_fields, due, pull, read_check, unchecked
from router.store.rows import Rows, fields_of
from router.store.tables import preview_domains, zones
from router.store.turns import hold_names
from router.store.upsert import Upsert

_CLAIM = Upsert(zones, None)


class SqlPreviewDomains(Rows):
    """domains.preview.ZoneRows, domains.diagnoses.DiagnosesTx, tenancy.workspaces.ZonesOfScope"""

    async def get(self, scope: Scope, scope_id: str) -> PreviewDomain | None:
        row = await self._one(self._locked(sa.select(preview_domains).where(*_of(scope, scope_id)), preview_domains))
        return None if row is None else _read(row)

    async def of_tenant(self, tenant_id: str) -> list[PreviewDomain]:
        rows = await self._connection.execute(
            sa.select(preview_domains)
            .where(preview_domains.c.tenant_id == tenant_id)
            .order_by(preview_domains.c.created_at, preview_domains.c.id)
        )
        return [_read(row) for row in rows]

    async def at(self, domains: Collection[str]) -> list[PreviewDomain]:
        select = sa.select(preview_domains).where(preview_domains.c.domain.in_(sorted(domains)))
        rows = await self._connection.execute(select.order_by(preview_domains.c.created_at, preview_domains.c.id))
        return [_read(row) for row in rows]

    async def hold_names(self) -> None:
        await hold_names(self._connection)

    async def foreign(self, domains: Collection[str], tenant_id: str) -> str | None:
        return await self._one_of(zones.c.domain.in_(sorted(domains)), zones.c.tenant_id != tenant_id)

    async def foreign_under(self, domain: str, tenant_id: str) -> str | None:
        return await self._one_of(zones.c.domain.endswith(f".{domain}"), zones.c.tenant_id != tenant_id)

    async def _one_of(self, *where: sa.ColumnElement[bool]) -> str | None:
        domain: str | None = await self._connection.scalar(sa.select(zones.c.domain).where(*where).limit(1))
        return domain

    async def by_id(self, preview_id: str) -> PreviewDomain | None:
        select = sa.select(preview_domains).where(preview_domains.c.id == preview_id)
        row = await self._one(self._locked(select, preview_domains))
        return None if row is None else _read(row)

    async def due(self, now: datetime, limit: int) -> Sequence[tuple[datetime, str]]:
        return await due(self._connection, preview_domains, now, limit)

    async def pull(self, domains: Collection[str], now: datetime, unless_since: datetime) -> int:
        waiting = (
            preview_domains.c.domain.in_(sorted(domains)),
            preview_domains.c.status == PreviewStatus.PENDING_DNS,
        )
        return await pull(self._connection, preview_domains, now, unless_since, *waiting)

    async def put(self, preview: PreviewDomain) -> None:
        old = await self.get(preview.scope, preview.scope_id)
        if old is None or old.domain != preview.domain:
            await self._drop(old)
            await self._connection.execute(
                _CLAIM.on(self._connection), {"domain": preview.domain, "tenant_id": preview.tenant_id}
            )
            await self._connection.execute(sa.insert(preview_domains).values(_values(preview)))
        else:
            values = _values(preview, "id", "created_at")
            await self._connection.execute(
                sa.update(preview_domains).where(*_of(preview.scope, preview.scope_id)).values(values)
            )
        if old is None or _routed(old) != _routed(preview):
            self._changes.record(zone_key(preview.domain))

    async def clear(self, scope: Scope, scope_id: str) -> None:
        await self._drop(await self.get(scope, scope_id))

    async def _drop(self, old: PreviewDomain | None) -> None:
        if old is None:
            return
        await self._connection.execute(sa.delete(preview_domains).where(*_of(old.scope, old.scope_id)))
        used = sa.select(preview_domains.c.domain).where(preview_domains.c.domain == old.domain)
        await self._connection.execute(sa.delete(zones).where(zones.c.domain == old.domain, ~used.exists()))
        self._changes.record(zone_key(old.domain))


def _of(scope: Scope, scope_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (preview_domains.c.scope == scope.value, preview_domains.c.scope_id == scope_id)


def _routed(preview: PreviewDomain) -> tuple[object, ...]:
    """What its routing record shows."""
    return preview.domain, preview.verified, preview.check.caa_forbidden, preview.check.not_pointing


def _values(preview: PreviewDomain, *without: str) -> dict[str, Any]:
    return fields_of(preview, "check", *without) | check_fields(preview.check)


def _read(row: sa.Row[Any]) -> PreviewDomain:
    return PreviewDomain(
        **{
            **unchecked(row),
            "check": read_check(row),
            "scope": Scope(row.scope),
            "status": PreviewStatus(row.status),
        }
    )
