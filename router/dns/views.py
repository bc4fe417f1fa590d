"""What several servers come to that were asked the same: pure.

    one of them finds the signatures bogus     unknown: a client that validates, as authorities do, gets no answer
    all that know something agree              that
    they differ                                propagating: a change is on its way, or a server was forgotten
    none knows anything                        unknown, for the reason that says most

A server that answers without saying that it is in charge (no AA) is lame beside one that says so. Where none says so, what
they answer holds, with a remark: resolvers believe such servers too.

What each of them says stays beside it, where they are several and not all say the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from router.dns.server_reply import Kind, ServerReply, failed
from router.domains.lookup import MAX_SHOWN, NOT_AUTHORITATIVE, Outcome, RecordType, ServerAnswer

BOGUS = "bogus"

_OUTCOMES = {
    Kind.FOUND: Outcome.FOUND,
    Kind.ALIAS: Outcome.FOUND,
    Kind.NODATA: Outcome.NODATA,
    Kind.NXDOMAIN: Outcome.NXDOMAIN,
}

# Where servers fail in different ways: first what only their owner can mend.
_TELLING = (BOGUS, "servfail", "refused", "lame", "not_global", "no_address")
_LEAST_TELLING = ("bad_answer", "timeout", "unreachable", "too_many_queries")


@dataclass(frozen=True, slots=True)
class View:
    """What one server says. `server` is as people know it."""

    server: str
    reply: ServerReply


@dataclass(frozen=True, slots=True)
class Step:
    """An answer to one question about one name, whose alias is not followed: FOUND with the type CNAME.

    `ttl` is for how many seconds it holds; of several servers' the least. `remark` is `not_authoritative` where no server
    said that it is in charge.
    """

    outcome: Outcome
    type: RecordType
    values: tuple[str, ...] = ()
    reason: str | None = None
    errors: tuple[str, ...] = ()
    servers: tuple[ServerAnswer, ...] = ()
    ttl: int = 0
    remark: str | None = None


def unknown(wanted: RecordType, reason: str, errors: tuple[str, ...] = ()) -> Step:
    """Nothing is known, for that reason."""
    return Step(Outcome.UNKNOWN, wanted, reason=reason, errors=errors)


def compare(wanted: RecordType, views: Sequence[View]) -> Step:
    """What the views come to; each is a definitive one or FAILED."""
    sure_of = [view for view in views if view.reply.kind is not Kind.FAILED]
    in_charge = any(view.reply.authoritative for view in sure_of)
    if in_charge:
        views = [view if view.reply.authoritative else replace(view, reply=failed("lame")) for view in views]
    remark = NOT_AUTHORITATIVE if sure_of and not in_charge else None
    said = [_said(wanted, view) for view in views]
    sure = [answer for answer in said if answer.outcome.definitive]
    errors = tuple(dict.fromkeys(error for view in views for error in view.reply.errors))
    same = len({(answer.outcome, answer.type, answer.values, answer.reason) for answer in said}) == 1
    servers = () if same else tuple(replace(answer, values=answer.values[:MAX_SHOWN]) for answer in said)
    reasons = {answer.reason for answer in said if answer.reason is not None}
    if BOGUS in reasons or not sure:
        return Step(Outcome.UNKNOWN, wanted, reason=_most_telling(reasons), errors=errors, servers=servers)
    first = sure[0]
    if any((other.outcome, other.type, other.values) != (first.outcome, first.type, first.values) for other in sure):
        return Step(Outcome.PROPAGATING, wanted, errors=errors, servers=servers, remark=remark)
    ttl = min(view.reply.ttl for view in views if view.reply.kind is not Kind.FAILED)
    return Step(first.outcome, first.type, first.values, errors=errors, servers=servers, ttl=ttl, remark=remark)


def _said(wanted: RecordType, view: View) -> ServerAnswer:
    reply = view.reply
    kind = RecordType.CNAME if reply.kind is Kind.ALIAS else wanted
    outcome = _OUTCOMES.get(reply.kind, Outcome.UNKNOWN)
    return ServerAnswer(view.server, kind, outcome, reply.values, reply.reason)


def _most_telling(reasons: set[str]) -> str:
    ordered = [reason for reason in _TELLING if reason in reasons]
    others = sorted(reasons.difference(_TELLING, _LEAST_TELLING))
    least = [reason for reason in _LEAST_TELLING if reason in reasons]
    return next(iter((*ordered, *others, *least)), "no_servers")
