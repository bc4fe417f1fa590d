"""The zone: its records, and which names are tokens."""

import ipaddress

import dns.name
import dns.rdatatype
import pytest

from router.responder import Zone
from tests.support.responder_zone import TOKEN, ZONE, zone


@pytest.mark.parametrize(
    ("contact", "mailbox"),
    [
        (None, f"hostmaster.{ZONE}."),
        ("ops@example.com", "ops.example.com."),
        ("jane.doe@example.com", "jane\\.doe.example.com."),
    ],
)
def test_whom_to_write_to(contact: str | None, mailbox: str) -> None:
    """The SOA has the contact, with its dots before the @ escaped (RFC 1035 section 8), or the zone's hostmaster."""
    made = Zone.of(ZONE, ["ns1.example.net"], {}, contact)
    (record,) = made.soa
    assert (record.mname.to_text(), record.rname.to_text()) == ("ns1.example.net.", mailbox)


def test_addresses_of_servers_elsewhere_are_not_ours() -> None:
    """Whatever is given: their own zones have them."""
    made = Zone.of(ZONE, ["ns1.example.net"], {"ns1.example.net": [ipaddress.ip_address("192.0.2.1")]})
    assert dns.name.from_text("ns1.example.net") not in made.nodes


def test_the_zone_may_be_its_own_server() -> None:
    """Then its name has addresses too."""
    made = Zone.of(ZONE, [ZONE], {ZONE: [ipaddress.ip_address("192.0.2.1")]})
    assert {kind.name for kind in made.nodes[made.name]} == {"SOA", "NS", "CAA", "A"}


@pytest.mark.parametrize(
    ("label", "token"),
    [
        (TOKEN, TOKEN),
        (TOKEN.upper(), TOKEN),
        (TOKEN + "a", None),
        ("a" * 31, None),
        ("0" * 32, None),
        (f"x.{TOKEN}", None),
        ("", None),
    ],
)
def test_which_names_are_tokens(label: str, token: str | None) -> None:
    """One label of 32 characters of base32, in any case."""
    name = dns.name.from_text(f"{label}.{ZONE}" if label else ZONE)
    assert zone().token_of(name) == token
    assert dns.rdatatype.SOA in zone().nodes[zone().name]
