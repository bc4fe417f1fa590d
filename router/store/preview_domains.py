"""Stored preview domains, and the zones that they make."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.domains.checks.schedule import Slice
from router.domains.claims import LET_GO_TIME
from router.domains.names import registered_domain
from router.domains.preview_domains import PreviewDomain, PreviewStatus
from router.routes.records import Scope, zone_key
from router.store.blocks import holds_block
from router.store.changes import Changes
from router.store.check_columns import check_fields, due, read_check, schedule_now, unchecked
from router.store.connection import Connection
from router.store.delegations import SqlDelegations
from router.store.holdings import held
from router.store.letting_go import let_go_of_zone
from router.store.locks import hold_names
from router.store.names_under import at_or_under, is_under, others, reversed_name
from router.store.rows import Rows, fields_of
from router.store.tables import preview_domains, released_zones, zones
from router.store.upsert import Upsert, replacing

_CLAIM = Upsert(zones, None)
_RELEASE = Upsert(released_zones, replacing("tenant_id", "released_at", "reversed_name"))


class SqlPreviewDomains(Rows):
    """domains.preview.ZoneRows, and so tenancy.transaction.PreviewDomainRows"""

    def __init__(self, connection: Connection, changes: Changes, *, writing: bool, now: datetime) -> None:
        super().__init__(connection, changes, writing=writing)
        self._now = now

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

    async def around(self, tenant_id: str, within: Collection[str]) -> list[PreviewDomain]:
        # By scope, which is unique: a tenant may have a thousand, and one by the tenant would find them all.
        narrow = preview_domains.c.scope.in_([Scope.WORKSPACE.value, Scope.PROJECT.value])
        which = sa.or_(
            sa.and_(preview_domains.c.scope == Scope.TENANT.value, preview_domains.c.scope_id == tenant_id),
            sa.and_(narrow, preview_domains.c.scope_id.in_(sorted(within))),
        )
        return [_read(row) for row in await self._connection.execute(sa.select(preview_domains).where(which))]

    async def at(self, domains: Collection[str]) -> list[PreviewDomain]:
        select = sa.select(preview_domains).where(preview_domains.c.domain.in_(sorted(domains)))
        rows = await self._connection.execute(select.order_by(preview_domains.c.created_at, preview_domains.c.id))
        return [_read(row) for row in rows]

    async def hold_names(self) -> None:
        await hold_names(self._connection)

    async def foreign(self, domains: Collection[str], tenant_id: str) -> str | None:
        return await self._one_of(zones.c.domain.in_(sorted(domains)), zones.c.tenant_id != tenant_id)

    async def foreign_under(self, domain: str, tenant_id: str) -> str | None:
        return await self._one_of(is_under(zones, zones.c.domain, domain), zones.c.tenant_id != tenant_id)

    async def released(self, domains: Collection[str], tenant_id: str, since: datetime) -> str | None:
        return await self._let_go(released_zones.c.domain.in_(sorted(domains)), tenant_id, since)

    async def released_under(self, domain: str, tenant_id: str, since: datetime) -> str | None:
        return await self._let_go(is_under(released_zones, released_zones.c.domain, domain), tenant_id, since)

    async def foreign_of(self, domains: Collection[str], tenant_id: str) -> bool:
        which = zones.c.registered.in_(sorted(domains))
        return await self._one_of(which, others(zones.c.tenant_id, tenant_id)) is not None

    async def released_of(self, domains: Collection[str], tenant_id: str, since: datetime) -> bool:
        return await self._let_go(released_zones.c.registered.in_(sorted(domains)), tenant_id, since) is not None

    async def has_verified(self, domains: Collection[str], tenant_id: str) -> bool:
        select = sa.select(preview_domains.c.id).where(
            preview_domains.c.domain.in_(sorted(domains)),
            preview_domains.c.tenant_id == tenant_id,
            preview_domains.c.status == PreviewStatus.VERIFIED,
        )
        return await self._connection.scalar(select.limit(1)) is not None

    async def count_of(self, tenant_id: str) -> int:
        return await self._connection.scalar(held(tenant_id, "preview_domain")) or 0

    async def own_tokens(self, tokens: Collection[str], tenant_id: str) -> frozenset[str]:
        return await tokens_of(self._connection, preview_domains, tokens, tenant_id)

    async def _let_go(self, which: sa.ColumnElement[bool], tenant_id: str, since: datetime) -> str | None:
        select = sa.select(released_zones.c.domain).where(
            which, released_zones.c.tenant_id != tenant_id, released_zones.c.released_at >= since
        )
        domain: str | None = await self._connection.scalar(select.limit(1))
        return domain

    async def others(self, name: str, tenant_id: str, *, under: bool) -> list[PreviewDomain]:
        which = at_or_under(preview_domains, preview_domains.c.domain, name, under=under)
        select = sa.select(preview_domains).where(which, preview_domains.c.tenant_id != tenant_id)
        rows = await self._connection.execute(self._locked(select.order_by(preview_domains.c.id), preview_domains))
        return [_read(row) for row in rows]

    async def forget_released(self, name: str, tenant_id: str, *, under: bool) -> None:
        which = at_or_under(released_zones, released_zones.c.domain, name, under=under)
        await self._connection.execute(sa.delete(released_zones).where(which, released_zones.c.tenant_id != tenant_id))

    async def _one_of(self, *where: sa.ColumnElement[bool]) -> str | None:
        domain: str | None = await self._connection.scalar(sa.select(zones.c.domain).where(*where).limit(1))
        return domain

    async def by_id(self, preview_id: str) -> PreviewDomain | None:
        select = sa.select(preview_domains).where(preview_domains.c.id == preview_id)
        row = await self._one(self._locked(select, preview_domains))
        return None if row is None else _read(row)

    async def due(self, now: datetime, limit: int, part: Slice) -> Sequence[tuple[datetime, str, str]]:
        return await due(self._connection, preview_domains, now, limit, part)

    async def schedule_now(self, domains: Collection[str], now: datetime, unless_since: datetime) -> int:
        waiting = (
            preview_domains.c.domain.in_(sorted(domains)),
            preview_domains.c.status == PreviewStatus.PENDING_DNS,
        )
        return await schedule_now(self._connection, preview_domains, now, unless_since, *waiting)

    async def put(self, preview: PreviewDomain) -> None:
        old = await self.get(preview.scope, preview.scope_id)
        if old is None or old.domain != preview.domain:
            await self._drop(old)
            await self._connection.execute(
                _CLAIM.on(self._connection),
                {
                    "domain": preview.domain,
                    "tenant_id": preview.tenant_id,
                    "registered": registered_domain(preview.domain),
                    "reversed_name": reversed_name(preview.domain),
                },
            )
            await SqlDelegations(self._connection, self._changes, writing=True).make(
                preview.domain, preview.tenant_id, self._now
            )
            await self._connection.execute(sa.insert(preview_domains).values(_values(preview)))
        else:
            values = _values(preview, "id", "created_at")
            await self._connection.execute(
                sa.update(preview_domains).where(*_of(preview.scope, preview.scope_id)).values(values)
            )
        if old is None or _routed(old) != _routed(preview):
            self._changes.record(zone_key(preview.domain))

    async def clear(self, scope: Scope, scope_id: str, *, released: bool = True) -> None:
        await self._drop(await self.get(scope, scope_id), released=released)

    async def _drop(self, old: PreviewDomain | None, *, released: bool = True) -> None:
        if old is None:
            return
        await self._connection.execute(sa.delete(preview_domains).where(*_of(old.scope, old.scope_id)))
        used = sa.select(preview_domains.c.domain).where(preview_domains.c.domain == old.domain)
        unused = sa.delete(zones).where(zones.c.domain == old.domain, ~used.exists()).returning(zones.c.domain)
        if await self._connection.scalar(unused) is not None:
            await let_go_of_zone(self._connection, self._changes, old.domain, self._now)
            if released:
                await self._release(old)
        self._changes.record(zone_key(old.domain))

    async def _release(self, old: PreviewDomain) -> None:
        """Remember who had it, for as long as that matters."""
        await self._connection.execute(
            sa.delete(released_zones).where(
                released_zones.c.released_at < self._now - LET_GO_TIME, ~holds_block(released_zones.c.tenant_id)
            )
        )
        row = {
            "domain": old.domain,
            "tenant_id": old.tenant_id,
            "released_at": self._now,
            "registered": registered_domain(old.domain),
            "reversed_name": reversed_name(old.domain),
        }
        await self._connection.execute(_RELEASE.on(self._connection), row)


async def tokens_of(connection: Connection, table: sa.Table, tokens: Collection[str], tenant_id: str) -> frozenset[str]:
    """Those of the tokens that rows of this tenant's have."""
    select = sa.select(table.c.token).where(table.c.tenant_id == tenant_id, table.c.token.in_(sorted(tokens)))
    return frozenset((await connection.scalars(select)).all()) if tokens else frozenset()


def _of(scope: Scope, scope_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (preview_domains.c.scope == scope.value, preview_domains.c.scope_id == scope_id)


def _routed(preview: PreviewDomain) -> tuple[object, ...]:
    """What its routing record shows."""
    return preview.domain, preview.verified, preview.check.caa_forbidden, preview.check.not_pointing


def _values(preview: PreviewDomain, *without: str) -> dict[str, Any]:
    values = fields_of(preview, "check", *without) | check_fields(preview.check)
    return values | {"reversed_name": reversed_name(preview.domain)}


def _read(row: sa.Row[Any]) -> PreviewDomain:
    return PreviewDomain(
        **{
            **{name: value for name, value in unchecked(row).items() if name != "reversed_name"},
            "check": read_check(row),
            "scope": Scope(row.scope),
            "status": PreviewStatus(row.status),
        }
    )
