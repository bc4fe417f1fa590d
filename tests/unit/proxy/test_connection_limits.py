"""Shares of a worker's room: who holds how much."""

import pytest

from router.proxy.connection_limits import Shares, holder


@pytest.mark.parametrize(
    ("address", "whose"), [("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64")]
)
def test_whom_an_address_belongs_to(address: str, whose: str) -> None:
    """IPv6 addresses that one customer of a provider can take by turns count as one."""
    assert holder(address) == whose


def test_those_that_hold_nothing_are_forgotten() -> None:
    """However many addresses come by; who holds something keeps the same share."""
    shares = Shares()
    kept = shares.of("busy")
    kept.exchanges = 1
    connected = shares.of("connected")
    connected.connections = 1
    for number in range(50_000):
        shares.of(f"visitor {number}")
    assert len(shares) <= 10_001
    assert shares.of("busy") is kept
    assert shares.held() == {"busy": (0, 1), "connected": (1, 0)}
