"""Our own responses as programs in browsers, dev servers' reloading clients, tools and agents get them."""

import json

import pytest

from router.routes.records import Endpoint, ListeningSocket, State
from tests.support.edge import FRONT, RunningEdge
from tests.support.records import resource
from tests.support.wire import Message
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

APP = "https://3000-app.sandbox.miosa.app"


async def ask(edge: RunningEdge, host: str, *lines: str, first: str = "GET /") -> Message:
    client = await edge.client(FRONT)
    head = "".join(f"{line}\r\n" for line in (f"{first} HTTP/1.1", f"Host: {host}", *lines))
    await client.send(f"{head}\r\n".encode())
    return await client.read_response(first.partition(" ")[0].encode())


FORMS = [
    ("application/json", b"application/json"),
    ("application/problem+json", b"application/problem+json"),
    ("text/markdown", b"text/markdown; charset=utf-8"),
    ("text/html;q=0.2, application/problem+json;q=0.3", b"application/problem+json"),
    ("text/html;q=0, */*", b"application/json"),
    ("image/png", b"application/json"),
]


@pytest.mark.parametrize(("accept", "content_type"), FORMS)
async def test_the_form_is_the_clients_choice(edge: RunningEdge, accept: str, content_type: bytes) -> None:
    """By Accept and its weights; JSON where nothing fits. Status and code are the same in all of them."""
    edge.backend("shop", listening=False)
    answer = await ask(edge, "shop.miosa.app", f"Accept: {accept}", "X-Request-ID: abc-1")
    assert (answer.status, answer.get(b"x-miosa-error")) == (502, b"port_closed")
    assert answer.get(b"content-type") == content_type
    assert b"abc-1" in answer.body
    assert answer.get(b"content-length") == str(len(answer.body)).encode()
    if content_type.endswith(b"json"):
        json.loads(answer.body)


async def test_event_streams_come_back_by_themselves(edge: RunningEdge) -> None:
    """EventSource takes an empty stream with a time to come back for a connection that ended, and asks again; the access
    line still says what it was."""
    edge.backend("shop", listening=False)
    answer = await ask(
        edge, "shop.miosa.app", "X-Forwarded-Proto: https", "Accept: text/event-stream", first="GET /hmr"
    )
    assert (answer.status, answer.get(b"content-type")) == (200, b"text/event-stream")
    assert answer.body == b"retry: 1000\n\n"
    assert answer.get(b"x-miosa-error") == b"port_closed"
    assert answer.get(b"cache-control") == b"no-store"
    assert edge.endings == ["BD"]
    assert edge.finished[0].problem is not None


STREAMS = [
    ({"state": State.STARTING}, "text/event-stream", "GET /", 200),
    ({"state": State.STOPPED}, "text/event-stream", "GET /", 200),
    ({"state": State.STARTING}, "text/event-stream;q=0.9, */*;q=0.1", "GET /", 200),
    ({"state": State.STARTING}, "application/json, text/event-stream", "GET /", 503),
    ({"state": State.STARTING}, "text/event-stream;q=0", "GET /", 503),
    ({"state": State.STARTING}, "text/event-stream", "POST /", 503),
    ({"state": State.STARTING}, "text/event-stream", "HEAD /", 503),
    ({"state": State.DESTROYED}, "text/event-stream", "GET /", 410),
    ({"suspended": True}, "text/event-stream", "GET /", 451),
    ({"default_port": None}, "text/event-stream", "GET /", 404),
]


@pytest.mark.parametrize(("changes", "accept", "first", "status"), STREAMS)
async def test_which_event_streams_do(
    edge: RunningEdge, changes: dict[str, object], accept: str, first: str, status: int
) -> None:
    """Only where waiting helps, and only what asks for nothing else."""
    edge.put(resource("shop", **changes))
    answer = await ask(edge, "shop.miosa.app", f"Accept: {accept}", first=first)
    assert answer.status == status
    assert (answer.get(b"content-type") == b"text/event-stream") is (status == 200)


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream", "text/html"])
async def test_a_page_of_another_origin_can_read_what_is_wrong(edge: RunningEdge, accept: str) -> None:
    """Its `fetch` gets status, code and body; with cookies too, since programs that send them want to know as well."""
    edge.backend("shop", listening=False)
    answer = await ask(edge, "shop.miosa.app", f"Origin: {APP}", f"Accept: {accept}")
    assert answer.get(b"access-control-allow-origin") == APP.encode()
    assert answer.get(b"access-control-allow-credentials") == b"true"
    assert answer.get(b"access-control-expose-headers") == b"X-Miosa-Error, Retry-After, X-Request-ID"
    assert b"Origin" in (answer.get(b"vary") or b"")


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "credentials"),
    [
        (APP, "nobody.miosa.app", APP, None),
        ("http://localhost:5173", "nobody.miosa.app", "http://localhost:5173", None),
        ("http://[::1]:5173", "shop.miosa.app", "http://[::1]:5173", b"true"),
        ("chrome-extension://abcdef", "shop.miosa.app", "chrome-extension://abcdef", b"true"),
        ("null", "shop.miosa.app", "null", None),
        ("https://a.example/path", "shop.miosa.app", None, None),
        ("https://a.example, https://b.example", "shop.miosa.app", None, None),
        ("*", "shop.miosa.app", None, None),
        ("", "shop.miosa.app", None, None),
        ("https://" + "a" * 400, "shop.miosa.app", None, None),
    ],
)
async def test_who_may_read(
    edge: RunningEdge, origin: str, host: str, allowed: str | None, credentials: bytes | None
) -> None:
    """Any one origin; with cookies only about a preview that there is, and never what has no origin."""
    edge.put(resource("shop", state=State.STARTING))
    answer = await ask(edge, host, f"Origin: {origin}")
    assert answer.get(b"access-control-allow-origin") == (None if allowed is None else allowed.encode())
    assert answer.get(b"access-control-allow-credentials") == credentials


async def test_without_an_origin_there_is_nothing_of_cors(edge: RunningEdge) -> None:
    """Nor is it said to whom it would be allowed."""
    answer = await ask(edge, "nobody.miosa.app")
    assert not [name for name in answer.names() if name.startswith(b"access-control")]


PREFLIGHT = (
    f"Origin: {APP}",
    "Access-Control-Request-Method: DELETE",
    "Access-Control-Request-Headers: content-type, x-a",
)


@pytest.mark.parametrize(
    ("host", "code"),
    [("shop.miosa.app", b"port_closed"), ("later.miosa.app", b"starting"), ("nobody.miosa.app", b"host_not_found")],
)
async def test_a_preflight_of_an_absent_program_is_allowed(edge: RunningEdge, host: str, code: bytes) -> None:
    """What it asks for, for this once and without cookies: the request behind it then gets the error that can be read."""
    edge.backend("shop", listening=False)
    edge.put(resource("later", state=State.STARTING))
    answer = await ask(edge, host, *PREFLIGHT, first="OPTIONS /api")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.get(b"access-control-allow-origin") == APP.encode()
    assert answer.get(b"access-control-allow-methods") == b"DELETE"
    assert answer.get(b"access-control-allow-headers") == b"content-type, x-a"
    assert answer.get(b"access-control-max-age") == b"0"
    assert answer.get(b"access-control-allow-credentials") is None
    assert answer.get(b"content-length") is None
    assert answer.get(b"x-miosa-error") == code
    assert answer.get(b"x-request-id")


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (f"Origin: {APP}",),
        ("Access-Control-Request-Method: GET",),
        (f"Origin: {APP}", "Access-Control-Request-Method: G T"),
        ("Origin: nowhere", "Access-Control-Request-Method: GET"),
    ],
)
async def test_what_is_no_preflight(edge: RunningEdge, lines: tuple[str, ...]) -> None:
    """An OPTIONS that asks for nothing gets the error."""
    edge.put(resource("shop", state=State.STARTING))
    answer = await ask(edge, "shop.miosa.app", *lines, first="OPTIONS /")
    assert (answer.status, answer.get(b"x-miosa-error")) == (503, b"starting")


async def test_a_preflight_of_a_program_that_is_there_is_its_own(edge: RunningEdge) -> None:
    """And so it is where it breaks off in the middle: nothing is allowed in its name."""
    backend = edge.backend("shop")
    client = await edge.client(FRONT)
    head = "".join(f"{line}\r\n" for line in ("OPTIONS / HTTP/1.1", "Host: shop.miosa.app", *PREFLIGHT))
    await client.send(f"{head}\r\n".encode())
    end = await backend.accept()
    await end.read_request()
    end.close()
    answer = await client.read_response(b"OPTIONS")
    assert (answer.status, answer.get(b"access-control-allow-methods")) == (502, None)


async def test_who_answered_is_said_of_every_response_of_ours(build_edge: BuildEdge) -> None:
    """Proxy-Status with a registered type (RFC 9209), and the request's id: of problems, redirects and proofs."""
    edge = await build_edge()
    edge.put(resource("shop", state=State.STARTING))
    edge.backend("closed", listening=False)
    seen = [
        await ask(edge, "shop.miosa.app"),
        await ask(edge, "closed.miosa.app"),
        await ask(edge, "nobody.miosa.app"),
        await ask(edge, "_health", first="GET /livez"),
        await ask(edge, "closed.miosa.app", "Max-Forwards: 0", first="OPTIONS /"),
        await ask(edge, "bad_name.miosa.app"),
    ]
    assert [answer.get(b"proxy-status") for answer in seen] == [
        b"miosa-router; error=destination_unavailable",
        b"miosa-router; error=connection_refused",
        b"miosa-router; error=destination_not_found",
        b"miosa-router; error=proxy_internal_response",
        b"miosa-router; error=proxy_internal_response",
        b"miosa-router; error=http_request_error",
    ]
    assert all(answer.get(b"x-request-id") for answer in seen)


@pytest.mark.parametrize(("method", "again"), [("GET", b"3"), ("POST", None)])
async def test_a_page_loads_itself_again_unless_a_form_was_sent(
    edge: RunningEdge, method: str, again: bytes | None
) -> None:
    """What the visitor typed is not sent twice, nor thrown away for an empty page."""
    edge.put(resource("shop", state=State.STARTING))
    answer = await ask(edge, "shop.miosa.app", "Sec-Fetch-Mode: navigate", first=f"{method} /")
    assert answer.get(b"refresh") == again
    assert (b"refresh" in answer.body) is (again is not None)


@pytest.mark.parametrize(
    ("listening", "reason"),
    [
        (None, None),
        ((), None),
        ((("same", "127.0.0.1"),), "listens_on_loopback"),
        (((65000, "0.0.0.0"),), "listens_elsewhere"),
    ],
)
async def test_a_closed_port_says_what_does_listen(
    edge: RunningEdge, listening: tuple[tuple[object, str], ...] | None, reason: str | None
) -> None:
    """Where the platform has said it, with the endpoint."""
    backend = edge.backend("shop", listening=False)
    sockets = None
    if listening is not None:
        sockets = tuple(
            ListeningSocket(backend.port if port == "same" else int(str(port)), at) for port, at in listening
        )
    edge.point("shop", backend, endpoint=Endpoint("127.0.0.1", "boot-1", {}, sockets))
    answer = await ask(edge, "shop.miosa.app")
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"], error.get("reason")) == (502, "port_closed", reason)
    assert [one["address"] for one in error.get("listening", ())] == [at for _, at in listening or ()]
