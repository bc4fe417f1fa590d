"""Follows the outbox: tells of every change that any process on this database has committed.

Changes come from two sources. They are pushed (`push`): by the bus where there is a Redis, by the control process to
its workers. And they are read from the store, when there may be something to read (`Watch`): always without a bus, only
while the bus is silent with one. A change that comes from both is told twice at worst, which costs a look-up.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import structlog

from router.base.tasks import Tasks
from router.errors import StoreUnavailableError
from router.routes.changed_keys import NOTHING_MOVED, Touched, touched
from router.routes.feed import Feed

_BATCH = 1000
_BACKOFF = (0.1, 5.0)  # seconds between tries while the store is away: the first, the longest

_log = structlog.get_logger("router.routes")


class Watch(Protocol):
    """One follower's view of whether there is anything to read: what it has been told is not told again."""

    def moved(self) -> bool:
        """Whether something may have been committed since the last call. True too where that is not known."""

    async def pause(self) -> None:
        """Wait until it is time to ask again: a moment, or until a signal where there are signals."""

    async def back_off(self, wait: float) -> None:
        """Wait so many seconds because the outbox can't be read; less where there is a sign that it can be again."""

    def close(self) -> None:
        """Release what it has open."""


class OutboxFollower:
    """Calls `on_keys` with the touched keys of others' commits, in their order, within 20 ms of each.

    Keys that this process has learned of otherwise (`committed`) are left out. `on_gap` is called when changes may have
    been missed (the store was away, or rows were trimmed unread): drop everything then. `on_position(to, numbers)` hears
    first that everything up to row `to` has happened; `numbers` are the changed keys with the rows that changed them,
    None where it is not known what changed.
    """

    def __init__(
        self,
        feed: Feed,
        watch: Watch,
        *,
        on_keys: Callable[[Sequence[str]], object],
        on_gap: Callable[[], object],
        on_position: Callable[[int, Mapping[str, int] | None], object] = lambda _to, _numbers: None,
    ) -> None:
        self._feed = feed
        self._watch = watch
        self._on_keys = on_keys
        self._on_gap = on_gap
        self._on_position = on_position
        self._tasks = Tasks("outbox")
        self._position: int | None = 0  # None: the outbox could not be read yet
        self._own: dict[str, int] = {}
        self.missing = False  # the outbox can't be read now

    async def start(self, *, required: bool = True) -> None:
        """Follow from the newest change on. Raises StoreUnavailableError where the store is away and `required`; else the
        store is waited for, and `on_gap` called when it is there."""
        self._watch.moved()
        try:
            self._moved_to(await self._feed.newest(), None)
        except StoreUnavailableError as error:
            if required:
                raise
            _log.warning("outbox not readable", error=str(error))
            self._position, self.missing = None, True
        self._tasks.start("follow", self._follow())

    async def close(self) -> None:
        """Stop following."""
        await self._tasks.close()
        self._watch.close()

    @property
    def position(self) -> int:
        """The number of the newest change that it knows of; 0 before the first."""
        return self._position or 0

    def committed(self, keys: Sequence[str], number: int) -> None:
        """This process knows of these records' changes already; `number` is the newest of them."""
        if number > self.position:
            self._own.update(dict.fromkeys(keys, number))

    def push(self, start: int, to: int, numbers: Mapping[str, int], moved: frozenset[str] = NOTHING_MOVED) -> bool:
        """These keys changed in rows after `start` up to `to`, each in the row of its number; those of `moved` only in where
        they lead. False, and nothing happens, where changes before `start` are not known yet."""
        if self._position is not None and start > self._position:
            return False
        self._take(to, numbers, moved)
        return True

    def missed(self) -> None:
        """Something may have been missed, and it is not known what."""
        self._tell(self._on_gap)

    def skip_to(self, to: int) -> None:
        """Everything up to `to` has happened, and it is not known what."""
        self._moved_to(to, None)
        self.missed()

    async def restart(self) -> None:
        """Go on from the newest change: anything may have been missed before. A store that is away has nothing new, or is
        read later."""
        try:
            self._moved_to(await self._feed.newest(), None)
        except StoreUnavailableError:
            _log.info("outbox not readable; following from the last known change", position=self.position)
        self.missed()

    async def _follow(self) -> None:
        first, longest = _BACKOFF
        wait = first
        while True:
            try:
                if self._watch.moved() or self.missing:
                    await self._read()
            except StoreUnavailableError as error:
                if not self.missing:
                    _log.warning("outbox not readable", error=str(error))
                self.missing = True
                await self._watch.back_off(wait)
                wait = min(wait * 2, longest)
                continue
            if self.missing:
                _log.info("outbox readable again")
                self.missing, wait = False, first
                self.missed()
            await self._watch.pause()

    async def _read(self) -> None:
        if self._position is None:
            self._moved_to(await self._feed.newest(), None)
        while True:
            start = self.position  # it may grow while we read
            changes = await self._feed.after(start, _BATCH)
            if not changes:
                return
            # Rows have no holes, but for those that were trimmed and (on PostgreSQL, rarely) commits that failed.
            if changes[0].number != start + 1:
                _log.warning("outbox rows were trimmed before they were read", position=start)
                self.skip_to(changes[-1].number)
            else:
                moved = touched((change.key, change.moved) for change in changes).moved
                self._take(changes[-1].number, {change.key: change.number for change in changes}, moved)
            if len(changes) < _BATCH:
                return

    def _take(self, to: int, numbers: Mapping[str, int], moved: frozenset[str]) -> None:
        # A change that came before another of the same record which is known is known with it.
        others = Touched((key for key, number in numbers.items() if self._own.get(key, -1) < number), moved)
        self._moved_to(to, numbers)
        if others:
            self._tell(partial(self._on_keys, others))

    def _moved_to(self, to: int, numbers: Mapping[str, int] | None) -> None:
        self._position = position = max(self.position, to)
        if self._own:
            self._own = {key: number for key, number in self._own.items() if number > position}
        self._on_position(to, numbers)

    def _tell(self, what: Callable[[], object]) -> None:
        try:
            what()
        except Exception:  # noqa: BLE001  # a follower that ends with its listener's mistake leaves stale routes for ever
            _log.exception("listener of changes failed")
