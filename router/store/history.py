"""Retention: usage is rolled up and then deleted, and so are the remains of removed records.

    usage_intervals   as they were for `FINE`, longer than any report goes back; then one row per machine, size and day, and
                      none for machines that did not run; nothing after `usage_retention`
    custom_domains    that were removed, tombstones of slugs, released zones, activity of what was deleted: after
                      `removed_retention`, when certificates have expired and old links are no longer followed
    preview_secrets   that were revoked or expired, for a day: until then who brings one is told so
    route_versions    of keys that no record has and that are no longer in the outbox

Each step is a transaction of its own that changes some hundred rows, so that other writers do not wait for it.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa

from router.errors import PruneRefusedError
from router.routes.records import api_key_key, name_key, signing_key, slug_key, zone_key
from router.routes.wakes import wake_key
from router.store.block_tables import blocks
from router.store.blocks import holds_block
from router.store.changes import chunks
from router.store.connection import rows_changed
from router.store.journal_tables import outbox, route_versions, usage_intervals
from router.store.pruning import PruneGuard
from router.store.rows import Rows
from router.store.tables import (
    activity,
    api_keys,
    custom_domains,
    preview_domains,
    preview_secrets,
    released_zones,
    resources,
    signing_keys,
    tombstones,
)
from router.store.types import Instant
from router.store.wake_tables import wakes
from router.tenancy.preview_secrets import KEPT
from router.tenancy.usage import COUNTED_KINDS, COUNTED_STATE

FINE = timedelta(days=32)
STEP = 500  # rows or keys

_fine = usage_intervals.c.rolled == sa.false()
_counted = sa.and_(
    usage_intervals.c.kind.in_([kind.value for kind in COUNTED_KINDS]), usage_intervals.c.state == COUNTED_STATE.value
)
_FINE_ROWS = 5000
_ROLL = (
    sa.update(usage_intervals)
    .where(usage_intervals.c.id == sa.bindparam("row"))
    .values(ended_at=sa.bindparam("end", type_=Instant), rolled=sa.true())
)
_GROUP = ("resource_id", "tenant_id", "workspace_id", "project_id", "kind", "size")


class SqlHistory(Rows):
    """The rows under retention. Each method does one step."""

    async def roll_up(self, before: datetime, after: str) -> str | None:
        """Roll up what ended before that, for the next machines after this id; the last one's id, None where there is none."""
        old = (_fine, usage_intervals.c.ended_at < before)
        some = sa.select(usage_intervals.c.resource_id).where(*old, usage_intervals.c.resource_id > after).distinct()
        ids = list(await self._connection.scalars(some.order_by(usage_intervals.c.resource_id).limit(STEP // 10)))
        if not ids:
            return None
        mine = (*old, usage_intervals.c.resource_id.in_(ids))
        await self._connection.execute(sa.delete(usage_intervals).where(*mine, ~_counted))
        select = sa.select(usage_intervals).where(*mine)
        select = select.order_by(usage_intervals.c.resource_id, usage_intervals.c.started_at).limit(_FINE_ROWS)
        rows = (await self._connection.execute(select)).all()
        stay = [{"row": row.id, "end": ended_at} for row, ended_at in _rolled(rows)]
        if stay:
            await self._connection.execute(_ROLL, stay)
        for chunk in chunks(sorted({row.id for row in rows} - {one["row"] for one in stay})):
            await self._connection.execute(sa.delete(usage_intervals).where(usage_intervals.c.id.in_(chunk)))
        return after if len(rows) == _FINE_ROWS else str(ids[-1])

    async def drop_usage(self, before: datetime) -> int:
        """Delete what ended before that; how many rows it was."""
        return await self._delete(usage_intervals, usage_intervals.c.id, usage_intervals.c.ended_at < before)

    async def forget_domains(self, before: datetime) -> int:
        """Delete custom domains that were removed before that; how many it was."""
        select = sa.select(custom_domains.c.id, custom_domains.c.fqdn).where(custom_domains.c.removed_at < before)
        found = (await self._connection.execute(select.limit(STEP))).all()
        await self._connection.execute(
            sa.delete(custom_domains).where(custom_domains.c.id.in_([row.id for row in found]))
        )
        self._changes.record(*(name_key(row.fqdn) for row in found))
        return len(found)

    async def forget_slugs(self, before: datetime) -> int:
        """Delete tombstones from before that, none of a tenant who has something blocked; how many it was."""
        select = sa.select(tombstones.c.slug).where(
            tombstones.c.deleted_at < before, ~holds_block(tombstones.c.tenant_id)
        )
        slugs = list(await self._connection.scalars(select.limit(STEP)))
        await self._connection.execute(sa.delete(tombstones).where(tombstones.c.slug.in_(slugs)))
        self._changes.record(*map(slug_key, slugs))
        return len(slugs)

    async def forget_zones(self, before: datetime) -> int:
        """As `forget_slugs`, what is known of zones that were released."""
        return await self._delete(
            released_zones,
            released_zones.c.domain,
            released_zones.c.released_at < before,
            ~holds_block(released_zones.c.tenant_id),
        )

    async def forget_activity(self, before: datetime) -> int:
        """Delete when resources were used that were deleted before that; how many it was."""
        gone = sa.select(resources.c.id).where(resources.c.deleted_at < before)
        return await self._delete(activity, activity.c.resource_id, activity.c.resource_id.in_(gone))

    async def forget_secrets(self, before: datetime) -> int:
        """Delete secrets of previews that ended before that; how many it was. Records lose them with their next change."""
        ended = sa.or_(preview_secrets.c.revoked_at < before, preview_secrets.c.expires_at < before)
        return await self._delete(preview_secrets, preview_secrets.c.id, ended)

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

    async def _delete(self, table: sa.Table, key: sa.Column[Any], *which: sa.ColumnElement[bool]) -> int:
        some = sa.select(key).where(*which).limit(STEP)
        return rows_changed(await self._connection.execute(sa.delete(table).where(key.in_(some))))


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


def _rolled(rows: Sequence[sa.Row[Any]]) -> Iterable[tuple[sa.Row[Any], datetime]]:
    """The rows that stay, and when each is to end: of those of one machine and size that began and ended on the same day
    the first one, as long as all of them. So every day's sum stays what it was."""
    first: dict[tuple[Any, ...], sa.Row[Any]] = {}
    length: dict[tuple[Any, ...], timedelta] = {}
    for row in sorted(rows, key=lambda one: one.started_at):
        day = row.started_at.date() if row.started_at.date() == row.ended_at.date() else row.id
        group = (*(getattr(row, name) for name in _GROUP), day)
        first.setdefault(group, row)
        length[group] = length.get(group, timedelta()) + max(timedelta(), row.ended_at - row.started_at)
    return [(row, row.started_at + length[group]) for group, row in first.items()]


class _Transaction(Protocol):
    @property
    def history(self) -> SqlHistory: ...


Begin = Callable[[], AbstractAsyncContextManager[_Transaction]]


class History:
    """Does the steps until nothing is left. `begin` begins a transaction of the store; the times are what is kept.

    Both methods raise StoreUnavailableError, and PruneRefusedError after doing what was not refused.
    """

    def __init__(self, begin: Begin, guard: PruneGuard, *, usage: timedelta, removed: timedelta) -> None:
        self._begin = begin
        self._guard = guard
        self._usage = usage
        self._removed = removed

    async def roll_up_usage(self) -> None:
        """See the module."""
        before = await self._guard.before("usage that is not rolled up", FINE)
        place: str | None = ""
        while place is not None:
            async with self._begin() as tx:
                place = await tx.history.roll_up(before, place)

    async def prune(self) -> None:
        """See the module."""
        refused: list[str] = []
        for table, kept, step in (
            ("usage_intervals", self._usage, lambda rows: rows.drop_usage),
            ("custom_domains", self._removed, lambda rows: rows.forget_domains),
            ("tombstones", self._removed, lambda rows: rows.forget_slugs),
            ("released_zones", self._removed, lambda rows: rows.forget_zones),
            ("activity", self._removed, lambda rows: rows.forget_activity),
            ("preview_secrets", KEPT, lambda rows: rows.forget_secrets),
        ):
            try:
                await self._forget(await self._guard.before(table, kept), step)
            except PruneRefusedError as error:
                refused.append(str(error))
        place: str | None = ""
        while place is not None:
            async with self._begin() as tx:
                place = await tx.history.forget_versions(place)
        if refused:
            raise PruneRefusedError("; ".join(refused))

    async def _forget(
        self, before: datetime, step: Callable[[SqlHistory], Callable[[datetime], Awaitable[int]]]
    ) -> None:
        gone = STEP
        while gone == STEP:
            async with self._begin() as tx:
                gone = await step(tx.history)(before)
