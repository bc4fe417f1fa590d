"""Sockets that listen, and the addresses that they listen on."""

import socket

import pytest

from router.node.sockets import ListenError, listen, local_addresses


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0", "localhost:0"])
def test_listens(bind: str) -> None:
    """Addresses of both families and names are opened, without blocking."""
    with listen("proxy", bind) as opened:
        assert opened.getsockname()[1] > 0
        assert not opened.getblocking()
        with socket.create_connection(opened.getsockname()[:2], timeout=5):
            pass


@pytest.mark.parametrize("bind", ["203.0.113.1:0", "no-such-host.invalid:80"])
def test_address_that_is_not_ours(bind: str) -> None:
    """The error names the listener and the address."""
    with pytest.raises(ListenError, match=rf"the api listener cannot use {bind}: \w+"):
        listen("api", bind)


def test_one_address_is_itself() -> None:
    """A socket bound to one address listens there."""
    assert local_addresses(("127.0.0.1", 80)) == {("127.0.0.1", 80)}
    assert local_addresses(("::1", 80)) == {("::1", 80)}


def test_unspecified_address_is_all_of_them() -> None:
    """A socket bound to the unspecified address listens on every one; to IPv6's, on those of IPv4 too."""
    four, six = local_addresses(("0.0.0.0", 80)), local_addresses(("::", 80))
    assert {("0.0.0.0", 80), ("127.0.0.1", 80)} <= four
    assert {("::", 80), ("127.0.0.1", 80)} <= six
    assert all(port == 80 for _, port in four | six)
