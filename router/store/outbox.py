"""The outbox's reader: hears of every change that any process on this database has committed.

It reads when there may be something to read, which costs next to nothing to find out (`watch.py`).
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

import sqlalchemy as sa
import structlog

from router.errors import StoreUnavailableError
from router.store.changes import ordered
from router.store.connection import Engine
from router.store.failures import translated
from router.store.journal_tables import outbox
from router.store.watch import Watch
from router.tasks import Tasks

KEPT = timedelta(hours=1)  # how long a row is of use to a follower that fell behind
KEPT_ROWS = 10_000

_BATCH = 1000
_BACKOFF = (0.1, 5.0)  # seconds between tries while the store is away: the first, the longest

_log = structlog.get_logger("router.store")


class OutboxFollower:
    """Calls `on_keys` with the touched keys of others' commits, in their order, within 20 ms of each.

    Keys that this process committed itself are left out: `Store.after_commit` has told of them. `on_gap` is called when
    changes may have been missed (the store was away, or rows were trimmed unread): drop everything then.
    """

    def __init__(
        self,
        reader: Engine,
        watch: Watch,
        *,
        on_keys: Callable[[Sequence[str]], object],
        on_gap: Callable[[], object],
    ) -> None:
        self._reader = reader
        self._watch = watch
        self._on_keys = on_keys
        self._on_gap = on_gap
        self._tasks = Tasks("outbox")
        self._position = 0
        self._own: set[int] = set()
        self.missing = False  # the outbox can't be read now

    async def start(self) -> None:
        """Follow from the newest change on. Raises StoreUnavailableError."""
        self._watch.moved()
        with translated():
            async with self._reader.connect() as connection:
                self._position = await connection.scalar(sa.select(sa.func.max(outbox.c.id))) or 0
        self._tasks.start("follow", self._follow())

    async def close(self) -> None:
        """Stop following."""
        await self._tasks.close()
        self._watch.close()

    @property
    def position(self) -> int:
        """The number of the newest change that it has read."""
        return self._position

    def committed(self, ids: Sequence[int]) -> None:
        """This process has told of these rows itself."""
        self._own.update(row_id for row_id in ids if row_id > self._position)

    async def _follow(self) -> None:
        first, longest = _BACKOFF
        wait = first
        while True:
            try:
                if self.missing or self._watch.moved():
                    await self._read()
            except StoreUnavailableError as error:
                if not self.missing:
                    _log.warning("the outbox can't be read", error=str(error))
                self.missing = True
                await asyncio.sleep(wait)
                wait = min(wait * 2, longest)
                continue
            if self.missing:
                _log.info("the outbox can be read again")
                self.missing, wait = False, first
                self._tell(self._on_gap)
            await self._watch.pause()

    async def _read(self) -> None:
        while True:
            select = sa.select(outbox.c.id, outbox.c.key).where(outbox.c.id > self._position).order_by(outbox.c.id)
            with translated():
                async with self._reader.connect() as connection:
                    rows = (await connection.execute(select.limit(_BATCH))).all()
            if not rows:
                return
            # Ids have no holes, but for rows that were trimmed and (on PostgreSQL, rarely) commits that failed.
            gap = rows[0].id != self._position + 1
            self._position = rows[-1].id
            keys = ordered(row.key for row in rows if row.id not in self._own)
            self._own = {row_id for row_id in self._own if row_id > self._position}
            if gap:
                _log.warning("rows of the outbox were trimmed before they were read")
                self._tell(self._on_gap)
            elif keys:
                self._tell(partial(self._on_keys, keys))
            if len(rows) < _BATCH:
                return

    def _tell(self, what: Callable[[], object]) -> None:
        try:
            what()
        except Exception:  # noqa: BLE001  # a follower that ends with its listener's mistake leaves stale routes for ever
            _log.exception("a listener failed")


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
