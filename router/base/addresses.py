"""Which addresses may be dialled: every rule about that, in one file.

    is_public        name servers on the way to a customer's domain     only what anybody on the Internet can reach
    may_be_dialled   a customer's host (challenge), a webhook           public, or in a network that a setting lists
    refusal          where a customer's program listens (an endpoint)   the backend networks, nothing else
    own_listener     all of them                                        never a listener of this router

The owner of a domain decides which addresses it has, and a customer decides where a webhook goes. Without these rules
either could make us send requests to our own network, to this machine, or to the cloud's metadata service.

An IPv6 address can carry an IPv4 address (`embedded_ipv4`). Where a stranger chose it, it is refused, whatever it carries:
nothing on the Internet needs that form. An endpoint in the IPv4-mapped form is judged as the IPv4 address that the kernel
dials; the other forms need a translator, which would reach what the rules do not see, so they are refused there too.
"""

import ipaddress
from collections.abc import Collection, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds answer machines with their credentials. The first lies in link-local; the others are ordinary addresses.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, GCP, Azure and most others
        "169.254.170.2",  # AWS ECS task credentials
        "fd00:ec2::254",  # AWS over IPv6; inside the unique local block that private networks use
        "fd20:ce::254",  # GCP over IPv6; likewise
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "168.63.129.16",  # Azure's host agent
    )
)
_LOOPBACK: tuple[Network, ...] = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")

_SITE_LOCAL = ipaddress.ip_network("fec0::/10")  # deprecated (RFC 3879), and not global
# Translators of RFC 6052 §2.1 and RFC 8215: the IPv4 address is in the last 32 bits.
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = ipaddress.IPv6Network("::/96")  # RFC 4291 §2.5.5.1, deprecated


def embedded_ipv4(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside an IPv6 one: mapped, compatible, 6to4, NAT64 or Teredo; None where it carries none."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if (inner := address.ipv4_mapped or address.sixtofour) is not None:
        return inner
    if (teredo := address.teredo) is not None:
        return teredo[1]
    low = int(address) & 0xFFFFFFFF
    if any(address in network for network in _NAT64) or (address in _COMPATIBLE and low > 1):  # not :: and ::1
        return ipaddress.IPv4Address(low)
    return None


def subscriber(address: str) -> str:
    """Whom limits count a canonical address (RFC 5952) for: itself, or of IPv6 its /64, as `2001:db8:1:2::/64`. One customer of a
    provider has all of a /64 (RFC 6177), and could else be 2^64 clients."""
    if ":" not in address:
        return address
    front, gap, back = address.partition("::")
    groups = front.split(":") if front else []
    if gap:
        behind = back.split(":") if back else []
        groups += ["0"] * (8 - len(groups) - len(behind)) + behind
    network = groups[:4]
    while network and network[-1] == "0":
        network.pop()
    return ":".join(network) + "::/64"


def is_public(address: str) -> bool:
    """Whether it is a global unicast address, and no metadata service. Raises ValueError where it is no IP address."""
    ip = ipaddress.ip_address(address)
    if embedded_ipv4(ip) is not None or ip in _METADATA or ip in _SITE_LOCAL:
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def may_be_dialled(address: str, networks: Sequence[Network] = (), *, public: bool = True) -> bool:
    """Whether an address that a stranger chose may be dialled: a public one (not without `public`), or one in `networks`.

    Raises ValueError where it is no IP address.
    """
    if embedded_ipv4(ipaddress.ip_address(address)) is not None:
        return False
    return (public and is_public(address)) or refusal(address, networks) is None


def refusal(address: str, networks: Sequence[Network]) -> str | None:
    """Why nothing may be dialled at `address`, as words for a form field; None where it may.

    Loopback counts as a backend network only where one is listed that lies in loopback itself: `0.0.0.0/0` does not
    open this machine.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "is not an IP address"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id is not None:
            return "must not name an interface"
        if (inner := embedded_ipv4(parsed)) is not None:
            return refusal(str(inner), networks) or (None if parsed.ipv4_mapped else "is a translated IPv4 address")
    if parsed in _METADATA:
        return "is a metadata service"
    if parsed.is_link_local:
        return "is a link-local address"
    if parsed.is_unspecified:
        return "is the unspecified address"
    if parsed.is_multicast or parsed == _BROADCAST:
        return "is not the address of one machine"
    if parsed.is_loopback:
        listed = any(parsed in network and _inside_loopback(network) for network in networks)
        return None if listed else "is a loopback address"
    if not any(parsed in network for network in networks):
        return "is outside the backend networks"
    return None


def own_listener(address: str, port: int, listeners: Collection[tuple[str, int]]) -> bool:
    """Whether (address, port) is where we listen ourselves: a request sent there would come back to us in a loop.

    `listeners` holds what our sockets are bound to. A socket bound to the unspecified address listens on every address
    of this machine; which those are is not known here, so it stands for every loopback address (the composition root
    lists the others).
    """
    parsed = _plain(address)
    for bound, bound_port in listeners:
        if bound_port != port:
            continue
        listener = _plain(bound)
        if parsed == listener or (listener.is_unspecified and parsed.is_loopback):
            return True
    return False


def _plain(address: str) -> Address:
    parsed = ipaddress.ip_address(address)
    return parsed.ipv4_mapped or parsed if isinstance(parsed, ipaddress.IPv6Address) else parsed


def _inside_loopback(network: Network) -> bool:
    return any(network.version == loop.version and network.subnet_of(loop) for loop in _LOOPBACK)  # type: ignore[arg-type]
