"""The records that a domain needs, as its owner is told: what to add where, and what the last check found there. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from router.base.clock import iso
from router.domains.checks.challenge import txt_name
from router.domains.names import WILDCARDS, registered_domain
from router.domains.targets import own_target

PENDING = "pending"  # not checked yet
APEX = "@"  # how most DNS providers write the registered domain itself
ROUTING = "routing"  # what a record that leads here is for
_VALID = "valid"
_BY_WILDCARD = "wildcard_record"  # `checks/proof.py` has it as Need.WILDCARD
OWNERSHIP = "ownership"  # what a record that shows whose a name is is for


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredRecord:
    """One record. `name` is what the domain's page calls it, `fqdn` its full name, `host` the label to type at the
    registrar. One that is not `required` is an alternative for domains behind a CDN.

    `status` is a finding, or `pending`; `observed` what was there instead or as expected, `reason` a word on what is wrong.
    `alternative` is another value that does as well, and proves whose the domain is. `warning` is a sentence on what the
    record alone may do.
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
    alternative: str | None = None
    warning: str | None = None

    @property
    def host(self) -> str:
        return host_label(self.fqdn)

    @property
    def value(self) -> str:
        """The same as `expected`, in the word of the preview domains' page."""
        return self.expected

    def shown(self) -> dict[str, Any]:
        """As JSON, as the API shows it."""
        return {
            **asdict(self),
            "host": self.host,
            "value": self.value,
            "observed": list(self.observed),
            "checked_at": None if self.checked_at is None else iso(self.checked_at),
        }


def host_label(fqdn: str) -> str:
    """What is typed at the registrar for a full name: it goes without the registered domain."""
    return fqdn.removesuffix(registered_domain(fqdn.removeprefix("*."))).removesuffix(".") or APEX


def of_claim(
    name: str, token: str, checked_at: datetime | None = None, *, target: str | None = None
) -> tuple[RequiredRecord, ...]:
    """What proves a claim to a name that another tenant has: the first, or else the second. With `target` a CNAME
    below it does, which leads the name here as well."""
    txt = txt_name(name)
    status = PENDING if checked_at is None else "missing"
    by_txt = RequiredRecord(
        purpose=OWNERSHIP, type="TXT", name=txt, fqdn=txt, expected=token, status=status, checked_at=checked_at
    )
    if target is None:
        return (by_txt,)
    own = own_target(token, target)
    by_cname = replace(by_txt, purpose=ROUTING, type="CNAME", name=name, fqdn=name, expected=own, required=False)
    return (by_txt, by_cname)


def of_custom(fqdn: str, token: str, target: str, detail: Mapping[str, Any] | None) -> tuple[RequiredRecord, ...]:
    """A custom domain's: where the name must lead, and what shows its ownership where the first record can't: behind a CDN,
    at the top of a domain, or by the target that all share where another tenant could be meant (`checks/proof.py`).

    `detail` is what the last check noted."""
    noted = _Noted(detail)
    # At the top of a registered domain no CNAME may stand (RFC 1034 §3.6.2); providers flatten one, or call it ALIAS.
    kind = "ALIAS" if host_label(fqdn) == APEX else "CNAME"
    txt = txt_name(fqdn)
    return (
        RequiredRecord(
            purpose=ROUTING, type=kind, name=fqdn, fqdn=fqdn, expected=own_target(token, target), **noted.of(ROUTING)
        ),
        RequiredRecord(
            purpose=OWNERSHIP,
            type="TXT",
            name=txt,
            fqdn=txt,
            expected=token,
            required=noted.proof_needed is not None,
            warning=_warning(fqdn, noted),
            **noted.of(OWNERSHIP),
        ),
    )


def _warning(fqdn: str, noted: "_Noted") -> str | None:
    """A record below a name makes it one of its own, which no wildcard beside it covers any more (RFC 4592 §2.2.2)."""
    if host_label(fqdn) == APEX or (noted.of(ROUTING).get("status") == _VALID and noted.proof_needed is None):
        return None
    if noted.proof_needed == _BY_WILDCARD:
        return (
            f"Only a wildcard may answer for {fqdn} now, and this record alone would hide it: add the CNAME before it."
        )
    return f"Where only a wildcard answers for {fqdn}, this record alone would hide it, and take {fqdn} down: add the CNAME first."


def instructions(fqdn: str, token: str, target: str) -> str:
    """What the owner of a custom domain is to do, in a sentence."""
    own = own_target(token, target)
    if host_label(fqdn) != APEX:
        return f"Add a CNAME record for {fqdn} that points to {own}."
    return f"Add an ALIAS (or ANAME) record for {fqdn} that points to {own}, or A and AAAA records with its addresses."


def of_preview(domain: str, token: str, target: str, detail: Mapping[str, Any] | None) -> tuple[RequiredRecord, ...]:
    """A preview domain's: its two wildcards, and what shows whose the domain is, where another tenant could be meant. Both
    wildcards as CNAMEs to the domain's own target, the `alternative`, show that too.

    `detail` is what a check noted."""
    noted = _Noted(detail)
    txt = txt_name(domain)
    proof = RequiredRecord(purpose=OWNERSHIP, type="TXT", name=txt, fqdn=txt, expected=token, **noted.of(OWNERSHIP))
    routing = tuple(
        RequiredRecord(
            purpose=ROUTING,
            type="CNAME",
            name=name,
            fqdn=f"{name}.{domain}",
            expected=target,
            alternative=own_target(token, target) if token else None,
            **noted.of(name),
        )
        for name in WILDCARDS
    )
    return routing if noted.proof_needed is None else (*routing, proof)


class _Noted:
    """What a check noted (`Check.noted`), by record."""

    def __init__(self, detail: Mapping[str, Any] | None) -> None:
        detail = detail or {}
        at = detail.get("checked_at")
        self._at = None if at is None else datetime.fromisoformat(at)
        self.proof_needed: str | None = detail.get("proof_needed")
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
