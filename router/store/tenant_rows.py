"""All rows of one tenant, whatever table they are in, and what is left of them when the tenant is deleted.

Found by walking the schema: a table with `tenant_id`, and one with a foreign key to a table that is found so. A test compares
with the schema: each other table says in NOT_THEIRS why it has nothing of a tenant's. What has to stay belongs to FORMER
afterwards, or to nobody.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from router.audit.entry import Entry
from router.certificates.order import OrderState
from router.domains.certificates import CertificateStatus
from router.routes.records import api_key_key, name_key, session_key, slug_key, zone_key
from router.routes.wakes import wake_key
from router.store.audit_tables import audit_entries
from router.store.block_tables import blocks
from router.store.certificate_tables import certificate_attempts, certificates
from router.store.connection import rows_changed
from router.store.held_certificate_tables import acme_orders, held_certificates
from router.store.held_certificates import BLANK
from router.store.journal_tables import idempotency
from router.store.login_tables import sessions
from router.store.rows import Rows
from router.store.schema import metadata
from router.store.tables import (
    api_keys,
    custom_domains,
    preview_domains,
    projects,
    released_zones,
    resources,
    tenants,
    tombstones,
    workspaces,
)
from router.store.types import BytesHave
from router.store.upsert import Upsert
from router.store.wake_tables import wakes
from router.tenancy.former import FORMER
from router.tenancy.tenant_deletion import DELETED

NOT_THEIRS: Mapping[str, str] = MappingProxyType(
    {
        "signing_keys": "the platform's own",
        "acme_accounts": "the platform's own",
        "holdings": "how many rows it has: a number goes with the last of them",
        "holding_changes": "by how much these numbers have changed, for a minute",
        "leases": "names of jobs and processes",
        "outbox": "names of records that changed, for an hour: slugs, hosts, hashes of keys",
        "route_versions": "names of records and their versions, until the next run of the job `prune`",
        "idempotency": "answers to requests, for a day; those of the tenant's keys, or that have its id, are deleted",
    }
)
"""Tables without a tenant's rows, and what is in them."""

STAYS: Mapping[str, str] = MappingProxyType(
    {
        "tombstones": "its slugs, which nobody may take for `removed_retention`: links of its visitors must not lead to another's program",
        "released_zones": "its preview domains, for `removed_retention`: their DNS records may still lead here, so the next owner has to prove more",
        "certificates": "its hosts, marked as removed, so that every node and Caddy let go of their certificates; at most 180 days",
        "certificate_attempts": "certificates that were asked for, as long as the authority's limits count them",
        "held_certificates": "that there was one, without its key and chain, so that every node hears of its removal; 30 days",
        "acme_orders": "closed orders without their keys, until their TXT records are withdrawn; 30 days",
        "blocks": "blocks of hosts for everybody, which operators have placed",
        "audit_entries": "that the tenant was deleted: when, and by whom",
    }
)
"""What stays, by table, and why: of all of it only the last has the tenant's id."""

_TOLD: Mapping[str, tuple[sa.Column[str], Callable[[str], str]]] = MappingProxyType(
    {
        "api_keys": (api_keys.c.digest, api_key_key),
        "sessions": (sessions.c.id, session_key),
        "custom_domains": (custom_domains.c.fqdn, name_key),
        "preview_domains": (preview_domains.c.domain, zone_key),
        "resources": (resources.c.slug, slug_key),
        "wakes": (wakes.c.resource_id, wake_key),
    }
)
_KEPT = frozenset({"certificates", "certificate_attempts", "held_certificates", "acme_orders"})  # but nobody's
_ADD_ONCE = {table.name: Upsert(table, None) for table in (tenants, workspaces, projects, resources)}


def _owned() -> Mapping[str, Callable[[str], sa.ColumnElement[bool]]]:
    found: dict[str, Callable[[str], sa.ColumnElement[bool]]] = {
        "tenants": lambda tenant_id: tenants.c.id == tenant_id,
        "blocks": lambda tenant_id: sa.or_(
            blocks.c.tenant_id == tenant_id,
            blocks.c.subject == tenant_id,
            blocks.c.subject.in_(sa.select(resources.c.id).where(resources.c.tenant_id == tenant_id)),
        ),
        "audit_entries": lambda tenant_id: sa.and_(
            sa.or_(audit_entries.c.tenant_id == tenant_id, audit_entries.c.resource_id == tenant_id),
            sa.not_(_is_deletion(tenant_id)),
        ),
    }
    for table in metadata.sorted_tables:
        if table.name in found:
            continue
        if "tenant_id" in table.c:
            found[table.name] = lambda tenant_id, column=table.c.tenant_id: column == tenant_id  # type: ignore[misc]
            continue
        for key in sorted(table.foreign_keys, key=lambda one: one.parent.name):
            parent = key.column.table.name
            if parent in found:
                found[table.name] = _by_reference(key.parent, key.column, found[parent])
                break
    return found


def _by_reference(
    column: sa.ColumnElement[str], target: sa.Column[str], theirs: Callable[[str], sa.ColumnElement[bool]]
) -> Callable[[str], sa.ColumnElement[bool]]:
    return lambda tenant_id: column.in_(sa.select(target).where(theirs(tenant_id)))


def _is_deletion(tenant_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(audit_entries.c.action == DELETED, audit_entries.c.resource_id == tenant_id)


OWNED: Mapping[str, Callable[[str], sa.ColumnElement[bool]]] = MappingProxyType(_owned())
"""Which rows are a tenant's, by table."""

_FIRST = ("blocks", "audit_entries")  # are found by what is deleted later
ORDER: Sequence[str] = (
    *_FIRST,
    *(
        table.name
        for table in reversed(metadata.sorted_tables)
        if table.name in OWNED and table.name not in _KEPT and table.name not in _FIRST
    ),
)
"""The tables whose rows are deleted, what refers to others first; the tenant's own row is the last."""


class SqlTenantRows(Rows):
    """tenancy.tenant_deletion.TenantRows"""

    async def counts(self, tenant_id: str) -> Mapping[str, int]:
        found = {}
        for name, theirs in OWNED.items():
            select = sa.select(sa.func.count()).select_from(metadata.tables[name]).where(theirs(tenant_id))
            found[name] = await self._connection.scalar(select) or 0
        return found

    async def being_deleted(self) -> Sequence[str]:
        select = sa.select(tenants.c.id).where(tenants.c.deleted_at.is_not(None)).order_by(tenants.c.deleted_at)
        return list(await self._connection.scalars(select))

    async def shut(self, tenant_id: str, now: datetime) -> None:
        await self._connection.execute(
            sa.update(tenants)
            .where(tenants.c.id == tenant_id)
            .values(suspended=True, deleted_at=sa.func.coalesce(tenants.c.deleted_at, now))
        )
        self._changes.tenant(tenant_id)
        zones = await self._connection.scalars(
            sa.select(preview_domains.c.domain).where(preview_domains.c.tenant_id == tenant_id)
        )
        self._changes.record(*map(zone_key, zones))
        for table, ended in ((api_keys, api_keys.c.revoked_at), (sessions, sessions.c.revoked_at)):
            column, key_of = _TOLD[table.name]
            revoke = sa.update(table).where(table.c.tenant_id == tenant_id, ended.is_(None)).values(revoked_at=now)
            self._changes.record(*map(key_of, await self._connection.scalars(revoke.returning(column))))

    async def living_resources(self, tenant_id: str, limit: int) -> Sequence[str]:
        which = (resources.c.tenant_id == tenant_id, resources.c.deleted_at.is_(None))
        return list(await self._connection.scalars(sa.select(resources.c.id).where(*which).limit(limit)))

    async def preview_domains(self, tenant_id: str, limit: int) -> Sequence[tuple[str, str]]:
        select = sa.select(preview_domains.c.scope, preview_domains.c.scope_id)
        rows = await self._connection.execute(select.where(preview_domains.c.tenant_id == tenant_id).limit(limit))
        return [(row.scope, row.scope_id) for row in rows]

    async def hand_to_nobody(self, tenant_id: str, now: datetime) -> None:
        """What stays is nobody's: see STAYS."""
        await self._make_former(now)
        for table in (tombstones, released_zones):
            values = {"tenant_id": FORMER} | ({"resource_id": FORMER} if table is tombstones else {})
            await self._connection.execute(sa.update(table).where(table.c.tenant_id == tenant_id).values(values))
        removed = {"status": CertificateStatus.REMOVED.value, "seen_at": now, "retry_at": None, "due_at": None}
        await self._connection.execute(
            sa.update(certificates)
            .where(certificates.c.tenant_id == tenant_id)
            .values(**removed, failures=0, tenant_id=None, domain_id=None)
        )
        await self._connection.execute(
            sa.update(certificate_attempts).where(certificate_attempts.c.tenant_id == tenant_id).values(tenant_id=None)
        )
        held = held_certificates.c
        gone = sa.update(held_certificates).where(held.tenant_id == tenant_id)
        await self._connection.execute(gone.where(held.removed_at.is_(None)).values(removed_at=now, **BLANK))
        await self._connection.execute(gone.values(tenant_id=None))
        orders = acme_orders.c
        of_tenant = sa.update(acme_orders).where(orders.tenant_id == tenant_id)
        closed = {"state": OrderState.ABANDONED.value, "closed_at": now}
        await self._connection.execute(of_tenant.where(orders.closed_at.is_(None)).values(closed))
        await self._connection.execute(of_tenant.values(tenant_id=None, sealed_key=None, csr=None))

    async def forget_answers(self, tenant_id: str) -> None:
        keys = sa.select(api_keys.c.id).where(api_keys.c.tenant_id == tenant_id)
        await self._connection.execute(
            sa.delete(idempotency).where(
                sa.or_(
                    idempotency.c.owner.in_(keys),
                    idempotency.c.owner.contains(tenant_id),
                    _has(idempotency.c.body, tenant_id),
                )
            )
        )

    async def delete(self, table: str, tenant_id: str, limit: int) -> int:
        of = metadata.tables[table]
        keys = tuple(of.primary_key)
        theirs = OWNED[table](tenant_id)
        found = [tuple(row) for row in await self._connection.execute(sa.select(*keys).where(theirs).limit(limit))]
        if not found:
            return 0
        those = keys[0].in_([key[0] for key in found]) if len(keys) == 1 else sa.tuple_(*keys).in_(found)
        if table in _TOLD:
            column, key_of = _TOLD[table]
            self._changes.record(*map(key_of, await self._connection.scalars(sa.select(column).where(those))))
        return rows_changed(await self._connection.execute(sa.delete(of).where(those)))

    async def note_deleted(self, tenant_id: str, entry: Entry) -> None:
        """The minimal entry that stays."""
        bare: dict[str, Any] = {
            "tenant_id": None,
            "resource_name": None,
            "changes": {},
            "address": None,
            "user_agent": None,
        }
        found = await self._connection.execute(sa.update(audit_entries).where(_is_deletion(tenant_id)).values(bare))
        if rows_changed(found) == 0:
            values = {column.name: getattr(entry, column.name) for column in audit_entries.c}
            await self._connection.execute(sa.insert(audit_entries).values(values))

    async def _make_former(self, now: datetime) -> None:
        at = {"created_at": now, "updated_at": now}
        group = {"id": FORMER, "tenant_id": FORMER, "name": "former", "slug": "former", "is_default": True}
        group |= {"metadata": {}, "settings": {}, "deleted_at": now, **at}
        resource = {"id": FORMER, "tenant_id": FORMER, "workspace_id": FORMER, "project_id": FORMER, **at}
        resource |= {"kind": "sandbox", "slug": "former", "state": "destroyed", "suspended": False, "deleted_at": now}
        resource |= {"host_modes": {}, "metadata": {}, "options": {}, "tags": [], "schemes": {}, "protocols": {}}
        tenant = {"id": FORMER, "slug": FORMER, "name": "former tenants", "plan": "none", "auto_expose": False, **at}
        rows: Mapping[str, Mapping[str, Any]] = {
            "tenants": tenant | {"branding": {}, "suspended": False},
            "workspaces": group,
            "projects": group | {"workspace_id": FORMER},
            "resources": resource,
        }
        for name, values in rows.items():
            await self._connection.execute(_ADD_ONCE[name].on(self._connection), dict(values))


def traces(connection: sa.Connection, text: str) -> Mapping[str, int]:
    """In how many rows of which columns of the store a text is found, whatever they hold."""
    found: dict[str, int] = {}
    for table in metadata.sorted_tables:
        columns = [column for column in table.c if isinstance(column.type, sa.String | sa.JSON | sa.LargeBinary)]
        if not columns:
            continue
        counts = []
        for column in columns:
            is_bytes = isinstance(column.type, sa.LargeBinary)
            has = _has(column, text) if is_bytes else sa.cast(column, sa.Text).contains(text)
            counts.append(sa.func.count(sa.case((has, 1))).label(column.name))
        row = connection.execute(sa.select(*counts).select_from(table)).one()
        found |= {f"{table.name}.{name}": number for name, number in row._mapping.items() if number}  # noqa: SLF001
    return found


def _has(column: sa.Column[Any], text: str) -> sa.ColumnElement[bool]:
    return BytesHave(column, sa.literal(text.encode(), sa.LargeBinary))
