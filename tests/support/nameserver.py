"""A small authoritative name server, in charge of every name: UDP and TCP on one free port, wildcards as in RFC 4592,
and the faults that real servers have."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Self, cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from router.domains.lookup import RecordType

_TTL = 1
_MOST_ALIASES = 16

# What `fail` may make of a name, beside rcodes: no answer at all; nothing, and nobody in charge.
SILENT = "timeout"
LAME = "lame"

Node = dict[dns.rdatatype.RdataType, list[str]]


class NameServer:
    """Answers on loopback while it is entered. `queries` keeps what was asked: (name, type, "udp" or "tcp")."""

    def __init__(self) -> None:
        self._nodes: dict[dns.name.Name, Node] = {}
        self._failing: dict[dns.name.Name, str] = {}
        self.queries: list[tuple[str, str, str]] = []
        self.truncating = False  # over UDP nothing fits
        self.spoofed = False  # before each true answer over UDP a forged one comes

    # What it knows; names and values are absolute without their final dot.

    def put(self, name: str, record_type: RecordType, *values: str) -> None:
        """Set the records of a name; no values: none of this type."""
        node = self._nodes.setdefault(_name(name), {})
        kind = dns.rdatatype.from_text(record_type)
        node.pop(kind, None)
        if values:
            node[kind] = [f"{value}." if record_type is RecordType.CNAME else value for value in values]

    def remove(self, name: str) -> None:
        """Forget a name."""
        self._nodes.pop(_name(name), None)

    def fail(self, name: str, reason: str | None = "servfail") -> None:
        """From now on answer questions for the name with that rcode, SILENT or LAME; None mends it."""
        self._failing.pop(_name(name), None)
        if reason is not None:
            self._failing[_name(name)] = reason

    # Where it listens.

    @property
    def server(self) -> str:
        """As the setting DNS_SERVERS has it."""
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        udp, tcp = _sockets()
        self.port = int(udp.getsockname()[1])
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=udp)
        self._tcp = await asyncio.start_server(self._serve, sock=tcp)
        self._connections: set[asyncio.StreamWriter] = set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._udp.close()
        self._tcp.close()
        for writer in tuple(self._connections):
            writer.transport.abort()
        await self._tcp.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                query = dns.message.from_wire(await reader.readexactly(length))
                response = self.answer(query, "tcp")
                if response is not None:
                    wire = response.to_wire(max_size=65535)
                    writer.write(struct.pack("!H", len(wire)) + wire)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # whoever asked has gone, as they may
        finally:
            self._connections.discard(writer)
            writer.close()

    # What it says.

    def answer(self, query: dns.message.Message, transport: str) -> dns.message.Message | None:
        """The response, None for silence."""
        question = query.question[0]
        self.queries.append((question.name.to_text(omit_final_dot=True), question.rdtype.name, transport))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        fault = self._resolve(response, question.name, question.rdtype)
        if fault == SILENT:
            return None
        if fault is not None:
            response.answer.clear()
            response.flags &= ~dns.flags.AA
            response.set_rcode(dns.rcode.NOERROR if fault == LAME else dns.rcode.from_text(fault.upper()))
        return response

    def _resolve(
        self, response: dns.message.Message, name: dns.name.Name, wanted: dns.rdatatype.RdataType
    ) -> str | None:
        """Fill the answer, following aliases; a fault on the way comes back."""
        for _ in range(_MOST_ALIASES):
            if name in self._failing:
                return self._failing[name]
            node = self._find(name)
            if node is None:
                response.set_rcode(dns.rcode.NXDOMAIN)
                return None
            if wanted in node:
                response.answer.append(dns.rrset.from_text_list(name, _TTL, "IN", wanted.name, node[wanted]))
                return None
            if dns.rdatatype.CNAME not in node:
                return None
            alias = node[dns.rdatatype.CNAME]
            response.answer.append(dns.rrset.from_text_list(name, _TTL, "IN", "CNAME", alias))
            name = dns.name.from_text(alias[0])
        return None

    def _find(self, name: dns.name.Name) -> Node | None:
        if name in self._nodes:
            return self._nodes[name]
        if self._exists(name):
            return {}
        encloser = next(parent for parent in _parents(name) if self._exists(parent))
        return self._nodes.get(dns.name.Name((b"*", *encloser.labels)))

    def _exists(self, name: dns.name.Name) -> bool:
        return name == dns.name.root or any(other.is_subdomain(name) for other in self._nodes)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # asyncio's own is none by class

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        response = self._server.answer(query, "udp")
        if response is None:
            return
        if self._server.spoofed:
            self._transport.sendto(_forged(query).to_wire(), address)
        if self._server.truncating:
            response.answer.clear()
            response.flags |= dns.flags.TC
        size = query.payload if query.edns >= 0 else 512
        self._transport.sendto(response.to_wire(max_size=size, prefer_truncation=True), address)


def _forged(query: dns.message.Message) -> dns.message.Message:
    """Somebody's guess: the right question, another id, and their own address."""
    lie = dns.message.make_response(query)
    lie.id = query.id ^ 1
    lie.flags |= dns.flags.AA
    lie.answer.append(dns.rrset.from_text(query.question[0].name, _TTL, "IN", "CNAME", "forged.example."))
    return lie


def _parents(name: dns.name.Name) -> Iterator[dns.name.Name]:
    while name != dns.name.root:
        name = name.parent()
        yield name


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(f"{text}.")


def _sockets() -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on the same free port."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        tcp = socket.socket()
        try:
            tcp.bind(udp.getsockname())
        except OSError:  # somebody has that port for TCP
            udp.close()
            tcp.close()
            continue
        tcp.setblocking(False)
        return udp, tcp
