"""A cache in front of us keeps nothing of a preview that is for some visitors only."""

import pytest

from router.routes.policies import Cors
from tests.support.access import API_KEY, FAR, MemoryKeys, api_key, cookie, grant, plain, policies, secret
from tests.support.edge import FRONT, RunningEdge
from tests.support.http2_peer import Http2Peer
from tests.support.wire import Message
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

PUBLIC = b"Cache-Control: public, max-age=31536000, immutable\r\n"
TOKEN = b"X-Miosa-Preview-Token: " + plain("ci").encode()

# The response to which method → its Cache-Control as a browser gets it.
RESPONSES = [
    (b"GET", b"200 OK\r\nContent-Length: 2\r\n\r\nhi", [b"private"]),
    (b"HEAD", b"200 OK\r\nContent-Length: 2\r\n\r\n", [b"private"]),
    (b"GET", b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", [b"private"]),
    (b"GET", b"304 Not Modified\r\nETag: a\r\n\r\n", [b"private"]),
    (b"GET", b"304 Not Modified\r\n" + PUBLIC + b"\r\n", [b"private, max-age=31536000, immutable"]),
    (b"GET", b"301 Moved\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n", [b"private"]),
    (b"GET", b"404 Not Found\r\nContent-Length: 2\r\n\r\nhi", [b"private"]),
    (b"GET", b"200 OK\r\n" + PUBLIC + b"Content-Length: 2\r\n\r\nhi", [b"private, max-age=31536000, immutable"]),
    (b"GET", b"200 OK\r\nCache-Control: s-maxage=9\r\nContent-Length: 2\r\n\r\nhi", [b"private"]),
    (b"GET", b"200 OK\r\nCDN-Cache-Control: public\r\nContent-Length: 2\r\n\r\nhi", [b"private"]),
    (b"GET", b"200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nhi", [b"no-store"]),
    (b"GET", b"200 OK\r\nCache-Control: private,max-age=5\r\nContent-Length: 2\r\n\r\nhi", [b"private,max-age=5"]),
]


async def ask(edge: RunningEdge, line: bytes, method: bytes = b"GET") -> Message:
    client = await edge.client(FRONT)
    await client.send(
        method + b" / HTTP/1.1\r\nHost: shop.miosa.app\r\nX-Forwarded-Proto: https\r\n" + line + b"\r\n\r\n"
    )
    return await client.read_response(method)


@pytest.mark.parametrize(("method", "response", "said"), RESPONSES)
async def test_a_private_preview(build_edge: BuildEdge, method: bytes, response: bytes, said: list[bytes]) -> None:
    """However the visitor came in, and however often the program says the same: what is for browsers alone says so."""
    keys = MemoryKeys()
    keys.put(API_KEY, api_key(), known=True)
    edge = await build_edge(access=keys)
    backend = edge.backend("shop", policies=policies(secret("ci"), secret("mail", "link")))
    by_cookie = cookie(grant("mail", port=backend.port), keys.stored_signing)
    async with backend.serving(b"HTTP/1.1 " + response):
        for line in (TOKEN, by_cookie, b"Authorization: Bearer " + API_KEY.encode()):
            for _ in range(3):
                got = await ask(edge, line, method)
                assert got.all(b"cache-control") == said
                assert got.get(b"cdn-cache-control") is None


@pytest.mark.parametrize(("method", "response", "said"), RESPONSES)
@pytest.mark.parametrize("limits", [{}, policies(visibility="public", until=FAR, cors=Cors.SAME_OWNER)])
async def test_a_public_preview(
    edge: RunningEdge, method: bytes, response: bytes, said: list[bytes], limits: dict[str, object]
) -> None:
    """It says what its program says, also where its time or its scripts are limited."""
    backend = edge.backend("shop", policies=limits)
    async with backend.serving(b"HTTP/1.1 " + response):
        got = await ask(edge, TOKEN, method)
    lines = response.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert got.all(b"cache-control") == [line[15:] for line in lines if line.startswith(b"Cache-Control: ")]


async def test_a_preview_of_some_networks(edge: RunningEdge) -> None:
    """Others could read it in a cache, though nobody needs a secret."""
    backend = edge.backend("shop", policies=policies(visibility="public", networks=("127.0.0.0/8",)))
    async with backend.serving(b"HTTP/1.1 200 OK\r\n" + PUBLIC + b"Content-Length: 0\r\n\r\n"):
        got = await ask(edge, b"A: b")
    assert got.all(b"cache-control") == [b"private, max-age=31536000, immutable"]


async def test_one_head_for_all(edge: RunningEdge) -> None:
    """A public and a private preview whose programs say the same to the byte are told apart, in either order."""
    backend = edge.backend("shop", policies=policies(secret("ci")))
    other = edge.backend("cart")
    response = b"HTTP/1.1 200 OK\r\n" + PUBLIC + b"Content-Length: 0\r\n\r\n"
    async with backend.serving(response), other.serving(response):
        for _ in range(3):
            got = await ask(edge, TOKEN)
            assert got.all(b"cache-control") == [b"private, max-age=31536000, immutable"]
            client = await edge.client(FRONT)
            await client.send(b"GET / HTTP/1.1\r\nHost: cart.miosa.app\r\n\r\n")
            assert (await client.read_response()).all(b"cache-control") == [b"public, max-age=31536000, immutable"]


async def test_over_http2(edge: RunningEdge) -> None:
    """The same."""
    backend = edge.backend("shop", policies=policies(secret("ci")))
    client = await Http2Peer(await edge.client(FRONT), client=True).start()
    async with backend.serving(b"HTTP/1.1 200 OK\r\n" + PUBLIC + b"Content-Length: 2\r\n\r\nhi"):
        stream = await client.request(
            *((b"x-forwarded-proto", b"https"), (b"x-miosa-preview-token", plain("ci").encode())), method=b"GET"
        )
        got = await client.whole(stream)
    assert (got.status, got.get(b"cache-control")) == (200, b"private, max-age=31536000, immutable")
