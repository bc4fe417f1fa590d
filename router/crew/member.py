"""A worker among its node's processes: it hears of changes, and tells what it has seen when it is asked."""

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from router.crew.link import Link, Message


class Membership:
    """A worker's side. There is one control process, or two for a while when one takes over from the other.

    `on_change(keys, number)` hears of a committed change. `used(since)` and `https(since)` give what was used, and
    what is known to have been reached by https, since that instant of the monotonic clock: all processes of a machine
    have the same one.
    `figures()` are the metrics.
    """

    def __init__(
        self,
        *,
        on_change: Callable[[Sequence[str], int], object],
        used: Callable[[float], Mapping[str, float]],
        https: Callable[[float], Mapping[str, float]],
        figures: Callable[[], Any],
    ) -> None:
        self._on_change = on_change
        self._used = used
        self._https = https
        self._figures = figures
        self._links: set[Link] = set()
        self._serving = False

    async def join(self, end: socket.socket) -> None:
        """A control process is at the other end."""
        link = await Link.over(end, self._hear, self._links.discard)
        if not link.closed:
            self._links.add(link)
            link.send({"do": "serving", "serving": self._serving})

    def serving(self, serving: bool) -> None:
        """Whether we take connections, from now on."""
        self._serving = serving
        for link in self._links:
            link.send({"do": "serving", "serving": serving})

    def close(self) -> None:
        """Tell for the last time, and leave."""
        for link in tuple(self._links):
            link.send({"do": "news", **self._news(float("-inf"))})
            link.close()

    def _hear(self, message: Message) -> object:
        match message["do"]:
            case "change":
                self._on_change(message["keys"], message["number"])
                return True
            case "news":
                return self._news(message["since"])
            case "figures":
                return self._figures()
        raise ValueError(f"unknown message {message['do']!r}")

    def _news(self, since: float) -> Message:
        return {"used": self._used(since), "https": self._https(since)}
