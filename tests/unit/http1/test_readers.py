"""The readers of heads, on a table of lines and sections: the same outcome as in full, and as it goes on."""

import itertools

import pytest

from router.http1.forwarding import ClientInfo, HeadRules, response_framing, response_to_client
from router.http1.heads import RefusedError
from router.http1.requests import RequestHead, RequestReader, read_request_head
from router.http1.responses import ResponseReader, read_response_head
from tests.unit.http1.messages import LIMITS

LINES = (
    b"GET / HTTP/1.1",
    b"POST /a?b=c HTTP/1.1",
    b"HEAD /%41 HTTP/1.1",
    b"GET / HTTP/1.0",
    b"PROPFIND /a HTTP/1.1",
    b"GET http://a.example/x HTTP/1.1",
    b"GET http://b.example/x HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET /a#b HTTP/1.1",
    b"GET  / HTTP/1.1",
    b"GET /\x80 HTTP/1.1",
    b"get / HTTP/1.1",
    b"NONSENSE / HTTP/1.1",
    b"CONNECT / HTTP/1.1",
    b"GET / HTTP/1.1 ",
    b"GET /" + b"a" * LIMITS.request_line + b" HTTP/1.1",
)
SECTIONS = (
    b"Host: a.example\r\n",
    b"Host: a.example\r\nConnection: close\r\nCookie: a=b\r\n",
    b"Host: a.example\r\nConnection: x-a, keep-alive\r\nX-A: b\r\nOrigin: http://a.example\r\n",
    b"Host: a.example\r\nContent-Length: 3\r\n",
    b"Host: a.example\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n",
    b"Host: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    b"Host: a.example\r\nX-Forwarded-For: 192.0.2.1\r\nX-Request-ID: a\r\nVia: 1.1 miosa-edge\r\n",
    b"Host: a.example\r\nExpect: 100-continue\r\nContent-Length: 1\r\n",
    b"Host: a.example\r\nX-Long: " + b"a" * 5000 + b"\r\n",
    b"Host: a.example\r\nHost: a.example\r\n",
    b"Host: a.example\r\nX: a\nY: b\r\n",
    b"X: y\r\n",
    b"",
)


def outcome(read: object, *words: object) -> object:
    try:
        head = read(*words)  # type: ignore[operator]
    except RefusedError as error:
        return error.problem, str(error)
    said = {name: getattr(head, name) for name in dir(head) if name[0] != "_" and name != "block"}
    return {name: value for name, value in said.items() if not callable(value)}


def test_a_request_is_read_the_same() -> None:
    reader = RequestReader(LIMITS)
    for section, line in itertools.product(SECTIONS, LINES):
        raw = line + b"\r\n" + section + b"\r\n"
        assert outcome(reader.read, raw) == outcome(read_request_head, raw, LIMITS), raw


def test_two_heads_are_not_read_as_one() -> None:
    """The caller has to take them apart."""
    reader = RequestReader(LIMITS)
    for section, line in itertools.product(SECTIONS, LINES):
        raw = line + b"\r\n" + section + b"\r\n"
        for second in (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", raw, b"\r\n"):
            assert reader.read(raw + second) is None, raw


def read(reader: RequestReader, raw: bytes) -> RequestHead:
    """What surely is one head."""
    head = reader.read(raw)
    assert head is not None
    return head


def test_the_block_is_what_the_lines_are() -> None:
    reader = RequestReader(LIMITS)
    for section, usual in zip(SECTIONS, (True, True, False, True, False, False, True), strict=False):
        head = read(reader, b"GET / HTTP/1.1\r\n" + section + b"\r\n")
        assert head.block == (b"\r\n".join(head.lines) + b"\r\n" if usual else None)


def test_the_visitor_is_who_the_lines_say() -> None:
    reader = RequestReader(LIMITS)
    raw = b"GET / HTTP/1.1\r\nHost: a.example\r\nuser-agent:  A \r\nReferer: https://b/\r\n\r\n"
    head = read(reader, raw)
    assert (head.user_agent, head.referer) == (b"A", b"https://b/")


def test_each_target_is_judged() -> None:
    reader = RequestReader(LIMITS)
    section = b"\r\nHost: a.example\r\n\r\n"
    for byte in range(256):
        raw = b"GET /%c HTTP/1.1" % byte + section
        assert outcome(reader.read, raw) == outcome(read_request_head, raw, LIMITS), raw


ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://localhost:3000/a\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Domain=a.example\r\nContent-Length: 3\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nSet-Cookie: a=1; domain=example\r\nLocation: //localhost:3000/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 3000 + b"\r\n\r\n",
)
# Each field of HeadRules, alone and with the others.
RULES = [HeadRules(*both) for both in itertools.product((None, b"localhost:3000"), (None, b"a.example", b"b.example"))]
CLIENTS = [ClientInfo("192.0.2.1", b"https", host, b"") for host in (b"a.example", b"b.example")]


@pytest.mark.parametrize("raw", ANSWERS)
def test_a_response_goes_on_the_same(raw: bytes) -> None:
    """Whoever asks, on whichever route."""
    reader = ResponseReader(LIMITS)
    ways = list(itertools.product((b"GET", b"HEAD", b"POST"), (1, 0), (True, False), RULES, CLIENTS))
    for method, version, keep_alive, rules, client in ways:
        try:
            fresh = read_response_head(raw, method, LIMITS)
        except RefusedError:
            with pytest.raises(RefusedError):
                reader.read(raw, method)
            continue
        head = reader.read(raw, method)
        framing = response_framing(fresh, method, version)
        assert response_framing(head, method, version) == framing
        both = [
            response_to_client(
                one,
                client,
                rules,
                request_id=b"r-1",
                framing=framing,
                client_version=version,
                keep_alive=keep_alive,
            )
            for one in (head, fresh)
        ]
        assert both[0] == both[1]
        assert (head.status, head.keep_alive, head.framing) == (fresh.status, fresh.keep_alive, fresh.framing)
