"""Which addresses may be dialled: one table, address by address, with what each rule says of it."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from router.base.addresses import Network, embedded_ipv4, is_public, may_be_dialled, own_listener, refusal, subscriber
from router.settings import Settings
from router.tenancy.destinations import Destinations

DEFAULT = Settings().backend_networks


def nets(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


ANY = nets("0.0.0.0/0", "::/0")
OUTSIDE, TRANSLATED = "is outside the backend networks", "is a translated IPv4 address"
METADATA, LOOPBACK, LINK_LOCAL = "is a metadata service", "is a loopback address", "is a link-local address"
UNSPECIFIED, NOT_ONE = "is the unspecified address", "is not the address of one machine"

# Address; may a stranger choose it; what is wrong with it as an endpoint, with the default networks and with all networks.
TABLE: tuple[tuple[str, bool, str | None, str | None], ...] = (
    # public
    ("1.1.1.1", True, OUTSIDE, None),
    ("8.8.8.8", True, OUTSIDE, None),
    ("203.0.114.1", True, OUTSIDE, None),
    ("2606:4700:4700::1111", True, OUTSIDE, None),
    ("2a00:1450::1", True, OUTSIDE, None),
    # private
    ("10.0.3.7", False, None, None),
    ("172.16.0.1", False, None, None),
    ("172.31.255.254", False, None, None),
    ("192.168.1.1", False, None, None),
    ("fd12:3456::7", False, None, None),
    ("fc00::1", False, OUTSIDE, None),
    ("fec0::1", False, OUTSIDE, None),
    ("172.32.0.1", True, OUTSIDE, None),
    # for special purposes
    ("100.64.0.1", False, OUTSIDE, None),  # carrier-grade NAT
    ("192.0.2.1", False, OUTSIDE, None),  # documentation
    ("198.51.100.1", False, OUTSIDE, None),
    ("198.18.0.1", False, OUTSIDE, None),  # benchmarks
    ("240.0.0.1", False, OUTSIDE, None),  # reserved
    ("100::1", False, OUTSIDE, None),  # discard
    ("2001:db8::1", False, OUTSIDE, None),  # documentation
    # never one machine on a network of ours
    ("127.0.0.1", False, LOOPBACK, LOOPBACK),
    ("127.8.9.10", False, LOOPBACK, LOOPBACK),
    ("::1", False, LOOPBACK, LOOPBACK),
    ("0.0.0.0", False, UNSPECIFIED, UNSPECIFIED),
    ("::", False, UNSPECIFIED, UNSPECIFIED),
    ("169.254.1.1", False, LINK_LOCAL, LINK_LOCAL),
    ("fe80::1", False, LINK_LOCAL, LINK_LOCAL),
    ("224.0.0.251", False, NOT_ONE, NOT_ONE),
    ("239.255.255.250", False, NOT_ONE, NOT_ONE),
    ("255.255.255.255", False, NOT_ONE, NOT_ONE),
    ("ff02::fb", False, NOT_ONE, NOT_ONE),
    ("ff05::2", False, NOT_ONE, NOT_ONE),
    # metadata services; the Azure one is a public address
    ("169.254.169.254", False, METADATA, METADATA),
    ("169.254.170.2", False, METADATA, METADATA),
    ("100.100.100.200", False, METADATA, METADATA),
    ("168.63.129.16", False, METADATA, METADATA),
    ("192.0.0.192", False, METADATA, METADATA),
    ("fd00:ec2::254", False, METADATA, METADATA),
    ("fd20:ce::254", False, METADATA, METADATA),
    # IPv4 inside IPv6; the form that the kernel itself dials as IPv4 is judged as that where the platform chose it
    ("::ffff:8.8.8.8", False, OUTSIDE, None),
    ("::ffff:10.0.0.1", False, None, None),
    ("::ffff:127.0.0.1", False, LOOPBACK, LOOPBACK),
    ("::ffff:169.254.169.254", False, METADATA, METADATA),
    ("::8.8.8.8", False, OUTSIDE, TRANSLATED),  # compatible
    ("::10.0.0.1", False, TRANSLATED, TRANSLATED),
    ("::127.0.0.1", False, LOOPBACK, LOOPBACK),
    ("::169.254.169.254", False, METADATA, METADATA),
    ("2002:808:808::1", False, OUTSIDE, TRANSLATED),  # 6to4
    ("2002:a00:1::1", False, TRANSLATED, TRANSLATED),
    ("2002:7f00:1::", False, LOOPBACK, LOOPBACK),
    ("2002:a9fe:a9fe::1", False, METADATA, METADATA),
    ("64:ff9b::808:808", False, OUTSIDE, TRANSLATED),  # NAT64
    ("64:ff9b::a00:1", False, TRANSLATED, TRANSLATED),
    ("64:ff9b::7f00:1", False, LOOPBACK, LOOPBACK),
    ("64:ff9b::a9fe:a9fe", False, METADATA, METADATA),
    ("64:ff9b:1::a00:1", False, TRANSLATED, TRANSLATED),  # NAT64 with a local prefix
    ("64:ff9b:1::a9fe:a9fe", False, METADATA, METADATA),
    ("2001:0:4136:e378:8000:63bf:f7f7:f7f7", False, OUTSIDE, TRANSLATED),  # Teredo
    ("2001:0:4136:e378:8000:63bf:f5ff:fffe", False, TRANSLATED, TRANSLATED),
    ("2001:0:4136:e378:8000:63bf:80ff:fffe", False, LOOPBACK, LOOPBACK),
    ("2001:0:4136:e378:8000:63bf:5601:5601", False, METADATA, METADATA),
)


@pytest.mark.parametrize(("address", "stranger", "by_default", "anywhere"), TABLE, ids=[row[0] for row in TABLE])
def test_every_rule(address: str, stranger: bool, by_default: str | None, anywhere: str | None) -> None:
    """What a stranger chose is judged alike by every client; an endpoint by the backend networks."""
    assert is_public(address) is stranger
    assert may_be_dialled(address) is stranger
    assert Destinations().allows(URL("https://hooks.example.com/"), address) is stranger
    assert not Destinations().allows(URL("http://hooks.example.com/"), address)
    assert refusal(address, DEFAULT) == by_default
    assert refusal(address, ANY) == anywhere


@pytest.mark.parametrize("address", [row[0] for row in TABLE])
def test_a_listed_network_opens_what_an_endpoint_may_be(address: str) -> None:
    """Networks that a setting lists for challenges and webhooks open no more than backend networks do, and no IPv4 inside
    IPv6."""
    opened = refusal(address, ANY) is None and embedded_ipv4(ipaddress.ip_address(address)) is None
    assert may_be_dialled(address, ANY) is opened
    assert may_be_dialled(address, ANY, public=False) is opened
    assert Destinations(private=ANY).allows(URL("http://hooks.lan/"), address) is opened


def test_networks_of_one_family() -> None:
    """A list for IPv4 says nothing of IPv6."""
    assert may_be_dialled("10.1.2.3", nets("10.1.0.0/16"))
    assert not may_be_dialled("fd00::1", nets("10.1.0.0/16"))


@pytest.mark.parametrize(
    ("address", "inner"),
    [
        ("1.2.3.4", None),
        ("2606:4700::1111", None),
        ("::", None),
        ("::1", None),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::1.2.3.4", "1.2.3.4"),
        ("2002:102:304::1", "1.2.3.4"),
        ("64:ff9b::102:304", "1.2.3.4"),
        ("64:ff9b:1::102:304", "1.2.3.4"),
        ("2001:0:4136:e378:8000:63bf:fefd:fcfb", "1.2.3.4"),
    ],
)
def test_ipv4_inside_ipv6(address: str, inner: str | None) -> None:
    """Each form that carries an IPv4 address, and what it carries."""
    expected = None if inner is None else ipaddress.IPv4Address(inner)
    assert embedded_ipv4(ipaddress.ip_address(address)) == expected


@pytest.mark.parametrize(
    ("address", "words"),
    [
        *(
            (text, "is not an IP address")
            for text in ("", "example.com", "10.0.0.256", "10.0.0.1:80", "010.0.0.1", "0x0a000001", "167772161")
        ),
        (" 10.0.0.1", "is not an IP address"),
        ("[fd00::1]", "is not an IP address"),
        ("fe80::1%eth0", "must not name an interface"),
        ("fd00::1%lo", "must not name an interface"),
    ],
)
def test_what_is_no_address(address: str, words: str) -> None:
    """An endpoint's address is an address in the usual form, without an interface."""
    assert refusal(address, ANY) == words


def test_loopback_has_to_be_listed_as_such() -> None:
    """A development set-up lists loopback itself; a network that merely includes it does not count."""
    assert refusal("127.0.0.1", nets("127.0.0.0/8")) is None
    assert refusal("127.0.0.9", nets("127.0.0.9/32")) is None
    assert refusal("::1", nets("::1/128")) is None
    assert refusal("::ffff:127.0.0.1", nets("127.0.0.0/8")) is None
    assert refusal("127.0.0.1", nets("127.0.0.9/32")) == "is a loopback address"
    assert refusal("127.0.0.1", nets("126.0.0.0/7")) == "is a loopback address"
    assert refusal("::1", nets("127.0.0.0/8")) == "is a loopback address"


def test_nothing_is_open_without_networks() -> None:
    """An empty list is no backend at all, not every backend."""
    assert refusal("10.0.0.1", ()) == "is outside the backend networks"


@pytest.mark.parametrize(
    ("address", "port", "ours"),
    [
        ("127.0.0.1", 8081, True),
        ("127.0.0.1", 8082, False),
        ("127.0.0.2", 8081, False),
        ("::ffff:127.0.0.1", 8081, True),
        ("127.0.0.1", 8080, True),
        ("127.9.9.9", 8080, True),
        ("::1", 8080, True),
        ("10.0.0.5", 8080, True),
        ("10.0.0.6", 8080, False),
        ("::1", 9443, True),
        ("127.0.0.1", 9443, True),
    ],
)
def test_own_listeners(address: str, port: int, ours: bool) -> None:
    """An address and port are ours where a socket of ours listens there, whatever the address is written as."""
    listeners = {("127.0.0.1", 8081), ("0.0.0.0", 8080), ("10.0.0.5", 8080), ("::", 9443)}
    assert own_listener(address, port, listeners) is ours


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8::6", "2001:db8::/64"),
        ("2001::3:4:5:6:7", "2001:0:0:3::/64"),
        ("::3:4:5:6:7", "0:0:0:3::/64"),
        ("::1", "::/64"),
        ("::", "::/64"),
    ],
)
def test_whom_an_address_counts_for(address: str, whose: str) -> None:
    """IPv6 addresses that one customer of a provider can take by turns count as one."""
    assert subscriber(address) == whose


_GROUPS = st.lists(st.sampled_from([0, 0, 0, 1, 0xDB8, 0xFFFF]), min_size=8, max_size=8)


@given(_GROUPS)
def test_any_address_counts_for_its_network(groups: list[int]) -> None:
    """Wherever zeros are left out in the middle: as the standard library has its /64."""
    address = ipaddress.IPv6Address(int("".join(f"{group:04x}" for group in groups), 16))
    assert subscriber(str(address)) == str(ipaddress.ip_network((str(address), 64), strict=False))
