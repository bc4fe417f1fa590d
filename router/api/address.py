"""Where a request came from, for rates and logs."""

from aiohttp.web import BaseRequest

from router.base.addresses import subscriber
from router.http1.forwarding import Forwarder


def caller_address(request: BaseRequest, forwarder: Forwarder) -> str:
    """The client's address: the connection's, or what trusted proxies say, as for previews (`http1/forwarding.py`). "unknown" at a Unix
    socket."""
    if request.remote is None:
        return "unknown"
    address, trusted = forwarder.peer(request.remote)
    said = request.headers.getall("X-Forwarded-For", ())
    if trusted and said:
        address = forwarder.walk(",".join(said).encode("utf-8", "surrogateescape"), address)
    return address


def client_address(request: BaseRequest, forwarder: Forwarder) -> str:
    """The same for rates and logs: of IPv6 its /64."""
    address = caller_address(request, forwarder)
    return address if request.remote is None else subscriber(address)
