"""Stored secrets of previews: their hashes, never the secrets."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.base.paging import Listing, Window
from router.routes.policies import SecretKind
from router.store.changes import chunks
from router.store.rows import Rows, fields_of, named
from router.store.tables import preview_secrets
from router.tenancy.preview_secrets import LINKS, PreviewSecret

_row = preview_secrets.c
_ORDER = (_row.created_at, _row.id)


class SqlPreviewSecrets(Rows):
    """tenancy.preview_secrets.PreviewSecretRows"""

    async def add(self, secret: PreviewSecret) -> None:
        await self._connection.execute(sa.insert(preview_secrets).values(fields_of(secret)))
        self._changes.resource(secret.resource_id)

    async def of_resource(self, resource_id: str) -> Sequence[PreviewSecret]:
        select = sa.select(preview_secrets).where(_row.resource_id == resource_id).order_by(*_ORDER)
        return [_read(row) for row in await self._connection.execute(select)]

    async def get(self, secret_id: str) -> PreviewSecret | None:
        row = await self._one(sa.select(preview_secrets).where(_row.id == secret_id))
        return None if row is None else _read(row)

    async def list(
        self,
        resource_id: str,
        preview_id: str | None,
        kinds: Collection[SecretKind],
        window: Window,
        *,
        opening: datetime | None = None,
    ) -> Listing[PreviewSecret]:
        select = sa.select(preview_secrets).where(
            _row.resource_id == resource_id, _row.preview_id.is_not_distinct_from(preview_id), _row.kind.in_(kinds)
        )
        if opening is not None:
            select = select.where(_opens(opening))
        return await self._listing(select, window, _ORDER, _read)

    async def newest_links(self, resource_id: str, now: datetime) -> Mapping[str, PreviewSecret]:
        select = sa.select(preview_secrets).where(
            _row.resource_id == resource_id, _row.preview_id.is_not(None), _row.kind.in_(LINKS), _opens(now)
        )
        links = [_read(row) for row in await self._connection.execute(select.order_by(*_ORDER))]
        return {link.preview_id: link for link in links if link.preview_id is not None}

    async def revoke(self, resource_id: str, ids: Collection[str], now: datetime) -> None:
        for chunk in chunks(sorted(ids)):
            await self._connection.execute(sa.update(preview_secrets).where(_row.id.in_(chunk)).values(revoked_at=now))
        self._changes.resource(resource_id)

    async def delete(self, ids: Collection[str]) -> None:
        for chunk in chunks(sorted(ids)):
            await self._connection.execute(sa.delete(preview_secrets).where(_row.id.in_(chunk)))

    async def use_up(self, secret_id: str, now: datetime) -> bool:
        this = (_row.id == secret_id, _row.kind == SecretKind.ONCE)
        update = sa.update(preview_secrets).where(*this, _opens(now)).values(used_at=now, last_used_at=now)
        resource_id = await self._connection.scalar(update.returning(_row.resource_id))
        if resource_id is None:
            return False
        self._changes.resource(resource_id)
        return True

    async def rehash(self, secret_id: str, old: str, new: str) -> None:
        this = (_row.id == secret_id, _row.password_hash == old)
        await self._connection.execute(sa.update(preview_secrets).where(*this).values(password_hash=new))

    async def used(self, secret_id: str, at: datetime) -> None:
        later = sa.or_(_row.last_used_at.is_(None), _row.last_used_at < at)
        await self._connection.execute(
            sa.update(preview_secrets).where(_row.id == secret_id, later).values(last_used_at=at)
        )


def _opens(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        _row.revoked_at.is_(None), _row.used_at.is_(None), sa.or_(_row.expires_at.is_(None), _row.expires_at > now)
    )


def _read(row: sa.Row[Any]) -> PreviewSecret:
    return PreviewSecret(**{**named(row), "kind": SecretKind(row.kind)})
