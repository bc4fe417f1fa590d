"""Who is asked: the servers that the settings name, or those who are in charge of each name."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import dns.name
import dns.rdatatype
import structlog

from router.clock import Clock
from router.dns.inquiry import Inquiry, Server
from router.dns.reading import Reading, failed
from router.dns.together import most_of
from router.dns.views import BOGUS, Step, View, compare
from router.dns.walk import NoRootError, Walk, says_something
from router.domains.lookup import RecordType
from router.tasks import Tasks

_PAUSE = 60.0  # seconds without walks, after no root has answered
_MOST_RESOLVERS = 2  # of the system's that are asked, one after the other

_log = structlog.get_logger("router.dns")


class Source(Protocol):
    """Finds out about one name. Raises nothing."""

    async def find(self, inquiry: Inquiry, name: dns.name.Name, wanted: RecordType, *, fresh: bool) -> Step: ...


class Configured:
    """The servers that somebody chose for us: all of them are asked, and compared."""

    def __init__(self, servers: Sequence[Server], tasks: Tasks, *, patience: float) -> None:
        """`patience` is for how many seconds the others are waited for when one server has answered."""
        self._servers = servers
        self._tasks = tasks
        self._patience = patience

    async def find(self, inquiry: Inquiry, name: dns.name.Name, wanted: RecordType, *, fresh: bool) -> Step:  # noqa: ARG002  # their memory is theirs
        kind = dns.rdatatype.from_text(wanted)
        work = [inquiry.recursive(server, name, kind) for server in self._servers]
        came = await most_of(self._tasks, "ask a server", work, says_something, self._patience)
        readings = [failed("timeout") if reading is None else reading for reading in came]
        return compare(wanted, [View(server.name, said) for server, said in zip(self._servers, readings, strict=True)])


class InCharge:
    """The servers in charge of each name, and beside them a resolver of the system's, which may validate.

    Servers in charge sign, they don't check. A resolver that does check tells whether anybody who checks gets an answer:
    what it calls bogus is unknown here too, whatever the servers themselves say. Beyond that its word counts only while
    no root server answers.
    """

    def __init__(self, walk: Walk, resolvers: Sequence[Server], tasks: Tasks, clock: Clock, *, patience: float) -> None:
        self._walk = walk
        self._resolvers = resolvers[:_MOST_RESOLVERS]
        self._tasks = tasks
        self._clock = clock
        self._patience = patience
        self._no_walk_before = clock.monotonic()

    async def find(self, inquiry: Inquiry, name: dns.name.Name, wanted: RecordType, *, fresh: bool) -> Step:
        kind = dns.rdatatype.from_text(wanted)
        checking = self._tasks.start("check signatures", self._resolve(inquiry, name, kind))
        try:
            views = await self._walked(inquiry, name, kind, fresh=fresh)
            if views is None:
                return compare(wanted, [await checking])
            await asyncio.wait([checking], timeout=self._patience)
            if checking.done() and checking.result().reading.reason == BOGUS:
                views = [*views, checking.result()]
            return compare(wanted, views)
        finally:
            checking.cancel()

    async def _walked(
        self, inquiry: Inquiry, name: dns.name.Name, kind: dns.rdatatype.RdataType, *, fresh: bool
    ) -> list[View] | None:
        """What those in charge say; None where the way to them is closed."""
        if self._clock.monotonic() < self._no_walk_before:
            return None
        try:
            return await self._walk.ask_all(inquiry, name, kind, fresh=fresh)
        except NoRootError as error:
            if inquiry.is_over:
                return [View("root", failed("timeout"))]
            _log.warning("no root server answers: the system's resolvers are believed for now", reason=str(error))
            self._no_walk_before = self._clock.monotonic() + _PAUSE
            return None

    async def _resolve(self, inquiry: Inquiry, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> View:
        """What the first resolver says that answers at all."""
        view = View("resolver", failed("no_servers"))
        for resolver in self._resolvers:
            view = View(resolver.name, await inquiry.recursive(resolver, name, kind))
            if not _is_silent(view.reading):
                break
        return view


def _is_silent(reading: Reading) -> bool:
    return reading.reason in ("timeout", "unreachable", "bad_answer")
