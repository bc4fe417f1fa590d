"""What the control process answers its workers out of the store: records, and the outbox.

    {"do": "records", "keys": ["slug:shop", …], "within": 2.0}    {"seen": 41, "records": {"slug:shop": "7 {…}", …}}
    {"do": "newest"}, {"do": "oldest"}                            {"number": 41}
    {"do": "after", "number": 41, "most": 1000}                   {"changes": [[42, "slug:shop", "2026-01-01T…"], …]}

`error` in an answer: the store could not say; `fault`: it stumbled over what was asked. Each question is a read of its
own that begins when it has arrived, never one that is under way already: whoever asks after it has heard of a change is
told nothing older.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from router.crew.link import Message
from router.errors import StoreUnavailableError
from router.routes.encoding import encode
from router.routes.records import Change, Snapshot
from router.tasks import Tasks

AT_ONCE = 64  # questions of one worker under way; far more than `cache.fetches`
MOST_KEYS = 1000  # in one question
_LONGEST = 10.0  # seconds for any answer

_log = structlog.get_logger("router.crew")


class Records(Protocol):
    """Records with their versions. Raises StoreUnavailableError."""

    async def fetch_versioned(self, keys: Sequence[str]) -> Snapshot:
        """All of `keys`, as of one instant."""


class Feed(Protocol):
    """The outbox. Raises StoreUnavailableError."""

    async def newest(self) -> int:
        """The number of the newest change."""

    async def oldest(self) -> int:
        """The number of the oldest change that is still kept."""

    async def after(self, number: int, most: int) -> Sequence[Change]:
        """At most so many of the changes after this one, in their order."""


class Store(Protocol):
    """The store, as the workers ask for it."""

    @property
    def records(self) -> Records: ...

    @property
    def feed(self) -> Feed: ...


class Answers:
    """For one worker. `tasks` are of all workers' questions under way; one that has gone leaves its own to their end."""

    def __init__(self, store: Store, tasks: Tasks) -> None:
        self._store = store
        self._tasks = tasks
        self._under_way = 0

    def to(self, question: Message) -> "asyncio.Task[Message] | Message":
        """The answer, at once or when it is known. Raises LookupError for what is no question."""
        kind = question["do"]
        if kind not in _KINDS:
            raise LookupError(f"unknown question {kind!r}")
        if self._under_way >= AT_ONCE:
            return {"error": "too many questions at once"}
        if self._tasks.closed:
            return {"error": "the control process is about to end"}
        self._under_way += 1
        task = self._tasks.start(f"answer {kind}", self._answer(kind, question))
        task.add_done_callback(self._answered)
        return task

    def _answered(self, _task: "asyncio.Task[Message]") -> None:
        self._under_way -= 1

    async def _answer(self, kind: str, question: Message) -> Message:
        try:
            async with asyncio.timeout(min(question["within"], _LONGEST)):
                return await _KINDS[kind](self._store, question)
        except StoreUnavailableError as error:
            return {"error": str(error)}
        except TimeoutError:
            return {"error": "the store did not answer in time"}
        except Exception as error:  # noqa: BLE001 - whoever asked is waiting, and knows what to do about it
            _log.exception("a worker's question can't be answered", what=kind)
            return {"fault": f"{type(error).__name__}: {error}"}


async def _records(store: Store, question: Message) -> Message:
    keys = question["keys"]
    if len(keys) > MOST_KEYS:
        raise ValueError(f"{len(keys)} keys in one question")
    snapshot = await store.records.fetch_versioned(keys)
    records = {key: encode(version, record).decode() for key, (version, record) in snapshot.items()}
    return {"seen": snapshot.seen, "records": records}


async def _newest(store: Store, _question: Message) -> Message:
    return {"number": await store.feed.newest()}


async def _oldest(store: Store, _question: Message) -> Message:
    return {"number": await store.feed.oldest()}


async def _after(store: Store, question: Message) -> Message:
    changes = await store.feed.after(question["number"], question["most"])
    rows: list[Any] = [[change.number, change.key, change.at.isoformat()] for change in changes]
    return {"changes": rows}


_KINDS = {"records": _records, "newest": _newest, "oldest": _oldest, "after": _after}
