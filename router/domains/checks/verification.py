"""Verification: check whether a domain leads to us, because a tenant or the schedule wants to know, and apply the result.

    the records lead to us       verified
    they are missing or wrong    the tenant that asked is told; `schedule.py` decides what it means for the domain: records
                                 take their time to spread, and one check is no reason to take anything down
    it is not known              nothing changes but when the next check is due

DNS is asked between two transactions, never inside one: a stranger's name server may take seconds.
"""

from router.base.leases import Lease
from router.base.transactions import commit_ambient
from router.domains.checks.apply_custom import CustomResults
from router.domains.checks.apply_preview import PreviewResults
from router.domains.checks.checker import Checker
from router.domains.checks.cooldown import ConcurrencyLimit
from router.domains.checks.judgement import Check
from router.domains.checks.pointing import CheckResult
from router.domains.checks.refusals import refusal
from router.domains.custom import CustomDomain
from router.domains.custom_domains import CustomDomains
from router.domains.diagnosis.diagnoser import Diagnoses
from router.domains.preview_domains import PreviewDomain, PreviewDomains
from router.domains.states import may_move
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.routes.records import DomainStatus, Scope

ALREADY = "domain is already verified"


class Verification:
    """Verifies domains. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        *,
        custom_domains: CustomDomains,
        preview_domains: PreviewDomains,
        custom_results: CustomResults,
        preview_results: PreviewResults,
        checker: Checker,
        diagnoses: Diagnoses,
    ) -> None:
        self._custom = custom_domains
        self._preview = preview_domains
        self._custom_results = custom_results
        self._preview_results = preview_results
        self._checker = checker
        self._diagnoses = diagnoses
        self._limit = ConcurrencyLimit()

    async def custom_domain(self, domain_id: str) -> CustomDomain:
        """Check, and mark the domain as verified where it leads to us.

        Raises RouterError: NOT_FOUND, CONFLICT "domain is already verified", CHECKED_JUST_NOW, CNAME_NOT_FOUND,
        PROOF_NEEDED, DNS_UNKNOWN, RATE_LIMITED.
        """
        domain = await self._custom.get(domain_id)
        if not may_move(domain.status, DomainStatus.VERIFIED):
            raise RouterError(CONFLICT, ALREADY)
        domain, check = await self._check_custom(domain)
        if check.result is CheckResult.VALID:
            return domain
        await commit_ambient()
        raise refusal(domain, check, await self._diagnoses.explain(domain, check))

    async def check_custom_domain(self, domain_id: str) -> CustomDomain:
        """As `custom_domain`, in any state, and whatever the result. Raises RouterError: NOT_FOUND, CHECKED_JUST_NOW,
        RATE_LIMITED."""
        domain, _ = await self._check_custom(await self._custom.get(domain_id))
        return domain

    async def preview_domain(self, scope: Scope, scope_id: str) -> tuple[PreviewDomain, Check]:
        """Check, and apply the result.

        Raises RouterError: NOT_FOUND (the scope, or it has no preview domain of its own), CONFLICT where the domain was
        changed meanwhile, CHECKED_JUST_NOW, RATE_LIMITED.
        """
        preview = await self._preview.get(scope, scope_id)
        if preview is None:
            raise RouterError(NOT_FOUND, f"this {scope} has no preview domain")
        with self._limit.take(preview.tenant_id):
            seen = await self._preview_results.request_check(preview.id)
            check = await self._checker.zone(seen, fresh=True)
            return await self._preview_results.apply_check(seen, check, requested=True)

    async def recheck_custom_domain(self, domain_id: str, under: Lease) -> CheckResult:
        """A check that is due. Raises RouterError: NOT_FOUND."""
        domain = await self._custom.get(domain_id)
        check = await self._checker.custom_domain(domain)
        _, check = await self._custom_results.apply_check(domain, check, under=under)
        return check.result

    async def recheck_preview_domain(self, preview_id: str, under: Lease) -> CheckResult:
        """A check that is due. Raises RouterError: NOT_FOUND, CONFLICT."""
        preview = await self._preview_results.get(preview_id)
        check = await self._checker.zone(preview)
        _, check = await self._preview_results.apply_check(preview, check, under=under)
        return check.result

    async def _check_custom(self, domain: CustomDomain) -> tuple[CustomDomain, Check]:
        with self._limit.take(domain.tenant_id):
            seen = await self._custom_results.request_check(domain.id)
            await commit_ambient()
            check = await self._checker.custom_domain(seen, fresh=True)
            return await self._custom_results.apply_check(seen, check, requested=True)
