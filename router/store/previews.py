"""Stored previews."""

from typing import Any

import sqlalchemy as sa

from router.base.paging import Listing, Window
from router.routes.policies import Cors, Visibility
from router.store.policies import own_visibility
from router.store.rows import Rows, fields_of, named
from router.store.tables import previews
from router.tenancy.previews import Preview


class SqlPreviews(Rows):
    """tenancy.previews.PreviewRows"""

    async def get(self, preview_id: str) -> Preview | None:
        return await self._find(previews.c.id == preview_id)

    async def of_port(self, resource_id: str, port: int) -> Preview | None:
        return await self._find(previews.c.resource_id == resource_id, previews.c.port == port)

    async def oldest(self, resource_id: str) -> Preview | None:
        first = sa.select(previews).where(previews.c.resource_id == resource_id)
        row = await self._one(first.order_by(previews.c.created_at, previews.c.port).limit(1))
        return None if row is None else _read(row)

    async def list(self, resource_id: str, window: Window) -> Listing[Preview]:
        select = sa.select(previews).where(previews.c.resource_id == resource_id)
        return await self._listing(select, window, (previews.c.port,), _read)

    async def add(self, preview: Preview) -> None:
        await self._connection.execute(sa.insert(previews).values(_values(preview)))
        self._changes.resource(preview.resource_id)

    async def save(self, preview: Preview) -> None:
        values = _values(preview)
        del values["id"], values["created_at"]
        await self._connection.execute(sa.update(previews).where(previews.c.id == preview.id).values(values))
        self._changes.resource(preview.resource_id)

    async def delete(self, preview: Preview) -> None:
        await self._connection.execute(sa.delete(previews).where(previews.c.id == preview.id))
        self._changes.resource(preview.resource_id)

    async def _find(self, *where: sa.ColumnElement[bool]) -> Preview | None:
        row = await self._one(self._locked(sa.select(previews).where(*where), previews))
        return None if row is None else _read(row)


def _values(preview: Preview) -> dict[str, Any]:
    values = fields_of(preview)
    values["visibility"] = preview.visibility or Visibility.PUBLIC
    values["always_public"] = preview.visibility is Visibility.PUBLIC
    return values


def _read(row: sa.Row[Any]) -> Preview:
    values = {
        **named(row),
        "visibility": own_visibility(row),
        "networks": tuple(row.networks),
        "cors": Cors(row.cors),
        "cors_origins": tuple(row.cors_origins),
    }
    del values["always_public"]
    return Preview(**values)
