"""Heads on their way through: what the backend reads, and what the client reads of the answer."""

import pytest

from router.http1.forwarding import (
    ClientInfo,
    HeadRules,
    interim_to_client,
    request_to_backend,
    response_framing,
    response_to_client,
)
from router.http1.heads import CHUNKED, NONE, UNTIL_CLOSE
from router.http1.requests import RequestHead
from router.http1.upgrade import settle_upgrade
from tests.unit.http1.messages import answer, read

NO_RULES = HeadRules()
CLIENT = ClientInfo(
    "192.0.2.1", b"https", b"shop.miosa.app", b"X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n"
)
OURS = b"X-Request-ID: r-1\r\nX-Miosa-Hops: 1\r\n"
EDGE = CLIENT.block + OURS


def told(host: bytes, port: bytes) -> bytes:
    """What we add for a program that is told another Host."""
    return (
        b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Port: %b\r\n"
        b'Forwarded: for=192.0.2.1;host="%b";proto=http\r\n' % (host, port, host)
    ) + OURS


def forwarded(head: RequestHead, host: bytes | None = None) -> bytes:
    """The head that the backend reads, with another Host where one is given."""
    settle_upgrade(head)
    return request_to_backend(head, CLIENT, b"r-1", HeadRules(host))


def test_request() -> None:
    """The request line, the client's lines as they came, ours behind them."""
    head = read(
        b"X-B: 1", b"x-a:2 ", b"X-Forwarded-For: 198.51.100.1", b"X-B:\t3", b"X-Request-ID: theirs", host=b"A.b"
    )
    assert forwarded(head) == b"GET / HTTP/1.1\r\nHost: A.b\r\nX-B: 1\r\nx-a:2 \r\nX-B:\t3\r\n" + EDGE + b"\r\n"


REQUESTS = [
    ("a target as it came", [], b"GET //a/%2e%2E?b=c&d[]#=".replace(b"#", b"") + b" HTTP/1.1", [], b""),
    ("HTTP/1.1 for everybody", [], b"GET / HTTP/1.0", [], b""),
    ("no Connection of the client's", [b"Connection: close", b"Keep-Alive: 5"], b"GET / HTTP/1.1", [], b""),
    ("a length", [b"Content-Length: 5"], b"POST / HTTP/1.1", [b"Content-Length: 5"], b""),
    ("chunks", [b"transfer-encoding:CHUNKED"], b"POST / HTTP/1.1", [b"Transfer-Encoding: chunked"], b""),
    ("Expect", [b"Expect: 100-continue"], b"POST / HTTP/1.1", [b"Expect: 100-continue"], b""),
    ("trailers", [b"TE: trailers"], b"GET / HTTP/1.1", [], b"Connection: TE\r\nTE: trailers\r\n"),
    (
        "an upgrade",
        [b"Connection: keep-alive, Upgrade", b"upgrade: WebSocket", b"Sec-WebSocket-Key: x"],
        b"GET / HTTP/1.1",
        [b"Sec-WebSocket-Key: x"],
        b"Connection: Upgrade\r\nUpgrade: WebSocket\r\n",
    ),
    (
        "an upgrade and trailers",
        [b"Connection: TE, Upgrade", b"Upgrade: x", b"TE: trailers"],
        b"GET / HTTP/1.1",
        [],
        b"Connection: Upgrade\r\nUpgrade: x\r\n",
    ),
    (
        "no h2c",
        [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x"],
        b"GET / HTTP/1.1",
        [],
        b"",
    ),
    ("Via of others", [b"Via: 1.0 a"], b"GET / HTTP/1.1", [b"Via: 1.0 a"], b""),
]


@pytest.mark.parametrize(
    ("lines", "first", "kept", "hop"), [case[1:] for case in REQUESTS], ids=[case[0] for case in REQUESTS]
)
def test_requests(lines: list[bytes], first: bytes, kept: list[bytes], hop: bytes) -> None:
    """Byte by byte: what is kept, and what is for the hop between us and the backend."""
    line = first.rpartition(b" ")[0] + b" HTTP/1.1"
    expected = b"\r\n".join([line, b"Host: shop.miosa.app", *kept]) + b"\r\n" + EDGE + hop + b"\r\n"
    assert forwarded(read(*lines, first=first)) == expected


ORIGINS = [
    ("the preview's own", b"Origin: https://shop.miosa.app", b"Origin: http://localhost:5173"),
    ("in any case", b"ORIGIN:HTTPS://Shop.Miosa.App", b"Origin: http://localhost:5173"),
    ("another scheme", b"Origin: http://shop.miosa.app", b"Origin: http://shop.miosa.app"),
    ("another port", b"Origin: https://shop.miosa.app:8443", b"Origin: https://shop.miosa.app:8443"),
    ("another site", b"Origin: https://evil.example", b"Origin: https://evil.example"),
    ("nobody", b"Origin: null", b"Origin: null"),
    ("an address below", b"Origin: https://shop.miosa.app/a", b"Origin: https://shop.miosa.app/a"),
]


@pytest.mark.parametrize(("line", "becomes"), [case[1:] for case in ORIGINS], ids=[case[0] for case in ORIGINS])
def test_origin_follows_host(line: bytes, becomes: bytes) -> None:
    """With another Host, the preview's own Origin is that Host's; any other Origin is the truth, and stays."""
    out = forwarded(read(b"A: b", line), b"localhost:5173")
    assert (
        out
        == b"GET / HTTP/1.1\r\nHost: localhost:5173\r\nA: b\r\n"
        + becomes
        + b"\r\n"
        + told(b"localhost:5173", b"5173")
        + b"\r\n"
    )


def test_origin_stays_with_host() -> None:
    """Without another Host nothing is rewritten."""
    out = forwarded(read(b"Origin: https://shop.miosa.app"))
    assert b"Host: shop.miosa.app\r\nOrigin: https://shop.miosa.app\r\n" in out


def test_origin_is_that_of_the_first_proxy() -> None:
    """What the client calls the preview is what a trusted proxy says, whatever Host we are asked for."""
    head = read(b"Origin: https://shop.miosa.app", host=b"10.0.0.1:8080")
    assert b"Host: localhost:3000\r\nOrigin: http://localhost:3000\r\n" in forwarded(head, b"localhost:3000")


def test_host_is_rewritten_where_it_stands() -> None:
    """Also where Connection has taken lines out before it; and a retry reads the head as the first try did."""
    head = read(b"X-A: 1", b"Host: a", b"Origin: https://shop.miosa.app", b"Connection: x-a", host=None)
    expected = b"GET / HTTP/1.1\r\nHost: b\r\nOrigin: http://b\r\n" + told(b"b", b"80") + b"\r\n"
    assert forwarded(head, b"b") == expected
    assert forwarded(head, b"b") == expected
    assert head.lines == [b"Host: a", b"Origin: https://shop.miosa.app"]


# (method, status, framing of the answer) → framing towards clients of HTTP/1.1 and of HTTP/1.0
FRAMINGS = [
    (b"GET", 200, 5, 5, 5),
    (b"GET", 200, 0, 0, 0),
    (b"GET", 200, CHUNKED, CHUNKED, UNTIL_CLOSE),
    (b"GET", 200, UNTIL_CLOSE, CHUNKED, UNTIL_CLOSE),
    (b"GET", 206, UNTIL_CLOSE, CHUNKED, UNTIL_CLOSE),
    (b"HEAD", 200, NONE, NONE, NONE),
    (b"GET", 204, NONE, NONE, NONE),
    (b"GET", 304, NONE, NONE, NONE),
]
_SAID = {
    CHUNKED: [b"Transfer-Encoding: chunked"],
    UNTIL_CLOSE: [],
    5: [b"Content-Length: 5"],
    0: [b"Content-Length: 0"],
}


@pytest.mark.parametrize(("method", "status", "framing", "new", "old"), FRAMINGS)
def test_response_framing(method: bytes, status: int, framing: int, new: int, old: int) -> None:
    """Chunks for HTTP/1.1 where the length is not known, the connection's end for HTTP/1.0; no body stays none."""
    head = answer(*_SAID[framing], first=b"HTTP/1.1 %d x" % status, method=method)
    assert head.framing == framing
    assert response_framing(head, method, 1) == new
    assert response_framing(head, method, 0) == old


@pytest.mark.parametrize("lines", [[b"Content-Length: 5"], [b"Transfer-Encoding: chunked"], []])
@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_no_body_is_no_framing(lines: list[bytes], method: bytes, status: int) -> None:
    """Answers to HEAD, 204 and 304 have no body, whatever their heads say, for any client."""
    head = answer(*lines, first=b"HTTP/1.1 %d x" % status, method=method)
    assert response_framing(head, method, 1) == response_framing(head, method, 0) == NONE


def passed_on(
    *lines: bytes,
    first: bytes = b"HTTP/1.1 200 OK",
    method: bytes = b"GET",
    version: int = 1,
    keep_alive: bool = True,
    rules: HeadRules = NO_RULES,
) -> bytes:
    """The head that the client reads of an answer."""
    head = answer(*lines, first=first, method=method)
    framing = response_framing(head, method, version)
    out = response_to_client(
        head, CLIENT, rules, request_id=b"r-1", framing=framing, client_version=version, keep_alive=keep_alive
    )
    assert out.endswith(b"\r\nX-Request-ID: r-1\r\n\r\n")
    return out.removesuffix(b"X-Request-ID: r-1\r\n\r\n") + b"\r\n"


def whole(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A head of these lines."""
    return b"\r\n".join([first, *lines, b"", b""])


def test_response() -> None:
    """Lines go on as they came; hop-by-hop ones and our own names do not."""
    lines = [b"Set-Cookie: b=1", b"x-a:2 ", b"set-cookie: a=2", b"Content-Length: 5"]
    assert passed_on(b"Connection: keep-alive, x-b", b"Keep-Alive: 5", b"X-B: 1", b"X-Miosa-A: 1", *lines) == whole(
        *lines
    )


RESPONSES = [
    ("a length, kept", 1, True, [b"Content-Length: 5"], [b"Content-Length: 5"]),
    ("a length, closed", 1, False, [b"Content-Length: 5"], [b"Content-Length: 5", b"Connection: close"]),
    ("a length, kept in 1.0", 0, True, [b"Content-Length: 5"], [b"Content-Length: 5", b"Connection: keep-alive"]),
    ("a length, closed in 1.0", 0, False, [b"Content-Length: 5"], [b"Content-Length: 5", b"Connection: close"]),
    ("chunks", 1, True, [b"Transfer-Encoding: chunked"], [b"Transfer-Encoding: chunked"]),
    ("chunks for 1.0", 0, False, [b"Transfer-Encoding: chunked"], [b"Connection: close"]),
    ("until close", 1, True, [], [b"Transfer-Encoding: chunked"]),
    ("until close for 1.0", 0, False, [], [b"Connection: close"]),
    (
        "no word of the backend's persistence",
        1,
        True,
        [b"Connection: close", b"Content-Length: 5"],
        [b"Content-Length: 5"],
    ),
]


@pytest.mark.parametrize(
    ("version", "keep_alive", "lines", "becomes"), [case[1:] for case in RESPONSES], ids=[case[0] for case in RESPONSES]
)
def test_responses(version: int, keep_alive: bool, lines: list[bytes], becomes: list[bytes]) -> None:
    """Framing and persistence are ours to say, for the client's version."""
    assert passed_on(*lines, version=version, keep_alive=keep_alive) == whole(*becomes)


@pytest.mark.parametrize("kept", [True, False])
def test_a_response_says_its_request(kept: bool) -> None:
    """Each its own, also where the head is remembered; a backend that names one keeps it, once."""
    head = answer(b"Content-Length: 0")
    rest = [] if kept else [b"Connection: close"]
    for name in (b"r-1", b"r-2"):
        out = response_to_client(
            head, CLIENT, NO_RULES, request_id=name, framing=NONE, client_version=1, keep_alive=kept
        )
        assert out == whole(b"Content-Length: 0", *rest, b"X-Request-ID: " + name)
    own = answer(b"x-request-ID: mine", b"Content-Length: 0")
    for _ in range(2):
        out = response_to_client(
            own, CLIENT, NO_RULES, request_id=b"r-1", framing=NONE, client_version=1, keep_alive=kept
        )
        assert out == whole(b"x-request-ID: mine", b"Content-Length: 0", *rest)


BODILESS = [
    (b"HEAD", b"HTTP/1.1 200 OK", [b"Content-Length: 5"], [b"Content-Length: 5"]),
    (b"HEAD", b"HTTP/1.1 200 OK", [b"Transfer-Encoding: chunked"], []),
    (b"HEAD", b"HTTP/1.1 200 OK", [], []),
    (b"GET", b"HTTP/1.1 204 No Content", [b"Content-Length: 0"], []),
    (b"GET", b"HTTP/1.1 204 No Content", [b"Transfer-Encoding: chunked"], []),
    (b"GET", b"HTTP/1.1 304 Not Modified", [b"Content-Length: 5", b"ETag: x"], [b"Content-Length: 5", b"ETag: x"]),
    (b"GET", b"HTTP/1.1 304 Not Modified", [b"Transfer-Encoding: chunked"], []),
]


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(("method", "first", "lines", "becomes"), BODILESS)
def test_responses_without_a_body(
    method: bytes, first: bytes, lines: list[bytes], becomes: list[bytes], version: int
) -> None:
    """No framing that would make a client wait for a body."""
    kept = [b"Connection: keep-alive"] if version == 0 else []
    assert passed_on(*lines, first=first, method=method, version=version) == whole(*becomes, *kept, first=first)


REASONS = [b"HTTP/1.1 200 ", b"HTTP/1.1 404 Not  Found", b"HTTP/1.1 999 \xff", b"HTTP/1.1 203 x"]


@pytest.mark.parametrize("first", REASONS)
def test_reasons_are_kept(first: bytes) -> None:
    """The status line goes on as it came."""
    assert passed_on(b"Content-Length: 0", first=first) == whole(b"Content-Length: 0", first=first)


def test_status_line_is_normalised() -> None:
    """Ours is HTTP/1.1 (RFC 9112 §2.3), and has the blank behind the status."""
    ended = whole(b"Connection: close", first=b"HTTP/1.1 200 ")
    assert passed_on(first=b"HTTP/1.0 200", version=0, keep_alive=False) == ended


LOCATIONS = [
    # the backend's own
    (b"http://localhost:5173/a?b#c", b"https://shop.miosa.app/a?b#c"),
    (b"http://localhost:5173", b"https://shop.miosa.app"),
    (b"http://localhost:5173?a", b"https://shop.miosa.app?a"),
    (b"http://localhost:5173#a", b"https://shop.miosa.app#a"),
    (b"HTTP://LocalHost:5173/a", b"https://shop.miosa.app/a"),
    (b"https://localhost:5173/a", b"https://shop.miosa.app/a"),  # who believes X-Forwarded-Proto says it so
    (b"//localhost:5173/a", b"https://shop.miosa.app/a"),
    # not the backend's own
    (b"/a", b"/a"),
    (b"a", b"a"),
    (b"", b""),
    (b"http://localhost/a", b"http://localhost/a"),
    (b"http://localhost:51730/a", b"http://localhost:51730/a"),
    (b"http://localhost:5173.evil.example/", b"http://localhost:5173.evil.example/"),
    (b"http://localhost:5173@evil.example/", b"http://localhost:5173@evil.example/"),
    (b"http://u@localhost:5173/", b"http://u@localhost:5173/"),
    (b"ws://localhost:5173/", b"ws://localhost:5173/"),
    (b"https://other.example/?http://localhost:5173/", b"https://other.example/?http://localhost:5173/"),
]


@pytest.mark.parametrize(("value", "becomes"), LOCATIONS)
def test_location_follows_host(value: bytes, becomes: bytes) -> None:
    """Where a backend heard another Host, its redirects to itself lead to what the client calls it."""
    out = passed_on(b"A: b", b"Location: " + value, b"Content-Length: 0", rules=HeadRules(b"localhost:5173"))
    assert out == whole(b"A: b", b"Location: " + becomes, b"Content-Length: 0")


def test_location_stays() -> None:
    """Without another Host redirects go on as they came, and without Location there is nothing to rewrite."""
    line = b"location:http://localhost:5173/"
    assert passed_on(line, b"Content-Length: 0") == whole(line, b"Content-Length: 0")
    out = passed_on(b"Content-Length: 0", rules=HeadRules(b"localhost:5173"))
    assert out == whole(b"Content-Length: 0")


@pytest.mark.parametrize("connection", [b"Connection: Upgrade", b"Connection: close", b"Connection: keep-alive"])
def test_426_keeps_its_upgrade(connection: bytes) -> None:
    """It must say what to upgrade to (RFC 9110 §15.5.22), and servers do so without naming Upgrade in Connection."""
    first = b"HTTP/1.1 426 Upgrade Required"
    out = passed_on(connection, b"Upgrade: websocket", b"Content-Length: 0", first=first)
    assert out == whole(b"Content-Length: 0", b"Connection: Upgrade", b"Upgrade: websocket", first=first)
    assert passed_on(connection, b"Content-Length: 0", first=first) == whole(b"Content-Length: 0", first=first)


def test_others_lose_their_upgrade() -> None:
    """An offer to upgrade that comes with another answer is for this hop only."""
    offer = [b"Connection: Upgrade", b"Upgrade: h2c"]
    assert passed_on(*offer, b"Content-Length: 0") == whole(b"Content-Length: 0")


INTERIMS = [
    (b"HTTP/1.1 100 Continue", [], []),
    (
        b"HTTP/1.1 103 Early Hints",
        [b"Link: </a>; rel=preload", b"link: </b>"],
        [b"Link: </a>; rel=preload", b"link: </b>"],
    ),
    (b"HTTP/1.1 103 x", [b"Content-Length: 0", b"Connection: close", b"X-Miosa-A: 1", b"A: b"], [b"A: b"]),
    (b"HTTP/1.1 102 x", [b"Upgrade: websocket", b"Connection: Upgrade"], []),
    (
        b"HTTP/1.1 101 Switching Protocols",
        [b"upgrade: WebSocket", b"Connection: keep-alive, Upgrade", b"Sec-WebSocket-Accept: x"],
        [b"Sec-WebSocket-Accept: x", b"Connection: Upgrade", b"Upgrade: WebSocket"],
    ),
]


@pytest.mark.parametrize(("first", "lines", "becomes"), INTERIMS)
def test_interim(first: bytes, lines: list[bytes], becomes: list[bytes]) -> None:
    """1xx answers go on without framing and without a word of persistence; a 101 keeps its upgrade."""
    head = answer(*lines, first=first)
    for _ in range(2):
        assert interim_to_client(head, CLIENT, NO_RULES) == whole(*becomes, first=first)
    said = [b"X-Request-ID: r-1"] if b" 101 " in first else []
    assert interim_to_client(head, CLIENT, NO_RULES, b"r-1") == whole(*becomes, *said, first=first)
