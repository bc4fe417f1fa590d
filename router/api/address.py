"""Where a request came from, for rates and logs."""

from aiohttp.web import BaseRequest

from router.base.addresses import subscriber
from router.http1.forwarding import Forwarder


def client_address(request: BaseRequest, forwarder: Forwarder) -> str:
    """The client's address: the connection's, or what trusted proxies say, as for previews (`http1/forwarding.py`); of IPv6
    its /64."""
    if request.remote is None:  # a Unix socket
        return "unknown"
    address, trusted = forwarder.peer(request.remote)
    said = request.headers.getall("X-Forwarded-For", ())
    if trusted and said:
        address = forwarder.walk(",".join(said).encode("utf-8", "surrogateescape"), address)
    return subscriber(address)
