"""Visitors who come without TLS, where they are to be sent on to it (`plain_http`, with MIOSA_CADDY_HTTP=pass)."""

import pytest

from router.proxy import PlainHttp
from router.routes.records import DomainStatus
from tests.support.edge import FRONT, RunningEdge
from tests.support.records import claim, name, resource, zone
from tests.support.wire import Message
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

SECURED = {"shop.org", "shop.miosa.app"}


async def build(build_edge: BuildEdge, *, fetched: bool = True, port: int | None = None) -> RunningEdge:
    """A proxy that sends visitors on; some names have certificates."""
    edge = await build_edge(plain=PlainHttp(SECURED.__contains__, fetched, port))
    shop = resource("shop")
    edge.put(
        shop,
        name("shop.org", shop),
        name("new.org", shop, status=DomainStatus.VERIFIED, challenge=("label", "proof")),
        name("pending.org", shop, status=DomainStatus.PENDING),
        name("www.new.org", None, redirect_to="new.org"),
        name("blocked.org", shop, suspended=True),
        zone("acme.dev", claim("tenant", "acme")),
    )
    return edge


async def ask(
    edge: RunningEdge, host: str, target: str = "/a/b?c=%20d", proto: str = "http", method: str = "GET", lines: str = ""
) -> Message:
    client = await edge.client(FRONT)
    await client.send(
        f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: {proto}\r\n{lines}\r\n".encode()
    )
    return await client.read_response(method.encode())


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_a_host_with_a_certificate(build_edge: BuildEdge, method: str) -> None:
    """308, for good; path, query and method stay."""
    edge = await build(build_edge)
    answer = await ask(edge, "shop.org", method=method)
    assert (answer.status, answer.get(b"location")) == (308, b"https://shop.org/a/b?c=%20d")
    assert answer.get(b"cache-control") is None
    assert edge.endings == ["--"]


async def test_a_domain_whose_certificate_is_being_fetched(build_edge: BuildEdge) -> None:
    """A page that says so, kept by nobody, and loaded again by itself: a handshake could only fail."""
    edge = await build(build_edge)
    for host in ("new.org", "www.new.org"):
        answer = await ask(edge, host)
        assert (answer.status, answer.get(b"x-miosa-error")) == (503, b"certificate_pending")
        assert (answer.get(b"cache-control"), answer.get(b"retry-after")) == (b"no-store", b"3")
    assert edge.endings == ["BA", "BA"]


@pytest.mark.parametrize(("host", "fetched"), [("5173-shop.sandbox.acme.dev", True), ("new.org", False)])
async def test_what_nobody_fetches_is_sent_on_at_once(build_edge: BuildEdge, host: str, fetched: bool) -> None:
    """It is the first visit by https that gets the certificate. Not for good: it may be refused."""
    edge = await build(build_edge, fetched=fetched)
    answer = await ask(edge, host)
    assert (answer.status, answer.get(b"location")) == (307, f"https://{host}/a/b?c=%20d".encode())
    assert answer.get(b"cache-control") == b"no-store"


async def test_another_port_than_443(build_edge: BuildEdge) -> None:
    """As people see it in their links; the port that they came to is no matter."""
    edge = await build(build_edge, port=8443)
    assert (await ask(edge, "shop.org:8080")).get(b"location") == b"https://shop.org:8443/a/b?c=%20d"


@pytest.mark.parametrize(
    ("host", "status"), [("else.example", 404), ("pending.org", 404), ("absent.miosa.app", 404), ("blocked.org", 451)]
)
async def test_hosts_that_get_no_certificate(build_edge: BuildEdge, host: str, status: int) -> None:
    """Are answered as they are over TLS: there is nowhere to send their visitors."""
    edge = await build(build_edge)
    assert (await ask(edge, host)).status == status


async def test_a_port_of_plain_http_may_ask_for_the_same(build_edge: BuildEdge) -> None:
    """Whatever plain HTTP gets otherwise: what is served is sent on, with the port that people see in links; all others,
    registered or not, are told the same."""
    edge = await build_edge()
    edge.put(resource("shop"), name("pending.org", resource("shop"), status=DomainStatus.PENDING))
    mark = "X-Miosa-Plain-HTTP: redirect:8443\r\nX-Request-ID: same\r\n"
    served = await ask(edge, "shop.miosa.app", lines=mark)
    assert (served.status, served.get(b"location")) == (308, b"https://shop.miosa.app:8443/a/b?c=%20d")
    refused = [await ask(edge, host, lines=mark) for host in ("pending.org", "never.example", "absent.miosa.app")]
    assert {(answer.status, answer.body) for answer in refused} == {(404, refused[0].body)}
    assert b"no_certificate" in refused[0].body
    assert (await ask(edge, "shop.miosa.app", proto="https", lines=mark)).get(b"location") is None


async def test_a_proof_is_answered_without_tls(build_edge: BuildEdge) -> None:
    """Whoever looks for us under a name may come before there is a certificate."""
    edge = await build(build_edge)
    answer = await ask(edge, "new.org", "/.well-known/miosa-challenge/label")
    assert (answer.status, answer.body) == (200, b"proof")


async def test_over_tls_nothing_is_different(build_edge: BuildEdge) -> None:
    """Nor where plain HTTP is served, which is the default."""
    edge = await build(build_edge)
    backend = edge.backend("shop")
    client = await edge.client(FRONT)
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\nX-Forwarded-Proto: https\r\n\r\n")
    end = await backend.accept()
    await end.read_request()
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert (await client.read_response()).status == 200
