"""Verification: somebody, or the schedule, wants to know whether a domain leads to us, and what that says is written down.

    the records lead to us       verified
    they are missing or wrong    whoever asked is told; what it makes of the domain is for `checks.py` to say: records take
                                 their time to spread, and one look is no reason to take anything down
    nobody can tell              nothing changes but when it is looked at next

DNS is asked between two transactions, never inside one: a stranger's name server may take seconds.
"""

from router.domains.custom import ALREADY, CustomDomain, CustomDomains
from router.domains.custom_life import CustomLife
from router.domains.looking import Look, Looker, sentence
from router.domains.pointing import Finding
from router.domains.preview import PreviewDomain, PreviewDomains
from router.domains.preview_life import PreviewLife
from router.domains.states import may_move
from router.errors import CNAME_NOT_FOUND, CONFLICT, DNS_UNKNOWN, NOT_FOUND, RouterError
from router.leases import Lease
from router.routes.records import DomainStatus, Scope

MISSING = "CNAME not found"


class Verification:
    """Verifies domains. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        *,
        custom_domains: CustomDomains,
        preview_domains: PreviewDomains,
        custom_life: CustomLife,
        preview_life: PreviewLife,
        looker: Looker,
    ) -> None:
        self._custom = custom_domains
        self._preview = preview_domains
        self._custom_life = custom_life
        self._preview_life = preview_life
        self._looker = looker

    async def custom_domain(self, domain_id: str) -> CustomDomain:
        """Look, and mark the domain as verified where it leads to us.

        Raises RouterError: NOT_FOUND, CONFLICT "domain is already verified", CHECKED_JUST_NOW, CNAME_NOT_FOUND,
        DNS_UNKNOWN.
        """
        domain = await self._custom.get(domain_id)
        if not may_move(domain.status, DomainStatus.VERIFIED):
            raise RouterError(CONFLICT, ALREADY)
        domain, look = await self._look(domain_id)
        if not look.finding.definitive:
            raise RouterError(DNS_UNKNOWN)
        if look.finding is not Finding.VALID:
            wrong = sentence(look, domain.verification_target)
            raise RouterError(CNAME_NOT_FOUND, MISSING, fields={"fqdn": [wrong]})
        return domain

    async def check_custom_domain(self, domain_id: str) -> CustomDomain:
        """As `custom_domain`, in any state, and whatever the look finds. Raises RouterError: NOT_FOUND, CHECKED_JUST_NOW."""
        domain, _ = await self._look(domain_id)
        return domain

    async def preview_domain(self, scope: Scope, scope_id: str) -> tuple[PreviewDomain, Look]:
        """Look, and note what the look found out.

        Raises RouterError: NOT_FOUND (the scope, or it has no preview domain of its own), CONFLICT where the domain was
        changed meanwhile, CHECKED_JUST_NOW.
        """
        preview = await self._preview.get(scope, scope_id)
        if preview is None:
            raise RouterError(NOT_FOUND, f"this {scope} has no preview domain")
        seen = await self._preview_life.ask(preview.id)
        look = await self._looker.zone(seen.domain, before=seen.check.method, fresh=True)
        return await self._preview_life.note(seen, look, asked_for=True), look

    async def recheck_custom_domain(self, domain_id: str, under: Lease) -> Finding:
        """A look that is due. Raises RouterError: NOT_FOUND."""
        domain = await self._custom.get(domain_id)
        look = await self._looker.custom_domain(domain)
        await self._custom_life.note(domain, look, under=under)
        return look.finding

    async def recheck_preview_domain(self, preview_id: str, under: Lease) -> Finding:
        """A look that is due. Raises RouterError: NOT_FOUND, CONFLICT."""
        preview = await self._preview_life.get(preview_id)
        look = await self._looker.zone(preview.domain, before=preview.check.method)
        await self._preview_life.note(preview, look, under=under)
        return look.finding

    async def _look(self, domain_id: str) -> tuple[CustomDomain, Look]:
        seen = await self._custom_life.ask(domain_id)
        look = await self._looker.custom_domain(seen, fresh=True)
        return await self._custom_life.note(seen, look, asked_for=True), look
