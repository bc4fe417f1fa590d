"""What the gate answers. Pure: a name, the chain's decision, whether there is evidence and what the budgets leave in; a
verdict out.

Caddy asks for every name that anybody puts into a TLS handshake, before it has a certificate for it and again when
one is due for renewal. An allowance for a name that is not ours lets strangers spend the certificate authority's
limits; a refusal at renewal makes Caddy throw away a certificate that is still valid. Hence the order:

1. The name itself: absent, malformed, an address. Nothing helps it.
2. Suspended or removed: refused, whatever evidence there is: an operator or the owner decided so.
3. Evidence of a live certificate: allowed. Not even a fault of ours may take a working site down. Only names that are
   served leave evidence, so one that the chain no longer knows at all was removed.
4. The chain's decision, by `_WITHOUT_EVIDENCE`. A resource that merely sleeps keeps its name.
5. What DNS says against it: the authority would refuse, and count the failure.
6. A certificate that the router holds for it: Caddy is to let go of its own, or may renew it once more (`handover.py`).
7. The budgets (`budgets.py`), and what is in flight already.

Only exact names pass: the chain finds nothing for a label more than the grammar has, so that scanners who put `www.`
before every name they find get no certificates.
"""

import enum
import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from router.hostname import InvalidNameError, canonical_name, is_address
from router.routes.chain import Decision


@dataclass(frozen=True, slots=True)
class Verdict:
    """An HTTP status for Caddy, which allows on 200 only, and the reason for people."""

    status: int
    reason: str
    retry_after: int | None = None  # seconds; with 429 only

    @property
    def allowed(self) -> bool:
        return self.status == 200


# Every verdict there is, by its reason.
VERDICTS: Mapping[str, Verdict] = MappingProxyType(
    {
        reason: Verdict(status, reason)
        for status, reasons in (
            (200, ("issued", "first_issue", "in_flight")),
            (400, ("missing_domain", "invalid_name", "ip_address")),
            (403, ("not_verified", "suspended", "removed", "caa_forbidden", "dns_not_pointing", "held_certificate")),
            (404, ("unknown_host", "no_such_resource", "port_not_exposed")),
            (429, ("budget_host", "budget_registered_domain", "budget_account", "failure_backoff")),
            (503, ("not_ready",)),
        )
        for reason in reasons
    }
)


@dataclass(frozen=True, slots=True)
class BudgetState:
    """What the budgets say of a name: nothing against it, or the reason of a verdict and in how many seconds to ask
    again."""

    reason: str | None = None
    retry_after: float = 0.0


CLEAR = BudgetState()

# What each reason of the chain means for a name that has no certificate yet.
_WITHOUT_EVIDENCE: Mapping[str, Verdict] = MappingProxyType(
    {
        "served": VERDICTS["first_issue"],
        "login": VERDICTS["first_issue"],
        "redirect": VERDICTS["first_issue"],
        "starting": VERDICTS["first_issue"],
        "stopped": VERDICTS["first_issue"],
        "suspended": VERDICTS["suspended"],
        "removed": VERDICTS["removed"],
        "not_verified": VERDICTS["not_verified"],
        "port_not_exposed": VERDICTS["port_not_exposed"],
        "reserved_port": VERDICTS["port_not_exposed"],
        "no_such_resource": VERDICTS["no_such_resource"],
        "unknown_host": VERDICTS["unknown_host"],
        "invalid_host": VERDICTS["invalid_name"],
        "resolver_unavailable": VERDICTS["not_ready"],
    }
)

# What evidence does not outweigh.
_FINAL = frozenset(("suspended", "removed", "invalid_name"))

# What a name with evidence can only have become by being taken away.
_GONE = frozenset(("unknown_host", "no_such_resource"))


def read_name(domain: str | None) -> str | Verdict:
    """The canonical name (lower case, A-labels) that is asked for, or the verdict on what is none."""
    if not domain:
        return VERDICTS["missing_domain"]
    if _is_address(domain):
        return VERDICTS["ip_address"]
    if domain != domain.strip():
        return VERDICTS["invalid_name"]
    try:
        return canonical_name(domain)
    except InvalidNameError:
        return VERDICTS["invalid_name"]


class Held(enum.Enum):
    """What a certificate that the router holds for a name means for the one that Caddy asks about."""

    NONE = "none"  # none is held, or this Caddy does not fetch it
    RENEW = "renew"  # Caddy may renew its own once more
    TAKES = "takes"  # Caddy is to drop its own, and takes the held one


def judge(decision: Decision, *, evidence: bool, held: Held = Held.NONE, budget: BudgetState = CLEAR) -> Verdict:
    """The verdict on a canonical name that the chain has decided about."""
    verdict = without_budgets(decision, evidence=evidence, held=held)
    if verdict.reason != "first_issue" or budget.reason is None:
        return verdict
    found = VERDICTS[budget.reason]
    return replace(found, retry_after=max(1, math.ceil(budget.retry_after))) if found.status == 429 else found


def without_budgets(decision: Decision, *, evidence: bool, held: Held = Held.NONE) -> Verdict:
    """The same before the budgets are looked at: they have a say only in a `first_issue`."""
    verdict = _without_held(decision, evidence=evidence)
    if held is Held.NONE or not verdict.allowed:
        return verdict
    return VERDICTS["held_certificate" if held is Held.TAKES else "issued"]


def _without_held(decision: Decision, *, evidence: bool) -> Verdict:
    verdict = _WITHOUT_EVIDENCE[decision.reason]
    if verdict.reason in _FINAL:
        return verdict
    if evidence:
        return VERDICTS["removed" if verdict.reason in _GONE else "issued"]
    if verdict.allowed and decision.caa_forbidden:
        return VERDICTS["caa_forbidden"]
    if verdict.allowed and decision.not_pointing:
        return VERDICTS["dns_not_pointing"]
    return verdict


def may_be_issued(reason: str) -> bool:
    """Whether a name that the chain decided about for this reason gets a first certificate."""
    return _WITHOUT_EVIDENCE[reason].allowed


def _is_address(domain: str) -> bool:
    """Whether this is an IP address: what Caddy asks for when a handshake names no host."""
    bare = domain.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return is_address(domain.lower().removesuffix("."))
    return True
