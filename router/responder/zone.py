"""The zone that the responder is in charge of: which names exist, and the records that never change.

    acme.example.net                   SOA, NS, CAA
    ns1.acme.example.net               A, AAAA, where a name server of ours lies in the zone
    _responder.acme.example.net        TXT: shows `doctor` that this program is reached
    tcp._responder.acme.example.net    the same, over TCP only
    <token>.acme.example.net           TXT, from the store, while an order is open

A name that has nothing itself, but names below it, exists without records (RFC 8020: an "empty non-terminal").
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dns.name
import dns.rdataset
import dns.rdatatype

from router.base.addresses import Address

PROBE = "_responder"
PROBE_TCP = "tcp._responder"
PROBE_TEXT = "miosa-router"

# Seconds. What the store says may change at any time, and so may what it does not say (RFC 2308 section 5: negative
# answers are kept for as long as the SOA's last field says).
VALUES_TTL = 1
FIXED_TTL = 3600

_TOKEN = re.compile(rb"[a-z2-7]{32}")
# Refresh, retry and expire are for secondaries, and there are none: every node answers from the store.
_SOA = "{server} {contact} 1 86400 7200 3600000 {negative}"
# No certificate is to be had for names of this zone itself (RFC 8659 section 4.2).
_CAA = '0 issue ";"'

Node = Mapping[dns.rdatatype.RdataType, dns.rdataset.Rdataset]


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """The zone's name, and each name in it that always exists, with its records."""

    name: dns.name.Name
    nodes: Mapping[dns.name.Name, Node]
    tcp_only: dns.name.Name

    @classmethod
    def of(
        cls,
        name: str,
        servers: Sequence[str],
        addresses: Mapping[str, Sequence[Address]],
        contact: str | None = None,
    ) -> "Zone":
        """The zone of that name. `servers` are the names of its name servers, one at least; `addresses` those of the ones
        that lie inside the zone. `contact` is an e-mail address for the SOA; None: hostmaster of the zone."""
        apex = _name(name)
        hosts = [_name(server) for server in servers]
        nodes: dict[dns.name.Name, dict[dns.rdatatype.RdataType, dns.rdataset.Rdataset]] = {}

        def put(owner: dns.name.Name, kind: str, *values: str, ttl: int = FIXED_TTL) -> None:
            records = dns.rdataset.from_text("IN", kind, ttl, *values)
            nodes.setdefault(owner, {})[records.rdtype] = records

        person = _mailbox(contact or f"hostmaster@{name}")
        put(apex, "SOA", _SOA.format(server=hosts[0], contact=person, negative=VALUES_TTL))
        put(apex, "NS", *(host.to_text() for host in hosts))
        put(apex, "CAA", _CAA)
        for host, known in ((host, addresses.get(server, ())) for host, server in zip(hosts, servers, strict=True)):
            if not host.is_subdomain(apex):
                continue
            for kind, version in (("A", 4), ("AAAA", 6)):
                values = [str(address) for address in known if address.version == version]
                if values:
                    put(host, kind, *values)
        tcp_only = dns.name.from_text(PROBE_TCP, apex)
        for probe in (dns.name.from_text(PROBE, apex), tcp_only):
            put(probe, "TXT", f'"{PROBE_TEXT}"', ttl=VALUES_TTL)
        for owner in list(nodes):
            while owner != apex:
                owner = owner.parent()  # noqa: PLW2901 - up to the zone's own name
                nodes.setdefault(owner, {})
        return cls(name=apex, nodes=nodes, tcp_only=tcp_only)

    @property
    def soa(self) -> dns.rdataset.Rdataset:
        """The SOA record."""
        return self.nodes[self.name][dns.rdatatype.SOA]

    def token_of(self, name: dns.name.Name) -> str | None:
        """The token that a name of the zone is, whether or not there is such an order; None where it is none."""
        if len(name) != len(self.name) + 1:
            return None
        label = name.labels[0].lower()
        return label.decode("ascii") if _TOKEN.fullmatch(label) else None


def _mailbox(address: str) -> str:
    """An e-mail address as the SOA has it (RFC 1035 section 8): dots before the @ are escaped."""
    person, _, domain = address.rpartition("@")
    return dns.name.Name([person.encode(), *_name(domain).labels]).to_text()


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text.lower())
