"""The records that a domain needs, as its owner is told: what to add where, and what the last look found there. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from router.domains.challenge import txt_name
from router.domains.custom import CustomDomain
from router.domains.looking import OWNERSHIP, ROUTING, WILDCARDS
from router.domains.names import registered_domain
from router.domains.preview import PreviewDomain

PENDING = "pending"  # nobody has looked yet
APEX = "@"  # how most DNS providers write the registered domain itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One record. `name` is what the domain's page calls it, `fqdn` its full name, `host` the label to type at the
    registrar. One that is not `required` is an alternative for domains behind a CDN.

    `status` is a finding, or `pending`; `observed` what was there instead or as expected, `reason` a word on what is wrong.
    """

    purpose: str
    type: str
    name: str
    fqdn: str
    expected: str
    required: bool = True
    observed: tuple[str, ...] = ()
    status: str = PENDING
    reason: str | None = None
    checked_at: datetime | None = None

    @property
    def host(self) -> str:
        return host_label(self.fqdn)

    @property
    def value(self) -> str:
        """The same as `expected`, in the word of the preview domains' page."""
        return self.expected


def host_label(fqdn: str) -> str:
    """What is typed at the registrar for a full name: it goes without the registered domain."""
    return fqdn.removesuffix(registered_domain(fqdn.removeprefix("*."))).removesuffix(".") or APEX


def of_custom(domain: CustomDomain) -> tuple[Requirement, ...]:
    """Where the name must lead, and what shows its ownership where a CDN hides that."""
    seen = _Seen(domain.detail)
    # At the top of a registered domain no CNAME may stand (RFC 1034 §3.6.2); providers flatten one, or call it ALIAS.
    kind = "ALIAS" if host_label(domain.fqdn) == APEX else "CNAME"
    txt = txt_name(domain.fqdn)
    return (
        Requirement(
            purpose=ROUTING,
            type=kind,
            name=domain.fqdn,
            fqdn=domain.fqdn,
            expected=domain.verification_target,
            **seen.of(ROUTING),
        ),
        Requirement(
            purpose=OWNERSHIP,
            type="TXT",
            name=txt,
            fqdn=txt,
            expected=domain.token,
            required=False,
            **seen.of(OWNERSHIP),
        ),
    )


def of_preview(preview: PreviewDomain, target: str, detail: Mapping[str, Any] | None = None) -> tuple[Requirement, ...]:
    """The two wildcards, as the last look that is kept found them, or another one's `detail`."""
    seen = _Seen(preview.detail if detail is None else detail)
    return tuple(
        Requirement(
            purpose=ROUTING, type="CNAME", name=name, fqdn=f"{name}.{preview.domain}", expected=target, **seen.of(name)
        )
        for name in WILDCARDS
    )


def of_claim(name: str, token: str, checked_at: datetime | None = None) -> Requirement:
    """What shows that a name which somebody else has is one's own."""
    txt = txt_name(name)
    status = PENDING if checked_at is None else "missing"
    return Requirement(
        purpose=OWNERSHIP, type="TXT", name=txt, fqdn=txt, expected=token, status=status, checked_at=checked_at
    )


class _Seen:
    """What a look noted (`Look.noted`), by record."""

    def __init__(self, detail: Mapping[str, Any] | None) -> None:
        detail = detail or {}
        at = detail.get("checked_at")
        self._at = None if at is None else datetime.fromisoformat(at)
        self._records = {record["name"]: record for record in detail.get("records", ())}

    def of(self, name: str) -> dict[str, Any]:
        record = self._records.get(name)
        if record is None:
            return {}
        return {
            "status": record["status"],
            "observed": tuple(record["observed"]),
            "reason": record["reason"],
            "checked_at": self._at,
        }
