"""Where a request to the API came from: the same walk along X-Forwarded-For as for previews."""

import ipaddress
from typing import NamedTuple, cast

import pytest
from aiohttp.web import BaseRequest
from multidict import CIMultiDict

from router.api.address import client_address
from router.http1.forwarding import Forwarder

PROXIES = Forwarder((ipaddress.IPv4Network("10.0.0.0/8"), ipaddress.IPv6Network("fd00::/8")))


class Asked(NamedTuple):
    """What is looked at of a request."""

    remote: str | None
    headers: CIMultiDict[str]


CASES = [
    # (the connection's other end, X-Forwarded-For lines) → the client
    ("192.0.2.1", [], "192.0.2.1"),
    ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["203.0.113.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
    ("10.0.0.1", ["203.0.113.1", "198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
    ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
    ("10.0.0.1", ["unknown, 10.0.0.2"], "10.0.0.2"),
    ("10.0.0.1", [""], "10.0.0.1"),
    ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
    ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
    ("fd00::1", ["[2001:db8:1:2:3::4]:443"], "2001:db8:1:2::/64"),
    ("2001:db8:1:2:3::4", [], "2001:db8:1:2::/64"),
    ("fe80::1%eth0", [], "fe80::/64"),
    (None, ["198.51.100.1"], "unknown"),
]


@pytest.mark.parametrize(("peer", "lines", "client"), CASES)
def test_client_address(peer: str | None, lines: list[str], client: str) -> None:
    """Trusted proxies are believed from the right; an IPv6 address counts as its /64."""
    asked = Asked(peer, CIMultiDict([("X-Forwarded-For", line) for line in lines]))
    assert client_address(cast("BaseRequest", asked), PROXIES) == client
