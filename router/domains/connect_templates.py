"""Our templates for Domain Connect (draft-ietf-dconn-domainconnect §5): which records a DNS provider sets for a domain. Pure data.

    custom-domain        a CNAME at the host that is applied, and the TXT proof
    custom-domain-apex   A and AAAA at the top of a zone, and the TXT proof
    previews             two wildcards, and the TXT proof
    previews-wildcard    the same, and two CNAMEs by which we get one certificate for the zone

What differs between two domains is a variable, and as little of a record as can be: a token. All else stands in the template, so a
link can never set a record that leads to somebody else. An owner of the template's names (`Names`) publishes the files once, in
the repository that the providers take them from; `deploy/domain-connect/` has them for the names in `EXAMPLE`.
"""

import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from router.domains.checks.challenge import LABEL
from router.domains.names import WILDCARDS
from router.hostname import SANDBOX

TTL = 3600  # seconds
ACME_LABEL = "_acme-challenge"
DELEGATED = (ACME_LABEL, f"{ACME_LABEL}.{SANDBOX}")  # below a zone
_VERSION = 1
_PART = 200  # characters of a key in one TXT record, which has 255 in a string (RFC 1035 §3.3)
_TOKEN, _DELEGATION = "token", "delegation"  # the variables
_ABOUT = {
    _TOKEN: "token: what proves whose the domain is, 32 hexadecimal digits of its registration",
    _DELEGATION: "delegation: the zone's own label, 32 letters and digits, below which its certificate is validated",
}


class Service(enum.StrEnum):
    """A template, by its serviceId."""

    HOST = "custom-domain"
    APEX = "custom-domain-apex"
    ZONE = "previews"
    WILDCARD = "previews-wildcard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What of this installation stands in its templates. `return_host` is the host of `domain_connect.return_url`, `acme_zone` the
    zone in which delegated names are answered; None: none is."""

    provider_id: str
    provider_name: str
    key_domain: str
    return_host: str
    verify_target: str
    proxy_target: str
    addresses: Sequence[ipaddress.IPv4Address | ipaddress.IPv6Address] = ()
    acme_zone: str | None = None

    @property
    def services(self) -> tuple[Service, ...]:
        """The templates that there are for it."""
        apex = (Service.APEX,) if self.addresses else ()
        wildcard = (Service.WILDCARD,) if self.acme_zone is not None else ()
        return (Service.HOST, *apex, Service.ZONE, *wildcard)


EXAMPLE = Names(
    provider_id="miosa.ai",
    provider_name="MIOSA",
    key_domain="domainconnect.miosa.ai",
    return_host="api.miosa.ai",
    verify_target="verify.miosa.ai",
    proxy_target="proxy.miosa.ai",
    addresses=(ipaddress.IPv4Address("192.0.2.1"), ipaddress.IPv6Address("2001:db8::1")),
    acme_zone="acme.miosa.ai",
)


def key_records(public: str) -> list[str]:
    """The values of the TXT records of a public key, in parts of which each fits into a string ("Public Key Publication")."""
    pieces = [public[place : place + _PART] for place in range(0, len(public), _PART)]
    return [f"p={number},a=RS256,d={piece}" for number, piece in enumerate(pieces, 1)]


def file_name(names: Names, service: Service) -> str:
    """How the repository of templates wants the file to be called."""
    return f"{names.provider_id}.{service}.json"


def template(names: Names, service: Service) -> dict[str, Any]:
    """One template, as JSON."""
    name, description, records = _content(names, service)
    used = [about for variable, about in _ABOUT.items() if any(f"%{variable}%" in str(one) for one in records)]
    return {
        "providerId": names.provider_id,
        "providerName": names.provider_name,
        "serviceId": str(service),
        "serviceName": name,
        "version": _VERSION,
        "description": description,
        "variableDescription": "; ".join(used),
        "syncPubKeyDomain": names.key_domain,
        "syncRedirectDomain": names.return_host,
        # A CNAME can't stand at the top of a zone.
        **({"hostRequired": True} if service is Service.HOST else {}),
        "records": records,
    }


def _content(names: Names, service: Service) -> tuple[str, str, list[dict[str, Any]]]:
    proof = {"type": "TXT", "host": LABEL, "data": f"%{_TOKEN}%", "ttl": TTL, "txtConflictMatchingMode": "All"}
    if service is Service.HOST:
        record = _cname("@", f"%{_TOKEN}%.{names.verify_target}")
        return "Custom domain", "Leads a host name to a customer's program", [record, proof]
    if service is Service.APEX:
        found = [
            {"type": "AAAA" if one.version == 6 else "A", "host": "@", "pointsTo": str(one), "ttl": TTL}
            for one in names.addresses
        ]
        return "Custom domain", "Leads a domain itself to a customer's program", [*found, proof]
    wildcards = [_cname(wildcard, f"%{_TOKEN}%.{names.proxy_target}") for wildcard in WILDCARDS]
    if service is Service.ZONE:
        return "Preview domain", "Leads all names below a domain to a customer's previews", [*wildcards, proof]
    delegated = [_cname(name, f"%{_DELEGATION}%.{names.acme_zone}") for name in DELEGATED]
    return (
        "Preview domain with a wildcard certificate",
        "Leads all names below a domain to a customer's previews, which get one certificate",
        [*wildcards, *delegated, proof],
    )


def _cname(host: str, target: str) -> dict[str, Any]:
    return {"type": "CNAME", "host": host, "pointsTo": target, "ttl": TTL}
