"""Sockets that listen: opened in one place, so that a port in use is reported the same way for every listener."""

import ipaddress
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from router.settings import Role, Settings, split_bind

BACKLOG = 1024
DNS_UDP, DNS_TCP = "dns_udp", "dns_tcp"
_TRIES = 20


class ListenError(Exception):
    """A listener that cannot be opened. `str()` names the listener, its address and the reason."""


def binds(settings: Settings) -> dict[str, str]:
    """The listeners that a node with these settings has, by name, and where."""
    every: dict[Role, dict[str, str]] = {
        "proxy": {"proxy": settings.proxy_bind},
        "api": {"api": settings.api_bind},
        "admin": {"admin": settings.admin_bind},
    }
    if settings.certificate_bind is not None:
        every["admin"]["certificate"] = settings.certificate_bind
    return {name: bind for role, found in every.items() if role in settings.roles for name, bind in found.items()}


@contextmanager
def open_sockets(settings: Settings, given: Mapping[str, socket.socket]) -> Iterator[dict[str, socket.socket]]:
    """The sockets of a node's listeners, by name: those that are given (by the supervisor or systemd), and new ones. All are
    closed at the end of the block. Raises ListenError."""
    with ExitStack() as stack:
        sockets = {}
        for name, bind in binds(settings).items():
            sockets[name] = opened = given.get(name) or listen(name, bind)
            stack.callback(opened.close)
        for name, opened in dns_sockets(settings, given).items():
            sockets[name] = opened
            stack.callback(opened.close)
        yield sockets


def listen(name: str, bind: str, *, reuse_port: bool = False, backlog: int | None = BACKLOG) -> socket.socket:
    """A non-blocking socket that listens on `bind` (`HOST:PORT`); without a backlog it is bound only. Raises ListenError."""
    host, port = split_bind(bind)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenError(f"the {name} listener cannot use {bind}: {error.strerror or error}") from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Clients that vanish without a word are found out by the kernel; accepted sockets inherit this on Linux.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if reuse_port:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind(address)
        if backlog is not None:
            opened.listen(backlog)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise ListenError(f"the {name} listener cannot use {bind}: {error.strerror or error}") from error
    return opened


def listen_dns(bind: str) -> tuple[socket.socket, socket.socket]:
    """Non-blocking sockets of UDP and TCP for name server queries on `bind`: on one port, also where that is 0. Raises
    ListenError."""
    host, port = split_bind(bind)
    for _ in range(_TRIES):
        connections = listen("DNS", bind)
        try:
            return _datagrams(connections, bind), connections
        except ListenError:
            connections.close()
            if port:
                raise
    raise ListenError(f"the DNS listener found no port of {host} that is free for both UDP and TCP")


def dns_sockets(settings: Settings, given: Mapping[str, socket.socket]) -> dict[str, socket.socket]:
    """The sockets of `acme_dns_bind`, those that are given (by the supervisor or systemd) or new ones; none on a node that
    does not answer DNS. Raises ListenError."""
    passed = {name: given[name] for name in (DNS_UDP, DNS_TCP) if name in given}
    if settings.acme_zone is None or settings.acme_dns_bind is None or "admin" not in settings.roles:
        if passed:
            raise ListenError("systemd passed the DNS listener sockets, but acme_zone and acme_dns_bind are not set")
        return {}
    if not passed:
        return dict(zip((DNS_UDP, DNS_TCP), listen_dns(settings.acme_dns_bind), strict=True))
    if len(passed) == 1:
        raise ListenError("the DNS listener needs two sockets of systemd: ListenDatagram= and ListenStream=")
    return passed


def _datagrams(beside: socket.socket, bind: str) -> socket.socket:
    opened = socket.socket(beside.family, socket.SOCK_DGRAM)
    try:
        opened.bind(beside.getsockname())
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise ListenError(f"the DNS listener cannot use {bind} (UDP): {error.strerror or error}") from error
    return opened


def listen_together(name: str, bind: str, count: int) -> list[socket.socket]:
    """So many sockets on one address; the kernel spreads connections over them. Raises ListenError.

    The kernel lets any program of the same user listen on such an address too, so two nodes started by mistake would
    share their traffic: an address that is in use already is refused.
    """
    if split_bind(bind)[1] != 0:
        listen(name, bind, backlog=None).close()
    first = listen(name, bind, reuse_port=True)
    host, port = first.getsockname()[:2]
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    opened = [first]
    try:
        opened += [listen(name, bind, reuse_port=True) for _ in range(count - 1)]
    except ListenError:
        for one in opened:
            one.close()
        raise
    return opened


def local_addresses(bound: tuple[str, int]) -> set[tuple[str, int]]:
    """Every (address, port) of this machine that a socket bound there listens on, as far as can be told.

    A socket bound to the unspecified address listens on all of the machine's addresses. Linux lists them in /proc;
    elsewhere the unspecified address stands alone.
    """
    host, port = bound
    found = {bound}
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        found |= {(local, port) for local in _ipv4_addresses()}
        if address.version == 6:
            found |= {(local, port) for local in _ipv6_addresses()}
    return found


def _ipv4_addresses() -> set[str]:
    # A routing trie: each leaf (`|-- 10.0.0.5`) is followed by what it is (`/32 host LOCAL`).
    found, leaf = set(), ""
    for line in _lines(Path("/proc/net/fib_trie")):
        words = line.split()
        if words[:1] == ["|--"]:
            leaf = words[1]
        elif words[1:] == ["host", "LOCAL"]:
            found.add(leaf)
    return found


def _ipv6_addresses() -> set[str]:
    return {str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))) for line in _lines(Path("/proc/net/if_inet6"))}


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
