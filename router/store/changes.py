"""Which routing records a transaction changes, and how the world hears of it.

The rows' classes say what they touch while they work; before the commit `write` raises the version of each touched
record and puts it into the outbox, in the same transaction. So no verb can forget it, and no change is ever lost.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY

from router.routes.records import name_key, slug_key
from router.store.connection import Connection
from router.store.deployment_tables import deployment_versions, deployments
from router.store.journal_tables import outbox, route_versions
from router.store.tables import custom_domains, resources
from router.store.turns import take_turn
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
_RAISE = Upsert(
    route_versions,
    lambda _: {"version": route_versions.c.version + 1},
    returning=[route_versions.c.key, route_versions.c.version],
)
_FILL = sa.insert(outbox).returning(outbox.c.id)


def _raise_and_fill() -> sa.Executable:
    """PostgreSQL's way: both in one statement, which is the same however many keys there are."""
    keys = sa.func.unnest(sa.bindparam("keys", type_=ARRAY(sa.String)))
    insert = postgresql.insert(route_versions).from_select(["key", "version"], sa.select(keys, sa.literal(1)))
    raised = (
        insert.on_conflict_do_update(index_elements=["key"], set_={"version": route_versions.c.version + 1})
        .returning(route_versions.c.key, route_versions.c.version)
        .cte("raised")
    )
    rows = sa.select(raised.c.key, raised.c.version, sa.bindparam("now", type_=Instant)).order_by(raised.c.key)
    return sa.insert(outbox).from_select(["key", "version", "created_at"], rows).returning(outbox.c.id)


_RAISE_AND_FILL = _raise_and_fill()

_CHUNK = 500  # rows per statement: far below both databases' limits on parameters


class Changes:
    """The touched records of one transaction."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._resources: set[str] = set()
        self._tenants: set[str] = set()

    def record(self, *keys: str) -> None:
        """These records changed."""
        self._keys.update(keys)

    def resource(self, resource_id: str) -> None:
        """A resource changed: its own record, those of the deployments that it serves now, and those of the custom
        domains that lead to any of these."""
        self._resources.add(resource_id)

    def tenant(self, tenant_id: str) -> None:
        """A tenant changed in a way that all its resources and custom domains show."""
        self._tenants.add(tenant_id)

    async def write(self, connection: Connection, now: datetime) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Raise the versions and fill the outbox; the touched keys in their order, and the ids of the outbox rows."""
        await self._find(connection)
        if not self._keys:
            return (), ()
        await take_turn(connection)
        keys = sorted(self._keys)
        ids: list[int] = []
        if connection.dialect.name == "postgresql":
            ids += await connection.scalars(_RAISE_AND_FILL, {"keys": keys, "now": now})
            await notify(connection)
            return tuple(keys), tuple(ids)
        for chunk in chunks(keys):
            raised = await connection.execute(_RAISE.on(connection), [{"key": key, "version": 1} for key in chunk])
            versions = {row.key: row.version for row in raised}
            rows = [{"key": key, "version": versions[key], "created_at": now} for key in chunk]
            ids += (await connection.execute(_FILL, rows)).scalars()
        return tuple(keys), tuple(ids)

    async def _find(self, connection: Connection) -> None:
        touched = set(self._resources)
        for chunk in chunks(sorted(self._resources)):
            touched.update(await connection.scalars(_SERVED, {"ids": chunk}))
        for chunk in chunks(sorted(touched)):
            self._keys.update(await connection.scalars(_OF_RESOURCES, {"ids": chunk}))
        for chunk in chunks(sorted(self._tenants)):
            self._keys.update(await connection.scalars(_OF_TENANTS, {"ids": chunk}))


def chunks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    """`items` in pieces that fit one statement."""
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
