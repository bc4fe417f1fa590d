"""Stored custom domains. Their owner is their resource's: it is joined, not copied, so it can't be out of date."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.base.paging import Listing, Window
from router.domains.checks.schedule import Slice
from router.domains.claims import TRANSFERRED
from router.domains.custom import CustomDomain, DomainFilter
from router.domains.names import registered_domain
from router.domains.redirects import RedirectPolicy
from router.routes.records import DomainStatus, Kind, name_key
from router.store.blocks import SqlBlocks
from router.store.certificate_tables import certificates
from router.store.certificates import JOINED as CERTIFICATE
from router.store.certificates import SqlCertificates, joined_certificate
from router.store.check_columns import check_fields, due, read_check, schedule_now, unchecked
from router.store.holdings import held
from router.store.letting_go import let_go_of_custom
from router.store.names_under import at_or_under, is_under, others, reversed_name
from router.store.preview_domains import tokens_of
from router.store.rows import Rows, conditions, fields_of
from router.store.tables import custom_domains, resources

_NOUN = "custom_domain"
_JOINED = ("kind", "workspace_id", "project_id")
_select = (
    sa.select(custom_domains, *(resources.c[name] for name in _JOINED), *CERTIFICATE)
    .join(resources, resources.c.id == custom_domains.c.resource_id)
    .join(certificates, certificates.c.host == custom_domains.c.fqdn, isouter=True)
)
_NOT_ITS_OWN = frozenset({"registered", "reversed_name", *(column.name for column in CERTIFICATE)})


class SqlCustomDomains(Rows):
    """domains.custom.DomainRows"""

    async def add(self, domain: CustomDomain) -> None:
        blocks = SqlBlocks(self._connection, self._changes, writing=True)
        await blocks.domain_comes(domain, domain.created_at)
        blocked = await blocks.host_is_blocked(domain.fqdn, domain.tenant_id)
        await self._connection.execute(
            sa.insert(custom_domains).values(_values(domain) | {"suspended": domain.suspended or blocked})
        )
        self._changes.record(name_key(domain.fqdn))

    async def get(self, domain_id: str) -> CustomDomain | None:
        return await self._find(custom_domains.c.id == domain_id)

    async def by_fqdn(self, fqdn: str) -> CustomDomain | None:
        return await self._find(custom_domains.c.fqdn == fqdn, custom_domains.c.removed_at.is_(None))

    async def last_token(self, fqdn: str, tenant_id: str) -> str | None:
        select = sa.select(custom_domains.c.token).where(
            custom_domains.c.fqdn == fqdn,
            custom_domains.c.tenant_id == tenant_id,
            custom_domains.c.removed_at.is_not(None),
            sa.func.coalesce(custom_domains.c.failure_reason, "") != TRANSFERRED,
        )
        token: str | None = await self._connection.scalar(select.order_by(custom_domains.c.removed_at.desc()).limit(1))
        return token

    async def foreign(self, names: Collection[str], tenant_id: str) -> str | None:
        return await self._foreign(custom_domains.c.fqdn.in_(sorted(names)), tenant_id)

    async def foreign_under(self, domain: str, tenant_id: str) -> str | None:
        return await self._foreign(is_under(custom_domains, custom_domains.c.fqdn, domain), tenant_id)

    async def released(self, names: Collection[str], tenant_id: str, since: datetime) -> str | None:
        return await self._let_go(custom_domains.c.fqdn.in_(sorted(names)), tenant_id, since)

    async def released_under(self, domain: str, tenant_id: str, since: datetime) -> str | None:
        return await self._let_go(is_under(custom_domains, custom_domains.c.fqdn, domain), tenant_id, since)

    async def foreign_of(self, domains: Collection[str], tenant_id: str) -> bool:
        return await self._foreign(custom_domains.c.registered.in_(sorted(domains)), tenant_id) is not None

    async def released_of(self, domains: Collection[str], tenant_id: str, since: datetime) -> bool:
        return await self._let_go(custom_domains.c.registered.in_(sorted(domains)), tenant_id, since) is not None

    async def count_of(self, tenant_id: str) -> int:
        return await self._connection.scalar(held(tenant_id, _NOUN)) or 0

    async def own_tokens(self, tokens: Collection[str], tenant_id: str) -> frozenset[str]:
        return await tokens_of(self._connection, custom_domains, tokens, tenant_id)

    async def _let_go(self, which: sa.ColumnElement[bool], tenant_id: str, since: datetime) -> str | None:
        later = custom_domains.alias("later")
        last = ~(
            sa.select(later.c.id)
            .where(
                later.c.fqdn == custom_domains.c.fqdn,
                later.c.id != custom_domains.c.id,
                sa.or_(later.c.removed_at.is_(None), later.c.removed_at > custom_domains.c.removed_at),
            )
            .exists()
        )
        select = sa.select(custom_domains.c.fqdn).where(
            which,
            custom_domains.c.removed_at >= since,
            others(custom_domains.c.tenant_id, tenant_id),
            sa.func.coalesce(custom_domains.c.failure_reason, "") != TRANSFERRED,
            last,
        )
        fqdn: str | None = await self._connection.scalar(select.limit(1))
        return fqdn

    async def others(self, name: str, tenant_id: str, *, under: bool) -> list[CustomDomain]:
        which = at_or_under(custom_domains, custom_domains.c.fqdn, name, under=under)
        select = _select.where(which, custom_domains.c.tenant_id != tenant_id, custom_domains.c.removed_at.is_(None))
        rows = await self._connection.execute(self._locked(select.order_by(custom_domains.c.id), custom_domains))
        return [_read(row) for row in rows]

    async def forget_released(self, name: str, tenant_id: str, *, under: bool) -> None:
        await self._connection.execute(
            sa.update(custom_domains)
            .where(
                at_or_under(custom_domains, custom_domains.c.fqdn, name, under=under),
                custom_domains.c.tenant_id != tenant_id,
                custom_domains.c.removed_at.is_not(None),
            )
            .values(failure_reason=TRANSFERRED)
        )

    async def _foreign(self, which: sa.ColumnElement[bool], tenant_id: str) -> str | None:
        select = sa.select(custom_domains.c.fqdn).where(
            which, others(custom_domains.c.tenant_id, tenant_id), custom_domains.c.removed_at.is_(None)
        )
        fqdn: str | None = await self._connection.scalar(select.limit(1))
        return fqdn

    async def list(self, where: DomainFilter, window: Window) -> Listing[CustomDomain]:
        # The domains of a resource or a project are asked for with the resource's tenant, which is theirs: with a tenant and a
        # resource to find them by, SQLite may go through all of the tenant's (130,000 in 0.4 s).
        narrow = where.resource_id is not None or where.project_id is not None
        joined = (*_JOINED, "tenant_id") if narrow else _JOINED
        which = sa.select(custom_domains.c.id).where(*conditions(custom_domains, **fields_of(where, *joined)))
        if of_resource := conditions(resources, **{name: getattr(where, name) for name in joined}):
            which = which.join(resources, resources.c.id == custom_domains.c.resource_id).where(*of_resource)
        if where.status is not DomainStatus.REMOVED:
            which = which.where(custom_domains.c.removed_at.is_(None))
        order = (custom_domains.c.created_at.desc(), custom_domains.c.id)
        key, total = custom_domains.c.id, _total(where)
        return await self._listing(_select, window, order, _read, key=key, which=which, total=total)

    async def save(self, domain: CustomDomain, *, routed: bool = True) -> None:
        values = _values(domain, "id", "created_at")
        await self._connection.execute(sa.update(custom_domains).where(custom_domains.c.id == domain.id).values(values))
        if routed:
            self._changes.record(name_key(domain.fqdn))
        if domain.removed_at is not None:
            await SqlBlocks(self._connection, self._changes, writing=True).domain_gone(domain, domain.removed_at)
            await SqlCertificates(self._connection, self._changes, writing=True).remove(domain.fqdn, domain.removed_at)
            await let_go_of_custom(self._connection, self._changes, domain.fqdn, domain.removed_at)

    async def due(self, now: datetime, limit: int, part: Slice) -> Sequence[tuple[datetime, str, str]]:
        return await due(self._connection, custom_domains, now, limit, part)

    async def remove_of(self, resource_id: str, now: datetime) -> Sequence[tuple[str, str]]:
        """tenancy.transaction.CustomDomainRows"""
        which = (custom_domains.c.resource_id == resource_id, custom_domains.c.removed_at.is_(None))
        rows = await self._connection.execute(self._locked(_select.where(*which), custom_domains))
        domains = [_read(row) for row in rows]
        for domain in domains:
            await self.save(replace(domain, status=DomainStatus.REMOVED, removed_at=now, updated_at=now))
        return [(domain.id, domain.fqdn) for domain in domains]

    async def schedule_now(self, fqdns: Collection[str], now: datetime, unless_since: datetime) -> int:
        waiting = (custom_domains.c.fqdn.in_(sorted(fqdns)), custom_domains.c.removed_at.is_(None))
        return await schedule_now(
            self._connection,
            custom_domains,
            now,
            unless_since,
            *waiting,
            custom_domains.c.status == DomainStatus.PENDING,
        )

    async def _find(self, *where: sa.ColumnElement[bool]) -> CustomDomain | None:
        row = await self._one(self._locked(_select.where(*where), custom_domains))
        return None if row is None else _read(row)


def _total(where: DomainFilter) -> sa.Select[int] | None:
    """How many there are, where those of a tenant or of a resource are asked for."""
    scope_id = where.tenant_id if where.resource_id is None else where.resource_id
    if scope_id is None or where.status is not None:
        return None
    around = fields_of(where, "status", "resource_id")
    if where.resource_id is None:
        return held(scope_id, _NOUN) if not any(around[name] for name in _JOINED) else None
    return held(scope_id, _NOUN).where(sa.exists().where(resources.c.id == scope_id, *conditions(resources, **around)))


def _values(domain: CustomDomain, *without: str) -> dict[str, Any]:
    values = fields_of(domain, "check", "certificate", *_JOINED, *without) | check_fields(domain.check)
    return values | {"registered": registered_domain(domain.fqdn), "reversed_name": reversed_name(domain.fqdn)}


def _read(row: sa.Row[Any]) -> CustomDomain:
    return CustomDomain(
        **{
            **{name: value for name, value in unchecked(row).items() if name not in _NOT_ITS_OWN},
            "certificate": joined_certificate(row),
            "check": read_check(row),
            "kind": Kind(row.kind),
            "status": DomainStatus(row.status),
            "redirect_policy": RedirectPolicy(row.redirect_policy),
        }
    )
