"""DNS as it really is: dnspython under deadlines."""

from router.dns.lookup import DnsLookup

__all__ = ["DnsLookup"]
