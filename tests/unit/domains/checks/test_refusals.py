"""Why a custom domain is not verified: the error has the sentence and the records of the first finding that blocks it."""

from typing import Any

import pytest

from router.domains.checks.caa import CaaFinding, CaaVerdict
from router.domains.checks.evidence import RecordCheck
from router.domains.checks.judgement import Check
from router.domains.checks.pointing import CheckResult
from router.domains.checks.proof import Need
from router.domains.checks.refusals import refusal
from router.domains.diagnosis.findings import Action, Finding, Remedy, Severity
from router.errors import CNAME_NOT_FOUND, DNS_UNKNOWN, PROOF_NEEDED
from tests.support.domains import custom_domain

APP = custom_domain("app.example.com")
SAID = "It is so. Do that."
RECORD = Remedy(action=Action.ADD, type="CNAME", name="app.example.com", host="app", value="verify.miosa.ai")
BESIDE = Finding(code="caa_forbids", severity=Severity.ERROR, message="Something else.")


def check(result: CheckResult, **fields: Any) -> Check:
    caa = CaaFinding(CaaVerdict.ALLOWED)
    return Check(result=result, records=(RecordCheck("routing", result),), caa=caa, **fields)


def finding(code: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, message=SAID, records=(RECORD,), blocks=True)


@pytest.mark.parametrize(
    ("found", "code", "problem", "message"),
    [
        (check(CheckResult.MISSING), "nothing_there", CNAME_NOT_FOUND, "CNAME not found"),
        (check(CheckResult.WRONG), "wrong_target", CNAME_NOT_FOUND, "CNAME not found"),
        (check(CheckResult.WRONG), "stray_aaaa", CNAME_NOT_FOUND, SAID),
        (check(CheckResult.WRONG), "cdn_circle", CNAME_NOT_FOUND, SAID),
        (check(CheckResult.UNKNOWN), "name_servers_silent", DNS_UNKNOWN, SAID),
        (check(CheckResult.PROPAGATING), "servers_differ", DNS_UNKNOWN, SAID),
        (check(CheckResult.WRONG, need=Need.WILDCARD), "wildcard_record", PROOF_NEEDED, SAID),
    ],
)
def test_a_refusal(found: Check, code: str, problem: object, message: str) -> None:
    """ "CNAME not found" is a message that clients know; it is said where it is true. The field has the whole sentence."""
    refused = refusal(APP, found, [BESIDE, finding(code)])
    assert (refused.problem, refused.message, refused.fields) == (problem, message, {"fqdn": [SAID]})
    assert refused.beside["reason"] == code
    assert refused.beside["diagnose"] == f"/api/v1/custom-domains/{APP.id}/diagnose"
    assert refused.beside["records"] == [
        {"action": "add", "type": "CNAME", "name": "app.example.com", "host": "app", "value": "verify.miosa.ai"}
    ]


def test_a_proof_is_needed() -> None:
    """What proves it stands beside, as the domain itself shows it."""
    proof: Any = refusal(APP, check(CheckResult.WRONG, need=Need.WILDCARD), [finding("wildcard_record")]).beside[
        "proof"
    ]
    assert proof["reason"] == "wildcard_record"
    assert [record["type"] for record in proof["records"]][-1] == "TXT"
