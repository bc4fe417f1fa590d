"""Where names lead: whether DNS sends a name's visitors to us.

A name leads to us where its aliases (CNAME) pass through one of our targets, or through one registration's own below it
(`targets.py`); or, where they don't, where it has
addresses and every one of them is a target's. The second is what an apex has, which may not be an alias (RFC 1034
§3.6.2): its provider copies the target's addresses. Any other address would get a part of the visitors, so one stray
AAAA makes the whole wrong. So does an HTTPS record that sends browsers elsewhere (`bindings.py`), of which servers that fail
for the type say nothing.

Where the servers of a name differ, each of them is judged by itself: if all of them send visitors to us, or none does,
that is what holds. Else a change is still on its way to some of them, and nothing is concluded; and neither where one of
them has an alias that is not one of our targets, since an alias that only some servers have is not followed.

All names are followed in step, so that a check takes as many rounds as the longest chain has aliases.
"""

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from router.domains.checks.bindings import Binding, leads_away, read
from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType, ServerAnswer
from router.domains.targets import is_target

MAX_ALIASES = 8  # resolvers follow between 8 and 16; customers need two
MAX_OBSERVED = 16  # what a stranger's server sends is shown and stored
DIFFERING = "servers_differ"
LAME = "lame"
BOGUS = "bogus"  # signatures are wrong
BINDING = "https_record_elsewhere"  # its HTTPS record sends visitors to where its addresses don't
UNCOMPARED = "our_addresses_missing"  # our targets have no addresses that others could be compared with


class CheckResult(enum.StrEnum):
    """What a check found out."""

    VALID = "valid"
    MISSING = "missing"
    WRONG = "wrong"
    PROPAGATING = "propagating"  # the servers of the name differ
    UNKNOWN = "unknown"

    @property
    def definitive(self) -> bool:
        """Whether anything may change because of it."""
        return self not in (CheckResult.PROPAGATING, CheckResult.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Pointing:
    """Where one name leads. `observed` are the aliases and addresses on the way, `reason` a word on what is wrong.

    `bindings` are its HTTPS records that lead elsewhere, where its addresses are ours; `remark` is an Answer's.
    `errors` and `servers` are those of the answer that decided. `ends` are the targets of ours that its aliases pass
    through: several where its servers differ, none where its addresses are ours. `stray` are its addresses that are not ours, where
    others of it are.
    """

    name: str
    result: CheckResult
    observed: tuple[str, ...] = ()
    reason: str | None = None
    errors: tuple[str, ...] = ()
    servers: tuple[ServerAnswer, ...] = ()
    ends: tuple[str, ...] = ()
    stray: tuple[str, ...] = ()
    bindings: tuple[str, ...] = ()
    remark: str | None = None

    @property
    def last(self) -> str:
        """The name at the end of its aliases, whose addresses count."""
        aliases = [step for step in self.observed if ":" not in step and not step.rpartition(".")[2].isdigit()]
        return aliases[-1] if aliases else self.name


@dataclass(slots=True)
class _Path:
    """A name on its way: the aliases so far, and what came of it once `done`."""

    name: str
    aliases: list[str] = field(default_factory=list)
    done: Pointing | None = None
    at_end: bool = False  # no further alias: its addresses decide
    remark: str | None = None
    doubt: Answer | None = None  # nobody says whether it is an alias; only addresses of ours may settle that

    @property
    def last(self) -> str:
        return self.aliases[-1] if self.aliases else self.name

    def end(
        self,
        result: CheckResult,
        reason: str | None = None,
        addresses: Sequence[str] = (),
        *,
        because: Answer | None = None,
        ends: Collection[str] = (),
        stray: Collection[str] = (),
    ) -> None:
        observed = (*self.aliases, *addresses)[:MAX_OBSERVED]
        errors, servers = (because.errors, because.servers) if because is not None else ((), ())
        self.done = Pointing(
            self.name, result, observed, reason, errors, servers, tuple(sorted(ends)), tuple(stray), remark=self.remark
        )


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
    path.remark = path.remark or answer.remark
    if answer.outcome is Outcome.UNKNOWN and answer.reason == LAME:
        # Servers that forget to say that they are in charge (AA) have nothing to say of a type that is not there.
        path.doubt, path.at_end = answer, True
    elif answer.outcome is Outcome.UNKNOWN:
        path.end(CheckResult.UNKNOWN, answer.reason, because=answer)
    elif answer.outcome is Outcome.PROPAGATING:
        seen = [view.values for view in _answering(answer)]
        path.aliases += sorted({alias for values in seen for alias in values})
        if all(len(values) == 1 and is_target(values[0], targets) for values in seen):
            path.end(CheckResult.VALID, because=answer, ends={values[0] for values in seen})
        else:
            path.end(CheckResult.PROPAGATING, DIFFERING, because=answer)
    elif answer.outcome is Outcome.NXDOMAIN:
        path.end(CheckResult.WRONG if path.aliases else CheckResult.MISSING, "nxdomain", because=answer)
    elif answer.outcome is Outcome.NODATA:
        path.at_end = True
    elif len(answer.values) > 1:
        # A name has one CNAME (RFC 2181 §10.1). With more, resolvers choose one of them.
        path.aliases += answer.values
        path.end(CheckResult.WRONG, "several_aliases", because=answer)
    else:
        alias = answer.values[0]
        loop = alias == path.name or alias in path.aliases
        path.aliases.append(alias)
        if is_target(alias, targets):
            path.end(CheckResult.VALID, because=answer, ends=[alias])
        elif loop:
            path.end(CheckResult.WRONG, "alias_loop", because=answer)
        elif len(path.aliases) >= MAX_ALIASES:
            path.end(CheckResult.WRONG, "too_many_aliases", because=answer)


async def _compare_addresses(
    lookup: Lookup, paths: Sequence[_Path], targets: Sequence[str], until: float, *, fresh: bool
) -> None:
    """Judge the paths that ended at a name with records of other types."""
    hosts = [*(path.last for path in paths), *targets]
    questions = [Question(host, kind) for host in hosts for kind in (RecordType.A, RecordType.AAAA)]
    questions += [Question(path.last, RecordType.HTTPS) for path in paths]
    answers = await lookup.ask(questions, until, fresh=fresh)
    pairs = [answers[place : place + 2] for place in range(0, 2 * len(hosts), 2)]
    ours = [answer for pair in pairs[len(paths) :] for answer in pair]
    for path, theirs in zip(paths, pairs[: len(paths)], strict=True):
        _judge(path, theirs, ours)
    known = {address for answer in ours for address in _addresses(answer)}
    bound = [(path, _bindings(path, answer)) for path, answer in zip(paths, answers[2 * len(hosts) :], strict=True)]
    strange = await _strange(lookup, [one for _, found in bound for one in found], targets, known, until, fresh=fresh)
    for path, bindings in bound:
        away = tuple(one.text for one in bindings if leads_away(one, known, strange))
        if away and path.done is not None:
            path.done = replace(path.done, result=CheckResult.WRONG, reason=BINDING, bindings=away)


def _bindings(path: _Path, answer: Answer) -> list[Binding]:
    """The HTTPS records of a name whose addresses are ours; those at the end of an alias are that name's, or ours."""
    if path.done is None or path.done.result is not CheckResult.VALID or answer.aliases:
        return []
    return [binding for value in answer.values if (binding := read(value, path.last)) is not None]


async def _strange(
    lookup: Lookup,
    bindings: Sequence[Binding],
    targets: Collection[str],
    known: Collection[str],
    until: float,
    *,
    fresh: bool,
) -> set[str]:
    """The names that HTTPS records lead to, and that are neither ours nor have our addresses. Not knowing is no fault."""
    named = sorted({one.target for one in bindings if one.target is not None and not is_target(one.target, targets)})
    if not named:
        return set()
    questions = [Question(name, kind) for name in named for kind in (RecordType.A, RecordType.AAAA)]
    answers = await lookup.ask(questions, until, fresh=fresh)
    strange = set()
    for place, name in enumerate(named):
        pair = answers[2 * place : 2 * place + 2]
        ends = [alias for answer in pair for alias in answer.aliases]
        addresses = {address for answer in pair for address in _addresses(answer)}
        sure = all(answer.outcome.definitive for answer in pair)
        ours = any(is_target(alias, targets) for alias in ends) or (bool(addresses) and addresses <= set(known))
        if not ours and (sure or addresses - set(known)):
            strange.add(name)
    return strange


def _judge(path: _Path, theirs: Sequence[Answer], ours: Sequence[Answer]) -> None:
    path.remark = path.remark or theirs[0].remark
    known = {address for answer in ours for address in _addresses(answer)}
    addresses = list(dict.fromkeys(address for answer in theirs for address in _addresses(answer)))
    stray = [address for address in addresses if address not in known]
    doubt = next((answer for answer in (ours if stray else theirs) if answer.outcome is Outcome.UNKNOWN), None)
    if doubt is not None and not stray and theirs[0].outcome is Outcome.FOUND and doubt.reason != BOGUS:
        # Its A records are right and its servers fail for AAAA, as some do for what they don't know. Every resolver has the
        # first, and visitors come by it.
        doubt = None
    if doubt is not None:
        path.end(CheckResult.UNKNOWN, doubt.reason, addresses, because=doubt)
        return
    verdicts = {_verdict(path, seen, known) for seen in _by_server(theirs)}
    because = next((answer for answer in theirs if answer.servers), None)
    result: CheckResult
    reason: str | None
    if any(view.type is RecordType.CNAME for answer in theirs for view in _answering(answer)):
        # It had none a moment ago: an alias is on its way.
        result, reason = CheckResult.PROPAGATING, DIFFERING
    elif len(verdicts) == 1:
        result, reason = verdicts.pop()
    elif all(result in (CheckResult.WRONG, CheckResult.MISSING) for result, _ in verdicts):
        result, reason = CheckResult.WRONG, "other_addresses"
    else:
        result, reason = CheckResult.PROPAGATING, DIFFERING
    if path.doubt is not None and result is not CheckResult.VALID:
        path.end(CheckResult.UNKNOWN, path.doubt.reason, addresses, because=path.doubt)
        return
    path.end(result, reason, addresses, because=because, stray=stray if len(stray) < len(addresses) else ())


def _verdict(path: _Path, addresses: Collection[str], known: Collection[str]) -> tuple[CheckResult, str | None]:
    if any(address not in known for address in addresses):
        return CheckResult.WRONG, "other_addresses" if known else UNCOMPARED
    if addresses:
        return CheckResult.VALID, None
    return (CheckResult.WRONG if path.aliases else CheckResult.MISSING), "nodata"


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
