"""`X-Miosa-Debug`: who has access sees where the time of their request went; to everybody else it is as if they had not asked."""

import asyncio
import re

import pytest

from router.observe.access import JsonLines, TextLines
from router.routes.records import Endpoint, KeyRecord, State
from tests.support.access import FAR, MemoryKeys, api_key, plain, policies, secret
from tests.support.edge import FRONT, RunningEdge, until
from tests.support.http2_peer import Http2Peer
from tests.support.records import name, resource
from tests.support.sleeper import FakeWaker, Sleeper
from tests.support.wire import Backend, Message
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

KEY = b"msk_live_" + b"d" * 43
TOKEN = plain("ci").encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer-Timing: db;dur=5\r\n\r\nhi"
HEAD = b"GET /a?b=1 HTTP/1.1\r\nHost: shop.miosa.app\r\nX-Forwarded-Proto: https\r\n"


def debug(key: bytes = KEY) -> bytes:
    return b"X-Miosa-Debug: " + key + b"\r\n"


async def ask(edge: RunningEdge, *lines: bytes, head: bytes = HEAD, method: bytes = b"GET") -> Message:
    client = await edge.client(FRONT)
    await client.send(head.replace(b"GET", method, 1) + b"".join(lines) + b"\r\n")
    return await client.read_response(method)


async def both(edge: RunningEdge, backend: Backend, *lines: bytes, head: bytes = HEAD) -> tuple[Message, Message]:
    """What the backend saw, and what the visitor got."""
    async with backend.serving(OK.replace(b"Content", b"Connection: close\r\nContent")) as seen:
        got = await ask(edge, *lines, head=head)
    assert len(seen) == 1, got.first
    return seen[0], got


def times(message: Message) -> dict[str, str]:
    """What `Server-Timing` of ours says; the program's own stands beside it."""
    values = [value.decode() for value in message.all(b"server-timing") if b"resolve;" in value]
    assert len(values) <= 1
    found = {}
    for part in values[0].split(", ") if values else []:
        match = re.fullmatch(r'([a-z]+);(?:dur=([0-9]+\.[0-9]{3})|desc="([a-z-]+)")', part)
        assert match is not None, part
        found[match[1]] = match[2] or match[3]
    return found


async def keyed(build_edge: BuildEdge, record: KeyRecord | None = None, *, known: bool = False) -> RunningEdge:
    """A proxy that knows `KEY`, or can look it up."""
    keys = MemoryKeys()
    keys.put(KEY.decode(), record or api_key(), known=known)
    return await build_edge(access=keys)


# Who has access.


async def test_where_the_time_went(build_edge: BuildEdge) -> None:
    """The first request is looked up and dialled; the second finds all of it, and a kept connection."""
    edge = await keyed(build_edge)
    backend = edge.backend()
    async with backend.serving(OK):
        client = await edge.client(FRONT)
        found = []
        for _ in range(2):
            await client.send(HEAD + debug() + b"\r\n")
            response = await client.read_response()
            assert b"db;dur=5" in response.all(b"server-timing")
            found.append(times(response))
    names = ["resolve", "queue", "dial", "wait", "body", "level", "source"]
    assert [name for name in found[0] if name != "key"] == names
    assert "key" in found[0]
    assert list(found[1]) == names
    assert float(found[0]["dial"]) > 0
    assert float(found[0]["resolve"]) > 0
    assert float(found[0]["wait"]) > 0
    assert (found[0]["level"], found[0]["source"]) == ("platform", "memory")
    assert (found[1]["resolve"], found[1]["queue"], found[1]["dial"]) == ("0.000", "0.000", "0.000")
    assert found[1]["source"] == "process"


async def test_a_body_that_is_not_over_has_no_duration(build_edge: BuildEdge) -> None:
    edge = await keyed(build_edge)
    backend = edge.backend()
    client = await edge.client(FRONT)
    await client.send(HEAD + debug() + b"\r\n")
    served = await backend.accept()
    await served.read_request()
    await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi")
    head = await client.read_until(b"\r\n\r\n")
    assert b"wait;dur=" in head
    assert b"body;dur=" not in head
    await served.send(b"ho")
    assert await client.read_exactly(4) == b"hiho"


@pytest.mark.parametrize("visibility", ["private", "tenant", "key"])
async def test_private_previews(build_edge: BuildEdge, visibility: str) -> None:
    """The key of the header opens nothing by itself; beside what opens the preview it is answered."""
    edge = await keyed(build_edge)
    backend = edge.backend(policies=policies(secret("ci"), visibility=visibility))
    refused = await ask(edge, debug())
    assert refused.status == 401
    assert times(refused)["level"] == "platform"
    for key in (KEY, TOKEN):
        seen, got = await both(edge, backend, b"X-Miosa-Preview-Token: " + TOKEN + b"\r\n", debug(key))
        assert times(got)["source"] == "process"
        assert got.get(b"cache-control") == b"private"
        assert b"debug" not in seen.raw_head.lower()


async def test_no_shared_cache_keeps_it(build_edge: BuildEdge) -> None:
    edge = await keyed(build_edge)
    _, got = await both(edge, edge.backend(), debug())
    assert got.get(b"cache-control") == b"private"


@pytest.mark.parametrize("state", [State.STARTING, State.STOPPED])
async def test_errors_of_ours(build_edge: BuildEdge, state: State) -> None:
    """They say it too, as far as the request came."""
    edge = await keyed(build_edge)
    backend = edge.backend()
    backend.close()
    found = times(await ask(edge, debug()))
    assert list(found) == ["resolve", "key", "queue", "dial", "level", "source"]
    assert float(found["dial"]) > 0
    edge.put(resource("shop", state=state))
    found = times(await ask(edge, debug()))
    assert list(found) == ["resolve", "queue", "dial", "level", "source"]


async def test_a_backend_that_hangs_up(build_edge: BuildEdge) -> None:
    edge = await keyed(build_edge, known=True)
    backend = edge.backend()
    client = await edge.client(FRONT)
    await client.send(HEAD + debug() + b"\r\n")
    served = await backend.accept()
    await served.read_request()
    served.close()
    found = times(await client.read_response())
    assert "wait" in found
    assert "key" not in found


async def test_a_custom_domain(build_edge: BuildEdge) -> None:
    edge = await keyed(build_edge)
    backend = edge.backend()
    shop = resource("shop", default_port=backend.port, endpoint=Endpoint(backend.address, "boot-1"))
    edge.put(name("www.example.com", shop))
    _, got = await both(edge, backend, debug(), head=HEAD.replace(b"shop.miosa.app", b"www.example.com"))
    assert times(got)["level"] == "exact"


async def test_http2(build_edge: BuildEdge) -> None:
    """A client and a program of HTTP/2."""
    edge = await keyed(build_edge)
    backend = edge.backend()
    edge.point("shop", backend, protocols={backend.port: "h2c"})
    client = await Http2Peer(await edge.client(FRONT), client=True).start()
    stream = await client.request((b"x-miosa-debug", KEY), (b"x-forwarded-proto", b"https"))
    server = await Http2Peer(await backend.accept(), client=False).start()
    there = await server.until_new()
    assert KEY not in b" ".join(value for _, value in (await server.whole(there)).fields)
    await server.respond(there, (b":status", b"200"), body=b"hi")
    answer = await client.whole(stream)
    value = answer.get(b"server-timing")
    assert value is not None
    assert b"dial;dur=" in value


async def test_a_tunnel(build_edge: BuildEdge) -> None:
    edge = await keyed(build_edge)
    backend = edge.backend()
    client = await edge.client(FRONT)
    await client.send(HEAD + debug() + b"Connection: Upgrade\r\nUpgrade: raw\r\n\r\n")
    served = await backend.accept()
    await served.read_request()
    await served.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
    head = await client.read_until(b"\r\n\r\n")
    assert b"Server-Timing: resolve;dur=" in head
    assert b"body;" not in head
    served.close()


async def test_a_request_with_a_body(build_edge: BuildEdge) -> None:
    """Its body waits while the key is looked up, and arrives whole."""
    edge = await keyed(build_edge)
    backend = edge.backend()
    async with backend.serving(OK) as seen:
        client = await edge.client(FRONT)
        head = HEAD.replace(b"GET", b"POST") + debug()
        await client.send(head + b"Content-Length: 200000\r\n\r\n" + b"x" * 200_000)
        assert "wait" in times(await client.read_response())
    assert seen[0].body == b"x" * 200_000


async def test_a_resource_that_sleeps(build_edge: BuildEdge) -> None:
    """How long it was woken for stands in a line of its own, and is in no part of ours."""
    keys, waker = MemoryKeys(), FakeWaker()
    keys.put(KEY.decode(), api_key())
    sleeper = Sleeper(await build_edge(access=keys, waker=waker), waker)
    client = await sleeper.edge.client(FRONT)
    await client.send(HEAD + debug() + b"\r\n")
    await until(lambda: sleeper.held == 1)
    await asyncio.sleep(0.3)  # what the line has to say
    sleeper.becomes(State.RUNNING)
    async with sleeper.backend.serving(OK):
        response = await client.read_response()
    (woken,) = [value for value in response.all(b"server-timing") if value.startswith(b"wake;dur=")]
    assert int(woken[9:]) >= 290
    (exchange,) = await sleeper.edge.ended(1)
    found = times(response)
    ours = sum(float(found[part]) for part in ("resolve", "key", "queue", "dial", "wait", "body"))
    assert ours <= 1000 * (exchange.ended - exchange.started) - int(woken[9:]) + 1


async def test_a_wait_for_a_place(build_edge: BuildEdge) -> None:
    keys = MemoryKeys()
    keys.put(KEY.decode(), api_key(), known=True)
    edge = await build_edge(access=keys, exchanges_per_resource=1, queue_time=60)
    backend = edge.backend()
    first, second = await edge.client(FRONT), await edge.client(FRONT)
    await first.send(HEAD + b"\r\n")
    served = await backend.accept()
    await served.read_request()
    await second.send(HEAD + debug() + b"\r\n")
    await until(lambda: edge.proxy._worker.queues.waiting == 1)
    await served.send(OK)
    await first.read_response()
    await served.read_request()
    await served.send(OK)
    found = times(await second.read_response())
    assert float(found["queue"]) > 0
    assert found["dial"] == "0.000"


# Everybody else.

FOREIGN: dict[str, tuple[bytes, KeyRecord | None]] = {
    "of another tenant": (debug(), api_key(tenant_id="other", scope_id="other")),
    "of another workspace": (debug(), api_key(scope="workspace", scope_id="elsewhere")),
    "of another project": (debug(), api_key(scope="project", scope_id="elsewhere")),
    "revoked": (debug(), api_key(revoked=True)),
    "expired": (debug(), api_key(until=1.0)),
    "of nobody": (debug(b"msk_live_" + b"n" * 43), None),
    "too short": (debug(b"msk_live_"), None),
    "no key": (debug(b"1"), None),
    "empty": (debug(b""), None),
    "too long": (debug(b"msk_" + b"a" * 2000), None),
    "not ascii": (debug(b"msk_live_" + b"\xe9" * 43), None),
    "two of them": (debug() + debug(), api_key()),
    "two of them, one of nobody": (debug() + debug(b"msk_live_" + b"n" * 43), api_key()),
    "a scheme before it": (debug(b"Bearer " + KEY), api_key()),
    "a name that programs read alike": (b"X_Miosa_Debug: " + KEY + b"\r\n", api_key()),
    "a token of another preview": (debug(plain("other").encode()), None),
    "a link": (debug(plain("mail", "link").encode()), None),
    "a revoked token": (debug(plain("old").encode()), None),
}


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("which", FOREIGN)
async def test_nothing_changes_for_anybody_else(build_edge: BuildEdge, which: str, private: bool) -> None:
    """Neither what the program sees nor what the visitor gets, but for the request's id; nor is anything said in a log."""
    line, record = FOREIGN[which]
    keys = MemoryKeys()
    if record is not None:
        keys.put(KEY.decode(), record)
    edge = await build_edge(access=keys)
    secrets = (secret("ci"), secret("mail", "link"), secret("old", revoked=True))
    backend = edge.backend(policies=policies(*secrets) if private else {})
    opens = b"X-Miosa-Preview-Token: " + TOKEN + b"\r\n" if private else b""
    alike = []
    for lines in ((opens,), (opens, line), (opens, line)):
        seen, got = await both(edge, backend, *lines)
        kept = [header for header in seen.headers if header[0] != b"X-Request-ID"]
        alike.append((seen.first, kept, got.first, got.besides_id(), got.body))
    assert alike[1:] == alike[:1] * 2
    for method in (b"GET", b"HEAD"):
        elsewhere = HEAD.replace(b"shop", b"absent")
        without, with_it = [await ask(edge, *lines, head=elsewhere, method=method) for lines in ((), (line,))]
        assert [header[0] for header in with_it.headers] == [header[0] for header in without.headers]
    await edge.ended(7)
    text = JsonLines(0).render(edge.finished, 0.0) + TextLines(colours=False).render(edge.finished, 0.0)
    assert KEY not in (text if isinstance(text, bytes) else text.encode())
    assert KEY.decode() not in repr(edge.logs)


async def test_a_hidden_preview_stays_hidden(build_edge: BuildEdge) -> None:
    """A stranger's key, and one that reaches it from an address that may not, hear what they hear of a host that is not there."""
    edge = await keyed(build_edge, api_key(tenant_id="other", scope_id="other"))
    edge.backend(policies=policies(secret("ci"), hide=True))
    other = await ask(edge, debug())
    absent = await ask(edge, debug(), head=HEAD.replace(b"shop", b"shop2"))
    assert other.status == absent.status == 404
    assert other.names() == absent.names()
    edge = await keyed(build_edge)
    edge.backend(policies=policies(secret("ci"), hide=True, networks=("192.0.2.0/24",)))
    assert times(await ask(edge, debug())) == {}


async def test_a_store_that_is_away_costs_nothing_but_the_times(build_edge: BuildEdge) -> None:
    keys = MemoryKeys()
    keys.down = True
    edge = await build_edge(access=keys)
    _, got = await both(edge, edge.backend(), debug())
    assert (got.status, times(got)) == (200, {})


class Silent(MemoryKeys):
    """Keys that nobody finds, and nobody says so."""

    async def resolve(self, digest: str) -> KeyRecord | None:
        self.looked_up.append(digest)
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_store_that_says_nothing_holds_nobody_up(build_edge: BuildEdge) -> None:
    edge = await build_edge(access=Silent())
    _, got = await both(edge, edge.backend(), debug())
    assert (got.status, times(got)) == (200, {})


async def test_whoever_leaves_meanwhile_is_let_go(build_edge: BuildEdge) -> None:
    keys = Silent()
    edge = await build_edge(access=keys)
    edge.backend()
    client = await edge.client(FRONT)
    await client.send(HEAD + debug() + b"\r\n")
    await until(lambda: bool(keys.looked_up))
    client.reset()
    assert [exchange.ending for exchange in await edge.ended(1)] == ["CA"]


async def test_a_flood_of_made_up_keys(build_edge: BuildEdge) -> None:
    """So many are looked up; the others go on at once, and who has a key that is known is answered all the same."""
    keys = MemoryKeys()
    keys.put(KEY.decode(), api_key(), known=True)
    edge = await build_edge(access=keys)
    backend = edge.backend()
    began = edge.clock.monotonic()
    async with backend.serving(OK):
        client = await edge.client(FRONT)
        for number in range(200):
            await client.send(HEAD + debug(b"msk_live_%043d" % number) + b"\r\n")
            assert times(await client.read_response()) == {}
        await client.send(HEAD + debug() + b"\r\n")
        assert times(await client.read_response()) != {}
    passed = edge.clock.monotonic() - began
    assert 20 <= len(keys.looked_up) <= 20 + 20 * passed


async def test_a_key_that_is_withdrawn(build_edge: BuildEdge) -> None:
    """From then on it shows nothing."""
    keys = MemoryKeys()
    keys.put(KEY.decode(), api_key(until=FAR))
    edge = await build_edge(access=keys)
    backend = edge.backend()
    _, got = await both(edge, backend, debug())
    assert times(got)
    keys.put(KEY.decode(), api_key(revoked=True, version=2))
    _, got = await both(edge, backend, debug())
    assert times(got) == {}
