"""A worker among its node's processes: it hears of changes, asks what it does not know, and tells what it has seen."""

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from router.crew.link import Link, Message
from router.errors import StoreUnavailableError


class FaultError(Exception):
    """The control process stumbled over a question: a fault of ours, and no outage."""


class Membership:
    """A worker's side. There is one control process, or two for a while when one takes over from the other.

    `on_change(keys, number)` hears of a committed change. `used(since)` and `https(since)` give what was used, and
    what is known to have been reached by https, since that instant of the monotonic clock: all processes of a machine
    have the same one.
    `figures()` are the metrics. `heard` counts how often there was reason to look at the outbox.
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
        self._answering: list[Link] = []  # to those that answer questions; a successor comes after those before it
        self._serving = False
        self._news_heard = asyncio.Event()
        self.heard = 0

    async def join(self, end: socket.socket) -> None:
        """A control process is at the other end."""
        link = await Link.over(end, self._hear, self._lost)
        if not link.closed:
            self._links.add(link)
            link.send({"do": "serving", "serving": self._serving})

    def serving(self, serving: bool) -> None:
        """Whether we take connections, from now on."""
        self._serving = serving
        for link in self._links:
            link.send({"do": "serving", "serving": serving})

    async def ask(self, question: Message, within: float) -> Message:
        """What a control process answers. Raises StoreUnavailableError where that is nothing, FaultError where it can't.

        Who serves hears at once that there is nobody to ask, and goes on with what it knows. Who starts can't, and waits:
        at a reload one control process ends while the other is about to be met.
        """
        asked: set[Link] = set()
        try:
            async with asyncio.timeout(within) as limit:
                while True:
                    link = next((one for one in reversed(self._answering) if one not in asked), None)
                    if link is not None:
                        asked.add(link)
                        left = (limit.when() or 0.0) - asyncio.get_running_loop().time()
                        with suppress(ConnectionError):  # it has gone, or reads nothing: another may be there by now
                            return _judged(await link.call({**question, "within": left}))
                    elif self._serving:
                        raise StoreUnavailableError("the control process is away")
                    else:
                        await self.news()
        except TimeoutError as error:
            raise StoreUnavailableError(f"the control process did not answer within {within:g} s") from error

    async def met(self, within: float) -> None:
        """Until a control process answers questions. Raises StoreUnavailableError where none does in time."""
        try:
            async with asyncio.timeout(within):
                while not self._answering:
                    await self.news()
        except TimeoutError as error:
            raise StoreUnavailableError("the control process does not answer questions") from error

    async def news(self) -> None:
        """Until there is reason to look at the outbox: something was committed elsewhere, or can be asked for again."""
        await self._news_heard.wait()

    def close(self) -> None:
        """Tell for the last time, and leave."""
        for link in tuple(self._links):
            link.send({"do": "news", **self._news(float("-inf"))})
            link.close()

    def _lost(self, link: Link) -> None:
        self._links.discard(link)
        if link in self._answering:
            self._answering.remove(link)

    def _hear(self, link: Link, message: Message) -> object:
        match message["do"]:
            case "change":
                self._on_change(message["keys"], message["number"])
                return True
            case "news":
                return self._news(message["since"])
            case "figures":
                return self._figures()
            case "ready":
                self._answering.append(link)
                self._hear_of_news()
                return None
            case "moved":
                self._hear_of_news()
                return None
        raise ValueError(f"unknown message {message['do']!r}")

    def _news(self, since: float) -> Message:
        return {"used": self._used(since), "https": self._https(since)}

    def _hear_of_news(self) -> None:
        self.heard += 1
        self._news_heard.set()
        self._news_heard = asyncio.Event()


def _judged(answer: Message) -> Message:
    """The answer, unless it is why there is none."""
    if "fault" in answer:
        raise FaultError(answer["fault"])
    if "error" in answer:
        raise StoreUnavailableError(answer["error"])
    return answer
