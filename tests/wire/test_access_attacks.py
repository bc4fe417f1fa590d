"""Attacks on previews that are not public, from outside: none of them opens one, moves a visitor elsewhere, or shows a secret."""

import random
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from router.observe.access import JsonLines, TextLines
from router.routes.records import Endpoint, ResourceRecord
from tests.support.access import API_KEY, MemoryKeys, api_key, cookie, grant, plain, policies, secret
from tests.support.edge import FRONT, RunningEdge
from tests.support.http2_peer import Http2Peer
from tests.support.records import claim, name, resource, zone
from tests.support.wire import Backend, Ended, Message
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
HTTPS = b"X-Forwarded-Proto: https\r\n"
TOKEN, LINK, ONCE = plain("ci").encode(), plain("mail", "link").encode(), plain("once", "once").encode()
SECRETS = (secret("ci"), secret("mail", "link"), secret("once", "once"))
HEADER = b"X-Miosa-Preview-Token: " + TOKEN


def private(edge: RunningEdge, slug: str = "shop", **changes: Any) -> Backend:
    return edge.backend(slug, policies=policies(*SECRETS, **changes))


async def ask(edge: RunningEdge, raw: bytes) -> Message:
    """One request over a connection of its own, and its response."""
    client = await edge.client(FRONT)
    await client.send(raw)
    return await client.read_response(raw.partition(b" ")[0])


def get(target: bytes, *lines: bytes, host: bytes = b"shop.miosa.app", method: bytes = b"GET") -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n" % (
        *(method, target, host, HTTPS),
        b"".join(line + b"\r\n" for line in lines),
    )


# Targets.

TARGETS = [
    (b"/?miosa_token=T", b"/"),
    (b"/a?miosa_token=T&b", b"/a?b"),
    (b"/a?b&miosa_token=T", b"/a?b"),
    (b"//evil.example?miosa_token=T", b"//evil.example"),
    (b"//evil.example/%2e%2e?miosa_token=T", b"//evil.example/%2e%2e"),
    (b"///evil.example?miosa_token=T", b"///evil.example"),
    (b"/\\evil.example?miosa_token=T", b"/\\evil.example"),
    (b"/%5cevil.example?miosa_token=T", b"/%5cevil.example"),
    (b"/%2f%2fevil.example?miosa_token=T", b"/%2f%2fevil.example"),
    (b"/%0d%0aLocation:%20https://evil.example?miosa_token=T", b"/%0d%0aLocation:%20https://evil.example"),
    (b"/@evil.example?miosa_token=T", b"/@evil.example"),
    (b"/.evil.example?miosa_token=T", b"/.evil.example"),
    (b"/:443@evil.example?miosa_token=T", b"/:443@evil.example"),
    (b"/a?next=//evil.example&miosa_token=T", b"/a?next=//evil.example"),
    (b"/a?miosa_token=T&miosa_token=T", b"/a"),
    (b"/a?MIOSA_TOKEN=T&c", b"/a?c"),
    (b"/a?miosa_token=T&miosa_token", b"/a"),
    (b"/a?miosa_token=T&miosa_token=", b"/a"),
    (b"/a?&&miosa_token=T&&", b"/a?&&&"),
    (b"/a?x=miosa_token&miosa_token=T", b"/a?x=miosa_token"),
    (b"/a?x=%20&miosa%5Ftoken=T", b"/a?x=%20"),
    (b"/a?%6Diosa_token=T&x", b"/a?x"),
    (b"/miosa_token=x?miosa_token=T", b"/miosa_token=x"),
    (b"http://shop.miosa.app//evil.example?miosa_token=T", b"//evil.example"),
    (b"https://SHOP.miosa.app?miosa_token=T", b"/"),
    (b"/\xc3\xa9?miosa_token=T", b"/%C3%A9"),
]


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize(("target", "clean"), TARGETS)
async def test_a_link_leads_nowhere_else(edge: RunningEdge, target: bytes, clean: bytes, escaped: bool) -> None:
    """Whatever its target looks like, the visitor stays on the host, at the address without the token."""
    private(edge)
    link = b"".join(b"%%%02x" % byte for byte in LINK) if escaped else LINK
    got = await ask(edge, get(target.replace(b"=T", b"=" + link)))
    assert got.status == 303
    location = got.get(b"location") or b""
    assert location.lower() == b"https://shop.miosa.app" + clean.lower()
    assert urlsplit(location.replace(b"\\", b"/")).netloc.lower() == b"shop.miosa.app"


@pytest.mark.parametrize(
    ("host", "place"),
    [
        (b"shop.miosa.app:8443", b"https://shop.miosa.app:8443/"),
        (b"shop.miosa.app.", b"https://shop.miosa.app/"),
        (b"SHOP.MIOSA.APP", b"https://SHOP.MIOSA.APP/"),
    ],
)
async def test_a_link_stays_on_the_host_as_it_was_written(edge: RunningEdge, host: bytes, place: bytes) -> None:
    private(edge)
    got = await ask(edge, get(b"/?miosa_token=" + LINK, b"X-Forwarded-Host: evil.example", host=host))
    assert (got.status, got.get(b"location")) == (303, place)


@pytest.mark.parametrize(
    "raw",
    [
        get(b"http://evil.example/?miosa_token=" + LINK),
        get(b"http://shop.miosa.app@evil.example/?miosa_token=" + LINK),
        get(b"//evil.example/?miosa_token=" + LINK, host=b"shop.miosa.app@evil.example"),
        get(b"javascript:alert(1)?miosa_token=" + LINK),
        get(b"/?miosa_token=" + LINK + b"\x00"),
        get(b"/", b"X-Miosa-Preview-Token: " + TOKEN + b"\x00"),
        get(b"/", b"X-Miosa-Preview-Token: " + b"x" * 65536),
        get(b"/?miosa_token=" + b"x" * 65536),
        get(b"/", b"Cookie: __Host-miosa-preview=" + b"x" * 65536),
        get(b"/", b"Authorization: Bearer " + b"x" * 65536),
        get(b"/", b"Authorization : Bearer " + TOKEN),
        get(b"/", b"Authorization: Bearer", b" " + TOKEN),
        get(b"/", b"X-Miosa-Preview-Token : " + TOKEN),
        get(b"/", HEADER + b"\nX-Other: 1"),
        get(b"/", HEADER, b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    ],
)
async def test_what_is_no_request_is_none(edge: RunningEdge, raw: bytes) -> None:
    """Whatever it brings: it is refused before anybody looks at that, the connection ends, and the program hears nothing."""
    backend = private(edge)
    got = await ask(edge, raw + get(b"/smuggled", HEADER))
    assert got.status in (400, 414, 431)
    assert not backend.has_visitor()


@pytest.mark.parametrize(
    "target",
    [
        *(
            b"/?miosa%255Ftoken=T",
            b"/?a;miosa_token=T",
            b"/??miosa_token=T",
            b"/?amp;miosa_token=T",
            b"/;miosa_token=T",
        ),
        *(b"/?miosa_token%3DT", b"/?miosa_token[]=T", b"/?+miosa_token=T", b"/?miosa_token.=T", b"/%3Fmiosa_token=T"),
    ],
)
async def test_what_only_looks_like_a_token(edge: RunningEdge, target: bytes) -> None:
    """It opens nothing."""
    backend = private(edge)
    got = await ask(edge, get(target.replace(b"=T", b"=" + LINK)))
    assert (got.status, got.get(b"x-miosa-error")) == (401, b"token_missing")
    assert not backend.has_visitor()


@pytest.mark.parametrize(
    "text",
    [
        b"%00",
        b"mpt_%00",
        b"%ff%fe",
        b"\xff\xfe",
        b"%",
        b"%zz",
        b"'--",
        b"..%2f",
        b"%F0%9F%92%A9",
        b"msk_",
        b"msk_%ff",
        b"..",
        b"a.b.c",
        b"\xff.\xff.\xff",
    ],
)
async def test_tokens_of_any_bytes(edge: RunningEdge, text: bytes) -> None:
    """They are wrong, in each place, and no fault of ours."""
    private(edge)
    for raw in (
        get(b"/?miosa_token=" + text),
        get(b"/?X-Miosa-Preview-Token=" + text),
        get(b"/", b"X-Miosa-Preview-Token: " + text),
        get(b"/", b"Cookie: __Host-miosa-preview=" + text),
    ):
        got = await ask(edge, raw)
        assert (got.status, got.get(b"x-miosa-error")) == (403, b"token_wrong"), raw
    got = await ask(edge, get(b"/", b"Authorization: Bearer " + text))
    assert got.status in (401, 403)


# One connection, several visitors.


def visitors(port: int, keys: MemoryKeys) -> dict[bytes, tuple[bytes, int]]:
    """The header lines of several visitors, and how each is answered."""
    by_cookie = cookie(grant("mail", port=port), keys.stored_signing)
    return {
        b"nobody": (b"", 401),
        b"token": (HEADER + b"\r\n", 200),
        b"bearer": (b"Authorization: Bearer " + TOKEN + b"\r\n", 200),
        b"key": (b"Authorization: Bearer " + API_KEY.encode() + b"\r\n", 200),
        b"own-auth": (b"Authorization: Basic b3duOg==\r\n", 401),
        b"both-auths": (b"Authorization: Basic b3duOg==\r\n" + HEADER + b"\r\n", 200),
        b"wrong": (b"X-Miosa-Preview-Token: nothing\r\n", 403),
        b"cookie": (by_cookie + b"\r\n", 200),
        b"forged": (by_cookie[:-2] + b"\r\n", 403),
        b"wrong-and-cookie": (b"Authorization: Bearer " + plain("no").encode() + b"\r\n" + by_cookie + b"\r\n", 403),
    }


@pytest.mark.parametrize("seed", range(4))
async def test_nobody_comes_in_by_what_another_brought(build_edge: BuildEdge, seed: int) -> None:
    """Requests of many visitors over one connection, many of them to the byte as before, pipelined, with bodies, in 1.0 and
    1.1: each is judged by itself, and the program sees of each what it brought that is the program's."""
    keys = MemoryKeys()
    keys.put(API_KEY, api_key(), known=True)
    edge = await build_edge(access=keys)
    backend = private(edge)
    edge.put(
        resource(
            "rival",
            tenant_id="rival",
            policies=policies(secret("other")),
            endpoint=Endpoint("127.0.0.1", "1"),
            default_port=backend.port,
        )
    )
    pick = random.Random(seed)
    kinds = visitors(backend.port, keys)
    client = await edge.client(FRONT)
    async with backend.serving(OK) as seen:
        for _ in range(40):
            batch, expected = [], []
            for _ in range(pick.randint(1, 6)):
                who = pick.choice(list(kinds))
                lines, status = kinds[who]
                host = pick.choice((b"shop.miosa.app",) * 4 + (b"rival.miosa.app",))
                body = pick.choice((b"", b"hello"))
                if who in (b"cookie", b"wrong-and-cookie"):
                    lines += b"Sec-Fetch-Site: same-origin\r\n"
                if host != b"shop.miosa.app" and status == 200:
                    status = 200 if who == b"nobody" else 403
                length = b"Content-Length: %d\r\n" % len(body) if body else b""
                order = [b"Host: " + host + b"\r\n", lines, HTTPS, length]
                pick.shuffle(order)
                batch.append(b"%b /%b HTTP/1.1\r\n%b\r\n%b" % (b"POST" if body else b"GET", who, b"".join(order), body))
                expected.append((who, status, body))
            before = len(seen)
            closed = False
            await client.send(b"".join(batch))
            passed = []
            for who, status, body in expected:
                try:
                    got = await client.read_response()
                except Ended:
                    closed = True
                    break
                assert got.status == status, who
                if status == 200:
                    passed.append((who, body))
                closed = got.get(b"connection") == b"close"
                if closed:
                    break
            assert [(request.target[1:], request.body) for request in seen[before:]] == passed
            for request in seen[before:]:
                own = [b"Basic b3duOg=="] if request.target == b"/both-auths" else []
                assert request.all(b"authorization") == own
                assert request.all(b"host") == [b"shop.miosa.app"]
                assert b"miosa-preview" not in request.raw_head.lower()
                assert TOKEN not in request.raw_head
            if closed:
                client.close()
                client = await edge.client(FRONT)


async def test_the_same_over_http2(build_edge: BuildEdge) -> None:
    """Streams of one connection are visitors of their own, and a cookie may come in crumbs."""
    keys = MemoryKeys()
    keys.put(API_KEY, api_key(), known=True)
    edge = await build_edge(access=keys)
    backend = private(edge)
    value = cookie(grant("mail", port=backend.port), keys.stored_signing).partition(b": ")[2]
    proto = (b"x-forwarded-proto", b"https")
    cases = [
        (b"/none", (), 401),
        (b"/token", ((b"x-miosa-preview-token", TOKEN),), 200),
        (b"/none", (), 401),
        (b"/bearer", ((b"authorization", b"Bearer " + TOKEN),), 200),
        (b"/crumbs", ((b"cookie", b"a=1"), (b"cookie", value), (b"cookie", b"b=2")), 200),
        (b"/forged", ((b"cookie", value[:-1]),), 403),
        (b"/q?X-Miosa-Preview-Token=" + TOKEN, (), 200),
        (b"/l?miosa_token=" + LINK, (), 303),
        (b"/two", ((b"x-miosa-preview-token", TOKEN), (b"x-miosa-preview-token", LINK)), 403),
        (b"/none", ((b"authorization", b"Basic b3du"),), 401),
    ]
    client = await Http2Peer(await edge.client(FRONT), client=True).start()
    async with backend.serving(OK) as seen:
        for _ in range(3):
            streams = [
                (await client.request(proto, *fields, path=path, method=b"GET"), status)
                for path, fields, status in cases
            ]
            for stream, status in streams:
                assert (await client.whole(stream)).status == status
    assert {request.target for request in seen} == {b"/token", b"/bearer", b"/crumbs", b"/q"}
    for request in seen:
        assert TOKEN not in request.raw_head
        assert b"miosa-preview" not in request.raw_head.lower()
    assert [request.all(b"cookie") for request in seen if request.target == b"/crumbs"] == [[b"a=1; b=2"]] * 3


# Cookies that outlive what they were for.


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "id-of-another"},
        {"id": "id-of-another", "tenant_id": "rival"},
    ],
)
async def test_a_slug_that_is_anothers_now(build_edge: BuildEdge, changes: dict[str, str]) -> None:
    """What opened the preview that had the name before opens nothing of who has it now."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = private(edge)
    brought = cookie(grant("mail", port=backend.port), keys.stored_signing)
    async with backend.serving(OK):
        assert (await ask(edge, get(b"/", brought))).status == 200
        edge.point("shop", backend, policies=policies(secret("mine")), **changes)
        for lines in ((brought,), (HEADER,)):
            got = await ask(edge, get(b"/", *lines))
            assert (got.status, got.get(b"x-miosa-error")) == (403, b"token_wrong")
        # Even with a secret of the same id and text: the cookie names the resource.
        edge.point("shop", backend, policies=policies(*SECRETS), **changes)
        got = await ask(edge, get(b"/", brought))
        assert (got.status, got.get(b"x-miosa-error")) == (403, b"token_wrong")


# Other doors.


async def test_every_name_of_a_resource_is_guarded(edge: RunningEdge) -> None:
    """Its ports, its names under its owner's zone and its custom domains; what is not guarded is the proof for a domain check."""
    backend = private(edge)
    shop = (await edge.records.fetch(["slug:shop"]))["slug:shop"]
    assert isinstance(shop, ResourceRecord)
    edge.put(
        name("shop.example.com", shop, challenge=("label", "proof")),
        zone("preview.acme.com", claim("tenant", "acme")),
    )
    port = b"%d" % backend.port
    for host in (
        *(
            b"shop.miosa.app",
            b"shop.sandbox.miosa.app",
            port + b"-shop.sandbox.miosa.app",
            b"5173-shop.sandbox.miosa.app",
        ),
        *(
            b"shop.preview.acme.com",
            port + b"-shop.sandbox.preview.acme.com",
            b"shop.example.com",
            b"SHOP.example.com.:443",
        ),
    ):
        for method in (b"GET", b"HEAD", b"TRACE", b"PURGE"):
            got = await ask(edge, get(b"/", host=host, method=method))
            assert (got.status, got.get(b"x-miosa-error")) == (401, b"token_missing"), host
    proof = await ask(edge, get(b"/.well-known/miosa-challenge/label", host=b"shop.example.com"))
    assert (proof.status, proof.body) == (200, b"proof")
    for target in (b"/.well-known/miosa-challenge/other", b"/.well-known/miosa-challenge/label/../../x", b"/livez"):
        assert (await ask(edge, get(target, host=b"shop.example.com"))).status == 401
    assert not backend.has_visitor()


async def test_a_redirect_to_a_hidden_preview_is_hidden(edge: RunningEdge) -> None:
    """Where `www` leads to a hidden preview, strangers hear of neither; who brings what opens it is sent on, with that."""
    edge.backend("shop", policies=policies(*SECRETS, hide=True))
    shop = (await edge.records.fetch(["slug:shop"]))["slug:shop"]
    assert isinstance(shop, ResourceRecord)
    edge.put(name("www.example.com", shop, redirect_to="example.com"), name("example.com", shop))
    heard = []
    for host in (b"www.example.com", b"example.com", b"nobody.example"):
        for lines in ((), (b"X-Miosa-Plain-HTTP: redirect",), (b"X-Miosa-Preview-Token: no",)):
            raw = get(b"/a?b", *lines, host=host)
            if lines and b"Plain" in lines[0]:
                raw = raw.replace(HTTPS, b"")
            got = await ask(edge, raw)
            heard.append(re.sub(rb"req_[0-9a-f]+", b"ID", got.raw_head + got.body).replace(host, b"HOST"))
    assert heard[:3] == heard[3:6] == heard[6:]
    sent_on = await ask(edge, get(b"/a?miosa_token=" + LINK, host=b"www.example.com"))
    assert (sent_on.status, sent_on.get(b"location")) == (308, b"https://example.com/a?miosa_token=" + LINK)


# What is shown.


@pytest.mark.parametrize("visibility", ["private", "key", "tenant"])
async def test_a_trace_shows_no_secret(edge: RunningEdge, visibility: str) -> None:
    """Neither one that ends here nor one that goes on: the program would send back what it sees."""
    backend = edge.backend("shop", policies=policies(*SECRETS, visibility=visibility))
    here = await ask(edge, get(b"/?x-miosa-preview-token=" + TOKEN, b"Max-Forwards: 0", method=b"TRACE"))
    assert here.status == 200
    assert TOKEN not in here.raw_head + here.body
    async with backend.serving(OK) as seen:
        for lines in ((HEADER, b"Max-Forwards: 3"), (b"Authorization: Bearer " + TOKEN, b"Max-Forwards: 3"), (HEADER,)):
            assert (await ask(edge, get(b"/", *lines, method=b"TRACE"))).status == 200
    assert len(seen) == 3
    assert not any(TOKEN in request.raw_head for request in seen)


def attempts(port: int, keys: MemoryKeys) -> Iterator[tuple[bytes, bytes]]:
    """(a secret, a request that has it somewhere)."""
    signed = cookie(grant("mail", port=port), keys.stored_signing)
    for text in (TOKEN, LINK, ONCE, API_KEY.encode(), plain("wrong").encode()):
        yield text, get(b"/?miosa_token=" + text)
        yield text, get(b"/?X-MIOSA-Preview-Token=" + text)
        yield text, get(b"/?miosa%5Ftoken=" + text)
        yield text, get(b"/?a;miosa_token=" + text)
        yield text, get(b"/?amp;miosa_token=" + text)
        yield text, get(b"/miosa_token=" + text)
        yield text, get(b"/?miosa_token=" + text, b"Accept: text/html", b"Origin: https://a.b")
        yield text, get(b"/", b"X-Miosa-Preview-Token: " + text)
        yield text, get(b"/", b"Authorization: Bearer " + text)
        yield text, get(b"/", b"Authorization: Token " + text)
        yield text, get(b"/", b"Referer: https://shop.miosa.app/?miosa_token=" + text)
        yield text, get(b"/", b"Referer: https://shop.miosa.app/#" + text)
        yield text, get(b"/", b"User-Agent: curl " + text)
        yield text, get(b"/", b"Origin: https://" + text.replace(b"_", b"-"))
        yield text, get(b"/?miosa_token=" + text, b"Content-Length: x")
        yield text, get(b"/?miosa_token=" + text + b"\x01")
        yield text, get(b"/", b"Authorization : Bearer " + text)
        yield text, get(b"/?miosa_token=" + text, host=b"nobody.miosa.app")
        yield text, get(b"/", b"Authorization: Bearer " + text, host=b"nobody.miosa.app")
    yield signed[-43:], get(b"/", signed)
    yield signed[-43:], get(b"/", signed, method=b"POST")
    yield signed[-43:-1], get(b"/", signed[:-1])


async def test_no_secret_is_written_down(build_edge: BuildEdge) -> None:
    """Whatever comes of a request, and wherever the secret stands: not in access lines, logs, metrics, or what a visitor hears."""
    keys = MemoryKeys()
    keys.put(API_KEY, api_key())
    edge = await build_edge(access=keys)
    backend = private(edge)
    texts = []
    async with backend.serving(OK):
        for text, raw in attempts(backend.port, keys):
            texts.append(text)
            got = await ask(edge, raw)
            assert text not in got.body, raw
            assert text not in got.raw_head or b"Origin:" in raw, raw
    shown = b"".join(form.render(edge.finished, 0.0) for form in (JsonLines(), TextLines(colours=False)))
    shown += repr(edge.logs).encode() + edge.metrics.render("")[0]
    for text in texts:
        assert text not in shown, re.findall(rb".{0,300}" + re.escape(text) + rb".{0,20}", shown)[:1]


# Hidden over HTTP/2, and while the store is away.


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ((b"x-miosa-preview-token", b"no"),),
        ((b"cookie", b"__Host-miosa-preview=no"),),
        ((b"content-type", b"application/grpc"), (b"te", b"trailers")),
        ((b"origin", b"https://a.b"), (b"accept", b"text/html")),
    ],
)
async def test_hidden_over_http2(edge: RunningEdge, fields: tuple[tuple[bytes, bytes], ...]) -> None:
    """The same fields and the same body as a host that does not exist."""
    edge.backend("shop", policies=policies(*SECRETS, hide=True))
    client = await Http2Peer(await edge.client(FRONT), client=True).start()
    heard = []
    for host in (b"shop.miosa.app", b"gone.miosa.app"):
        stream = await client.request(
            (b"x-forwarded-proto", b"https"), *fields, path=b"/a", method=b"GET", authority=host
        )
        got = await client.whole(stream)
        text = repr((got.fields, got.body, got.trailers)).encode().replace(host, b"HOST")
        heard.append(re.sub(rb"req_[0-9a-f]+", b"ID", text))
    assert heard[0] == heard[1]


# Bodies and upgrades.


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (b"X-Miosa-Preview-Token: no",),
        (b"Connection: Upgrade", b"Upgrade: websocket"),
        (b"Expect: 100-continue",),
        (b"Content-Type: application/grpc",),
    ],
)
@pytest.mark.parametrize("framing", [b"Content-Length: 40", b"Transfer-Encoding: chunked"])
async def test_a_body_behind_a_refusal_is_no_request(
    edge: RunningEdge, lines: tuple[bytes, ...], framing: bytes
) -> None:
    """What follows a refused head is a body that nobody reads, however much it looks like a request that may come in."""
    backend = private(edge)
    client = await edge.client(FRONT)
    body = get(b"/smuggled", HEADER)
    if framing.startswith(b"Transfer"):
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    await client.send(get(b"/", framing, *lines, method=b"POST") + body)
    heard = await client.read_until_gone()
    assert heard.count(b"HTTP/1.1 ") == 1
    assert not backend.has_visitor()


async def test_requests_behind_an_upgrade_are_judged_too(edge: RunningEdge) -> None:
    """A refused upgrade opens no tunnel: what comes behind it is a request like any other, or nothing."""
    backend = private(edge)
    client = await edge.client(FRONT)
    upgrade = get(b"/ws", b"Connection: Upgrade", b"Upgrade: websocket")
    await client.send(upgrade + get(b"/a"))
    heard = await client.read_until_gone() if (await client.read_response()).get(b"connection") == b"close" else b""
    assert b" 200 " not in heard
    assert not backend.has_visitor()


@pytest.mark.parametrize("keep", [b"", b"Connection: keep-alive\r\n"])
async def test_the_first_version_of_the_protocol(edge: RunningEdge, keep: bytes) -> None:
    """HTTP/1.0, with and without a kept connection: one visitor's token is not the next one's."""
    backend = private(edge)
    client = await edge.client(FRONT)
    first = b"GET /1 HTTP/1.0\r\nHost: shop.miosa.app\r\n" + HTTPS + keep + HEADER + b"\r\n\r\n"
    second = b"GET /2 HTTP/1.0\r\nHost: shop.miosa.app\r\n" + HTTPS + keep + b"\r\n"
    async with backend.serving(OK) as seen:
        await client.send(first + second)
        assert (await client.read_response()).status == 200
        if keep:
            assert (await client.read_response()).status == 401
        else:
            await client.read_until_gone()
    assert [request.target for request in seen] == [b"/1"]


async def test_a_connection_that_authenticates_itself(edge: RunningEdge) -> None:
    """NTLM authenticates the connection: who comes after, over the same one, without a token stays outside all the same."""
    backend = private(edge)
    client = await edge.client(FRONT)
    async with backend.serving(OK) as seen:
        for lines, status in (
            ((b"Authorization: NTLM YTpi", HEADER), 200),
            ((b"Authorization: NTLM YTpi",), 401),
            ((), 401),
            ((b"Authorization: NTLM YTpi", HEADER), 200),
        ):
            await client.send(get(b"/", *lines))
            assert (await client.read_response()).status == status
    assert [request.all(b"authorization") for request in seen] == [[b"NTLM YTpi"]] * 2


async def test_a_program_that_speaks_http2(edge: RunningEdge) -> None:
    """A preview of h2c is guarded as well, and its program sees no token."""
    backend = private(edge)
    edge.point("shop", backend, protocols={backend.port: "h2c"}, policies=policies(*SECRETS))
    client = await Http2Peer(await edge.client(FRONT), client=True).start()
    call = ((b"x-forwarded-proto", b"https"), (b"content-type", b"application/grpc"), (b"te", b"trailers"))
    refused = await client.whole(await client.request(*call, path=b"/a.B/C", body=b"\0\0\0\0\0"))
    assert (refused.status, refused.get(b"grpc-status"), refused.get(b"x-miosa-error")) == (
        200,
        b"16",
        b"token_missing",
    )
    assert not backend.has_visitor()
    stream = await client.request(
        *call, (b"authorization", b"Bearer " + TOKEN), (b"x-own", b"1"), path=b"/a.B/C", body=b"\0\0\0\0\0"
    )
    server = await Http2Peer(await backend.accept(), client=False).start()
    seen = await server.whole(await server.until_new())
    assert seen.get(b"x-own") == b"1"
    assert TOKEN not in repr(seen.fields).encode()
    await server.respond(1, (b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"0"))
    assert (await client.whole(stream)).status == 200


# Much of it.


async def test_many_signatures_in_one_request(build_edge: BuildEdge) -> None:
    """A signature costs more than the rest of a request. Who sends hundreds to be verified has none of them looked at."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = private(edge)
    looked_at = []
    keys.verify_jwt = looked_at.append  # type: ignore[assignment, method-assign]
    many = [b"Authorization: Bearer eyJ.%d.sig" % number for number in range(400)]
    got = await ask(edge, get(b"/", *many))
    assert (got.status, got.get(b"x-miosa-error")) == (403, b"token_wrong")
    assert len(looked_at) <= 4
    got = await ask(edge, get(b"/", *many[:3]))
    assert (got.status, got.get(b"x-miosa-error")) == (401, b"token_missing")
    assert not backend.has_visitor()


async def test_addresses_of_one_connection(edge: RunningEdge) -> None:
    """A front sends many visitors' requests over one connection: each is let in by its own address."""
    backend = private(edge, networks=("10.1.0.0/16",))
    client = await edge.client(FRONT)
    async with backend.serving(OK):
        for last, status in ((b"10.1.2.3", 200), (b"10.2.2.3", 403), (b"10.1.2.3", 200), (b"::1", 403)) * 3:
            await client.send(get(b"/", HEADER, b"X-Forwarded-For: " + last))
            assert (await client.read_response()).status == status


async def test_many_made_up_visitors_are_not_remembered(build_edge: BuildEdge) -> None:
    """Cookies that we have not signed and tokens that open nothing leave nothing behind; of those that we have signed a
    bounded number is remembered."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = private(edge)
    worker = edge.proxy._worker
    client = await edge.client(FRONT)
    right = grant("mail", port=backend.port)
    async with backend.serving(OK):
        for number in range(300):
            await client.send(get(b"/", b"Cookie: __Host-miosa-preview=1.first.%d" % number))
            assert (await client.read_response()).status == 403
        assert len(worker.cookies._known) == 0
        for _ in range(5):
            right.issued += 1.0
            await client.send(get(b"/", cookie(right, keys.stored_signing)))
            assert (await client.read_response()).status == 200
    assert len(worker.cookies._known) == 5


# Other spellings of the same request.

SPELLINGS = [
    get(b"/", host=b"SHOP.Miosa.App"),
    get(b"/", host=b"shop.miosa.app."),
    get(b"/", host=b"shop.miosa.app.:443"),
    get(b"/", host=b"shop.miosa.app:1"),
    get(b"https://shop.miosa.app/"),
    get(b"HTTP://SHOP.miosa.app:80/", host=b"shop.miosa.app:80"),
    get(b"/.well-known/acme-challenge/x"),
    get(b"/.well-known/miosa/nothing"),
    get(b"/livez"),
    get(b"/", method=b"HEAD"),
    get(b"/", method=b"OPTIONS"),
    get(b"/", b"Max-Forwards: 0", method=b"OPTIONS"),
    get(b"/", b"Max-Forwards: 0", method=b"TRACE"),
    get(b"/", b"Max-Forwards: 1", method=b"TRACE"),
    get(b"/", method=b"PROPFIND"),
    get(b"/", method=b"get"),
    get(b"/", b"If-None-Match: *"),
    get(b"/", b"Range: bytes=0-0"),
    get(b"/", b"X-Original-URL: /public", b"X-Rewrite-URL: /public", b"X-HTTP-Method-Override: OPTIONS"),
    get(b"/", b"X-Forwarded-Host: open.miosa.app", b"Forwarded: host=open.miosa.app;proto=https"),
    get(b"/", b"X-Miosa-Identity: e30.e30.e30", b"X-Miosa-Hops: 1"),
    get(b"/", b"Connection: X-Miosa-Preview-Token, Cookie, Authorization"),
    get(b"/", b"Connection: Upgrade", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
]


@pytest.mark.parametrize(
    "line", [b"", b"Cookie: __Host-miosa-preview=x; __Host-miosa-preview=y", b"Authorization: basic x"]
)
@pytest.mark.parametrize("raw", SPELLINGS)
async def test_no_spelling_of_a_request_opens(edge: RunningEdge, raw: bytes, line: bytes) -> None:
    """However the host, the target or the method is written, and whatever else stands beside it: a stranger is refused,
    and the program hears nothing."""
    backend = private(edge)
    edge.backend("open")
    got = await ask(edge, raw.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n") if line else raw)
    assert got.status in (401, 403), got.first
    assert got.get(b"x-miosa-error") in (b"token_missing", b"token_wrong")
    assert got.get(b"cache-control") == b"no-store"
    assert not backend.has_visitor()


@pytest.mark.parametrize(
    "line",
    [
        b"authorization: bearer " + TOKEN,
        b"AUTHORIZATION:BEARER   " + TOKEN + b"  ",
        b"Authorization:\tBearer " + TOKEN,
        b"x-MIOSA-preview-TOKEN:\t" + TOKEN + b" ",
    ],
)
@pytest.mark.parametrize("raw", SPELLINGS[:6])
async def test_every_spelling_that_opens_is_taken_out(edge: RunningEdge, raw: bytes, line: bytes) -> None:
    """The program sees the request without what opened it."""
    backend = private(edge)
    async with backend.serving(OK) as seen:
        got = await ask(edge, raw.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n"))
    assert got.status == 200, got.first
    assert TOKEN not in seen[0].raw_head
    assert b"authorization" not in seen[0].raw_head.lower()


@pytest.mark.parametrize("host", [b"open.miosa.app", b"shop.miosa.app."])
async def test_two_hosts_in_one_request_of_http2(edge: RunningEdge, host: bytes) -> None:
    """`:authority` and Host that differ never lead to the private one."""
    backend = private(edge)
    edge.backend("open")
    client = await Http2Peer(await edge.client(FRONT), client=True).start()
    for fields in (
        ((b":authority", b"shop.miosa.app"), (b"host", host)),
        ((b":authority", host), (b"host", b"shop.miosa.app")),
    ):
        authority, named = fields
        stream = await client.request((b"x-forwarded-proto", b"https"), named, authority=authority[1], method=b"GET")
        got = await client.whole(stream)
        assert got.reset is not None or got.status >= 400
    assert not backend.has_visitor()
