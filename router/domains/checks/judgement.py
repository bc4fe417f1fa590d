"""The judgement of one check: from what was seen of a domain to whether it leads to us. Pure.

Verify, the schedule and diagnose see the same things (`checker.py`) and come to them by these functions, so they never
contradict each other: verify refuses a domain with the first reason that diagnose has (`diagnosis/rules.py`).

    the records lead to us           valid, with evidence of whose the name is where it does not route yet
    they don't, a TXT proof is there
    and our challenge comes back     valid: a CDN stands between and passes visitors on
    otherwise                        what the records say: missing, wrong, propagating, unknown

What a CDN answers while it is in trouble says nothing about where it leads: unknown, as a name server's silence is. It keeps
up what the CDN has led here before, and verifies nothing.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from router.base.clock import iso
from router.domains.checks.caa import CaaFinding, CaaVerdict
from router.domains.checks.challenge import Fetched
from router.domains.checks.evidence import RecordCheck
from router.domains.checks.name_servers import NameServers
from router.domains.checks.pointing import BINDING, UNCOMPARED, CheckResult, Pointing
from router.domains.checks.proof import Evidence, Need
from router.domains.checks.schedule import Method
from router.domains.custom import CustomDomain
from router.domains.names import WILDCARDS
from router.domains.required_records import OWNERSHIP, ROUTING

UNPROVEN = "unproven"  # the word for a domain that leads to us and needs a proof of its owner's
VERIFIED = "verified"  # the word for a domain whose records were all right at the last check

# Statuses by which a CDN refuses a program like ours, whatever it would do with visitors, and the one by which we refuse
# all requests ourselves where a domain is suspended; like all from 500 on, they say nothing about where it leads.
NO_ANSWER = frozenset({401, 403, 429, 451})
REDIRECT_LOOP = "redirect_loop"

# Where several results for one record differ, the worst counts; what is certain before what is not.
_WORST_FIRST = (CheckResult.WRONG, CheckResult.MISSING, CheckResult.PROPAGATING, CheckResult.UNKNOWN, CheckResult.VALID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one check saw of a custom domain: where its records lead, and as far as that was asked for its TXT record, what
    came back of our challenge, what a visitor would get by https, and what shows whose it is."""

    pointing: Pointing
    caa: CaaFinding
    ownership: RecordCheck | None = None
    fetched: Fetched | None = None
    visit: Fetched | None = None
    evidence: Evidence | None = None
    name_servers: NameServers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one check found out about a domain. `method` is how it leads to us, where it does, and `evidence` what shows
    whose it is, where that was asked. `need` is why the evidence was not enough.

    `pointings` are where its names lead, in the order of the records that it needs; `fetched` and `visit` are as in `Seen`.
    `name_servers` are those of its zone, where DNS told.
    """

    result: CheckResult
    records: tuple[RecordCheck, ...]
    caa: CaaFinding
    method: Method | None = None
    evidence: Evidence | None = None
    need: Need | None = None
    pointings: tuple[Pointing, ...] = ()
    fetched: Fetched | None = None
    visit: Fetched | None = None
    name_servers: NameServers | None = None

    @property
    def dns_status(self) -> str:
        """The result, in the word that a domain has for it."""
        return dns_status(self.result, self.need)

    @property
    def proof_given(self) -> bool:
        """Whether the TXT record was asked for, and is there."""
        return any(one.name == OWNERSHIP and one.result is CheckResult.VALID for one in self.records)

    def unproven(self, need: Need | None) -> "Check":
        """The same where a proof of one's own is needed; None: the check asked for no evidence."""
        if need is None:
            return replace(self, result=CheckResult.UNKNOWN, method=None)
        records = tuple(replace(one, reason=need.value) if one.name == OWNERSHIP else one for one in self.records)
        told = all(one.result.definitive for one in records)
        result = CheckResult.WRONG if told else CheckResult.UNKNOWN
        return replace(self, result=result, method=None, need=need, records=records)

    @property
    def caa_forbids(self) -> bool | None:
        """Whether CAA keeps our certificate authorities from issuing; None where that is not known."""
        return None if self.caa.verdict is CaaVerdict.UNKNOWN else self.caa.verdict is CaaVerdict.FORBIDDEN

    def noted(self, now: datetime) -> Mapping[str, Any]:
        """As JSON, to be stored and shown."""
        noted: dict[str, Any] = {"checked_at": iso(now), "records": [record.noted() for record in self.records]}
        if self.need is not None:
            noted["proof_needed"] = self.need.value
        if self.name_servers is not None:
            noted |= self.name_servers.noted()
        return noted if self.caa.advice is None else {**noted, "caa": self.caa.advice}


def dns_status(result: CheckResult | None, need: Need | str | None = None) -> str:
    """A result in the word that domains have for it; None: it was not checked yet. With `need` the records lead to
    us and do not show whose the domain is."""
    if result is None:
        return "pending"
    if need is not None:
        return UNPROVEN
    return VERIFIED if result is CheckResult.VALID else result.value


def judge_custom(domain: CustomDomain, seen: Seen) -> Check:
    """What a check of a custom domain comes to."""
    found, ownership = seen.pointing, seen.ownership
    result, method, evidence = found.result, method_of(found), seen.evidence
    records = [_of_pointing(ROUTING, found), *(() if ownership is None else (ownership,))]
    if found.result is CheckResult.WRONG and ownership is not None:
        proxied, reason = ownership.result, ownership.reason
        if seen.fetched is not None:
            proxied, reason = of_fetch(seen.fetched, domain.proof)
            records[0] = RecordCheck(ROUTING, proxied, found.observed, reason)
        # Not knowing keeps up what a CDN has led here before; to others their own records are what counts.
        if proxied is CheckResult.VALID or (not proxied.definitive and domain.check.method is Method.PROXIED):
            result, method = proxied, Method.PROXIED
        if proxied is CheckResult.VALID:
            evidence = Evidence(own=True, names=(domain.fqdn,))
            if in_a_loop(seen.visit):
                records[0] = replace(records[0], reason=REDIRECT_LOOP)
    elif found.result is CheckResult.VALID and not domain.status.routes and evidence is None:
        result = CheckResult.UNKNOWN
    return Check(
        result=result,
        records=tuple(records),
        caa=seen.caa,
        method=method,
        evidence=evidence,
        pointings=(found,),
        fetched=seen.fetched,
        visit=seen.visit,
        name_servers=seen.name_servers,
    )


def judge_zone(
    groups: Sequence[Sequence[Pointing]],
    caa: CaaFinding,
    *,
    verified: bool,
    evidence: Evidence | None = None,
    ownership: RecordCheck | None = None,
    name_servers: NameServers | None = None,
) -> Check:
    """What a check of a preview domain comes to: `groups` are where random names below each of `WILDCARDS` lead."""
    shown = tuple(worst_of(group) for group in groups)
    records = tuple(_of_pointing(name, one) for name, one in zip(WILDCARDS, shown, strict=True))
    result = _worst([record.result for record in records])
    method = None
    if result is CheckResult.VALID:
        method = method_of(groups[0][0]) or Method.CNAME
        records += () if ownership is None else (ownership,)
        result = CheckResult.UNKNOWN if evidence is None and not verified else result
    return Check(
        result=result,
        records=records,
        caa=caa,
        method=method,
        evidence=evidence,
        pointings=shown,
        name_servers=name_servers,
    )


def as_it_counts(found: Pointing, before: Method | None, *, routes: bool) -> Pointing:
    """What was found of a domain that led here `before` in that way. That our own targets' addresses are missing is no
    fault of its; and one that is served is not taken down for what its HTTPS record says beside right addresses."""
    if before is Method.ADDRESS and found.reason == UNCOMPARED:
        return replace(found, result=CheckResult.UNKNOWN)
    return replace(found, result=CheckResult.VALID) if routes and found.reason == BINDING else found


def may_be_proxied(found: Pointing) -> bool:
    """Whether a CDN may hide that a name leads to us: not where a part of its addresses are ours, or it has two aliases."""
    return found.result is CheckResult.WRONG and not found.stray and found.reason not in {BINDING, "several_aliases"}


def of_fetch(fetched: Fetched, proof: str) -> tuple[CheckResult, str | None]:
    """What comes of our challenge that a CDN passed on, and a word on what is wrong."""
    if fetched.status is None or fetched.status in NO_ANSWER or fetched.status >= 500:
        return CheckResult.UNKNOWN, fetched.reason or f"status_{fetched.status}"
    ours = bool(proof) and secrets.compare_digest(fetched.body.strip(), proof.encode("ascii"))
    return (CheckResult.VALID, None) if ours else (CheckResult.WRONG, fetched.reason or "not_through_to_us")


def in_a_loop(visit: Fetched | None) -> bool:
    """Whether a visitor is redirected in a circle: a CDN reaches us by plain HTTP, and we send that to https."""
    return visit is not None and visit.https and visit.reason == REDIRECT_LOOP


def method_of(found: Pointing) -> Method | None:
    """How a name leads to us by its records; None where it does not."""
    if found.result is not CheckResult.VALID:
        return None
    return Method.CNAME if found.ends else Method.ADDRESS


def worst_of(group: Sequence[Pointing]) -> Pointing:
    """That of several names of one wildcard which counts."""
    worst = _worst([found.result for found in group])
    return next(found for found in group if found.result is worst)


def _of_pointing(name: str, found: Pointing) -> RecordCheck:
    reason = found.reason or found.remark
    return RecordCheck(name, found.result, found.observed, reason, found.stray, found.servers)


def _worst(findings: Sequence[CheckResult]) -> CheckResult:
    return next(result for result in _WORST_FIRST if result in findings)
