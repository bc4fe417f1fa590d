"""Routing records out of SQL: what `routes.resolver` asks for when no cache knows.

All keys of a host are read in one transaction, with one statement per kind of record and one for the ports; the
versions come along. Ownership, suspension and `auto_expose` are joined here, so that a decision needs nothing else.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from router.domains.preview import PreviewStatus
from router.domains.redirects import RedirectPolicy, redirect_target
from router.routes.batches import Found
from router.routes.records import (
    DomainStatus,
    Endpoint,
    Kind,
    NameRecord,
    Record,
    ResourceRecord,
    Scope,
    Snapshot,
    State,
    ZoneClaim,
    ZoneRecord,
    name_key,
    slug_key,
    zone_key,
)
from router.store.connection import Reader
from router.store.deployment_tables import deployment_versions, deployments
from router.store.journal_tables import outbox, route_versions
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
from router.tenancy.branding import on_pages

_PRESERVE = "preserve"

# A deployment answers where its active version listens; else where the sandbox does that this was published from, and
# then only as far as that sandbox does; else where the platform says of the deployment itself.
_own, _version, _sandboxs = endpoints.alias("own"), endpoints.alias("version"), endpoints.alias("sandboxs")
_active, _sandbox = deployment_versions.alias("active"), resources.alias("sandbox")
_follows = sa.and_(
    _sandbox.c.id.is_not(None),
    _version.c.holder_id.is_(None),
    sa.or_(_sandboxs.c.holder_id.is_not(None), _own.c.holder_id.is_(None)),
)
_resources = (
    sa.select(
        resources,
        tenants.c.auto_expose,
        tenants.c.suspended.label("tenant_suspended"),
        tenants.c.branding,
        sa.func.coalesce(_version.c.address, _sandboxs.c.address, _own.c.address).label("address"),
        sa.func.coalesce(_version.c.generation, _sandboxs.c.generation, _own.c.generation).label("generation"),
        sa.case(
            (_version.c.holder_id.is_not(None), _version.c.ports),
            (_sandboxs.c.holder_id.is_not(None), _sandboxs.c.ports),
            else_=_own.c.ports,
        ).label("ports"),
        sa.case((_follows, _sandbox.c.state)).label("followed_state"),
        sa.case((_follows, _sandbox.c.suspended), else_=sa.false()).label("followed_suspended"),
        sa.func.coalesce(route_versions.c.version, 0).label("version"),
    )
    .join(tenants, tenants.c.id == resources.c.tenant_id)
    .outerjoin(deployments, deployments.c.resource_id == resources.c.id)
    .outerjoin(_own, _own.c.holder_id == resources.c.id)
    .outerjoin(_version, _version.c.holder_id == deployments.c.active_version_id)
    .outerjoin(_active, _active.c.id == deployments.c.active_version_id)
    .outerjoin(_sandbox, _sandbox.c.id == _active.c.source_sandbox_id)
    .outerjoin(_sandboxs, _sandboxs.c.holder_id == _active.c.source_sandbox_id)
    .outerjoin(route_versions, route_versions.c.key == "slug:" + resources.c.slug)
)


_SEEN = ""  # no record's key: under it stands the newest row of the outbox
_VERSIONS = (
    sa.select(route_versions.c.key, route_versions.c.version)
    .where(route_versions.c.key.in_(sa.bindparam("keys", expanding=True)))
    .union_all(sa.select(sa.literal(_SEEN), sa.func.coalesce(sa.func.max(outbox.c.id), 0)))
)

# The live domain of each name comes before those that were removed, the last removed first.
_DOMAINS = (
    sa.select(custom_domains, tenants.c.suspended.label("tenant_suspended"))
    .join(tenants, tenants.c.id == custom_domains.c.tenant_id)
    .where(custom_domains.c.fqdn.in_(sa.bindparam("names", expanding=True)))
    .order_by(custom_domains.c.removed_at.is_not(None), custom_domains.c.removed_at.desc())
)

# Written as a union, because either half has an index, and SQLite scans where an OR mixes them.
_RESOURCES = _resources.where(
    resources.c.id.in_(
        sa.select(resources.c.id)
        .where(resources.c.slug.in_(sa.bindparam("slugs", expanding=True)), resources.c.deleted_at.is_(None))
        .union(sa.select(resources.c.id).where(resources.c.id.in_(sa.bindparam("ids", expanding=True))))
    )
)

# The dead have no ports and no endpoint; what they belonged to still says whose zone may answer for them.
_BURIED = (
    _resources.add_columns(tombstones.c.slug.label("buried_slug"))
    .join(tombstones, tombstones.c.resource_id == resources.c.id)
    .where(tombstones.c.slug.in_(sa.bindparam("slugs", expanding=True)))
)

_CLAIMS = (
    sa.select(preview_domains)
    .where(preview_domains.c.domain.in_(sa.bindparam("zones", expanding=True)))
    .order_by(preview_domains.c.created_at, preview_domains.c.id)
)

_PORTS = (
    sa.select(exposed_ports.c.resource_id, exposed_ports.c.port, sa.null().label("host_mode"))
    .where(exposed_ports.c.resource_id.in_(sa.bindparam("ids", expanding=True)))
    .union_all(
        sa.select(previews.c.resource_id, previews.c.port, previews.c.host_mode).where(
            previews.c.resource_id.in_(sa.bindparam("ids", expanding=True))
        )
    )
)


class SqlRecords:
    """routes.batches.RecordSource, cache.records.VersionedSource"""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def fetch(self, keys: Sequence[str]) -> Found:
        """Raises StoreUnavailableError."""
        snapshot = await self.fetch_versioned(keys)
        return Found({key: record for key, (_, record) in snapshot.items()}, sources=dict.fromkeys(keys, "sql"))

    async def fetch_versioned(self, keys: Sequence[str]) -> Snapshot:
        """Each key's version beside its record, absent ones included.

        A cache needs the versions of what is absent too, or a slow fill could bury a record that was made meanwhile.
        Raises StoreUnavailableError.
        """
        wanted = tuple(dict.fromkeys(keys))
        return await self._reader.run(lambda connection: _read(connection, wanted))


def _read(connection: sa.Connection, keys: Sequence[str]) -> Snapshot:
    """One transaction, at most six statements: versions, names, resources, their ports, tombstones, zones."""
    names = [key[5:] for key in keys if key.startswith("name:")]
    slugs = [key[5:] for key in keys if key.startswith("slug:")]
    zones = [key[5:] for key in keys if key.startswith("zone:")]
    versions = {row.key: row.version for row in connection.execute(_VERSIONS, {"keys": keys})}
    seen = versions.pop(_SEEN)
    domains: dict[str, sa.Row[Any]] = {}
    if names:
        for row in connection.execute(_DOMAINS, {"names": names}):
            domains.setdefault(row.fqdn, row)
    by_id = _read_resources(connection, slugs, [row.resource_id for row in domains.values()])
    records: dict[str, Record] = {
        slug_key(resource.slug): resource
        for resource in by_id.values()
        if resource.slug in slugs and resource.state is not State.DESTROYED
    }
    absent = [slug for slug in slugs if slug_key(slug) not in records]
    if absent:
        for row in connection.execute(_BURIED, {"slugs": absent}):
            key = slug_key(row.buried_slug)
            # Of a resource that lives on under another slug only this one is dead.
            dead = {
                "slug": row.buried_slug,
                "state": State.DESTROYED,
                "endpoint": None,
                "version": versions.get(key, 0),
            }
            records[key] = replace(_resource(row, set(), {}), **dead)
    for fqdn, row in domains.items():
        records[name_key(fqdn)] = _name(row, by_id.get(row.resource_id), versions.get(name_key(fqdn), 0))
    if zones:
        claims: dict[str, list[ZoneClaim]] = {}
        for row in connection.execute(_CLAIMS, {"zones": zones}):
            verified = row.status == PreviewStatus.VERIFIED
            claim = ZoneClaim(Scope(row.scope), row.scope_id, row.tenant_id, verified)
            claims.setdefault(row.domain, []).append(claim)
        for zone, of_zone in claims.items():
            records[zone_key(zone)] = ZoneRecord(zone, tuple(of_zone), versions.get(zone_key(zone), 0))
    return Snapshot({key: (versions.get(key, 0), records.get(key)) for key in keys}, seen=seen)


def _read_resources(
    connection: sa.Connection, slugs: Sequence[str], ids: Sequence[str]
) -> Mapping[str, ResourceRecord]:
    """The live resources of the slugs, and those that the domains lead to; by id."""
    if not slugs and not ids:
        return {}
    rows = connection.execute(_RESOURCES, {"slugs": slugs, "ids": ids}).all()
    exposed: dict[str, set[int]] = {}
    modes: dict[str, dict[int, str]] = {}
    live = [row.id for row in rows if row.deleted_at is None]
    if live:
        for row in connection.execute(_PORTS, {"ids": live}):
            if row.host_mode is None:
                exposed.setdefault(row.resource_id, set()).add(row.port)
            else:
                modes.setdefault(row.resource_id, {})[row.port] = row.host_mode
    return {row.id: _resource(row, exposed.get(row.id, set()), modes.get(row.id, {})) for row in rows}


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
        state=_state(row),
        version=row.version,
        default_port=row.default_port,
        exposed_ports=None if row.auto_expose else frozenset(exposed),
        suspended=row.suspended or row.tenant_suspended or row.followed_suspended,
        endpoint=endpoint,
        host_modes={port: mode for port, mode in hosts.items() if mode != _PRESERVE},
        first_byte=row.first_byte,
        branding=_branding(tuple(row.branding.items())),
    )


def _state(row: sa.Row[Any]) -> State:
    """What a resource's program is doing. A deployment that is live does what its sandbox does; that is never gone for
    good, as the deployment is not."""
    state = State(row.state)
    if state is not State.RUNNING or row.followed_state is None:
        return state
    followed = State(row.followed_state)
    return State.STOPPED if followed is State.DESTROYED else followed


@functools.lru_cache(maxsize=1024)
def _branding(stored: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """The marks for the pages. All records of a tenant share one object: a logo may have 64 KiB."""
    return on_pages(dict(stored))


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
