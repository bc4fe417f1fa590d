"""Reads the outbox: what was committed, in order, from any number on."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from router.routes.follower import Watch
from router.routes.records import Change
from router.store.connection import Engine
from router.store.failures import translated
from router.store.journal_tables import outbox
from router.store.outbox import trim

_AFTER = (
    sa.select(outbox.c.id, outbox.c.key, outbox.c.created_at, outbox.c.moved)
    .where(outbox.c.id > sa.bindparam("number"))
    .order_by(outbox.c.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
)


class Feed:
    """routes.follower.Feed, cache.publisher.Feed. Every read raises StoreUnavailableError."""

    def __init__(self, reader: Engine, writer: Engine, watch: Watch) -> None:
        self._reader = reader
        self._writer = writer
        self._watch = watch

    def moved(self) -> bool:
        """Whether another process may have committed since the last call."""
        return self._watch.moved()

    async def pause(self) -> None:
        """Wait until it is time to ask again, a second at most."""
        await self._watch.pause()

    async def newest(self) -> int:
        """The number of the newest change, 0 before the first."""
        return await self._scalar(sa.func.max(outbox.c.id)) or 0

    async def oldest(self) -> int:
        """The number of the oldest change that is still kept, 0 before the first."""
        return await self._scalar(sa.func.min(outbox.c.id)) or 0

    async def after(self, number: int, most: int) -> Sequence[Change]:
        """At most so many of the changes after this one, in their order."""
        asked = {"number": number, "most": most}
        return await self._reader.run(lambda connection: [Change(*row) for row in connection.execute(_AFTER, asked)])

    async def trim(self, now: datetime) -> None:
        """Delete the rows that no follower needs any more."""
        await trim(self._reader, self._writer, now)

    def close(self) -> None:
        """Close what it has open of its own."""
        self._watch.close()

    async def _scalar(self, what: sa.ColumnElement[int]) -> int | None:
        with translated():
            async with self._reader.connect() as connection:
                number: int | None = await connection.scalar(sa.select(what))
                return number
