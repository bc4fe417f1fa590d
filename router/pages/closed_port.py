"""Why a port is closed, as far as the platform says what does listen inside."""

import ipaddress
from collections.abc import Sequence

from router.errors import LISTENS_ELSEWHERE, LISTENS_ON_LOOPBACK, PORT_CLOSED, Problem
from router.routes.records import ListeningSocket


def why_closed(real_port: int, listening: Sequence[ListeningSocket] | None) -> Problem:
    """The problem of a port that refused a connection. `real_port` is what was dialled.

    A socket that is listed on the port at an address that can be reached is no explanation: it has gone since, or the
    list is old. So the plain one stands, whatever else is listed.
    """
    on_port = [socket.address for socket in listening or () if socket.port == real_port]
    if on_port:
        return LISTENS_ON_LOOPBACK if all(map(_is_loopback, on_port)) else PORT_CLOSED
    return LISTENS_ELSEWHERE if listening else PORT_CLOSED


def _is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    mapped = getattr(ip, "ipv4_mapped", None)  # a property of IPv6 only; `is_loopback` of 3.11 does not look at it
    return (mapped or ip).is_loopback
