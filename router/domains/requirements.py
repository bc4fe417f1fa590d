"""The records that a domain needs, as its owner is told: what to add where, and what the last look found there. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from router.domains.challenge import txt_name
from router.domains.custom import CustomDomain
from router.domains.looking import ROUTING, WILDCARDS
from router.domains.preview import PreviewDomain
from router.domains.requirement import APEX, OWNERSHIP, Requirement, host_label


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
