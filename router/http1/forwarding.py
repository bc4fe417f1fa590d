"""Heads on their way through: what is said to the backend about the client, and what to the client of the answer.

`Forwarder` decides who the client is. A proxy's word counts only where the connection comes from a trusted network;
then X-Forwarded-For is walked from the right, past trusted proxies, and the first other address is the client
(RFC 7239 §5.2 leaves it open; every trusted hop appends, so only the right end can be believed). In every case the
whole set of forwarding headers is written anew.
"""

import ipaddress
import re
from collections.abc import Sequence

from router.hostname import InvalidHostError, parse_host
from router.http1.heads import CHUNKED, NONE, UNTIL_CLOSE, value_of
from router.http1.requests import RequestHead
from router.http1.responses import ResponseHead
from router.http1.upgrade import is_upgrade_answer
from router.settings import Network

_KNOWN_ADDRESSES = 10_000
_LONGEST_ADDRESS = 45  # ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255
# A URL's authority and the rest of it. The scheme may be missing; whoever believes X-Forwarded-Proto says https.
_ABSOLUTE = re.compile(rb"(?:https?:)?//([^/?#]*)(.*)", re.IGNORECASE)
_PORT = re.compile(rb"[1-9][0-9]{0,4}")


class Origin:
    """Who sent a request: the client's address, the scheme it used, and the header block that says so to backends."""

    __slots__ = ("block", "client", "host", "scheme")

    def __init__(self, client: str, scheme: bytes, host: bytes, block: bytes) -> None:
        self.client = client
        self.scheme = scheme
        self.host = host
        self.block = block


class Forwarder:
    """Who the client of a request is. One per worker; keeps a bounded memory of addresses that it has judged."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)
        self._addresses: dict[bytes, tuple[str, bool] | None] = {}

    def peer(self, address: str) -> tuple[str, bool]:
        """The address of a connection's other end in canonical form, and whether its forwarding headers are believed."""
        # The zone of a link-local address (`%eth0`) is this machine's name for the way there, and nobody else's.
        return self._judge(address.partition("%")[0].encode("ascii", "replace")) or (address, False)

    def origin(self, head: RequestHead, peer: str, *, trusted: bool) -> Origin:
        """Who sent `head`, which came over a connection from `peer`: both arguments as `peer` gives them."""
        client, scheme, host, port = peer, b"http", head.host, b""
        said = head.forwarding
        if trusted and said is not None:
            chain = said.get(b"x-forwarded-for")
            if chain is not None:
                client = self._walk(chain, peer)
            elif (forwarded := said.get(b"forwarded")) is not None:
                client, scheme = self._read_forwarded(forwarded, peer)
            proto = said.get(b"x-forwarded-proto", b"").lower()
            if proto in (b"http", b"https"):
                scheme = proto
            host = _host_or(said.get(b"x-forwarded-host"), host)
            port = said.get(b"x-forwarded-port", b"")
        if not (port and _PORT.fullmatch(port) and int(port) <= 65535):
            port = host.rpartition(b":")[2] if b":" in host and not host.endswith(b"]") else b""
            if not port:
                port = b"443" if scheme == b"https" else b"80"
        address = client.encode("ascii")
        node = b'"[%b]"' % address if b":" in address else address
        block = (
            b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Port: %b\r\n"
            b'Forwarded: for=%b;host="%b";proto=%b\r\n' % (address, scheme, host, port, node, host, scheme)
        )
        return Origin(client, scheme, host, block)

    def _walk(self, chain: bytes, peer: str) -> str:
        client = peer
        for part in reversed(chain.split(b",")):
            known = self._judge(part.strip(b" \t"))
            if known is None:
                break
            client, trusted = known
            if not trusted:
                break
        return client

    def _read_forwarded(self, value: bytes, peer: str) -> tuple[str, bytes]:
        client, scheme = peer, b"http"
        for element in reversed(value.lower().split(b",")):
            pairs = dict(pair.strip(b" \t").partition(b"=")[::2] for pair in element.split(b";"))
            node = pairs.get(b"for", b"").strip(b'"')
            known = self._judge(node[1:].partition(b"]")[0] if node.startswith(b"[") else node.partition(b":")[0])
            if known is None:
                break
            client, trusted = known
            proto = pairs.get(b"proto", b"")
            if proto in (b"http", b"https"):
                scheme = proto
            if not trusted:
                break
        return client, scheme

    def _judge(self, raw: bytes) -> tuple[str, bool] | None:
        """(canonical address, whether it is trusted), or None for what is no address."""
        try:
            return self._addresses[raw]
        except KeyError:
            pass
        if len(raw) > _LONGEST_ADDRESS or b"%" in raw:
            return None
        known: tuple[str, bool] | None
        try:
            address = ipaddress.ip_address(raw.decode("ascii"))
        except ValueError:
            known = None
        else:
            if isinstance(address, ipaddress.IPv6Address):
                address = address.ipv4_mapped or address
            known = (str(address), any(address in network for network in self._trusted))
        if len(self._addresses) >= _KNOWN_ADDRESSES:
            self._addresses.clear()
        self._addresses[raw] = known
        return known


def _host_or(said: bytes | None, otherwise: bytes) -> bytes:
    if said is None or said == otherwise:
        return otherwise
    try:
        parse_host(said)
    except InvalidHostError:
        return otherwise
    return said


def request_to_backend(head: RequestHead, origin: Origin, request_id: bytes, host_mode: bytes | None) -> bytes:
    """The head that goes to the backend. `host_mode` None keeps Host; else it is the Host to say instead."""
    if host_mode is not None:
        block = b"\r\n".join(_rewrite_host(head, origin, host_mode))
    else:
        block = b"\r\n".join(head.lines) if head.block is None else head.block
    if head.upgrade:
        hop = b"Connection: Upgrade\r\nUpgrade: " + head.upgrade + b"\r\n"
    elif head.trailers:
        hop = b"Connection: TE\r\nTE: trailers\r\n"
    else:
        hop = b""
    return b"%b %b HTTP/1.1\r\n%b\r\n%bX-Request-ID: %b\r\nVia: 1.1 miosa-edge\r\n%b\r\n" % (
        head.method,
        head.target,
        block,
        origin.block,
        request_id,
        hop,
    )


def _rewrite_host(head: RequestHead, origin: Origin, host: bytes) -> list[bytes]:
    """Host replaced, and Origin with it where it is the preview's own, so that a dev server sees one story."""
    lines = list(head.lines)
    lines[head.host_at] = b"Host: " + host
    if head.origin_at >= 0 and value_of(lines[head.origin_at]).lower() == b"%b://%b" % (
        origin.scheme,
        origin.host.lower(),
    ):
        lines[head.origin_at] = b"Origin: http://" + host
    return lines


def response_framing(head: ResponseHead, method: bytes, client_version: int) -> int:
    """How the answer's body is framed towards the client: NONE, a length, CHUNKED or UNTIL_CLOSE."""
    if method == b"HEAD" or head.status in (204, 304):
        return NONE
    if head.framing >= 0:
        return head.framing
    return CHUNKED if client_version == 1 else UNTIL_CLOSE


def response_to_client(
    head: ResponseHead,
    *,
    framing: int,
    client_version: int,
    keep_alive: bool,
    location: tuple[bytes, bytes] | None,
) -> bytes:
    """The head that goes to the client. `location` = (the Host that the backend heard, the URL that clients use)."""
    usual = keep_alive and client_version == 1 and location is None
    if usual and head.ready is not None:
        return head.ready
    lines = list(head.lines)
    if location is not None and head.location_at >= 0:
        host, base = location
        match = _ABSOLUTE.fullmatch(value_of(lines[head.location_at]))
        if match is not None and match[1].lower() == host.lower():
            lines[head.location_at] = b"Location: " + base + match[2]
    if head.upgrade and head.status == 426:  # RFC 9110 §15.5.22: it must say what to upgrade to
        lines += (b"Connection: Upgrade", b"Upgrade: " + head.upgrade)
    if framing == CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    if not keep_alive:
        lines.append(b"Connection: close")
    elif client_version == 0:
        lines.append(b"Connection: keep-alive")
    lines.append(b"\r\n")
    out = b"HTTP/1.1 %d %b\r\n%b" % (head.status, head.reason, b"\r\n".join(lines))
    if usual:
        head.ready = out
    return out


def interim_to_client(head: ResponseHead) -> bytes:
    """A 1xx answer. A 101 keeps its upgrade."""
    lines = list(head.lines)
    if is_upgrade_answer(head):
        lines += (b"Connection: Upgrade", b"Upgrade: " + head.upgrade)
    lines.append(b"\r\n")
    return b"HTTP/1.1 %d %b\r\n%b" % (head.status, head.reason, b"\r\n".join(lines))
