"""Where names lead: whether somebody's DNS sends a name's visitors to us.

A name leads to us where its aliases (CNAME) pass through one of our targets; or, where they don't, where it has
addresses and every one of them is a target's. The second is what an apex has, which may not be an alias (RFC 1034
§3.6.2): its provider copies the target's addresses. Any other address would get a part of the visitors, so one stray
AAAA makes the whole wrong.

All names are followed in step, so that a check takes as many rounds as the longest chain has aliases.
"""

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType

MAX_ALIASES = 8  # resolvers follow between 8 and 16; customers need two
MAX_OBSERVED = 16  # what a stranger's server sends is shown and stored


class Finding(enum.StrEnum):
    """What a check found out; all but the last are definitive."""

    VALID = "valid"
    MISSING = "missing"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Pointing:
    """Where one name leads. `observed` are the aliases and addresses on the way, `reason` a word on what is wrong."""

    name: str
    finding: Finding
    observed: tuple[str, ...] = ()
    reason: str | None = None


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

    def end(self, finding: Finding, reason: str | None = None, addresses: Sequence[str] = ()) -> None:
        self.done = Pointing(self.name, finding, (*self.aliases, *addresses)[:MAX_OBSERVED], reason)


async def follow(lookup: Lookup, names: Sequence[str], targets: Collection[str], until: float) -> tuple[Pointing, ...]:
    """Where each of `names` leads, in their order. `until` is an instant of the monotonic clock."""
    paths = [_Path(name) for name in names]
    while walking := [path for path in paths if path.done is None and not path.at_end]:
        answers = await lookup.ask([Question(path.last, RecordType.CNAME) for path in walking], until)
        for path, answer in zip(walking, answers, strict=True):
            _step(path, answer, targets)
    ended = [path for path in paths if path.done is None]
    if ended:
        await _compare_addresses(lookup, ended, sorted(targets), until)
    return tuple(path.done for path in paths if path.done is not None)


def _step(path: _Path, answer: Answer, targets: Collection[str]) -> None:
    if answer.outcome is Outcome.UNKNOWN:
        path.end(Finding.UNKNOWN, answer.reason)
    elif answer.outcome is Outcome.NXDOMAIN:
        path.end(Finding.WRONG if path.aliases else Finding.MISSING, "nxdomain")
    elif answer.outcome is Outcome.NODATA:
        path.at_end = True
    elif len(answer.values) > 1:
        # A name has one CNAME (RFC 2181 §10.1). With more, visitors go wherever their resolver looks first.
        path.aliases += answer.values
        path.end(Finding.WRONG, "several_aliases")
    else:
        alias = answer.values[0]
        loop = alias == path.name or alias in path.aliases
        path.aliases.append(alias)
        if alias in targets:
            path.end(Finding.VALID)
        elif loop:
            path.end(Finding.WRONG, "alias_loop")
        elif len(path.aliases) >= MAX_ALIASES:
            path.end(Finding.WRONG, "too_many_aliases")


async def _compare_addresses(lookup: Lookup, paths: Sequence[_Path], targets: Sequence[str], until: float) -> None:
    """Judge the paths that ended at a name with records of other types."""
    hosts = [*(path.last for path in paths), *targets]
    questions = [Question(host, kind) for host in hosts for kind in (RecordType.A, RecordType.AAAA)]
    answers = await lookup.ask(questions, until)
    pairs = [answers[place : place + 2] for place in range(0, len(answers), 2)]
    ours = [answer for pair in pairs[len(paths) :] for answer in pair]
    for path, theirs in zip(paths, pairs[: len(paths)], strict=True):
        _judge(path, theirs, ours)


def _judge(path: _Path, theirs: Sequence[Answer], ours: Sequence[Answer]) -> None:
    addresses = [value for answer in theirs for value in answer.values]
    known = {value for answer in ours for value in answer.values}
    stray = [address for address in addresses if address not in known]
    doubt = next((answer for answer in (ours if stray else theirs) if answer.outcome is Outcome.UNKNOWN), None)
    if doubt is not None:
        path.end(Finding.UNKNOWN, doubt.reason, addresses)
    elif stray:
        path.end(Finding.WRONG, "other_addresses", addresses)
    elif addresses:
        path.end(Finding.VALID, None, addresses)
    else:
        path.end(Finding.WRONG if path.aliases else Finding.MISSING, "nodata")
