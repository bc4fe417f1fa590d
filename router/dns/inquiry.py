"""The queries of one search: how often a server is asked, which questions never leave, and how many there may be."""

from dataclasses import dataclass
from typing import Protocol

import dns.flags
import dns.message
import dns.name
import dns.rdatatype

from router.clock import Clock
from router.dns.reading import Kind, Reading, failed, read
from router.dns.transport import PAYLOAD, Address, NoReplyError, Transport
from router.dns.views import BOGUS

MOST_QUERIES = 150  # of one search; a zone of 13 servers that are all in other zones takes about a hundred
_TRIES = 2  # a datagram may be lost

# Extended errors that say that signatures are the matter (RFC 8914 §4).
_ABOUT_SIGNATURES = frozenset({"1", "2", "5", "6", "7", "8", "9", "10", "11", "12", "25", "27"})


@dataclass(frozen=True, slots=True)
class Server:
    """Somebody to ask. `name` is as people know it; of several addresses the next is tried where one is silent.

    `absent` says why there is no address, where there is none.
    """

    name: str
    addresses: tuple[Address, ...]
    absent: str = "no_address"


class Deadline(Protocol):
    """When a search ends: an instant of the monotonic clock, which may still move on."""

    until: float


class Inquiry:
    """Asks servers for one search."""

    def __init__(self, transport: Transport, clock: Clock, search: Deadline) -> None:
        self._transport = transport
        self._clock = clock
        self._search = search
        self._left = MOST_QUERIES
        self._said: dict[tuple[Server, dns.name.Name, dns.rdatatype.RdataType, dns.name.Name], Reading] = {}

    @property
    def is_over(self) -> bool:
        """Whether the search's time is over."""
        return self._clock.monotonic() >= self._search.until

    async def authoritative(
        self, server: Server, name: dns.name.Name, wanted: dns.rdatatype.RdataType, zone: dns.name.Name
    ) -> Reading:
        """What a server of the zone says. The same question is asked once."""
        key = (server, name, wanted, zone)
        said = self._said.get(key)
        if said is None:
            said = self._said[key] = await self._ask(server, name, wanted, flags=0, zone=zone)
        return said

    async def recursive(self, server: Server, name: dns.name.Name, wanted: dns.rdatatype.RdataType) -> Reading:
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
    ) -> Reading:
        reason = server.absent
        tries = server.addresses if len(server.addresses) > 1 else server.addresses * _TRIES
        refusing: set[Address] = set()
        for address in tries:
            if address in refusing:
                continue
            if not self._left:
                return failed("too_many_queries")
            self._left -= 1
            query = dns.message.make_query(name, wanted, use_edns=0, payload=PAYLOAD, flags=flags)
            try:
                reply = await self._transport.send(query, address, self._search.until)
            except NoReplyError as error:
                reason = error.reason
                if reason == "unreachable":
                    refusing.add(address)
                continue
            return read(reply, name, wanted, zone)
        return failed(reason)
