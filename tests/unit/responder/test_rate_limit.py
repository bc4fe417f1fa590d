"""How much one network is answered."""

import pytest

from router.responder.rate_limit import RateLimit, network_of


def test_a_burst_and_then_a_rate() -> None:
    """What was saved up is admitted at once, then so many a second."""
    limit = RateLimit(rate=8, burst=4)
    assert [limit.admits(b"a", 100.0) for _ in range(7)] == [True] * 4 + [False] * 3
    assert [limit.admits(b"a", 101.0) for _ in range(7)] == [True] * 4 + [False] * 3
    assert sum(limit.admits(b"a", 101.0 + tick / 128) for tick in range(1, 129)) == 8


def test_networks_do_not_share() -> None:
    """One that asks too much leaves others alone: two of a thousand at most meet in a cell."""
    limit = RateLimit(rate=1, burst=1)
    admitted = sum(limit.admits(b"%d" % number, 1.0) for number in range(100))
    assert admitted >= 95


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.200", True),
        ("192.0.2.1", "192.0.3.1", False),
        ("2001:db8:0:100::1", "2001:db8:0:1ff::2", True),
        ("2001:db8:0:100::1", "2001:db8:0:200::1", False),
        ("::ffff:192.0.2.1", "192.0.2.7", True),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_networks(one: str, other: str, same: bool) -> None:
    """/24 of IPv4, also as IPv6 sockets write it, and /56 of IPv6."""
    assert (network_of(one) == network_of(other)) is same
