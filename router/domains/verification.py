"""Verification: DNS is asked whether a domain leads to us, and what it says is written down.

    the records lead to us       verified
    they are missing or wrong    a custom domain's caller is told, a preview domain notes it; neither changes its state:
                                 records take their time to spread, and one look is no reason to take anything down
    nobody can tell              nothing changes at all

DNS is asked between two transactions, never inside one: a stranger's name server may take seconds.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from router.clock import Clock
from router.domains.custom import ALREADY, CustomDomain, CustomDomains
from router.domains.lookup import Lookup
from router.domains.pointing import Finding, Pointing, follow
from router.domains.preview import VERIFIED, PreviewDomain, PreviewDomains
from router.domains.states import may_move
from router.errors import CNAME_NOT_FOUND, CONFLICT, DNS_UNKNOWN, NOT_FOUND, RouterError
from router.hostname import SANDBOX
from router.routes.records import DomainStatus, Scope

CHECK_TIME = 10.0  # seconds for everything that one check asks
MISSING = "CNAME not found"

# The records that a preview domain needs. `*.sandbox` makes `sandbox` a name that exists, and then `*` no longer covers
# what lies below it (RFC 4592 §2.2.2): both are needed, always.
WILDCARDS = ("*", f"*.{SANDBOX}")
_LABELS = 2  # random labels per wildcard: one alone may exist by chance, or be somebody's guess

# Where several looks at one record differ, the worst counts; what is certain before what is not.
_WORST_FIRST = (Finding.WRONG, Finding.MISSING, Finding.PROPAGATING, Finding.UNKNOWN, Finding.VALID)


@dataclass(frozen=True, slots=True)
class WildcardCheck:
    """What one look found out about one wildcard record of a preview domain."""

    name: str
    finding: Finding
    observed: tuple[str, ...]
    reason: str | None

    def noted(self) -> dict[str, Any]:
        """As JSON, for whoever is told of it later."""
        return {
            "name": self.name,
            "status": self.finding.value,
            "observed": list(self.observed),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class ZoneCheck:
    """What one look found out about a preview domain's records, in the order of `WILDCARDS`."""

    records: tuple[WildcardCheck, ...]

    @property
    def finding(self) -> Finding:
        return _worst([record.finding for record in self.records])

    @property
    def dns_status(self) -> str:
        """The finding, in the word that a preview domain has for it."""
        return VERIFIED if self.finding is Finding.VALID else self.finding.value


class Verification:
    """Verifies domains. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        *,
        custom_domains: CustomDomains,
        preview_domains: PreviewDomains,
        lookup: Lookup,
        clock: Clock,
        targets: Sequence[str],
    ) -> None:
        """`targets` are the names of ours that records may lead to."""
        self._custom = custom_domains
        self._preview = preview_domains
        self._lookup = lookup
        self._clock = clock
        self._targets = tuple(targets)

    async def custom_domain(self, domain_id: str) -> CustomDomain:
        """Look, and mark the domain as verified where it leads to us.

        Raises RouterError: NOT_FOUND, CONFLICT "domain is already verified", CNAME_NOT_FOUND, DNS_UNKNOWN.
        """
        domain = await self._custom.get(domain_id)
        if not may_move(domain.status, DomainStatus.VERIFIED):
            raise RouterError(CONFLICT, ALREADY)
        (found,) = await self._follow([domain.fqdn])
        if not found.finding.definitive:
            raise RouterError(DNS_UNKNOWN)
        if found.finding is not Finding.VALID:
            wrong = _sentence(found, domain.verification_target)
            raise RouterError(CNAME_NOT_FOUND, MISSING, fields={"fqdn": [wrong]})
        return await self._custom.mark_verified(domain_id)

    async def preview_domain(self, scope: Scope, scope_id: str) -> tuple[PreviewDomain, ZoneCheck]:
        """Look, and note what the look found out.

        Raises RouterError: NOT_FOUND (the scope, or it has no preview domain of its own), CONFLICT where the domain was
        changed meanwhile.
        """
        preview = await self._preview.get(scope, scope_id)
        if preview is None:
            raise RouterError(NOT_FOUND, f"this {scope} has no preview domain")
        check = await self._look(preview.domain)
        if not check.finding.definitive:
            return preview, check
        detail = {"records": [record.noted() for record in check.records]}
        if check.finding is Finding.VALID:
            return await self._preview.mark_verified(scope, scope_id, preview.domain, detail=detail), check
        return await self._preview.note(scope, scope_id, preview.domain, check.dns_status, detail=detail), check

    async def _look(self, zone: str) -> ZoneCheck:
        names = [f"{_label()}{wildcard[1:]}.{zone}" for wildcard in WILDCARDS for _ in range(_LABELS)]
        found = await self._follow(names)
        groups = [found[place : place + _LABELS] for place in range(0, len(found), _LABELS)]
        return ZoneCheck(tuple(_of_wildcard(name, group) for name, group in zip(WILDCARDS, groups, strict=True)))

    async def _follow(self, names: Sequence[str]) -> tuple[Pointing, ...]:
        return await follow(self._lookup, names, self._targets, self._clock.monotonic() + CHECK_TIME, fresh=True)


def _label() -> str:
    return f"miosa-{secrets.token_hex(8)}"


def _of_wildcard(name: str, group: Sequence[Pointing]) -> WildcardCheck:
    worst = _worst([found.finding for found in group])
    shown = next(found for found in group if found.finding is worst)
    return WildcardCheck(name, worst, shown.observed, shown.reason)


def _worst(findings: Sequence[Finding]) -> Finding:
    return next(finding for finding in _WORST_FIRST if finding in findings)


def _sentence(found: Pointing, target: str) -> str:
    """What is wrong, and what would be right."""
    if not found.observed:
        return f"has no record yet; it must be a CNAME to {target}"
    return f"leads to {', '.join(found.observed)}; it must be a CNAME to {target}"
