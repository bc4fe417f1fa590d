"""The outbox: what was committed, in which order. `routes/follower.py` and the cache's publisher read it."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from router.store.connection import Engine
from router.store.failures import translated
from router.store.journal_tables import outbox

KEPT = timedelta(hours=1)  # how long a row is of use to a follower that fell behind
KEPT_ROWS = 10_000


async def trim(reader: Engine, writer: Engine, now: datetime) -> None:
    """Delete the rows that no follower needs any more; never the newest, which says where the outbox stands.

    Raises StoreUnavailableError.
    """
    newest = sa.select(sa.func.max(outbox.c.id)).scalar_subquery()
    old = sa.and_(outbox.c.id < newest, sa.or_(outbox.c.created_at < now - KEPT, outbox.c.id <= newest - KEPT_ROWS))
    with translated():
        async with reader.connect() as connection:
            any_old = await connection.scalar(sa.select(outbox.c.id).where(old).limit(1))
        if any_old is not None:
            async with writer.begin() as connection:
                await connection.execute(sa.delete(outbox).where(old))
