"""What visitors of a port got lately because its program's responses, or their own requests, were refused: for `explain` and
the API.

The page and the log say it when it happens; the program's owner reads here why, when, and how often. A node notes what
its own traffic has met since it started, and no other node's. Messages have names and sizes of headers, never values.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from router.errors import BAD_BACKEND_RESPONSE, HEADERS_TOO_LARGE, TLS_EXPECTED, URI_TOO_LONG, WRONG_PROTOCOL

NOTED: Final = frozenset(
    problem.code for problem in (BAD_BACKEND_RESPONSE, TLS_EXPECTED, WRONG_PROTOCOL, HEADERS_TOO_LARGE, URI_TOO_LONG)
)
"""The codes of the errors that are noted."""

_MAX_RESOURCES: Final = 2_000
_MAX_OF_RESOURCE: Final = 16
_MAX_MESSAGE: Final = 400  # characters


@dataclass(frozen=True, slots=True)
class ErrorNote:
    """One kind of error on one port. `message` is of the last one; `first_at` and `last_at` are seconds since 1970."""

    resource_id: str
    port: int
    code: str
    reason: str | None
    message: str
    first_at: float
    last_at: float
    count: int = 1

    @property
    def first(self) -> datetime:
        return datetime.fromtimestamp(self.first_at, UTC)

    @property
    def last(self) -> datetime:
        return datetime.fromtimestamp(self.last_at, UTC)


class ErrorNotes:
    """A bounded number of notes: 16 of each resource, of 2,000 resources, at most 20 MB. What has not happened for longest
    goes first."""

    def __init__(self) -> None:
        self._resources: OrderedDict[str, OrderedDict[tuple[int, str, str | None], ErrorNote]] = OrderedDict()

    def add(self, note: ErrorNote) -> None:
        """It has happened, `note.count` times since it was last added."""
        notes = self._resources.setdefault(note.resource_id, OrderedDict())
        self._resources.move_to_end(note.resource_id)
        key = (note.port, note.code, note.reason)
        before = notes.pop(key, None)
        first_at, count = (note.first_at, 0) if before is None else (min(before.first_at, note.first_at), before.count)
        notes[key] = replace(note, message=note.message[:_MAX_MESSAGE], first_at=first_at, count=count + note.count)
        if len(notes) > _MAX_OF_RESOURCE:
            notes.popitem(last=False)
        if len(self._resources) > _MAX_RESOURCES:
            self._resources.popitem(last=False)

    def of(self, resource_id: str, port: int) -> Sequence[ErrorNote]:
        """Those of one port, the latest first."""
        notes = self._resources.get(resource_id)
        return [] if notes is None else [note for note in reversed(notes.values()) if note.port == port]

    def take(self, most: int) -> Sequence[ErrorNote]:
        """Remove about as many, and return them; those of one resource stay together."""
        taken: list[ErrorNote] = []
        while self._resources and len(taken) < most:
            taken += self._resources.popitem(last=False)[1].values()
        return taken
