"""Private keys as they are stored, whatever they belong to."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from router.certificates.order import OrderState
from router.certificates.sealed_keys import SealedKey
from router.store.held_certificate_tables import acme_accounts, acme_orders, certificate_requests, held_certificates
from router.store.held_certificates import BLANK
from router.store.rows import Rows

KEY_COLUMNS: Final[dict[SealedKey, sa.Column[Any]]] = {
    SealedKey.HELD: held_certificates.c.sealed_key,
    SealedKey.ACCOUNT: acme_accounts.c.sealed_key,
    SealedKey.NEXT_ACCOUNT: acme_accounts.c.next_sealed_key,
    SealedKey.ORDER: acme_orders.c.sealed_key,
    SealedKey.REQUEST: certificate_requests.c.sealed_key,
}


class SqlSealedKeys(Rows):
    """certificates.sealed_keys.SealedKeyRows"""

    async def after(self, kind: SealedKey, row: str, limit: int) -> Sequence[tuple[str, str]]:
        column = KEY_COLUMNS[kind]
        key = _key(column)
        # What was removed has an empty text in its place.
        select = sa.select(key, column).where(key > row, column != "").order_by(key).limit(limit)
        return [(found, sealed) for found, sealed in await self._connection.execute(select)]

    async def reseal(self, kind: SealedKey, row: str, before: str, after: str) -> None:
        column = KEY_COLUMNS[kind]
        update = sa.update(column.table).where(_key(column) == row, column == before)
        await self._connection.execute(update.values({column.name: after}))

    async def forget(self, kind: SealedKey, row: str, before: str, now: datetime) -> None:
        column = KEY_COLUMNS[kind]
        which = (_key(column) == row, column == before)
        match kind:
            case SealedKey.HELD:
                statement: sa.Delete | sa.Update = (
                    sa.update(held_certificates).where(*which).values(removed_at=now, **BLANK)
                )
            case SealedKey.ORDER:
                values = {"state": OrderState.ABANDONED, "sealed_key": None, "csr": None, "closed_at": now}
                statement = sa.update(acme_orders).where(*which).values(values)
            case SealedKey.NEXT_ACCOUNT:
                statement = sa.update(acme_accounts).where(*which).values(next_sealed_key=None)
            case SealedKey.ACCOUNT | SealedKey.REQUEST:
                statement = sa.delete(column.table).where(*which)
        await self._connection.execute(statement)


def _key(column: sa.Column[Any]) -> sa.Column[Any]:
    (key,) = column.table.primary_key.columns
    return key
