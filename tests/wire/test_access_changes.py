"""What ends when who may open a preview changes: streams, tunnels and requests that are under way."""

import time
from dataclasses import replace
from typing import Any

import pytest

from router.access.ci_tokens import CiOutcome, CiVerdict
from router.access.tokens import Claims
from router.base.preview_secrets import digest
from router.routes.policies import AccessPolicy, Visibility
from router.routes.records import SessionRecord
from tests.support.access import (
    API_KEY,
    MemoryKeys,
    api_key,
    ci_rule,
    ci_token,
    cookie,
    grant,
    plain,
    policies,
    secret,
    session,
    signing,
)
from tests.support.edge import FRONT, RunningEdge, until
from tests.support.wire import Backend, End, Ended
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

HTTPS = b"X-Forwarded-Proto: https\r\n"
SWITCH = b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nOrigin: https://shop.miosa.app\r\n"
TOKEN = b"X-Miosa-Preview-Token: " + plain("ci").encode()
BEARER = b"Authorization: Bearer " + API_KEY.encode()
JWT = "a.b.c"
JOB = ci_token("job")
SECRETS = (secret("ci"), secret("mail", "link"), secret("once", "once", used=True))


async def stream(edge: RunningEdge, backend: Backend, line: bytes) -> tuple[End, End]:
    """An event stream whose visitor has brought `line`: the visitor's end and the program's."""
    client = await edge.client(FRONT)
    await client.send(b"GET /events HTTP/1.1\r\nHost: shop.miosa.app\r\n" + HTTPS + line + b"\r\n\r\n")
    end = await backend.accept()
    await end.read_request()
    await end.send(STREAM)
    await client.read_until(b"one\r\n")
    return client, end


async def tunnel(edge: RunningEdge, backend: Backend, line: bytes) -> tuple[End, End]:
    """A tunnel of such a visitor."""
    client = await edge.client(FRONT)
    await client.send(b"GET /ws HTTP/1.1\r\nHost: shop.miosa.app\r\n" + HTTPS + UPGRADE + line + b"\r\n\r\n")
    end = await backend.accept()
    await end.read_request()
    await end.send(SWITCH)
    assert (await client.read_head()).status == 101
    return client, end


async def goes_on(client: End, end: End) -> None:
    """Bytes still pass from the program to the visitor."""
    await end.send(b"3\r\ntwo\r\n")
    await client.read_until(b"two\r\n")


async def has_ended(client: End) -> None:
    """The stream was cut, which no client takes for its end; a tunnel is closed."""
    assert b"0\r\n\r\n" not in await client.read_until_gone()


def by_cookie(backend: Backend, keys: MemoryKeys, name: str, **changes: Any) -> bytes:
    return cookie(grant(name, port=backend.port, **changes), keys.stored_signing)


def revoked(name: str) -> dict[int, AccessPolicy]:
    return policies(*[replace(one, revoked=one.id == name) for one in SECRETS])


# What came in by → the policy after the change, and whether it may stay.
CHANGES: list[tuple[str, dict[int, AccessPolicy], bool]] = [
    ("ci", revoked("ci"), False),
    ("ci", revoked("mail"), True),
    ("ci", policies(SECRETS[1]), False),
    ("ci", policies(*SECRETS, generation=1), True),
    ("ci", policies(*SECRETS, visibility="key"), True),
    ("ci", policies(*SECRETS, visibility="tenant"), True),
    ("ci", {}, True),
    ("ci", policies(*SECRETS, until=5.0), False),
    ("ci", policies(*SECRETS, networks=("10.0.0.0/8",)), False),
    ("ci", policies(*SECRETS, networks=("127.0.0.0/8",)), True),
    ("mail", revoked("mail"), False),
    ("mail", revoked("ci"), True),
    ("mail", policies(*SECRETS, generation=1), False),
    ("mail", policies(*SECRETS, visibility="key"), False),
    ("mail", {}, True),
    ("once", policies(*SECRETS), True),
    ("once", revoked("once"), False),
    ("key", policies(*SECRETS, generation=1), True),
    ("key", policies(*SECRETS, visibility="key"), True),
    ("jwt", policies(*SECRETS, generation=1), True),
    ("ses_ada", policies(login=True, hide=True), True),
    ("ses_ada", policies(login=True, visibility="tenant"), True),
    ("ses_ada", policies(login=True, generation=1), False),
    ("ses_ada", policies(*SECRETS), False),
    ("ses_ada", policies(visibility="key"), False),
    ("ses_ada", {}, True),
    ("job", policies(*SECRETS, issuers=(ci_rule(), ci_rule("another")), visibility="key"), True),
    ("job", policies(issuers=(ci_rule(),), generation=1, hide=True), True),
    ("job", policies(*SECRETS), False),
    ("job", policies(*SECRETS, issuers=(ci_rule("another"),)), False),
    ("job", policies(*SECRETS, issuers=(ci_rule(generation=2),)), False),
    ("job", {}, True),
]


@pytest.mark.parametrize("opens", [stream, tunnel])
@pytest.mark.parametrize(("way", "after", "stays"), CHANGES)
async def test_a_change_of_the_policy(
    build_edge: BuildEdge, way: str, after: dict[int, AccessPolicy], stays: bool, opens: Any
) -> None:
    """Whoever may not open it any more is out at once; the others do not notice."""
    keys = MemoryKeys()
    keys.put(API_KEY, api_key(), known=True)
    keys.put_session(session(), known=True)
    keys.tokens[JWT] = Claims("me", "acme", "tenant", time.time() + 3600)
    edge = await build_edge(access=keys)
    backend = edge.backend("shop", policies=policies(*SECRETS, login=True, issuers=(ci_rule(),)))
    keys.ci_tokens["acme", JOB] = CiVerdict(CiOutcome.ACCEPTED, (("job", 1),), "repo:acme/shop", time.time() + 3600)
    bearers = {"key": API_KEY, "jwt": JWT, "job": JOB}
    line = TOKEN if way == "ci" else b"Authorization: Bearer " + bearers[way].encode() if way in bearers else None
    client, end = await opens(edge, backend, line or by_cookie(backend, keys, way))
    edge.point("shop", backend, policies=after)
    if stays:
        await edge.turns()
        await goes_on(client, end)
    else:
        await has_ended(client)


@pytest.mark.parametrize("opens", [stream, tunnel])
@pytest.mark.parametrize("after", [policies(), policies(visibility="key"), policies(visibility="tenant")])
async def test_public_becomes_private(edge: RunningEdge, opens: Any, after: dict[int, AccessPolicy]) -> None:
    """Those who came in without anything leave."""
    backend = edge.backend("shop")
    client, _ = await opens(edge, backend, b"X-A: b")
    edge.point("shop", backend, policies=after)
    await has_ended(client)


async def test_a_request_that_waits_for_its_response(edge: RunningEdge) -> None:
    """Its visitor hears why, by the code that a new request would get."""
    backend = edge.backend("shop", policies=policies(secret("ci")))
    client = await edge.client(FRONT)
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n" + HTTPS + TOKEN + b"\r\n\r\n")
    end = await backend.accept()
    await end.read_request()
    edge.point("shop", backend, policies=policies(secret("ci", revoked=True)))
    got = await client.read_response()
    assert (got.status, got.get(b"x-miosa-error")) == (403, b"token_revoked")


@pytest.mark.parametrize("opens", [stream, tunnel])
@pytest.mark.parametrize(
    ("now_is", "way"),
    [
        (None, "key"),
        (api_key(revoked=True), "key"),
        (api_key(until=5.0), "key"),
        (api_key(tenant_id="other"), "key"),
        (api_key(scope="project", scope_id="acme-p2"), "key"),
    ],
)
async def test_an_api_key_that_ends(build_edge: BuildEdge, now_is: Any, way: str, opens: Any) -> None:
    """What came in by it ends, what came in by a token does not."""
    keys = MemoryKeys()
    keys.put(API_KEY, api_key(), known=True)
    edge = await build_edge(access=keys)
    backend = edge.backend("shop", policies=policies(*SECRETS))
    client, _ = await opens(edge, backend, BEARER)
    other, end = await opens(edge, backend, TOKEN)
    keys.put(API_KEY, now_is)
    await has_ended(client)
    await goes_on(other, end)


async def test_an_api_key_that_changed_otherwise(build_edge: BuildEdge) -> None:
    """It is looked up again, and its stream goes on."""
    keys = MemoryKeys()
    keys.put(API_KEY, api_key(), known=True)
    edge = await build_edge(access=keys)
    backend = edge.backend("shop", policies=policies(*SECRETS))
    client, end = await stream(edge, backend, BEARER)
    keys.put(API_KEY, api_key(version=2))
    await until(lambda: keys.looked_up == [digest(API_KEY)])
    await edge.turns()
    await goes_on(client, end)


async def test_an_api_key_while_the_store_is_away(build_edge: BuildEdge) -> None:
    """Nobody is thrown out by a fault of ours; as soon as the store says so they are."""
    keys = MemoryKeys()
    keys.put(API_KEY, api_key(), known=True)
    edge = await build_edge(access=keys)
    backend = edge.backend("shop", policies=policies(*SECRETS))
    client, end = await stream(edge, backend, BEARER)
    keys.down = True
    keys.put(API_KEY, None)
    await edge.turns()
    await goes_on(client, end)
    keys.down = False
    await has_ended(client)


@pytest.mark.parametrize("opens", [stream, tunnel])
@pytest.mark.parametrize("now_is", [None, session(revoked=True), session(until=5.0), session(tenant_id="other")])
async def test_a_session_that_ends(build_edge: BuildEdge, now_is: SessionRecord | None, opens: Any) -> None:
    """What came in by it ends, what came in by another's does not; and so does one that changed otherwise."""
    keys = MemoryKeys()
    for name in ("ses_ada", "ses_bob"):
        keys.put_session(session(name), known=True)
    edge = await build_edge(access=keys)
    backend = edge.backend("shop", policies=policies(login=True))
    client, _ = await opens(edge, backend, by_cookie(backend, keys, "ses_ada"))
    other, end = await opens(edge, backend, by_cookie(backend, keys, "ses_bob"))
    assert keys.uses == [("ses_ada", False), ("ses_bob", False)], "their last use is noted"
    keys.put_session(session("ses_bob", version=2))
    if now_is is None:
        keys.forget_session("ses_ada")
    else:
        keys.put_session(now_is)
    await has_ended(client)
    await until(lambda: "ses_bob" in keys.looked_up)
    await goes_on(other, end)


async def test_a_session_while_the_store_is_away(build_edge: BuildEdge) -> None:
    """Who is in stays in, since nobody says otherwise, and who would come in hears that it is our fault."""
    keys = MemoryKeys()
    keys.put_session(session(), known=True)
    edge = await build_edge(access=keys)
    backend = edge.backend("shop", policies=policies(login=True))
    line = by_cookie(backend, keys, "ses_ada")
    client, end = await stream(edge, backend, line)
    keys.down = True
    keys.put_session(session(revoked=True))
    await edge.turns()
    await goes_on(client, end)
    late = await edge.client(FRONT)
    await late.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n" + HTTPS + line + b"\r\n\r\n")
    got = await late.read_response()
    assert (got.status, got.get(b"x-miosa-error")) == (503, b"resolver_unavailable")
    keys.down = False
    await has_ended(client)


@pytest.mark.parametrize("opens", [stream, tunnel])
async def test_time_runs_out(build_edge: BuildEdge, opens: Any) -> None:
    """Of a token, a cookie, a key, a JSON Web Token, a session: what came in by it ends when it does, without any change."""
    keys = MemoryKeys()
    soon = time.time() + 1000
    keys.put(API_KEY, api_key(until=soon), known=True)
    keys.put_session(session(until=soon), known=True)
    keys.tokens[JWT] = Claims("me", "acme", "tenant", soon)
    edge = await build_edge(access=keys, tunnel_idle=5000.0, body_idle=5000.0)
    backend = edge.backend(
        "shop", policies=policies(secret("ci", until=soon), secret("mail", "link"), secret("stays"), login=True)
    )
    ending = [
        await opens(edge, backend, line)
        for line in (
            TOKEN,
            BEARER,
            b"Authorization: Bearer " + JWT.encode(),
            by_cookie(backend, keys, "mail", until=soon),
            by_cookie(backend, keys, "ses_ada", until=soon + 1000),
        )
    ]
    lasting = await opens(edge, backend, b"X-Miosa-Preview-Token: " + plain("stays").encode())
    edge.advance(1001)
    for client, _ in ending:
        await has_ended(client)
    await goes_on(*lasting)


async def test_a_signing_key_that_is_withdrawn(build_edge: BuildEdge) -> None:
    """Cookies of it open nothing any more, and what came in by one ends; those of other keys go on."""
    keys = MemoryKeys(signing("new", "old"))
    edge = await build_edge(access=keys)
    backend = edge.backend("shop", policies=policies(*SECRETS))
    by_old = cookie(grant("mail", port=backend.port), signing("old"))
    ending, _ = await stream(edge, backend, by_old)
    lasting, end = await stream(edge, backend, cookie(grant("mail", port=backend.port), signing("new")))
    keys.signing = signing("new")
    await has_ended(ending)
    await goes_on(lasting, end)
    late = await edge.client(FRONT)
    await late.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n" + HTTPS + by_old + b"\r\n\r\n")
    got = await late.read_response()
    assert (got.status, got.get(b"x-miosa-error")) == (403, b"token_wrong")


@pytest.mark.parametrize("visibility", ["public", "private"])
@pytest.mark.parametrize("told", ["before", "meanwhile"])
async def test_a_preview_expires(edge: RunningEdge, visibility: str, told: str) -> None:
    """Whoever is in it leaves, and nobody comes in any more."""
    limited = policies(secret("ci"), visibility=visibility, until=time.time() + 1000)
    backend = edge.backend("shop", policies=limited if told == "before" else {})
    client, end = await stream(edge, backend, TOKEN)
    if told == "meanwhile":
        edge.point("shop", backend, policies=limited | policies(visibility="public", until=time.time() + 1000))
        await edge.turns()
        await goes_on(client, end)
    edge.advance(1001)
    await has_ended(client)
    late = await edge.client(FRONT)
    await late.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n" + HTTPS + TOKEN + b"\r\n\r\n")
    got = await late.read_response()
    assert (got.status, got.get(b"x-miosa-error")) == (410, b"preview_expired")


def ending_at(instant: float) -> list[tuple[str, dict[str, Any]]]:
    """What comes in by which way, and what ends then: the preview, its secrets, the API key."""
    shortened = policies(*[replace(one, until=instant) for one in SECRETS])
    return [
        *((way, {"policies": policies(*SECRETS, until=instant)}) for way in ("ci", "mail", "key", "nothing")),
        *((way, {"policies": shortened}) for way in ("ci", "mail", "once")),
        ("key", {"key": api_key(until=instant)}),
    ]


@pytest.mark.parametrize("opens", [stream, tunnel])
@pytest.mark.parametrize("place", range(len(ending_at(0.0))))
@pytest.mark.parametrize("told", ["before", "meanwhile"])
async def test_an_end_that_was_made_sooner(build_edge: BuildEdge, opens: Any, place: int, told: str) -> None:
    """It is heard of in time, and what is open ends at the new instant, without another change; not a moment before."""
    now = time.time()
    way, change = ending_at(now + 500)[place]
    late = [replace(one, until=now + 2000) for one in SECRETS]
    visibility = "public" if way == "nothing" else "private"
    keys = MemoryKeys()
    keys.put(API_KEY, api_key(until=now + 2000), known=True)
    edge = await build_edge(access=keys, tunnel_idle=5000.0, body_idle=5000.0)
    backend = edge.backend("shop", policies=policies(*late, visibility=visibility, until=now + 1000))
    changed = {
        port: replace(one, visibility=Visibility(visibility)) for port, one in change.get("policies", {}).items()
    }
    line = {"ci": TOKEN, "key": BEARER, "nothing": b"A: b"}.get(way) or by_cookie(backend, keys, way, until=now + 1500)
    if told == "meanwhile":
        client, end = await opens(edge, backend, line)
    if changed:
        edge.point("shop", backend, policies=changed)
    else:
        keys.put(API_KEY, change["key"])
    if told == "before":
        client, end = await opens(edge, backend, line)
    await edge.turns()
    edge.advance(490)
    await edge.turns()
    await goes_on(client, end)
    edge.advance(11)
    await has_ended(client)


async def test_in_the_queue(build_edge: BuildEdge) -> None:
    """Who waits for a place is judged again when the policy changes; who may stay is served without its token."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys, exchanges_per_resource=1)
    backend = edge.backend("shop", policies=policies(*SECRETS))
    first, end = await stream(edge, backend, by_cookie(backend, keys, "mail"))
    waiting = []
    for line in (TOKEN, by_cookie(backend, keys, "mail")):
        client = await edge.client(FRONT)
        await client.send(b"GET /q HTTP/1.1\r\nHost: shop.miosa.app\r\n" + HTTPS + line + b"\r\n\r\n")
        waiting.append(client)
    await until(lambda: edge.proxy._worker.queues.waiting == 2)
    edge.point("shop", backend, policies=policies(SECRETS[0], secret("mail", "link", revoked=True)))
    got = await waiting[1].read_response()
    assert (got.status, got.get(b"x-miosa-error")) == (403, b"token_revoked")
    await has_ended(first)
    with pytest.raises(Ended):
        await end.read_some()
    _, request = await backend.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert request.all(b"x-miosa-preview-token") == []
    assert (await waiting[0].read_response()).status == 200


async def test_a_resource_that_moves(build_edge: BuildEdge) -> None:
    """Who waits for a place at its old address is admitted at the new one, by what let them in before."""
    keys = MemoryKeys()
    edge = await build_edge(access=keys, exchanges_per_resource=1)
    backend, other = edge.backend("shop", policies=policies(*SECRETS)), edge.backend("cart")
    first, end = await stream(edge, backend, TOKEN)
    client = await edge.client(FRONT)
    await client.send(b"GET /q?a HTTP/1.1\r\nHost: shop.miosa.app\r\n" + HTTPS + TOKEN + b"\r\n\r\n")
    await until(lambda: edge.proxy._worker.queues.waiting == 1)
    edge.point(
        "shop",
        other,
        "boot-2",
        default_port=backend.port,
        ports={backend.port: other.port},
        policies=policies(*SECRETS),
    )
    await edge.turns()
    end.close()
    await first.read_until_gone()
    _, request = await other.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert (request.target, request.all(b"x-miosa-preview-token")) == (b"/q?a", [])
    assert (await client.read_response()).status == 200


@pytest.mark.parametrize(
    "line",
    [TOKEN, b"mail", b"ses_ada", b"X-Miosa-Preview-Token: " + API_KEY.encode(), BEARER],
    ids=["token", "cookie", "session", "key", "bearer"],
)
async def test_the_next_request_is_refused_at_once(build_edge: BuildEdge, line: bytes) -> None:
    """However many were let in by the same a moment ago, also on the same connection."""
    keys = MemoryKeys()
    keys.put(API_KEY, api_key(), known=True)
    keys.put_session(session(), known=True)
    edge = await build_edge(access=keys)
    backend = edge.backend("shop", policies=policies(*SECRETS, login=True))
    brought = line if b":" in line else by_cookie(backend, keys, line.decode())
    client = await edge.client(FRONT)
    request = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n" + HTTPS + brought + b"\r\n\r\n"
    async with backend.serving(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") as seen:
        for _ in range(4):
            await client.send(request)
            assert (await client.read_response()).status == 200
        if line == b"ses_ada":
            keys.put_session(session(revoked=True))
        elif line != BEARER:  # the route stays as it is, and what was remembered with it
            edge.point("shop", backend, policies=policies(*[replace(one, revoked=True) for one in SECRETS]))
        keys.put(API_KEY, api_key(revoked=True))
        await client.send(request)
        got = await client.read_response()
        assert (got.status, got.get(b"x-miosa-error")) == (403, b"token_revoked")
    assert len(seen) == 4
    assert [request.all(b"authorization") for request in seen] == [[]] * 4
    assert len({request.raw_head.partition(b"X-Request-ID")[0] for request in seen}) == 1
