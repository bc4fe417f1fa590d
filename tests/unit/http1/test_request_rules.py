"""What single headers of a request mean: framing, persistence, cookies, and what proxies said before us."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.http1 import requests
from router.http1.heads import CHUNKED, NONE, RefusedError
from router.http1.names import FORWARDING, HOP_BY_HOP
from tests.unit.http1.messages import read, refusal, request

BAD = (400, "bad_request")
HOST = b"Host: shop.miosa.app"

FRAMINGS = [
    ([], NONE),
    ([b"Content-Length: 0"], 0),
    ([b"Content-Length: 5"], 5),
    ([b"content-length:5"], 5),
    ([b"CONTENT-LENGTH:  5 "], 5),
    ([b"Content-Length: 9223372036854775807"], (1 << 63) - 1),
    ([b"Transfer-Encoding: chunked"], CHUNKED),
    ([b"transfer-encoding:CHUNKED "], CHUNKED),
    ([b"Transfer-Encoding: chunKed"], CHUNKED),
]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS", b"TRACE"])
@pytest.mark.parametrize(("lines", "framing"), FRAMINGS)
def test_framing(lines: list[bytes], framing: int, method: bytes) -> None:
    """A body is framed by a length or by chunks, whatever the method is."""
    assert read(*lines, first=method + b" / HTTP/1.1").framing == framing


BAD_FRAMINGS = [
    [b"Content-Length:"],
    [b"Content-Length: "],
    [b"Content-Length: +5"],
    [b"Content-Length: -5"],
    [b"Content-Length: 005"],
    [b"Content-Length: 00"],
    [b"Content-Length: 5 5"],
    [b"Content-Length: 5, 5"],
    [b"Content-Length: 5,"],
    [b"Content-Length: 0x5"],
    [b"Content-Length: 5f"],
    [b"Content-Length: 1_0"],
    [b"Content-Length: 5.0"],
    [b"Content-Length: five"],
    [b"Content-Length: \xd9\xa5"],
    [b"Content-Length: 5\xa0"],
    [b"Content-Length: 9223372036854775808"],
    [b"Content-Length: 18446744073709551616"],
    [b"Content-Length: " + b"9" * 400],
    [b"Content-Length: 5", b"Content-Length: 5"],
    [b"Content-Length: 5", b"content-length: 6"],
    [b"Content-Length: 0", b"Content-Length: 0"],
    [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
    [b"Content-Length: 0", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding: chunked", b"Content-Length: 0"],
    [b"Content-Length: 5", b"Transfer-Encoding: identity"],
    [b"Transfer-Encoding:"],
    [b"Transfer-Encoding: identity"],
    [b"Transfer-Encoding: gzip"],
    [b"Transfer-Encoding: gzip, chunked"],
    [b"Transfer-Encoding: chunked, gzip"],
    [b"Transfer-Encoding: chunked, chunked"],
    [b"Transfer-Encoding: chunked, identity"],
    [b"Transfer-Encoding: identity, chunked"],
    [b"Transfer-Encoding: ,chunked"],
    [b"Transfer-Encoding: chunked,"],
    [b"Transfer-Encoding: chunked;a=b"],
    [b"Transfer-Encoding: chunked;"],
    [b'Transfer-Encoding: "chunked"'],
    [b"Transfer-Encoding: chunked chunked"],
    [b"Transfer-Encoding: xchunked"],
    [b"Transfer-Encoding: chunkedx"],
    [b"Transfer-Encoding: cow"],
    [b"Transfer-Encoding:\tchunked"],
    [b"Transfer-Encoding: chunked\t"],
    [b"Transfer-Encoding: \xa0chunked"],
    [b"Transfer-Encoding: chun\xe2\x84\xaaed"],  # the Kelvin sign, which lower() of a str makes a k
    [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding: chunked", b"transfer-encoding: CHUNKED"],
    [b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"],
]


@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize("lines", BAD_FRAMINGS)
def test_ambiguous_framing(lines: list[bytes], method: bytes) -> None:
    """Two readers could disagree about where this body ends, so nobody behind us gets to read it."""
    assert refusal(request(*lines, first=method + b" / HTTP/1.1")) == BAD
    apart = [line for name in lines for line in (name, b"X-Between: a")]
    assert refusal(request(b"X: y", *apart, first=method + b" / HTTP/1.1")) == BAD


@pytest.mark.parametrize(
    "lines", [[b"Transfer-Encoding: chunked"], [b"Transfer-Encoding: chunked", b"Connection: close"]]
)
def test_no_transfer_coding_in_http_1_0(lines: list[bytes]) -> None:
    """HTTP/1.0 has none, and old proxies pass it on without reading it (RFC 9112 §6.1)."""
    assert refusal(request(*lines, first=b"POST / HTTP/1.0")) == BAD


def test_chunked_goes_on_in_one_spelling() -> None:
    """Nobody behind us has to understand the client's spelling."""
    assert read(b"TRANSFER-encoding:CHUNKED  ").lines == [HOST, b"Transfer-Encoding: chunked"]


EXPECTATIONS = [
    b"",
    b"100-continue,",
    b"100-continue, 100-continue",
    b"100-continue;a",
    b"200-ok",
    b'"100-continue"',
    b"x",
]


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
@pytest.mark.parametrize("value", EXPECTATIONS)
def test_expectations_that_nobody_can_meet(value: bytes, version: bytes) -> None:
    """Anything but 100-continue is refused with 417 (RFC 9110 §10.1.1)."""
    first = b"POST / " + version
    assert refusal(request(b"Expect: " + value, first=first)) == (417, "expectation_failed")


def test_expect() -> None:
    """100-continue goes on, once; in HTTP/1.0 it is ignored (RFC 9110 §10.1.1)."""
    head = read(b"Expect: 100-Continue", b"expect: 100-continue")
    assert head.expect
    assert head.lines == [HOST, b"Expect: 100-Continue"]
    head = read(b"Expect: 100-continue", first=b"POST / HTTP/1.0")
    assert not head.expect
    assert head.lines == [HOST]


PERSISTENCE = [
    (1, [], True),
    (1, [b"Connection: keep-alive"], True),
    (1, [b"Connection: close"], False),
    (1, [b"Connection: Close"], False),
    (1, [b"connection:\tCLOSE "], False),
    (1, [b"Connection: keep-alive, close"], False),
    (1, [b"Connection: close, keep-alive"], False),
    (1, [b"Connection: close", b"Connection: keep-alive"], False),
    (1, [b"Connection: keep-alive", b"Connection: close"], False),
    (1, [b"Connection: x, close"], False),
    (1, [b"Connection: closed"], True),
    (1, [b"Connection: close\xa0"], True),
    (1, [b"Connection:"], True),
    (0, [], False),
    (0, [b"Connection: keep-alive"], True),
    (0, [b"Connection: Keep-Alive"], True),
    (0, [b"Connection: KEEP-ALIVE, x"], True),
    (0, [b"Connection: keep-alive, close"], False),
    (0, [b"Connection: close"], False),
    (0, [b"Connection: x"], False),
    (0, [b"Proxy-Connection: keep-alive"], False),
    (0, [b"Keep-Alive: timeout=5"], False),
]


@pytest.mark.parametrize(("minor", "lines", "kept"), PERSISTENCE)
def test_persistence(minor: int, lines: list[bytes], kept: bool) -> None:
    """`close` wins; HTTP/1.0 has to ask for `keep-alive` (RFC 9112 §9.3)."""
    head = read(*lines, first=b"GET / HTTP/1.%d" % minor)
    assert head.keep_alive is kept
    assert head.lines == [HOST]


NOMINATIONS = [
    ([b"Connection: x-a"], [b"X-B: 2", b"x-a-b: 4"]),
    ([b"Connection: X-A, x-b"], [b"x-a-b: 4"]),
    ([b"Connection: ,, x-a ,,"], [b"X-B: 2", b"x-a-b: 4"]),
    ([b"Connection: x-a", b"X-C: c", b"connection: x-b"], [b"X-C: c", b"x-a-b: 4"]),
    ([b"Connection: keep-alive, x-a"], [b"X-B: 2", b"x-a-b: 4"]),
    ([b"Connection: x-a-b"], [b"X-A: 1", b"X-B: 2", b"x-a: 3"]),
    ([b"Connection: x_a"], [b"X-A: 1", b"X-B: 2", b"x-a: 3", b"x-a-b: 4"]),
    ([b"Connection: x-nowhere"], [b"X-A: 1", b"X-B: 2", b"x-a: 3", b"x-a-b: 4"]),
    ([b"Connection: x-a: 1"], [b"X-A: 1", b"X-B: 2", b"x-a: 3", b"x-a-b: 4"]),
]


@pytest.mark.parametrize(("lines", "left"), NOMINATIONS)
def test_nominations(lines: list[bytes], left: list[bytes]) -> None:
    """What Connection names is for one hop only, in any case, on any of its lines (RFC 9110 §7.6.1)."""
    head = read(*lines, b"X-A: 1", b"X-B: 2", b"x-a: 3", b"x-a-b: 4")
    assert head.lines == [HOST, *left]


STICKY = [
    b"Content-Length: 5",
    b"Authorization: Bearer a",
    b"Cookie: a=b",
    b"Expect: 100-continue",
    b"Trailer: x",
    b"Via: 1.1 a",
]


@pytest.mark.parametrize("line", [HOST, *STICKY])
def test_what_connection_cannot_take_out(line: bytes) -> None:
    """Routing, framing and authentication stay, or a client would choose what its request means to the backend."""
    name = line.partition(b":")[0]
    lines = [] if line == HOST else [line]
    head = read(b"Connection: " + name.lower(), *lines, b"connection: close, " + name.upper())
    assert head.lines == [HOST, *lines]
    assert head.framing == (5 if b"Length" in name else NONE)


def test_connection_cannot_take_out_the_chunked_framing() -> None:
    """The classic: a body without its framing is the next request."""
    head = read(b"Transfer-Encoding: chunked", b"Connection: Transfer-Encoding, TE")
    assert head.lines == [HOST, b"Transfer-Encoding: chunked"]
    assert head.framing == CHUNKED


def test_connection_cannot_take_out_what_proxies_said() -> None:
    """What a trusted proxy says about the client stays known."""
    head = read(b"X-Forwarded-For: 192.0.2.1", b"X-Request-ID: r", b"Connection: x-forwarded-for, x-request-id")
    assert head.forwarding == {b"x-forwarded-for": b"192.0.2.1"}
    assert head.request_id == b"r"


def test_places_move_with_nominations() -> None:
    """Host is found where it stands after other lines have gone."""
    lines = [b"X-A: 1", HOST, b"X-A: 2", b"Origin: https://a"]
    head = read(*lines, host=None)
    assert head.host_at == 1
    head = read(*lines, b"Connection: x-a", host=None)
    assert head.host_at == 0
    assert head.lines == [HOST, b"Origin: https://a"]
    head = read(*lines, b"Connection: origin", host=None)
    assert head.host_at == 1


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_headers_end_here(name: bytes) -> None:
    """What is for one hop goes without being named by Connection, in any case."""
    assert read(name + b": a", name.title() + b": b", name.upper() + b":c").lines == [HOST]


TE = [
    ([b"TE: trailers"], True),
    ([b"te:TRAILERS"], True),
    ([b"TE: gzip;q=0.5, trailers"], True),
    ([b"TE: gzip", b"TE: trailers"], True),
    ([b"TE:"], False),
    ([b"TE: gzip"], False),
    ([b"TE: trailersx"], False),
]


@pytest.mark.parametrize(("lines", "trailers"), TE)
def test_te(lines: list[bytes], trailers: bool) -> None:
    """Of TE only `trailers` is remembered; the lines end here."""
    head = read(*lines, b"Connection: TE")
    assert head.trailers is trailers
    assert head.lines == [HOST]


@pytest.mark.parametrize("name", sorted(FORWARDING))
def test_what_proxies_said_is_kept_apart(name: bytes) -> None:
    """Forwarding headers never go on as they are; several lines of one are one list."""
    head = read(name.title() + b": a", b"X: y", name.upper() + b":b ", name + b":")
    assert head.lines == [HOST, b"X: y"]
    assert head.forwarding == {name: b"a, b, "}


TWINS = [
    b"X_Forwarded_For: 192.0.2.1",
    b"X-Forwarded_For: 192.0.2.1",
    b"x_forwarded-for: 192.0.2.1",
    b"X_FORWARDED_PROTO: https",
    b"X_Forwarded_Host: a",
    b"X_Forwarded_User: root",
    b"X_Real_IP: 192.0.2.1",
    b"X_Request_ID: a",
    b"Content_Length: 5",
    b"Transfer_Encoding: chunked",
    b"X_Miosa_Tenant: acme",
    b"X-Miosa_Tenant: acme",
]


@pytest.mark.parametrize("line", TWINS)
def test_underscore_twins(line: bytes) -> None:
    """What CGI and WSGI would read as a header that only proxies or we may say is dropped, and means nothing."""
    head = read(line, b"X_Kept: a")
    assert head.lines == [HOST, b"X_Kept: a"]
    assert (head.forwarding, head.request_id, head.framing) == (None, b"", NONE)


OURS = [b"X-Miosa-Tenant: acme", b"x-miosa-user: a", b"X-MIOSA-A: b", b"X-Miosa-: a"]
FORWARDED = [b"X-Forwarded-User: root", b"X-Forwarded-Email: a@b", b"X-Forwarded-Uri: /", b"x-forwarded-: a"]


@pytest.mark.parametrize("line", [*OURS, *FORWARDED])
def test_what_only_others_may_say(line: bytes) -> None:
    """Our own names, and whatever else proxies say about a request: never taken from outside."""
    head = read(line, b"X-Miosaic: a", b"X-Forwarder: b")
    assert head.lines == [HOST, b"X-Miosaic: a", b"X-Forwarder: b"]
    assert head.forwarding is None


def test_request_id() -> None:
    """What a proxy called the request is kept apart: whether it is believed is decided elsewhere."""
    head = read(b"X-Request-ID: one", b"x-request-id:\ttwo ")
    assert head.request_id == b"two"
    assert head.lines == [HOST]


def test_what_the_access_line_needs() -> None:
    """The values of User-Agent and Referer are remembered, and their lines go on."""
    lines = [b"User-Agent: curl", b"referer:a"]
    head = read(*lines)
    assert (head.user_agent, head.referer) == (b"curl", b"a")
    assert head.lines == [HOST, *lines]


PASSES = [
    ([], 0),
    ([b"X-Miosa-Hops: 1"], 1),
    ([b"x-miosa-hops:04"], 4),
    ([b"X-Miosa-Hops: 2, 7"], 7),
    ([b"X-Miosa-Hops: 7", b"X-Miosa-Hops: 2"], 7),
    ([b"X-Miosa-Hops: " + b"9" * 5000], 9999),
    ([b"X-Miosa-Hops: -3"], 0),
    ([b"X-Miosa-Hops: \xd9\xa5"], 0),
    ([b"X-Miosa-Hops: x", b"X-Miosa-Hops:"], 0),
    ([b"X_Miosa_Hops: 3"], 0),
]


@pytest.mark.parametrize(("lines", "passes"), PASSES)
def test_hops(lines: list[bytes], passes: int) -> None:
    """How often a request has come through here: the most that any line says, and none of them goes on."""
    head = read(b"Via: 1.1 caddy", *lines)
    assert head.hops == passes
    assert head.lines == [HOST, b"Via: 1.1 caddy"]


DOTS = [
    (b"shop.miosa.app.", b"shop.miosa.app"),
    (b"Shop.Miosa.App.:8443", b"Shop.Miosa.App:8443"),
    (b"shop.miosa.app.:", b"shop.miosa.app:"),
    (b"shop.miosa.app", b"shop.miosa.app"),
    (b"shop.miosa.app..", b"shop.miosa.app.."),
    (b".", b"."),
    (b".:80", b".:80"),
    (b"a.", b"a"),
    (b"[::1]", b"[::1]"),
    (b"127.0.0.1.", b"127.0.0.1"),
]


@pytest.mark.parametrize(("said", "goes_on"), DOTS)
def test_a_dot_behind_the_host_ends_here(said: bytes, goes_on: bytes) -> None:
    """`name.` is a way to write `name` that programs don't know; what is no name stays as it is, to be refused."""
    head = read(b"X: y", host=said)
    assert (head.host, head.lines) == (goes_on, [b"Host: " + goes_on, b"X: y"])
    head = read(first=b"GET http://" + said + b"/a HTTP/1.1", host=said)
    assert (head.host, head.target) == (goes_on, b"/a")


DOTTED = [
    (b"Origin: https://shop.miosa.app.", b"Origin: https://shop.miosa.app"),
    (b"referer:https://SHOP.miosa.app./a?b", b"referer: https://shop.miosa.app/a?b"),
    (b"Referer: https://shop.miosa.app.?b", b"Referer: https://shop.miosa.app?b"),
    (b"Origin: https://shop.miosa.app.evil.example", b"Origin: https://shop.miosa.app.evil.example"),
    (b"Origin: https://shop.miosa.app.:8443", b"Origin: https://shop.miosa.app.:8443"),
    (b"Origin: https://blog.miosa.app.", b"Origin: https://blog.miosa.app."),
    (b"Origin: null", b"Origin: null"),
    (b"X: https://shop.miosa.app.", b"X: https://shop.miosa.app."),
]


@pytest.mark.parametrize(("line", "becomes"), DOTTED)
def test_origin_agrees_with_a_host_that_lost_its_dot(line: bytes, becomes: bytes) -> None:
    """Programs compare the two; others' origins are not ours to touch."""
    assert read(line, host=b"shop.miosa.app.").lines == [HOST, becomes]
    assert read(line).lines == [HOST, line]


COOKIES = [
    # others
    (b"Cookie: a=b", b"Cookie: a=b"),
    (b"cookie:a=b;  c=d;", b"cookie:a=b;  c=d;"),
    (b"Cookie: a=b; __Secure-miosa=1; __host-miosa=2", b"Cookie: a=b; __Secure-miosa=1; __host-miosa=2"),
    (b"Cookie:", b"Cookie:"),
    # ours: first, in the middle, last, several, alone
    (b"Cookie: __Host-miosa=s", None),
    (b"Cookie: __Host-miosa_share=s", None),
    (b"Cookie: __Host-miosa=s; __Host-miosa_share=t", None),
    (b"cookie:\t__Host-miosa=s;", None),
    (b"Cookie: __Host-miosa", None),
    (b"Cookie: __Host-miosa=s; a=b", b"Cookie: a=b"),
    (b"Cookie: __Host-miosa=s;a=b;  c=d", b"Cookie: a=b;  c=d"),
    (b"Cookie: a=b; __Host-miosa=s", b"Cookie: a=b"),
    (b"Cookie: a=b;__Host-miosa=s", b"Cookie: a=b"),
    (b"Cookie: a=b;\t__Host-miosa=s", b"Cookie: a=b"),
    (b"Cookie: a=b; __Host-miosa=s; c=d", b"Cookie: a=b; c=d"),
    (b"Cookie: a=b; __Host-miosa=s=t; c=d", b"Cookie: a=b; c=d"),
    (b"Cookie: a=b; __Host-miosa=; c=d", b"Cookie: a=b; c=d"),
    (b"Cookie: a=b; __Host-miosa =s; c=d", b"Cookie: a=b; c=d"),
    (b"Cookie: a=b; __Host-miosa=s; __Host-miosa=t; c=d", b"Cookie: a=b; c=d"),
    (b"Cookie: a; __Host-miosa-x=s; b", b"Cookie: a; b"),
    # look-alikes
    (b"Cookie: a=__Host-miosa", b"Cookie: a=__Host-miosa"),
    (b"Cookie: x__Host-miosa=1; a=b", b"Cookie: x__Host-miosa=1; a=b"),
    (b'Cookie: a="__Host-miosa=1"', b'Cookie: a="__Host-miosa=1"'),
    (b"cookie:a=__Host-miosa;  b;", b"cookie:a=__Host-miosa;  b;"),
    (b"Cookie: ; a=__Host-miosa", b"Cookie: ; a=__Host-miosa"),
]


@pytest.mark.parametrize(("line", "becomes"), COOKIES)
def test_cookies(line: bytes, becomes: bytes | None) -> None:
    """Our own cookies never reach a backend; all others are kept, byte by byte."""
    assert read(line).lines == [HOST, *([] if becomes is None else [becomes])]


def test_which_cookies_of_ours_are_looked_at() -> None:
    """Those of previews by themselves, and those of logins by their names."""
    head = read(b"Cookie: a=b; __Host-miosa-preview=p; __Host-miosa-login=l", b"Cookie: __Host-miosa-flow-0f=f; x=y")
    assert head.credentials is not None
    assert head.credentials.cookies == [b"p"]
    assert head.credentials.of_login == [(b"__Host-miosa-login", b"l"), (b"__Host-miosa-flow-0f", b"f")]
    assert head.lines[1:] == [b"Cookie: a=b", b"Cookie: x=y"]


_PAIR = st.sampled_from(
    [b"a=b", b"theme=dark", b"sid=__Host-miosa", b'q="a b"', b"c=\xff", b"d", b"e=f=g", b"__Host-app=1"]
)
_OURS = st.sampled_from([b"__Host-miosa=s3cret", b"__Host-miosa_share=s3cret", b"__Host-miosa"])


@given(st.lists(st.tuples(st.booleans(), _PAIR, _OURS), min_size=1, max_size=8))
def test_any_cookies(cookies: list[tuple[bool, bytes, bytes]]) -> None:
    """Wherever ours stand among others, exactly ours are gone."""
    kept = b"; ".join(other for ours, other, _ in cookies if not ours)
    line = b"Cookie: " + b"; ".join(mine if ours else other for ours, other, mine in cookies)
    assert read(line).lines == [HOST, *([b"Cookie: " + kept] if kept else [])]


def test_framing_is_judged_here_too() -> None:
    """llhttp refuses both framings in one head; should it ever not, our own rules do."""
    with pytest.raises(RefusedError, match="both"):
        requests._request_length(read(b"Transfer-Encoding: chunked"), b"Content-Length: 5", b"5")
    with pytest.raises(RefusedError, match="both"):
        requests._request_coding(read(b"content-length: 0"), b"Transfer-Encoding: chunked", b"chunked")
    with pytest.raises(RefusedError, match="not exactly one"):
        requests._request_coding(read(b"Content-Length: 5"), b"Transfer-Encoding: chunked", b"chunked")


def test_a_debug_key_is_taken_out() -> None:
    """It is kept beside the head, and the head is marked; of several nobody could say which is meant."""
    head = read(b"X-Miosa-Debug: msk_1", b"A: b")
    assert head.special
    assert head.credentials is not None
    assert head.credentials.debug == b"msk_1"
    assert head.lines == [HOST, b"A: b"]
    head = read(b"x-miosa-debug:msk_1", b"X-MIOSA-DEBUG: msk_1").with_line(b"GET", b"/b")
    assert head.special
    assert head.credentials is not None
    assert head.credentials.debug == b"msk_1, msk_1"
    assert not read(b"A: b").special
    assert read(b"Max-Forwards: 3").special
