"""The queries of one search: how often a server is asked, which questions never leave, and how many there may be."""

from dataclasses import dataclass
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from router.base.clock import Clock
from router.dns.server_reply import Kind, ServerReply, failed, read
from router.dns.single_flight import Search
from router.dns.transport import PAYLOAD, RESOLVER_CONCURRENCY, SERVER_CONCURRENCY, Address, NoReplyError, Transport
from router.dns.views import BOGUS

MAX_QUERIES = 150  # of one search; a zone of 13 servers that are all in other zones takes about a hundred
_TRIES = 2  # a datagram may be lost

# What servers say that do not understand EDNS; they are asked again without it (RFC 6891 §7), as resolvers do.
_WITHOUT_EDNS = frozenset({dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS})

# Extended errors that say that signatures are the matter (RFC 8914 §4).
_ABOUT_SIGNATURES = frozenset({"1", "2", "5", "6", "7", "8", "9", "10", "11", "12", "25", "27"})


@dataclass(frozen=True, slots=True)
class Server:
    """A server to ask. `name` is as people know it; of several addresses the next is tried where one is silent.

    `absent` says why there is no address, where there is none.
    """

    name: str
    addresses: tuple[Address, ...]
    absent: str = "no_address"


class QueryBudget:
    """Asks servers for one search."""

    def __init__(self, transport: Transport, clock: Clock, search: Search[Any]) -> None:
        self._transport = transport
        self._clock = clock
        self._search = search
        self._left = MAX_QUERIES
        self._said: dict[tuple[Server, dns.name.Name, dns.rdatatype.RdataType, dns.name.Name], ServerReply] = {}

    @property
    def is_over(self) -> bool:
        """Whether the search's time is over."""
        return self._clock.monotonic() >= self._search.until

    async def authoritative(
        self, server: Server, name: dns.name.Name, wanted: dns.rdatatype.RdataType, zone: dns.name.Name
    ) -> ServerReply:
        """What a server of the zone says. The same question is asked once."""
        key = (server, name, wanted, zone)
        said = self._said.get(key)
        if said is None:
            said = self._said[key] = await self._ask(server, name, wanted, flags=0, zone=zone)
        return said

    async def recursive(self, server: Server, name: dns.name.Name, wanted: dns.rdatatype.RdataType) -> ServerReply:
        """What a server of our own choice says.

        One that validates has SERVFAIL for names whose signatures are bogus, as for everything else that it can't
        find out. It is bogus if the same server answers once it is told not to check (CD), and said itself that
        signatures are the matter, or fails again when it checks again: it might have been ill for a moment.
        """
        said = await self._ask(server, name, wanted, flags=dns.flags.RD)
        if said.reason != "servfail":
            return said
        unchecked = await self._ask(server, name, wanted, flags=dns.flags.RD | dns.flags.CD)
        if unchecked.kind is Kind.FAILED:
            return said
        if said.errors:
            about_signatures = any(error.split(" ", 1)[0] in _ABOUT_SIGNATURES for error in said.errors)
            return failed(BOGUS, said.errors) if about_signatures else said
        again = await self._ask(server, name, wanted, flags=dns.flags.RD)
        return failed(BOGUS) if again.reason == "servfail" else again

    async def _ask(
        self,
        server: Server,
        name: dns.name.Name,
        wanted: dns.rdatatype.RdataType,
        *,
        flags: int,
        zone: dns.name.Name | None = None,
    ) -> ServerReply:
        reason = server.absent
        concurrency = RESOLVER_CONCURRENCY if zone is None else SERVER_CONCURRENCY
        tries = server.addresses if len(server.addresses) > 1 else server.addresses * _TRIES
        refusing: set[Address] = set()
        plain: set[Address] = set()  # those that may not understand EDNS
        for address in tries:
            if address in refusing:
                continue
            try:
                reply = await self._query(address, name, wanted, flags, concurrency, edns=address not in plain)
                if reply is not None and address not in plain and reply.rcode() in _WITHOUT_EDNS:
                    reply = await self._query(address, name, wanted, flags, concurrency, edns=False)
            except NoReplyError as error:
                reason = error.reason
                plain.add(address)
                if reason == "unreachable":
                    refusing.add(address)
                continue
            return failed("too_many_queries") if reply is None else read(reply, name, wanted, zone)
        return failed(reason)

    async def _query(
        self,
        address: Address,
        name: dns.name.Name,
        wanted: dns.rdatatype.RdataType,
        flags: int,
        concurrency: int,
        *,
        edns: bool,
    ) -> dns.message.Message | None:
        """One query; None where the search has used up its queries. Raises NoReplyError."""
        if not self._left:
            return None
        self._left -= 1
        query = dns.message.make_query(name, wanted, use_edns=0 if edns else -1, payload=PAYLOAD, flags=flags)
        return await self._transport.send(query, address, self._search.until, concurrency=concurrency)
