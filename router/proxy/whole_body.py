"""Waits a moment for a chunked request body to come whole (`router/http1/whole_bodies.py`)."""

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from router.http1.bodies import ChunkedReader, chunk, last_chunk
from router.http1.whole_bodies import with_length

if TYPE_CHECKING:
    from router.proxy.exchange import Exchange


class HeldBody(ABC):
    """What has come of a body, until it is whole, too much or too late. It is the exchange's `whole_body` meanwhile, which has
    no connection to its backend."""

    __slots__ = ("_exchange", "_pieces", "_size", "_timer")

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange
        self._pieces: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self, seconds: float) -> None:
        """With what has come already. Nearly always that is all of it, and nothing is waited for."""
        exchange = self._exchange
        incoming = exchange.incoming
        data, incoming.buffer = incoming.buffer, b""
        self.take(data)
        if exchange.whole_body is self:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._late)
            incoming.resume()

    @abstractmethod
    def take(self, data: bytes) -> None:
        """More of it has come from the client."""

    def stop(self) -> None:
        """The exchange is over, or goes on."""
        self._exchange.whole_body = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self._exchange.over or self._exchange.due:
            self.stop()
        else:
            self._came_late()

    @abstractmethod
    def _came_late(self) -> None:
        """It was not whole in time."""


class WholeBody(HeldBody):
    """One that goes on to the backend. The exchange has its places meanwhile."""

    __slots__ = ("_chunks",)

    def __init__(self, exchange: "Exchange", chunks: ChunkedReader) -> None:
        super().__init__(exchange)
        self._chunks = chunks

    def take(self, data: bytes) -> None:
        """More of it."""
        exchange, chunks = self._exchange, self._chunks
        content = exchange.incoming.read_content(exchange, chunks, data)
        if exchange.over or exchange.due:
            self.stop()
            return
        self._pieces.append(content)
        self._size += len(content)
        if chunks.done or self._size > exchange.worker.whole_body:
            self._go_on()

    def _came_late(self) -> None:
        self._go_on()

    def _go_on(self) -> None:
        exchange, chunks = self._exchange, self._chunks
        self.stop()
        content = b"".join(self._pieces)
        if chunks.done and not chunks.trailers:
            exchange.head = with_length(exchange.head, len(content))
            exchange.body_start = content
        else:
            exchange.body_start = chunk(content) if content else b""
            if chunks.done:
                exchange.body_start += last_chunk(chunks.trailers)
        exchange.admitted()
