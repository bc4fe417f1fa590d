"""Which routing records a transaction changes, and how caches are told.

The rows' classes say what they touch while they work; before the commit `write` raises the version of each touched
record and puts it into the outbox, in the same transaction. So no service can forget it, and no change is ever lost.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY

from router.routes.changed_keys import Touched
from router.routes.records import name_key, slug_key
from router.store.connection import Connection
from router.store.deployment_tables import deployment_versions, deployments
from router.store.journal_tables import outbox, route_versions
from router.store.locks import lock_outbox
from router.store.tables import custom_domains, resources
from router.store.types import Id, Instant
from router.store.upsert import Upsert
from router.store.watch import notify

# The deployments whose active version was published from one of these sandboxes: they answer where it listens.
_SERVED = (
    sa.select(deployments.c.resource_id)
    .join(deployment_versions, deployment_versions.c.id == deployments.c.active_version_id)
    .where(deployment_versions.c.source_sandbox_id.in_(sa.bindparam("ids", expanding=True)))
)


def _keys(of_resources: sa.Column[str], of_domains: sa.Column[str]) -> sa.CompoundSelect[str]:
    """The keys of the resources and custom domains that `ids` stand for."""
    ids = sa.bindparam("ids", expanding=True, type_=Id)
    domains = sa.select(sa.literal(name_key("")) + custom_domains.c.fqdn)
    return (
        sa.select(sa.literal(slug_key("")) + resources.c.slug)
        .where(of_resources.in_(ids))
        .union_all(domains.where(of_domains.in_(ids), custom_domains.c.removed_at.is_(None)))
    )


_OF_RESOURCES = _keys(resources.c.id, custom_domains.c.resource_id)
_OF_TENANTS = _keys(resources.c.tenant_id, custom_domains.c.tenant_id)
# A key's first version is higher than any that it can have had before its row was pruned: each version had a row in the
# outbox, whose numbers never start again.
_FIRST = sa.select(sa.func.coalesce(sa.func.max(outbox.c.id), 0) + 1).scalar_subquery()
_NEWEST = sa.select(sa.func.coalesce(sa.func.max(outbox.c.id), 0))
_RAISE = Upsert(
    route_versions,
    lambda _: {"version": route_versions.c.version + 1},
    returning=[route_versions.c.key, route_versions.c.version],
)
_FILL = sa.insert(outbox).returning(outbox.c.id)


@cache
def _raise_and_fill() -> sa.Executable:
    """PostgreSQL's way: both in one statement, which is the same however many keys there are."""
    keys = sa.func.unnest(sa.bindparam("keys", type_=ARRAY(sa.String)))
    insert = postgresql.insert(route_versions).from_select(["key", "version"], sa.select(keys, _FIRST))
    raised = (
        insert.on_conflict_do_update(index_elements=["key"], set_={"version": route_versions.c.version + 1})
        .returning(route_versions.c.key, route_versions.c.version)
        .cte("raised")
    )
    moved = raised.c.key == sa.any_(sa.bindparam("moved", type_=ARRAY(sa.String)))
    rows = sa.select(raised.c.key, raised.c.version, sa.bindparam("now", type_=Instant), moved).order_by(raised.c.key)
    return sa.insert(outbox).from_select(["key", "version", "created_at", "moved"], rows).returning(outbox.c.id)


_CHUNK = 500  # rows per statement: far below both databases' limits on parameters


class Changes:
    """The touched records of one transaction."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._resources: set[str] = set()
        self._moved: set[str] = set()
        self._tenants: set[str] = set()

    def record(self, *keys: str) -> None:
        """These records changed."""
        self._keys.update(keys)

    def resource(self, resource_id: str) -> None:
        """A resource changed: its own record, those of the deployments that it serves now, and those of the custom
        domains that lead to any of these."""
        self._resources.add(resource_id)

    def moved(self, resource_id: str) -> None:
        """A resource listens elsewhere now; unless it is said otherwise too, nothing else of it has changed."""
        self._moved.add(resource_id)

    def tenant(self, tenant_id: str) -> None:
        """A tenant changed in a way that all its resources and custom domains show."""
        self._tenants.add(tenant_id)

    async def write(self, connection: Connection, now: datetime) -> tuple[Touched, tuple[int, ...]]:
        """Raise the versions and fill the outbox; the touched keys in their order, and the ids of the outbox rows."""
        moved = await self._find(connection)
        if not self._keys:
            return Touched(()), ()
        await lock_outbox(connection)
        keys = Touched(sorted(self._keys), moved)
        ids: list[int] = []
        if connection.dialect.name == "postgresql":
            parameters = {"keys": list(keys), "moved": sorted(moved), "now": now}
            ids += await connection.scalars(_raise_and_fill(), parameters)
            await notify(connection)
            return keys, tuple(ids)
        for chunk in chunks(keys):
            first = await connection.scalar(_NEWEST) + 1
            raised = await connection.execute(_RAISE.on(connection), [{"key": key, "version": first} for key in chunk])
            versions = {row.key: row.version for row in raised}
            rows = [{"key": key, "version": versions[key], "created_at": now, "moved": key in moved} for key in chunk]
            ids += (await connection.execute(_FILL, rows)).scalars()
        return keys, tuple(ids)

    async def _find(self, connection: Connection) -> frozenset[str]:
        """Find the keys; those that have only moved."""
        self._keys |= await self._of(connection, self._resources)
        for chunk in chunks(sorted(self._tenants)):
            self._keys.update(await connection.scalars(_OF_TENANTS, {"ids": chunk}))
        moved = await self._of(connection, self._moved - self._resources) - self._keys
        self._keys |= moved
        return frozenset(moved)

    async def _of(self, connection: Connection, resource_ids: Collection[str]) -> set[str]:
        """The keys that show these resources."""
        resources_of, keys = set(resource_ids), set[str]()
        for chunk in chunks(sorted(resource_ids)):
            resources_of.update(await connection.scalars(_SERVED, {"ids": chunk}))
        for chunk in chunks(sorted(resources_of)):
            keys.update(await connection.scalars(_OF_RESOURCES, {"ids": chunk}))
        return keys


def chunks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    """`items` in pieces that fit one statement."""
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
