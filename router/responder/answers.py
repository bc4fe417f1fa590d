"""What datagrams and connections share: the zone, what the store says, and counting."""

from dataclasses import dataclass

import dns.rcode
import structlog

from router.observe.metrics import Metrics
from router.responder.answering import needs_values, respond
from router.responder.negatives import Negatives
from router.responder.reading import Query, read
from router.responder.screening import Reply, refuse, screen
from router.responder.values import CurrentValues, Snapshot
from router.responder.zone import Zone

_log = structlog.get_logger("router.responder")


@dataclass(frozen=True, slots=True)
class Pending:
    """A query whose answer the store decides about. It came as `wire`."""

    query: Query
    wire: bytes


class Answers:
    """`values` is closed by whoever made it."""

    def __init__(self, zone: Zone, values: CurrentValues, metrics: Metrics) -> None:
        self.values = values
        self._zone = zone
        self._wire = zone.name.to_digestable()
        self._negatives = Negatives(zone)
        self._metrics = metrics

    def first(self, wire: bytes, *, tcp: bool) -> Reply | Pending:
        """The answer, where that needs nothing of the store, or where what it says is known."""
        reply = screen(wire, self._wire)
        if reply is not None:
            return self._counted(reply)
        token = self._negatives.token(wire)
        known = None if token is None else self.values.peek()
        if token is not None and known is not None and known.values is not None:
            negative = self._negatives.answer(wire, token, known.values)
            if negative is not None:
                return self._counted(Reply("nxdomain", negative))
        found = read(wire)
        if isinstance(found, Reply):
            return self._counted(found)
        pending = Pending(found, wire)
        if not needs_values(self._zone, found):
            return self._respond(pending, None, tcp=tcp)
        known = self.values.peek()
        return pending if known is None else self.then(pending, known, tcp=tcp)

    def then(self, pending: Pending, known: Snapshot, *, tcp: bool) -> Reply:
        """The answer, by what the store said."""
        return self._respond(pending, known, tcp=tcp)

    def count(self, result: str) -> None:
        """Count a query that is not answered."""
        self._metrics.count("responder_queries", result)

    def _respond(self, pending: Pending, known: Snapshot | None, *, tcp: bool) -> Reply:
        try:
            reply = respond(self._zone, pending.query, None if known is None else known.values, tcp=tcp)
        except Exception:  # noqa: BLE001 - a bug of ours: the next query still counts
            _log.exception("query could not be answered")
            reply = refuse(pending.wire, "failed", dns.rcode.SERVFAIL)
        return self._counted(reply)

    def _counted(self, reply: Reply) -> Reply:
        self._metrics.count("responder_queries", reply.result)
        return reply
