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


def test_public_addresses() -> None:
    """Over https alone; never one of ours."""
    assert OPEN.allows(URL("https://hooks.example.com/"), "1.1.1.1")
    assert OPEN.allows(URL("https://hooks.example.com/"), "2606:4700::1111")
    assert not OPEN.allows(URL("http://hooks.example.com/"), "1.1.1.1")
    assert not OPEN.allows(URL("https://hooks.example.com:8081/"), "1.1.1.1")
    assert not OPEN.allows(URL("https://hooks.example.com/"), "203.0.113.9")


def test_private_networks() -> None:
    """What the setting names may be dialled over http too; backends and our own listeners never."""
    assert CLOSED.allows(URL("http://hooks.internal/"), "192.168.50.7")
    assert CLOSED.allows(URL("https://hooks.internal/"), "192.168.50.7")
    assert CLOSED.allows(URL("http://hooks.internal:9000/"), "127.0.0.1")
    assert not CLOSED.allows(URL("http://hooks.internal:8081/"), "127.0.0.1")
    everywhere = Destinations(private=networks("127.0.0.0/8"), own_listeners={("0.0.0.0", 8081)})
    assert not everywhere.allows(URL("http://hooks.internal:8081/"), "127.0.0.9")
    assert not CLOSED.allows(URL("http://hooks.internal/"), "10.1.0.7")
    assert not CLOSED.allows(URL("http://hooks.internal/"), "192.168.51.7")
    assert not CLOSED.allows(URL("http://hooks.internal/"), "1.1.1.1")


USUAL = "must have its address in the usual form, as in 192.0.2.1"


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
        ("https://[::ffff:169.254.169.254]/", USUAL),
        *(
            (f"https://[{odd}]/", USUAL)
            for odd in ("::ffff:1.1.1.1", "::1.1.1.1", "2002:101:101::1", "64:ff9b::101:101", "2001:0:1::fefe:fefe")
        ),
        *(
            (f"https://{odd}/", USUAL)
            for odd in ("127.1", "1.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "1.1.1.01", "a.0x", "1")
        ),
        ("https://１２７.0.0.1/", "must lead to a public address"),
        ("https://%31%32%37.0.0.1/", "is not a URL"),
        *(
            (f"https://{odd}", "is not a URL")
            for odd in (
                "a.example:0/",
                "a.example:/",
                "a.example:+443/",
                "a.example:４４３/",
                "a..example/",
                ".example/",
                "-a.example/",
                f"{'a' * 64}.example/",
                f"{'a.' * 126}exa/",
                "a.example\\@b.example/",
                "[fe80::1%25eth0]/",
                "[1.1.1.1]/",
            )
        ),
        ("https://@hooks.example.com/", "must not have a user or a password"),
        ("https://hooks.example.com./", "must not have a dot behind its host"),
        ("https://hooks.example.com。/", "must not have a dot behind its host"),
        *(
            (f"https://hooks.example.com/{odd}", "must not have blanks or control characters")
            for odd in ("\r\nX-A: b", "in out", "\t", "\x00", "\x7f", "\u2028", "\u202e", "\ud800", "\u00a0")
        ),
        (" https://hooks.example.com/", "must not have blanks or control characters"),
        *(
            (f"https://{odd}/", "must lead to a public address")
            for odd in ("localhost", "hooks", "a.localhost", "printer.local", "a.internal", "a.onion", "1.in-addr.arpa")
        ),
        *(
            (f"https://hooks.{suffix}/", "must lead to a public address")
            for suffix in (
                "lan",
                "home",
                "corp",
                "test",
                "mail",
                "intranet",
                "private",
                "localdomain",
                "LAN",
                "invalid",
            )
        ),
        ("https://corp.example.com/", None),
        ("https://lan.example.com/", None),
        ("https://bücher.example/ü", None),
        ("https://_a.hooks.example/", None),
    ],
)
def test_urls(url: str, words: str | None) -> None:
    """What is wrong with the text of one."""
    assert OPEN.refusal_of(url) == words


def test_http_where_there_are_private_networks() -> None:
    """Whether its address is in one is seen when it is dialled."""
    assert CLOSED.refusal_of("http://hooks.internal/") is None
    assert CLOSED.refusal_of("http://localhost:9000/") is None
    assert CLOSED.refusal_of("ftp://hooks.internal/") == "must begin with https:// or http://"
    assert CLOSED.refusal_of("http://192.168.51.7/") == "must lead to a public address"
