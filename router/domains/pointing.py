"""Where names lead: whether somebody's DNS sends a name's visitors to us.

A name leads to us where its aliases (CNAME) pass through one of our targets; or, where they don't, where it has
addresses and every one of them is a target's. The second is what an apex has, which may not be an alias (RFC 1034
§3.6.2): its provider copies the target's addresses. Any other address would get a part of the visitors, so one stray
AAAA makes the whole wrong.

Where the servers of a name differ, each of them is judged by itself: if all of them send visitors to us, or none does,
that is what holds. Else a change is still on its way to some of them, and nothing is concluded; and neither where one of
them has an alias that is not one of our targets, since an alias that only some servers have is not followed.

All names are followed in step, so that a check takes as many rounds as the longest chain has aliases.
"""

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType, ServerAnswer

MAX_ALIASES = 8  # resolvers follow between 8 and 16; customers need two
MAX_OBSERVED = 16  # what a stranger's server sends is shown and stored
DIFFERING = "servers_differ"
UNCOMPARED = "our_addresses_missing"  # our targets have no addresses that others could be compared with


class Finding(enum.StrEnum):
    """What a check found out."""

    VALID = "valid"
    MISSING = "missing"
    WRONG = "wrong"
    PROPAGATING = "propagating"  # the servers of the name differ
    UNKNOWN = "unknown"

    @property
    def definitive(self) -> bool:
        """Whether anything may change because of it."""
        return self not in (Finding.PROPAGATING, Finding.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Pointing:
    """Where one name leads. `observed` are the aliases and addresses on the way, `reason` a word on what is wrong.

    `errors` and `servers` are those of the answer that decided.
    """

    name: str
    finding: Finding
    observed: tuple[str, ...] = ()
    reason: str | None = None
    errors: tuple[str, ...] = ()
    servers: tuple[ServerAnswer, ...] = ()


@dataclass(slots=True)
class _Path:
    """A name on its way: the aliases so far, and what came of it once `done`."""

    name: str
    aliases: list[str] = field(default_factory=list)
    done: Pointing | None = None
    at_end: bool = False  # no further alias: its addresses decide

    @property
    def last(self) -> str:
        return self.aliases[-1] if self.aliases else self.name

    def end(
        self,
        finding: Finding,
        reason: str | None = None,
        addresses: Sequence[str] = (),
        *,
        because: Answer | None = None,
    ) -> None:
        observed = (*self.aliases, *addresses)[:MAX_OBSERVED]
        errors, servers = (because.errors, because.servers) if because is not None else ((), ())
        self.done = Pointing(self.name, finding, observed, reason, errors, servers)


async def follow(
    lookup: Lookup, names: Sequence[str], targets: Collection[str], until: float, *, fresh: bool = False
) -> tuple[Pointing, ...]:
    """Where each of `names` leads, in their order. `until` is an instant of the monotonic clock."""
    paths = [_Path(name) for name in names]
    while walking := [path for path in paths if path.done is None and not path.at_end]:
        answers = await lookup.ask([Question(path.last, RecordType.CNAME) for path in walking], until, fresh=fresh)
        for path, answer in zip(walking, answers, strict=True):
            _step(path, answer, targets)
    ended = [path for path in paths if path.done is None]
    if ended:
        await _compare_addresses(lookup, ended, sorted(targets), until, fresh=fresh)
    return tuple(path.done for path in paths if path.done is not None)


def _step(path: _Path, answer: Answer, targets: Collection[str]) -> None:
    if answer.outcome is Outcome.UNKNOWN:
        path.end(Finding.UNKNOWN, answer.reason, because=answer)
    elif answer.outcome is Outcome.PROPAGATING:
        seen = [view.values for view in _answering(answer)]
        path.aliases += sorted({alias for values in seen for alias in values})
        ours = all(len(values) == 1 and values[0] in targets for values in seen)
        path.end(Finding.VALID if ours else Finding.PROPAGATING, None if ours else DIFFERING, because=answer)
    elif answer.outcome is Outcome.NXDOMAIN:
        path.end(Finding.WRONG if path.aliases else Finding.MISSING, "nxdomain", because=answer)
    elif answer.outcome is Outcome.NODATA:
        path.at_end = True
    elif len(answer.values) > 1:
        # A name has one CNAME (RFC 2181 §10.1). With more, visitors go wherever their resolver looks first.
        path.aliases += answer.values
        path.end(Finding.WRONG, "several_aliases", because=answer)
    else:
        alias = answer.values[0]
        loop = alias == path.name or alias in path.aliases
        path.aliases.append(alias)
        if alias in targets:
            path.end(Finding.VALID, because=answer)
        elif loop:
            path.end(Finding.WRONG, "alias_loop", because=answer)
        elif len(path.aliases) >= MAX_ALIASES:
            path.end(Finding.WRONG, "too_many_aliases", because=answer)


async def _compare_addresses(
    lookup: Lookup, paths: Sequence[_Path], targets: Sequence[str], until: float, *, fresh: bool
) -> None:
    """Judge the paths that ended at a name with records of other types."""
    hosts = [*(path.last for path in paths), *targets]
    questions = [Question(host, kind) for host in hosts for kind in (RecordType.A, RecordType.AAAA)]
    answers = await lookup.ask(questions, until, fresh=fresh)
    pairs = [answers[place : place + 2] for place in range(0, len(answers), 2)]
    ours = [answer for pair in pairs[len(paths) :] for answer in pair]
    for path, theirs in zip(paths, pairs[: len(paths)], strict=True):
        _judge(path, theirs, ours)


def _judge(path: _Path, theirs: Sequence[Answer], ours: Sequence[Answer]) -> None:
    known = {address for answer in ours for address in _addresses(answer)}
    addresses = list(dict.fromkeys(address for answer in theirs for address in _addresses(answer)))
    stray = [address for address in addresses if address not in known]
    doubt = next((answer for answer in (ours if stray else theirs) if answer.outcome is Outcome.UNKNOWN), None)
    if doubt is not None:
        path.end(Finding.UNKNOWN, doubt.reason, addresses, because=doubt)
        return
    verdicts = {_verdict(path, seen, known) for seen in _by_server(theirs)}
    because = next((answer for answer in theirs if answer.servers), None)
    finding: Finding
    reason: str | None
    if any(view.type is RecordType.CNAME for answer in theirs for view in _answering(answer)):
        # It had none a moment ago: an alias is on its way.
        finding, reason = Finding.PROPAGATING, DIFFERING
    elif len(verdicts) == 1:
        finding, reason = verdicts.pop()
    elif all(finding in (Finding.WRONG, Finding.MISSING) for finding, _ in verdicts):
        finding, reason = Finding.WRONG, "other_addresses"
    else:
        finding, reason = Finding.PROPAGATING, DIFFERING
    path.end(finding, reason, addresses, because=because)


def _verdict(path: _Path, addresses: Collection[str], known: Collection[str]) -> tuple[Finding, str | None]:
    if any(address not in known for address in addresses):
        return Finding.WRONG, "other_addresses" if known else UNCOMPARED
    if addresses:
        return Finding.VALID, None
    return (Finding.WRONG if path.aliases else Finding.MISSING), "nodata"


def _by_server(answers: Sequence[Answer]) -> list[set[str]]:
    """The addresses that each server has; one set where they agree."""
    differing = [answer for answer in answers if answer.outcome is Outcome.PROPAGATING]
    agreed = {value for answer in answers if answer not in differing for value in answer.values}
    seen: dict[str, set[str]] = {}
    for answer in differing:
        for view in _answering(answer):
            seen.setdefault(view.server, set(agreed)).update(view.values)
    return list(seen.values()) or [agreed]


def _addresses(answer: Answer) -> list[str]:
    views = [view for view in _answering(answer) if view.type is not RecordType.CNAME]
    return [*answer.values, *(address for view in views for address in view.values)]


def _answering(answer: Answer) -> list[ServerAnswer]:
    """What the servers say that differ."""
    if answer.outcome is not Outcome.PROPAGATING:
        return []
    return [view for view in answer.servers if view.outcome.definitive]
