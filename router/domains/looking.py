"""Looking: everything that one check asks about a domain, and what it found. Asks DNS and the domain itself; stores nothing.

A custom domain leads to us by its records (`pointing.py`), or through a CDN that stands before us and hides them. The
second takes two things, since either alone can be had by others: a TXT record with the domain's token, which only its
owner can publish, and a request for its name that reaches us, which shows that the CDN passes visitors on.

What a CDN answers while it is in trouble says nothing about where it leads: unknown, as a name server's silence is.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from router.clock import Clock, iso
from router.domains.caa import CaaFinding, CaaVerdict, look_at_caa
from router.domains.challenge import PATH, Fetch, Fetched, txt_name
from router.domains.checks import Method
from router.domains.custom import CustomDomain
from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType
from router.domains.pointing import MAX_OBSERVED, UNCOMPARED, Finding, Pointing, follow
from router.domains.requirement import OWNERSHIP
from router.hostname import SANDBOX
from router.settings import Ca

CHECK_TIME = 10.0  # seconds for everything that one check asks

# The records that a preview domain needs. `*.sandbox` makes `sandbox` a name that exists, and then `*` no longer covers
# what lies below it (RFC 4592 §2.2.2): both are needed, always.
WILDCARDS = ("*", f"*.{SANDBOX}")
_LABELS = 2  # random labels per wildcard: one alone may exist by chance, or be somebody's guess

ROUTING = "routing"  # what a record that leads here is for

VERIFIED = "verified"  # the word for a domain whose records were all right at the last look

# Statuses by which a CDN refuses a program like ours, whatever it would do with visitors, and the one by which we refuse
# everybody ourselves where a domain is suspended; as all above 499, they say nothing.
_NO_ANSWER = frozenset({401, 403, 429, 451})

# Where several looks at one record differ, the worst counts; what is certain before what is not.
_WORST_FIRST = (Finding.WRONG, Finding.MISSING, Finding.PROPAGATING, Finding.UNKNOWN, Finding.VALID)


@dataclass(frozen=True, slots=True)
class RecordCheck:
    """What one look found out about one record: a wildcard's by its `name`, a custom domain's by what it is for."""

    name: str
    finding: Finding
    observed: tuple[str, ...] = ()
    reason: str | None = None

    def noted(self) -> dict[str, Any]:
        """As JSON, for whoever is told of it later."""
        return {
            "name": self.name,
            "status": self.finding.value,
            "observed": list(self.observed),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look found out about a domain. `method` is how it leads to us, where it does."""

    finding: Finding
    records: tuple[RecordCheck, ...]
    caa: CaaFinding
    method: Method | None = None

    @property
    def dns_status(self) -> str:
        """The finding, in the word that a domain has for it."""
        return dns_status(self.finding)

    @property
    def caa_forbids(self) -> bool | None:
        """Whether CAA keeps our certificate authorities from issuing; None where nobody can tell."""
        return None if self.caa.verdict is CaaVerdict.UNKNOWN else self.caa.verdict is CaaVerdict.FORBIDDEN

    def noted(self, now: datetime) -> Mapping[str, Any]:
        """As JSON, for whoever is told of it later."""
        noted: dict[str, Any] = {"checked_at": iso(now), "records": [record.noted() for record in self.records]}
        return noted if self.caa.advice is None else {**noted, "caa": self.caa.advice}


def dns_status(finding: Finding | None) -> str:
    """A finding in the word that domains have for it; None is that nobody has looked yet."""
    if finding is None:
        return "pending"
    return VERIFIED if finding is Finding.VALID else finding.value


class Looker:
    """Looks. `targets` are the names of ours that records may lead to."""

    def __init__(self, *, lookup: Lookup, fetch: Fetch, ca: Ca, targets: Sequence[str], clock: Clock) -> None:
        self._lookup = lookup
        self._fetch = fetch
        self._ca = ca
        self._targets = tuple(targets)
        self._clock = clock

    async def custom_domain(self, domain: CustomDomain, *, fresh: bool = False) -> Look:
        """Where it leads, within `CHECK_TIME`. `fresh` goes past what is remembered."""
        until = self._until()
        (found,) = await follow(self._lookup, [domain.fqdn], self._targets, until, fresh=fresh)
        found = _blameless(found, domain.check.method)
        routing = RecordCheck(ROUTING, found.finding, found.observed, found.reason)
        finding, method, records = found.finding, self._method(found), [routing]
        if found.finding is Finding.WRONG:
            ownership = await self.shown(domain.fqdn, domain.token, until, fresh=fresh)
            records.append(ownership)
            proxied, reason = ownership.finding, ownership.reason
            if proxied is Finding.VALID:
                proxied, reason = await self._through_cdn(domain, until)
                records[0] = RecordCheck(ROUTING, proxied, found.observed, reason)
            # Not knowing keeps up what a CDN has led here before; to others their own records are what counts.
            if proxied is Finding.VALID or (not proxied.definitive and domain.check.method is Method.PROXIED):
                finding, method = proxied, Method.PROXIED
        caa = await look_at_caa(self._lookup, domain.fqdn, self._ca, until, fresh=fresh)
        return Look(finding=finding, records=tuple(records), caa=caa, method=method)

    async def zone(self, domain: str, *, before: Method | None = None, fresh: bool = False) -> Look:
        """Where the hosts of a preview domain lead, which led to us by the method `before`; `records` are in the order of
        `WILDCARDS`."""
        until = self._until()
        names = [f"{_label()}{wildcard[1:]}.{domain}" for wildcard in WILDCARDS for _ in range(_LABELS)]
        seen = await follow(self._lookup, names, self._targets, until, fresh=fresh)
        found = [_blameless(one, before) for one in seen]
        groups = [found[place : place + _LABELS] for place in range(0, len(found), _LABELS)]
        records = tuple(_of_wildcard(name, group) for name, group in zip(WILDCARDS, groups, strict=True))
        finding = _worst([record.finding for record in records])
        method = (self._method(found[0]) or Method.CNAME) if finding is Finding.VALID else None
        caa = await look_at_caa(self._lookup, names[-1], self._ca, until, fresh=fresh)
        return Look(finding=finding, records=records, caa=caa, method=method)

    async def shown(self, name: str, token: str, until: float | None = None, *, fresh: bool = False) -> RecordCheck:
        """Whether the TXT record of a name shows this token."""
        question = Question(txt_name(name), RecordType.TXT)
        (answer,) = await self._lookup.ask([question], until or self._until(), fresh=fresh)
        return _of_txt(answer, token)

    async def _through_cdn(self, domain: CustomDomain, until: float) -> tuple[Finding, str | None]:
        """Whether a request for the domain's name reaches us, whatever stands between."""
        fetched = await self._fetch.get(domain.fqdn, f"{PATH}{domain.token}", until)
        return _of_fetch(fetched, domain.proof)

    def _method(self, found: Pointing) -> Method | None:
        if found.finding is not Finding.VALID:
            return None
        return Method.CNAME if any(name in self._targets for name in found.observed) else Method.ADDRESS

    def _until(self) -> float:
        return self._clock.monotonic() + CHECK_TIME


def sentence(look: Look, target: str) -> str:
    """What is wrong with a custom domain, and what would be right."""
    routing, *others = look.records
    if not routing.observed:
        return f"has no record yet; it must be a CNAME to {target}"
    leads = f"leads to {', '.join(routing.observed)}; it must be a CNAME to {target}"
    if any(other.finding is Finding.VALID for other in others):
        return f"{leads}, or its CDN must pass on to us what is asked under {PATH}"
    return leads


def _blameless(found: Pointing, before: Method | None) -> Pointing:
    """What was found, but that our own targets' addresses are missing is no domain's fault that led to them before."""
    if before is Method.ADDRESS and found.reason == UNCOMPARED:
        return replace(found, finding=Finding.UNKNOWN)
    return found


def _of_txt(answer: Answer, token: str) -> RecordCheck:
    if answer.outcome is Outcome.UNKNOWN:
        return RecordCheck(OWNERSHIP, Finding.UNKNOWN, reason=answer.reason)
    if answer.outcome is Outcome.PROPAGATING:
        seen = [view.values for view in answer.servers if view.outcome.definitive]
        observed = tuple(sorted({value for values in seen for value in values}))[:MAX_OBSERVED]
        shown = bool(seen) and all(token in values for values in seen)
        return RecordCheck(OWNERSHIP, Finding.VALID if shown else Finding.PROPAGATING, observed)
    if token in answer.values:
        return RecordCheck(OWNERSHIP, Finding.VALID, (token,))
    finding = Finding.WRONG if answer.values else Finding.MISSING
    return RecordCheck(OWNERSHIP, finding, answer.values[:MAX_OBSERVED])


def _of_fetch(fetched: Fetched, proof: str) -> tuple[Finding, str | None]:
    if fetched.status is None or fetched.status in _NO_ANSWER or fetched.status >= 500:  # as above
        return Finding.UNKNOWN, fetched.reason or f"status_{fetched.status}"
    ours = bool(proof) and secrets.compare_digest(fetched.body.strip(), proof.encode("ascii"))
    return (Finding.VALID, None) if ours else (Finding.WRONG, fetched.reason or "not_through_to_us")


def _label() -> str:
    return f"miosa-{secrets.token_hex(8)}"


def _of_wildcard(name: str, group: Sequence[Pointing]) -> RecordCheck:
    worst = _worst([found.finding for found in group])
    shown = next(found for found in group if found.finding is worst)
    return RecordCheck(name, worst, shown.observed, shown.reason)


def _worst(findings: Sequence[Finding]) -> Finding:
    return next(finding for finding in _WORST_FIRST if finding in findings)
