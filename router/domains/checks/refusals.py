"""Why a custom domain is not verified: the error for its owner. Its sentence and its records are those that diagnose has
first, so that both say the same. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from router.domains.checks.judgement import Check
from router.domains.custom import CustomDomain
from router.domains.diagnosis.findings import Finding
from router.errors import CNAME_NOT_FOUND, DNS_UNKNOWN, PROOF_NEEDED, RouterError

MISSING = "CNAME not found"

# What is wrong where the records are as they may be: "CNAME not found" would not be true.
_NOT_MISSING = frozenset(
    {
        "stray_aaaa",
        "stray_address",
        "several_cnames",
        "https_record_elsewhere",
        "cdn_circle",
        "cdn_can_not_reach_us",
        "cdn_other_name",
        "cdn_redirects",
        "cdn_refuses",
    }
)


def refusal(domain: CustomDomain, check: Check, findings: Sequence[Finding]) -> RouterError:
    """The error for a check that did not verify the domain, and what `diagnose` makes of it."""
    finding = next(one for one in findings if one.blocks)
    beside: dict[str, object] = {
        "diagnose": f"/api/v1/custom-domains/{domain.id}/diagnose",
        "reason": finding.code,
        "records": [_shown(asdict(record)) for record in finding.records],
    }
    problem, message = CNAME_NOT_FOUND, MISSING
    if check.need is not None:
        problem, message = PROOF_NEEDED, finding.message
        beside["proof"] = {
            "reason": check.need.value,
            "records": [record.shown() for record in domain.required_records],
        }
    elif not check.result.definitive:
        problem, message = DNS_UNKNOWN, finding.message
    elif finding.code in _NOT_MISSING:
        message = finding.message
    return RouterError(problem, message, fields={"fqdn": [finding.message]}, beside=beside)


def _shown(record: Mapping[str, object]) -> dict[str, object]:
    return {name: str(value) for name, value in record.items()}
