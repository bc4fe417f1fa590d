"""Heads as they are forwarded: the request's to the backend, the response's to the client.

`Forwarder` decides who the client is. Forwarding headers are believed only if the connection comes from a trusted proxy;
then X-Forwarded-For is walked from the right, past trusted proxies, and the first other address is the client
(RFC 7239 §5.2 leaves it open; every trusted hop appends, so only the right end can be believed). In every case the
whole set of forwarding headers is written anew.
"""

import ipaddress
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from router.base.addresses import Network
from router.hostname import InvalidHostError, parse_host
from router.http1.cookies import narrow_cookies
from router.http1.heads import CHUNKED, NONE, UNTIL_CLOSE, block_of, has, value_of
from router.http1.host_rewrite import ToldHost, public_lines, public_location, told_forwarding, told_lines
from router.http1.requests import RequestHead, without_dot
from router.http1.responses import ResponseHead
from router.http1.upgrade import is_upgrade_response

_MAX_ADDRESSES = 10_000
_MAX_CLIENTS = 1024  # whose ClientInfo is remembered: half a megabyte
_MAX_HOST = 255  # of those: a longer one leads nowhere
_MAX_ADDRESS = 45  # ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255
_NODE = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9A-Za-z._-]{1,32})?")
_PORT = re.compile(rb"[1-9][0-9]{0,4}")
_FIRST_HOP: Final = b"X-Miosa-Hops: 1\r\n"


class ClientInfo:
    """Who sent a request: the client's address, the scheme it used, and the header block that says so to backends.

    `identity` is the header, with its end, that says which person or program that is, where the backend is told; it stands
    in `block` too.
    """

    __slots__ = ("block", "client", "host", "identity", "scheme")

    def __init__(self, client: str, scheme: bytes, host: bytes, block: bytes, identity: bytes = b"") -> None:
        self.client = client
        self.scheme = scheme
        self.host = host
        self.block = block
        self.identity = identity

    def with_identity(self, line: bytes) -> "ClientInfo":
        """The same client, of whom the backend is told by `line`. This one must have none."""
        return ClientInfo(self.client, self.scheme, self.host, self.block + line, line)


class HeadRules:
    """What a route changes in heads, besides what is done to every head.

    `told` says which Host the backend is told instead of the visited one (`host_rewrite.py`); `host` is a `told` that never
    changes.
    `cookie_scope` is the widest domain that the backend may set cookies for, in lower case; None allows any.
    """

    def __init__(
        self, host: bytes | None = None, cookie_scope: bytes | None = None, *, told: ToldHost | None = None
    ) -> None:
        self.told = ToldHost(host) if told is None else told
        self.cookie_scope = cookie_scope

    @property
    def host(self) -> bytes | None:
        """The Host that the backend is told at this moment, None for the visited one."""
        return self.told.host

    def change(self, head: ResponseHead) -> bool:
        """Whether this response's head may become another one on this route. Every rule for responses needs its line here."""
        return (
            head.location_at >= 0
            or self.told.host is not None
            or (self.cookie_scope is not None and head.domain_cookies)
        )


class Forwarder:
    """Decides who the client of a request is. One per worker; remembers a bounded number of addresses."""

    def __init__(self, trusted: Sequence[Network], passed: Mapping[Network, Collection[str]] | None = None) -> None:
        """`passed` are the headers of `router/base/proxy_only_headers.py` that are believed from a network of trusted proxies."""
        self._trusted = tuple(trusted)
        self._passed = {network: frozenset(map(_lower, names)) for network, names in (passed or {}).items()}
        self._addresses: dict[bytes, tuple[str, bool] | None] = {}
        self._clients: dict[
            tuple[str, bytes], ClientInfo
        ] = {}  # by address and Host; no forwarding header of theirs is believed

    def peer(self, address: str) -> tuple[str, bool]:
        """The address of a connection's other end in canonical form, and whether its forwarding headers are believed."""
        # The zone of a link-local address (`%eth0`) has a meaning on this machine only.
        return self._judge(address.partition("%")[0].encode("ascii", "replace")) or (address, False)

    def client_info(self, head: RequestHead, peer: str, *, trusted: bool) -> ClientInfo:
        """Who sent `head`, which came over a connection from `peer`: both arguments as `peer` gives them."""
        said = head.forwarding
        if trusted and said is not None:
            return self._client_behind(peer, head.host, said)
        # A browser opens several connections to one host, a script one for each request: all of them share this.
        key = (peer, head.host)
        known = self._clients.get(key)
        if known is None:
            known = _client(peer, b"http", head.host, b"")
            if len(head.host) <= _MAX_HOST:
                if len(self._clients) >= _MAX_CLIENTS:
                    self._clients.clear()
                self._clients[key] = known
        return known

    def _client_behind(self, peer: str, host: bytes, said: dict[bytes, bytes]) -> ClientInfo:
        """Who a trusted proxy says that it is."""
        client, scheme = peer, b"http"
        chain = said.get(b"x-forwarded-for")
        if chain is not None:
            client = self.walk(chain, peer)
        elif (forwarded := said.get(b"forwarded")) is not None:
            client, scheme = self._read_forwarded(forwarded, peer)
        proto = said.get(b"x-forwarded-proto", b"").lower()
        if proto in (b"http", b"https"):
            scheme = proto
        host = _host_or(said.get(b"x-forwarded-host"), host)
        return _client(client, scheme, host, said.get(b"x-forwarded-port", b""))

    def passed(self, head: RequestHead, peer: str) -> bytes:
        """Those of its asserted lines that are believed from `peer`, a trusted proxy; as a block."""
        if not self._passed:
            return b""
        address = ipaddress.ip_address(peer)
        believed = {name for network, names in self._passed.items() if address in network for name in names}
        return b"".join([line + b"\r\n" for name, line in head.asserted if name in believed])

    def walk(self, chain: bytes, peer: str) -> str:
        """The client that an X-Forwarded-For names, which came from `peer`, a trusted proxy: the first address from the
        right that is no trusted proxy's. What is no address ends the walk at the one before it."""
        client = peer
        for part in reversed(chain.split(b",")):
            known = self._judge(_without_port(part.strip(b" \t")))
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
        if len(raw) > _MAX_ADDRESS or b"%" in raw:
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
        if len(self._addresses) >= _MAX_ADDRESSES:
            self._addresses.clear()
        self._addresses[raw] = known
        return known


def _client(client: str, scheme: bytes, host: bytes, port: bytes) -> ClientInfo:
    """`port` may be anything: what is none is the one that Host or scheme has."""
    if not (port and _PORT.fullmatch(port) and int(port) <= 65535):
        port = host.rpartition(b":")[2] if has(host, b":") and not host.endswith(b"]") else b""
        if not port:
            port = b"443" if scheme == b"https" else b"80"
    address = client.encode("ascii")
    node = b'"[%b]"' % address if has(address, b":") else address
    block = (
        b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Port: %b\r\n"
        b'Forwarded: for=%b;host="%b";proto=%b\r\n' % (address, scheme, host, port, node, host, scheme)
    )
    return ClientInfo(client, scheme, host, block)


def _lower(name: str) -> bytes:
    return name.lower().encode("ascii")


def _without_port(node: bytes) -> bytes:
    """The address of `1.2.3.4:5678`, `[2001:db8::1]:443` or `[2001:db8::1]`, as several balancers write it."""
    if node.count(b":") != 1 and not node.startswith(b"["):
        return node
    match = _NODE.fullmatch(node)
    return b"" if match is None else match[1] or match[2]


def _host_or(said: bytes | None, otherwise: bytes) -> bytes:
    if said is None or said == otherwise:
        return otherwise
    try:
        parse_host(said)
    except InvalidHostError:
        return otherwise
    return without_dot(said)


def request_to_backend(
    head: RequestHead, client_info: ClientInfo, request_id: bytes, rules: HeadRules, passed: bytes = b""
) -> bytes:
    """The head that goes to the backend. `passed` are the asserted headers of a proxy in front of us that are believed."""
    forwarding = client_info.block
    host = rules.told.host
    if host is not None and rules.told.covers(head.target):
        block = block_of(told_lines(head, client_info, host))
        forwarding = told_forwarding(client_info, host) + client_info.identity
    else:
        block = block_of(head.lines) if head.block is None else head.block
    if head.upgrade:
        hop = b"Connection: Upgrade\r\nUpgrade: " + head.upgrade + b"\r\n"
    elif head.trailers:
        hop = b"Connection: TE\r\nTE: trailers\r\n"
    else:
        hop = b""
    return b"%b %b HTTP/1.1\r\n%b%bX-Request-ID: %b\r\n%b%b\r\n" % (
        head.method,
        head.target,
        block,
        forwarding + passed if passed else forwarding,
        request_id,
        _FIRST_HOP if head.hops == 0 else b"X-Miosa-Hops: %d\r\n" % (head.hops + 1),
        hop,
    )


def _apply(rules: HeadRules, head: ResponseHead, client_info: ClientInfo) -> list[bytes]:
    """A response's header lines as a route has them; a list of the caller's own."""
    lines = list(head.lines)
    host = rules.told.host
    if host is not None:
        lines = public_lines(lines, client_info, host)
    elif head.location_at >= 0:
        line = lines[head.location_at]
        value = value_of(line)
        public = public_location(value, client_info)
        if public != value:
            lines[head.location_at] = line[: line.find(b":")] + b": " + public
    if rules.cookie_scope is not None and head.domain_cookies:
        lines = narrow_cookies(lines, rules.cookie_scope)
    return lines


def response_framing(head: ResponseHead, method: bytes, client_version: int) -> int:
    """How the response's body is framed towards the client: NONE, a length, CHUNKED or UNTIL_CLOSE."""
    if method == b"HEAD" or head.status in (204, 304):
        return NONE
    if head.framing >= 0:
        return head.framing
    return CHUNKED if client_version == 1 else UNTIL_CLOSE


def response_to_client(
    head: ResponseHead,
    client_info: ClientInfo,
    rules: HeadRules,
    *,
    request_id: bytes,
    framing: int,
    client_version: int,
    keep_alive: bool,
    cors: tuple[bytes, ...] = (),
) -> bytes:
    """The head that goes to the client, on a connection that is kept or not. It says `request_id`, unless the backend has
    named one of its own. `cors` are lines for a head that says nothing of the kind itself.

    """
    if cors or head.upgrade or rules.change(head):
        lines = _apply(rules, head, client_info)
        if cors and not any(line[:15].lower() == b"access-control-" for line in lines):
            lines += cors
        if head.upgrade and head.status == 426:  # RFC 9110 §15.5.22: it must say what to upgrade to
            lines += (b"Connection: Upgrade", b"Upgrade: " + head.upgrade)
        block = block_of(lines)
    else:
        block = block_of(head.lines) if head.block is None else head.block
    return b"HTTP/1.1 %d %b\r\n%b%b%b%b\r\n" % (
        head.status,
        head.reason,
        block,
        b"Transfer-Encoding: chunked\r\n" if framing == CHUNKED else b"",
        (b"" if client_version == 1 else b"Connection: keep-alive\r\n") if keep_alive else b"Connection: close\r\n",
        b"" if head.has_request_id else b"X-Request-ID: %b\r\n" % request_id,
    )


def after_a_wait(out: bytes, milliseconds: int) -> bytes:
    """A rendered head of a response that has waited so long for its resource to wake. What the program says of its own times
    stands beside it: `Server-Timing` is a list (W3C)."""
    return with_line(out, b"X-Miosa-Cold-Start: 1\r\nServer-Timing: wake;dur=%d" % milliseconds)


def with_line(out: bytes, line: bytes) -> bytes:
    """A rendered head with one more line in front of the others. What it is rendered from may be remembered for others."""
    first, _, rest = out.partition(b"\r\n")
    return b"%b\r\n%b\r\n%b" % (first, line, rest)


def interim_to_client(head: ResponseHead, client_info: ClientInfo, rules: HeadRules, request_id: bytes = b"") -> bytes:
    """A 1xx response. A 101 keeps its upgrade, and says `request_id`: it is the only response that there will be."""
    lines = _apply(rules, head, client_info)
    if is_upgrade_response(head):
        lines += (b"Connection: Upgrade", b"Upgrade: " + head.upgrade)
        if request_id and not head.has_request_id:
            lines.append(b"X-Request-ID: " + request_id)
    lines.append(b"\r\n")
    return b"HTTP/1.1 %d %b\r\n%b" % (head.status, head.reason, b"\r\n".join(lines))
