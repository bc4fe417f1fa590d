"""Where webhooks may go: what a URL may look like, and which addresses may be dialled for it.

A customer chooses the URL, and the request comes from inside our network. So webhooks go to public addresses only, and
never to a listener or a backend of the platform.
"""

import ipaddress
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from yarl import URL

from router.base.addresses import Network, embedded_ipv4, may_be_dialled, own_listener
from router.hostname import MAX_NAME

MAX_URL = 2000

_URL = re.compile(r"[a-z][a-z0-9+.-]*://(?P<authority>[^/?#]*)", re.IGNORECASE)
# Stricter than RFC 3986: a host, and a port in ASCII digits. Zones (`%25eth0`), escapes and empty ports have no use here.
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@%]+)(:[0-9]{1,5})?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# What the URL standard takes for a number where it ends a host, and so for an IPv4 address: 127.1, 0x7f000001, 017700000001.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Names that public DNS does not have (RFC 6761, 6762 §3 and G, 7686, 8375, 9476; .internal, .corp, .home and .mail by
# ICANN; the others are what routers and offices use). Inside a network they may lead to its machines.
_PRIVATE_SUFFIXES = frozenset(
    {
        *("alt", "arpa", "corp", "domain", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain"),
        *("localhost", "mail", "onion", "private", "test", "workgroup"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """The rules. `private` are networks beside the Internet that may be dialled too, over http as well; `backends` are those
    in which customers' programs listen, `own_listeners` the addresses and ports of this router: neither is dialled."""

    private: Sequence[Network] = ()
    backends: Sequence[Network] = ()
    own_listeners: Collection[tuple[str, int]] = ()

    def refusal_of(self, text: str) -> str | None:
        """What is wrong with a URL, in the words of a field; None where nothing is, as far as the text shows it."""
        if not _is_printable(text):
            return "must not have blanks or control characters"
        try:
            url = URL(text)
            host = url.raw_host if url.host else None  # `host` is read only now: it may be no IDN
        except ValueError:
            return "is not a URL"
        schemes = ("https", "http") if self.private else ("https",)
        if url.scheme not in schemes:
            return f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
        written = _URL.match(text)
        if not host or url.port in {None, 0} or written is None:
            return "is not a URL"
        if "@" in written["authority"]:
            return "must not have a user or a password"
        if _AUTHORITY.fullmatch(written["authority"]) is None:
            return "is not a URL"
        if "#" in text:
            return "must not have a fragment"
        if _is_address(host):
            if embedded_ipv4(ipaddress.ip_address(host)) is not None:
                return "must have its address in the usual form, as in 192.0.2.1"
            return None if self.allows(url, host) else "must lead to a public address"
        return self._refusal_of_name(host.lower())

    def _refusal_of_name(self, name: str) -> str | None:
        """What is wrong with the name of a host."""
        *_, last = labels = name.split(".")
        if name.endswith("."):
            return "must not have a dot behind its host"
        if _NUMBER.fullmatch(last):
            return "must have its address in the usual form, as in 192.0.2.1"
        if len(name) > MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
            return "is not a URL"
        if not self.private and (len(labels) == 1 or last in _PRIVATE_SUFFIXES):
            return "must lead to a public address"
        return None

    def allows(self, url: URL, address: str) -> bool:
        """Whether a request to the URL may go to that address."""
        ip = ipaddress.ip_address(address)
        if any(ip in network for network in self.backends):
            return False
        if own_listener(address, url.port or 0, self.own_listeners):
            return False
        return may_be_dialled(address, self.private, public=url.scheme == "https")


def _is_printable(text: str) -> bool:
    """Whether every character may stand in a URL or in an international name: yarl drops some of the others silently."""
    return all(char.isprintable() and not char.isspace() for char in text)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
