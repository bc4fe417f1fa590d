"""Who may open a preview that is not public: what the backend saw of each request, and what the visitor heard."""

from typing import Any

import pytest

from router.access.cookies import NAME
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
from tests.support.edge import FRONT, RunningEdge
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
