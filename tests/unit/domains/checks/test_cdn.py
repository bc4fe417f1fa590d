"""Which network stands before a name."""

import pytest

from router.domains.checks.cdn import network_of


@pytest.mark.parametrize(
    ("observed", "network"),
    [
        (("104.16.0.1",), "Cloudflare"),
        (("2606:4700::6810:1",), "Cloudflare"),
        (("151.101.65.195",), "Fastly"),
        (("app.example.com.cdn.cloudflare.net",), "Cloudflare"),
        (("www.elsewhere.example", "d111111abcdef8.cloudfront.net", "198.51.100.9"), "CloudFront"),
        (("198.51.100.9", "172.71.255.255"), "Cloudflare"),
        (("198.51.100.9", "2001:db8::1"), None),
        (("cloudfront.net.example.com", "notfastly.net"), None),
        ((), None),
    ],
)
def test_networks(observed: tuple[str, ...], network: str | None) -> None:
    """By an alias on the way, or by an address; a name that only looks like one is none."""
    assert network_of(observed) == network
