"""Messages between the control process and one worker: one JSON object per line, on a socket that both inherited.

A request carries a number as `call`; its answer is `{"answers": number, "value": …}`.
"""

import asyncio
import json
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import structlog

from router.node.ipc.messages import Request
from router.node.ipc.wire import Direction, Message, encode

A = TypeVar("A")
OnMessage = Callable[["Channel", Message], object]
OnLost = Callable[["Channel"], object]

# Bytes that may wait for the other side. With more waiting it is stopped or stuck; what is not sent then is not lost,
# since both sides ask again.
_MAX_BUFFERED = 4 * 1024 * 1024

_log = structlog.get_logger("router.node.ipc")


class Channel(asyncio.Protocol):
    """One end. `hears` are the types that the other end sends.

    `on_message(channel, message)` is called with each message that is not an answer. What it returns is the answer, or
    a task whose result will be; a task that fails leaves the request without an answer.
    """

    def __init__(self, hears: Direction, on_message: OnMessage, on_lost: OnLost) -> None:
        self._hears = hears
        self._on_message = on_message
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._partial: list[bytes] = []
        self._calls: dict[int, tuple[Request[Any], asyncio.Future[Any]]] = {}
        self._number = 0

    @classmethod
    async def over(cls, end: socket.socket, hears: Direction, on_message: OnMessage, on_lost: OnLost) -> "Channel":
        """A channel on a connected Unix socket, which it owns from here on. Messages may come before this returns."""
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_unix_connection(lambda: cls(hears, on_message, on_lost), sock=end)
        return channel

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._transport is None

    def send(self, message: Message) -> bool:
        """Send it. False where the other side has gone or does not read."""
        return self._send(encode(message))

    def write(self, line: bytes) -> bool:
        """Send a message that is a line already. False where the other side has gone or does not read."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > _MAX_BUFFERED:
            return False
        transport.write(line)
        return True

    def call(self, request: Request[A]) -> "asyncio.Future[A]":
        """Send it; its answer, which fails with ConnectionError where none can come. Deadlines are the caller's."""
        self._number += 1
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        if self._send({**encode(request), "call": self._number}):
            self._calls[self._number] = request, answer
            answer.add_done_callback(partial(self._forget, self._number))
        else:
            _fail(answer, ConnectionError("the other process does not listen"))
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
        for _, answer in tuple(self._calls.values()):
            if not answer.done():
                _fail(answer, ConnectionError("the other process has gone"))
        self._on_lost(self)

    def _send(self, message: dict[str, Any]) -> bool:
        return self.write(json.dumps(message, separators=(",", ":")).encode("utf-8") + b"\n")

    def _forget(self, number: int, _answer: "asyncio.Future[Any]") -> None:
        self._calls.pop(number, None)

    def _take(self, message: dict[str, Any]) -> None:
        answered = message.pop("answers", None)
        if answered is not None:
            self._answered(answered, message["value"])
            return
        number = message.pop("call", None)
        try:
            value = self._on_message(self, self._hears.decode(message))
        except Exception:  # noqa: BLE001 - one message that fails must not end all that follow
            _log.exception("message between processes failed", message=message.get("do"))
            return
        if number is None:
            return
        if isinstance(value, asyncio.Task):
            value.add_done_callback(partial(self._answer_later, number))
        else:
            self._answer(number, value)

    def _answered(self, number: int, value: Any) -> None:
        request, answer = self._calls.get(number, (None, None))
        if request is None or answer is None or answer.done():
            return
        try:
            answer.set_result(request.answer(value))
        except Exception as error:  # noqa: BLE001 - it is the caller's to handle
            _fail(answer, error)

    def _answer_later(self, number: int, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and task.exception() is None:
            self._answer(number, task.result())

    def _answer(self, number: int, value: object) -> None:
        self._send({"answers": number, "value": encode(value) if isinstance(value, Message) else value})


def _fail(answer: "asyncio.Future[Any]", error: Exception) -> None:
    answer.set_exception(error)
    answer.exception()  # a caller that does not wait for it needs no warning
