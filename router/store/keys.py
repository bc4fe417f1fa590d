"""Stored keys: their hashes, never the keys."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.base.key_scopes import KeyScope
from router.base.paging import Listing, Window
from router.routes.records import api_key_key
from router.store.rows import Rows, conditions, fields_of, named
from router.store.tables import api_keys
from router.tenancy.keys import Key


class SqlKeys(Rows):
    """tenancy.keys.KeyRows, and what goes with a scope"""

    async def add(self, key: Key) -> None:
        await self._connection.execute(sa.insert(api_keys).values(fields_of(key)))
        self._changes.record(api_key_key(key.digest))

    async def get(self, key_id: str) -> Key | None:
        row = await self._one(self._locked(sa.select(api_keys).where(api_keys.c.id == key_id), api_keys))
        return None if row is None else _read(row)

    async def by_digest(self, digest: str) -> Key | None:
        row = await self._one(sa.select(api_keys).where(api_keys.c.digest == digest))
        return None if row is None else _read(row)

    async def list(
        self,
        window: Window,
        *,
        tenant_id: str | None = None,
        scope_id: str | None = None,
        without: KeyScope | None = None,
    ) -> Listing[Key]:
        select = sa.select(api_keys).where(*conditions(api_keys, tenant_id=tenant_id, scope_id=scope_id))
        if without is not None:
            select = select.where(api_keys.c.scope != without.value)
        return await self._listing(select, window, (api_keys.c.created_at, api_keys.c.id), _read)

    async def revoke(self, key_id: str, now: datetime) -> None:
        await self._revoke(api_keys.c.id == key_id, now=now)

    async def revoke_scope(self, scope_id: str, now: datetime) -> None:
        await self._revoke(api_keys.c.scope_id == scope_id, api_keys.c.revoked_at.is_(None), now=now)

    async def save(self, key: Key) -> None:
        # A key that was rotated had another digest, and that opens nothing from now on.
        before = await self._connection.scalars(sa.select(api_keys.c.digest).where(api_keys.c.id == key.id))
        self._changes.record(api_key_key(key.digest), *map(api_key_key, before))
        await self._connection.execute(sa.update(api_keys).where(api_keys.c.id == key.id).values(fields_of(key)))

    async def used(self, key_id: str, now: datetime) -> None:
        await self._connection.execute(sa.update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=now))

    async def used_by_digest(self, digest: str, at: datetime) -> None:
        later = sa.or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < at)
        await self._connection.execute(
            sa.update(api_keys).where(api_keys.c.digest == digest, later).values(last_used_at=at)
        )

    async def _revoke(self, *which: sa.ColumnElement[bool], now: datetime) -> None:
        revoke = sa.update(api_keys).where(*which).values(revoked_at=now).returning(api_keys.c.digest)
        self._changes.record(*map(api_key_key, await self._connection.scalars(revoke)))


def _read(row: sa.Row[Any]) -> Key:
    return Key(**{**named(row), "scope": KeyScope(row.scope)})
