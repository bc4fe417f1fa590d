"""Through real Caddy, as visitors come: certificates on demand, HTTP/1.1, HTTP/2, streams, who is told what."""

import asyncio
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509

from tests.e2e.conftest import Edge
from tests.support.backends import Backend, Visit
from tests.support.caddy import CADDYFILE, Caddy
from tests.support.certificates import write_certificate
from tests.support.http1 import Answer, Http1
from tests.support.http2 import Http2, Stream
from tests.support.router import PLATFORM_DOMAIN
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

BOTH = pytest.mark.parametrize("protocol", ["http/1.1", "h2"])


@asynccontextmanager
async def asked(
    edge: Edge, protocol: str, host: str, path: str = "/", *headers: tuple[str, str], method: str = "GET"
) -> AsyncIterator[Answer | Stream]:
    """One request to `host` over a connection of its own, answered as far as the head."""
    context = edge.caddy.trust(protocol)
    if protocol == "h2":
        async with Http2(edge.caddy.port, host, context) as client:
            yield await client.request(method, path, headers).answered()
    else:
        async with Http1(edge.caddy.port, host, context) as plain_client:
            yield await plain_client.request(method, path, *(f"{name}: {value}" for name, value in headers))


async def hello(visit: Visit) -> None:
    await visit.answer(b"hello")


async def test_a_certificate_is_issued_on_demand(edge: Edge) -> None:
    """The first handshake for a host that is served gets a certificate for exactly that host."""
    async with Backend(hello) as backend:
        host = edge.host(backend.port)
        assert not list(edge.caddy.storage.rglob(f"{host}.crt"))
        certificate = await asyncio.to_thread(edge.caddy.certificate, host)
    assert certificate["subjectAltName"] == (("DNS", host),)
    assert list(edge.caddy.storage.rglob(f"{host}.crt"))


@pytest.mark.parametrize(
    "host",
    [
        f"nobody.{PLATFORM_DOMAIN}",
        f"3000-nobody.sandbox.{PLATFORM_DOMAIN}",
        PLATFORM_DOMAIN,
        "somebody-elses.example.com",
    ],
)
async def test_a_name_that_the_gate_refuses_gets_no_handshake(edge: Edge, host: str) -> None:
    """No certificate is made for a name that leads nowhere: TLS ends with the alert internal_error."""
    with pytest.raises(ssl.SSLError, match=r"(?i)internal.error"):
        await asyncio.to_thread(edge.caddy.certificate, host)
    assert not list(edge.caddy.storage.rglob(f"{host}.crt"))


async def test_a_port_that_is_not_exposed_gets_no_handshake(edge: Edge) -> None:
    """The gate knows ports: another port of a resource that is served is refused."""
    async with Backend(hello) as backend:
        slug = edge.host(backend.port).partition(".")[0]
        await asyncio.to_thread(edge.caddy.certificate, f"3000-{slug}.sandbox.{PLATFORM_DOMAIN}")
        with pytest.raises(ssl.SSLError):
            await asyncio.to_thread(edge.caddy.certificate, f"3001-{slug}.sandbox.{PLATFORM_DOMAIN}")


async def test_plain_http_is_sent_to_https(edge: Edge) -> None:
    """The redirect keeps host, path and query, and names the port that is not 443."""
    async with Backend(hello) as backend:
        host = edge.host(backend.port)
        async with Http1(edge.caddy.http_port, host) as client:
            answer = await client.request("GET", "/a/b?c=%20d")
    assert answer.status == 308
    assert answer.values("location") == [f"https://{host}:{edge.caddy.port}/a/b?c=%20d"]


async def test_plain_http_explains_where_there_is_no_certificate(edge: Edge) -> None:
    """A host that the gate refuses is not sent into a handshake that fails: the page says why there is no https."""
    async with Http1(edge.caddy.http_port, "not-verified.example") as client:
        answer = await client.request("GET", "/", "Accept: text/html")
        assert answer.status == 404
        assert answer.values("x-miosa-error") == ["host_not_found"]
        assert b"verify it" in await answer.read_all()


@BOTH
async def test_what_a_backend_learns_of_its_visitor(edge: Edge, protocol: str) -> None:
    """Who, how and which host come from Caddy's connection; what the visitor claims about that goes no further."""
    seen: list[Visit] = []

    async def note(visit: Visit) -> None:
        seen.append(visit)
        await visit.answer(b"hello")

    lies = (
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-host", "lies.example"),
        ("x-forwarded-port", "1"),
        ("forwarded", "for=203.0.113.9;proto=gopher;host=lies.example"),
        ("x-request-id", "lies, lies"),
        ("x-miosa-anything", "lies"),
    )
    async with Backend(note) as backend:
        host = edge.host(backend.port)
        async with asked(edge, protocol, host, "/path?query=%2F", *lies) as answer:
            assert (answer.status, await answer.read_all()) == (200, b"hello")
    [visit] = seen
    assert visit.target == b"/path?query=%2F"
    assert visit.header(b"host") == host.encode()
    assert visit.header(b"x-forwarded-for") == b"127.0.0.1"
    assert visit.header(b"x-forwarded-proto") == b"https"
    assert visit.header(b"x-forwarded-host") == host.encode()
    assert visit.header(b"x-forwarded-port") == b"443"
    assert visit.header(b"x-request-id")
    assert not any(word in line for line in visit.lines for word in (b"lies", b"203.0.113.9", b"gopher"))


@BOTH
async def test_every_cookie_arrives(edge: Edge, protocol: str) -> None:
    """Repeated headers stay repeated, in their order."""

    async def bake(visit: Visit) -> None:
        await visit.answer(b"", b"200 OK", b"Set-Cookie: a=1", b"Set-Cookie: b=2; Path=/", b"Set-Cookie: a=3")

    async with Backend(bake) as backend, asked(edge, protocol, edge.host(backend.port)) as answer:
        assert answer.values("set-cookie") == ["a=1", "b=2; Path=/", "a=3"]


@pytest.mark.realtime
@BOTH
@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", b"9\r\ndata: 1\n\n\r\n"),
        (b"Content-Type: text/plain\r\nContent-Length: 9000\r\n\r\n", b"data: 1\n\n"),
    ],
    ids=["events", "sized"],
)
async def test_a_byte_arrives_when_it_is_sent(edge: Edge, protocol: str, head: bytes, piece: bytes) -> None:
    """The first byte of a stream, and a later one, arrive within 100 ms of their sending: nothing waits for more."""
    first_sent, later_sent = [], []
    taken = asyncio.Event()

    async def trickle(visit: Visit) -> None:
        first_sent.append(time.monotonic())
        await visit.send(b"HTTP/1.1 200 OK\r\n" + head + piece)
        await taken.wait()
        later_sent.append(time.monotonic())
        await visit.send(piece)
        await visit.reader.read()  # until the visitor has gone

    first_delays, later_delays = [], []
    async with Backend(trickle) as backend:
        host = edge.host(backend.port)
        for _ in range(5):  # the best counts: other work on the machine delays some
            taken.clear()
            async with asked(edge, protocol, host) as answer:
                assert await answer.read() == b"data: 1\n\n"
                first_delays.append(time.monotonic() - first_sent[-1])
                taken.set()
                assert await answer.read() == b"data: 1\n\n"
                later_delays.append(time.monotonic() - later_sent[-1])
    assert min(first_delays) < 0.1, first_delays
    assert min(later_delays) < 0.1, later_delays


@BOTH
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_visitor_who_leaves_frees_the_backend(edge: Edge, protocol: str, method: str) -> None:
    """When the visitor goes away in the middle of an event stream, its connection to the backend is closed."""

    async def stream(visit: Visit) -> None:
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await visit.reader.read()

    async with Backend(stream) as backend:
        host = edge.host(backend.port)
        async with asked(edge, protocol, host, method=method) as answer:
            assert await answer.read() == b"data: 1\n\n"
            assert backend.open == 1
        await eventually(lambda: backend.open == 0, "the backend's connection was closed")


@pytest.mark.realtime
async def test_a_restart_of_the_router_is_a_wait_and_no_error(edge: Edge) -> None:
    """A request that comes while the router restarts is answered by its successor."""
    async with Backend(hello) as backend:
        host = edge.host(backend.port)
        await asyncio.to_thread(edge.caddy.certificate, host)
        await asyncio.to_thread(edge.router.process.stop)
        async with Http1(edge.caddy.port, host, edge.caddy.trust("http/1.1")) as client:
            await client.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            edge.router.start()
            assert (await client.answer()).status == 200


async def test_without_a_router_caddy_says_so(edge: Edge) -> None:
    """While no router answers, visitors get a 503 that names the fault as ours, never a 404."""
    async with Backend(hello) as backend:
        host = edge.host(backend.port)
        await asyncio.to_thread(edge.caddy.certificate, host)
        await asyncio.to_thread(edge.router.process.stop)
        try:
            async with asked(edge, "http/1.1", host) as answer:
                assert answer.status == 503
                assert answer.values("x-miosa-error") == ["edge_unavailable"]
                assert answer.values("cache-control") == ["no-store"]
        finally:
            edge.router.start()


async def test_a_host_that_was_not_the_connections_name_is_refused(edge: Edge) -> None:
    """So https for a host proves a certificate for it, which the gate takes for evidence (RFC 9110 §15.5.20)."""
    async with Backend(hello) as backend:
        one, other = edge.host(backend.port), edge.host(backend.port)
        async with Http1(edge.caddy.port, one, edge.caddy.trust("http/1.1")) as client:
            await client.send(f"GET / HTTP/1.1\r\nHost: {other}\r\n\r\n".encode())
            answer = await client.answer()
            assert (answer.status, answer.values("x-miosa-error")) == (421, ["misdirected_request"])
            assert b"handshake (SNI)" in await answer.read_all()
        with edge.caddy.process.log.open() as log:
            assert other not in log.read()
        assert edge.router.get_admin(f"/ask?domain={other}")[1]["x-ask-reason"] == "first_issue"


@BOTH
@pytest.mark.parametrize("said", ["{name}.", "{name}.:8443", "{NAME}.", "{NAME}"])
async def test_a_dot_behind_the_name_changes_nothing(edge: Edge, protocol: str, said: str) -> None:
    """`https://name./` is a way to write `https://name/`; it is in no handshake, and the program never sees it."""
    seen: list[Visit] = []

    async def note(visit: Visit) -> None:
        seen.append(visit)
        await visit.answer(b"hello")

    async with Backend(note) as backend:
        host = edge.host(backend.port)
        context = edge.caddy.trust(protocol)
        visited = said.format(name=host, NAME=host.upper())
        if protocol == "h2":
            async with Http2(edge.caddy.port, host, context) as client:
                client.authority = visited
                stream = await client.request("GET", "/", ()).answered()
                assert (stream.status, await stream.read_all()) == (200, b"hello")
        else:
            async with Http1(edge.caddy.port, host, context) as plain_client:
                await plain_client.send(f"GET / HTTP/1.1\r\nHost: {visited}\r\n\r\n".encode())
                answer = await plain_client.answer()
                assert (answer.status, await answer.read_all()) == (200, b"hello")
    [visit] = seen
    without = visited.replace(".:", ":").removesuffix(".")
    assert visit.header(b"host") == visit.header(b"x-forwarded-host") == without.encode()


async def test_an_upload_without_a_length_gets_one(edge: Edge) -> None:
    """HTTP/2 has no chunks, and Caddy makes some; a program that reads CONTENT_LENGTH only must not lose the body."""
    seen: list[tuple[bytes | None, bytes]] = []

    async def note(visit: Visit) -> None:
        body = b"".join([piece async for piece in visit.body()])
        seen.append((visit.header(b"content-length"), body))
        await visit.answer(b"hello")

    async with Backend(note) as backend:
        host = edge.host(backend.port)
        async with Http2(edge.caddy.port, host, edge.caddy.trust("h2")) as client:
            stream = client.request("PUT", "/", (), body=True)
            await stream.send(b"0" * 1000, end=True)
            await stream.answered()
            assert stream.status == 200
    assert seen == [(b"1000", b"0" * 1000)]


@BOTH
async def test_the_visitors_request_id_is_kept(edge: Edge, protocol: str) -> None:
    """By Caddy and by us, for the program and in the response; without one there is one of ours."""
    seen: list[bytes | None] = []

    async def note(visit: Visit) -> None:
        seen.append(visit.header(b"x-request-id"))
        await visit.answer(b"hello")

    async with Backend(note) as backend:
        host = edge.host(backend.port)
        async with asked(edge, protocol, host, "/", ("x-request-id", "my-1")) as answer:
            assert answer.values("x-request-id") == ["my-1"]
        async with asked(edge, protocol, host, "/") as answer:
            made = answer.values("x-request-id")
    assert seen == [b"my-1", made[0].encode()]
    assert made[0].startswith("req_")


async def test_scanners_without_a_name_cost_one_refused_question(edge: Edge) -> None:
    """Caddy asks about the address that they came to; nothing is looked up, and TLS ends with an alert."""
    before = asked_about_addresses(edge)
    with pytest.raises(ssl.SSLError, match=r"(?i)internal.error"):
        await asyncio.to_thread(edge.caddy.certificate, None)
    assert asked_about_addresses(edge) - before == 1
    assert not list(edge.caddy.storage.rglob("127.0.0.1*"))


def asked_about_addresses(edge: Edge) -> float:
    """How often the gate has been asked about an IP address."""
    metrics = edge.router.get_admin("/metrics")[2].decode()
    return next(float(line.split()[1]) for line in metrics.splitlines() if 'asks_total{reason="ip_address"}' in line)


async def test_the_platforms_own_wildcards_never_ask(edge: Edge, tmp_path: Path) -> None:
    """deploy/platform.caddy, with certificate files: both kinds of names are served by them, others are asked about."""
    wildcards = [f"*.{PLATFORM_DOMAIN}", f"*.sandbox.{PLATFORM_DOMAIN}"]
    certificate, key = write_certificate(tmp_path, *wildcards)
    (tmp_path / "more").mkdir()
    shutil.copy(CADDYFILE.with_name("platform.caddy"), tmp_path / "more")
    environment = {
        "MIOSA_CADDY_PLATFORM": PLATFORM_DOMAIN,
        "MIOSA_CADDY_PLATFORM_CERT": str(certificate),
        "MIOSA_CADDY_PLATFORM_KEY": str(key),
    }

    def story(port: int) -> None:
        host = edge.host(port)
        slug = host.partition(".")[0]
        with Caddy(tmp_path, proxy=edge.router.proxy, ask=edge.router.admin, environment=environment) as caddy:
            before = asks(edge)
            for name in (host, f"3000-{slug}.sandbox.{PLATFORM_DOMAIN}", f"nobody.{PLATFORM_DOMAIN}"):
                assert shown(caddy.port, name) == wildcards
            assert asks(edge) == before
            with pytest.raises(ssl.SSLError):
                shown(caddy.port, "else.example.org")
            assert asks(edge) == before + 1
            assert not list(caddy.storage.rglob(f"*{slug}*"))

    async with Backend(hello) as backend:
        await asyncio.to_thread(story, backend.port)


def asks(edge: Edge) -> float:
    """How often the gate has been asked."""
    metrics = edge.router.get_admin("/metrics")[2].decode()
    return sum(float(line.split()[1]) for line in metrics.splitlines() if line.startswith("miosa_router_asks_total{"))


def shown(port: int, name: str) -> list[str]:
    """The names of the certificate that is shown for this one, whoever signed it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        found = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)
