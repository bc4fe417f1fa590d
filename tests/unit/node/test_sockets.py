"""Sockets that listen, and the addresses that they listen on."""

import socket

import pytest

from router.node.sockets import DNS_TCP, DNS_UDP, ListenError, binds, dns_sockets, listen, listen_dns, local_addresses
from router.settings import Settings


def test_the_listeners_of_a_node() -> None:
    """Those of its roles; the one for certificates belongs to the admin's, where it is set."""
    one = Settings(certificate_bind="10.0.0.5:8443", roles=frozenset({"admin", "proxy"}))
    assert binds(one) == {"proxy": one.proxy_bind, "admin": one.admin_bind, "certificate": "10.0.0.5:8443"}
    assert binds(one.model_copy(update={"roles": frozenset({"api"})})) == {"api": one.api_bind}
    assert set(binds(Settings())) == {"proxy", "api", "admin"}


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


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0"])
def test_dns_listens_on_one_port(bind: str) -> None:
    """For UDP and TCP, also where any port will do."""
    udp, tcp = listen_dns(bind)
    with udp, tcp:
        assert udp.getsockname() == tcp.getsockname()
        assert (udp.type, tcp.type) == (socket.SOCK_DGRAM, socket.SOCK_STREAM)
        assert not udp.getblocking()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_for_dns_that_another_program_has(kind: socket.SocketKind) -> None:
    """For one of the two is enough; the error says which address."""
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ListenError, match=f"the DNS listener cannot use {bind}"):
            listen_dns(bind)


def test_sockets_of_the_dns_listener() -> None:
    """None without the settings or the role; those that were passed where there are two; never half of them."""
    on = {"acme_zone": "acme.example.com", "acme_dns_bind": "127.0.0.1:0", "acme_dns_names": ["ns.example.com"]}
    settings = Settings.model_validate(on)
    opened = dns_sockets(settings, {})
    with opened[DNS_UDP], opened[DNS_TCP]:
        assert dns_sockets(settings, opened) == opened
        with pytest.raises(ListenError, match="ListenDatagram= and ListenStream="):
            dns_sockets(settings, {DNS_UDP: opened[DNS_UDP]})
        with pytest.raises(ListenError, match="acme_dns_bind are not set"):
            dns_sockets(Settings(), opened)
    assert dns_sockets(Settings(), {}) == {}
    assert dns_sockets(Settings.model_validate({**on, "roles": ["proxy", "api"]}), {}) == {}
