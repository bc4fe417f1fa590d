"""Diagnosing: what DNS says of a domain now, and what else is known of it, put before the rules. It changes nothing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from router.clock import Clock
from router.domains.certificates import CertificateStatus
from router.domains.claims import ClaimRows, Names, Zones, host_is_held
from router.domains.custom import CustomDomain
from router.domains.diagnosis import diagnose
from router.domains.looking import WILDCARDS
from router.domains.lookup import Lookup
from router.domains.names import enclosing, registrable
from router.domains.pace import Pace
from router.domains.preview import PreviewDomain
from router.domains.remarks import Facts, Remark, Severity
from router.domains.survey import Subject, of_host, of_zone, survey
from router.errors import NOT_FOUND, RouterError
from router.routes.records import Scope
from router.settings import Ca
from router.unit import Unit

LOOK_TIME = 10.0  # seconds for everything that one diagnosis asks
EVERY = 10.0  # seconds between two of one domain

_WITHOUT = frozenset({CertificateStatus.FAILED, CertificateStatus.RATE_LIMITED, CertificateStatus.EXPIRING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found out about a domain. `status` None: nobody has registered it here. `docs_url` is the page that
    documents the codes, each under its own anchor."""

    domain: str
    status: str | None
    checked_at: datetime
    remarks: tuple[Remark, ...]
    docs_url: str

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return all(remark.severity is Severity.INFO for remark in self.remarks)

    def docs(self, remark: Remark) -> str:
        """Where a remark is explained."""
        return f"{self.docs_url}#{remark.code}"


class _Custom(Names, Protocol):
    async def get(self, domain_id: str) -> CustomDomain | None: ...

    async def by_fqdn(self, fqdn: str) -> CustomDomain | None: ...


class _Preview(Zones, Protocol):
    async def get(self, scope: Scope, scope_id: str) -> PreviewDomain | None: ...

    async def at(self, domains: Collection[str]) -> Sequence[PreviewDomain]:
        """Those whose domain is one of these."""


class DiagnosesTx(Protocol):
    @property
    def claims(self) -> ClaimRows: ...

    @property
    def custom_domains(self) -> _Custom: ...

    @property
    def preview_domains(self) -> _Preview: ...


class Diagnoses:
    """Makes diagnoses. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        store: Unit[DiagnosesTx],
        lookup: Lookup,
        clock: Clock,
        *,
        verify_target: str,
        proxy_target: str,
        ca: Ca,
        docs_url: str,
    ) -> None:
        """The targets are where a custom domain's record must lead, and a preview domain's."""
        self._store = store
        self._lookup = lookup
        self._clock = clock
        self._verify_target = verify_target
        self._proxy_target = proxy_target
        self._ca = ca
        self._docs_url = docs_url
        self._pace = Pace(clock, EVERY)

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
        """Any name: a custom domain, a preview domain, a host under one, or what nobody has registered. With a tenant, as it
        stands for that one: what is somebody else's, or was until lately, is held by another, and a claim to it is looked
        at.

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
            return await self._judge(subject, Facts(now=self._clock.now(), held_by_another=True))
        if domain is not None:
            return await self._of_custom(domain)
        if previews:
            nearest = max(previews, key=lambda preview: (len(preview.domain), preview.verified))
            return await self._of_preview(nearest, () if nearest.domain == name else (name,))
        return await self._judge(of_host(name, self._verify_target), Facts(now=self._clock.now()))

    async def _of_custom(self, domain: CustomDomain) -> Diagnosis:
        cert = domain.cert
        facts = Facts(
            now=self._clock.now(),
            status=domain.status.value,
            routes=domain.status.routes,
            suspended=domain.suspended,
            certificate_error=cert.last_error if cert.status in _WITHOUT else None,
            limited=cert.status is CertificateStatus.RATE_LIMITED,
            retry_at=cert.retry_at,
            verified_at=domain.verified_at,
        )
        return await self._judge(of_host(domain.fqdn, domain.verification_target, token=domain.token), facts)

    async def _of_preview(self, preview: PreviewDomain, hosts: Sequence[str]) -> Diagnosis:
        facts = Facts(
            now=self._clock.now(),
            status=preview.status.value,
            routes=preview.verified,
            verified_at=preview.verified_at,
        )
        return await self._judge(of_zone(preview.domain, self._proxy_target, WILDCARDS, hosts), facts)

    async def _judge(self, subject: Subject, facts: Facts) -> Diagnosis:
        self._pace.take(subject.name)
        targets = (self._verify_target, self._proxy_target)
        until = self._clock.monotonic() + LOOK_TIME
        seen = await survey(self._lookup, subject, targets, self._ca, until)
        return Diagnosis(
            domain=subject.name,
            status=facts.status,
            checked_at=facts.now,
            remarks=diagnose(seen, facts),
            docs_url=self._docs_url,
        )
