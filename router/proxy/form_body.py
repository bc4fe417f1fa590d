"""Reads the body of a form that is for us, and not for the program: small, and soon there."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from router import errors
from router.errors import Problem
from router.observe import endings
from router.proxy.whole_body import HeldBody

if TYPE_CHECKING:
    from router.proxy.exchange import Exchange

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class FormBody(HeldBody):
    """See the module. `done` gets all of it; with more than `most` bytes, or where it takes longer than a head may, the exchange
    is over instead."""

    __slots__ = ("_done", "_most")

    def __init__(self, exchange: "Exchange", most: int, done: Callable[[bytes], None]) -> None:
        super().__init__(exchange)
        self._most = most
        self._done = done

    def read(self) -> None:
        """Begin, with what has come already."""
        exchange = self._exchange
        head, incoming = exchange.head, exchange.incoming
        if incoming.request_done:
            self._done(b"")
            return
        if head.framing > self._most:
            self._refuse(errors.PAYLOAD_TOO_LARGE)
            return
        if head.expect and not incoming.buffer:
            incoming.write(_CONTINUE)
        exchange.whole_body = self
        self.start(exchange.worker.limits.head_time)

    def take(self, data: bytes) -> None:
        """More of it."""
        exchange = self._exchange
        incoming = exchange.incoming
        chunks = incoming.chunks
        content = incoming.read_body(data) if chunks is None else incoming.read_content(exchange, chunks, data)
        if exchange.over or exchange.due:
            self.stop()
            return
        self._pieces.append(content)
        self._size += len(content)
        if self._size > self._most:
            self.stop()
            self._refuse(errors.PAYLOAD_TOO_LARGE)
        elif incoming.request_done:
            self.stop()
            if not exchange.half_closed:
                incoming.deadline = math.inf
            self._done(b"".join(self._pieces))

    def _came_late(self) -> None:
        self.stop()
        self._refuse(errors.REQUEST_TIMEOUT)

    def _refuse(self, problem: Problem) -> None:
        self._exchange.respond(problem, endings.EDGE_IN_ADMISSION)
