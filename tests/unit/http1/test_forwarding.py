"""Who the client is: whom to believe, how far back, and what backends are told."""

import ipaddress
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.base.addresses import Network
from router.http1 import forwarding
from router.http1.forwarding import ClientInfo, Forwarder
from tests.unit.http1.messages import read

TRUSTED: tuple[Network, ...] = (
    ipaddress.IPv4Network("127.0.0.0/8"),
    ipaddress.IPv6Network("::1/128"),
    ipaddress.IPv4Network("10.0.0.0/8"),
    ipaddress.IPv6Network("fd00::/8"),
    ipaddress.IPv6Network("fe80::/10"),
)
FRONT = "127.0.0.1"
STRANGER = "192.0.2.77"


def origin(*lines: bytes, peer: str = FRONT, host: bytes = b"shop.miosa.app") -> ClientInfo:
    """Who a request comes from, by a forwarder that trusts `TRUSTED`."""
    forwarder = Forwarder(TRUSTED)
    address, trusted = forwarder.peer(peer)
    return forwarder.client_info(read(*lines, host=host), address, trusted=trusted)


def told(block: bytes) -> dict[str, str]:
    """What a block of headers says, each name once."""
    assert block.endswith(b"\r\n")
    pairs = [line.split(": ", 1) for line in block.decode("latin-1").split("\r\n")[:-1]]
    assert len({name for name, _ in pairs}) == len(pairs) == 5
    return {name: value for name, value in pairs}  # noqa: C416 - pairs are lists


PEERS = [
    ("127.0.0.1", ("127.0.0.1", True)),
    ("127.255.255.255", ("127.255.255.255", True)),
    ("10.1.2.3", ("10.1.2.3", True)),
    ("192.0.2.1", ("192.0.2.1", False)),
    ("128.0.0.1", ("128.0.0.1", False)),
    ("::1", ("::1", True)),
    ("::2", ("::2", False)),
    ("fd12:0::1", ("fd12::1", True)),
    ("2001:DB8::1", ("2001:db8::1", False)),
    ("::ffff:127.0.0.1", ("127.0.0.1", True)),
    ("::ffff:7f00:1", ("127.0.0.1", True)),
    ("::ffff:192.0.2.1", ("192.0.2.1", False)),
    ("fe80::1%eth0", ("fe80::1", True)),
    ("fe80::1%2", ("fe80::1", True)),
    ("2001:db8::1%eth0", ("2001:db8::1", False)),
    ("localhost", ("localhost", False)),
    ("127.1", ("127.1", False)),
    ("2130706433", ("2130706433", False)),
    ("127.0.0.01", ("127.0.0.01", False)),
    ("127.0.0.1 ", ("127.0.0.1 ", False)),
    ("１27.0.0.1", ("１27.0.0.1", False)),
]


@pytest.mark.parametrize(("address", "judged"), PEERS)
def test_peer(address: str, judged: tuple[str, bool]) -> None:
    """A proxy is trusted by its network; an IPv4 address inside an IPv6 one is what it carries."""
    forwarder = Forwarder(TRUSTED)
    assert forwarder.peer(address) == judged
    assert forwarder.peer(address) == judged  # from memory


def test_nobody_is_trusted_by_default() -> None:
    """Without trusted networks there are no proxies."""
    assert Forwarder(()).peer("127.0.0.1") == ("127.0.0.1", False)


CHAINS = [
    # one hop
    (FRONT, [], FRONT),
    (FRONT, [b"192.0.2.1"], "192.0.2.1"),
    (FRONT, [b" \t192.0.2.1\t "], "192.0.2.1"),
    (FRONT, [b"2001:db8::1"], "2001:db8::1"),
    (FRONT, [b"2001:DB8:0:0::1"], "2001:db8::1"),
    (FRONT, [b"::ffff:192.0.2.1"], "192.0.2.1"),
    (FRONT, [b"::ffff:c000:201"], "192.0.2.1"),
    # from the right, past trusted ones, to the first stranger
    (FRONT, [b"198.51.100.1, 192.0.2.1"], "192.0.2.1"),
    (FRONT, [b"198.51.100.1,192.0.2.1,10.0.0.1"], "192.0.2.1"),
    (FRONT, [b"198.51.100.1, 192.0.2.1, 10.0.0.1, fd00::1, ::ffff:10.0.0.2"], "192.0.2.1"),
    (FRONT, [b"10.0.0.1, 198.51.100.1, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
    (FRONT, [b"198.51.100.1", b"192.0.2.1", b"10.0.0.1"], "192.0.2.1"),
    (FRONT, [b"198.51.100.1, 192.0.2.1", b"10.0.0.1"], "192.0.2.1"),
    # nobody but trusted ones: the farthest
    (FRONT, [b"10.0.0.2, 10.0.0.1"], "10.0.0.2"),
    ("10.0.0.9", [b"127.0.0.1"], "127.0.0.1"),
    # garbage ends the walk: what is left of it could be anybody's word
    (FRONT, [b""], FRONT),
    (FRONT, [b","], FRONT),
    (FRONT, [b"unknown"], FRONT),
    (FRONT, [b"192.0.2.1, "], FRONT),
    (FRONT, [b"192.0.2.1, unknown"], FRONT),
    (FRONT, [b"192.0.2.1, unknown, 10.0.0.1"], "10.0.0.1"),
    (FRONT, [b"unknown, 192.0.2.1"], "192.0.2.1"),
    (FRONT, [b"192.0.2.1, , 10.0.0.1"], "10.0.0.1"),
    # with a port, as some balancers write it
    (FRONT, [b"192.0.2.1:8080"], "192.0.2.1"),
    (FRONT, [b"192.0.2.1:5678, 10.0.0.1:443"], "192.0.2.1"),
    (FRONT, [b"198.51.100.1:1, 192.0.2.1:2"], "192.0.2.1"),
    (FRONT, [b"[2001:db8::1]"], "2001:db8::1"),
    (FRONT, [b"[2001:DB8::1]:443"], "2001:db8::1"),
    (FRONT, [b"[::ffff:192.0.2.1]:443"], "192.0.2.1"),
    (FRONT, [b"[192.0.2.1]:443"], "192.0.2.1"),
    (FRONT, [b"192.0.2.1:"], FRONT),
    (FRONT, [b"192.0.2.1:80:80"], FRONT),
    (FRONT, [b"192.0.2.1:8 0"], FRONT),
    (FRONT, [b"[2001:db8::1"], FRONT),
    (FRONT, [b"[2001:db8::1]x"], FRONT),
    (FRONT, [b"[2001:db8::1]:"], FRONT),
    (FRONT, [b"[fe80::1%eth0]:443"], FRONT),
    (FRONT, [b":8080"], FRONT),
    (FRONT, [b"host:8080"], FRONT),
    (FRONT, [b'"192.0.2.1"'], FRONT),
    (FRONT, [b"192.0.2.1;192.0.2.2"], FRONT),
    (FRONT, [b"192.0.2.1 192.0.2.2"], FRONT),
    (FRONT, [b"192.0.2.01"], FRONT),
    (FRONT, [b"192.0.2.256"], FRONT),
    (FRONT, [b"192.0.2"], FRONT),
    (FRONT, [b"3221225985"], FRONT),
    (FRONT, [b"192.0.2.1/32"], FRONT),
    (FRONT, [b"1_92.0.2.1"], FRONT),
    (FRONT, ["١٩٢.0.2.1".encode()], FRONT),
    (FRONT, [b"192.0.2.1\xa0"], FRONT),
    (FRONT, [b"\xff"], FRONT),
    # an interface's name is no part of an address that anybody else could use, and may hold anything
    (FRONT, [b"fe80::1%eth0"], FRONT),
    (FRONT, [b"2001:db8::1%1"], FRONT),
    (FRONT, [b'::1%";host=evil'], FRONT),
    # strangers are not believed
    (STRANGER, [], STRANGER),
    (STRANGER, [b"192.0.2.1"], STRANGER),
    (STRANGER, [b"10.0.0.1"], STRANGER),
    ("::ffff:192.0.2.77", [b"192.0.2.1"], STRANGER),
    ("2001:db8::7", [b"192.0.2.1"], "2001:db8::7"),
    ("fe80::1%eth0", [], "fe80::1"),
    ("::ffff:10.0.0.1", [b"192.0.2.1"], "192.0.2.1"),
]


@pytest.mark.parametrize(("peer", "chain", "client"), CHAINS)
def test_walk(peer: str, chain: list[bytes], client: str) -> None:
    """X-Forwarded-For is walked from the right: every hop appends whom it saw, so only that end can be believed."""
    found = origin(*[b"X-Forwarded-For: " + part for part in chain], peer=peer)
    assert found.client == client
    assert told(found.block)["X-Forwarded-For"] == client


def test_hop_flood() -> None:
    """As many hops as a header holds are walked fast, and never past the first stranger."""
    started = time.perf_counter()
    flood = [
        b"X-Forwarded-For: " + b", ".join([b"10.0.%d.%d" % (line, hop) for hop in range(250)]) for line in range(15)
    ]
    assert origin(*flood).client == "10.0.0.0"
    assert origin(*flood, b"X-Forwarded-For: 192.0.2.1").client == "192.0.2.1"
    assert origin(b"X-Forwarded-For: " + b"," * 16_000).client == FRONT
    assert origin(b"X-Forwarded-For: " + b"1" * 16_000).client == FRONT
    assert time.perf_counter() - started < 2


def test_addresses_are_remembered_within_bounds() -> None:
    """Strangers choose what they send: only so much of it is remembered, and nothing that is too long."""
    forwarder = Forwarder(TRUSTED)
    assert forwarder.peer("a" * 1000) == ("a" * 1000, False)
    assert len(forwarder._addresses) == 0
    for number in range(forwarding._MAX_ADDRESSES + 5):
        forwarder.peer(f"2001:db8::{number:x}")
        assert 0 < len(forwarder._addresses) <= forwarding._MAX_ADDRESSES
    assert forwarder.peer("127.0.0.1") == ("127.0.0.1", True)


def test_connections_of_one_client_to_one_host_share_what_backends_are_told() -> None:
    """Nothing is written anew for a client's next connection, unless it is to another host or a trusted proxy speaks for others."""
    forwarder = Forwarder(TRUSTED)
    one = forwarder.client_info(read(host=b"shop.miosa.app"), STRANGER, trusted=False)
    assert (
        forwarder.client_info(read(b"X-Forwarded-For: 192.0.2.1", host=b"shop.miosa.app"), STRANGER, trusted=False)
        is one
    )
    assert forwarder.client_info(read(host=b"blog.miosa.app"), STRANGER, trusted=False).host == b"blog.miosa.app"
    assert forwarder.client_info(read(host=b"shop.miosa.app"), "192.0.2.78", trusted=False).client == "192.0.2.78"
    behind = read(b"X-Forwarded-For: 192.0.2.1", host=b"shop.miosa.app")
    assert forwarder.client_info(behind, STRANGER, trusted=True).client == "192.0.2.1"


def test_clients_are_remembered_within_bounds() -> None:
    """Strangers choose their Hosts: only so many are remembered, and none that is longer than a name can be."""
    forwarder = Forwarder(TRUSTED)
    forwarder.client_info(read(host=b"a" * 1000), STRANGER, trusted=False)
    assert len(forwarder._clients) == 0
    for number in range(forwarding._MAX_CLIENTS + 5):
        forwarder.client_info(read(host=b"h%d.miosa.app" % number), STRANGER, trusted=False)
        assert 0 < len(forwarder._clients) <= forwarding._MAX_CLIENTS


FORWARDED = [
    (FRONT, [b"for=192.0.2.1"], "192.0.2.1", b"http"),
    (FRONT, [b"For=192.0.2.1;Proto=https"], "192.0.2.1", b"https"),
    (FRONT, [b"proto=HTTPS;by=10.0.0.1;for=192.0.2.1;host=a"], "192.0.2.1", b"https"),
    (FRONT, [b' for="192.0.2.1" ; proto=https '], "192.0.2.1", b"https"),
    (FRONT, [b'for="192.0.2.1:4711"'], "192.0.2.1", b"http"),
    (FRONT, [b"for=192.0.2.1:4711"], "192.0.2.1", b"http"),
    (FRONT, [b'for="[2001:db8::1]"'], "2001:db8::1", b"http"),
    (FRONT, [b'for="[2001:DB8::1]:4711";proto=https'], "2001:db8::1", b"https"),
    (FRONT, [b'for="[::ffff:192.0.2.1]"'], "192.0.2.1", b"http"),
    # from the right
    (FRONT, [b"for=198.51.100.1;proto=https, for=192.0.2.1"], "192.0.2.1", b"http"),
    (FRONT, [b"for=192.0.2.1;proto=https, for=10.0.0.1;proto=http"], "192.0.2.1", b"https"),
    (FRONT, [b"for=192.0.2.1, for=10.0.0.1;proto=https"], "192.0.2.1", b"https"),
    (FRONT, [b"for=192.0.2.1;proto=https", b"for=10.0.0.1"], "192.0.2.1", b"https"),
    (FRONT, [b"for=10.0.0.2;proto=https,for=10.0.0.1"], "10.0.0.2", b"https"),
    # garbage
    (FRONT, [b""], FRONT, b"http"),
    (FRONT, [b"for"], FRONT, b"http"),
    (FRONT, [b"for="], FRONT, b"http"),
    (FRONT, [b"proto=https"], FRONT, b"http"),
    (FRONT, [b"for=unknown;proto=https"], FRONT, b"http"),
    (FRONT, [b'for="_hidden";proto=https'], FRONT, b"http"),
    (FRONT, [b"for=192.0.2.1, for=unknown"], FRONT, b"http"),
    (FRONT, [b"for=2001:db8::1"], FRONT, b"http"),
    (FRONT, [b"for=[2001:db8::1"], "2001:db8::1", b"http"),
    (FRONT, [b'for="[fe80::1%eth0]"'], FRONT, b"http"),
    (FRONT, [b'for="[192.0.2.1"'], "192.0.2.1", b"http"),
    (FRONT, [b"for=192.0.2.1;proto=ws"], "192.0.2.1", b"http"),
    (FRONT, [b'for="192.0.2.1, 192.0.2.2"'], FRONT, b"http"),
    (FRONT, [b";;;,for=192.0.2.1;"], "192.0.2.1", b"http"),
    (STRANGER, [b"for=192.0.2.1;proto=https"], STRANGER, b"http"),
]


@pytest.mark.parametrize(("peer", "values", "client", "scheme"), FORWARDED)
def test_forwarded(peer: str, values: list[bytes], client: str, scheme: bytes) -> None:
    """Forwarded (RFC 7239) is read as X-Forwarded-For is."""
    found = origin(*[b"Forwarded: " + value for value in values], peer=peer)
    assert (found.client, found.scheme) == (client, scheme)


def test_x_forwarded_for_wins_over_forwarded() -> None:
    """Two chains that differ are not mixed: ours is the one that Caddy writes."""
    found = origin(b"Forwarded: for=198.51.100.1;proto=https", b"X-Forwarded-For: 192.0.2.1")
    assert (found.client, found.scheme) == ("192.0.2.1", b"http")
    assert origin(b"Forwarded: for=198.51.100.1", b"X-Forwarded-For: unknown").client == FRONT


SCHEMES = [
    (FRONT, [], b"http"),
    (FRONT, [b"X-Forwarded-Proto: https"], b"https"),
    (FRONT, [b"x-forwarded-proto:HTTPS "], b"https"),
    (FRONT, [b"X-Forwarded-Proto: http"], b"http"),
    (FRONT, [b"X-Forwarded-Proto: wss"], b"http"),
    (FRONT, [b"X-Forwarded-Proto: https, http"], b"http"),
    (FRONT, [b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: https"], b"http"),
    (FRONT, [b"X-Forwarded-Proto: https\xa0"], b"http"),
    (FRONT, [b"Forwarded: for=192.0.2.1;proto=https", b"X-Forwarded-Proto: http"], b"http"),
    (FRONT, [b"X-Forwarded-Ssl: on", b"X-Forwarded-Scheme: https"], b"http"),
    (STRANGER, [b"X-Forwarded-Proto: https"], b"http"),
]


@pytest.mark.parametrize(("peer", "lines", "scheme"), SCHEMES)
def test_scheme(peer: str, lines: list[bytes], scheme: bytes) -> None:
    """How the client reached the first proxy: exactly one word, or it is plain HTTP."""
    found = origin(*lines, peer=peer)
    assert found.scheme == scheme
    assert told(found.block)["X-Forwarded-Proto"] == scheme.decode()


HOSTS = [
    (FRONT, [], b"shop.miosa.app"),
    (FRONT, [b"X-Forwarded-Host: shop.example"], b"shop.example"),
    (FRONT, [b"X-Forwarded-Host: Shop.Example:8443"], b"Shop.Example:8443"),
    (FRONT, [b"X-Forwarded-Host: [::1]"], b"[::1]"),
    (FRONT, [b"X-Forwarded-Host: shop.miosa.app"], b"shop.miosa.app"),
    (FRONT, [b"X-Forwarded-Host:"], b"shop.miosa.app"),
    (FRONT, [b"X-Forwarded-Host: a, b"], b"shop.miosa.app"),
    (FRONT, [b"X-Forwarded-Host: a", b"X-Forwarded-Host: b"], b"shop.miosa.app"),
    (FRONT, [b'X-Forwarded-Host: a";proto=https'], b"shop.miosa.app"),
    (FRONT, [b"X-Forwarded-Host: a b"], b"shop.miosa.app"),
    (FRONT, [b"X-Forwarded-Host: a/b"], b"shop.miosa.app"),
    (FRONT, [b"X-Forwarded-Host: \xff"], b"shop.miosa.app"),
    (STRANGER, [b"X-Forwarded-Host: evil.example"], b"shop.miosa.app"),
]


@pytest.mark.parametrize(("peer", "lines", "host"), HOSTS)
def test_host(peer: str, lines: list[bytes], host: bytes) -> None:
    """What host the client asked the first proxy for: a valid one, or the one that it asks us for."""
    found = origin(*lines, peer=peer)
    assert found.host == host
    assert told(found.block)["X-Forwarded-Host"] == host.decode()


PORTS = [
    (FRONT, b"a", [], "80"),
    (FRONT, b"a", [b"X-Forwarded-Proto: https"], "443"),
    (FRONT, b"a:8080", [], "8080"),
    (FRONT, b"a:8443", [b"X-Forwarded-Proto: https"], "8443"),
    (FRONT, b"a:", [], "80"),
    (FRONT, b"a:", [b"X-Forwarded-Proto: https"], "443"),
    (FRONT, b"[::1]", [], "80"),
    (FRONT, b"[::1]:", [], "80"),
    (FRONT, b"[::1]:8080", [], "8080"),
    (FRONT, b"a", [b"X-Forwarded-Host: b:8443"], "8443"),
    (FRONT, b"a:1", [b"X-Forwarded-Host: b", b"X-Forwarded-Proto: https"], "443"),
    (FRONT, b"a:1", [b"X-Forwarded-Port: 8443"], "8443"),
    (FRONT, b"a", [b"X-Forwarded-Port: 1"], "1"),
    (FRONT, b"a", [b"X-Forwarded-Port: 65535"], "65535"),
    (FRONT, b"a", [b"X-Forwarded-Port: 65536"], "80"),
    (FRONT, b"a", [b"X-Forwarded-Port: 99999"], "80"),
    (FRONT, b"a", [b"X-Forwarded-Port: 0"], "80"),
    (FRONT, b"a", [b"X-Forwarded-Port: 080"], "80"),
    (FRONT, b"a", [b"X-Forwarded-Port: 100000"], "80"),
    (FRONT, b"a", [b"X-Forwarded-Port: " + b"1" * 5000], "80"),
    (FRONT, b"a", [b"X-Forwarded-Port:"], "80"),
    (FRONT, b"a", [b"X-Forwarded-Port: -1"], "80"),
    (FRONT, b"a", [b"X-Forwarded-Port: +80"], "80"),
    (FRONT, b"a", [b"X-Forwarded-Port: 8_0"], "80"),
    (FRONT, b"a", [b"X-Forwarded-Port: 443, 80"], "80"),
    (FRONT, b"a", [b"X-Forwarded-Port: \xd9\xa8"], "80"),
    (STRANGER, b"a", [b"X-Forwarded-Port: 8443"], "80"),
    (STRANGER, b"a:8080", [b"X-Forwarded-Port: 8443"], "8080"),
]


@pytest.mark.parametrize(("peer", "host", "lines", "port"), PORTS)
def test_port(peer: str, host: bytes, lines: list[bytes], port: str) -> None:
    """The port that the client asked for: what a proxy says, else the host's, else the scheme's."""
    assert told(origin(*lines, peer=peer, host=host).block)["X-Forwarded-Port"] == port


BLOCKS = [
    (
        origin(b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: https"),
        (
            b"X-Forwarded-For: 192.0.2.1\r\n"
            b"X-Forwarded-Proto: https\r\n"
            b"X-Forwarded-Host: shop.miosa.app\r\n"
            b"X-Forwarded-Port: 443\r\n"
            b'Forwarded: for=192.0.2.1;host="shop.miosa.app";proto=https\r\n'
        ),
    ),
    (
        origin(peer="2001:db8::7", host=b"[::1]:8080"),
        (
            b"X-Forwarded-For: 2001:db8::7\r\n"
            b"X-Forwarded-Proto: http\r\n"
            b"X-Forwarded-Host: [::1]:8080\r\n"
            b"X-Forwarded-Port: 8080\r\n"
            b'Forwarded: for="[2001:db8::7]";host="[::1]:8080";proto=http\r\n'
        ),
    ),
]


@pytest.mark.parametrize(("found", "block"), BLOCKS)
def test_block(found: ClientInfo, block: bytes) -> None:
    """The whole set of forwarding headers is written anew, IPv6 quoted and in brackets where RFC 7239 §6 asks for it."""
    assert found.block == block


_VALUE = st.binary(max_size=40).filter(lambda value: not set(value) & {*range(9), *range(10, 32), 127})
_SAID = st.sampled_from(
    [b"X-Forwarded-For", b"Forwarded", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Port"]
)
_ADDRESS = st.ip_addresses().map(lambda address: str(address).encode())


@given(st.lists(st.tuples(_SAID, _VALUE | _ADDRESS), max_size=8), st.booleans())
def test_anything_that_proxies_say(said: list[tuple[bytes, bytes]], trusted: bool) -> None:
    """Whatever stands in forwarding headers, backends hear five well-formed ones, and an address for a client."""
    found = origin(*[name + b": " + value for name, value in said], peer=FRONT if trusted else STRANGER)
    assert str(ipaddress.ip_address(found.client)) == found.client
    assert "%" not in found.client
    block = told(found.block)
    assert block["X-Forwarded-For"] == found.client
    assert block["X-Forwarded-Proto"] in {"http", "https"}
    assert 1 <= int(block["X-Forwarded-Port"]) <= 65535
    if not trusted:
        assert found.client == STRANGER
        assert found.host == b"shop.miosa.app"


@pytest.mark.parametrize(
    ("peer", "passed"),
    [
        ("127.0.0.1", b"X-Real-IP: 192.0.2.1\r\n"),
        ("10.0.0.1", b"X-Real-IP: 192.0.2.1\r\nCf-Ray: 1\r\n"),
        ("fd00::1", b""),
    ],
)
def test_what_a_proxy_asserts_is_believed_by_its_network(peer: str, passed: bytes) -> None:
    """The lines that are named for the network, as they came."""
    of_network = {TRUSTED[0]: ["X-Real-IP"], TRUSTED[2]: ["X-Real-IP", "CF-Ray"]}
    head = read(b"X-Real-IP: 192.0.2.1", b"CF-IPCountry: AT")
    head.asserted = ((b"x-real-ip", b"X-Real-IP: 192.0.2.1"), (b"cf-ray", b"Cf-Ray: 1"))
    assert Forwarder(TRUSTED, of_network).passed(head, peer) == passed
    assert Forwarder(TRUSTED).passed(head, peer) == b""
