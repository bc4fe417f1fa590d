"""One query to one server: over UDP, and over TCP where the answer was cut off.

The socket is connected, so that the kernel drops what comes from elsewhere. What comes from the right place with
another id or question is not the answer: the real one may still come. A message is bounded before it is parsed, by
its bytes and by the records that it claims to have: parsing costs time of the event loop that carries all traffic.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any, cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from router.base.clock import Clock
from router.observe.metrics import Metrics

QUERY_TIMEOUT = 2.0  # seconds for a server to answer
PAYLOAD = 1232  # bytes of UDP that no network fragments (DNS Flag Day 2020)
SERVER_CONCURRENCY = 4  # queries to one address of a stranger's
RESOLVER_CONCURRENCY = 128  # to one of our own resolvers: a few names that never answer must not delay the others
TOTAL_CONCURRENCY = 512  # queries; each has a socket

_MAX_BYTES = 16 * 1024  # over TCP; a hundred times what a name needs
_MAX_RECORDS = 320  # of all sections together; reading as many takes some 15 ms where they are made to be slow
_MAX_GARBAGE = 16  # datagrams with the right id that can't be parsed
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

    def __init__(self, clock: Clock, *, query_timeout: float = QUERY_TIMEOUT, metrics: Metrics | None = None) -> None:
        self._clock = clock
        self._query_timeout = query_timeout
        self._metrics = metrics
        self._sockets = asyncio.Semaphore(TOTAL_CONCURRENCY)
        self._slots: dict[Address, _Slots] = {}

    async def send(
        self, query: dns.message.Message, server: Address, until: float, *, concurrency: int = SERVER_CONCURRENCY
    ) -> dns.message.Message:
        """The server's answer, of whom at most so many are asked `concurrency`. Waits for `query_timeout`, and never beyond the
        instant `until`.

        Raises NoReplyError.
        """
        try:
            async with asyncio.timeout(until - self._clock.monotonic()), self._slot(server, concurrency):
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
        reply = await _over_udp(query, server, self._query_timeout)
        if reply.flags & dns.flags.TC:
            self._count("truncated")
            async with asyncio.timeout(self._query_timeout):
                reply = await _over_tcp(query, server)
        return reply

    @contextlib.asynccontextmanager
    async def _slot(self, server: Address, concurrency: int) -> AsyncIterator[None]:
        slots = self._slots.setdefault(server, _Slots(concurrency))
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

    def __init__(self, concurrency: int) -> None:
        self.free = asyncio.Semaphore(concurrency)
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
        if length > _MAX_BYTES:
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
        # A failure is a result too: the caller may be gone, and then an exception would never be retrieved.
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
        if self.garbage >= _MAX_GARBAGE:
            self.reply.set_result(NoReplyError("bad_answer"))

    def error_received(self, error: Exception) -> None:
        if not self.reply.done():
            self.reply.set_result(error)


def _read(wire: bytes, query: dns.message.Message) -> dns.message.Message | None:
    """A message that answers this query, None where it is none."""
    if len(wire) < _COUNTS.size or sum(_COUNTS.unpack_from(wire)[3:]) > _MAX_RECORDS:
        return None
    try:
        message = dns.message.from_wire(wire, ignore_trailing=True)
        if sum(map(len, message.answer)) < _COUNTS.unpack_from(wire)[3]:
            message.answer = _with_all_aliases(message.answer, wire)
    except Exception:  # noqa: BLE001  # a stranger's bytes: whatever the library makes of them, they are no answer
        return None
    return message if query.is_response(message) else None


def _with_all_aliases(answer: list[dns.rrset.RRset], wire: bytes) -> list[dns.rrset.RRset]:
    """An answer with every CNAME that its bytes have. A name should have one, so the library keeps the last alone."""
    apart = dns.message.from_wire(wire, ignore_trailing=True, one_rr_per_rrset=True)
    others = [rrset for rrset in answer if rrset.rdtype != dns.rdatatype.CNAME]
    return [rrset for rrset in apart.answer if rrset.rdtype == dns.rdatatype.CNAME] + others
