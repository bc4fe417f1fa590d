"""Stored signing keys of the fleet."""

from collections.abc import Sequence

import sqlalchemy as sa

from router.routes.records import SigningKey, signing_key
from router.store.locks import hold_signing_keys
from router.store.rows import Rows, fields_of
from router.store.tables import signing_keys


class SqlSigningKeys(Rows):
    """tenancy.signing_keys.SigningKeyRows"""

    async def hold(self) -> None:
        await hold_signing_keys(self._connection)

    async def list(self, purpose: str) -> Sequence[SigningKey]:
        select = sa.select(signing_keys).where(signing_keys.c.purpose == purpose)
        rows = await self._connection.execute(select.order_by(signing_keys.c.since.desc(), signing_keys.c.id))
        return [SigningKey(row.id, row.secret, row.since, row.until) for row in rows]

    async def add(self, purpose: str, key: SigningKey) -> None:
        await self._connection.execute(sa.insert(signing_keys).values(purpose=purpose, **fields_of(key)))
        self._changes.record(signing_key(purpose))

    async def save(self, purpose: str, key: SigningKey) -> None:
        changed = sa.update(signing_keys).where(signing_keys.c.id == key.id).values(purpose=purpose, **fields_of(key))
        await self._connection.execute(changed)
        self._changes.record(signing_key(purpose))

    async def delete(self, purpose: str, keys: Sequence[SigningKey]) -> None:
        if keys:
            ids = [key.id for key in keys]
            await self._connection.execute(sa.delete(signing_keys).where(signing_keys.c.id.in_(ids)))
            self._changes.record(signing_key(purpose))
