"""Stored resources, with their exposed ports, endpoints, tombstones and activity."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.base.paging import Listing, Window
from router.routes.records import Kind, ListeningSocket, State, slug_key
from router.routes.wakes import Wake
from router.store.changes import chunks
from router.store.connection import rows_changed
from router.store.deployment_tables import deployment_versions, deployments
from router.store.holdings import held_within
from router.store.policies import visibility_of
from router.store.rows import Rows, conditions, fields_of, named
from router.store.tables import (
    activity,
    endpoints,
    exposed_ports,
    preview_secrets,
    previews,
    projects,
    resources,
    tenants,
    tombstones,
    workspaces,
)
from router.store.types import InstantOf, JsonHas, JsonTexts, instant_text
from router.store.upsert import Upsert, replacing
from router.tenancy.resources import LastUse, Place, Resource, ResourceFilter, StoredEndpoint, Tombstone, UsedBy

# Versions that are served from a sandbox.
_FROM_SANDBOX = (
    deployment_versions.c.source_sandbox_id.is_not(None),
    ~sa.exists().where(endpoints.c.holder_id == deployment_versions.c.id),
)

# When a sandbox was last asked for by way of the deployment that it serves.
_SERVING = (
    sa.select(deployment_versions.c.source_sandbox_id, activity.c.last_at)
    .join(deployments, deployments.c.active_version_id == deployment_versions.c.id)
    .join(activity, activity.c.resource_id == deployments.c.resource_id)
    .where(*_FROM_SANDBOX)
)

_USES = sa.union_all(sa.select(activity.c.resource_id, activity.c.last_at), _SERVING).subquery()
# What it says now holds for what was before, too: who begins to count use does not want it stopped at once.
_COUNTS = sa.func.coalesce(resources.c.keeps_awake, tenants.c.default_keeps_awake)
# A sandbox that a deployment is served from is in use, too: else it would be stopped while visitors use it.
_USED = (
    sa.select(_USES, _COUNTS.label("counted"))
    .join(resources, resources.c.id == _USES.c.resource_id)
    .join(tenants, tenants.c.id == resources.c.tenant_id)
    .order_by(_USES.c.last_at)
)

# A resource is in use by its own use, a sandbox also by that of the deployments which are served from it.
_IN_USE = sa.union_all(
    sa.select(resources.c.id, resources.c.id.label("by")),
    sa.select(deployment_versions.c.source_sandbox_id, deployments.c.resource_id)
    .join(deployments, deployments.c.active_version_id == deployment_versions.c.id)
    .where(*_FROM_SANDBOX),
).subquery()
_USED_BY = (
    sa.select(_IN_USE, _COUNTS.label("counted"))
    .join(resources, resources.c.id == _IN_USE.c.id)
    .join(tenants, tenants.c.id == resources.c.tenant_id)
)

_PLACES = (
    sa.select(
        projects.c.id,
        workspaces.c.slug.label("workspace_slug"),
        workspaces.c.name.label("workspace_name"),
        projects.c.slug.label("project_slug"),
        projects.c.name.label("project_name"),
    )
    .join(workspaces, workspaces.c.id == projects.c.workspace_id)
    .where(projects.c.id.in_(sa.bindparam("ids", expanding=True)))
)

_PUT_ENDPOINT = Upsert(endpoints, replacing("address", "generation", "ports", "listening", "updated_at"))
_TOLD = JsonTexts(sa.bindparam("seen", type_=sa.String)).table_valued("key", "value")
_SEEN = Upsert(
    activity,
    replacing("last_at"),
    where=lambda new: activity.c.last_at < new.last_at,
    # In one order, so that two that write the same rows don't wait for each other.
    select=sa.select(resources.c.id, InstantOf(_TOLD.c.value))
    .where(resources.c.id == _TOLD.c.key)
    .order_by(resources.c.id),
)
_EXPOSE = Upsert(exposed_ports, None)


class SqlResources(Rows):
    """tenancy.resources.ResourceRows"""

    async def add(self, resource: Resource) -> None:
        await self._connection.execute(sa.insert(resources).values(_values(resource)))
        await self._add_ports(resource.id, resource.exposed_ports)
        self._changes.resource(resource.id)

    async def get(self, resource_id: str) -> Resource | None:
        return await self._find(resources.c.id == resource_id)

    async def get_many(self, ids: Collection[str]) -> Mapping[str, Resource]:
        found: list[sa.Row[Any]] = []
        # In one order, so that two that lock the same rows don't wait for each other.
        for chunk in chunks(sorted(ids)):
            select = sa.select(resources).where(resources.c.id.in_(chunk)).order_by(resources.c.id)
            found += await self._connection.execute(self._locked(select, resources))
        ports = await self._ports([row.id for row in found])
        return {row.id: _read(row, ports.get(row.id, frozenset())) for row in found}

    async def by_slug(self, slug: str) -> Resource | None:
        return await self._find(resources.c.slug == slug, resources.c.deleted_at.is_(None))

    async def list(self, where: ResourceFilter, window: Window) -> Listing[Resource]:
        which = sa.select(resources.c.id).where(
            resources.c.deleted_at.is_(None),
            *conditions(resources, **fields_of(where, "tags", "states", "after")),
            *(JsonHas(resources.c.tags, tag) for tag in where.tags),
        )
        if where.states:
            which = which.where(resources.c.state.in_(where.states))
        order = (resources.c.created_at.desc(), resources.c.id)
        after, key, total = _after(where.after), resources.c.id, _total(where)
        found = await self._listing(sa.select(resources), window, order, lambda row: row, after, key, which, total)
        ports = await self._ports([row.id for row in found.items])
        return Listing(tuple(_read(row, ports.get(row.id, frozenset())) for row in found.items), found.total)

    async def save(self, old: Resource, new: Resource) -> None:
        values = _values(new)
        del values["id"], values["created_at"]
        await self._connection.execute(sa.update(resources).where(resources.c.id == new.id).values(values))
        gone = old.exposed_ports - new.exposed_ports
        if gone:
            await self._connection.execute(
                sa.delete(exposed_ports).where(
                    exposed_ports.c.resource_id == new.id, exposed_ports.c.port.in_(sorted(gone))
                )
            )
        await self._add_ports(new.id, new.exposed_ports - old.exposed_ports)
        self._changes.resource(new.id)
        self._changes.record(slug_key(old.slug))

    async def enter(self, ids: Collection[str], state: State, now: datetime) -> None:
        for chunk in chunks(sorted(ids)):
            of_ids = resources.c.id.in_(chunk)
            await self._connection.execute(sa.update(resources).where(of_ids).values(state=state, updated_at=now))
        for resource_id in ids:
            self._changes.resource(resource_id)

    async def places(self, project_ids: Collection[str]) -> Mapping[str, Place]:
        found: dict[str, Place] = {}
        for chunk in chunks(sorted(project_ids)):
            rows = (await self._connection.execute(_PLACES, {"ids": chunk})).mappings()
            found |= {row["id"]: Place(**{name: row[name] for name in row if name != "id"}) for row in rows}
        return found

    async def slug_taken(self, slug: str) -> bool:
        living = sa.select(resources.c.slug).where(resources.c.slug == slug, resources.c.deleted_at.is_(None))
        past = sa.select(tombstones.c.slug).where(tombstones.c.slug == slug)
        return (await self._connection.execute(living.union(past))).first() is not None

    async def add_tombstone(self, tombstone: Tombstone) -> None:
        await self._connection.execute(sa.insert(tombstones).values(fields_of(tombstone)))
        self._changes.record(slug_key(tombstone.slug))

    async def remove_tombstone(self, slug: str) -> None:
        await self._connection.execute(sa.delete(tombstones).where(tombstones.c.slug == slug))
        self._changes.record(slug_key(slug))

    async def tombstone(self, slug: str) -> Tombstone | None:
        row = await self._one(self._locked(sa.select(tombstones).where(tombstones.c.slug == slug), tombstones))
        return None if row is None else Tombstone(**named(row))

    async def endpoints(self, resource_id: str) -> Sequence[StoredEndpoint]:
        rows = await self._connection.execute(
            sa.select(endpoints, resources.c.state)
            .join(resources, resources.c.id == endpoints.c.resource_id)
            .where(endpoints.c.resource_id == resource_id)
            .order_by(endpoints.c.holder_id != endpoints.c.resource_id, endpoints.c.updated_at)
        )
        return [_read_endpoint(row) for row in rows]

    async def put_endpoints(self, new: Sequence[StoredEndpoint]) -> None:
        if new:
            await self._connection.execute(_PUT_ENDPOINT.on(self._connection), [_endpoint_values(one) for one in new])
        for one in new:
            self._changes.moved(one.resource_id)

    async def drop_endpoint(self, resource_id: str, version_id: str | None) -> bool:
        gone = await self._connection.execute(
            sa.delete(endpoints).where(
                endpoints.c.holder_id == (version_id or resource_id), endpoints.c.resource_id == resource_id
            )
        )
        self._changes.resource(resource_id)
        return rows_changed(gone) > 0

    async def drop_endpoints(self, resource_id: str) -> None:
        await self._connection.execute(sa.delete(endpoints).where(endpoints.c.resource_id == resource_id))
        self._changes.resource(resource_id)

    async def drop_previews(self, resource_id: str) -> None:
        for table in (preview_secrets, previews):
            await self._connection.execute(sa.delete(table).where(table.c.resource_id == resource_id))
        self._changes.resource(resource_id)

    async def version_exists(self, resource_id: str, version_id: str) -> bool:
        of_resource = (deployment_versions.c.id == version_id, deployment_versions.c.resource_id == resource_id)
        return await self._connection.scalar(sa.select(deployment_versions.c.id).where(*of_resource)) is not None

    async def seen(self, seen: Mapping[str, datetime]) -> None:
        texts = json.dumps({resource_id: instant_text(at) for resource_id, at in seen.items()})
        await self._connection.execute(_SEEN.on(self._connection), {"seen": texts})

    async def activity(self, since: datetime | None, *, counted: bool) -> Mapping[str, datetime]:
        select = _USED.where(_COUNTS if counted else ~_COUNTS)
        if since is not None:
            select = select.where(_USES.c.last_at >= since)
        return {row.resource_id: row.last_at for row in await self._connection.execute(select)}

    async def last_used(self, ids: Collection[str]) -> Mapping[str, LastUse]:
        found: dict[str, LastUse] = {}
        for chunk in chunks(sorted(ids)):
            for row in await self._connection.execute(_USED.where(_USES.c.resource_id.in_(chunk))):
                found[row.resource_id] = LastUse(row.last_at, bool(row.counted))
        return found

    async def uses_by(self, ids: Collection[str]) -> Sequence[UsedBy]:
        return await self._used_by(_IN_USE.c.by, ids)

    async def uses_of(self, ids: Collection[str]) -> Sequence[UsedBy]:
        return await self._used_by(_IN_USE.c.id, ids)

    async def not_seen(self, seen: Mapping[str, datetime]) -> Collection[str]:
        missing: set[str] = set()
        for chunk in chunks(sorted(seen)):
            select = (
                sa.select(resources.c.id, activity.c.last_at)
                .join(activity, activity.c.resource_id == resources.c.id, isouter=True)
                .where(resources.c.id.in_(chunk))
            )
            for row in await self._connection.execute(select):
                if row.last_at is None or row.last_at < seen[row.id]:
                    missing.add(row.id)
        return missing

    async def _used_by(self, column: sa.ColumnElement[str], ids: Collection[str]) -> Sequence[UsedBy]:
        rows: list[sa.Row[Any]] = []
        for chunk in chunks(sorted(ids)):
            rows += await self._connection.execute(_USED_BY.where(column.in_(chunk)))
        return [UsedBy(row.id, row.by, bool(row.counted)) for row in rows]

    async def _find(self, *where: sa.ColumnElement[bool]) -> Resource | None:
        row = await self._one(self._locked(sa.select(resources).where(*where), resources))
        if row is None:
            return None
        return _read(row, (await self._ports([row.id])).get(row.id, frozenset()))

    async def _ports(self, ids: Sequence[str]) -> Mapping[str, frozenset[int]]:
        found: dict[str, set[int]] = {}
        for chunk in chunks(ids):
            for row in await self._connection.execute(
                sa.select(exposed_ports).where(exposed_ports.c.resource_id.in_(chunk))
            ):
                found.setdefault(row.resource_id, set()).add(row.port)
        return {resource_id: frozenset(ports) for resource_id, ports in found.items()}

    async def _add_ports(self, resource_id: str, ports: frozenset[int]) -> None:
        if ports:
            rows = [{"resource_id": resource_id, "port": port} for port in sorted(ports)]
            await self._connection.execute(_EXPOSE.on(self._connection), rows)


def _total(where: ResourceFilter) -> sa.Select[int] | None:
    """How many there are, where nothing but scopes and a kind are asked for."""
    scopes = {name: getattr(where, name) for name in ("tenant_id", "workspace_id", "project_id")}
    if where.kind is None or where != ResourceFilter(kind=where.kind, **scopes, after=where.after):
        return None
    return held_within(where.kind.value, **scopes)


def _after(position: tuple[datetime, str] | None) -> sa.ColumnElement[bool] | None:
    if position is None:
        return None
    created_at, resource_id = position
    same = sa.and_(resources.c.created_at == created_at, resources.c.id > resource_id)
    return sa.or_(resources.c.created_at < created_at, same)


def _values(resource: Resource) -> dict[str, Any]:
    values = fields_of(resource, "exposed_ports")
    # Names in JSON are text.
    values["host_modes"] = {str(port): mode for port, mode in resource.host_modes.items()}
    values["protocols"] = {str(port): protocol for port, protocol in resource.protocols.items()}
    values["schemes"] = {str(port): scheme for port, scheme in resource.schemes.items()}
    return values


def _read(row: sa.Row[Any], ports: frozenset[int]) -> Resource:
    values = {
        **named(row),
        "kind": Kind(row.kind),
        "state": State(row.state),
        "exposed_ports": ports,
        "visibility": None if row.visibility is None else visibility_of(row.visibility),
        "wake": None if row.wake is None else Wake.of(row.wake),
        "tags": tuple(row.tags),
        "host_modes": {int(port): mode for port, mode in row.host_modes.items()},
        "protocols": {int(port): protocol for port, protocol in row.protocols.items()},
        "schemes": {int(port): scheme for port, scheme in row.schemes.items()},
    }
    return Resource(**values)


def _endpoint_values(endpoint: StoredEndpoint) -> dict[str, Any]:
    values = fields_of(endpoint, "state")
    values["holder_id"] = endpoint.version_id or endpoint.resource_id
    values["ports"] = {str(public): real for public, real in endpoint.ports.items()}
    values["listening"] = None if endpoint.listening is None else [list(one) for one in endpoint.listening]
    return values


def _read_endpoint(row: sa.Row[Any]) -> StoredEndpoint:
    return StoredEndpoint(
        resource_id=row.resource_id,
        version_id=row.version_id,
        address=row.address,
        generation=row.generation,
        ports={int(public): real for public, real in row.ports.items()},
        listening=None if row.listening is None else tuple(ListeningSocket(*one) for one in row.listening),
        state=State(row.state),
        updated_at=row.updated_at,
    )
