"""Results of checks, as if DNS had been asked, and domains after them: by the way that production goes."""

from dataclasses import replace
from datetime import datetime
from typing import Protocol

from router.domains.checks.apply_custom import CustomResults
from router.domains.checks.apply_preview import PreviewResults
from router.domains.checks.caa import CaaFinding, CaaVerdict
from router.domains.checks.judgement import Check
from router.domains.checks.pointing import CheckResult
from router.domains.checks.proof import Evidence
from router.domains.checks.schedule import FAILING_TIME, FAILURES, WAITING_TIME, CheckState, Method
from router.domains.custom import CustomDomain
from router.domains.custom_domains import CustomDomains
from router.domains.preview_domains import PreviewDomain, PreviewDomains
from router.routes.records import Scope


class Applied(Protocol):
    """Services that have domains and apply the results of their checks."""

    custom_domains: CustomDomains
    preview_domains: PreviewDomains
    custom_results: CustomResults
    preview_results: PreviewResults


def leads_here(name: str) -> Check:
    """A check that finds the name's records right, with a proof of its owner's."""
    evidence = Evidence(own=True, names=(name,))
    caa = CaaFinding(CaaVerdict.ALLOWED)
    return Check(result=CheckResult.VALID, records=(), caa=caa, method=Method.CNAME, evidence=evidence)


def leads_elsewhere() -> Check:
    """A check that finds wrong records."""
    return Check(result=CheckResult.WRONG, records=(), caa=CaaFinding(CaaVerdict.ALLOWED))


def about_to_fail(state: CheckState, now: datetime) -> CheckState:
    """A schedule by which the next wrong result makes the domain fail."""
    return replace(state, failures=FAILURES - 1, failing_since=now - FAILING_TIME, waiting_since=now - WAITING_TIME)


async def verify_custom(services: Applied, domain_id: str) -> CustomDomain:
    domain = await services.custom_domains.get(domain_id)
    verified, _ = await services.custom_results.apply_check(domain, leads_here(domain.fqdn), requested=True)
    return verified


async def verify_preview(services: Applied, scope: Scope, scope_id: str) -> PreviewDomain:
    preview = await services.preview_domains.get(scope, scope_id)
    assert preview is not None, "the scope has a preview domain"
    verified, _ = await services.preview_results.apply_check(preview, leads_here(preview.domain), requested=True)
    return verified
