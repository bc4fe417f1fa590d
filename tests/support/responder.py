"""A responder on loopback with a store that tests change."""

import asyncio
import socket
import struct
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import dns.asyncquery
import dns.message

from router.base.clock import SystemClock
from router.node.sockets import listen_dns
from router.observe.metrics import Metrics
from router.responder import Responder
from router.responder.connections import IDLE
from tests.support.responder_zone import VALUES, zone

_TIME = 10.0  # seconds for an answer


class Orders:
    """What is open in the store. `error` is raised by each reading, `hold` holds readings up."""

    def __init__(self) -> None:
        self.values: Mapping[str, Sequence[str]] = VALUES
        self.error: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.reads = 0

    async def open_values(self) -> Mapping[str, Sequence[str]]:
        self.reads += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        return self.values


class RunningResponder:
    """Serves while it is entered."""

    def __init__(self, bind: str = "127.0.0.1:0", *, idle: float = IDLE) -> None:
        self.orders = Orders()
        self.metrics = Metrics()
        self._udp, self._tcp = listen_dns(bind)
        self._idle = idle
        self.port = int(self._udp.getsockname()[1])

    async def __aenter__(self) -> Self:
        self._responder = Responder(
            self._udp,
            self._tcp,
            zone=zone(),
            rows=self.orders,
            metrics=self.metrics,
            clock=SystemClock(),
            idle=self._idle,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._responder.close()
        self._udp.close()
        self._tcp.close()

    def counted(self, result: str) -> int:
        """How many queries had that result."""
        return self.metrics._counts["responder_queries"].get((result,), 0)

    async def udp(self, query: dns.message.Message, address: str = "127.0.0.1") -> dns.message.Message:
        return await dns.asyncquery.udp(query, address, _TIME, self.port)

    async def tcp(self, query: dns.message.Message) -> dns.message.Message:
        return await dns.asyncquery.tcp(query, "127.0.0.1", _TIME, self.port)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


class Sender:
    """A socket of UDP whose packets come from that address of loopback."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((source, 0))
        self._socket.setblocking(False)
        self._to = ("127.0.0.1", port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, wire: bytes) -> None:
        self._socket.sendto(wire, self._to)

    async def receive(self) -> bytes:
        async with asyncio.timeout(_TIME):
            return await asyncio.get_running_loop().sock_recv(self._socket, 65_535)

    def received(self) -> list[bytes]:
        """What has come and was not read yet."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(65_535))
            except BlockingIOError:
                return found


def framed(wire: bytes) -> bytes:
    """As TCP has it."""
    return struct.pack("!H", len(wire)) + wire


async def one_message(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(_TIME):
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        return await reader.readexactly(size)
