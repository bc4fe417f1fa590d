"""Evidence: what DNS shows of whose a name is that leads to us. Asks DNS; `proof.py` says whether it is enough."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from router.domains.checks.challenge import shows, txt_name
from router.domains.checks.pointing import MAX_OBSERVED, CheckResult, Pointing, follow
from router.domains.checks.proof import Evidence, Need
from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType, ServerAnswer
from router.domains.names import below_registry
from router.domains.required_records import OWNERSHIP
from router.domains.targets import is_own, is_target, token_of


@dataclass(frozen=True, slots=True)
class RecordCheck:
    """What one check found out about one record: a wildcard's by its `name`, a custom domain's by what it is for.

    `stray` are its addresses that are not ours where others of it are, `servers` what its servers say where they differ.
    """

    name: str
    result: CheckResult
    observed: tuple[str, ...] = ()
    reason: str | None = None
    stray: tuple[str, ...] = ()
    servers: tuple[ServerAnswer, ...] = ()

    def noted(self) -> dict[str, Any]:
        """As JSON, to be stored and shown."""
        return {
            "name": self.name,
            "status": self.result.value,
            "observed": list(self.observed),
            "reason": self.reason,
        }


async def check_token(lookup: Lookup, name: str, token: str, until: float, *, fresh: bool = False) -> RecordCheck:
    """Whether the TXT record of a name shows this token: one that stands there for itself. What a wildcard gives, to this
    name as to any beside it, comes from where that one leads, and who has that was not given the name above it."""
    (answer,) = await lookup.ask([Question(txt_name(name), RecordType.TXT)], until, fresh=fresh)
    check = _of_txt(answer, token)
    if check.result is not CheckResult.VALID:
        return check
    (beside,) = await lookup.ask([Question(f"{random_label()}.{name}", RecordType.TXT)], until, fresh=fresh)
    same = answer.aliases[:1] == beside.aliases[:1] and (answer.aliases or shows(beside.values, token))
    return RecordCheck(OWNERSHIP, CheckResult.WRONG, check.observed, Need.WILDCARD.value) if same else check


def leads_to_own(seen: Sequence[Pointing], token: str, targets: Collection[str]) -> bool:
    """Whether all of them pass through the target of that token and no other of ours."""
    return all(one.result is CheckResult.VALID and one.ends for one in seen) and all(
        is_own(end, token, targets) for one in seen for end in one.ends
    )


async def find_evidence(
    lookup: Lookup,
    seen: Sequence[Pointing],
    name: str,
    token: str,
    targets: Collection[str],
    until: float,
    *,
    fresh: bool = False,
) -> tuple[Evidence | None, RecordCheck | None]:
    """What shows whose a name is that leads to us as `seen`, and what its TXT record says, if that was asked for. No
    evidence: its servers do not tell.

    A preview domain is named by `name`, and seen by hosts below it, which a wildcard always gives; a wildcard further up
    would give the same to any name beside it."""
    on_the_way = [step for one in seen for step in one.observed if _is_foreign(step, targets)]
    names = tuple(dict.fromkeys((name, *on_the_way)))
    if leads_to_own(seen, token, targets):
        return Evidence(own=True, names=names), None
    ownership = await check_token(lookup, name, token, until, fresh=fresh)
    if ownership.result is CheckResult.VALID:
        return Evidence(own=True, names=names), ownership
    found = {token_of(end, targets) for one in seen for end in one.ends}
    tokens = tuple(sorted(other for other in found if other is not None and other != token))
    wildcard = await _by_wildcard(lookup, seen, name, targets, until, fresh=fresh)
    if wildcard is None:
        return None, ownership
    return Evidence(own=False, names=names, tokens=tokens, wildcard=wildcard), ownership


async def _by_wildcard(
    lookup: Lookup, seen: Sequence[Pointing], name: str, targets: Collection[str], until: float, *, fresh: bool
) -> bool | None:
    """Whether a wildcard record gave the answer for a name or an alias on its way; None where that is not known.

    The records of a wildcard are those of every name beside it that does not exist (RFC 4592 §4.3.3)."""
    steps: dict[str, set[str]] = {}  # what each name on the way leads to
    for one in seen:
        here = name
        for step in one.observed:
            steps.setdefault(here, set()).add(step)
            if _is_foreign(step, targets):
                here = step
            elif not _is_address(step):
                break
    asked = [one for one in steps if not below_registry(one)]
    beside = [f"{random_label()}.{one.partition('.')[2]}" for one in asked]
    others = await follow(lookup, beside, targets, until, fresh=fresh)
    same = [_is_same(other, steps[one]) for one, other in zip(asked, others, strict=True)]
    if True in same:
        return True
    return None if None in same else False


def _is_same(beside: Pointing, steps: Collection[str]) -> bool | None:
    """Whether a random name beside another leads where that one leads; None where that is not known."""
    if beside.result is CheckResult.VALID and not beside.ends and all(map(_is_address, steps)):
        return True  # addresses of ours, of which each answer may show others
    if any(step in steps for step in beside.observed):
        return True
    return None if beside.result is CheckResult.UNKNOWN and not beside.observed else False


def _is_foreign(step: str, targets: Collection[str]) -> bool:
    """Whether what was seen on the way is an alias, and not a target of ours."""
    return not _is_address(step) and not is_target(step, targets)


def _is_address(step: str) -> bool:
    """Whether something observed is an address: its last label is a number, as no name's is (RFC 3696 §2), or it has a
    colon."""
    return ":" in step or step.rpartition(".")[2].isdigit()


def random_label() -> str:
    """A label that no record has, unless a wildcard covers it."""
    return f"miosa-{secrets.token_hex(8)}"


def _of_txt(answer: Answer, token: str) -> RecordCheck:
    if answer.outcome is Outcome.UNKNOWN:
        return RecordCheck(OWNERSHIP, CheckResult.UNKNOWN, reason=answer.reason)
    if answer.outcome is Outcome.PROPAGATING:
        seen = [view.values for view in answer.servers if view.outcome.definitive]
        observed = tuple(sorted({value for values in seen for value in values}))[:MAX_OBSERVED]
        shown = bool(seen) and all(shows(values, token) for values in seen)
        return RecordCheck(OWNERSHIP, CheckResult.VALID if shown else CheckResult.PROPAGATING, observed)
    if shows(answer.values, token):
        return RecordCheck(OWNERSHIP, CheckResult.VALID, (token,))
    result = CheckResult.WRONG if answer.values else CheckResult.MISSING
    return RecordCheck(OWNERSHIP, result, answer.values[:MAX_OBSERVED])
