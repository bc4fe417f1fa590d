"""Where webhooks may go."""

import ipaddress

import pytest
from yarl import URL

from router.tenancy.destinations import Destinations


def networks(*texts: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


OPEN = Destinations(backends=networks("10.0.0.0/8", "203.0.113.0/24"), own_listeners={("1.1.1.1", 8081)})
CLOSED = Destinations(
    private=networks("192.168.50.0/24", "10.1.0.0/16", "127.0.0.0/8"),
    backends=networks("10.0.0.0/8"),
    own_listeners={("127.0.0.1", 8081)},
)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.7",
        "100.64.0.1",  # carrier-grade NAT
        "127.0.0.1",
        "169.254.169.254",  # the cloud's metadata
        "172.16.0.1",
        "192.168.1.1",
        "198.51.100.1",  # documentation
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:10.0.0.7",
        "::ffff:169.254.169.254",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
        "2002:a00:7::1",  # 6to4 of 10.0.0.7
        "64:ff9b::a00:7",  # NAT64 of the same
        "fc00::1",
        "fe80::1",
        "ff02::1",
    ],
)
def test_what_is_not_public_is_not_called(address: str) -> None:
    """However it is written, and over either scheme."""
    for scheme in ("https", "http"):
        assert not OPEN.allows(URL(f"{scheme}://hooks.example.com/"), address)


def test_public_addresses() -> None:
    """Over https alone; never one of ours."""
    assert OPEN.allows(URL("https://hooks.example.com/"), "1.1.1.1")
    assert OPEN.allows(URL("https://hooks.example.com/"), "2606:4700::1111")
    assert not OPEN.allows(URL("http://hooks.example.com/"), "1.1.1.1")
    assert not OPEN.allows(URL("https://hooks.example.com:8081/"), "1.1.1.1")
    assert not OPEN.allows(URL("https://hooks.example.com/"), "203.0.113.9")


def test_private_networks() -> None:
    """What the setting names may be called over http too; backends and our own listeners never."""
    assert CLOSED.allows(URL("http://hooks.internal/"), "192.168.50.7")
    assert CLOSED.allows(URL("https://hooks.internal/"), "192.168.50.7")
    assert CLOSED.allows(URL("http://hooks.internal:9000/"), "127.0.0.1")
    assert not CLOSED.allows(URL("http://hooks.internal:8081/"), "127.0.0.1")
    assert not CLOSED.allows(URL("http://hooks.internal/"), "10.1.0.7")
    assert not CLOSED.allows(URL("http://hooks.internal/"), "192.168.51.7")
    assert not CLOSED.allows(URL("http://hooks.internal/"), "1.1.1.1")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://hooks.example.com/in?a=b", None),
        ("https://1.1.1.1:8443/", None),
        ("https://[2606:4700::1111]/", None),
        ("HTTPS://hooks.example.com", None),
        ("http://hooks.example.com/", "must begin with https://"),
        ("ftp://hooks.example.com/", "must begin with https://"),
        ("hooks.example.com", "must begin with https://"),
        ("https://", "is not a URL"),
        ("https:///in", "is not a URL"),
        ("https://hooks.example.com:99999/", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://xn--a/", "is not a URL"),
        ("https://user@hooks.example.com/", "must not have a user or a password"),
        ("https://:word@hooks.example.com/", "must not have a user or a password"),
        ("https://hooks.example.com/#", "must not have a fragment"),
        ("https://hooks.example.com/#in", "must not have a fragment"),
        ("https://127.0.0.1/", "must lead to a public address"),
        ("https://[::ffff:169.254.169.254]/", "must lead to a public address"),
    ],
)
def test_urls(url: str, words: str | None) -> None:
    """What is wrong with the text of one."""
    assert OPEN.refusal_of(url) == words


def test_http_where_there_are_private_networks() -> None:
    """Whether its address is in one is seen when it is dialled."""
    assert CLOSED.refusal_of("http://hooks.internal/") is None
    assert CLOSED.refusal_of("ftp://hooks.internal/") == "must begin with https:// or http://"
    assert CLOSED.refusal_of("http://192.168.51.7/") == "must lead to a public address"
