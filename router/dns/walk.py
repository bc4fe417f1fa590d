"""The walk from the root to the authoritative servers of a name, and what each of them says.

A server of a zone answers, or refers to a zone further down towards the name. Where no server refers any further, that
zone's servers are authoritative, and every one of them is asked. Which servers these are is taken from the parent's
referral, as resolvers do. A zone on the same servers as its parent shows in their answers.

On the way, one server's reply is enough: two are asked at a time, and the first reply is followed. Servers whose addresses
are not in the referral are searched in the same way, a few levels deep; servers that can only be found through themselves
are not found. Each referral leads further down, so none leads in circles, and a search has a maximum of queries, so that
invented server names can't make us flood other people's servers.

What the root says is kept for an hour, since customers can't change top-level domains. Anything else is kept for a minute
at most, and a `fresh` question ignores it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.rdatatype

from router.base.addresses import is_public
from router.base.clock import Clock
from router.base.tasks import Tasks
from router.dns.concurrency import all_of, first_of, most_of
from router.dns.delegation import Delegation
from router.dns.query_budget import QueryBudget, Server
from router.dns.roots import ROOTS
from router.dns.server_reply import MAX_SERVERS, Kind, Referral, ServerReply, failed, first_addresses, name_text
from router.dns.ttl_cache import TtlCache
from router.dns.views import View

PORT = 53
MAX_REFERRALS = 16  # of one walk
MAX_DEPTH = 3  # a server's address, the address of one of its zone's servers, and once more
_MAX_TTL_OF_TOP = 3600.0  # seconds that top-level domains' servers are kept
MAX_TTL = 60.0  # seconds that anything else is remembered
_MAX_ZONES = 10_000
_CONCURRENCY = 2  # servers on the way
_MAX_TRIES = 8  # of them
_OF_A_TOP = 2  # servers of a top-level domain whose answers are compared; their operators keep them in step

Hints = Sequence[tuple[str, Sequence[str]]]


class NoRootError(Exception):
    """No root server answers: most likely the network lets no query out."""


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
        grace: float,
    ) -> None:
        """`grace` is for how many seconds the others are waited for when one server has answered."""
        self._tasks = tasks
        self._allowed = allowed
        self._port = port
        self._grace = grace
        servers = tuple((dns.name.from_text(name), tuple(addresses)) for name, addresses in roots)
        self._root = Zone(dns.name.root, servers)
        self._zones = TtlCache[dns.name.Name, Zone](clock, _MAX_ZONES)
        self._addresses = TtlCache[dns.name.Name, tuple[str, ...]](clock, _MAX_ZONES)

    async def ask_all(
        self, queries: QueryBudget, name: dns.name.Name, wanted: dns.rdatatype.RdataType, *, fresh: bool
    ) -> list[View]:
        """What each server says that is in charge of the name. Raises NoRootError where no root says anything."""
        zone, reply = await self._descend(queries, name, wanted, fresh=fresh)
        if zone.name == dns.name.root and not says_something(reply):
            raise NoRootError(reply.reason or "")
        for _ in range(MAX_REFERRALS):
            if reply.cut is not None:
                zone = await self._cut(queries, zone, reply.cut, fresh=fresh) or zone
            views = await self._ask_servers(queries, zone, name, wanted, fresh=fresh)
            further = next((view.reply for view in views if view.reply.referral is not None), None)
            if further is None or further.referral is None:
                return views
            zone, reply = self._enter(further.referral), further
        return [View(name_text(zone.name), failed("too_many_referrals"))]

    async def delegation(self, queries: QueryBudget, name: dns.name.Name) -> Delegation:
        """To whom the zone of that name is delegated by the one above, whether or not its servers answer."""
        zone, reply = await self._descend(queries, name, dns.rdatatype.NS, fresh=True)
        if zone.name == name:
            return Delegation(servers={name_text(host): addresses for host, addresses in zone.servers})
        if reply.kind is Kind.FOUND:  # the same servers have both zones
            return Delegation(servers=dict.fromkeys(reply.values, ()))
        return Delegation(reason=None if says_something(reply) else reply.reason)

    async def _descend(
        self, queries: QueryBudget, name: dns.name.Name, wanted: dns.rdatatype.RdataType, *, fresh: bool, depth: int = 0
    ) -> tuple[Zone, ServerReply]:
        """The zone that the name is in, as far as it was found, and what its first server said."""
        zone = self._nearest(name, fresh=fresh)
        for _ in range(MAX_REFERRALS):
            reply = await self._ask_first(queries, zone, name, wanted, fresh=fresh, depth=depth)
            if reply.referral is None:
                return zone, reply
            zone = self._enter(reply.referral)
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
        self._zones.put(zone.name, zone, min(referral.ttl, _MAX_TTL_OF_TOP if zone.is_top else MAX_TTL))
        return zone

    async def _cut(self, queries: QueryBudget, zone: Zone, cut: dns.name.Name, *, fresh: bool) -> Zone | None:
        """The zone of that name, whose answers the servers of the one above have given themselves."""
        reply = await self._ask_first(queries, zone, cut, dns.rdatatype.NS, fresh=fresh, depth=0)
        if reply.kind is not Kind.FOUND:
            return None
        known = dict(zone.servers)

        async def told(host: dns.name.Name) -> tuple[str, ...]:
            if host in known or not host.is_subdomain(cut):
                return known.get(host, ())
            # It is in the zone that it serves: the servers above have its address, as they have everything of it.
            own = await self._ask_first(queries, zone, host, dns.rdatatype.A, fresh=fresh, depth=0)
            return first_addresses(own.values) if own.kind is Kind.FOUND else ()

        hosts = [dns.name.from_text(f"{host}.") for host in reply.values[:MAX_SERVERS]]
        addresses = await all_of(self._tasks, "ask for a server", [told(host) for host in hosts])
        return Zone(cut, tuple(zip(hosts, addresses, strict=True)))

    async def _ask_servers(
        self, queries: QueryBudget, zone: Zone, name: dns.name.Name, wanted: dns.rdatatype.RdataType, *, fresh: bool
    ) -> list[View]:
        hosts = zone.servers[:_OF_A_TOP] if zone.is_top else zone.servers
        shown = {host: name_text(host) for host, _ in hosts}

        async def ask(host: dns.name.Name, told: tuple[str, ...]) -> ServerReply:
            server = await self._server(queries, zone, host, told, fresh=fresh, depth=0)
            if server.addresses:
                shown[host] = f"{server.name} ({server.addresses[0][0]})"
            return await queries.authoritative(server, name, wanted, zone.name)

        work = [ask(host, told) for host, told in hosts]
        came = await most_of(self._tasks, "ask a server", work, says_something, self._grace)
        return [
            View(shown[host], failed("timeout") if reply is None else reply)
            for (host, _), reply in zip(hosts, came, strict=True)
        ]

    async def _ask_first(
        self,
        queries: QueryBudget,
        zone: Zone,
        name: dns.name.Name,
        wanted: dns.rdatatype.RdataType,
        *,
        fresh: bool,
        depth: int,
    ) -> ServerReply:
        """What the first of the zone's servers says that says anything."""

        async def ask(host: dns.name.Name, told: tuple[str, ...]) -> ServerReply:
            server = await self._server(queries, zone, host, told, fresh=fresh, depth=depth)
            return await queries.authoritative(server, name, wanted, zone.name)

        # Those whose addresses are known first, beyond that in random order, which no zone can choose.
        order = random.sample(zone.servers, len(zone.servers))
        order.sort(key=lambda server: not server[1])
        reply = failed("no_address")
        for place in range(0, min(len(order), _MAX_TRIES), _CONCURRENCY):
            work = [ask(host, told) for host, told in order[place : place + _CONCURRENCY]]
            reply = await first_of(self._tasks, "ask on the way", work, says_something) or reply
            if says_something(reply):
                break
        return reply

    async def _server(
        self,
        queries: QueryBudget,
        zone: Zone,
        host: dns.name.Name,
        told: tuple[str, ...],
        *,
        fresh: bool,
        depth: int,
    ) -> Server:
        """A server of the zone, with those of its addresses that may be asked."""
        addresses = told or await self._find(queries, zone, host, fresh=fresh, depth=depth)
        allowed = tuple((address, self._port) for address in addresses if self._allowed(address))
        return Server(name_text(host), allowed, "not_global" if addresses else "no_address")

    async def _find(
        self, queries: QueryBudget, zone: Zone, host: dns.name.Name, *, fresh: bool, depth: int
    ) -> tuple[str, ...]:
        """The addresses of a server, which the referral did not tell."""
        known = None if fresh else self._addresses.get(host)
        if known is not None:
            return known
        if depth >= MAX_DEPTH or host.is_subdomain(zone.name):
            return ()
        for wanted in (dns.rdatatype.A, dns.rdatatype.AAAA):
            _, reply = await self._descend(queries, host, wanted, fresh=fresh, depth=depth + 1)
            if reply.kind is Kind.FOUND:
                addresses = first_addresses(reply.values)
                self._addresses.put(host, addresses, min(reply.ttl, MAX_TTL))
                return addresses
            if reply.kind is not Kind.NODATA:
                break
        return ()


def says_something(reply: ServerReply) -> bool:
    """Whether the server knew something."""
    return reply.kind is not Kind.FAILED
