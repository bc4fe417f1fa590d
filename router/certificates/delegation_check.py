"""What a zone's authoritative name servers say of its delegation, and of the authority's right to issue wildcards. Asks DNS.

A zone has wildcards, which answer for the challenge names as long as these have no record of their own: what a random name
beside one has too is no delegation, and nothing that is wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.certificates.delegation import CHALLENGE, DelegationState, challenge_names
from router.domains.checks.caa import CaaFinding, CaaVerdict, check_caa
from router.domains.checks.evidence import random_label
from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType
from router.settings import Ca

CHECK_TIME = 10.0  # seconds for everything that one check asks
_MAX_ALIASES = 8
_MAX_SHOWN = 4
_S = DelegationState
# The state of both names together is the first of these that one of them has.
_WORST_FIRST = (_S.SHADOWED, _S.ELSEWHERE, _S.MISSING, _S.UNREACHABLE, _S.PRESENT)


@dataclass(frozen=True, slots=True)
class NameFound:
    """One challenge name. `observed` is what stands there; `reason` a word of an Answer, `servers_differ`, `wildcard` (only a
    wildcard answers), `own_zone` (the name has name servers of its own) or `other_records`."""

    name: str
    state: DelegationState
    observed: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What one check found. `caa` is of the wildcard that fares worse."""

    state: DelegationState
    names: tuple[NameFound, ...]
    caa: CaaFinding | None = None

    def noted(self) -> Mapping[str, Any]:
        """As JSON, to be stored in `Delegation.found` and shown to the owner."""
        names = {
            one.name: {"state": one.state.value, "observed": list(one.observed[:_MAX_SHOWN]), "reason": one.reason}
            for one in self.names
        }
        if self.caa is None:
            return {"names": names}
        caa = {
            "verdict": self.caa.verdict.value,
            "at": self.caa.at,
            "advice": self.caa.advice,
            "reason": self.caa.reason,
        }
        return {"names": names, "caa": caa}


async def check_delegation(
    lookup: Lookup, domain: str, target: str, ca: Ca, until: float, *, fresh: bool = False
) -> Found:
    """Look at both challenge names, and where they lead to `target` also at CAA. `until` is an instant of the monotonic
    clock; `ca` is the authority that orders are placed at, with the method `dns-01`. Raises nothing."""
    names = challenge_names(domain)
    beside = [f"{random_label()}.{name.removeprefix(f'{CHALLENGE}.')}" for name in names]
    questions = [Question(name, RecordType.CNAME) for name in (*names, *beside)]
    answers = await lookup.ask(questions, until, fresh=fresh)
    found = tuple(
        [
            await _name(lookup, name, target, answer, wild, until, fresh=fresh)
            for name, answer, wild in zip(names, answers[: len(names)], answers[len(names) :], strict=True)
        ]
    )
    state = next(state for state in _WORST_FIRST if any(one.state is state for one in found))
    if state is not _S.PRESENT:
        return Found(state, found)
    caa = _worse(
        [await check_caa(lookup, one, ca, until, wildcard=True, fresh=fresh) for one in (domain, f"sandbox.{domain}")]
    )
    return Found(_AFTER_CAA[caa.verdict], found, caa)


_AFTER_CAA = {
    CaaVerdict.ALLOWED: _S.PRESENT,
    CaaVerdict.FORBIDDEN: _S.FORBIDDEN,
    CaaVerdict.UNKNOWN: _S.UNREACHABLE,  # an authority that gets no answer does not issue
}


def _worse(findings: Sequence[CaaFinding]) -> CaaFinding:
    order = (CaaVerdict.FORBIDDEN, CaaVerdict.UNKNOWN, CaaVerdict.ALLOWED)
    return min(findings, key=lambda one: order.index(one.verdict))


async def _name(
    lookup: Lookup, name: str, target: str, answer: Answer, wild: Answer, until: float, *, fresh: bool
) -> NameFound:
    if answer.outcome is Outcome.FOUND:
        seen = answer.values[:1]
        if seen == wild.values[:1] and seen != (target,):
            return NameFound(name, _S.MISSING, seen, "wildcard")
        return await _followed(lookup, name, target, seen[0], until, fresh=fresh)
    if answer.outcome is Outcome.UNKNOWN:
        return NameFound(name, _S.UNREACHABLE, (), answer.reason)
    if answer.outcome is Outcome.PROPAGATING:
        return NameFound(name, _S.UNREACHABLE, (), "servers_differ")
    if answer.outcome is Outcome.NXDOMAIN:
        return NameFound(name, _S.MISSING)
    kinds = (Question(name, RecordType.TXT), Question(name, RecordType.NS))
    txt, servers = await lookup.ask(kinds, until, fresh=fresh)
    if servers.outcome is Outcome.FOUND:
        return NameFound(name, _S.SHADOWED, servers.values, "own_zone")
    if txt.outcome is Outcome.FOUND and wild.outcome is not Outcome.NODATA:
        return NameFound(name, _S.SHADOWED, txt.values, "other_records")
    if txt.outcome is Outcome.FOUND:
        # The random name exists too, so a wildcard answers for both; whether with this TXT record is asked.
        wildcard = Question(f"{random_label()}.{name.removeprefix(f'{CHALLENGE}.')}", RecordType.TXT)
        (other,) = await lookup.ask([wildcard], until, fresh=fresh)
        if other.values == txt.values:
            return NameFound(name, _S.MISSING, txt.values, "wildcard")
        return NameFound(name, _S.SHADOWED, txt.values, "other_records")
    return NameFound(name, _S.MISSING)


async def _followed(lookup: Lookup, name: str, target: str, first: str, until: float, *, fresh: bool) -> NameFound:
    """Whether the aliases from here lead to the target: an authority follows them too."""
    passed = [first]
    while passed[-1] != target:
        (answer,) = await lookup.ask([Question(passed[-1], RecordType.CNAME)], until, fresh=fresh)
        if answer.outcome in (Outcome.UNKNOWN, Outcome.PROPAGATING):
            return NameFound(name, _S.UNREACHABLE, tuple(passed), answer.reason or "servers_differ")
        if answer.outcome is not Outcome.FOUND or answer.values[0] in passed or len(passed) == _MAX_ALIASES:
            return NameFound(name, _S.ELSEWHERE, tuple(passed))
        passed.append(answer.values[0])
    return NameFound(name, _S.PRESENT, tuple(passed))
