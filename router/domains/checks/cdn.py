"""Who stands between a name and us: well-known content delivery networks, told by their addresses and host names.

A name that is proxied shows the network's addresses in place of the alias that its owner typed. The ranges are those that
the networks publish; one that is missing here costs a less exact sentence and nothing else.
"""

import ipaddress
from collections.abc import Iterable

_RANGES = {
    # https://www.cloudflare.com/ips/
    "Cloudflare": (
        "103.21.244.0/22",
        "103.22.200.0/22",
        "103.31.4.0/22",
        "104.16.0.0/13",
        "104.24.0.0/14",
        "108.162.192.0/18",
        "131.0.72.0/22",
        "141.101.64.0/18",
        "162.158.0.0/15",
        "172.64.0.0/13",
        "173.245.48.0/20",
        "188.114.96.0/20",
        "190.93.240.0/20",
        "197.234.240.0/22",
        "198.41.128.0/17",
        "2400:cb00::/32",
        "2405:8100::/32",
        "2405:b500::/32",
        "2606:4700::/32",
        "2803:f800::/32",
        "2a06:98c0::/29",
        "2c0f:f248::/32",
    ),
    # https://api.fastly.com/public-ip-list
    "Fastly": (
        "23.235.32.0/20",
        "43.249.72.0/22",
        "103.244.50.0/24",
        "103.245.222.0/23",
        "103.245.224.0/24",
        "104.156.80.0/20",
        "140.248.64.0/18",
        "140.248.128.0/17",
        "146.75.0.0/17",
        "151.101.0.0/16",
        "157.52.64.0/18",
        "167.82.0.0/17",
        "172.111.64.0/18",
        "185.31.16.0/22",
        "199.27.72.0/21",
        "199.232.0.0/16",
        "2a04:4e40::/32",
        "2a04:4e42::/32",
    ),
}
_NETWORKS = tuple((name, ipaddress.ip_network(text)) for name, texts in _RANGES.items() for text in texts)

_SUFFIXES = {
    ".akamaiedge.net": "Akamai",
    ".azureedge.net": "Azure",
    ".azurefd.net": "Azure",
    ".b-cdn.net": "Bunny",
    ".cdn.cloudflare.net": "Cloudflare",
    ".cloudfront.net": "CloudFront",
    ".edgekey.net": "Akamai",
    ".edgesuite.net": "Akamai",
    ".fastly.net": "Fastly",
}


def network_of(observed: Iterable[str]) -> str | None:
    """The network that one of these host names and addresses belongs to."""
    for text in observed:
        found = next((name for suffix, name in _SUFFIXES.items() if text.endswith(suffix)), None) or _by_address(text)
        if found is not None:
            return found
    return None


def _by_address(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return next((name for name, network in _NETWORKS if address in network), None)
