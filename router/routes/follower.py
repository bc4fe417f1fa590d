"""The outbox's reader: hears of every change that any process on this database has committed.

It reads when there may be something to read, which costs next to nothing to find out (`Watch`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import structlog

from router.errors import StoreUnavailableError
from router.routes.records import Change
from router.tasks import Tasks

_BATCH = 1000
_BACKOFF = (0.1, 5.0)  # seconds between tries while the store is away: the first, the longest

_log = structlog.get_logger("router.routes")


class Feed(Protocol):
    """The outbox, as its reader sees it. Both raise StoreUnavailableError."""

    async def newest(self) -> int:
        """The number of the newest change, 0 before the first."""

    async def after(self, number: int, most: int) -> Sequence[Change]:
        """At most so many of the changes after this one, in their order."""


class Watch(Protocol):
    """One reader's view of whether there is anything to read: what it has been told is not told again."""

    def moved(self) -> bool:
        """Whether somebody may have committed since the last call. True too where it can't be told."""

    async def pause(self) -> None:
        """Wait until it is time to ask again: a moment, or until there is news where news come by themselves."""

    async def back_off(self, wait: float) -> None:
        """Wait so many seconds, since the outbox can't be read; less where there is a sign that it can be again."""

    def close(self) -> None:
        """Let go of what it has open."""


class OutboxFollower:
    """Calls `on_keys` with the touched keys of others' commits, in their order, within 20 ms of each.

    Keys that this process was told of otherwise (`committed`) are left out. `on_gap` is called when changes may have been
    missed (the store was away, or rows were trimmed unread): drop everything then.
    """

    def __init__(
        self,
        feed: Feed,
        watch: Watch,
        *,
        on_keys: Callable[[Sequence[str]], object],
        on_gap: Callable[[], object],
    ) -> None:
        self._feed = feed
        self._watch = watch
        self._on_keys = on_keys
        self._on_gap = on_gap
        self._tasks = Tasks("outbox")
        self._position = 0
        self._own: dict[str, int] = {}
        self.missing = False  # the outbox can't be read now

    async def start(self) -> None:
        """Follow from the newest change on. Raises StoreUnavailableError."""
        self._watch.moved()
        self._position = await self._feed.newest()
        self._tasks.start("follow", self._follow())

    async def close(self) -> None:
        """Stop following."""
        await self._tasks.close()
        self._watch.close()

    @property
    def position(self) -> int:
        """The number of the newest change that it has read."""
        return self._position

    def committed(self, keys: Sequence[str], number: int) -> None:
        """This process knows of these records' changes already; `number` is the newest of them."""
        if number > self._position:
            self._own.update(dict.fromkeys(keys, number))

    async def _follow(self) -> None:
        first, longest = _BACKOFF
        wait = first
        while True:
            try:
                if self._watch.moved() or self.missing:
                    await self._read()
            except StoreUnavailableError as error:
                if not self.missing:
                    _log.warning("the outbox can't be read", error=str(error))
                self.missing = True
                await self._watch.back_off(wait)
                wait = min(wait * 2, longest)
                continue
            if self.missing:
                _log.info("the outbox can be read again")
                self.missing, wait = False, first
                self._tell(self._on_gap)
            await self._watch.pause()

    async def _read(self) -> None:
        while True:
            changes = await self._feed.after(self._position, _BATCH)
            if not changes:
                return
            # Ids have no holes, but for rows that were trimmed and (on PostgreSQL, rarely) commits that failed.
            gap = changes[0].number != self._position + 1
            self._position = changes[-1].number
            # One that came before another of the same record which is known is known with it.
            others = (change.key for change in changes if self._own.get(change.key, -1) < change.number)
            keys = tuple(dict.fromkeys(others))
            self._own = {key: number for key, number in self._own.items() if number > self._position}
            if gap:
                _log.warning("rows of the outbox were trimmed before they were read")
                self._tell(self._on_gap)
            elif keys:
                self._tell(partial(self._on_keys, keys))
            if len(changes) < _BATCH:
                return

    def _tell(self, what: Callable[[], object]) -> None:
        try:
            what()
        except Exception:  # noqa: BLE001  # a follower that ends with its listener's mistake leaves stale routes for ever
            _log.exception("a listener failed")
