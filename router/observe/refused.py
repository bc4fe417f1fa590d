"""The last messages that were refused because of their bytes: heads of requests, heads of backends' responses, chunked bodies.

For `miosa-router errors`. A refusal costs next to nothing here: the bytes are kept as they came, and read when somebody asks. What
anybody can cause is bounded: ten in a second are kept, a hundred in all, in a megabyte; the same again from the same side is
counted where it stands.
"""

from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

CLIENT: Final = "client"  # who sent it
BACKEND: Final = "backend"
HEAD: Final = "head"  # what of it was refused
BODY: Final = "body"

_MAX: Final = 100
_MAX_BYTES: Final = 1024 * 1024
_MAX_RAW: Final = 128 * 1024  # bytes of one: more than any limit on heads lets in by default
_PER_SECOND: Final = 10


class Refused(NamedTuple):
    """One refused message, or several that are alike: the bytes are those of the last. `at` and `first_at` are seconds since 1970; `size` how many bytes there
    were. `place` is which of them was wrong, below 0 where that is to be found out. Of a body only
    that byte is kept."""

    side: str
    part: str
    why: str
    raw: bytes
    size: int
    place: int
    method: str
    host: str
    client: str
    backend: str
    request_id: str
    first_at: float
    at: float
    times: int


class RefusedMessages:
    """See the module. `time` is the monotonic clock, `date` gives seconds since 1970."""

    def __init__(self, time: Callable[[], float], date: Callable[[], float]) -> None:
        self._time = time
        self._date = date
        self._kept: OrderedDict[tuple[str, str, str, str, str], Refused] = OrderedDict()
        self._bytes = 0
        self._second = 0.0
        self._left = _PER_SECOND
        self.skipped = 0
        """How many were not kept because there were too many in a second."""

    def may_note(self) -> bool:
        """Whether another one is kept in this second; where not it is counted."""
        now = self._time()
        if now >= self._second + 1:
            self._second = now
            self._left = _PER_SECOND
        if self._left == 0:
            self.skipped += 1
            return False
        self._left -= 1
        return True

    def note(
        self,
        side: str,
        part: str,
        why: str,
        raw: bytes,
        *,
        place: int = -1,
        method: str = "",
        host: str = "",
        client: str = "",
        backend: str = "",
        request_id: str = "",
    ) -> None:
        """Keep one. To be called where `may_note` has allowed it."""
        at = self._date()
        # Many visitors meet what one program says.
        key = (side, part, why, client if side == CLIENT else backend, host)
        before = self._kept.pop(key, None)
        first_at, times = at, 1
        if before is not None:
            first_at, times = before.first_at, before.times + 1
            self._bytes -= len(before.raw)
        size = len(raw)
        if part == BODY:
            raw = raw[place : place + 1] if place >= 0 else b""
        elif size > _MAX_RAW:
            raw = raw[:_MAX_RAW]
        self._kept[key] = Refused(
            side, part, why, raw, size, place, method, host, client, backend, request_id, first_at, at, times
        )
        self._bytes += len(raw)
        while len(self._kept) > _MAX or self._bytes > _MAX_BYTES:
            self._bytes -= len(self._kept.popitem(last=False)[1].raw)

    def all(self) -> Sequence[Refused]:
        """Those that are kept, the oldest first."""
        return list(self._kept.values())

    def shown(self) -> Mapping[str, Any]:
        """The same as JSON values, for another process."""
        kept = [one._asdict() | {"raw": b64encode(one.raw).decode("ascii")} for one in self._kept.values()]
        return {"messages": kept, "skipped": self.skipped}
