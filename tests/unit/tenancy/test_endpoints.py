"""Which addresses may be dialled. A table: what is refused matters more than what is allowed."""

import ipaddress

import pytest

from router.settings import Network, Settings
from router.tenancy.endpoints import own_listener, refusal

DEFAULT = Settings().backend_networks


def nets(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


ANY = nets("0.0.0.0/0", "::/0")


@pytest.mark.parametrize("address", ["10.0.3.7", "172.16.0.1", "172.31.255.254", "192.168.1.1", "fd12:3456::7"])
def test_private_addresses_are_backends_by_default(address: str) -> None:
    """The default networks are those that sandboxes live in."""
    assert refusal(address, DEFAULT) is None


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "is not an IP address"),
        ("example.com", "is not an IP address"),
        ("10.0.0.256", "is not an IP address"),
        ("10.0.0.1:80", "is not an IP address"),
        ("010.0.0.1", "is not an IP address"),
        ("0x0a000001", "is not an IP address"),
        ("167772161", "is not an IP address"),
        (" 10.0.0.1", "is not an IP address"),
        ("[fd00::1]", "is not an IP address"),
        ("8.8.8.8", "is outside the backend networks"),
        ("172.32.0.1", "is outside the backend networks"),
        ("100.64.0.1", "is outside the backend networks"),
        ("2606:4700::1111", "is outside the backend networks"),
        ("fc00::1", "is outside the backend networks"),
        ("127.0.0.1", "is a loopback address"),
        ("127.8.9.10", "is a loopback address"),
        ("::1", "is a loopback address"),
        ("0.0.0.0", "is the unspecified address"),
        ("::", "is the unspecified address"),
        ("169.254.1.1", "is a link-local address"),
        ("fe80::1", "is a link-local address"),
        ("169.254.169.254", "is a metadata service"),
        ("fd00:ec2::254", "is a metadata service"),
        ("224.0.0.1", "is not the address of one machine"),
        ("ff02::1", "is not the address of one machine"),
        ("255.255.255.255", "is not the address of one machine"),
        ("fe80::1%eth0", "must not name an interface"),
        ("fd00::1%lo", "must not name an interface"),
        ("::ffff:127.0.0.1", "is a loopback address"),
        ("::ffff:169.254.169.254", "is a metadata service"),
        ("::ffff:8.8.8.8", "is outside the backend networks"),
        ("64:ff9b::a9fe:a9fe", "is a metadata service"),
        ("64:ff9b::a00:1", "is a translated IPv4 address"),
        ("2002:a9fe:a9fe::1", "is a metadata service"),
        ("2002:0a00:0001::1", "is a translated IPv4 address"),
    ],
)
def test_what_is_refused_by_default(address: str, why: str) -> None:
    """Each refusal has its own words, which stand behind `address` in the answer."""
    assert refusal(address, DEFAULT) == why


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "169.254.0.1",
        "fe80::1",
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "::",
        "239.1.1.1",
        "ff05::2",
        "255.255.255.255",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_no_network_opens_these(address: str) -> None:
    """Even where everything is listed: no sandbox can live there, or what lives there must not be reached."""
    assert refusal(address, ANY) is not None


def test_everything_else_is_open_where_everything_is_listed() -> None:
    """The networks decide about ordinary addresses."""
    assert refusal("8.8.8.8", ANY) is None
    assert refusal("2606:4700::1111", ANY) is None
    assert refusal("::ffff:8.8.8.8", ANY) is None


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
