"""What a process that carries traffic answers about sessions: exchanges and tunnels that are open in it. And how it ends them."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from router.base.clock import Clock
from router.observe import endings
from router.observe.ended_exchange import Finished
from router.operator.tapping import TapFilter, shown

STATES: Final[Mapping[str, str]] = {
    endings.REQUEST_HEAD: "request_head",
    endings.ADMISSION: "admission",
    endings.WAKE: "wake",
    endings.QUEUE: "queue",
    endings.DIAL: "dial",
    endings.RESPONSE_HEAD: "response_head",
    endings.BODIES: "body",
    endings.TUNNEL: "tunnel",
}
_NOT_YET: Final = ("at", "ending", "ending_text", "error", "tunnel")

ListOpen = Callable[[], Sequence[tuple[Finished, str, float]]]
Cut = Callable[[Callable[[Finished], bool]], tuple[int, int]]


class OpenSessions:
    """`list_open()` has each exchange with its phase, and the seconds for which its tunnel has carried nothing (below 0: it is none). `cut`
    ends those for which its argument is true, and says how many exchanges and tunnels these are."""

    def __init__(self, list_open: ListOpen, cut: Cut, clock: Clock) -> None:
        self._list_open = list_open
        self._cut = cut
        self._clock = clock

    def sessions(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Those that are `wanted`, at most `limit` of them, the oldest first; and how many there are."""
        wanted = TapFilter(arguments["wanted"])
        found = [one for one in self._list_open() if wanted.matches(one[0])]
        tunnels = sum(phase == endings.TUNNEL for _, phase, _ in found)
        oldest = heapq.nsmallest(int(arguments["limit"]), found, key=lambda one: one[0].started)
        now = self._clock.monotonic()
        epoch = self._clock.now().timestamp() - now
        return {
            "exchanges": len(found) - tunnels,
            "tunnels": tunnels,
            "sessions": [_row(*one, now=now, epoch=epoch) for one in oldest],
        }

    def cut(self, arguments: Mapping[str, Any]) -> dict[str, int]:
        """End those that are `wanted`."""
        exchanges, tunnels = self._cut(TapFilter(arguments["wanted"]).matches)
        return {"exchanges": exchanges, "tunnels": tunnels}


def _row(done: Finished, phase: str, idle: float, *, now: float, epoch: float) -> dict[str, Any]:
    row = shown(done, epoch, now)
    since = round(done.started + epoch, 3)
    kept = {name: value for name, value in row.items() if name not in _NOT_YET}
    idle_ms = round(min(idle, now - done.started) * 1000) if idle >= 0 else None
    return {"since": since, "state": STATES[phase], "idle_ms": idle_ms, **kept}
