"""Diagnosing: what DNS says of a domain now, and what else is known of it, put before the rules. It changes nothing."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from router.base.clock import Clock
from router.base.transactions import Transactions
from router.domains.certificates import CertificateStatus
from router.domains.checks.apply import judged
from router.domains.checks.checker import Checker
from router.domains.checks.cooldown import ConcurrencyLimit, Cooldown
from router.domains.checks.judgement import Check
from router.domains.claims import host_is_held
from router.domains.custom import CustomDomain
from router.domains.diagnosis.delegation_snapshot import Delegations
from router.domains.diagnosis.findings import Context, Finding, Severity, an_info
from router.domains.diagnosis.rules import diagnose
from router.domains.diagnosis.snapshot import Target, of_host, of_zone, take_snapshot
from router.domains.lookup import Lookup
from router.domains.names import WILDCARDS, enclosing, registrable
from router.domains.preview_domains import PreviewDomain
from router.domains.targets import own_target
from router.domains.transaction import Tx
from router.errors import NOT_FOUND, RouterError
from router.routes.records import Scope
from router.settings import Ca

DIAGNOSIS_TIMEOUT = 10.0  # seconds for everything that one diagnosis asks
EXPLANATION_TIMEOUT = 5.0  # seconds to find out why a check did not verify a domain
EVERY = 10.0  # seconds between two of one domain

_WITHOUT = frozenset({CertificateStatus.FAILED, CertificateStatus.RATE_LIMITED, CertificateStatus.EXPIRING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found out about a domain. `status` None: it is not registered here. `docs_url` is the page that
    documents the codes, each under its own anchor."""

    domain: str
    status: str | None
    checked_at: datetime
    findings: tuple[Finding, ...]
    docs_url: str

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.severity is Severity.INFO for finding in self.findings)

    def docs(self, finding: Finding) -> str:
        """Where a finding is explained."""
        return f"{self.docs_url}#{finding.code}"


class Diagnoses:
    """Makes diagnoses. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        store: Transactions[Tx],
        lookup: Lookup,
        clock: Clock,
        *,
        checker: Checker,
        verify_target: str,
        proxy_target: str,
        ca: Ca,
        docs_url: str,
        delegations: Delegations | None = None,
        platform: str | None = None,
    ) -> None:
        """The targets are where a custom domain's record must lead, and a preview domain's. Without `delegations` zones have none
        to give. `platform` is the platform's own zone, where the router orders its certificate."""
        self._store = store
        self._lookup = lookup
        self._clock = clock
        self._checker = checker
        self._verify_target = verify_target
        self._proxy_target = proxy_target
        self._ca = ca
        self._docs_url = docs_url
        self._delegations = delegations
        self._platform = platform
        self._cooldown = Cooldown(clock, EVERY)
        self._limit = ConcurrencyLimit()

    async def custom_domain(self, domain_id: str) -> Diagnosis:
        """Raises RouterError: NOT_FOUND, RATE_LIMITED."""
        async with self._store.read() as tx:
            domain = await tx.custom_domains.get(domain_id)
        if domain is None or domain.removed_at is not None:
            raise RouterError(NOT_FOUND, "domain not found")
        return await self._of_custom(domain)

    async def preview_domain(self, scope: Scope, scope_id: str, hosts: Sequence[str] = ()) -> Diagnosis:
        """`hosts` are names under it that should answer. Raises RouterError: NOT_FOUND where the scope has none
        of its own, RATE_LIMITED."""
        async with self._store.read() as tx:
            preview = await tx.preview_domains.get(scope, scope_id)
        if preview is None:
            raise RouterError(NOT_FOUND, f"this {scope} has no preview domain")
        return await self._of_preview(preview, hosts)

    async def name(self, text: str, tenant_id: str | None = None) -> Diagnosis:
        """Any name: a custom domain, a preview domain, a host under one, or one that is not registered. With a tenant, as it
        stands for that one: what another tenant has, or had until lately, is held by another, and a claim to it is
        checked.

        Raises RouterError: VALIDATION_FAILED (`domain`), RATE_LIMITED.
        """
        name = registrable(text, (), field="domain")
        async with self._store.read() as tx:
            domain = await tx.custom_domains.by_fqdn(name)
            previews = await tx.preview_domains.at(enclosing(name))
            own = domain is not None and domain.tenant_id == tenant_id
            held = not own and tenant_id is not None and await host_is_held(tx, name, tenant_id, self._clock.now())
            claim = await tx.claims.of(tenant_id, name) if tenant_id is not None and held else None
        if held:
            token = None if claim is None else claim.token
            subject = of_host(name, self._verify_target, token=token, to_prove=claim is not None)
            return await self._judge(subject, Context(now=self._clock.now(), held_by_another=True), tenant_id)
        if domain is not None:
            return await self._of_custom(domain)
        if previews:
            nearest = max(previews, key=lambda preview: (len(preview.domain), preview.verified))
            return await self._of_preview(nearest, () if nearest.domain == name else (name,))
        if self._platform is not None and self._platform in enclosing(name):
            return self._of_platform(name, self._platform)
        return await self._judge(of_host(name, self._verify_target), Context(now=self._clock.now()), tenant_id)

    def _of_platform(self, name: str, zone: str) -> Diagnosis:
        """Its records are the operator's own, and none of those that customers' domains need."""
        where = "is the platform's own zone" if name == zone else f"lies in the platform's own zone, {zone}"
        finding = an_info(
            "platform_zone",
            f"{name} {where}, and no customer's. `miosa-router domains delegation {zone}` shows the records of its certificate, and "
            "`miosa-router doctor` whether the platform's names lead here.",
        )
        return Diagnosis(
            domain=name, status=None, checked_at=self._clock.now(), findings=(finding,), docs_url=self._docs_url
        )

    async def _of_custom(self, domain: CustomDomain) -> Diagnosis:
        cert = domain.cert
        async with self._store.read() as tx:
            blocked = await tx.owners.blocked(domain.id)
        context = Context(
            now=self._clock.now(),
            status=domain.status.value,
            routes=domain.status.routes,
            suspended=blocked,
            certificate_error=cert.last_error if cert.status in _WITHOUT else None,
            limited=cert.status is CertificateStatus.RATE_LIMITED,
            retry_at=cert.retry_at,
            verified_at=domain.verified_at,
        )

        async def check(until: float) -> Check:
            return await self._checker.custom_domain(domain, fresh=True, until=until)

        return await self._judge(_subject(domain), context, domain.tenant_id, check)

    async def explain(self, domain: CustomDomain, check: Check) -> tuple[Finding, ...]:
        """What is wrong with a domain that a check has just found, as a diagnosis says it."""
        until = self._clock.monotonic() + EXPLANATION_TIMEOUT
        targets = (self._verify_target, self._proxy_target)
        seen = await take_snapshot(self._lookup, _subject(domain), targets, self._ca, until, check=check)
        status, routes = domain.status.value, domain.status.routes
        return diagnose(seen, Context(now=self._clock.now(), status=status, routes=routes, check=check))

    async def _of_preview(self, preview: PreviewDomain, hosts: Sequence[str]) -> Diagnosis:
        context = Context(
            now=self._clock.now(),
            status=preview.status.value,
            routes=preview.verified,
            verified_at=preview.verified_at,
        )
        own = own_target(preview.token, self._proxy_target)
        delegated = None
        if self._delegations is not None:
            delegated = await self._delegations.delegated(preview.domain, preview.tenant_id)
        subject = of_zone(
            preview.domain, self._proxy_target, WILDCARDS, hosts, token=preview.token, own=own, delegated=delegated
        )

        async def check(until: float) -> Check:
            return await self._checker.zone(preview, fresh=True, until=until)

        return await self._judge(subject, context, preview.tenant_id, check)

    async def _judge(
        self,
        subject: Target,
        context: Context,
        tenant_id: str | None,
        check: Callable[[float], Awaitable[Check]] | None = None,
    ) -> Diagnosis:
        """`tenant_id` is whom it counts for; `check` makes the check that verify would, until an instant."""
        self._cooldown.take(subject.name)
        targets = (self._verify_target, self._proxy_target)
        until = self._clock.monotonic() + DIAGNOSIS_TIMEOUT
        with self._limit.take(tenant_id or ""):
            checked = None if check is None else await check(until)
            if checked is not None and not context.routes and tenant_id is not None:
                async with self._store.read() as tx:
                    checked = await judged(tx, checked, tenant_id, context.now)
            seen = await take_snapshot(self._lookup, subject, targets, self._ca, until, check=checked)
            context = replace(context, check=checked)
        return Diagnosis(
            domain=subject.name,
            status=context.status,
            checked_at=context.now,
            findings=diagnose(seen, context),
            docs_url=self._docs_url,
        )


def _subject(domain: CustomDomain) -> Target:
    own = own_target(domain.token, domain.verification_target)
    return of_host(domain.fqdn, domain.verification_target, token=domain.token, own=own)
