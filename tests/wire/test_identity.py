"""`X-Miosa-Identity`: what programs are told of their visitors, by us alone, and over every protocol."""

from typing import Any

import jwt
import pytest

from router.access.identity_signer import IdentitySigner
from router.access.tokens import Claims
from router.routes.records import ResourceRecord
from tests.support.access import (
    API_KEY,
    MemoryKeys,
    api_key,
    identity_keys,
    plain,
    policies,
    policy,
    public_key,
    secret,
)
from tests.support.edge import FRONT, OUTSIDE, RunningEdge, until
from tests.support.http2_peer import Http2Peer
from tests.support.records import claim, name, zone
from tests.support.wire import Backend, Message
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
SWITCH = b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
HTTPS = b"X-Forwarded-Proto: https\r\n"
HOST = "shop.miosa.app"
SECRETS = (secret("ci"), secret("mail", "link"))
TOKEN = b"X-Miosa-Preview-Token: " + plain("ci").encode()
BEARER = b"Authorization: Bearer " + API_KEY.encode()
JWT = "a.b.c"
FORGED = (
    b"X-Miosa-Identity: forged",
    b"x-miosa-identity: forged",
    b"X-MIOSA-IDENTITY:forged",
    b"X_Miosa_Identity: forged",
    b"X-Miosa_Identity: forged",
    b"x.miosa.identity: forged",
    b"HTTP_X_MIOSA_IDENTITY_: mine",  # a name of the program's own: it ends otherwise
)


def put(edge: RunningEdge, *, identity: bool = True, visibility: str = "private", **changes: Any) -> Backend:
    """The shop, whose program is told who its visitors are."""
    return edge.backend("shop", policies=policies(*SECRETS, visibility=visibility, identity=identity, **changes))


async def heard(
    edge: RunningEdge,
    seen: list[Message],
    *lines: bytes,
    host: str = HOST,
    source: str = FRONT,
    method: bytes = b"GET",
    body: bytes = b"",
) -> Message:
    """What the program hears of one request: `seen` are all that it has heard."""
    client = await edge.client(source)
    head = b"%b /a HTTP/1.1\r\nHost: %b\r\n" % (method, host.encode()) + HTTPS
    before = len(seen)
    await client.send(head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body)
    assert (await client.read_response(method)).status == 200
    client.close()
    (request,) = seen[before:]
    return request


def verified(keys: MemoryKeys, token: bytes, host: str = HOST) -> dict[str, Any]:
    """The claims, as a program reads them that knows its own host and our public keys."""
    kid = jwt.get_unverified_header(token)["kid"]
    (key,) = [key for key in keys.stored_identity.keys.keys if key.id == kid]
    claims: dict[str, Any] = jwt.decode(
        token, public_key(key), ["ES256"], audience=host, issuer="https://edge.example/tenants/acme"
    )
    return claims


def told(request: Message) -> bytes:
    (token,) = request.all(b"x-miosa-identity")
    return token


async def test_who_it_is(build_edge: BuildEdge) -> None:
    """By each way in, to a program that verifies it."""
    keys = MemoryKeys()
    keys.put(API_KEY, api_key())
    keys.tokens[JWT] = Claims("ada", "acme", "tenant", 4e9)
    edge = await build_edge(access=keys)
    backend = put(edge)
    async with backend.serving(OK) as seen:
        for line, how, sub in (
            (TOKEN, "token", "token:ci"),
            (b"X-Miosa-Preview-Token: " + plain("mail", "link").encode(), "link", "link:mail"),
            (BEARER, "api_key", "api_key:key-1"),
            (b"Authorization: Bearer " + JWT.encode(), "jwt", "jwt:ada"),
        ):
            claims = verified(keys, told(await heard(edge, seen, line)))
            assert (claims["how"], claims["sub"], claims["aud"]) == (how, sub, HOST)
            assert (claims["tenant"], claims["resource"], claims["port"]) == ("acme", "id-of-shop", backend.port)
            assert claims["exp"] - claims["iat"] == 300


async def test_everybody_is_told_of_as_nobody(build_edge: BuildEdge) -> None:
    """On a public preview: the header is there, with no `sub`, whatever was brought."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = put(edge, visibility="public")
    async with backend.serving(OK) as seen:
        for lines in ((), (TOKEN,), (BEARER,)):
            claims = verified(keys, told(await heard(edge, seen, *lines)))
            assert (claims["how"], claims.get("sub"), claims.get("email")) == ("public", None, None)


@pytest.mark.parametrize("visibility", ["public", "private"])
@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("source", [FRONT, OUTSIDE])
async def test_nobody_else_says_it(build_edge: BuildEdge, visibility: str, identity: bool, source: str) -> None:
    """A copy that a visitor or a proxy in front of us sends is removed in each spelling that programs read as that name, on
    every host: one without a policy too. Ours is there once where it is wanted, and never otherwise."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = put(edge, visibility=visibility, identity=identity)
    async with backend.serving(OK) as seen:
        for lines in ((TOKEN, *FORGED), (*FORGED, TOKEN, b"Connection: X-Miosa-Identity"), (TOKEN, *FORGED)):
            request = await heard(edge, seen, *lines, source=source)
            assert b"forged" not in request.raw_head
            names = [spelling for spelling in request.names() if b"dentity" in spelling.lower().replace(b"_", b"-")]
            assert names == [b"HTTP_X_MIOSA_IDENTITY_", *([b"X-Miosa-Identity"] if identity else [])]
            if identity:
                verified(keys, told(request))


async def test_not_in_trailers(build_edge: BuildEdge) -> None:
    """A program may take trailers for headers: what came there is removed as well."""
    edge = await build_edge(access=MemoryKeys(), whole_body=0)
    backend = put(edge)
    body = b"1\r\nx\r\n0\r\n" + b"".join(line + b"\r\n" for line in FORGED) + b"X-Kept: 1\r\n\r\n"
    client = await edge.client(FRONT)
    lines = b"TE: trailers\r\nTransfer-Encoding: chunked\r\n" + HTTPS + TOKEN
    await client.send(b"POST / HTTP/1.1\r\nHost: shop.miosa.app\r\n" + lines + b"\r\n\r\n" + body)
    end = await backend.accept()
    raw = await end.read_until(b"X-Kept: 1\r\n\r\n")
    assert (raw.count(b"X-Miosa-Identity: "), raw.count(b"forged")) == (1, 0)
    await end.send(OK)
    assert (await client.read_response()).status == 200


async def test_a_tunnel(build_edge: BuildEdge) -> None:
    """The offer of an upgrade says it; a tunnel that is open keeps what it was told."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = put(edge)
    client = await edge.client(FRONT)
    offer = b"GET /ws HTTP/1.1\r\nHost: shop.miosa.app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + HTTPS
    await client.send(offer + b"".join(line + b"\r\n" for line in (TOKEN, *FORGED)) + b"\r\n")
    end, request = await backend.answer(SWITCH)
    assert verified(keys, told(request))["sub"] == "token:ci"
    assert b"forged" not in request.raw_head
    assert (await client.read_head()).status == 101
    edge.advance(600)
    await end.send(b"still here")
    assert await client.read_exactly(10) == b"still here"
    client.close()
    end.close()
    await edge.settled()


async def test_http2(build_edge: BuildEdge) -> None:
    """On either side: a call of gRPC says it, once, and what the caller says of it is removed."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = edge.backend("shop")
    edge.point("shop", backend, protocols={backend.port: "h2c"}, policies=policies(*SECRETS, identity=True))
    client = await Http2Peer(await edge.client(FRONT), client=True).start()
    stream = await client.request(
        *((b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"x-forwarded-proto", b"https")),
        *((b"x-miosa-identity", b"forged"), (b"x_miosa_identity", b"forged")),
        (b"x-miosa-preview-token", plain("ci").encode()),
        path=b"/pkg.Service/Call",
        body=b"\0\0\0\0\2hi",
    )
    server = await Http2Peer(await backend.accept(), client=False).start()
    call = await server.whole(await server.until_new())
    assert b"forged" not in repr(call.fields).encode()
    (token,) = [value for field, value in call.fields if b"identity" in field]
    assert verified(keys, token)["sub"] == "token:ci"
    await server.respond(1, (b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"0"))
    await client.whole(stream)


async def test_each_host_has_its_own(build_edge: BuildEdge) -> None:
    """Of one resource with three names and two ports: a token for one is refused by what checks `aud` as another. Spellings of
    one host are one."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    first, second = Backend(), Backend()
    edge._backends += [first, second]
    edge.point("shop", first, policies={0: policy(*SECRETS, identity=True)}, exposed_ports=frozenset({second.port}))
    record = (await edge.records.fetch(["slug:shop"]))["slug:shop"]
    assert isinstance(record, ResourceRecord)
    edge.put(name("www.shop.example", record), zone("acme.dev", claim("tenant", "acme")))
    seen = set()
    async with first.serving(OK) as of_first, second.serving(OK) as of_second:
        for host, port, requests in (
            (HOST, first.port, of_first),
            ("www.shop.example", first.port, of_first),
            ("shop.acme.dev", first.port, of_first),
            (f"{second.port}-shop.sandbox.miosa.app", second.port, of_second),
        ):
            for spelling in (host, host.upper() + ".:443"):
                token = told(await heard(edge, requests, TOKEN, host=spelling))
                claims = verified(keys, token, host)
                assert (claims["aud"], claims["port"]) == (host, port)
                seen.add(token)
            if host != HOST:
                with pytest.raises(jwt.InvalidAudienceError):
                    verified(keys, token)
    assert len(seen) == 4, "signed once for each"


async def test_a_program_that_is_told_another_host(build_edge: BuildEdge) -> None:
    """Hears who its visitor is all the same; the host in it is the one that was asked for."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = Backend()
    edge._backends.append(backend)
    edge.point("shop", backend, policies=policies(*SECRETS, identity=True), host_modes={backend.port: "localhost"})
    async with backend.serving(OK) as seen:
        request = await heard(edge, seen, TOKEN)
        assert request.get(b"host") == b"localhost:%d" % backend.port
        assert verified(keys, told(request))["aud"] == HOST


async def test_signed_once_in_two_minutes(build_edge: BuildEdge) -> None:
    """For each visitor, whatever connection they come over; the next is as fresh."""
    edge = await build_edge(access=MemoryKeys())
    backend = put(edge)
    async with backend.serving(OK) as seen:
        first = told(await heard(edge, seen, TOKEN))
        assert told(await heard(edge, seen, TOKEN, source=OUTSIDE)) == first
        edge.advance(121)
        await until(lambda: True)
        second = told(await heard(edge, seen, TOKEN))
        assert second != first


async def test_never_without(build_edge: BuildEdge) -> None:
    """Where the keys can't be read it is a fault of ours: the program is not asked, and hosts without it go on."""
    keys = MemoryKeys()
    keys.down = True
    edge = await build_edge(access=keys)
    backend = put(edge)
    other = edge.backend("cart", policies=policies(*SECRETS))
    client = await edge.client(FRONT)
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n" + HTTPS + TOKEN + b"\r\n\r\n")
    refused = await client.read_response()
    assert (refused.status, refused.get(b"x-miosa-error")) == (503, b"resolver_unavailable")
    async with other.serving(OK) as seen:
        await heard(edge, seen, TOKEN, host="cart.miosa.app")
    keys.down = False
    async with backend.serving(OK) as seen:
        assert told(await heard(edge, seen, TOKEN))


async def test_a_key_that_was_replaced_signs_nothing_more(build_edge: BuildEdge) -> None:
    """Also for those whose token was signed a moment ago."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys)
    backend = put(edge)
    async with backend.serving(OK) as seen:
        before = told(await heard(edge, seen, TOKEN))
        keys.identity = keys.stored_identity = IdentitySigner(identity_keys("next"), "https://edge.example")
        after = told(await heard(edge, seen, TOKEN))
        assert (jwt.get_unverified_header(before)["kid"], jwt.get_unverified_header(after)["kid"]) == (
            "identity",
            "next",
        )
        keys.identity = keys.stored_identity = IdentitySigner(identity_keys("old", until=1.0), "https://edge.example")
        client = await edge.client(FRONT)
        await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n" + HTTPS + TOKEN + b"\r\n\r\n")
        assert (await client.read_response()).status == 503


async def test_in_the_queue(build_edge: BuildEdge) -> None:
    """Who waited for a place while the program moved is told of once; and no more where its owner has ended that meanwhile."""
    for identity in (True, False):
        edge = await build_edge(access=MemoryKeys(), exchanges_per_resource=1)
        backend, other = put(edge), edge.backend("cart")
        first, second = [await edge.client(FRONT) for _ in range(2)]
        request = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n" + HTTPS + TOKEN + b"\r\n\r\n"
        await first.send(request)
        end, _ = await backend.request()
        await second.send(request)
        await until(lambda edge=edge: edge.proxy._worker.queues.waiting == 1)  # type: ignore[misc]
        moved = {"default_port": backend.port, "ports": {backend.port: other.port}}
        edge.point("shop", other, "boot-2", policies=policies(*SECRETS, identity=identity), **moved)
        await edge.turns()
        end.close()
        _, asked = await other.answer(OK)
        assert len(asked.all(b"x-miosa-identity")) == identity
        assert (await second.read_response()).status == 200
