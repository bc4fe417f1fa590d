"""A small name server: UDP and TCP on one port, wildcards as in RFC 4592, zones that it hands on, and the faults that
real servers have.

It is authoritative for every name, unless told otherwise: `serve` limits it to zones, `delegate` hands zones on to other
servers, `recursive` makes it a resolver that has everything it was told from somewhere else.
"""

import asyncio
import re
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self, cast

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset

from router.domains.lookup import RecordType

_MOST_ALIASES = 16
_TIME = 2.0  # seconds for the answer of a server that is asked in the course of an answer

# What `fail` may make of a name, beside rcodes.
SILENT = "timeout"  # no answer at all
LAME = "lame"  # nothing, and nobody in charge
BOGUS = "bogus"  # a resolver's SERVFAIL, unless it is told not to check signatures
FORGED = "forged"  # an answer with another id, and no true one
CUT = "cut"  # truncated, over TCP as well
GARBAGE = "garbage"  # the right id, and then bytes that are no message

Node = dict[dns.rdatatype.RdataType, list[str]]


class NameServer:
    """Answers on loopback while it is entered. `queries` keeps what was asked: (name, type, "udp" or "tcp")."""

    def __init__(self, *, address: str = "127.0.0.1", port: int = 0, ttl: int = 0) -> None:
        """On a free port where none is given. `ttl` is for how many seconds its answers hold, negative ones too."""
        self.address = address
        self.port = port
        self.ttl = ttl
        self._nodes: dict[dns.name.Name, Node] = {}
        self._failing: dict[dns.name.Name, tuple[str, tuple[str, ...]]] = {}
        self._failing_types: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], str] = {}
        self._zones: list[dns.name.Name] = []
        self._delegated: dict[dns.name.Name, Mapping[str, Sequence[str]]] = {}
        self._forwarded: dict[dns.name.Name, tuple[str, int]] = {}
        self.queries: list[tuple[str, str, str]] = []
        self.flags: list[dns.flags.Flag] = []  # of each query
        self.truncating = False  # over UDP nothing fits
        self.spoofed = False  # before each true answer over UDP a forged one comes
        self.recursive = False  # says RA in place of AA
        self.authoritative = True  # False: has the records, and does not say that it is in charge of them
        self.plain = False  # does not understand EDNS, and says FORMERR to it
        self.delay = 0.0  # seconds before each answer over UDP
        self.garbage = 1  # datagrams where the fault is GARBAGE
        self.waiting = 0  # queries over UDP that are not answered yet, while there is a delay

    # What it knows; names and values are as in a Lookup's answers.

    def put(self, name: str, record_type: RecordType, *values: str) -> None:
        """Set the records of a name; no values: none of this type."""
        node = self._nodes.setdefault(_name(name), {})
        kind = dns.rdatatype.from_text(record_type)
        node.pop(kind, None)
        if values:
            node[kind] = [_zone_file_text(record_type, value) for value in values]

    def remove(self, name: str) -> None:
        """Forget a name."""
        self._nodes.pop(_name(name), None)

    def fail(self, name: str, reason: str | None = "servfail", *errors: str) -> None:
        """From now on answer questions for the name with that rcode, or one of the faults above; None mends it.

        `errors` are extended ones (RFC 8914), as in `6 DNSSEC Bogus: expired`.
        """
        self._failing.pop(_name(name), None)
        if reason is not None:
            self._failing[_name(name)] = reason, errors

    def fail_type(self, name: str, record_type: RecordType, reason: str) -> None:
        """From now on answer questions for these records of the name with that rcode."""
        self._failing_types[_name(name), dns.rdatatype.from_text(record_type)] = reason

    def serve(self, *zones: str) -> None:
        """Be in charge of these zones only, and refuse everything else."""
        self._zones = [_name(zone) for zone in zones]

    def delegate(self, zone: str, servers: Mapping[str, Sequence[str]]) -> None:
        """Refer whoever asks for a name of the zone to these servers, with what addresses are given."""
        self._delegated[_name(zone)] = servers

    def forward(self, zone: str, port: int, address: str = "127.0.0.1") -> None:
        """Ask that server for names of the zone that are not known here, as a resolver does, in the course of an answer."""
        self._forwarded[_name(zone)] = address, port

    # Where it listens.

    @property
    def server(self) -> str:
        """As the setting DNS_SERVERS has it."""
        return f"{self.address}:{self.port}"

    async def __aenter__(self) -> Self:
        udp, tcp = _sockets(self.address, self.port)
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

    def fault(self, query: dns.message.Message) -> str | None:
        """What is wrong with the name that is asked for."""
        return self._failing.get(query.question[0].name, (None,))[0]

    def answer(self, query: dns.message.Message, transport: str) -> dns.message.Message | None:
        """The response, None for silence."""
        question = query.question[0]
        self.queries.append((question.name.to_text(omit_final_dot=True), question.rdtype.name, transport))
        self.flags.append(dns.flags.Flag(query.flags))
        response = dns.message.make_response(query, recursion_available=self.recursive)
        if self.authoritative and not self.recursive:
            response.flags |= dns.flags.AA
        if self.plain and query.edns >= 0:
            plain = dns.message.make_response(query)
            plain.use_edns(-1)
            plain.set_rcode(dns.rcode.FORMERR)
            return plain
        if self._zones and not any(question.name.is_subdomain(zone) for zone in self._zones):
            fault, errors = "refused", ()
        else:
            fault, errors = self._resolve(response, question.name, question.rdtype) or (None, ())
        if fault == BOGUS and query.flags & dns.flags.CD:
            fault = None
            self._resolve(response, question.name, question.rdtype, failing=False)
        if fault == SILENT:
            return None
        if fault == CUT:
            response.answer.clear()
            response.flags |= dns.flags.TC
        elif fault is not None:
            response.answer.clear()
            response.flags &= ~dns.flags.AA
            response.flags &= ~dns.flags.RA if fault == LAME else ~0
            response.set_rcode(_RCODES[fault] if fault in _RCODES else dns.rcode.from_text(fault.upper()))
            options = [_extended(error) for error in errors]
            if options and query.edns >= 0:
                response.use_edns(0, payload=1232, options=options)
        return response

    def _resolve(
        self,
        response: dns.message.Message,
        name: dns.name.Name,
        wanted: dns.rdatatype.RdataType,
        *,
        failing: bool = True,
    ) -> tuple[str, tuple[str, ...]] | None:
        """Fill the answer, following aliases; a fault on the way comes back."""
        for _ in range(_MOST_ALIASES):
            if failing and name in self._failing:
                return self._failing[name]
            if failing and (name, wanted) in self._failing_types:
                return self._failing_types[name, wanted], ()
            zone = self._zone_of(name)
            if zone in self._delegated:
                self._refer(response, zone)
                return None
            server = self._forwarded_to(name)
            if server is not None and name not in self._nodes:
                self._ask(response, dns.message.make_query(name, wanted), *server)
                return None
            node = self._find(name)
            if node is None:
                response.set_rcode(dns.rcode.NXDOMAIN)
                self._add_soa(response, name)
                return None
            if wanted in node and wanted != dns.rdatatype.CNAME:
                response.answer.append(dns.rrset.from_text_list(name, self.ttl, "IN", wanted.name, node[wanted]))
                return None
            if dns.rdatatype.CNAME not in node:
                self._add_soa(response, name)
                return None
            alias = node[dns.rdatatype.CNAME]
            for one in alias:  # each apart, as the library has one in a set
                response.answer.append(dns.rrset.from_text_list(name, self.ttl, "IN", "CNAME", [one]))
            if wanted == dns.rdatatype.CNAME:
                return None
            name = dns.name.from_text(alias[0])
        return None

    def _forwarded_to(self, name: dns.name.Name) -> tuple[str, int] | None:
        return next((server for zone, server in self._forwarded.items() if name.is_subdomain(zone)), None)

    def _ask(self, response: dns.message.Message, query: dns.message.Message, address: str, port: int) -> None:
        """Of another process: this one's loop stands still for the moment that takes."""
        try:
            said = dns.query.udp(query, address, _TIME, port)
        except (dns.exception.DNSException, OSError):
            response.set_rcode(dns.rcode.SERVFAIL)
            return
        response.set_rcode(said.rcode())
        response.answer.extend(said.answer)
        response.authority.extend(said.authority)

    def _refer(self, response: dns.message.Message, zone: dns.name.Name) -> None:
        if response.answer:
            return  # an alias leads out of what it serves
        response.flags &= ~dns.flags.AA
        servers = self._delegated[zone]
        hosts = [f"{host}." for host in servers]
        response.authority.append(dns.rrset.from_text_list(zone, self.ttl, "IN", "NS", hosts))
        for host, addresses in servers.items():
            for address in addresses:
                kind = "AAAA" if ":" in address else "A"
                response.additional.append(dns.rrset.from_text(_name(host), self.ttl, "IN", kind, address))

    def _zone_of(self, name: dns.name.Name) -> dns.name.Name:
        """The nearest zone above the name, ours or another's."""
        zones = [zone for zone in (*self._zones, *self._delegated) if name.is_subdomain(zone)]
        return max(zones, key=len, default=dns.name.root)

    def _add_soa(self, response: dns.message.Message, name: dns.name.Name) -> None:
        """RFC 2308: for how long there is nothing."""
        if self.ttl:
            zone = self._zone_of(name)
            soa = f"ns.test. hostmaster.test. 1 3600 600 86400 {self.ttl}"
            response.authority.append(dns.rrset.from_text(zone, self.ttl, "IN", "SOA", soa))

    def _find(self, name: dns.name.Name) -> Node | None:
        if name in self._nodes:
            return self._nodes[name]
        if self._exists(name):
            return {}
        encloser = next(parent for parent in _parents(name) if self._exists(parent))
        return self._nodes.get(dns.name.Name((b"*", *encloser.labels)))

    def _exists(self, name: dns.name.Name) -> bool:
        return name == dns.name.root or any(other.is_subdomain(name) for other in self._nodes)


_RCODES = {LAME: dns.rcode.NOERROR, BOGUS: dns.rcode.SERVFAIL}


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # asyncio's own is none by class

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if self._server.delay:
            self._server.waiting += 1
            asyncio.get_running_loop().call_later(self._server.delay, self._answer_late, data, address)
        else:
            self._answer(data, address)

    def _answer_late(self, data: bytes, address: tuple[str, int]) -> None:
        self._server.waiting -= 1
        self._answer(data, address)

    def _answer(self, data: bytes, address: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        fault = self._server.fault(query)
        if fault == GARBAGE:
            self._server.queries.append((query.question[0].name.to_text(omit_final_dot=True), "", "udp"))
            for _ in range(self._server.garbage):
                self._send(data[:2] + b"\xff" * 30, address)
            return
        if fault == FORGED:
            self._server.queries.append((query.question[0].name.to_text(omit_final_dot=True), "", "udp"))
            self._send(_forged(query).to_wire(), address)
            return
        response = self._server.answer(query, "udp")
        if response is None:
            return
        if self._server.spoofed:
            self._send(_forged(query).to_wire(), address)
        if self._server.truncating:
            response.answer.clear()
            response.flags |= dns.flags.TC
        size = query.payload if query.edns >= 0 else 512
        self._send(response.to_wire(max_size=size, prefer_truncation=True), address)

    def _send(self, data: bytes, address: tuple[str, int]) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(data, address)


def _forged(query: dns.message.Message) -> dns.message.Message:
    """Somebody's guess: the right question, another id, and their own address."""
    lie = dns.message.make_response(query)
    lie.id = query.id ^ 1
    lie.flags |= dns.flags.AA
    lie.answer.append(dns.rrset.from_text(query.question[0].name, 1, "IN", "CNAME", "forged.example."))
    return lie


def _zone_file_text(record_type: RecordType, value: str) -> str:
    """A value of a Lookup's answer, as a zone file has it."""
    if record_type in (RecordType.CNAME, RecordType.DNAME, RecordType.NS, RecordType.MX):
        return f"{value}."
    if record_type is RecordType.SOA:
        mname, rname, rest = value.split(" ", 2)
        return f"{mname}. {rname}. {rest}"
    if record_type is RecordType.TXT:
        parts = [value[place : place + 200] for place in range(0, len(value), 200)] or [""]
        return " ".join('"' + re.sub(r'("|\\(?![0-9]{3}))', r"\\\1", part) + '"' for part in parts)
    return value


def _extended(error: str) -> dns.edns.EDEOption:
    words, _, text = error.partition(": ")
    return dns.edns.EDEOption(int(words.split(" ")[0]), text or None)


def _parents(name: dns.name.Name) -> Iterator[dns.name.Name]:
    while name != dns.name.root:
        name = name.parent()
        yield name


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(f"{text}.")


def _sockets(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on the same port; a free one where none is given."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket()
        try:
            udp.bind((address, port))
            tcp.bind(udp.getsockname())
        except OSError:  # somebody has that port for TCP
            udp.close()
            tcp.close()
            if port:
                raise
            continue
        udp.setblocking(False)
        tcp.setblocking(False)
        return udp, tcp
