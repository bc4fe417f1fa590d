"""Answers of our own: which, in what form, with which headers; and that they tell strangers nothing."""

import json
import re

import pytest

from router.routes.records import DomainStatus, State
from router.settings import Cache
from tests.support.edge import FRONT, OUTSIDE, RunningEdge, until
from tests.support.held import HeldRecords
from tests.support.memory_records import MemoryRecords
from tests.support.records import claim, name, resource, zone
from tests.support.wire import Message
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio


async def ask(edge: RunningEdge, host: str, lines: str = "", method: str = "GET", source: str = FRONT) -> Message:
    client = await edge.client(source)
    await client.send(f"{method} / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode())
    return await client.read_response(method.encode())


STATES = [
    ({"state": State.STARTING}, 503, b"starting", b"3", "BA"),
    ({"state": State.PROVISIONING}, 503, b"starting", b"3", "BA"),
    ({"endpoint": None}, 503, b"starting", b"3", "BA"),
    ({"state": State.STOPPED}, 503, b"stopped", b"30", "BA"),
    ({"state": State.PAUSED}, 503, b"stopped", b"30", "BA"),
    ({"state": State.ERROR}, 503, b"stopped", b"30", "BA"),
    ({"state": State.DESTROYED}, 410, b"resource_deleted", None, "EA"),
    ({"suspended": True}, 451, b"blocked", None, "EA"),
    ({"default_port": None}, 404, b"host_not_found", None, "EA"),
]


@pytest.mark.parametrize(("changes", "status", "code", "retry_after", "ending"), STATES)
async def test_each_state_has_its_answer(
    edge: RunningEdge, changes: dict[str, object], status: int, code: bytes, retry_after: bytes | None, ending: str
) -> None:
    """The status, the code, and when to come back."""
    edge.put(resource("shop", **changes))
    answer = await ask(edge, "shop.miosa.app")
    assert (answer.status, answer.get(b"x-miosa-error"), answer.get(b"retry-after")) == (status, code, retry_after)
    assert edge.endings == [ending]
    assert edge.finished[0].problem is not None
    assert edge.finished[0].problem.code == code.decode()


async def test_a_program_gets_json(edge: RunningEdge) -> None:
    """One object with all that a program needs to go on, and headers that keep it out of caches and indexes."""
    answer = await ask(edge, "nobody.miosa.app", "Accept: */*\r\nX-Request-ID: abc-1\r\n")
    assert answer.get(b"content-type") == b"application/json"
    error = json.loads(answer.body)["error"]
    assert error == {
        "code": "host_not_found",
        "message": error["message"],
        "status": 404,
        "retryable": False,
        "origin": "edge",
        "request_id": "abc-1",
        "docs_url": "https://docs.miosa.ai/errors#host_not_found",
    }
    assert answer.get(b"cache-control") == b"no-store"
    assert answer.get(b"x-robots-tag") == b"noindex"
    assert answer.get(b"x-request-id") == b"abc-1"
    assert answer.get(b"content-security-policy") == b"default-src 'none'"
    assert answer.get(b"content-length") == str(len(answer.body)).encode()


HTML = [
    "Sec-Fetch-Mode: navigate\r\n",
    "sec-fetch-mode: Navigate\r\nAccept: application/json\r\n",
    "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n",
    "accept: TEXT/HTML\r\n",
]
JSON = [
    "",
    "Accept: */*\r\n",
    "Accept: application/json\r\n",
    "Sec-Fetch-Mode: cors\r\nAccept: text/html\r\n",
    "Sec-Fetch-Mode: websocket\r\nAccept: text/html\r\n",
    "Accept: text/html;q=0\r\n",
]


@pytest.mark.parametrize(("lines", "form"), [(lines, "html") for lines in HTML] + [(lines, "json") for lines in JSON])
async def test_people_get_a_page(edge: RunningEdge, lines: str, form: str) -> None:
    """Where a browser navigates, or an old one says that it wants HTML; everybody else gets JSON."""
    answer = await ask(edge, "nobody.miosa.app", lines)
    kind = answer.get(b"content-type")
    assert kind == (b"text/html; charset=utf-8" if form == "html" else b"application/json")
    assert answer.status == 404
    for header in (b"cache-control", b"x-miosa-error", b"x-robots-tag", b"content-security-policy", b"x-request-id"):
        assert answer.get(header)


async def test_a_page_needs_nothing_from_outside(edge: RunningEdge) -> None:
    """No script, no font, no image of others: a page about a failure must not fail."""
    edge.put(resource("shop", state=State.STARTING))
    answer = await ask(edge, "shop.miosa.app", "Sec-Fetch-Mode: navigate\r\n")
    policy = answer.get(b"content-security-policy") or b""
    assert policy.startswith(b"default-src 'none'")
    assert b"unsafe" not in policy
    assert not re.search(rb"(src|srcset)=|@import|url\((?!data:)|<script|<link[^>]+stylesheet", answer.body)


async def test_a_closed_port_says_what_to_do_and_looks_again(edge: RunningEdge) -> None:
    """The page names the port, tells to bind 0.0.0.0, and reloads every three seconds."""
    backend = edge.backend("shop", listening=False)
    answer = await ask(edge, "shop.miosa.app", "Sec-Fetch-Mode: navigate\r\n")
    assert (answer.status, answer.get(b"x-miosa-error")) == (502, b"port_closed")
    page = answer.body.decode()
    assert str(backend.port) in page
    assert "0.0.0.0" in page
    assert re.search(r'http-equiv="?refresh"? content="?3', page)
    answer = await ask(edge, "shop.miosa.app")
    assert str(backend.port) in json.loads(answer.body)["error"]["message"]


async def test_the_answer_to_head_has_the_headers_alone(edge: RunningEdge) -> None:
    """The length is that of the body that GET would get; the connection goes on."""
    client = await edge.client(FRONT)
    for method in (b"HEAD", b"GET", b"HEAD"):
        await client.send(method + b" / HTTP/1.1\r\nHost: nobody.miosa.app\r\nX-Request-ID: a\r\n\r\n")
        answer = await client.read_response(method)
        assert (answer.status, int(answer.get(b"content-length") or b"0") > 100) == (404, True)


async def test_strangers_learn_nothing(edge: RunningEdge) -> None:
    """Unknown, not verified, another's, not exposed: the same answer to the byte, in both forms."""
    edge.put(
        resource("shop"),
        resource("evil", tenant_id="evil"),
        zone("example.com", claim("tenant", "acme")),
        zone("pending.com", claim("tenant", "acme", verified=False)),
        name("pending.org", resource("shop"), status=DomainStatus.PENDING),
        name("removed.org", resource("shop"), status=DomainStatus.REMOVED),
    )
    hosts = [
        "nobody.miosa.app",
        "nowhere.example.org",
        "evil.example.com",
        "shop.pending.com",
        "pending.org",
        "removed.org",
        "1-shop.sandbox.miosa.app",
        "1-nobody.sandbox.miosa.app",
        "www.miosa.app",
        "192.0.2.1",
        "[::1]",
        "localhost",
    ]
    for form in ("", "Sec-Fetch-Mode: navigate\r\n"):
        answers = [await ask(edge, host, form + "X-Request-ID: same\r\n") for host in hosts]
        assert {(answer.raw_head, answer.body) for answer in answers} == {(answers[0].raw_head, answers[0].body)}
        assert answers[0].status == 404


async def test_a_request_id_of_a_front_cannot_write_into_the_page(edge: RunningEdge) -> None:
    """Whatever is shown was looked at before."""
    answer = await ask(edge, "nobody.miosa.app", "Sec-Fetch-Mode: navigate\r\nX-Request-ID: <script>x</script>\r\n")
    assert b"<script" not in answer.body


async def test_a_source_that_is_down_is_503(edge: RunningEdge) -> None:
    """A fault of ours is never a 404; known hosts go on, and the next request asks again."""
    edge.put(resource("shop"))
    edge.records.down = True
    answer = await ask(edge, "shop.miosa.app")
    assert (answer.status, answer.get(b"x-miosa-error")) == (503, b"resolver_unavailable")
    assert answer.get(b"retry-after") == b"5"
    assert edge.endings == ["EA"]
    edge.records.down = False
    assert (await ask(edge, "nobody.miosa.app")).status == 404


async def test_requests_wait_for_one_look_up(build_edge: BuildEdge) -> None:
    """Bodies that come meanwhile are kept; one fetch answers everybody."""
    held = HeldRecords()
    edge = await build_edge(records=held)
    backend = edge.backend("shop")
    clients = [await edge.client() for _ in range(5)]
    for number, client in enumerate(clients):
        await client.send(b"POST /%d HTTP/1.1\r\nHost: shop.miosa.app\r\nContent-Length: 6\r\n\r\nabc" % number)
    fetch = await held.asked()
    for client in clients:
        await client.send(b"def")
    await edge.turns()
    async with backend.serving(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as requests:
        fetch.answer()
        for client in clients:
            assert (await client.read_response()).status == 200
    assert {request.body for request in requests} == {b"abcdef"}
    assert {request.target for request in requests} == {b"/%d" % number for number in range(5)}
    assert held.fetches == 1


@pytest.mark.parametrize("way", ["reset", "close"])
async def test_a_client_that_leaves_during_the_look_up(build_edge: BuildEdge, way: str) -> None:
    """Its exchange ends; the look-up goes on for others."""
    held = HeldRecords()
    edge = await build_edge(records=held)
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    fetch = await held.asked()
    getattr(client, way)()
    if way == "close":
        await edge.turns()
        edge.advance(edge.limits.half_close + 1)
    await edge.ended(1)
    fetch.answer()
    await edge.settled()
    assert edge.endings == ["CA"]
    assert not backend.has_visitor()
    assert edge.resolver.peek(b"shop.miosa.app") is not None


async def test_a_look_up_that_hangs_is_503(build_edge: BuildEdge) -> None:
    """After the time that a look-up may take."""
    edge = await build_edge(records=HeldRecords(), fetch_time=0.02)
    answer = await ask(edge, "shop.miosa.app")
    assert (answer.status, answer.get(b"x-miosa-error")) == (503, b"resolver_unavailable")


async def test_a_change_is_seen_by_the_next_request(edge: RunningEdge) -> None:
    """On the same connection, a moment later."""
    records: MemoryRecords = edge.records
    client = await edge.client()
    for state, status in [(State.STOPPED, 503), (State.DESTROYED, 410), (State.STARTING, 503)]:
        edge.resolver.drop(records.put(resource("shop", state=state)))
        await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
        assert (await client.read_response()).status == status
    edge.resolver.drop(records.remove("slug:shop"))
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    assert (await client.read_response()).status == 404


@pytest.mark.parametrize("changes", [{"state": State.DESTROYED}, {"suspended": True}, None])
async def test_what_is_under_way_ends_with_its_route(edge: RunningEdge, changes: dict[str, object] | None) -> None:
    """Deleted, blocked or gone: a visitor who waits is told, one who listens to a stream is cut off."""
    backend = edge.backend("shop")
    waiting, streaming = await edge.client(), await edge.client()
    await waiting.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    first = await backend.accept()
    await first.read_request()
    await streaming.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    second, _ = await backend.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
    await streaming.read_head()
    assert await streaming.read_chunk() == b"hi"
    if changes is None:
        edge.resolver.drop(edge.records.remove("slug:shop"))
    else:
        edge.put(resource("shop", **changes))
    assert (await waiting.read_response()).status in (404, 410, 451)
    assert await streaming.read_until_gone() == b""
    await first.read_until_gone()
    await second.read_until_gone()
    await until(lambda: len(edge.finished) == 2)
    assert sorted(edge.endings) == ["EB", "EH"]


async def test_a_load_balancer_is_told_how_the_listener_is(edge: RunningEdge) -> None:
    """Asked at the Host that is no name: /livez is 200 while it answers, /readyz until it is about to go. Nothing is
    looked up, and no access line is written. Other paths get what any wrong Host gets."""

    async def status(path: str, source: str = FRONT) -> int:
        client = await edge.client(source)
        await client.send(f"GET {path} HTTP/1.1\r\nHost: _health\r\n\r\n".encode())
        answer = await client.read_response()
        assert (answer.get(b"x-miosa-error") is None) == (answer.status != 400)
        return answer.status

    assert (await status("/livez"), await status("/readyz")) == (200, 200)
    edge.proxy.leave()
    assert (await status("/livez"), await status("/readyz", OUTSIDE)) == (200, 503)
    assert edge.endings == []
    assert await status("/") == 400
    assert edge.endings == ["EA"]


@pytest.mark.parametrize("meanwhile", ["changed", "expired", "pushed out"])
async def test_what_is_open_is_cut_though_its_route_is_not_the_last_one(edge: RunningEdge, meanwhile: str) -> None:
    """Streams and tunnels outlive the route that they came in by: a block finds them all the same."""
    backend = edge.backend("shop")
    streaming, tunnel = await edge.client(), await edge.client()
    await streaming.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    await backend.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
    await streaming.read_head()
    await tunnel.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
    await backend.answer(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
    await tunnel.read_head()
    if meanwhile == "changed":
        for port in (5173, 5174):
            edge.point("shop", backend, exposed_ports=frozenset({port}))
            await until(lambda: not any(what.startswith("task") for what in edge.busy()))
    elif meanwhile == "expired":
        edge.clock.shift += Cache().ttl + 1
        other = await edge.client()
        await other.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
        await backend.answer(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert (await other.read_response()).status == 204
    else:
        edge.resolver._forget(b"shop.miosa.app")
    edge.put(resource("shop", suspended=True))
    assert await streaming.read_chunk() == b"hi"
    assert await streaming.read_until_gone() == b""
    await tunnel.read_until_gone()
    assert sorted(edge.endings)[-2:] == ["EB", "ET"]
    assert (await ask(edge, "shop.miosa.app")).status == 451
