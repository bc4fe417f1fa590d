"""Stored delegations of zones."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.certificates.delegation import Delegation, DelegationState, new_token
from router.certificates.held import Origin
from router.certificates.order import OrderState
from router.domains.preview_domains import PreviewStatus
from router.store.connection import rows_changed
from router.store.held_certificate_tables import acme_orders, delegations
from router.store.held_certificate_tables import held_certificates as held
from router.store.rows import Rows, fields_of, named
from router.store.tables import preview_domains, zones

_FOUND = ("state", "found", "checked_at", "next_check_at")


class SqlDelegations(Rows):
    """certificates.delegation.DelegationRows"""

    async def get(self, domain: str) -> Delegation | None:
        select = sa.select(delegations).where(delegations.c.domain == domain)
        row = await self._one(self._locked(select, delegations))
        return None if row is None else _read(row)

    async def by_token(self, token: str) -> Delegation | None:
        row = await self._one(sa.select(delegations).where(delegations.c.token == token))
        return None if row is None else _read(row)

    async def of_tenant(self, tenant_id: str) -> Sequence[Delegation]:
        select = sa.select(delegations).where(delegations.c.tenant_id == tenant_id).order_by(delegations.c.domain)
        return [_read(row) for row in await self._connection.execute(select)]

    async def at(self, domains: Collection[str]) -> Mapping[str, Delegation]:
        select = sa.select(delegations).where(delegations.c.domain.in_(sorted(domains)))
        return {row.domain: _read(row) for row in await self._connection.execute(select)}

    async def make(self, domain: str, tenant_id: str | None, now: datetime) -> Delegation:
        old = await self.get(domain)
        if old is not None and old.tenant_id == tenant_id:
            return old
        await self.drop(domain)
        new = Delegation(domain=domain, tenant_id=tenant_id, token=new_token(), next_check_at=now, created_at=now)
        await self._connection.execute(sa.insert(delegations).values(fields_of(new)))
        return new

    async def drop(self, domain: str) -> None:
        """Its owner lets go of the zone."""
        await self._connection.execute(sa.delete(delegations).where(delegations.c.domain == domain))

    async def save(self, delegation: Delegation) -> bool:
        values = {name: getattr(delegation, name) for name in _FOUND}
        same = (delegations.c.domain == delegation.domain, delegations.c.token == delegation.token)
        return rows_changed(await self._connection.execute(sa.update(delegations).where(*same).values(values))) > 0

    async def missing(self, limit: int) -> Sequence[tuple[str, str]]:
        have = sa.select(delegations.c.domain).where(delegations.c.domain == zones.c.domain)
        select = sa.select(zones.c.domain, zones.c.tenant_id).where(~have.exists()).order_by(zones.c.domain)
        return [(row.domain, row.tenant_id) for row in await self._connection.execute(select.limit(limit))]

    async def wanting(self, now: datetime, *, renewal: bool, limit: int) -> Sequence[Delegation]:
        of_zone = sa.select(acme_orders.c.id).where(acme_orders.c.domain == delegations.c.domain)
        is_open = of_zone.where(acme_orders.c.closed_at.is_(None))
        waits = of_zone.where(
            acme_orders.c.state == OrderState.FAILED,
            acme_orders.c.next_at > now,
            acme_orders.c.tenant_id.is_not_distinct_from(delegations.c.tenant_id),
        )
        # Only managed ones that are there have a time to be renewed: by that alone databases take its index.
        own = held.c.domain == delegations.c.domain
        if renewal:
            which = held.c.renew_at <= now
        else:
            own = sa.and_(own, held.c.origin == Origin.MANAGED, held.c.removed_at.is_(None))
            which = held.c.id.is_(None)
        select = (
            sa.select(delegations)
            .join(held, own, isouter=not renewal)
            .where(delegations.c.state == DelegationState.PRESENT, which, ~is_open.exists(), ~waits.exists())
            .order_by(held.c.not_after, delegations.c.created_at, delegations.c.domain)
        )
        return await self._owned(select, limit)

    async def due(self, now: datetime, limit: int) -> Sequence[Delegation]:
        due = sa.select(delegations).where(delegations.c.next_check_at <= now)
        return await self._owned(due.order_by(delegations.c.next_check_at, delegations.c.domain), limit)

    async def _owned(self, select: sa.Select[Any], limit: int) -> Sequence[Delegation]:
        """Those of the platform's own zone and of verified ones. Asked for apart: where both are alternatives of one query,
        databases read all zones."""
        found: list[Delegation] = []
        for whose in (delegations.c.tenant_id.is_(None), _verified().exists()):
            rows = await self._connection.execute(select.where(whose).limit(limit - len(found)))
            found += [_read(row) for row in rows]
        return found


def _verified() -> sa.Select[Any]:
    return sa.select(preview_domains.c.id).where(
        preview_domains.c.domain == delegations.c.domain, preview_domains.c.status == PreviewStatus.VERIFIED
    )


def _read(row: sa.Row[Any]) -> Delegation:
    return Delegation(**{**named(row), "state": DelegationState(row.state)})
