"""A load balancer of TCP in front of real Caddy: it says who the visitor is by the PROXY protocol, and nobody else can."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from http.client import HTTPResponse
from ipaddress import ip_address

import pytest

from tests.e2e.conftest import Edge
from tests.e2e.test_access import private
from tests.support.backends import Backend, Visit
from tests.support.caddy import Caddy
from tests.support.http1 import Http1

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

BALANCER, STRANGER = "127.0.0.2", "127.0.0.3"
VISITOR = "203.0.113.7"
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31


def v2(command: int, family: int, body: bytes) -> bytes:
    return _V2 + struct.pack("!BBH", command, family, len(body)) + body


def addresses(visitor: str, us: str) -> bytes:
    return ip_address(visitor).packed + ip_address(us).packed + struct.pack("!HH", 50000, 443)


FOUR = addresses(VISITOR, "192.0.2.1")
SIX = addresses("2001:db8::7", "2001:db8::1")
VPC_ENDPOINT = struct.pack("!BH", 0xEA, 5) + b"\x01vpce"  # a field of the kind that AWS adds

# What the balancer sends first, and whom the program sees then.
BELIEVED = {
    "version 2": (v2(_PROXY, _TCP4, FOUR), VISITOR),
    "version 2, IPv6": (v2(_PROXY, _TCP6, SIX), "2001:db8::7"),
    "version 2, with a field of AWS": (v2(_PROXY, _TCP4, FOUR + VPC_ENDPOINT), VISITOR),
    "version 1": (f"PROXY TCP4 {VISITOR} 192.0.2.1 50000 443\r\n".encode(), VISITOR),
    "version 1, IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n", "2001:db8::7"),
    "version 2, LOCAL": (v2(_LOCAL, _UNSPECIFIED, b""), BALANCER),
    "version 2, LOCAL with addresses": (v2(_LOCAL, _TCP4, FOUR), BALANCER),
    "version 1, UNKNOWN": (b"PROXY UNKNOWN\r\n", BALANCER),
    "no header": (b"", BALANCER),
}

BROKEN = {
    "version 1, no addresses": b"PROXY TCP4\r\n",
    "version 1, no address": b"PROXY TCP4 visitor 192.0.2.1 50000 443\r\n",
    "version 1, a port too high": b"PROXY TCP4 203.0.113.7 192.0.2.1 99999 443\r\n",
    "version 1, families mixed": b"PROXY TCP6 203.0.113.7 192.0.2.1 50000 443\r\n",
    "version 1, without an end": b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 443" + b" " * 200,
    "version 2, another version": v2(0x31, _TCP4, FOUR),
    "version 2, no command": v2(0x2F, _TCP4, FOUR),
    "version 2, half an address": v2(_PROXY, _TCP4, FOUR[:6]),
    "version 2, IPv6 as long as IPv4": v2(_PROXY, _TCP6, FOUR),
    "twice": v2(_PROXY, _TCP4, FOUR) * 2,
}


@pytest.fixture(scope="module")
def behind(edge: Edge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """The edge's router, with a second Caddy that stands behind a balancer."""
    folder = tmp_path_factory.mktemp("balancer")
    environment = {"MIOSA_CADDY_BALANCER": f"{BALANCER}/32 2001:db8:1::/64", "MIOSA_CADDY_PROTOCOLS": "h1 h2"}
    with Caddy(folder, proxy=edge.router.proxy, ask=edge.router.admin, environment=environment) as caddy:
        yield replace(edge, caddy=caddy)


def ask(edge: Edge, host: str, source: str, first: bytes, *lines: str, plain: bool = False) -> tuple[int, str | None]:
    """Status and code of one request from `source`, on a connection that begins with `first`."""
    port = edge.caddy.http_port if plain else edge.caddy.port
    connection = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
    with closing(connection):
        connection.sendall(first)
        secured = connection if plain else edge.caddy.trust().wrap_socket(connection, server_hostname=host)
        with closing(secured):
            head = ["GET / HTTP/1.1", f"Host: {host}", "Connection: close", *lines]
            secured.sendall("\r\n".join(head).encode() + b"\r\n\r\n")
            with closing(HTTPResponse(secured)) as answer:
                answer.begin()
                return answer.status, answer.headers["x-miosa-error"]


@pytest.mark.parametrize(("first", "visitor"), BELIEVED.values(), ids=BELIEVED)
async def test_whom_the_balancer_names(behind: Edge, first: bytes, visitor: str) -> None:
    """The program sees the visitor whom the balancer named, and the balancer where it names none: its health checks.
    What the visitor claims by X-Forwarded-For is not believed for all that."""
    seen: list[Visit] = []

    async def note(visit: Visit) -> None:
        seen.append(visit)
        await visit.answer(b"hello")

    async with Backend(note) as backend:
        host = behind.host(backend.port)
        lie = "X-Forwarded-For: 198.51.100.9"
        assert await asyncio.to_thread(ask, behind, host, BALANCER, first, lie) == (200, None)
    [visit] = seen
    assert visit.header(b"x-forwarded-for") == visitor.encode()
    assert visit.header(b"x-forwarded-proto") == b"https"


@pytest.mark.parametrize("plain", [False, True], ids=["https", "http"])
@pytest.mark.parametrize("first", BROKEN.values(), ids=BROKEN)
async def test_a_broken_header_ends_the_connection(behind: Edge, first: bytes, plain: bool) -> None:
    """It is never taken for a connection without one."""
    await refused(behind, BALANCER, first, plain=plain)


@pytest.mark.parametrize("plain", [False, True], ids=["https", "http"])
@pytest.mark.parametrize("first", [BELIEVED["version 1"][0], BELIEVED["version 2"][0]], ids=["version 1", "version 2"])
async def test_a_stranger_can_not_forge_a_visitor(behind: Edge, first: bytes, plain: bool) -> None:
    """The header of somebody who is not the balancer is read by nobody, and the connection ends."""
    await refused(behind, STRANGER, first, plain=plain)


@pytest.mark.parametrize("first", [BELIEVED["version 1"][0], BELIEVED["version 2"][0]], ids=["version 1", "version 2"])
async def test_without_a_balancer_nobody_is_believed(edge: Edge, first: bytes) -> None:
    """As the file stands, the header of anybody ends the connection."""
    await refused(edge, "127.0.0.1", first)


async def refused(edge: Edge, source: str, first: bytes, *, plain: bool = False) -> None:
    seen: list[Visit] = []

    async def note(visit: Visit) -> None:
        seen.append(visit)
        await visit.answer(b"hello")

    async with Backend(note) as backend:
        host = edge.host(backend.port)
        try:
            status, _ = await asyncio.to_thread(ask, edge, host, source, first, plain=plain)
        except (ssl.SSLError, ConnectionError):
            status = 400
        assert status == 400
        assert not seen
        assert (await asyncio.to_thread(ask, edge, host, source, b"")) == (200, None), "the host itself is served"


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
async def test_a_header_that_stops_half_way(behind: Edge, closed: bool) -> None:
    """The connection ends when the balancer closes it, and after some seconds where nobody does."""
    starts = (b"PROXY TCP4 203", v2(_PROXY, _TCP4, FOUR)[:20], _V2)
    await asyncio.gather(*(asyncio.to_thread(ended, behind.caddy.port, first, closed) for first in starts))


def ended(port: int, first: bytes, closed: bool) -> None:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(BALANCER, 0))
    with closing(connection), suppress(ConnectionError):
        connection.sendall(first)
        if closed:
            connection.shutdown(socket.SHUT_WR)
        while connection.recv(100):  # an alert of TLS, if anything
            pass


async def test_unix_addresses_name_nobody(behind: Edge) -> None:
    """Of a balancer that was itself reached by a Unix socket: no address, so the program sees Caddy's, and never what the
    visitor claims."""
    seen: list[Visit] = []

    async def note(visit: Visit) -> None:
        seen.append(visit)
        await visit.answer(b"hello")

    async with Backend(note) as backend:
        host = behind.host(backend.port)
        first = v2(_PROXY, _UNIX, b"/run/visitor".ljust(108, b"\0") + b"/run/us".ljust(108, b"\0"))
        lies = (f"X-Forwarded-For: {VISITOR}", f"Forwarded: for={VISITOR}")
        assert await asyncio.to_thread(ask, behind, host, BALANCER, first, *lies) == (200, None)
    [visit] = seen
    assert visit.header(b"x-forwarded-for") == b"127.0.0.1"
    assert not any(VISITOR.encode() in line for line in visit.lines)


async def test_http3_is_not_offered(behind: Edge) -> None:
    """Where MIOSA_CADDY_PROTOCOLS leaves it out."""

    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    async with Backend(hello) as backend:
        host = behind.host(backend.port)
        async with Http1(behind.caddy.port, host, behind.caddy.trust()) as client:
            answer = await client.request("GET", "/")
    assert (answer.status, answer.header("alt-svc")) == (200, None)


async def test_networks_are_the_visitors(behind: Edge) -> None:
    """A preview for some networks opens to a visitor of theirs who comes through the balancer, and to no other; the
    balancer's own network lets nobody in by itself."""
    key = await asyncio.to_thread(behind.router.key, behind.tenant_id)
    async with private(behind, key) as program:
        path = f"/previews/{program.preview}"
        body = {"visibility": "public", "networks": ["203.0.113.0/24", "2001:db8::/64"]}
        await asyncio.to_thread(program.api, "PATCH", path, body)
        outside = v2(_PROXY, _TCP4, addresses("198.51.100.9", "192.0.2.1"))
        for name in ("version 1", "version 2", "version 2, IPv6"):
            assert await asyncio.to_thread(ask, behind, program.host, BALANCER, BELIEVED[name][0]) == (200, None)
        for source, first in ((BALANCER, outside), (BALANCER, b""), (STRANGER, b"")):
            answer = await asyncio.to_thread(ask, behind, program.host, source, first, f"X-Forwarded-For: {VISITOR}")
            assert answer == (403, "address_not_allowed")


async def test_health_checks_of_the_balancer(behind: Edge) -> None:
    """At the port for http with this Host, a check asks the router through Caddy; with a header or without one."""
    for first in (b"", v2(_LOCAL, _UNSPECIFIED, b"")):
        assert await asyncio.to_thread(check, behind.caddy, first) == 200


def check(caddy: Caddy, first: bytes) -> int:
    connection = socket.create_connection(("127.0.0.1", caddy.http_port), timeout=20, source_address=(BALANCER, 0))
    with closing(connection):
        connection.sendall(first + b"GET /livez HTTP/1.1\r\nHost: _health\r\nConnection: close\r\n\r\n")
        with closing(HTTPResponse(connection)) as answer:
            answer.begin()
            return answer.status
