"""Which servers are asked: those that the settings name, or the authoritative ones of each name."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import dns.name
import dns.rdatatype
import structlog

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.dns.concurrency import first_of, most_of
from router.dns.delegation import Delegation
from router.dns.query_budget import QueryBudget, Server
from router.dns.server_reply import Kind, ServerReply, failed
from router.dns.views import BOGUS, Step, View, compare
from router.dns.walk import NoRootError, Walk, says_something
from router.domains.lookup import RecordType

_RETRY_ROOTS_AFTER = 60.0  # seconds without walks, after no root has answered
_MAX_RESOLVERS = 2  # of the system's that are asked, one after the other

_log = structlog.get_logger("router.dns")


class Source(Protocol):
    """Finds out about one name. Raises nothing."""

    async def find(self, queries: QueryBudget, name: dns.name.Name, wanted: RecordType, *, fresh: bool) -> Step: ...

    async def delegation(self, queries: QueryBudget, zone: dns.name.Name) -> Delegation:
        """To whom the zone is delegated now."""


class Configured:
    """The servers of the setting DNS_SERVERS: all of them are asked, and compared."""

    def __init__(self, servers: Sequence[Server], tasks: Tasks, *, grace: float) -> None:
        """`grace` is for how many seconds the others are waited for when one server has answered."""
        self._servers = servers
        self._tasks = tasks
        self._grace = grace

    async def find(self, queries: QueryBudget, name: dns.name.Name, wanted: RecordType, *, fresh: bool) -> Step:  # noqa: ARG002  # their memory is theirs
        kind = dns.rdatatype.from_text(wanted)
        work = [queries.recursive(server, name, kind) for server in self._servers]
        came = await most_of(self._tasks, "ask a server", work, says_something, self._grace)
        replies = [failed("timeout") if reply is None else reply for reply in came]
        return compare(wanted, [View(server.name, said) for server, said in zip(self._servers, replies, strict=True)])

    async def delegation(self, queries: QueryBudget, zone: dns.name.Name) -> Delegation:
        """As the first of them knows it that knows anything."""
        work = [queries.recursive(server, zone, dns.rdatatype.NS) for server in self._servers]
        reply = await first_of(self._tasks, "ask a server", work, says_something) or failed("timeout")
        if not says_something(reply):
            return Delegation(reason=reply.reason, of_parent=False)
        names = reply.values if reply.kind is Kind.FOUND else ()
        return Delegation(servers=dict.fromkeys(names, ()), of_parent=False)


class Authoritative:
    """The authoritative servers of each name, and beside them a resolver of the system's, which may validate.

    Authoritative servers sign and do not validate. A validating resolver tells whether clients that validate get an answer:
    what it calls bogus is unknown here too, whatever the servers themselves say. Beyond that its answers count only while
    no root server answers.
    """

    def __init__(self, walk: Walk, resolvers: Sequence[Server], tasks: Tasks, clock: Clock, *, grace: float) -> None:
        self._walk = walk
        self._resolvers = resolvers[:_MAX_RESOLVERS]
        self._tasks = tasks
        self._clock = clock
        self._grace = grace
        self._no_walk_before = clock.monotonic()

    async def find(self, queries: QueryBudget, name: dns.name.Name, wanted: RecordType, *, fresh: bool) -> Step:
        kind = dns.rdatatype.from_text(wanted)
        checking = self._tasks.start("check signatures", self._resolve(queries, name, kind))
        try:
            views = await self._walked(queries, name, kind, fresh=fresh)
            if views is None:
                return compare(wanted, [await checking])
            await asyncio.wait([checking], timeout=self._grace)
            if checking.done() and checking.result().reply.reason == BOGUS:
                views = [*views, checking.result()]
            return compare(wanted, views)
        finally:
            checking.cancel()

    async def delegation(self, queries: QueryBudget, zone: dns.name.Name) -> Delegation:
        """As the parent zone's servers say."""
        return await self._walk.delegation(queries, zone)

    async def _walked(
        self, queries: QueryBudget, name: dns.name.Name, kind: dns.rdatatype.RdataType, *, fresh: bool
    ) -> list[View] | None:
        """What the authoritative servers say; None where the network does not let us ask them."""
        if self._clock.monotonic() < self._no_walk_before:
            return None
        try:
            return await self._walk.ask_all(queries, name, kind, fresh=fresh)
        except NoRootError as error:
            if queries.is_over:
                return [View("root", failed("timeout"))]
            if self._clock.monotonic() >= self._no_walk_before:  # else another search has found that out meanwhile
                _log.warning("no root server answers: the system's resolvers are believed for now", reason=str(error))
                self._no_walk_before = self._clock.monotonic() + _RETRY_ROOTS_AFTER
            return None

    async def _resolve(self, queries: QueryBudget, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> View:
        """What the first resolver says that answers at all."""
        view = View("resolver", failed("no_servers"))
        for resolver in self._resolvers:
            view = View(resolver.name, await queries.recursive(resolver, name, kind))
            if not _is_silent(view.reply):
                break
        return view


def _is_silent(reply: ServerReply) -> bool:
    return reply.reason in ("timeout", "unreachable", "bad_answer")
