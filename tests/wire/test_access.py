"""Who may open a preview that is not public: what the backend saw of each request, and what the visitor heard."""

import re
from typing import Any

import pytest

from router.access.cookies import NAME
from router.observe.access import JsonLines, TextLines
from router.routes.policies import Cors
from router.routes.records import ResourceRecord, State
from tests.support.access import (
    API_KEY,
    FAR,
    MemoryKeys,
    api_key,
    cookie,
    grant,
    plain,
    policies,
    secret,
    signing,
)
from tests.support.edge import FRONT, OUTSIDE, RunningEdge
from tests.support.records import claim, name, resource, zone
from tests.support.wire import Backend, Message
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

HOST = b"shop.miosa.app"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
HTTPS = b"X-Forwarded-Proto: https\r\n"
TOKEN = plain("ci").encode()
LINK = plain("mail", "link").encode()
WRONG = plain("wrong").encode()


def lines(*parts: bytes) -> bytes:
    return HTTPS + b"".join(part + b"\r\n" for part in parts)


async def ask(
    edge: RunningEdge,
    *parts: bytes,
    target: bytes = b"/a?b=1",
    method: bytes = b"GET",
    host: bytes = HOST,
    source: str = FRONT,
    body: bytes = b"",
) -> Message:
    """One request over a connection of its own, and its response."""
    client = await edge.client(source)
    await client.send(b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n%b" % (method, target, host, lines(*parts), body))
    return await client.read_response(method)


async def both(
    edge: RunningEdge, backend: Backend, *parts: bytes, response: bytes = OK, **request: bytes
) -> tuple[Message, Message]:
    """One request that gets through: what the backend saw, and what the visitor got."""
    async with backend.serving(response) as seen:
        got = await ask(edge, *parts, **request)  # type: ignore[arg-type]
    assert len(seen) == 1, (got.first, got.body)
    return seen[0], got


def private(edge: RunningEdge, **changes: object) -> Backend:
    """The shop, private: opened by the program secret `ci`, the link `mail` and the one-time link `once`."""
    secrets = (secret("ci"), secret("mail", "link"), secret("once", "once"))
    return edge.backend("shop", policies=policies(*secrets, **changes))


@pytest.mark.parametrize(
    ("parts", "target", "seen"),
    [
        ((b"X-Miosa-Preview-Token: " + TOKEN,), b"/a?b=1", b"/a?b=1"),
        ((b"x-miosa-PREVIEW-token:" + TOKEN,), b"/a", b"/a"),
        ((b"X-Miosa-Preview-Token: " + LINK,), b"/a", b"/a"),
        ((b"Authorization: Bearer " + TOKEN,), b"/a", b"/a"),
        ((b"authorization: bEARER   " + TOKEN,), b"/a", b"/a"),
        ((), b"/a?X-Miosa-Preview-Token=" + TOKEN, b"/a"),
        ((), b"/a?x-miosa-preview-TOKEN=" + TOKEN + b"&c=%20&&d", b"/a?c=%20&&d"),
        ((), b"/a?b&X-Miosa-Preview-Token=" + TOKEN, b"/a?b"),
        ((), b"/a?b&x%2dmiosa-preview%2dtoken=" + TOKEN, b"/a?b"),
        (
            (b"Referer: https://shop.miosa.app/?%6diosa_token=" + TOKEN, b"X-Miosa-Preview-Token: " + TOKEN),
            b"/a",
            b"/a",
        ),
        ((b"X-Miosa-Preview-Token: " + TOKEN,), b"/?X-Miosa-Preview-Token=" + TOKEN, b"/"),
        ((b"Sec-Fetch-Mode: cors",), b"/a?miosa_token=" + LINK + b"&b=1", b"/a?b=1"),
        ((b"Accept: text/event-stream",), b"/a?miosa_token=" + LINK, b"/a"),
    ],
)
async def test_a_token_is_consumed(edge: RunningEdge, parts: tuple[bytes, ...], target: bytes, seen: bytes) -> None:
    """It lets in, and nothing of it reaches the program: no line, no parameter. Every other byte of the target does."""
    backend = private(edge)
    request, got = await both(edge, backend, b"X-Other: 1", *parts, target=target)
    assert got.status == 200
    assert request.target == seen
    assert request.all(b"x-other") == [b"1"]
    assert TOKEN not in request.raw_head
    assert LINK not in request.raw_head
    assert request.all(b"authorization") == []


@pytest.mark.parametrize("other", [b"Basic YTpi", b"Bearer eyJhbGciOiJub25lIn0.e30.", b"Digest x=1", b"Bearer abc"])
async def test_an_authorization_that_is_not_ours_is_the_programs(edge: RunningEdge, other: bytes) -> None:
    """It passes to the byte beside a token of ours, and opens nothing by itself."""
    backend = private(edge)
    request, got = await both(edge, backend, b"authorization:  " + other, b"X-Miosa-Preview-Token: " + TOKEN)
    assert got.status == 200
    assert b"\r\nauthorization:  " + other + b"\r\n" in request.raw_head
    refused = await ask(edge, b"authorization: " + other)
    assert (refused.status, refused.get(b"x-miosa-error")) == (401, b"token_missing")


@pytest.mark.parametrize(
    ("parts", "target", "status", "code"),
    [
        ((), b"/", 401, b"token_missing"),
        ((b"X-Miosa-Preview-Token:",), b"/", 401, b"token_missing"),
        ((b"X-Miosa-Preview-Token: " + WRONG,), b"/", 403, b"token_wrong"),
        ((b"X-Miosa-Preview-Token: " + TOKEN + b"x",), b"/", 403, b"token_wrong"),
        ((b"X-Miosa-Preview-Token: " + TOKEN[:-1],), b"/", 403, b"token_wrong"),
        ((b"X-Miosa-Preview-Token: " + b"m" * 5000,), b"/", 403, b"token_wrong"),
        ((b"X-Miosa-Preview-Token: " + TOKEN, b"X-Miosa-Preview-Token: " + LINK), b"/", 403, b"token_wrong"),
        ((b"X-Miosa-Preview-Token: " + TOKEN,), b"/?miosa_token=" + LINK, 403, b"token_wrong"),
        ((b"X-Miosa-Preview-Token: " + TOKEN, b"Authorization: Bearer " + WRONG), b"/", 403, b"token_wrong"),
        ((b"X-Miosa-Preview-Token: " + plain("once", "once").encode(),), b"/", 403, b"token_wrong"),
        ((b"Authorization: Bearer msk_live_unknown",), b"/", 403, b"token_wrong"),
        ((b"Cookie: __Host-miosa-preview=forged",), b"/", 403, b"token_wrong"),
        ((b"X_Miosa_Preview_Token: " + TOKEN,), b"/", 401, b"token_missing"),
    ],
)
async def test_what_does_not_open(
    edge: RunningEdge, parts: tuple[bytes, ...], target: bytes, status: int, code: bytes
) -> None:
    """Refused with a code, without a word to the program."""
    backend = private(edge)
    got = await ask(edge, *parts, target=target)
    assert (got.status, got.get(b"x-miosa-error")) == (status, code)
    assert got.get(b"cache-control") == b"no-store"
    assert got.all(b"www-authenticate") == ([b'Bearer realm="miosa"'] if status == 401 else [])
    assert not backend.has_visitor()


async def test_a_link_becomes_a_cookie(edge: RunningEdge) -> None:
    """303 to the same address without the token, and with the cookie the page opens. The program sees neither."""
    backend = private(edge)
    got = await ask(edge, b"Sec-Fetch-Mode: navigate", target=b"//evil.example/a?b=%2F&miosa_token=" + LINK + b"&c")
    assert got.status == 303
    assert got.get(b"location") == b"https://shop.miosa.app//evil.example/a?b=%2F&c"
    assert got.get(b"referrer-policy") == b"no-referrer"
    assert got.get(b"cache-control") == b"no-store"
    pair, *attributes = (got.get(b"set-cookie") or b"").split(b"; ")
    assert pair.startswith(NAME + b"=")
    assert set(attributes) == {
        *(b"Path=/", b"Max-Age=2592000", b"Secure", b"HttpOnly", b"SameSite=None", b"Partitioned"),
    }
    assert not backend.has_visitor()
    request, page = await both(edge, backend, b"Cookie: a=1; " + pair + b"; b=2")
    assert page.status == 200
    assert request.all(b"cookie") == [b"a=1; b=2"]
    assert NAME not in request.raw_head


@pytest.mark.parametrize(
    ("parts", "target", "seen"),
    [
        ((), b"/a?b&X-Miosa-Preview-Token=" + TOKEN, b"/a?b"),
        ((b"Sec-Fetch-Mode: cors",), b"/a?miosa%5Ftoken=" + LINK + b"&b", b"/a?b"),
        ((b"Authorization: Bearer " + TOKEN,), b"/a?b", b"/a?b"),
        ((b"Referer: https://shop.miosa.app/?miosa_token=" + LINK,), b"/a?b", b"/a?b"),
        ((b"Authorization: Bearer opaque",), b"/a?miosa_tokens=b", b"/a?miosa_tokens=b"),
    ],
)
async def test_a_public_previews_program_learns_no_secret(
    edge: RunningEdge, parts: tuple[bytes, ...], target: bytes, seen: bytes
) -> None:
    """It may open other ports, or this one when it is private again. What is not ours passes."""
    backend = private(edge, visibility="public")
    request, got = await both(edge, backend, *parts, target=target)
    assert (got.status, request.target) == (200, seen)
    assert TOKEN not in request.raw_head
    assert LINK not in request.raw_head
    assert request.all(b"authorization") == [part[15:] for part in parts if part.endswith(b"opaque")]


async def test_a_link_of_a_preview_that_is_public_now(edge: RunningEdge) -> None:
    """It leaves the address, and no cookie takes its place."""
    backend = private(edge, visibility="public")
    got = await ask(edge, b"Sec-Fetch-Mode: navigate", target=b"/a?b&miosa_token=" + LINK)
    assert (got.status, got.get(b"location")) == (303, b"https://shop.miosa.app/a?b")
    assert got.all(b"set-cookie") == []
    assert not backend.has_visitor()


async def test_an_api_key_is_looked_up_once(build_edge: BuildEdge) -> None:
    """The first request with it waits for the store; a store that is away is not a refusal."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = private(edge)
    keys.put(API_KEY, api_key())
    keys.down = True
    away = await ask(edge, b"Authorization: Bearer " + API_KEY.encode())
    assert (away.status, away.get(b"x-miosa-error")) == (503, b"resolver_unavailable")
    keys.down = False
    async with backend.serving(OK) as seen:
        for _ in range(2):
            got = await ask(edge, b"Authorization: Bearer " + API_KEY.encode())
            assert got.status == 200
    assert [request.all(b"authorization") for request in seen] == [[], []]
    assert len(keys.looked_up) == 1
    unknown = await ask(edge, b"Authorization: Bearer msk_live_other")
    assert (unknown.status, unknown.get(b"x-miosa-error")) == (403, b"token_wrong")


async def test_cookies_are_for_one_port_of_one_resource(build_edge: BuildEdge) -> None:
    """One that is right opens; of another port, resource, generation or key none does."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = private(edge, generation=2)
    right: dict[str, Any] = {"name": "mail", "generation": 2, "port": backend.port}
    _, got = await both(edge, backend, cookie(grant(**right), keys.stored_signing))
    assert got.status == 200
    for changes, code in (
        ({"port": 3000}, b"token_wrong"),
        ({"resource_id": "other"}, b"token_wrong"),
        ({"generation": 1}, b"token_revoked"),
        ({"name": "gone"}, b"token_revoked"),
        ({"until": 10.0}, b"token_expired"),
        ({"issued": FAR}, b"token_wrong"),
    ):
        refused = await ask(edge, cookie(grant(**right | changes), keys.stored_signing))
        assert (refused.status, refused.get(b"x-miosa-error")) == (403, code), changes
    other = await ask(edge, cookie(grant(**right), signing("other")))
    assert (other.status, other.get(b"x-miosa-error")) == (403, b"token_wrong")


# Links that work once.


ONCE = plain("once", "once").encode()
LOOKS = [
    (b"GET", ()),
    (b"GET", (b"Sec-Fetch-Mode: navigate", b"Sec-Purpose: prefetch;prerender")),
    (b"GET", (b"Purpose: prefetch",)),
    (b"GET", (b"User-Agent: Slackbot-LinkExpanding 1.0", b"Accept: */*")),
    (b"GET", (b"Early-Data: 1",)),
    (b"HEAD", ()),
]


@pytest.mark.parametrize(("method", "parts"), LOOKS)
async def test_looking_at_a_link_uses_nothing_up(
    build_edge: BuildEdge, method: bytes, parts: tuple[bytes, ...]
) -> None:
    """Every look gets the page with the button, without a cookie; the program hears nothing of it."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = private(edge)
    got = await ask(edge, *parts, method=method, target=b"/a?miosa_token=" + ONCE)
    assert (got.status, got.get(b"content-type")) == (200, b"text/html; charset=utf-8")
    assert (got.get(b"cache-control"), got.get(b"referrer-policy")) == (b"no-store", b"no-referrer")
    assert b"form-action 'self'" in (got.get(b"content-security-policy") or b"")
    assert got.all(b"set-cookie") == []
    assert ONCE not in got.body
    assert (b"<form" in got.body) == (method == b"GET")
    assert keys.used_up == set()
    assert not backend.has_visitor()


async def test_a_link_that_works_once(build_edge: BuildEdge) -> None:
    """The form's POST lets in the first, with a cookie; the second hears that it is used. The first may come back by it."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = private(edge)
    form = (b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: 3", b"Origin: null")
    target = b"/a?x=1&miosa_token=" + ONCE
    early = await ask(edge, *form, b"Early-Data: 1", method=b"POST", target=target, body=b"a=b")
    assert (early.status, early.get(b"x-miosa-error")) == (425, b"too_early")
    keys.down = True
    away = await ask(edge, *form, method=b"POST", target=target, body=b"a=b")
    assert (away.status, away.get(b"x-miosa-error")) == (503, b"resolver_unavailable")
    keys.down = False
    first = await ask(edge, *form, method=b"POST", target=target, body=b"a=b")
    assert (first.status, first.get(b"location")) == (303, b"https://shop.miosa.app/a?x=1")
    second = await ask(edge, *form, method=b"POST", target=target, body=b"a=b")
    assert (second.status, second.get(b"x-miosa-error")) == (403, b"token_revoked")
    private_again = (secret("ci"), secret("once", "once", used=True))
    edge.point("shop", backend, policies=policies(*private_again))
    third = await ask(edge, target=target)
    assert (third.status, third.get(b"x-miosa-error")) == (403, b"token_revoked")
    pair = (first.get(b"set-cookie") or b"").partition(b";")[0]
    again = await ask(edge, b"Cookie: " + pair, target=target)
    assert (again.status, again.get(b"location"), again.all(b"set-cookie")) == (
        303,
        b"https://shop.miosa.app/a?x=1",
        [],
    )
    _, page = await both(edge, backend, b"Cookie: " + pair)
    assert page.status == 200


@pytest.mark.parametrize(
    ("parts", "method"),
    [
        ((b"Sec-Fetch-Mode: cors",), b"GET"),
        ((b"Sec-Fetch-Mode: cors",), b"POST"),
        ((), b"PUT"),
        ((b"Accept: text/event-stream",), b"GET"),
        ((b"Connection: Upgrade", b"Upgrade: websocket"), b"GET"),
    ],
)
async def test_a_script_uses_no_link_up(build_edge: BuildEdge, parts: tuple[bytes, ...], method: bytes) -> None:
    """Only a person does, by a form; anything else is refused."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    private(edge)
    got = await ask(edge, *parts, method=method, target=b"/?miosa_token=" + ONCE)
    assert (got.status, got.get(b"x-miosa-error")) == (403, b"token_wrong")
    assert keys.used_up == set()


# What kind of request it is.


@pytest.mark.parametrize(
    "parts",
    [
        (b"Sec-Fetch-Mode: cors",),
        (b"Sec-Fetch-Mode: no-cors",),
        (b"Sec-Fetch-Mode: websocket", b"Connection: Upgrade", b"Upgrade: websocket"),
        (b"Accept: text/event-stream",),
    ],
)
async def test_only_a_navigation_is_redirected(edge: RunningEdge, parts: tuple[bytes, ...]) -> None:
    """A link's token is taken in place by everything else: a redirect would break it."""
    backend = private(edge)
    request, got = await both(edge, backend, *parts, target=b"/a?miosa_token=" + LINK)
    assert (got.status, request.target) == (200, b"/a")
    assert got.all(b"set-cookie") == []


CROSS_SITE: list[tuple[bytes, tuple[bytes, ...], bool]] = [
    (b"GET", (b"Origin: https://evil.example", b"Sec-Fetch-Site: cross-site"), True),
    (b"HEAD", (b"Sec-Fetch-Site: cross-site",), True),
    (b"POST", (), False),
    (b"POST", (b"Origin: https://evil.example",), False),
    (b"POST", (b"Origin: null",), False),
    (b"POST", (b"Origin: https://shop.miosa.app",), True),
    (b"POST", (b"Origin: https://SHOP.miosa.app:443",), True),
    (b"POST", (b"Origin: http://shop.miosa.app",), False),
    (b"POST", (b"Origin: https://5173-shop.sandbox.miosa.app",), True),
    (b"POST", (b"Origin: https://shop.sandbox.miosa.app",), True),
    (b"POST", (b"Origin: https://other.miosa.app", b"Sec-Fetch-Site: same-site"), False),
    (b"POST", (b"Origin: https://xshop.miosa.app",), False),
    (b"POST", (b"Origin: https://shop.miosa.app.evil.example",), False),
    (b"POST", (b"Sec-Fetch-Site: same-origin",), True),
    (b"POST", (b"Sec-Fetch-Site: none",), True),
    (b"POST", (b"Sec-Fetch-Site: same-site",), False),
    (b"DELETE", (b"Sec-Fetch-Site: cross-site",), False),
    (b"PURGE", (b"Sec-Fetch-Site: cross-site",), False),
    (b"GET", (b"Connection: Upgrade", b"Upgrade: websocket", b"Origin: https://evil.example"), False),
    (b"GET", (b"Connection: Upgrade", b"Upgrade: websocket"), False),
    (b"GET", (b"Connection: Upgrade", b"Upgrade: websocket", b"Origin: https://shop.miosa.app"), True),
]


@pytest.mark.parametrize(("method", "parts", "allowed"), CROSS_SITE)
async def test_other_sites_pages_cannot_act_by_a_cookie(
    build_edge: BuildEdge, method: bytes, parts: tuple[bytes, ...], allowed: bool
) -> None:
    """What changes something and a WebSocket need a page of the same owner; a token in a header needs none."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = private(edge)
    with_cookie = cookie(grant("mail", port=backend.port), keys.stored_signing)
    async with backend.serving(OK) as seen:
        got = await ask(edge, with_cookie, *parts, method=method)
        assert (got.status, got.get(b"x-miosa-error")) == ((200, None) if allowed else (403, b"origin_not_allowed"))
        assert len(seen) == allowed
        by_token = await ask(edge, b"X-Miosa-Preview-Token: " + TOKEN, *parts, method=method)
        assert by_token.status == 200


@pytest.mark.parametrize(
    ("shared", "parts", "allowed"),
    [
        ((), (b"Origin: https://api.preview.acme.com",), False),
        ((), (b"Origin: https://3000-shop.sandbox.preview.acme.com",), True),
        (("preview.acme.com",), (b"Origin: https://api.preview.acme.com",), True),
        (("preview.acme.com",), (b"Origin: https://preview.acme.com",), True),
        (("preview.acme.com",), (b"Origin: https://acme.com",), False),
        (("preview.acme.com",), (b"Origin: https://xpreview.acme.com",), False),
    ],
)
async def test_neighbours_under_a_preview_domain(
    build_edge: BuildEdge, shared: tuple[str, ...], parts: tuple[bytes, ...], allowed: bool
) -> None:
    """They are strangers, as for cookies, unless the operator says that the zone has one owner (`cookie_zones`)."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys, cookie_zones=shared)
    backend = private(edge)
    edge.put(zone("preview.acme.com", claim("tenant", "acme")))
    with_cookie = cookie(grant("mail", port=backend.port), keys.stored_signing)
    async with backend.serving(OK):
        got = await ask(edge, with_cookie, *parts, method=b"POST", host=b"shop.preview.acme.com")
    assert got.status == (200 if allowed else 403)


@pytest.mark.parametrize(("site", "allowed"), [(b"same-site", True), (b"same-origin", True), (b"cross-site", False)])
async def test_a_domain_of_ones_own(build_edge: BuildEdge, site: bytes, allowed: bool) -> None:
    """All of a registered domain is its owner's, which browsers know: `www.example.com` may call `api.example.com`."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = private(edge)
    shop = (await edge.records.fetch(["slug:shop"])).get("slug:shop")
    assert isinstance(shop, ResourceRecord)
    edge.put(name("api.example.com", shop))
    with_cookie = cookie(grant("mail", port=backend.port), keys.stored_signing)
    async with backend.serving(OK):
        got = await ask(
            edge,
            *(with_cookie, b"Origin: https://www.example.com", b"Sec-Fetch-Site: " + site),
            method=b"POST",
            host=b"api.example.com",
        )
    assert got.status == (200 if allowed else 403)


# Hidden.


async def heard(edge: RunningEdge, request: bytes, host: bytes) -> bytes:
    """All that a visitor hears, but for the request's id and the host that they named."""
    client = await edge.client(FRONT)
    await client.send(request.replace(b"HOST", host))
    got = await client.read_response(request.partition(b" ")[0])
    return re.sub(rb"req_[0-9a-f]+", b"ID", got.raw_head + got.body).replace(host, b"HOST")


STRANGERS = [
    b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\nAccept: text/html\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\nAccept: application/problem+json\r\nOrigin: https://a.b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\nAccept: text/event-stream\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n",
    b"OPTIONS / HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\nOrigin: https://a.b\r\nAccess-Control-Request-Method: PUT\r\n\r\n",
    b"OPTIONS / HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\nMax-Forwards: 0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"GET /?miosa_token=x HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\nAuthorization: Bearer msk_live_x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\nCookie: __Host-miosa-preview=x\r\n\r\n",
    b"GET /.well-known/miosa/arrive?code=x HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\nAccept: text/html\r\n\r\n",
    b"POST /.well-known/miosa/arrive HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\nContent-Length: 0\r\n\r\n",
    b"GET /.well-known/miosa/arrive HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\nEarly-Data: 1\r\n\r\n",
    b"POST /.well-known/miosa/password HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: https\r\nContent-Length: 0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Miosa-Plain-HTTP: redirect\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Miosa-Plain-HTTP: redirect:8443\r\nX-Miosa-Preview-Token: "
    + TOKEN
    + b"\r\n\r\n",
]


@pytest.mark.parametrize("state", ["running", "starting", "stopped", "destroyed", "suspended"])
@pytest.mark.parametrize("request_bytes", STRANGERS)
async def test_a_hidden_preview_is_no_preview(edge: RunningEdge, request_bytes: bytes, state: str) -> None:
    """What strangers hear of it is to the byte what they hear of a host that does not exist, whatever it does."""
    changes: dict[str, Any] = {"suspended": True} if state == "suspended" else {"state": State(state)}
    policy = policies(secret("ci"), hide=True, login=True)
    edge.backend("shop", policies=policy, branding={"name": "Acme"}, **changes)
    assert await heard(edge, request_bytes, b"shop.miosa.app") == await heard(edge, request_bytes, b"gone.miosa.app")


async def test_a_hidden_preview_opens(edge: RunningEdge) -> None:
    """To those who have what opens it; those who had it hear that they had it."""
    backend = edge.backend(
        "shop", policies=policies(secret("ci"), secret("old", revoked=True), secret("past", until=5.0), hide=True)
    )
    _, got = await both(edge, backend, b"X-Miosa-Preview-Token: " + TOKEN)
    assert got.status == 200
    for one, code in (("old", b"token_revoked"), ("past", b"token_expired")):
        refused = await ask(edge, b"X-Miosa-Preview-Token: " + plain(one).encode())
        assert (refused.status, refused.get(b"x-miosa-error")) == (403, code)


# States, plain HTTP, addresses.


@pytest.mark.parametrize("state", ["starting", "stopped", "destroyed"])
async def test_a_state_is_told_to_those_who_may_come_in(edge: RunningEdge, state: str) -> None:
    """Strangers hear that it is private, and no more."""
    edge.backend("shop", policies=policies(secret("ci")), state=State(state))
    stranger = await ask(edge)
    assert (stranger.status, stranger.get(b"x-miosa-error")) == (401, b"token_missing")
    friend = await ask(edge, b"X-Miosa-Preview-Token: " + TOKEN)
    assert friend.get(b"x-miosa-error") == {"destroyed": b"resource_deleted"}.get(state, state.encode())


async def test_without_tls_everybody_is_sent_on_to_it(edge: RunningEdge) -> None:
    """As for public previews; a secret is not looked at there."""
    private(edge)
    client = await edge.client(FRONT)
    await client.send(b"GET /a?b HTTP/1.1\r\nHost: shop.miosa.app\r\nX-Miosa-Plain-HTTP: redirect\r\n\r\n")
    got = await client.read_response()
    assert (got.status, got.get(b"location")) == (308, b"https://shop.miosa.app/a?b")


@pytest.mark.parametrize("visibility", ["public", "private"])
@pytest.mark.parametrize(
    ("address", "allowed"),
    [(b"10.1.2.3", True), (b"10.2.0.1", False), (b"2001:db8::1", True), (b"2001:db9::1", False), (b"127.0.0.9", False)],
)
async def test_addresses(edge: RunningEdge, visibility: str, address: bytes, allowed: bool) -> None:
    """By the one that trusted proxies vouch for; without one in the list a token does not help."""
    networks = ("10.1.0.0/16", "2001:db8::/32")
    backend = edge.backend("shop", policies=policies(secret("ci"), visibility=visibility, networks=networks))
    token = b"X-Miosa-Preview-Token: " + TOKEN
    if allowed:
        _, got = await both(edge, backend, token, b"X-Forwarded-For: " + address)
        assert got.status == 200
    else:
        got = await ask(edge, token, b"X-Forwarded-For: " + address)
        assert (got.status, got.get(b"x-miosa-error")) == (403, b"address_not_allowed")
    liar = await ask(edge, token, b"X-Forwarded-For: 10.1.2.3", source=OUTSIDE)
    assert (liar.status, liar.get(b"x-miosa-error")) == (403, b"address_not_allowed")


# Cross-origin requests.


PREFLIGHT = (b"Access-Control-Request-Method: PUT", b"Access-Control-Request-Headers: x-miosa-preview-token")
FRIEND = b"https://app.example"


@pytest.mark.parametrize(
    ("cors", "visibility", "origin", "expected"),
    [
        ("passthrough", "private", FRIEND, (204, FRIEND, None)),
        ("passthrough", "key", FRIEND, (204, FRIEND, None)),
        ("allowlist", "private", FRIEND, (204, FRIEND, b"true")),
        ("allowlist", "private", b"https://APP.example", (204, b"https://APP.example", b"true")),
        ("allowlist", "private", b"https://evil.example", (403, b"https://evil.example", b"true")),
        ("allowlist", "public", FRIEND, (204, FRIEND, b"true")),
        ("same-owner", "private", b"https://cart.miosa.app", (204, b"https://cart.miosa.app", b"true")),
        ("same-owner", "private", b"https://rival.miosa.app", (403, b"https://rival.miosa.app", b"true")),
        ("same-owner", "private", b"https://none.miosa.app", (403, b"https://none.miosa.app", b"true")),
        ("same-owner", "private", b"http://cart.miosa.app", (403, b"http://cart.miosa.app", b"true")),
        ("same-owner", "private", b"null", (403, b"null", None)),
    ],
)
async def test_preflights_are_answered_by_the_edge(
    edge: RunningEdge, cors: str, visibility: str, origin: bytes, expected: tuple[int, bytes, bytes | None]
) -> None:
    """They bring nothing, and never reach the program."""
    settings = {"cors": Cors(cors), "origins": ("https://app.example",)}
    backend = edge.backend("shop", policies=policies(secret("ci"), visibility=visibility, **settings))
    edge.put(resource("cart"), resource("rival", tenant_id="rival"))
    got = await ask(edge, b"Origin: " + origin, *PREFLIGHT, method=b"OPTIONS")
    said = (
        got.status,
        got.get(b"access-control-allow-origin"),
        got.get(b"access-control-allow-credentials"),
    )
    assert said == expected
    if got.status == 204:
        assert got.get(b"access-control-allow-methods") == b"PUT"
        assert got.get(b"access-control-allow-headers") == b"x-miosa-preview-token"
    assert not backend.has_visitor()


async def test_a_public_previews_preflights_are_its_programs(edge: RunningEdge) -> None:
    """With `passthrough`, where only its time is limited."""
    backend = edge.backend("shop", policies=policies(visibility="public", until=FAR))
    request, _ = await both(edge, backend, b"Origin: https://a.b", *PREFLIGHT, method=b"OPTIONS")
    assert request.get(b"origin") == b"https://a.b"


@pytest.mark.parametrize(
    ("cors", "origin", "own", "added"),
    [
        ("passthrough", FRIEND, b"", []),
        ("allowlist", FRIEND, b"", [FRIEND]),
        ("allowlist", b"https://evil.example", b"", []),
        ("allowlist", FRIEND, b"Access-Control-Allow-Origin: *\r\n", [b"*"]),
        ("same-owner", b"https://cart.miosa.app", b"", [b"https://cart.miosa.app"]),
        ("same-owner", b"https://rival.miosa.app", b"", []),
    ],
)
async def test_who_may_read_a_response(
    edge: RunningEdge, cors: str, origin: bytes, own: bytes, added: list[bytes]
) -> None:
    """What the owner has set is added where the program says nothing; its own headers win."""
    settings = {"cors": Cors(cors), "origins": ("https://app.example",)}
    backend = edge.backend("shop", policies=policies(secret("ci"), **settings))
    edge.put(resource("cart"), resource("rival", tenant_id="rival"))
    response = b"HTTP/1.1 200 OK\r\n" + own + b"Content-Length: 2\r\n\r\nhi"
    async with backend.serving(response):
        for _ in range(3):  # a head that comes again is remembered, and belongs to all
            got = await ask(edge, b"X-Miosa-Preview-Token: " + TOKEN, b"Origin: " + origin)
            assert got.all(b"access-control-allow-origin") == added
            assert got.all(b"vary") == ([] if own or cors == "passthrough" else [b"Origin"])
        plain_request = await ask(edge, b"X-Miosa-Preview-Token: " + TOKEN)
        assert plain_request.all(b"access-control-allow-origin") == ([b"*"] if own else [])


async def test_a_refusal_can_be_read_by_a_script(edge: RunningEdge) -> None:
    """With the code, also where the request was sent with credentials."""
    private(edge)
    got = await ask(edge, b"Origin: https://a.b", b"Sec-Fetch-Mode: cors")
    assert got.get(b"access-control-allow-origin") == b"https://a.b"
    assert got.get(b"access-control-allow-credentials") == b"true"
    assert b"X-Miosa-Error" in (got.get(b"access-control-expose-headers") or b"")


# Secrets stay secret.


async def test_nothing_of_a_secret_is_told(edge: RunningEdge) -> None:
    """Not in the access line, the log, the Referer that the program sees, or a page of ours."""
    backend = private(edge)
    referer = b"https://shop.miosa.app/a?miosa_token=" + LINK + b"&b=1"
    request, _ = await both(edge, backend, b"Referer: " + referer, target=b"/a?X-Miosa-Preview-Token=" + TOKEN)
    assert request.get(b"referer") == b"https://shop.miosa.app/a?b=1"
    for target in (b"/?miosa_token=" + LINK, b"/?miosa_token=" + WRONG, b"/?miosa_token=" + ONCE):
        got = await ask(edge, b"Accept: text/html", target=target)
        assert not any(one in got.body for one in (LINK, WRONG, ONCE))
    shown = (
        b"".join(form.render(edge.finished, 0.0) for form in (JsonLines(), TextLines(colours=False)))
        + repr(edge.logs).encode()
    )
    assert b"miosa_token=***" in shown
    assert not any(one in shown for one in (TOKEN, LINK, WRONG, ONCE))
