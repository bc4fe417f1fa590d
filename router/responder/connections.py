"""Queries over TCP (RFC 7766): a bounded number of connections, each for a bounded time and number of queries.

Queries of all connections are answered one at a time, with a rest after each, in the order in which they came.
"""

import asyncio
import socket
from collections import Counter
from contextlib import suppress
from functools import partial

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.responder.answers import Answers, Pending
from router.responder.rate_limit import network_of
from router.responder.turns import REST, Turns

MAX_CONNECTIONS = 256  # one more ends the oldest: a resolver's own takes one round trip, a hoarder's as long as it may
MAX_OF_NETWORK = 16
MAX_QUERIES = 32  # of one connection
IDLE = 5.0  # seconds until a whole query has come, or its answer was taken
LIFETIME = 30.0  # seconds

_MIN_QUERY, _MAX_QUERY = 12, 1232  # bytes
_LENGTH = 2  # bytes before each message


class Connections:
    """Serves a listening, non-blocking socket from now on, until it is closed."""

    def __init__(self, listening: socket.socket, answers: Answers, clock: Clock, *, idle: float = IDLE) -> None:
        self._socket = listening
        self._answers = answers
        self._idle = idle
        self._tasks = Tasks("responder: connections")
        self._networks: Counter[bytes] = Counter()
        self._open: dict[asyncio.Task[None], None] = {}  # the oldest first
        self._order = asyncio.Lock()
        self._turns = Turns(listening, self._step, clock)

    async def close(self) -> None:
        """Accept no more, and end those that are open. The socket stays open: its owner closes it."""
        self._turns.close()
        await self._tasks.close()

    def _step(self) -> bool:
        """Accept one connection; False where there is none."""
        try:
            accepted, sender = self._socket.accept()
        except OSError:  # none there (BlockingIOError), gone again, or no descriptor left
            return False
        network = network_of(sender[0])
        if self._networks[network] >= MAX_OF_NETWORK:
            accepted.close()
            self._answers.count("limited")
            return True
        if len(self._open) >= MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.cancel()
            self._answers.count("limited")
        accepted.setblocking(False)
        self._networks[network] += 1
        task = self._tasks.start("connection", self._serve(accepted))
        self._open[task] = None
        task.add_done_callback(partial(self._ended, accepted, network))
        return True

    def _ended(self, accepted: socket.socket, network: bytes, task: asyncio.Task[None]) -> None:
        """Also of one that was ended before it began."""
        self._open.pop(task, None)
        accepted.close()
        self._networks[network] -= 1
        if not self._networks[network]:
            del self._networks[network]

    async def _serve(self, accepted: socket.socket) -> None:
        try:
            async with asyncio.timeout(LIFETIME):
                reader, writer = await asyncio.open_connection(sock=accepted, limit=_LENGTH + _MAX_QUERY)
                try:
                    await self._answer_all(reader, writer)
                finally:
                    writer.close()
                    with suppress(OSError):
                        await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client went, or took too long: nobody is there to be told

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(MAX_QUERIES):
            async with asyncio.timeout(self._idle):
                size = int.from_bytes(await reader.readexactly(_LENGTH))
                if not _MIN_QUERY <= size <= _MAX_QUERY:
                    self._answers.count("dropped")
                    return
                wire = await reader.readexactly(size)
            answer = await self._answer(wire)
            if answer is None:
                return
            writer.write(len(answer).to_bytes(_LENGTH) + answer)
            async with asyncio.timeout(self._idle):
                await writer.drain()

    async def _answer(self, wire: bytes) -> bytes | None:
        async with self._order:
            found = self._answers.first(wire, tcp=True)
            await asyncio.sleep(REST)
        if isinstance(found, Pending):
            reading = self._answers.values.read()
            await asyncio.wait([reading])
            found = self._answers.then(found, reading.result(), tcp=True)
        return found.wire
