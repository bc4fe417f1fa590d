"""`host_mode` auto: a dev server that refuses the public name is told `localhost` from then on, by itself."""

import pytest

from router.routes.host_notes import HostNote
from router.routes.records import Endpoint, Kind
from tests.support import records
from tests.support.edge import FRONT, RunningEdge
from tests.support.wire import Backend, End, Message

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PUBLIC = b"shop.miosa.app"


def sized(status: bytes, kind: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (status, kind, len(body), body)


def chunked(status: bytes, kind: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % (status, kind)
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


VITE = chunked(
    b"403 Forbidden",
    b"text/plain",
    b'Blocked request. This host ("shop.miosa.app") is not allowed.\nTo allow this host, add "shop.miosa.app" to '
    b"`server.allowedHosts` in vite.config.js.",
)
# As the servers of 2026 write them.
REFUSALS = {
    "vite": VITE,
    "vite as a page": VITE.replace(b"text/plain", b"text/html"),
    "angular": chunked(
        b"403 Forbidden",
        b"text/html",
        b"<!doctype html>\n<html>\n  <head>\n    <title>Blocked request</title>\n"
        + b" " * 900
        + b"  </head>\n  <body>\n"
        b'      <h1>Blocked request. This host ("shop.miosa.app") is not allowed.</h1>\n',
    ),
    "storybook": chunked(b"403 Forbidden", b"text/plain", b"Invalid host"),
    "webpack": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 19\r\n\r\nInvalid Host header",
    "webpack of 2021": sized(b"200 OK", b"text/html; charset=utf-8", b"Invalid Host header"),
    "django": sized(
        b"400 Bad Request",
        b"text/html; charset=utf-8",
        b'<!DOCTYPE html>\n<html lang="en">\n<head>\n  <meta http-equiv="content-type" content="text/html">\n  <title>'
        b"DisallowedHost\n          at /</title>\n" + b"x" * 60_000,
    ),
    "django as text": sized(
        b"400 Bad Request", b"text/plain; charset=utf-8", b"DisallowedHost at /\nInvalid HTTP_HOST header: 'x'."
    ),
    "rails": sized(
        b"403 Forbidden",
        b"text/html; charset=utf-8",
        b"<!DOCTYPE html><html><head><style>"
        + b"a{}" * 2000
        + b"</style></head><body><header>\n  <h1>Blocked hosts: shop.miosa.app</h1>\n</header></body></html>",
    ),
    "rails as text": sized(b"403 Forbidden", b"text/plain", b"Blocked hosts: shop.miosa.app\nTo allow requests"),
}


async def visit(client: End, path: bytes = b"/", method: bytes = b"GET", more: bytes = b"", body: bytes = b"") -> None:
    await client.send(
        b"%b %b HTTP/1.1\r\nHost: %b\r\nX-Forwarded-Proto: https\r\nOrigin: https://%b\r\n%b\r\n%b"
        % (method, path, PUBLIC, PUBLIC, more, body)
    )


async def visited(edge: RunningEdge) -> tuple[Backend, End, End]:
    """A program that has read a visitor's request and not answered: it, the client, and the program's connection."""
    backend = edge.backend("shop")
    client = await edge.client(FRONT)
    await visit(client)
    end = await backend.accept()
    await end.read_request()
    return backend, client, end


async def serve(backend: Backend, answer: bytes = OK) -> Message:
    """The next request of a new connection, answered."""
    end = await backend.accept()
    request = await end.read_request()
    await end.send(answer)
    return request


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refused_host_is_told_localhost(edge: RunningEdge, name: str) -> None:
    """The visitor never sees the refusal: the GET is sent once more, and later requests are told `localhost` at once."""
    backend = edge.backend("shop")
    local = b"localhost:%d" % backend.port
    client = await edge.client(FRONT)
    await visit(client, b"/a?b")
    first = await serve(backend, REFUSALS[name])
    end = await backend.accept()
    second = await end.read_request()
    await end.send(OK)
    answer = await client.read_response()
    assert (answer.status, answer.body) == (200, b"ok")
    assert (first.get(b"host"), first.get(b"origin")) == (PUBLIC, b"https://" + PUBLIC)
    assert (second.target, second.get(b"host"), second.get(b"origin")) == (b"/a?b", local, b"http://" + local)
    await visit(client, b"/form", b"POST", b"Content-Length: 2\r\n", b"ab")
    third = await end.read_request()
    await end.send(OK)
    assert (await client.read_response()).status == 200
    assert (third.get(b"host"), third.get(b"x-forwarded-host")) == (local, local)
    one, two = await edge.ended(2)
    assert (one.status, one.tries, one.hint) == (
        200,
        2,
        f"{name.split(maxsplit=1)[0]} refuses this host: told {local.decode()} from now on",
    )
    assert two.hint == ""


@pytest.mark.parametrize("piece", [1, 7])
async def test_a_refusal_that_comes_in_pieces(edge: RunningEdge, piece: int) -> None:
    """The response is held until its first bytes tell."""
    backend, client, end = await visited(edge)
    words = b"DisallowedHost at "
    raw = REFUSALS["django as text"].partition(words)[0] + words
    for at in range(0, len(raw), piece):
        await end.send(raw[at : at + piece])
        await edge.turns(3)
    assert (await serve(backend)).get(b"host") == b"localhost:%d" % backend.port
    assert (await client.read_response()).status == 200


@pytest.mark.parametrize("name", [name for name in REFUSALS if name not in ("storybook", "webpack of 2021")])
async def test_a_refusal_without_a_length(edge: RunningEdge, name: str) -> None:
    """One that ends with its connection, as Django's page does: its head comes first, and its words behind it."""
    backend, client, end = await visited(edge)
    head, _, body = REFUSALS[name].partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith((b"Content-Length", b"Transfer-Encoding"))]
    if b"Transfer-Encoding" in head:
        body = body.partition(b"\r\n")[2].removesuffix(b"\r\n0\r\n\r\n")
    await end.send(b"\r\n".join(lines) + b"\r\n\r\n")
    await edge.turns(3)
    await end.send(body)
    end.close()
    assert (await serve(backend)).get(b"host") == b"localhost:%d" % backend.port
    assert (await client.read_response()).status == 200


@pytest.mark.parametrize("body", [b"", b"no", b"no" * 40_000])
async def test_another_answer_without_a_length(edge: RunningEdge, body: bytes) -> None:
    """It is passed on to its end."""
    _, client, end = await visited(edge)
    await end.send(b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n\r\n")
    await edge.turns(3)
    await end.send(body)
    end.close()
    answer = await client.read_response()
    assert (answer.status, answer.body) == (403, body)


# What is no refusal of a host, or is of something that must not be sent twice.
PASSED_ON = {
    "json": sized(b"403 Forbidden", b"application/json", b'{"error": "Blocked request. This host ("}'),
    "another text": sized(b"403 Forbidden", b"text/plain", b"You shall not pass: Blocked request. This host (x)"),
    "another page": sized(b"400 Bad Request", b"text/html", b"<title>Bad Request (400)</title>"),
    "an empty one": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "a list of its owner's": sized(b"403 Forbidden", b"text/plain", b"Invalid host header"),
    "another status": sized(b"404 Not Found", b"text/plain", b"Invalid Host header"),
    "nineteen bytes": sized(b"200 OK", b"text/plain", b"Invalid Host headeX"),
    "compressed": b"HTTP/1.1 403 Forbidden\r\nContent-Encoding: br\r\nContent-Length: 19\r\n\r\nInvalid Host header",
    "next, elsewhere": sized(b"403 Forbidden", b"text/plain", b"Unauthorized"),
}


@pytest.mark.parametrize("name", PASSED_ON)
async def test_other_answers_are_passed_on(edge: RunningEdge, name: str) -> None:
    """Byte for byte, and nothing is learnt from them."""
    backend = edge.backend("shop")
    client = await edge.client(FRONT)
    await visit(client)
    request = await serve(backend, PASSED_ON[name])
    answer = await client.read_response()
    assert b"HTTP/1.1 %d" % answer.status == PASSED_ON[name][:12]
    assert answer.body == PASSED_ON[name].partition(b"\r\n\r\n")[2]
    assert request.get(b"host") == PUBLIC
    assert [done.hint for done in await edge.ended(1)] == [""]


async def test_nothing_that_may_act_is_sent_twice(edge: RunningEdge) -> None:
    """A POST that was refused is the visitor's to send again; from then on it is taken."""
    backend = edge.backend("shop")
    client = await edge.client(FRONT)
    await visit(client, b"/", b"POST", b"Content-Length: 2\r\n", b"ab")
    end = await backend.accept()
    await end.read_request()
    await end.send(VITE)
    assert (await client.read_response()).status == 403
    await visit(client, b"/", b"POST", b"Content-Length: 2\r\n", b"ab")
    assert (await end.read_request()).get(b"host") == b"localhost:%d" % backend.port
    await end.send(OK)
    assert (await client.read_response()).status == 200


async def test_a_program_that_refuses_localhost_too(edge: RunningEdge) -> None:
    """It is asked once more in all, hears the truth from then on, and its refusal is the answer."""
    backend = edge.backend("shop")
    client = await edge.client(FRONT)
    await visit(client)
    assert (await serve(backend, VITE)).get(b"host") == PUBLIC
    end = await backend.accept()
    assert (await end.read_request()).get(b"host") == b"localhost:%d" % backend.port
    await end.send(VITE)
    answer = await client.read_response()
    assert (answer.status, answer.body[:15]) == (403, b"Blocked request")
    for _ in range(2):
        await visit(client)
        assert (await end.read_request()).get(b"host") == PUBLIC
        await end.send(VITE)
        assert (await client.read_response()).status == 403
    assert {done.hint for done in edge.finished} == {"vite refuses this host: host_mode localhost helps"}


async def test_the_next_boot_is_asked_anew(edge: RunningEdge) -> None:
    """Another program may listen there."""
    backend = edge.backend("shop")
    client = await edge.client(FRONT)
    await visit(client)
    await serve(backend, VITE)
    await serve(backend)
    await client.read_response()
    edge.point("shop", backend, "boot-2")
    await visit(client)
    assert (await serve(backend)).get(b"host") == PUBLIC
    await client.read_response()


@pytest.mark.parametrize("mode", ["preserve", "dev.internal"])
async def test_said_modes_are_kept(edge: RunningEdge, mode: str) -> None:
    """Where somebody has said what the program is told, its refusal is passed on, and the line says what helps."""
    backend = edge.backend("shop")
    edge.point("shop", backend, host_modes={backend.port: mode})
    client = await edge.client(FRONT)
    await visit(client)
    await serve(backend, VITE)
    assert (await client.read_response()).status == 403
    assert [done.hint for done in await edge.ended(1)] == ["vite refuses this host: host_mode localhost helps"]


async def test_deployments_and_domains_hear_the_truth(edge: RunningEdge) -> None:
    """Whoever gave a program a name of its own, or published it, has told it so."""
    backend = edge.backend("shop", kind=Kind.DEPLOYMENT)
    client = await edge.client(FRONT)
    await visit(client)
    await serve(backend, VITE)
    assert (await client.read_response()).status == 403
    computer = edge.backend("box", kind=Kind.COMPUTER)
    endpoint = Endpoint(computer.address, "boot-1")
    target = records.resource("box", kind=Kind.COMPUTER, default_port=computer.port, endpoint=endpoint)
    edge.put(records.name("www.example.com", target))
    await client.send(b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
    await serve(computer, VITE)
    assert (await client.read_response()).status == 403
    assert {done.hint for done in await edge.ended(2)} == {"vite refuses this host: host_mode localhost helps"}


@pytest.mark.parametrize("known", [True, False])
async def test_all_workers_learn(edge: RunningEdge, known: bool) -> None:
    """What one has found out, the others are told: a form must not meet a worker that has not seen its page."""
    backend = edge.backend("shop")
    told = f"localhost:{backend.port}"
    client = await edge.client(FRONT)
    if known:
        await visit(client)
        assert (await serve(backend)).get(b"host") == PUBLIC
        await client.read_response()
    edge.proxy.learn(HostNote(records.resource("shop").id, "shop", backend.port, "boot-1", "vite", told))
    await visit(client, b"/", b"POST", b"Content-Length: 0\r\n")
    end = backend.ends[0] if known else await backend.accept()
    assert (await end.read_request()).get(b"host") == told.encode()
    await end.send(OK)
    await client.read_response()


async def test_a_held_answer_is_let_go(edge: RunningEdge) -> None:
    """A server that stops in the middle of a 403 has two seconds: then the visitor gets what there is."""
    _, client, end = await visited(edge)
    await end.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 400\r\n\r\nB")
    await edge.turns()
    edge.advance(3)
    await end.send(b"x" * 399)
    answer = await client.read_response()
    assert (answer.status, answer.body) == (403, b"B" + b"x" * 399)


async def test_a_held_answer_that_breaks_off(edge: RunningEdge) -> None:
    """It is no answer."""
    _, client, end = await visited(edge)
    await end.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 400\r\n\r\nB")
    await edge.turns()
    end.close()
    assert (await client.read_response()).status == 502


HMR = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.mark.parametrize("refusal", [b"Unauthorized", sized(b"403 Forbidden", b"text/plain", b"Unauthorized")])
async def test_next_dev_reloads(edge: RunningEdge, refusal: bytes) -> None:
    """It refuses the Origin of its own page at `/_next/`, without any HTTP. Only what is there is told `localhost`: the
    program goes on to know its name, for redirects of logins and for links."""
    backend = edge.backend("shop")
    local = b"localhost:%d" % backend.port
    client = await edge.client(FRONT)
    await visit(client, b"/_next/webpack-hmr?id=1", more=HMR)
    first = await backend.accept()
    assert (await first.read_request()).get(b"origin") == b"https://" + PUBLIC
    await first.send(refusal)
    first.close()
    second = await backend.accept()
    assert (await second.read_request()).get(b"origin") == b"http://" + local
    await second.send(SWITCH)
    assert (await client.read_response()).status == 101
    other = await edge.client(FRONT)
    await visit(other, b"/", b"POST", b"Next-Action: x\r\nContent-Length: 0\r\n")
    request = await serve(backend)
    assert (request.get(b"host"), request.get(b"origin")) == (PUBLIC, b"https://" + PUBLIC)
    assert request.get(b"x-forwarded-host") == PUBLIC
    assert (await other.read_response()).status == 200


@pytest.mark.parametrize("host", [b"SHOP.miosa.app", b"shop.miosa.app:"])
async def test_a_host_that_is_written_oddly_decides_nothing(edge: RunningEdge, host: bytes) -> None:
    """Some programs serve `name` and refuse `NAME`: who asks for that has their refusal, and nobody else hears of it."""
    backend = edge.backend("shop")
    client = await edge.client(FRONT)
    await client.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
    await serve(backend, _last(VITE))
    assert (await client.read_response()).status == 403
    other = await edge.client(FRONT)
    await visit(other)
    assert (await serve(backend)).get(b"host") == PUBLIC
    assert (await other.read_response()).status == 200


def _last(response: bytes) -> bytes:
    """A response on a connection that serves no other."""
    return response.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


STRANGERS = {
    "another page": b"Origin: https://elsewhere.example\r\n",
    "another page without its name": b"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
    "another page that lies": b"Origin: https://%b\r\nSec-Fetch-Site: cross-site\r\n" % PUBLIC,
}


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("more", STRANGERS.values(), ids=STRANGERS)
async def test_what_next_dev_refuses_strangers_decides_nothing(edge: RunningEdge, more: bytes, told: bool) -> None:
    """It refuses them under any name: its own pages reload as before, and what it refuses is sent once."""
    backend = edge.backend("shop")
    local = b"localhost:%d" % backend.port
    refusal = _last(sized(b"403 Forbidden", b"text/plain", b"Unauthorized"))
    if told:
        note = HostNote(records.resource("shop").id, "shop", backend.port, "boot-1", "next", local.decode())
        edge.proxy.learn(note)
    stranger = await edge.client(FRONT)
    await stranger.send(
        b"GET /_next/static/a.js HTTP/1.1\r\nHost: %b\r\nX-Forwarded-Proto: https\r\n%b\r\n" % (PUBLIC, more)
    )
    await serve(backend, refusal)
    assert (await stranger.read_response()).status == 403
    client = await edge.client(FRONT)
    await visit(client, b"/_next/webpack-hmr?id=1", more=HMR)
    if not told:
        assert (await serve(backend, refusal)).get(b"host") == PUBLIC
    end = await backend.accept()
    assert (await end.read_request()).get(b"host") == local
    await end.send(SWITCH)
    assert (await client.read_response()).status == 101
