"""The zone that tests of the responder have, and queries for it."""

import ipaddress
from typing import Any

import dns.flags
import dns.message
import dns.name

from router.responder import Zone

ZONE = "acme.example.net"
TOKEN = "abcdefghijklmnopqrstuvwxyz234567"
OTHER = "7" * 32
VALUES = {TOKEN: ("x" * 43, "y" * 43)}
SERVERS = ("ns1.acme.example.net", "ns2.deep.acme.example.net", "ns.elsewhere.example")
ADDRESSES = {
    "ns1.acme.example.net": (ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("2001:db8::1")),
    "ns2.deep.acme.example.net": (ipaddress.ip_address("192.0.2.2"),),
}


def zone() -> Zone:
    return Zone.of(ZONE, SERVERS, ADDRESSES)


def query(name: str, kind: str = "TXT", **options: Any) -> dns.message.Message:
    """A query as resolvers send it, with EDNS unless `use_edns` says otherwise."""
    options = {"use_edns": 0, "payload": 1232, **options}
    return dns.message.make_query(name, kind, flags=dns.flags.Flag(0), **options)


def said(message: dns.message.Message) -> tuple[str, bool, list[str]]:
    """An answer as tests compare it: response code, AA, and its records without their names."""
    records = [rdata.to_text() for rrset in message.answer for rdata in rrset]
    return message.rcode().name, bool(message.flags & dns.flags.AA), sorted(records)
