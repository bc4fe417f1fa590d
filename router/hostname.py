"""Host names: what a Host header may say, and what it can mean.

In a zone D (a configured preview domain, or the platform domain):

    <port>-<slug>.sandbox.D    that port of the resource with that slug; split at the first hyphen
    <slug>.sandbox.D           the resource's default port
    <slug>.D                   deployment, computer or default preview: the resource's default port
    anything else              an exact custom domain, or nothing

A name is parsed once, here, into a lower-case string without its port and trailing dot; everything after this file
works on that string. Where D ends is not known from the name, so `host_meanings` gives each possible reading, the most
specific D first: at most two.
"""

import ipaddress
import re
from dataclasses import dataclass

import idna

MAX_NAME = 253
MAX_LABEL = 63
MAX_SLUG = 57  # 63 less "65535-": every slug fits behind every port
SANDBOX = "sandbox"

# Words that a slug may not be, because they mean something under a zone, or would pass for the platform's own.
RESERVED_SLUGS = frozenset(
    [
        "sandbox",
        "www",
        "api",
        "app",
        "admin",
        "console",
        "dashboard",
        "proxy",
        "verify",
        "edge",
        "router",
        "gateway",
        "internal",
        "status",
        "docs",
        "help",
        "support",
        "mail",
        "smtp",
        "imap",
        "ftp",
        "ns",
        "ns1",
        "ns2",
        "auth",
        "login",
        "account",
        "billing",
        "static",
        "assets",
        "cdn",
        "localhost",
        "wpad",
        "autoconfig",
        "autodiscover",
        "isatap",
    ]
)

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HOST = re.compile(rb"([A-Za-z0-9.-]{1,254})(?::([0-9]{0,5}))?")
_IPV6_HOST = re.compile(rb"\[([0-9A-Fa-f:.]{2,45})\](?::([0-9]{0,5}))?")
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,55}[a-z0-9])?")
_PORT_SLUG = re.compile(r"([1-9][0-9]{0,4})-(.+)")
_DIGITS_HYPHEN = re.compile(r"[0-9]+-")
# What browsers take for the end of an IPv4 address (URL Standard, "ends in a number"): `1.2.3.0x10` is one for them.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class InvalidHostError(ValueError):
    """A Host header that names no host. `str()` says what is wrong with it, without repeating it."""


class InvalidNameError(ValueError):
    """A name that cannot be registered. `str()` says why."""


@dataclass(frozen=True, slots=True)
class HostMeaning:
    """One thing that a name can mean: `slug` in the zone `zone`, on `port` (None: the resource's default port)."""

    zone: str
    slug: str
    port: int | None


def parse_host(raw: bytes) -> str:
    """The canonical name in a Host header: lower case, one trailing dot and the port dropped.

    An IPv6 literal comes back in brackets; it is well-formed and names nothing of ours. We are stricter than RFC 3986
    §3.2.2: no percent-encoding, no sub-delims, no user information, no label that begins or ends with a hyphen.
    Raises InvalidHostError.
    """
    match = _HOST.fullmatch(raw)
    if match is None:
        return _parse_ipv6(raw)
    _check_port(match[2])
    name = match[1].decode("ascii").lower()
    name = name.removesuffix(".")
    if len(name) > MAX_NAME or _NAME.fullmatch(name) is None:
        raise InvalidHostError("not a host name")
    return name


def _parse_ipv6(raw: bytes) -> str:
    match = _IPV6_HOST.fullmatch(raw)
    if match is None:
        raise InvalidHostError("empty" if not raw else "not a host name")
    _check_port(match[2])
    try:
        address = ipaddress.IPv6Address(match[1].decode("ascii"))
    except ipaddress.AddressValueError:
        raise InvalidHostError("not an IPv6 address") from None
    mapped = address.ipv4_mapped  # Python 3.13 writes these as RFC 5952 §5 recommends, older ones in hexadecimal
    return f"[{address}]" if mapped is None else f"[::ffff:{mapped}]"


def _check_port(digits: bytes | None) -> None:
    # RFC 9110 §7.2 allows `host:` with nothing behind the colon.
    if digits and not 1 <= int(digits) <= 65535:
        raise InvalidHostError("port out of range")


def is_address(name: str) -> bool:
    """Whether a canonical name is an IP literal (or looks like IPv4: no top-level domain is a number)."""
    return name.startswith("[") or _NUMBER.fullmatch(name.rpartition(".")[2]) is not None


def host_meanings(name: str) -> tuple[HostMeaning, ...]:
    """What a canonical name can mean inside a zone, the longest zone first; empty for IP literals and single labels."""
    label, _, rest = name.partition(".")
    if not rest or is_address(name):
        return ()
    found = []
    if is_slug(label):
        found.append(HostMeaning(zone=rest, slug=label, port=None))
    middle, _, zone = rest.partition(".")
    if middle == SANDBOX and zone:
        inner = _read_sandbox_label(label, zone)
        if inner is not None:
            found.append(inner)
    return tuple(found)


def _read_sandbox_label(label: str, zone: str) -> HostMeaning | None:
    match = _PORT_SLUG.fullmatch(label)
    if match is None:
        return HostMeaning(zone, label, None) if is_slug(label) else None
    port, slug = int(match[1]), match[2]
    return HostMeaning(zone, slug, port) if port <= 65535 and is_slug(slug) else None


def is_slug(text: str) -> bool:
    """Whether `text` may be a resource's slug.

    Never digits and a hyphen first (that is a port), never hyphens in third and fourth place (reserved for IDNA,
    RFC 5891 §4.2.3.1), never a reserved word.
    """
    return (
        _SLUG.fullmatch(text) is not None
        and _DIGITS_HYPHEN.match(text) is None
        and text[2:4] != "--"
        and text not in RESERVED_SLUGS
    )


def canonical_name(text: str) -> str:
    """The A-label form of a name to be registered, given in either form (IDNA 2008, UTS #46 mapped).

    Raises InvalidNameError for what is not a fully qualified host name: single labels, addresses, wildcards, ports,
    schemes, labels over 63 or names over 253 characters.
    """
    name = text.strip(" ")
    if not name:
        raise InvalidNameError("can't be blank")
    if "*" in name:
        raise InvalidNameError("must be one host name; wildcards are not allowed")
    if len(name) > 4 * MAX_NAME:
        raise InvalidNameError(f"must be at most {MAX_NAME} characters")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True, transitional=False).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise InvalidNameError("is not a valid internationalized domain name") from None
    name = name.lower().removesuffix(".")  # after IDNA, which has other full stops too, such as U+3002
    if len(name) > MAX_NAME:
        raise InvalidNameError(f"must be at most {MAX_NAME} characters")
    if name.startswith("[") or _is_ipv6(name):
        raise InvalidNameError("must be a domain name, not an IP address")
    if _NAME.fullmatch(name) is None:
        raise InvalidNameError("is not a valid hostname")
    if "." not in name:
        raise InvalidNameError("must be fully qualified, such as app.example.com")
    if is_address(name):
        raise InvalidNameError("must be a domain name, not an IP address")
    for label in name.split("."):
        _check_a_label(label)
    return name


def _is_ipv6(name: str) -> bool:
    try:
        ipaddress.IPv6Address(name)
    except ipaddress.AddressValueError:
        return False
    return True


def _check_a_label(label: str) -> None:
    if label.startswith("xn--"):
        try:
            idna.ulabel(label)
        except (idna.IDNAError, UnicodeError):
            raise InvalidNameError("is not a valid internationalized domain name") from None
    elif label[2:4] == "--":
        raise InvalidNameError("has a label with hyphens in third and fourth place, which is reserved")


def unicode_name(name: str) -> str:
    """The form that people read of an A-label name; the name itself where it has none."""
    try:
        return idna.decode(name)
    except (idna.IDNAError, UnicodeError):
        return name


def default_host(slug: str, zone: str) -> str:
    """`<slug>.D`"""
    return f"{slug}.{zone}"


def sandbox_host(slug: str, zone: str, port: int | None = None) -> str:
    """`<port>-<slug>.sandbox.D`, or `<slug>.sandbox.D`"""
    return f"{slug}.{SANDBOX}.{zone}" if port is None else f"{port}-{slug}.{SANDBOX}.{zone}"
