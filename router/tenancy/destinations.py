"""Where webhooks may go. The address is a customer's choice, and the request comes from inside our network: only what
anybody on the Internet could reach is called, and nothing of the platform's own.
"""

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from yarl import URL

from router.addresses import is_public
from router.settings import Network

MAX_URL = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """What is allowed. `private` are networks beyond the Internet that may be called too, over http as well; `backends`
    are those in which customers' programs listen, `own_listeners` our own."""

    private: Sequence[Network] = ()
    backends: Sequence[Network] = ()
    own_listeners: Collection[tuple[str, int]] = ()

    def refusal_of(self, text: str) -> str | None:
        """What is wrong with a URL, in the words of a field; None where nothing is, as far as the text shows it."""
        try:
            url = URL(text)
            host = url.host  # read only now: it may be no IDN
        except ValueError:
            return "is not a URL"
        schemes = ("https", "http") if self.private else ("https",)
        if url.scheme not in schemes:
            return f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
        if not host or url.port in {None, 0}:
            return "is not a URL"
        if url.user is not None or url.password is not None:
            return "must not have a user or a password"
        if url.fragment or "#" in text:
            return "must not have a fragment"
        if _is_address(host) and not self.allows(url, host):
            return "must lead to a public address"
        return None

    def allows(self, url: URL, address: str) -> bool:
        """Whether a request to the URL may go to that address."""
        ip = ipaddress.ip_address(address)
        if any(ip in network for network in self.backends) or (str(ip), url.port) in self.own_listeners:
            return False
        return any(ip in network for network in self.private) or (url.scheme == "https" and is_public(address))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
