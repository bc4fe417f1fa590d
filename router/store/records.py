"""Routing records out of SQL: what `routes.resolver` asks for when no cache knows.

All keys of a host are read in one transaction, with one statement per kind of record and one for the ports; the
versions come along. Ownership, suspension and `auto_expose` are joined here, so that a decision needs nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from router.domains.preview import PreviewStatus
from router.domains.redirects import RedirectPolicy, redirect_target
from router.routes.records import (
    DomainStatus,
    Endpoint,
    Kind,
    NameRecord,
    Record,
    ResourceRecord,
    Scope,
    State,
    ZoneClaim,
    ZoneRecord,
    name_key,
    slug_key,
    zone_key,
)
from router.store.deployment_tables import deployments
from router.store.engine import translated
from router.store.journal_tables import route_versions
from router.store.tables import (
    custom_domains,
    endpoints,
    exposed_ports,
    preview_domains,
    previews,
    resources,
    tenants,
    tombstones,
)

_PRESERVE = "preserve"

# The endpoint of a deployment is its active version's, where that has one; else the resource's own.
_own, _version = endpoints.alias("own"), endpoints.alias("version")
_resources = (
    sa.select(
        resources,
        tenants.c.auto_expose,
        tenants.c.suspended.label("tenant_suspended"),
        sa.func.coalesce(_version.c.address, _own.c.address).label("address"),
        sa.func.coalesce(_version.c.generation, _own.c.generation).label("generation"),
        sa.case((_version.c.holder_id.is_not(None), _version.c.ports), else_=_own.c.ports).label("ports"),
        sa.func.coalesce(route_versions.c.version, 0).label("version"),
    )
    .join(tenants, tenants.c.id == resources.c.tenant_id)
    .outerjoin(deployments, deployments.c.resource_id == resources.c.id)
    .outerjoin(_own, _own.c.holder_id == resources.c.id)
    .outerjoin(_version, _version.c.holder_id == deployments.c.active_version_id)
    .outerjoin(route_versions, route_versions.c.key == "slug:" + resources.c.slug)
)


class SqlRecords:
    """A routes.resolver.RecordSource on SQL."""

    name = "sql"

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, Record | None]:
        """Raises StoreUnavailableError."""
        versioned = await self.fetch_versioned(keys)
        return {key: record for key, (_, record) in versioned.items()}

    async def fetch_versioned(self, keys: Sequence[str]) -> Mapping[str, tuple[int, Record | None]]:
        """Each key's version beside its record, absent ones included: version 0 has never existed.

        A cache needs the versions of what is absent too, or a slow fill could bury a record that was made meanwhile.
        Raises StoreUnavailableError.
        """
        wanted = _Wanted(keys)
        if not wanted.keys:
            return {}
        with translated():
            async with self._engine.connect() as connection:
                return await wanted.read(connection)


class _Wanted:
    """The keys of one fetch, by kind, and what is found for them."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = tuple(dict.fromkeys(keys))
        self._names = [key[5:] for key in self.keys if key.startswith("name:")]
        self._zones = [key[5:] for key in self.keys if key.startswith("zone:")]
        self._slugs = [key[5:] for key in self.keys if key.startswith("slug:")]

    async def read(self, connection: AsyncConnection) -> Mapping[str, tuple[int, Record | None]]:
        versions = await self._versions(connection)
        records: dict[str, Record] = {}
        domains = await self._domains(connection)
        by_id = await self._resources(connection, [row.resource_id for row in domains.values()])
        for resource in by_id.values():
            if resource.slug in self._slugs and resource.state is not State.DESTROYED:
                records[slug_key(resource.slug)] = resource
        for buried in await self._tombstones(connection, [s for s in self._slugs if slug_key(s) not in records]):
            records[slug_key(buried.slug)] = buried
        for fqdn, row in domains.items():
            records[name_key(fqdn)] = _name(row, by_id.get(row.resource_id), versions.get(name_key(fqdn), 0))
        for zone, claims in (await self._claims(connection)).items():
            records[zone_key(zone)] = ZoneRecord(zone, tuple(claims), versions.get(zone_key(zone), 0))
        return {key: (versions.get(key, 0), records.get(key)) for key in self.keys}

    async def _versions(self, connection: AsyncConnection) -> Mapping[str, int]:
        select = sa.select(route_versions).where(route_versions.c.key.in_(self.keys))
        return {row.key: row.version for row in await connection.execute(select)}

    async def _domains(self, connection: AsyncConnection) -> Mapping[str, sa.Row[Any]]:
        """The live domain of each name, else the one that was removed last."""
        if not self._names:
            return {}
        rows = await connection.execute(
            sa.select(custom_domains, tenants.c.suspended.label("tenant_suspended"))
            .join(tenants, tenants.c.id == custom_domains.c.tenant_id)
            .where(custom_domains.c.fqdn.in_(self._names))
            .order_by(custom_domains.c.removed_at.is_not(None), custom_domains.c.removed_at.desc())
        )
        found: dict[str, sa.Row[Any]] = {}
        for row in rows:
            found.setdefault(row.fqdn, row)
        return found

    async def _resources(self, connection: AsyncConnection, ids: Sequence[str]) -> Mapping[str, ResourceRecord]:
        """The live resources of the slugs, and those that the domains lead to; by id."""
        if not self._slugs and not ids:
            return {}
        # Written as a union, because either half has an index and SQLite scans where an OR mixes them.
        which = sa.select(resources.c.id).where(resources.c.slug.in_(self._slugs), resources.c.deleted_at.is_(None))
        if ids:
            which = which.union(sa.select(resources.c.id).where(resources.c.id.in_(ids)))  # type: ignore[assignment]
        rows = (await connection.execute(_resources.where(resources.c.id.in_(which)))).all()
        live = [row.id for row in rows if row.deleted_at is None]
        exposed, modes = await _ports(connection, live) if live else ({}, {})
        return {row.id: _resource(row, exposed.get(row.id, set()), modes.get(row.id, {})) for row in rows}

    async def _tombstones(self, connection: AsyncConnection, slugs: Sequence[str]) -> Iterable[ResourceRecord]:
        if not slugs:
            return ()
        # The dead have no ports and no endpoint; what they belonged to still says whose zone may answer for them.
        buried = sa.select(tombstones.c.resource_id).where(tombstones.c.slug.in_(slugs))
        rows = await connection.execute(_resources.where(resources.c.id.in_(buried)))
        return [_resource(row, set(), {}) for row in rows]

    async def _claims(self, connection: AsyncConnection) -> Mapping[str, list[ZoneClaim]]:
        if not self._zones:
            return {}
        found: dict[str, list[ZoneClaim]] = {}
        rows = await connection.execute(
            sa.select(preview_domains)
            .where(preview_domains.c.domain.in_(self._zones))
            .order_by(preview_domains.c.created_at, preview_domains.c.id)
        )
        for row in rows:
            verified = row.status == PreviewStatus.VERIFIED
            found.setdefault(row.domain, []).append(ZoneClaim(Scope(row.scope), row.scope_id, row.tenant_id, verified))
        return found


async def _ports(
    connection: AsyncConnection, ids: Sequence[str]
) -> tuple[Mapping[str, set[int]], Mapping[str, dict[int, str]]]:
    """The exposed ports of each resource, and the Host that each port's preview asks for."""
    exposed: dict[str, set[int]] = {}
    modes: dict[str, dict[int, str]] = {}
    nothing = sa.null().label("host_mode")
    rows = await connection.execute(
        sa.select(exposed_ports.c.resource_id, exposed_ports.c.port, nothing)
        .where(exposed_ports.c.resource_id.in_(ids))
        .union_all(
            sa.select(previews.c.resource_id, previews.c.port, previews.c.host_mode).where(
                previews.c.resource_id.in_(ids)
            )
        )
    )
    for row in rows:
        if row.host_mode is None:
            exposed.setdefault(row.resource_id, set()).add(row.port)
        else:
            modes.setdefault(row.resource_id, {})[row.port] = row.host_mode
    return exposed, modes


def _resource(row: sa.Row[Any], exposed: set[int], modes: Mapping[int, str]) -> ResourceRecord:
    endpoint = None
    if row.address is not None:
        ports = {int(public): real for public, real in row.ports.items()}
        endpoint = Endpoint(row.address, row.generation, ports)
    hosts = {**{int(port): mode for port, mode in row.host_modes.items()}, **modes}
    return ResourceRecord(
        id=row.id,
        kind=Kind(row.kind),
        slug=row.slug,
        tenant_id=row.tenant_id,
        workspace_id=row.workspace_id,
        project_id=row.project_id,
        state=State(row.state),
        version=row.version,
        default_port=row.default_port,
        exposed_ports=None if row.auto_expose else frozenset(exposed),
        suspended=row.suspended or row.tenant_suspended,
        endpoint=endpoint,
        host_modes={port: mode for port, mode in hosts.items() if mode != _PRESERVE},
        first_byte=row.first_byte,
    )


def _name(row: sa.Row[Any], resource: ResourceRecord | None, version: int) -> NameRecord:
    status = DomainStatus(row.status)
    gone = resource is None or resource.state is State.DESTROYED
    return NameRecord(
        fqdn=row.fqdn,
        status=status,
        suspended=row.suspended or row.tenant_suspended,
        tenant_id=row.tenant_id,
        resource=None if gone or status is DomainStatus.REMOVED else resource,
        version=version,
        redirect_to=redirect_target(row.fqdn, RedirectPolicy(row.redirect_policy)),
        redirect_status=row.redirect_status,
    )
