"""Whom the cookies of a backend reach."""

import pytest

from router.routes.records import ResourceRecord
from tests.support.edge import FRONT, RunningEdge
from tests.support.records import claim, name, zone
from tests.support.wire import Backend, End, Message
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

ZONE = "preview.acme.com"


def cookies(head: Message) -> list[bytes]:
    return [value for key, value in head.headers if key.lower() == b"set-cookie"]


async def answered(edge: RunningEdge, backend: Backend, host: str, answer: bytes) -> Message:
    """What a visitor of the host sees of it."""
    client = await edge.client(FRONT)
    await client.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    await backend.answer(answer)
    return await client.read_response()


def answer(*values: str) -> bytes:
    lines = "".join(f"Set-Cookie: {value}\r\n" for value in values)
    return f"HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nhi".encode()


@pytest.mark.parametrize(
    ("host", "domain", "stays"),
    [
        ("shop.miosa.app", "miosa.app", False),
        ("shop.miosa.app", ".app", False),
        ("shop.miosa.app", "shop.miosa.app", True),
        ("shop.sandbox.miosa.app", "sandbox.miosa.app", False),
        ("shop.sandbox.miosa.app", "miosa.app", False),
        ("shop.preview.acme.com", ZONE, False),
        ("shop.preview.acme.com", "acme.com", False),
        ("shop.sandbox.preview.acme.com", "sandbox.preview.acme.com", False),
        ("shop.shared.acme.com", "shared.acme.com", True),
        ("shop.sandbox.shared.acme.com", "shared.acme.com", True),
        ("shop.shared.acme.com", "acme.com", False),
        ("www.example.com", "example.com", True),
        ("own.preview.acme.com", ZONE, False),
        ("own.preview.acme.com", "acme.com", False),
    ],
)
async def test_a_cookie_for_a_zone_of_strangers_is_for_its_host(
    build_edge: BuildEdge, host: str, domain: str, stays: bool
) -> None:
    """The platform's domain, and a preview domain that is not in `cookie_zones`; a custom domain is its owner's."""
    edge = await build_edge(cookie_zones=("shared.acme.com", "miosa.app"))
    backend = edge.backend("shop")
    shop = await _shop(edge)
    edge.put(*(zone(domain, claim("tenant", "acme")) for domain in (ZONE, "shared.acme.com")))
    edge.put(name("www.example.com", shop), name("own.preview.acme.com", shop))
    seen = await answered(edge, backend, host, answer("a=1", f"b=2; Domain={domain}; Path=/", "c=3; Secure"))
    second = f"b=2; Domain={domain}; Path=/" if stays else "b=2; Path=/"
    assert cookies(seen) == [b"a=1", second.encode(), b"c=3; Secure"]


async def _shop(edge: RunningEdge) -> ResourceRecord:
    record = (await edge.records.fetch(["slug:shop"]))["slug:shop"]
    assert isinstance(record, ResourceRecord)
    return record


async def test_heads_that_are_remembered_are_read_for_each_host(build_edge: BuildEdge) -> None:
    """Two tenants whose programs say the same to the byte, again and again: each is judged by its own host."""
    edge = await build_edge()
    shop, evil = edge.backend("shop"), edge.backend("evil")
    same = answer("a=1; Domain=shop.miosa.app") + answer("b=2; Domain=miosa.app")
    first, _, second = same.partition(b"hi")
    heads = (first + b"hi", second)
    expected = {"shop": ([b"a=1; Domain=shop.miosa.app"], [b"b=2"]), "evil": ([b"a=1"], [b"b=2"])}
    kept = {}
    clients = {slug: await edge.client(FRONT) for slug in expected}
    for _ in range(4):
        for slug, backend in (("shop", shop), ("evil", evil)):
            for place, head in enumerate(heads):
                await clients[slug].send(f"GET / HTTP/1.1\r\nHost: {slug}.miosa.app\r\n\r\n".encode())
                connection = kept[slug] = kept.get(slug) or await backend.accept()
                await connection.read_request()
                await connection.send(head)
                assert cookies(await clients[slug].read_response()) == expected[slug][place]


async def test_tenants_whose_programs_say_the_same_get_their_own_heads(build_edge: BuildEdge) -> None:
    """Byte-identical heads of two tenants, remembered once: on its own zone one keeps the cookie's Domain and its Location;
    on the platform's domain, for a program that is told `localhost`, Domain goes and Location is rewritten."""
    edge = await build_edge(cookie_zones=(ZONE,))
    acme, other = edge.backend("shop"), edge.backend("other")
    edge.point("other", other, tenant_id="other", host_modes={other.port: "localhost"})
    edge.put(zone(ZONE, claim("tenant", "acme")))
    location = f"http://localhost:{other.port}/in".encode()
    same = (
        b"HTTP/1.1 302 Found\r\nSet-Cookie: a=1; Domain=" + ZONE.encode() + b"\r\nLocation: " + location + b"\r\n"
        b"Content-Length: 2\r\n\r\nhi"
    )
    expected = {
        f"shop.{ZONE}": (acme, [f"a=1; Domain={ZONE}".encode()], location),
        "other.miosa.app": (other, [b"a=1"], b"http://other.miosa.app/in"),
    }
    clients = {host: await edge.client(FRONT) for host in expected}
    ends: dict[str, End] = {}
    for _ in range(4):
        for host, (backend, kept, leads_to) in expected.items():
            await clients[host].send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            end = ends[host] = ends.get(host) or await backend.accept()
            await end.read_request()
            await end.send(same)
            seen = await clients[host].read_response()
            assert (cookies(seen), seen.get(b"location")) == (kept, leads_to)


async def test_responses_before_the_response(build_edge: BuildEdge) -> None:
    """Early hints, and the answer that begins a tunnel, set cookies too."""
    edge = await build_edge()
    backend = edge.backend("shop")
    client = await edge.client(FRONT)
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
    wide = b"Set-Cookie: a=1; Domain=miosa.app\r\n"
    connection, _ = await backend.answer(
        b"HTTP/1.1 103 Early Hints\r\n" + wide + b"\r\n"
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n" + wide + b"\r\n"
    )
    for status in (103, 101):
        head = await client.read_head()
        assert (head.status, cookies(head)) == (status, [b"a=1"])
    connection.close()
    client.close()


async def test_a_location_that_is_rewritten_stays_in_its_place(build_edge: BuildEdge) -> None:
    """A preview whose backend hears another Host: both rules hold."""
    edge = await build_edge()
    backend = edge.backend("shop")
    edge.point("shop", backend, host_modes={backend.port: "localhost"})
    seen = await answered(
        edge,
        backend,
        "shop.miosa.app",
        f"HTTP/1.1 302 Found\r\nSet-Cookie: a=1; Domain=miosa.app\r\nLocation: http://localhost:{backend.port}/in\r\n"
        "Content-Length: 0\r\n\r\n".encode(),
    )
    assert (cookies(seen), seen.get(b"location")) == ([b"a=1"], b"http://shop.miosa.app/in")
