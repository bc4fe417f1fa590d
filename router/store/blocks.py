"""Stored blocks, and the marks that they leave on what they are about."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from router.base.ids import new_id
from router.base.paging import Listing, Window
from router.domains.custom import CustomDomain
from router.hostname import host_meanings
from router.routes.records import name_key, slug_key
from router.store.block_tables import blocks
from router.store.changes import chunks
from router.store.deployment_tables import deployment_versions, deployments
from router.store.rows import Rows, conditions, fields_of, named
from router.store.tables import custom_domains, preview_domains, released_zones, resources, tenants, tombstones
from router.store.types import DatabaseTime
from router.store.upsert import Upsert, replacing
from router.tenancy.blocks import Block, BlockFilter, BlockKind, Owner

_PUT = Upsert(
    blocks,
    replacing(
        "reason",
        "public_reason",
        "actor",
        "tenant_id",
        "cause_id",
        "created_at",
        "expires_at",
        "lifted_at",
        "lifted_by",
    ),
)
_in_force = blocks.c.lifted_at.is_(None)
_active = deployment_versions.alias("active")


def holds_block(tenant_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether that tenant is blocked or has a resource that is: what is known of its past names still counts then."""
    own = sa.select(tenants.c.id).where(tenants.c.id == tenant_id, tenants.c.suspended.is_(True))
    held = sa.select(resources.c.id).where(resources.c.tenant_id == tenant_id, resources.c.suspended.is_(True))
    return sa.or_(own.exists(), held.exists())


class SqlBlocks(Rows):
    """tenancy.blocks.BlockRows; and what follows a custom domain that comes or goes."""

    async def put(self, block: Block) -> None:
        await self._connection.execute(_PUT.on(self._connection), fields_of(block))

    async def get(self, block_id: str) -> Block | None:
        return await self._find(blocks.c.id == block_id)

    async def in_force(self, kind: BlockKind, subject: str) -> Block | None:
        return await self._find(_in_force, blocks.c.kind == kind.value, blocks.c.subject == subject)

    async def caused_by(self, block_id: str) -> Sequence[Block]:
        rows = await self._connection.execute(sa.select(blocks).where(_in_force, blocks.c.cause_id == block_id))
        return [_read(row) for row in rows]

    async def list(self, where: BlockFilter, window: Window) -> Listing[Block]:
        select = sa.select(blocks).where(*conditions(blocks, **fields_of(where, "lifted")))
        if not where.lifted:
            select = select.where(_in_force)
        return await self._listing(select, window, (blocks.c.created_at.desc(), blocks.c.id), _read)

    async def expired(self, now: datetime, limit: int) -> Sequence[Block]:
        seconds = await self._connection.scalar(sa.select(DatabaseTime()))
        over = min(now, datetime.fromtimestamp(seconds or 0.0, UTC))
        select = sa.select(blocks).where(_in_force, blocks.c.expires_at <= over).order_by(blocks.c.expires_at)
        return [_read(row) for row in await self._connection.execute(self._locked(select.limit(limit), blocks))]

    async def mark(self, kind: BlockKind, subject: str, *, blocked: bool) -> None:
        if kind is BlockKind.HOST:
            row = custom_domains
            holds = sa.and_(custom_domains.c.fqdn == subject, custom_domains.c.removed_at.is_(None))
            self._changes.record(name_key(subject))
        elif kind is BlockKind.RESOURCE:
            row, holds = resources, resources.c.id == subject
            self._changes.resource(subject)
            await self._touch_tombstones(tombstones.c.resource_id == subject)
        else:
            row, holds = tenants, tenants.c.id == subject
            self._changes.tenant(subject)
            await self._touch_tombstones(tombstones.c.tenant_id == subject)
        await self._connection.execute(sa.update(row).where(holds).values(suspended=blocked))

    async def _touch_tombstones(self, which: sa.ColumnElement[bool]) -> None:
        slugs = await self._connection.scalars(sa.select(tombstones.c.slug).where(which))
        self._changes.record(*map(slug_key, slugs))

    async def subject_of(self, kind: BlockKind, named: str) -> str | None:
        if kind is BlockKind.TENANT:
            wanted = (sa.select(tenants.c.id).where(column == named) for column in (tenants.c.id, tenants.c.slug))
        else:
            living = sa.select(resources.c.id).where(resources.c.slug == named, resources.c.deleted_at.is_(None))
            past = sa.select(tombstones.c.resource_id).where(tombstones.c.slug == named)
            wanted = (select for select in (sa.select(resources.c.id).where(resources.c.id == named), living, past))
        for select in wanted:
            found: str | None = await self._connection.scalar(select)
            if found is not None:
                return found
        return None

    async def owner(self, kind: BlockKind, subject: str) -> Owner | None:
        if kind is BlockKind.TENANT:
            return Owner(noun="tenant", tenant_id=subject)
        select = sa.select(resources.c.kind, resources.c.tenant_id, resources.c.workspace_id, resources.c.project_id)
        if kind is BlockKind.RESOURCE:
            row = await self._one(select.where(resources.c.id == subject))
            return None if row is None else _owner(row.kind, row, resource_id=subject)
        held = (custom_domains.c.fqdn == subject, custom_domains.c.removed_at.is_(None))
        joined = select.add_columns(custom_domains.c.id.label("domain_id"), custom_domains.c.resource_id)
        row = await self._one(joined.join(custom_domains, custom_domains.c.resource_id == resources.c.id).where(*held))
        return None if row is None else _owner("domain", row, resource_id=row.resource_id, domain_id=row.domain_id)

    async def of_resources(self, resource_ids: Collection[str]) -> Mapping[str, Block]:
        select = (
            sa.select(
                resources.c.id,
                sa.null().label("fqdn"),
                resources.c.id.label("resource_id"),
                _active.c.source_sandbox_id.label("sandbox_id"),
                resources.c.tenant_id,
            )
            .outerjoin(deployments, deployments.c.resource_id == resources.c.id)
            .outerjoin(_active, _active.c.id == deployments.c.active_version_id)
        )
        return await self._blocking(select, resources.c.id, resource_ids)

    async def of_domains(self, domain_ids: Collection[str]) -> Mapping[str, Block]:
        select = (
            sa.select(
                custom_domains.c.id,
                custom_domains.c.fqdn,
                custom_domains.c.resource_id,
                _active.c.source_sandbox_id.label("sandbox_id"),
                custom_domains.c.tenant_id,
            )
            .outerjoin(deployments, deployments.c.resource_id == custom_domains.c.resource_id)
            .outerjoin(_active, _active.c.id == deployments.c.active_version_id)
        )
        return await self._blocking(select, custom_domains.c.id, domain_ids)

    async def _blocking(self, select: sa.Select[Any], key: sa.Column[str], ids: Collection[str]) -> Mapping[str, Block]:
        """By id, the first block in force of each row's host, resource, sandbox and tenant."""
        found: dict[str, Block] = {}
        for chunk in chunks(sorted(ids)):
            rows = (await self._connection.execute(select.where(key.in_(chunk)))).all()
            subjects = {
                BlockKind.HOST: {row.fqdn for row in rows} - {None},
                BlockKind.RESOURCE: {one for row in rows for one in (row.resource_id, row.sandbox_id)} - {None},
                BlockKind.TENANT: {row.tenant_id for row in rows},
            }
            kinds = [kind.value for kind, names in subjects.items() if names]
            names = sorted(set[str]().union(*subjects.values()))
            # Kinds and names apart, and what is too much left out below: of pairs SQLite looks through all blocks.
            either = (blocks.c.kind.in_(kinds), blocks.c.subject.in_(names))
            wanted = await self._connection.execute(sa.select(blocks).where(_in_force, *either)) if names else ()
            known = {(block.kind, block.subject): block for block in map(_read, wanted)}
            for row in rows:
                about = (
                    (BlockKind.HOST, row.fqdn),
                    (BlockKind.RESOURCE, row.resource_id),
                    (BlockKind.RESOURCE, row.sandbox_id),
                    (BlockKind.TENANT, row.tenant_id),
                )
                blocking = (known[one] for one in about if one in known)
                counting = (block for block in blocking if block.tenant_id in (None, row.tenant_id))
                if (first := next(counting, None)) is not None:
                    found[row.id] = first
        return found

    async def feeds_blocked(self, sandbox_id: str, deployment_id: str) -> bool:
        select = (
            sa.select(resources.c.id)
            .join(deployment_versions, deployment_versions.c.resource_id == resources.c.id)
            .where(
                deployment_versions.c.source_sandbox_id == sandbox_id,
                resources.c.suspended.is_(True),
                resources.c.id != deployment_id,
            )
        )
        return await self._connection.scalar(select.limit(1)) is not None

    async def host_is_blocked(self, fqdn: str, tenant_id: str) -> bool:
        """Whether a block of this host counts for a domain of this tenant."""
        block = await self.in_force(BlockKind.HOST, fqdn)
        return block is not None and block.tenant_id in (None, tenant_id)

    async def domain_gone(self, domain: CustomDomain, now: datetime) -> None:
        """A domain leaves what it led to: where that is blocked, its host stays so."""
        cause = (await self.of_domains([domain.id])).get(domain.id)
        if cause is not None and cause.kind is not BlockKind.HOST:
            # A name that never led here proves nothing against other tenants: they may have it.
            await self._follow(domain, cause, now, everybody=domain.verified_at is not None)

    async def domain_comes(self, domain: CustomDomain, now: datetime) -> None:
        """A domain takes a host that a zone of its tenant gave to a blocked resource: it stays blocked."""
        for reading in host_meanings(domain.fqdn):
            of_zone = (("domain", reading.zone), ("tenant_id", domain.tenant_id))
            for table in (preview_domains, released_zones):
                held = sa.select(table.c.domain).where(*(table.c[name] == value for name, value in of_zone))
                if await self._connection.scalar(held.limit(1)) is None:
                    continue
                resource_id = await self.subject_of(BlockKind.RESOURCE, reading.slug)
                cause = (await self.of_resources([resource_id])).get(resource_id) if resource_id is not None else None
                if cause is not None and cause.kind is BlockKind.RESOURCE:
                    await self._follow(domain, cause, now, everybody=False)
                break

    async def _follow(self, domain: CustomDomain, cause: Block, now: datetime, *, everybody: bool) -> None:
        old = await self.in_force(BlockKind.HOST, domain.fqdn)
        if old is not None and (old.tenant_id is None or (old.tenant_id == domain.tenant_id and not everybody)):
            return
        await self.put(
            Block(
                id=new_id() if old is None else old.id,
                kind=BlockKind.HOST,
                subject=domain.fqdn,
                reason=cause.reason,
                public_reason=cause.public_reason,
                actor=cause.actor,
                tenant_id=None if everybody else domain.tenant_id,
                cause_id=cause.id,
                created_at=now,
            )
        )
        await self.mark(BlockKind.HOST, domain.fqdn, blocked=True)

    async def _find(self, *where: sa.ColumnElement[bool]) -> Block | None:
        row = await self._one(self._locked(sa.select(blocks).where(*where), blocks))
        return None if row is None else _read(row)


def _owner(noun: str, row: sa.Row[Any], *, resource_id: str, domain_id: str | None = None) -> Owner:
    return Owner(
        noun=noun,
        tenant_id=row.tenant_id,
        workspace_id=row.workspace_id,
        project_id=row.project_id,
        resource_id=resource_id,
        domain_id=domain_id,
    )


def _read(row: sa.Row[Any]) -> Block:
    return Block(**{**named(row), "kind": BlockKind(row.kind)})
