"""Which addresses may be reached in a stranger's name.

Whoever owns a domain says which addresses it has. A query or a request to one of ours, or of the machine's own network,
would be one that a stranger had sent from inside: only what anybody on the Internet could reach is asked.
"""

import ipaddress

# Global by registry, and yet the way to some IPv4 address inside: 6to4, and the translators of RFC 6052.
_DISGUISES = (ipaddress.ip_network("2002::/16"), ipaddress.ip_network("64:ff9b::/96"))
_SITE = ipaddress.ip_network("fec0::/10")  # a site's own, long deprecated and still not global


def is_public(address: str) -> bool:
    """Whether it is a global unicast address."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and any(ip in network for network in (*_DISGUISES, _SITE)):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved
