"""Messages between two processes: one JSON document per line, on a socket that both inherited."""

import asyncio
import json
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import structlog

Message = dict[str, Any]

# Bytes that may wait for the other side. More means that it is stopped or stuck; what is not sent then is not missed,
# since both sides ask again.
_MOST = 4 * 1024 * 1024

_log = structlog.get_logger("router.crew")


class Link(asyncio.Protocol):
    """One end. `on_message(link, message)` hears each message that is no answer; what it returns is the answer, or will be
    where it is a task: one that fails leaves whoever asked without."""

    def __init__(self, on_message: Callable[["Link", Message], object], on_lost: Callable[["Link"], object]) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._partial: list[bytes] = []
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._number = 0

    @classmethod
    async def over(
        cls, end: socket.socket, on_message: Callable[["Link", Message], object], on_lost: Callable[["Link"], object]
    ) -> "Link":
        """A link on a connected Unix socket, which is its own from here on. Messages may come before this returns."""
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(lambda: cls(on_message, on_lost), sock=end)
        return link

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._transport is None

    def send(self, message: Message) -> bool:
        """Send it; whether it went off. It does not where the other side has gone, or does not read."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > _MOST:
            return False
        transport.write(json.dumps(message, separators=(",", ":")).encode("utf-8") + b"\n")
        return True

    def call(self, message: Message) -> "asyncio.Future[Any]":
        """Send it; its answer, which fails with ConnectionError where none can come. Deadlines are the caller's."""
        self._number += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.send({**message, "call": self._number}):
            self._calls[self._number] = answer
            answer.add_done_callback(partial(self._forget, self._number))
        else:
            answer.set_exception(ConnectionError("the other process does not listen"))
            answer.exception()  # whoever does not wait for it need not hear of it
        return answer

    def close(self) -> None:
        """Close after what is written has gone out."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole = b"".join((*self._partial, line))
            self._partial.clear()
            self._take(json.loads(whole))
        if rest:
            self._partial.append(rest)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason makes no difference
        self._transport = None
        for answer in tuple(self._calls.values()):
            if not answer.done():
                answer.set_exception(ConnectionError("the other process has gone"))
                answer.exception()
        self._on_lost(self)

    def _forget(self, number: int, _answer: "asyncio.Future[Any]") -> None:
        self._calls.pop(number, None)

    def _take(self, message: Message) -> None:
        answered = message.pop("answers", None)
        if answered is not None:
            answer = self._calls.get(answered)
            if answer is not None and not answer.done():
                answer.set_result(message["value"])
            return
        asked = message.pop("call", None)
        try:
            value = self._on_message(self, message)
        except Exception:  # noqa: BLE001 - one message that fails must not end all that follow
            _log.exception("a message between processes failed", what=message.get("do"))
            return
        if asked is None:
            return
        if isinstance(value, asyncio.Task):
            value.add_done_callback(partial(self._answer, asked))
        else:
            self.send({"answers": asked, "value": value})

    def _answer(self, asked: int, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and task.exception() is None:
            self.send({"answers": asked, "value": task.result()})
