"""The host grammar: what a Host header may say, what a name can mean, what may be registered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.hostname import (
    MAX_SLUG,
    RESERVED_SLUGS,
    HostMeaning,
    InvalidHostError,
    InvalidNameError,
    canonical_name,
    default_host,
    host_meanings,
    is_address,
    is_slug,
    parse_host,
    sandbox_host,
    unicode_name,
)

L63 = "a" * 63
NAME_253 = f"{L63}.{L63}.{L63}.{'b' * 61}"
NAME_254 = f"{L63}.{L63}.{L63}.{'b' * 62}"

# Host header → canonical name.
VALID_HOSTS = [
    # spelling
    (b"example.com", "example.com"),
    (b"EXAMPLE.COM", "example.com"),
    (b"ExAmPlE.cOm", "example.com"),
    (b"a", "a"),
    (b"a.b", "a.b"),
    (b"localhost", "localhost"),
    (b"my-app.example.com", "my-app.example.com"),
    (b"a--b.example.com", "a--b.example.com"),
    (b"ab--c.example.com", "ab--c.example.com"),
    (b"0.example.com", "0.example.com"),
    (b"0x10.example.com", "0x10.example.com"),
    (b"3com.com", "3com.com"),
    (b"x.y.z.w.v.u.example.com", "x.y.z.w.v.u.example.com"),
    (b"example.x1", "example.x1"),
    # port and dot
    (b"example.com.", "example.com"),
    (b"example.com:80", "example.com"),
    (b"example.com:443", "example.com"),
    (b"example.com:1", "example.com"),
    (b"example.com:65535", "example.com"),
    (b"example.com:00080", "example.com"),
    (b"example.com:", "example.com"),
    (b"example.com.:8443", "example.com"),
    (b"example.com.:", "example.com"),
    (b"LOCALHOST:8080", "localhost"),
    # A-labels pass as they are: whether they decode matters when a name is registered, not here
    (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
    (b"XN--BCHER-KVA.example", "xn--bcher-kva.example"),
    (b"xn--fiqs8s.xn--fiqs8s", "xn--fiqs8s.xn--fiqs8s"),
    (b"xn--ls8h.la", "xn--ls8h.la"),
    (b"xn--0.example", "xn--0.example"),
    # addresses
    (b"127.0.0.1", "127.0.0.1"),
    (b"127.0.0.1:8080", "127.0.0.1"),
    (b"127.0.0.1.", "127.0.0.1"),
    (b"999.999.999.999", "999.999.999.999"),
    (b"2130706433", "2130706433"),
    (b"0x7f.1", "0x7f.1"),
    (b"[::1]", "[::1]"),
    (b"[::1]:8080", "[::1]"),
    (b"[::1]:", "[::1]"),
    (b"[::]", "[::]"),
    (b"[2001:DB8::1]", "[2001:db8::1]"),
    (b"[2001:0db8:0000:0000:0000:0000:0000:0001]", "[2001:db8::1]"),
    (b"[::ffff:7f00:1]", "[::ffff:127.0.0.1]"),
    # boundaries
    (L63.encode() + b".com", f"{L63}.com"),
    (NAME_253.encode(), NAME_253),
    (NAME_253.encode() + b".", NAME_253),
    (NAME_253.encode() + b":65535", NAME_253),
    (NAME_253.encode() + b".:65535", NAME_253),
    # what a zone makes of them is told by `host_meanings`
    (b"5173-x.sandbox.example.com", "5173-x.sandbox.example.com"),
    (b"sandbox.sandbox.sandbox", "sandbox.sandbox.sandbox"),
    (b"sandbox", "sandbox"),
]

INVALID_HOSTS = [
    # empty in one way or another
    b"",
    b".",
    b"..",
    b":",
    b":80",
    b".:80",
    b" ",
    b"\t",
    # dots and hyphens
    b".example.com",
    b"example..com",
    b"example.com..",
    b"example.com..:80",
    b"-example.com",
    b"example-.com",
    b"example.-com",
    b"example.com-",
    b"-",
    b"-.-",
    # ports
    b"example.com:0",
    b"example.com:00000",
    b"example.com:65536",
    b"example.com:99999",
    b"example.com:000080",
    b"example.com:+80",
    b"example.com:-80",
    b"example.com:80x",
    b"example.com:0x50",
    b"example.com:8_0",
    b"example.com: 80",
    b"example.com:80 ",
    b"example.com:80:80",
    b"example.com::80",
    "example.com:\u0665".encode(),
    b"example.com:" + b"9" * 5000,
    # more than a host
    b"user@example.com",
    b"user:pass@example.com",
    b"http://example.com",
    b"example.com/",
    b"example.com/path",
    b"example.com?q",
    b"example.com#f",
    b"example.com,example.org",
    b"example.com, example.org",
    b"example.com;example.org",
    b"example.com example.org",
    b"example.com\\evil",
    b"{example}.com",
    b"(example).com",
    b'"example".com',
    b"*.example.com",
    b"example.com\x7f",
    b"ex%61mple.com",
    b"a_b.example.com",
    b"_dmarc.example.com",
    b"a!b.example.com",
    b"a$b.example.com",
    b"a~b.example.com",
    b"a=b.example.com",
    # blanks and control bytes
    b" example.com",
    b"example.com ",
    b"example .com",
    b"\texample.com",
    b"example.com\t",
    b"example.com\n",
    b"example.com\r",
    b"example.com\r\n",
    b"example.com\x00",
    b"\x00example.com",
    b"example\x0b.com",
    b"example\x0c.com",
    b"example\x1b.com",
    # other than ASCII: an IDN arrives as A-labels
    "bücher.example".encode(),
    "bücher.example".encode("latin-1"),
    "例え.jp".encode(),
    "example。com".encode(),
    "ｅｘａｍｐｌｅ.com".encode(),
    "exa\u00admple.com".encode(),
    "\u212a.example.com".encode(),  # the Kelvin sign lower-cases to k
    "\u0131.example.com".encode(),  # dotless i
    "٣.example.com".encode(),  # a digit for str.isdigit
    "²example.com".encode(),
    b"example.com\x85",
    b"example.com\xa0",
    b"\xff.example.com",
    "\ufeffexample.com".encode(),
    # boundaries
    b"a" * 64,
    b"a" * 64 + b".com",
    b"example." + b"a" * 64,
    NAME_254.encode(),
    NAME_254.encode() + b".",
    NAME_254.encode() + b":80",
    b"a." * 127 + b"a",
    b"a" * 100_000,
    # addresses
    b"::1",
    b"[::1",
    b"::1]",
    b"[]",
    b"[]:80",
    b"[:]",
    b"[:::]",
    b"[::1]80",
    b"[::1]:0",
    b"[::1]:65536",
    b"[::1]:x",
    b"[::1]]",
    b"[[::1]]",
    b"[::1%25eth0]",
    b"[::1%eth0]",
    b"[v1.fe80]",
    b"[example.com]",
    b"[127.0.0.1]",
    b"[12345::]",
    b"[1:2:3:4:5:6:7:8:9]",
    b"[::1].",
    b"[::1].example.com",
    b"[" + b"0" * 46 + b"]",
]

# Canonical name → what it can mean, longest zone first.
READINGS = [
    ("5173-x.sandbox.example.com", [("example.com", "x", 5173)]),
    ("x.sandbox.example.com", [("sandbox.example.com", "x", None), ("example.com", "x", None)]),
    ("x.example.com", [("example.com", "x", None)]),
    ("x.com", [("com", "x", None)]),
    ("x.localhost", [("localhost", "x", None)]),
    ("x.sandbox.localhost", [("sandbox.localhost", "x", None), ("localhost", "x", None)]),
    ("5173-x.sandbox.localhost", [("localhost", "x", 5173)]),
    ("example", []),
    ("", []),
    # ports
    ("1-x.sandbox.d.com", [("d.com", "x", 1)]),
    ("65535-x.sandbox.d.com", [("d.com", "x", 65535)]),
    ("65536-x.sandbox.d.com", []),
    ("99999-x.sandbox.d.com", []),
    ("100000-x.sandbox.d.com", []),
    ("0-x.sandbox.d.com", []),
    ("080-x.sandbox.d.com", []),
    ("5173-x.d.com", []),
    ("5173-.sandbox.d.com", []),
    ("5173.sandbox.d.com", [("sandbox.d.com", "5173", None), ("d.com", "5173", None)]),
    ("5173.d.com", [("d.com", "5173", None)]),
    ("5173x.sandbox.d.com", [("sandbox.d.com", "5173x", None), ("d.com", "5173x", None)]),
    ("x-5173.sandbox.d.com", [("sandbox.d.com", "x-5173", None), ("d.com", "x-5173", None)]),
    # split at the first hyphen
    ("80-a-b-c.sandbox.d.com", [("d.com", "a-b-c", 80)]),
    ("80-81-x.sandbox.d.com", []),
    ("80-81.sandbox.d.com", [("d.com", "81", 80)]),
    ("80--x.sandbox.d.com", []),
    ("80-xn--p.sandbox.d.com", []),
    ("80-ab--c.sandbox.d.com", []),
    ("80-a--b.sandbox.d.com", [("d.com", "a--b", 80)]),
    # `sandbox` in odd places
    ("5173-x.sandbox", []),
    ("x.sandbox", [("sandbox", "x", None)]),
    ("sandbox", []),
    ("sandbox.d.com", []),
    ("sandbox.sandbox.d.com", []),
    ("sandbox.sandbox", []),
    ("5173-sandbox.sandbox.d.com", []),
    ("x.sandbox.sandbox.example.com", [("sandbox.sandbox.example.com", "x", None), ("sandbox.example.com", "x", None)]),
    ("80-x.sandbox.sandbox.example.com", [("sandbox.example.com", "x", 80)]),
    ("x.sandbox.sandbox", [("sandbox.sandbox", "x", None), ("sandbox", "x", None)]),
    ("x.y.sandbox.d.com", [("y.sandbox.d.com", "x", None)]),
    ("80-x.y.sandbox.d.com", []),
    ("x.d.sandbox", [("d.sandbox", "x", None)]),
    ("x.sandboxes.d.com", [("sandboxes.d.com", "x", None)]),
    ("x.my-sandbox.d.com", [("my-sandbox.d.com", "x", None)]),
    ("x.5173-sandbox.d.com", [("5173-sandbox.d.com", "x", None)]),
    # labels that are no slugs
    ("www.d.com", []),
    ("api.sandbox.d.com", []),
    ("80-www.sandbox.d.com", []),
    ("xn--bcher-kva.d.com", []),
    ("ab--c.d.com", []),
    ("a--b.d.com", [("d.com", "a--b", None)]),
    # addresses mean nothing
    ("127.0.0.1", []),
    ("x.sandbox.0.1", []),
    ("x.d.123", []),
    ("x.d.0x7f", []),
    ("[::1]", []),
    # the longest slug fits behind the longest port
    (f"65535-{'s' * 57}.sandbox.d.com", [("d.com", "s" * 57, 65535)]),
    (f"{'s' * 58}.d.com", []),
]

SLUGS = ["a", "0", "ab", "a1", "1a", "a-b", "a--b", "a-b--c", "5173", "sbx01j9x", "s" * MAX_SLUG, "wwww", "sandbox1"]
NOT_SLUGS = [
    "",
    "-",
    "-a",
    "a-",
    "1-",
    "1-a",
    "0-a",
    "5173-x",
    "65536-x",
    "123456789-x",
    "xn--a",
    "ab--c",
    "a---b",
    "a b",
    "a.b",
    "a_b",
    "A",
    "aB",
    "ä",
    "a\n",
    "\na",
    "٣",
    "²",
    "ſ",
    "s" * (MAX_SLUG + 1),
    *sorted(RESERVED_SLUGS),
]

CANONICAL_NAMES = [
    ("app.example.com", "app.example.com"),
    ("APP.Example.COM", "app.example.com"),
    ("app.example.com.", "app.example.com"),
    ("  app.example.com  ", "app.example.com"),
    ("a--b.example.com", "a--b.example.com"),
    ("3.example.com", "3.example.com"),
    ("bücher.example", "xn--bcher-kva.example"),
    ("BÜCHER.example", "xn--bcher-kva.example"),
    ("bu\u0308cher.example", "xn--bcher-kva.example"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
    ("bücher.xn--fa-hia.de", "xn--bcher-kva.xn--fa-hia.de"),
    ("faß.de", "xn--fa-hia.de"),
    ("例え.jp", "xn--r8jz45g.jp"),
    ("bücher。example。", "xn--bcher-kva.example"),
    ("bücher.example\uff0e", "xn--bcher-kva.example"),
    ("ｅｘａｍｐｌｅ.com", "example.com"),
    ("exa\u00admple.com", "example.com"),
    (NAME_253, NAME_253),
    (f"{NAME_253}.", NAME_253),
    (f"{L63}.com", f"{L63}.com"),
]

NOT_CANONICAL = [
    ("", "blank"),
    ("   ", "blank"),
    (".", "valid hostname"),
    ("..", "valid hostname"),
    ("localhost", "fully qualified"),
    ("com", "fully qualified"),
    ("bücher", "fully qualified"),
    ("*.example.com", "wildcards"),
    ("*", "wildcards"),
    ("*.bücher.example", "wildcards"),
    ("foo.*.example.com", "wildcards"),
    ("127.0.0.1", "IP address"),
    ("1.2.3.4.", "IP address"),
    ("１.２.３.４", "IP address"),
    ("999.999.999.999", "IP address"),
    ("1.2.3.0x10", "IP address"),
    ("example.123", "IP address"),
    ("example.0x", "IP address"),
    ("::1", "IP address"),
    ("[::1]", "IP address"),
    ("[::1]:443", "IP address"),
    ("2001:db8::1", "IP address"),
    ("::ffff:1.2.3.4", "IP address"),
    ("localhost:8080", "valid hostname"),
    ("example.com:443", "valid hostname"),
    ("https://example.com", "valid hostname"),
    ("example.com/", "valid hostname"),
    ("example..com", "valid hostname"),
    ("-a.example.com", "valid hostname"),
    ("a-.example.com", "valid hostname"),
    ("a_b.example.com", "valid hostname"),
    ("a b.example.com", "valid hostname"),
    ("example.com\n", "valid hostname"),
    ("\texample.com", "valid hostname"),
    ("example.com\x00", "valid hostname"),
    ("user@example.com", "valid hostname"),
    ("a" * 64 + ".com", "valid hostname"),
    (NAME_254, "at most 253"),
    ("a" * 10_000, "at most 253"),
    ("ü" * 10_000 + ".example", "at most 253"),
    (".".join(["ü" * 20] * 10) + ".example", "internationalized"),
    ("ü" * 70 + ".example", "internationalized"),
    ("bücher..example", "internationalized"),
    ("a_b.bücher.example", "internationalized"),
    ("💩.la", "internationalized"),
    ("xn--ls8h.la", "internationalized"),
    ("xn--0.example", "internationalized"),
    ("xn--a.example", "internationalized"),
    ("xn--.example", "valid hostname"),
    ("xn--abc-.example", "valid hostname"),
    ("bücher.xn--abc-", "internationalized"),
    ("a\u0661b.example", "internationalized"),  # an Arabic digit in a left-to-right label
    ("ab--ü.example", "internationalized"),
    ("ab--c.example", "third and fourth"),
    ("\ud800.example", "internationalized"),
]


@pytest.mark.parametrize(("raw", "name"), VALID_HOSTS)
def test_valid_hosts_become_canonical_names(raw: bytes, name: str) -> None:
    """Case, one trailing dot and the port go; what remains is the name."""
    assert parse_host(raw) == name


@pytest.mark.parametrize("raw", INVALID_HOSTS, ids=lambda raw: repr(raw[:40]))
def test_invalid_hosts_are_refused(raw: bytes) -> None:
    """Whatever is not exactly one host name raises, and the error doesn't repeat it."""
    with pytest.raises(InvalidHostError) as caught:
        parse_host(raw)
    assert str(caught.value) in {"empty", "not a host name", "port out of range", "not an IPv6 address"}


def test_the_table_of_hosts_is_wide_enough() -> None:
    """Every spelling that anybody thought of stays in the table, once."""
    hosts = [raw for raw, _ in VALID_HOSTS] + INVALID_HOSTS
    assert len(hosts) == len(set(hosts)) >= 120


@pytest.mark.parametrize(("name", "meanings"), READINGS)
def test_a_name_means_at_most_two_things(name: str, meanings: list[tuple[str, str, int | None]]) -> None:
    """The grammar of design: port and slug under `sandbox.D`, a slug under D, the longest zone first."""
    assert host_meanings(name) == tuple(HostMeaning(*meaning) for meaning in meanings)


@pytest.mark.parametrize("text", SLUGS)
def test_slugs_are_labels_that_cannot_pass_for_something_else(text: str) -> None:
    """A slug reads as itself in every place of a zone."""
    assert is_slug(text)
    assert HostMeaning("d.com", text, None) in host_meanings(default_host(text, "d.com"))
    assert HostMeaning("d.com", text, None) in host_meanings(sandbox_host(text, "d.com"))
    assert host_meanings(sandbox_host(text, "d.com", 65535)) == (HostMeaning("d.com", text, 65535),)


@pytest.mark.parametrize("text", NOT_SLUGS)
def test_what_is_not_a_slug(text: str) -> None:
    """Never a port and a hyphen first, never an IDN's prefix, never a reserved word, nothing but lower-case ASCII."""
    assert not is_slug(text)


@pytest.mark.parametrize(("text", "name"), CANONICAL_NAMES)
def test_names_that_may_be_registered(text: str, name: str) -> None:
    """A name is given in either form and kept as A-labels."""
    assert canonical_name(text) == name


@pytest.mark.parametrize(("text", "why"), NOT_CANONICAL, ids=lambda text: ascii(text[:40]))
def test_names_that_may_not_be_registered(text: str, why: str) -> None:
    """What is not a fully qualified host name is refused, and the message says why."""
    with pytest.raises(InvalidNameError, match=why):
        canonical_name(text)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("127.0.0.1", True),
        ("example.1", True),
        ("1", True),
        ("1.2.3.0x10", True),
        ("example.0x", True),
        ("[::1]", True),
        ("example.com", False),
        ("1.example.com", False),
        ("1.2.3.4a", False),
        ("example.0xg", False),
        ("example.x0", False),
        ("", False),
    ],
)
def test_addresses(name: str, address: bool) -> None:
    """A name is an address where a browser would dial it as one: in brackets, or ending in a number."""
    assert is_address(name) is address


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("xn--bcher-kva.example", "bücher.example"),
        ("app.example.com", "app.example.com"),
        ("ab--c.example", "ab--c.example"),
        ("xn--ls8h.la", "xn--ls8h.la"),
        ("xn--0.example", "xn--0.example"),
    ],
)
def test_names_are_shown_in_the_form_that_people_read(name: str, shown: str) -> None:
    """An A-label is shown as its U-label; a name that has none is shown as it is."""
    assert unicode_name(name) == shown


# Bytes near a host are likelier to find a hole than any bytes.
_host_bytes = st.one_of(
    st.binary(max_size=300),
    st.text(alphabet="aZ0-.:[]_sx \r\n\x00é٣", max_size=40).map(str.encode),
    st.from_regex(rb"[a-z0-9.-]{1,60}(:[0-9]{1,6})?\.?", fullmatch=True),
)


@given(_host_bytes)
def test_parse_host_raises_nothing_else_and_is_idempotent(raw: bytes) -> None:
    """Any bytes are a canonical name or an InvalidHostError, and a canonical name is its own canonical name."""
    try:
        name = parse_host(raw)
    except InvalidHostError:
        return
    assert parse_host(name.encode("ascii")) == name
    assert name == name.lower()
    assert 1 <= len(name) <= 253


@given(
    st.one_of(
        st.text(max_size=300),
        st.text(alphabet="aZ0-.*:/[]ü例٣\u00ad\u3002\u0308ß xn", max_size=40),
        st.from_regex(r"(xn--[a-z0-9-]{1,20}\.){1,3}[a-z]{2,5}", fullmatch=True),
    )
)
def test_canonical_name_raises_nothing_else_and_is_idempotent(text: str) -> None:
    """Any text is a name that a Host header can say, or an InvalidNameError."""
    try:
        name = canonical_name(text)
    except InvalidNameError:
        return
    assert canonical_name(name) == name
    assert parse_host(name.encode("ascii")) == name
    assert canonical_name(unicode_name(name)) == name


_labels = st.one_of(st.just("sandbox"), st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True))


@given(st.lists(_labels, min_size=1, max_size=6).map(".".join))
def test_readings_are_few_and_the_longest_zone_comes_first(name: str) -> None:
    """At most two host_meanings, each of which makes the name again."""
    found = host_meanings(name)
    assert len(found) <= 2
    assert [len(reading.zone) for reading in found] == sorted((len(reading.zone) for reading in found), reverse=True)
    for reading in found:
        assert is_slug(reading.slug)
        assert name in {
            default_host(reading.slug, reading.zone),
            sandbox_host(reading.slug, reading.zone, reading.port),
        }


@given(st.text(alphabet="abcxyz0159-", max_size=60), st.integers(1, 65535))
def test_a_slug_and_a_port_come_back_from_the_host_they_make(slug: str, port: int) -> None:
    """Every slug fits behind every port, and the host is read in no other way."""
    host = sandbox_host(slug, "example.com", port)
    if is_slug(slug):
        assert parse_host(host.encode()) == host
        assert host_meanings(host) == (HostMeaning("example.com", slug, port),)
    else:
        assert host_meanings(host) == ()
