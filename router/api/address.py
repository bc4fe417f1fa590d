"""Where a request came from, for rates and logs."""

import ipaddress
from collections.abc import Sequence

from aiohttp.web import BaseRequest

from router.settings import Network


def client_address(request: BaseRequest, trusted: Sequence[Network]) -> str:
    """The client's address: the connection's, or what trusted proxies say, walking X-Forwarded-For from the right.

    An IPv6 address counts as its /64, which is what one subscriber gets: otherwise each could have 2^64 rates.
    """
    peer = _parse(request.remote or "")
    if peer is None:
        return "unknown"
    chain = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
    while chain and any(peer in network for network in trusted):
        hop = _parse(chain.pop().strip())
        if hop is None:
            break
        peer = hop
    return str(ipaddress.ip_network((peer, 64), strict=False)) if isinstance(peer, ipaddress.IPv6Address) else str(peer)


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address
