"""Stored hand-overs, by the hashes of their codes."""

import sqlalchemy as sa

from router.store.changes import chunks
from router.store.login_tables import hand_overs
from router.store.rows import Rows, fields_of, named
from router.tenancy.hand_overs import HandOver

_row = hand_overs.c


class SqlHandOvers(Rows):
    """tenancy.hand_overs.HandOverRows"""

    async def add(self, hand_over: HandOver, *, most: int) -> None:
        newest = (_row.created_at.desc(), _row.digest)
        others = sa.select(_row.digest).where(_row.session_id == hand_over.session_id).order_by(*newest)
        await self._delete(list(await self._connection.scalars(others.offset(most - 1))))
        await self._connection.execute(sa.insert(hand_overs).values(fields_of(hand_over)))

    async def take(self, digest: str) -> HandOver | None:
        delete = sa.delete(hand_overs).where(_row.digest == digest).returning(*hand_overs.columns)
        row = (await self._connection.execute(delete)).one_or_none()
        return None if row is None else HandOver(**named(row))

    async def _delete(self, digests: list[str]) -> None:
        for chunk in chunks(digests):
            await self._connection.execute(sa.delete(hand_overs).where(_row.digest.in_(chunk)))
