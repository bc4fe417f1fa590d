"""One record that a domain needs, as its owner is told: what to add where, and what was found there. Pure."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from router.clock import iso
from router.domains.challenge import txt_name
from router.domains.names import registered_domain

PENDING = "pending"  # nobody has looked yet
APEX = "@"  # how most DNS providers write the registered domain itself
OWNERSHIP = "ownership"  # what a record that shows whose a name is is for


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


def of_claim(name: str, token: str, checked_at: datetime | None = None) -> Requirement:
    """What shows that a name which somebody else has is one's own."""
    txt = txt_name(name)
    status = PENDING if checked_at is None else "missing"
    return Requirement(
        purpose=OWNERSHIP, type="TXT", name=txt, fqdn=txt, expected=token, status=status, checked_at=checked_at
    )
