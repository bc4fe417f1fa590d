"""The rows that the job `prune` finds and deletes, and the versions of records that are gone."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.routes.records import api_key_key, name_key, signing_key, slug_key, zone_key
from router.routes.wakes import wake_key
from router.store.block_tables import blocks
from router.store.changes import chunks
from router.store.connection import rows_changed
from router.store.journal_tables import outbox, route_versions
from router.store.retention import Pruned
from router.store.rows import Rows
from router.store.tables import api_keys, custom_domains, preview_domains, resources, signing_keys, tombstones
from router.store.wake_tables import wakes

STEP = 500  # rows or keys that one transaction deletes

_RECORDS = (
    (slug_key(""), resources.c.slug, resources.c.deleted_at.is_(None)),
    (slug_key(""), tombstones.c.slug, sa.true()),
    (name_key(""), custom_domains.c.fqdn, sa.true()),
    (name_key(""), blocks.c.subject, sa.and_(blocks.c.kind == "host", blocks.c.lifted_at.is_(None))),
    (zone_key(""), preview_domains.c.domain, sa.true()),
    (api_key_key(""), api_keys.c.digest, sa.true()),
    (signing_key(""), signing_keys.c.purpose, sa.true()),
    (wake_key(""), wakes.c.resource_id, sa.true()),
)


class SqlOldRows(Rows):
    """The rows under retention, of one table at a time."""

    async def old_keys(
        self, of: Pruned, before: datetime, after: Sequence[Any] | None, limit: int
    ) -> Sequence[Sequence[Any]]:
        """The keys of the next rows that may go; of a table that is walked those after this one, in their order."""
        keys = tuple(of.table.primary_key)
        select = sa.select(*keys).where(of.old(before)).limit(limit)
        if of.walked:
            select = select.order_by(*keys)
        if after is not None:
            select = select.where(keys[0] > after[0] if len(keys) == 1 else sa.tuple_(*keys) > sa.tuple_(*after))
        return [tuple(row) for row in await self._connection.execute(select)]

    async def delete(self, of: Pruned, before: datetime, keys: Sequence[Sequence[Any]]) -> int:
        """Delete those of these rows that still may go, with what goes beside them; how many it was."""
        columns = tuple(of.table.primary_key)
        those = columns[0].in_([key[0] for key in keys]) if len(columns) == 1 else sa.tuple_(*columns).in_(keys)
        which = (those, of.old(before))
        if of.told is not None:
            column, key_of = of.told
            names = await self._connection.scalars(sa.select(column).where(*which))
            self._changes.record(*map(key_of, names))
        if of.beside:
            ids = list(await self._connection.scalars(sa.select(columns[0]).where(*which)))
            for column in of.beside:
                await self._connection.execute(sa.delete(column.table).where(column.in_(ids)))
        return rows_changed(await self._connection.execute(sa.delete(of.table).where(*which)))

    async def forget_versions(self, after: str) -> str | None:
        """Delete the versions of records that are gone, among the next keys after this one; the last key, None where there
        is none."""
        select = sa.select(route_versions.c.key).where(route_versions.c.key > after).order_by(route_versions.c.key)
        keys = list(await self._connection.scalars(select.limit(STEP)))
        if not keys:
            return None
        dead = set(keys)
        for prefix, column, living in _RECORDS:
            for chunk in chunks([key.removeprefix(prefix) for key in keys if key.startswith(prefix)]):
                found = await self._connection.scalars(sa.select(column).where(column.in_(chunk), living))
                dead -= {prefix + name for name in found}
        dead -= set(await self._connection.scalars(sa.select(outbox.c.key).where(outbox.c.key.in_(sorted(dead)))))
        await self._connection.execute(sa.delete(route_versions).where(route_versions.c.key.in_(sorted(dead))))
        return str(keys[-1])
