"""Who may fetch certificates with their private keys, by `/certificate`.

On the admin listener: clients of this machine, by an address of loopback, and only directly. What a proxy on this machine
passes on may come from anywhere, and a web page can have a browser here send requests, under a name that it has made lead
here (DNS rebinding): a request with a field that either adds, or whose Host is a name, gets nothing. On the listener
`certificate_bind`: who shows a certificate of `certificate_tls_client_ca`; TLS has checked it.

Everybody else gets 204, as for a name that nothing is held for, and the log one line an hour that says so, where anything is.
"""

import ipaddress
from collections.abc import Iterable
from typing import Any, Final, Protocol

import structlog

from router.base.clock import Clock
from router.base.proxy_only_headers import is_asserted, twin
from router.gate.handover import LOOPBACK

NO_CERTIFICATE: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
_INTERVAL: Final = 3600.0  # seconds between two lines of the log
# What proxies add (RFC 7239, RFC 9110 §7.6.3), beside the older ones of `base/proxy_only_headers.py`; and what browsers do.
_PASSED_ON: Final = frozenset((b"forwarded", b"via", b"x-request-id", b"origin", b"referer", b"cookie")) | frozenset(
    (b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest")
)

_log = structlog.get_logger("router.gate")


class Held(Protocol):
    """What is given out."""

    def fetch(self, name: str, caddy: str) -> bytes | None:
        """The whole HTTP response for a name; None where nothing valid is held. At once: no I/O."""

    def __len__(self) -> int:
        """How many certificates are held."""


class Counter(Protocol):
    def count(self, name: str, *labels: str) -> None:
        """Add 1 to a counter."""


class Certificates:
    """What one listener gives out. `authenticated`: its clients have shown a certificate."""

    def __init__(self, held: Held, *, metrics: Counter, clock: Clock, authenticated: bool = False) -> None:
        self.authenticated = authenticated
        self._held = held
        self._metrics = metrics
        self._now = clock.monotonic
        self._logged = float("-inf")

    def named(self, peer: Any) -> str:
        """What a client's address, as sockets give it, is called: all of loopback is the same."""
        host = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        return LOOPBACK if is_loopback(host) else host

    def fetch(self, name: str, peer: str) -> bytes | None:
        """The whole HTTP response for the name of a handshake; None where there is none for this client, which is to get
        `NO_CERTIFICATE`."""
        if peer != LOOPBACK and not self.authenticated:
            self.refuse(peer, "it is not of this machine")
            return None
        answer = self._held.fetch(name, peer)
        self._metrics.count("certificate_fetches", "none" if answer is None else "held")
        return answer

    def refuse(self, peer: str, why: str) -> None:
        """A client gets nothing."""
        self._metrics.count("certificate_fetches", "refused")
        now = self._now()
        if len(self._held) and now - self._logged >= _INTERVAL:
            self._logged = now
            _log.warning(
                "certificate refused to a client",
                client=peer,
                why=why,
                advice="Caddy on another machine, or behind another proxy, fetches certificates at certificate_bind",
            )


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine's own, which no other machine can come from."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def is_direct(fields: Iterable[tuple[str, str]]) -> bool:
    """Whether a request with these fields comes from its client directly, and was meant for this address."""
    for name, value in fields:
        read = twin(name.encode())
        if read in _PASSED_ON or is_asserted(read) or (read == b"host" and not _is_own_name(value)):
            return False
    return True


def _is_own_name(host: str) -> bool:
    """Whether a Host is an address or `localhost`, with or without a port."""
    bare = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return bare.lower() == "localhost" or is_loopback(bare)
