"""What the gate answers. Pure: a name, the chain's decision and whether there is evidence in; a verdict out.

Caddy asks for every name that anybody puts into a TLS handshake, before it has a certificate for it and again when
one is due for renewal. An allowance for a name that is not ours lets strangers spend the certificate authority's
limits; a refusal at renewal makes Caddy throw away a certificate that is still valid. Hence the order:

1. The name itself: absent, malformed, an address. Nothing helps it.
2. Suspended or removed: refused, whatever there is, because somebody decided so.
3. Evidence of a live certificate: allowed. Not even a fault of ours may take a working site down.
4. The chain's decision, by `_WITHOUT_EVIDENCE`. A resource that merely sleeps keeps its name.

Only exact names pass: the chain finds nothing for a label more than the grammar has, so that scanners who put `www.`
before every name they find get no certificates.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from router.hostname import InvalidNameError, canonical_name, is_address
from router.routes.chain import Decision


@dataclass(frozen=True, slots=True)
class Verdict:
    """An HTTP status for Caddy, which allows on 200 only, and the reason for people."""

    status: int
    reason: str

    @property
    def allowed(self) -> bool:
        return self.status == 200


# Every verdict there is, by its reason.
VERDICTS: Mapping[str, Verdict] = MappingProxyType(
    {
        reason: Verdict(status, reason)
        for status, reasons in (
            (200, ("issued", "first_issue")),
            (400, ("missing_domain", "invalid_name", "ip_address")),
            (403, ("not_verified", "suspended", "removed")),
            (404, ("unknown_host", "no_such_resource", "port_not_exposed")),
            (503, ("not_ready",)),
        )
        for reason in reasons
    }
)

# What each reason of the chain means for a name that has no certificate yet.
_WITHOUT_EVIDENCE: Mapping[str, Verdict] = MappingProxyType(
    {
        "served": VERDICTS["first_issue"],
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


def judge(decision: Decision, *, evidence: bool) -> Verdict:
    """The verdict on a canonical name that the chain has decided about."""
    verdict = _WITHOUT_EVIDENCE[decision.reason]
    return VERDICTS["issued"] if evidence and verdict.reason not in _FINAL else verdict


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
