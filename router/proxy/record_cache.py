"""Records that visitors name by what they bring to previews: API keys by their hash, sessions by their id. Remembered in the
process, looked up once when they are not.

As the resolver does with routes: `peek` is for the hot path, `resolve` waits, `drop` hears of changes. Look-ups share round
trips with each other, never with those of hosts: whoever makes up keys delays nobody who asks for a host. A record that is
remembered is used for `stale_if_error` while the store is away; of another it is not known whether it opens anything, and that
is an error, never a no.

When a look-up and a change cross, the look-up's result is given to those that wait for it already, and not remembered.
Whoever keeps something open by a record's leave must therefore ask again while `peek` does not know it: `on_drop` tells only
of those that are remembered.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

import structlog

from router.access.keys import UNKNOWN, Unknown
from router.base.clock import Clock
from router.base.tasks import Tasks
from router.errors import StoreUnavailableError
from router.routes.batches import Batches, RecordSource
from router.routes.records import KeyRecord, SessionRecord
from router.settings import Cache

R = TypeVar("R", bound=KeyRecord | SessionRecord)

_MAX_KNOWN: Final = 10_000
_MAX_UNKNOWN: Final = 5_000  # apart, so that made-up names push out no real one
_RETRY_AFTER_FAILURE: Final = 1.0  # seconds that a record is used again before the source is asked again

_log = structlog.get_logger("router.proxy")


class _Entry(Generic[R]):
    """What is remembered of one name; times are of the monotonic clock."""

    __slots__ = ("expires", "record", "stale_until")

    def __init__(self, record: R | None, expires: float, stale_until: float) -> None:
        self.record = record
        self.expires = expires
        self.stale_until = stale_until


class _Flight(Generic[R]):
    """One look-up in progress, shared by all that wait for its record."""

    __slots__ = ("detached", "task")

    def __init__(self) -> None:
        self.detached = False
        self.task: asyncio.Task[R | StoreUnavailableError | None]


class RecordCache(Generic[R]):
    """Name to record of one kind. Not thread-safe: one per event loop. Those are remembered that were asked for last: so many
    that there are, and so many that there are not."""

    def __init__(
        self,
        source: RecordSource,
        kind: type[R],
        *,
        prefix: str,
        limits: Cache,
        clock: Clock,
        most_known: int = _MAX_KNOWN,
        most_unknown: int = _MAX_UNKNOWN,
    ) -> None:
        """`prefix` is what the records' keys have in front of their names."""
        self._kind = kind
        self._prefix = prefix
        self._limits = limits
        self._now = clock.monotonic
        self._most_known = most_known
        self._most_unknown = most_unknown
        self._tasks = Tasks(f"records {prefix}")
        self._batches = Batches(
            source,
            concurrency=max(1, limits.fetches // 2),
            timeout=limits.fetch_time,
            tasks=self._tasks,
            clock=clock,
        )
        self._known: OrderedDict[str, _Entry[R]] = OrderedDict()
        self._unknown: OrderedDict[str, _Entry[R]] = OrderedDict()
        self._flights: dict[str, _Flight[R]] = {}
        self._failing = False
        self._listeners: list[Callable[[str], None]] = []

    def __len__(self) -> int:
        return len(self._known) + len(self._unknown)

    def on_drop(self, listener: Callable[[str], None]) -> None:
        """Call `listener(name)` for each remembered record that may have changed: ask again what it is."""
        self._listeners.append(listener)

    def peek(self, name: str) -> R | Unknown | None:
        """The remembered record, None where it is remembered that there is none, else UNKNOWN."""
        known = self._known.get(name)
        if known is not None:
            if known.expires <= self._now():
                return UNKNOWN
            self._known.move_to_end(name)
            return known.record
        unknown = self._unknown.get(name)
        return UNKNOWN if unknown is None or unknown.expires <= self._now() else None

    async def resolve(self, name: str) -> R | None:
        """The record, None where there is none. Raises StoreUnavailableError where that can't be known now."""
        found = self.peek(name)
        if found is not UNKNOWN:
            return found
        flight = self._flights.get(name)
        if flight is None:
            flight = self._flights[name] = _Flight()
            flight.task = self._tasks.start("look up a record", self._look_up(name, flight))
        if self._failing and (last := self._last_known(name)) is not None:
            return last.record
        # Shielded: the first request may be cancelled while others still wait.
        result = await asyncio.shield(flight.task)
        if isinstance(result, StoreUnavailableError):
            raise StoreUnavailableError(str(result)) from result
        return result

    def drop(self, keys: Iterable[str]) -> None:
        """Forget what the records under these keys say; keys of other kinds are passed over."""
        dropped: list[str] = []
        for key in keys:
            if not key.startswith(self._prefix):
                continue
            name = key[len(self._prefix) :]
            self._detach(name)
            self._unknown.pop(name, None)
            if self._known.pop(name, None) is not None:
                dropped.append(name)
        self._tell(dropped)

    def drop_all(self) -> None:
        """Changes may have been missed: ask again for each, and use it as it was only while nobody answers."""
        for name in tuple(self._flights):
            self._detach(name)
        self._unknown.clear()
        now = self._now()
        for entry in self._known.values():
            entry.expires = min(entry.expires, now)
            entry.stale_until = min(entry.stale_until, now + self._limits.stale_if_error)
        self._tell(tuple(self._known))

    async def close(self) -> None:
        """End the look-ups under way."""
        self._batches.close()
        await self._tasks.close()

    def _tell(self, names: Iterable[str]) -> None:
        for name in names:
            for listener in self._listeners:
                listener(name)

    def _detach(self, name: str) -> None:
        flight = self._flights.pop(name, None)
        if flight is not None:
            flight.detached = True

    async def _look_up(self, name: str, flight: _Flight[R]) -> R | StoreUnavailableError | None:
        key = self._prefix + name
        try:
            found = (await self._batches.fetch((key,)))[key]
        except StoreUnavailableError as error:
            return self._without_source(name, error)
        except Exception as error:  # noqa: BLE001 - a bug in a source is a fault of ours too, and requests wait for it
            _log.exception("record look-up failed: bug", kind=self._prefix)
            return self._without_source(name, StoreUnavailableError(f"a fault of ours: {type(error).__name__}"))
        else:
            if self._failing:
                self._failing = False
                _log.info("record look-ups work again", kind=self._prefix)
            record = found if isinstance(found, self._kind) else None
            if not flight.detached:
                self._remember(name, record)
            return record
        finally:
            if not flight.detached:
                del self._flights[name]

    def _without_source(self, name: str, error: StoreUnavailableError) -> R | StoreUnavailableError | None:
        if not self._failing:
            self._failing = True
            _log.warning("record look-ups failing", kind=self._prefix, error=str(error))
        last = self._last_known(name)
        return error if last is None else last.record

    def _last_known(self, name: str) -> _Entry[R] | None:
        """The record as it was, to be used for a moment longer."""
        last, now = self._known.get(name), self._now()
        if last is None or now > last.stale_until:
            return None
        if last.expires <= now:
            last.expires = min(now + _RETRY_AFTER_FAILURE, last.stale_until)
        return last

    def _remember(self, name: str, record: R | None) -> None:
        known, before = record is not None, self._known.get(name)
        (self._unknown if known else self._known).pop(name, None)
        entries, most = (self._known, self._most_known) if known else (self._unknown, self._most_unknown)
        expires = self._now() + (self._limits.ttl if known else self._limits.unknown_ttl)
        if name not in entries and len(entries) >= most:
            entries.popitem(last=False)
        entries[name] = _Entry(record, expires, expires + self._limits.stale_if_error)
        entries.move_to_end(name)
        if before is not None and before.record != record:
            self._tell((name,))  # a change that was missed: who came in by the old record is to be judged by this one
