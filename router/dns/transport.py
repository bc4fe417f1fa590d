"""One query to one server: over UDP, and over TCP where the answer was cut off.

The socket is connected, so that the kernel drops what comes from elsewhere. What comes from the right place with
another id or question is not the answer: the real one may still come. A server's answer is bounded before anybody reads
it, by its bytes and by the records that it says it has: reading costs time of the loop that carries everybody's traffic.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any, cast

import dns.flags
import dns.message
import dns.rcode

from router.clock import Clock
from router.observe.metrics import Metrics

QUERY_TIME = 2.0  # seconds for a server to answer
PAYLOAD = 1232  # bytes of UDP that no network fragments (DNS Flag Day 2020)
AT_ONCE = 4  # queries to one address
ALL_AT_ONCE = 256  # queries; each has a socket

_MOST_BYTES = 16 * 1024  # over TCP; a hundred times what a name needs
_MOST_RECORDS = 320  # of all sections together; reading as many takes some 15 ms where they are made to be slow
_MOST_GARBAGE = 16  # datagrams with the right id that nobody can read
_COUNTS = struct.Struct("!HHHHHH")
_LENGTH = struct.Struct("!H")

Address = tuple[str, int]


class NoReplyError(Exception):
    """A server that did not answer: `timeout`, `unreachable` or `bad_answer`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Transport:
    """Sends queries, a few at once to one address."""

    def __init__(self, clock: Clock, *, query_time: float = QUERY_TIME, metrics: Metrics | None = None) -> None:
        self._clock = clock
        self._query_time = query_time
        self._metrics = metrics
        self._sockets = asyncio.Semaphore(ALL_AT_ONCE)
        self._slots: dict[Address, _Slots] = {}

    async def send(self, query: dns.message.Message, server: Address, until: float) -> dns.message.Message:
        """The server's answer. Waits for `query_time`, and never beyond the instant `until`.

        Raises NoReplyError.
        """
        try:
            async with asyncio.timeout(until - self._clock.monotonic()), self._slot(server):
                reply = await self._exchange(query, server)
        except TimeoutError:
            self._count("timeout")
            raise NoReplyError("timeout") from None
        except OSError:
            self._count("unreachable")
            raise NoReplyError("unreachable") from None
        except NoReplyError as error:
            self._count(error.reason)
            raise
        self._count(dns.rcode.to_text(reply.rcode()).lower())
        return reply

    async def _exchange(self, query: dns.message.Message, server: Address) -> dns.message.Message:
        reply = await _over_udp(query, server, self._query_time)
        if reply.flags & dns.flags.TC:
            self._count("truncated")
            async with asyncio.timeout(self._query_time):
                reply = await _over_tcp(query, server)
        return reply

    @contextlib.asynccontextmanager
    async def _slot(self, server: Address) -> AsyncIterator[None]:
        slots = self._slots.setdefault(server, _Slots())
        slots.users += 1
        try:
            async with slots.free, self._sockets:
                yield
        finally:
            slots.users -= 1
            if not slots.users:
                del self._slots[server]

    def _count(self, said: str) -> None:
        if self._metrics is not None:
            self._metrics.count("dns_queries", said)


class _Slots:
    """What is free of one address, and who uses or awaits it."""

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(AT_ONCE)
        self.users = 0


async def _over_udp(query: dns.message.Message, server: Address, within: float) -> dns.message.Message:
    loop = asyncio.get_running_loop()
    transport, waiting = await loop.create_datagram_endpoint(lambda: _Datagrams(query), remote_addr=server)
    try:
        transport.sendto(query.to_wire())
        done, _ = await asyncio.wait([waiting.reply], timeout=within)
        if not done:
            raise NoReplyError("bad_answer" if waiting.garbage else "timeout")
        said = waiting.reply.result()
        if isinstance(said, Exception):
            raise said
        return said
    finally:
        transport.abort()


async def _over_tcp(query: dns.message.Message, server: Address) -> dns.message.Message:
    reader, writer = await asyncio.open_connection(*server)
    try:
        wire = query.to_wire()
        writer.write(_LENGTH.pack(len(wire)) + wire)
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > _MOST_BYTES:
            raise NoReplyError("bad_answer")
        reply = _read(await reader.readexactly(length), query)
    except asyncio.IncompleteReadError:
        raise NoReplyError("bad_answer") from None
    finally:
        cast(asyncio.Transport, writer.transport).abort()
    if reply is None or reply.flags & dns.flags.TC:
        raise NoReplyError("bad_answer")
    return reply


class _Datagrams(asyncio.DatagramProtocol):
    """Waits for the answer to one query."""

    def __init__(self, query: dns.message.Message) -> None:
        self._query = query
        # A failure is a result too: whoever waits may be gone, and nobody would retrieve an exception then.
        self.reply: asyncio.Future[dns.message.Message | Exception] = asyncio.get_running_loop().create_future()
        self.garbage = 0

    def datagram_received(self, data: bytes, address: Any) -> None:  # noqa: ARG002  # the kernel compared it
        if self.reply.done() or data[:2] != self._query.id.to_bytes(2, "big"):
            return
        reply = _read(data, self._query) if len(data) <= PAYLOAD else None
        if reply is not None:
            self.reply.set_result(reply)
            return
        self.garbage += 1
        if self.garbage >= _MOST_GARBAGE:
            self.reply.set_result(NoReplyError("bad_answer"))

    def error_received(self, error: Exception) -> None:
        if not self.reply.done():
            self.reply.set_result(error)


def _read(wire: bytes, query: dns.message.Message) -> dns.message.Message | None:
    """A message that answers this query, None where it is none."""
    if len(wire) < _COUNTS.size or sum(_COUNTS.unpack_from(wire)[3:]) > _MOST_RECORDS:
        return None
    try:
        message = dns.message.from_wire(wire, ignore_trailing=True)
    except Exception:  # noqa: BLE001  # a stranger's bytes: whatever the library makes of them, they are no answer
        return None
    return message if query.is_response(message) else None
