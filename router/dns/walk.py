"""The walk from the root to those who are in charge of a name, and what each of them says.

A server of a zone answers, or refers us to a zone further down towards the name; where nobody refers any further, that
zone's servers are in charge, and every one of them is asked. What a parent says counts for who they are: it is what
everybody else who comes from above follows. A zone that shares its servers with the one above shows in their answers.

On the way, one server's word is enough: two are asked at a time, and the first that answers is followed. Servers whose
addresses the referral does not tell are looked for in the same way, a few levels deep; those that can only be found
through themselves are not found. Each referral leads further down, so none leads in circles, and one search may send so
many queries and no more: nobody makes us flood somebody else with names of servers that are not there.

What the root says is kept for an hour: top-level domains are no customer's to change. Anything else is kept for a
minute at most, and a fresh look forgets it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.rdatatype

from router.addresses import is_public
from router.clock import Clock
from router.dns.inquiry import Inquiry, Server
from router.dns.reading import MAX_SERVERS, Kind, Reading, Referral, failed, first_addresses, name_text
from router.dns.remembered import Remembered
from router.dns.roots import ROOTS
from router.dns.together import all_of, first_of, most_of
from router.dns.views import View
from router.tasks import Tasks

PORT = 53
MOST_REFERRALS = 16  # of one walk
DEEPEST = 3  # a server's address, the address of one of its zone's servers, and once more
_LONGEST_TOP = 3600.0  # seconds that top-level domains' servers are kept
LONGEST = 60.0  # seconds that anything else is remembered
_MOST_ZONES = 10_000
_AT_ONCE = 2  # servers on the way
_MOST_TRIES = 8  # of them
_OF_A_TOP = 2  # servers of a top-level domain whose answers are compared; their operators keep them in step

Hints = Sequence[tuple[str, Sequence[str]]]


class NoRootError(Exception):
    """No root server says anything: most likely the network lets no query out."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone and its servers: their names with what addresses were told."""

    name: dns.name.Name
    servers: tuple[tuple[dns.name.Name, tuple[str, ...]], ...]

    @property
    def is_top(self) -> bool:
        """Whether it is the root or a top-level domain."""
        return len(self.name) <= 2


class Walk:
    """What walks have in common: the roots, which addresses are asked, and what is kept of zones and servers."""

    def __init__(
        self,
        clock: Clock,
        tasks: Tasks,
        *,
        roots: Hints = ROOTS,
        allowed: Callable[[str], bool] = is_public,
        port: int = PORT,
        patience: float,
    ) -> None:
        """`patience` is for how many seconds the others are waited for when one server has answered."""
        self._tasks = tasks
        self._allowed = allowed
        self._port = port
        self._patience = patience
        servers = tuple((dns.name.from_text(name), tuple(addresses)) for name, addresses in roots)
        self._root = Zone(dns.name.root, servers)
        self._zones = Remembered[dns.name.Name, Zone](clock, _MOST_ZONES)
        self._addresses = Remembered[dns.name.Name, tuple[str, ...]](clock, _MOST_ZONES)

    async def ask_all(
        self, inquiry: Inquiry, name: dns.name.Name, wanted: dns.rdatatype.RdataType, *, fresh: bool
    ) -> list[View]:
        """What each server says that is in charge of the name. Raises NoRootError where no root says anything."""
        zone, reading = await self._descend(inquiry, name, wanted, fresh=fresh)
        if zone.name == dns.name.root and not says_something(reading):
            raise NoRootError(reading.reason or "")
        for _ in range(MOST_REFERRALS):
            if reading.cut is not None:
                zone = await self._cut(inquiry, zone, reading.cut, fresh=fresh) or zone
            views = await self._ask_servers(inquiry, zone, name, wanted, fresh=fresh)
            further = next((view.reading for view in views if view.reading.referral is not None), None)
            if further is None or further.referral is None:
                return views
            zone, reading = self._enter(further.referral), further
        return [View(name_text(zone.name), failed("too_many_referrals"))]

    async def _descend(
        self, inquiry: Inquiry, name: dns.name.Name, wanted: dns.rdatatype.RdataType, *, fresh: bool, depth: int = 0
    ) -> tuple[Zone, Reading]:
        """The zone that the name is in, as far as it was found, and what its first server said."""
        zone = self._nearest(name, fresh=fresh)
        for _ in range(MOST_REFERRALS):
            reading = await self._ask_first(inquiry, zone, name, wanted, fresh=fresh, depth=depth)
            if reading.referral is None:
                return zone, reading
            zone = self._enter(reading.referral)
        return zone, failed("too_many_referrals")

    def _nearest(self, name: dns.name.Name, *, fresh: bool) -> Zone:
        """The zone furthest down towards the name that is known; what a customer may have changed is not, when fresh."""
        while name != dns.name.root:
            zone = self._zones.get(name)
            if zone is not None and (zone.is_top or not fresh):
                return zone
            name = name.parent()
        return self._root

    def _enter(self, referral: Referral) -> Zone:
        zone = Zone(referral.zone, tuple(referral.servers.items()))
        self._zones.put(zone.name, zone, min(referral.ttl, _LONGEST_TOP if zone.is_top else LONGEST))
        return zone

    async def _cut(self, inquiry: Inquiry, zone: Zone, cut: dns.name.Name, *, fresh: bool) -> Zone | None:
        """The zone of that name, whose answers the servers of the one above have given themselves."""
        reading = await self._ask_first(inquiry, zone, cut, dns.rdatatype.NS, fresh=fresh, depth=0)
        if reading.kind is not Kind.FOUND:
            return None
        known = dict(zone.servers)

        async def told(host: dns.name.Name) -> tuple[str, ...]:
            if host in known or not host.is_subdomain(cut):
                return known.get(host, ())
            # It is in the zone that it serves: the servers above have its address, as they have everything of it.
            own = await self._ask_first(inquiry, zone, host, dns.rdatatype.A, fresh=fresh, depth=0)
            return first_addresses(own.values) if own.kind is Kind.FOUND else ()

        hosts = [dns.name.from_text(f"{host}.") for host in reading.values[:MAX_SERVERS]]
        addresses = await all_of(self._tasks, "ask for a server", [told(host) for host in hosts])
        return Zone(cut, tuple(zip(hosts, addresses, strict=True)))

    async def _ask_servers(
        self, inquiry: Inquiry, zone: Zone, name: dns.name.Name, wanted: dns.rdatatype.RdataType, *, fresh: bool
    ) -> list[View]:
        hosts = zone.servers[:_OF_A_TOP] if zone.is_top else zone.servers
        shown = {host: name_text(host) for host, _ in hosts}

        async def ask(host: dns.name.Name, told: tuple[str, ...]) -> Reading:
            server = await self._server(inquiry, zone, host, told, fresh=fresh, depth=0)
            if server.addresses:
                shown[host] = f"{server.name} ({server.addresses[0][0]})"
            return await inquiry.authoritative(server, name, wanted, zone.name)

        work = [ask(host, told) for host, told in hosts]
        came = await most_of(self._tasks, "ask a server", work, says_something, self._patience)
        return [
            View(shown[host], failed("timeout") if reading is None else reading)
            for (host, _), reading in zip(hosts, came, strict=True)
        ]

    async def _ask_first(
        self,
        inquiry: Inquiry,
        zone: Zone,
        name: dns.name.Name,
        wanted: dns.rdatatype.RdataType,
        *,
        fresh: bool,
        depth: int,
    ) -> Reading:
        """What the first of the zone's servers says that says anything."""

        async def ask(host: dns.name.Name, told: tuple[str, ...]) -> Reading:
            server = await self._server(inquiry, zone, host, told, fresh=fresh, depth=depth)
            return await inquiry.authoritative(server, name, wanted, zone.name)

        # Those whose addresses are known first; in which order beyond that is nobody's to choose.
        order = random.sample(zone.servers, len(zone.servers))
        order.sort(key=lambda server: not server[1])
        reading = failed("no_address")
        for place in range(0, min(len(order), _MOST_TRIES), _AT_ONCE):
            work = [ask(host, told) for host, told in order[place : place + _AT_ONCE]]
            reading = await first_of(self._tasks, "ask on the way", work, says_something) or reading
            if says_something(reading):
                break
        return reading

    async def _server(
        self,
        inquiry: Inquiry,
        zone: Zone,
        host: dns.name.Name,
        told: tuple[str, ...],
        *,
        fresh: bool,
        depth: int,
    ) -> Server:
        """A server of the zone, with those of its addresses that may be asked."""
        addresses = told or await self._find(inquiry, zone, host, fresh=fresh, depth=depth)
        allowed = tuple((address, self._port) for address in addresses if self._allowed(address))
        return Server(name_text(host), allowed, "not_global" if addresses else "no_address")

    async def _find(
        self, inquiry: Inquiry, zone: Zone, host: dns.name.Name, *, fresh: bool, depth: int
    ) -> tuple[str, ...]:
        """The addresses of a server, which the referral did not tell."""
        known = None if fresh else self._addresses.get(host)
        if known is not None:
            return known
        if depth >= DEEPEST or host.is_subdomain(zone.name):
            return ()
        for wanted in (dns.rdatatype.A, dns.rdatatype.AAAA):
            _, reading = await self._descend(inquiry, host, wanted, fresh=fresh, depth=depth + 1)
            if reading.kind is Kind.FOUND:
                addresses = first_addresses(reading.values)
                self._addresses.put(host, addresses, min(reading.ttl, LONGEST))
                return addresses
            if reading.kind is not Kind.NODATA:
                break
        return ()


def says_something(reading: Reading) -> bool:
    """Whether the server knew something."""
    return reading.kind is not Kind.FAILED
