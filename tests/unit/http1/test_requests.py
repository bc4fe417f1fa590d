"""Heads of requests: the request line, what it is about, and how large it may be."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.http1.heads import NONE
from router.http1.requests import NO_HEAD, NO_LIMIT, UNREADABLE, RequestHead, may_be_repeated
from tests.unit.http1.messages import read, refusal, request

TAKEN = (0, "")
BAD = (400, "bad_request")
BAD_HOST = (400, "invalid_host")
NOT_ALLOWED = (405, "method_not_allowed")
UNKNOWN_METHOD = (501, "method_not_implemented")
UNKNOWN_VERSION = (505, "http_version_not_supported")

REFUSALS = {0, 400, 405, 414, 417, 431, 501, 505}

METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND", b"MKCOL", b"COPY"]
METHODS += [b"MOVE", b"LOCK", b"UNLOCK", b"REPORT", b"SEARCH", b"PURGE", b"M-SEARCH", b"NOTIFY", b"QUERY"]


@pytest.mark.parametrize("method", METHODS)
def test_methods(method: bytes) -> None:
    """Every registered method goes through as it is."""
    assert read(first=method + b" / HTTP/1.1").method == method


# Of programs: Vault, Consul and Nomad, Varnish, RTSP's names over HTTP, Remote Desktop gateways, ones of one's own.
OTHERS = [b"LIST", b"get", b"patch", b"BAN", b"DESCRIBE", b"SETUP", b"RPC_IN_DATA", b"BASELINE-CONTROL", b"X", b"1"]
OTHERS += [b"!#$%&'*+-.^_`|~", b"A" * 32, b"FROB", b"SOURCE", b"BREW"]
_SPELT = st.text("abcXYZ019-_.!#$%&'*+^`|~", min_size=1, max_size=32).map(str.encode)


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_methods_are_an_open_set(method: bytes, version: bytes) -> None:
    """Any token is a method (RFC 9110 §9.1), and what it means is the program's business."""
    head = read(b"Content-Length: 5", b"X-A: b", first=b"%b /a?b %b" % (method, version))
    assert (head.method, head.target, head.framing) == (method, b"/a?b", 5)
    assert head.lines[1:] == [b"Content-Length: 5", b"X-A: b"]


@given(_SPELT, st.sampled_from(["lines", "framing"]), st.data())
def test_a_method_changes_nothing_else(method: bytes, what: str, data: st.DataObject) -> None:
    """A section is refused behind any method exactly if it is behind POST, and read alike."""
    sections = BAD_LINES if what == "lines" else [b"Content-Length: 5, 5", b"Transfer-Encoding: chunked, x", b"X: y"]
    line = data.draw(st.sampled_from(sections))
    if method.upper() in (b"CONNECT", b"HEAD", b"PRI"):
        return
    assert refusal(request(line, first=method + b" / HTTP/1.1")) == refusal(request(line, first=b"POST / HTTP/1.1"))


PERCENT = [
    (b"/\xe3\x81\x97", b"/%E3%81%97"),
    (b"/get?nick=\xe3\x81\x97", b"/get?nick=%E3%81%97"),
    (b"/\xfc", b"/%FC"),
    (b"/%fc\xfc%", b"/%fc%FC%"),
    (b"/a\xa0b\x80\xff", b"/a%A0b%80%FF"),
    (b'/"<>\\^`{|}\xc3\xa9', b'/"<>\\^`{|}%C3%A9'),
    (b"http://shop.miosa.app/\xe9?\xe9", b"/%E9?%E9"),
    (b"http://shop.miosa.app?\xe9", b"/?%E9"),
]


@pytest.mark.parametrize("method", [b"GET", b"LIST"])
@pytest.mark.parametrize(("target", "becomes"), PERCENT)
def test_raw_bytes_of_a_target_are_encoded(target: bytes, becomes: bytes, method: bytes) -> None:
    """One `%XX` a byte, whatever encoding they are of (RFC 3986 §2.1); what is ASCII stays as it is."""
    assert read(first=b"%b %b HTTP/1.1" % (method, target)).target == becomes


@given(st.binary(max_size=50))
def test_encoded_targets_say_what_was_sent(tail: bytes) -> None:
    """Decoded, they are the bytes that came; nothing in them is a control, a blank, `#` or not ASCII."""
    target = b"/" + tail
    if re.search(rb"[\x00-\x20#\x7f]", tail) is not None:
        assert refusal(request(first=b"GET " + target + b" HTTP/1.1")) == BAD
        return
    goes_on = read(first=b"GET " + target + b" HTTP/1.1").target
    assert re.fullmatch(rb"[\x21\x22\x24-\x7e]+", goes_on)
    assert unquote_to_bytes(goes_on) == unquote_to_bytes(target)


TARGETS = [
    b"/",
    b"/a/b.c",
    b"//a//b",
    b"/../..%2f%00",
    b"/?",
    b"/?a=b&c[]=d",
    b"/a?b?c",
    b"/\"<>\\^`{|}'()*+,;=:@!$&~",
    b"/%zz%",
    b"/http://other.example/",
    b"/" + b"a" * 8000,
]


@pytest.mark.parametrize("target", TARGETS)
def test_targets(target: bytes) -> None:
    """A target in origin-form goes through byte by byte."""
    assert read(first=b"GET " + target + b" HTTP/1.1").target == target


ABSOLUTE = [
    (b"http://shop.miosa.app/a?b", b"shop.miosa.app", b"/a?b"),
    (b"https://shop.miosa.app/a", b"shop.miosa.app", b"/a"),
    (b"HTTP://SHOP.miosa.app/A", b"shop.Miosa.app", b"/A"),
    (b"http://shop.miosa.app", b"shop.miosa.app", b"/"),
    (b"http://shop.miosa.app?a=/b", b"shop.miosa.app", b"/?a=/b"),
    (b"http://shop.miosa.app:8080/", b"shop.miosa.app:8080", b"/"),
    (b"http://[::1]/", b"[::1]", b"/"),
    (b"http://shop.miosa.app//a", b"shop.miosa.app", b"//a"),
    (b"http://shop.miosa.app/@", b"shop.miosa.app", b"/@"),
]


@pytest.mark.parametrize(("target", "host", "becomes"), ABSOLUTE)
def test_absolute_form(target: bytes, host: bytes, becomes: bytes) -> None:
    """An absolute target that agrees with Host goes on in origin-form (RFC 9112 §3.2.2)."""
    head = read(first=b"GET " + target + b" HTTP/1.1", host=host)
    assert head.target == becomes
    assert head.host == host


FIRST_LINES = [
    # versions
    (b"GET / HTTP/1.1", TAKEN),
    (b"GET / HTTP/1.0", TAKEN),
    (b"GET / HTTP/2.0", UNKNOWN_VERSION),
    (b"GET / HTTP/3.0", UNKNOWN_VERSION),
    (b"GET / HTTP/1.2", UNKNOWN_VERSION),
    (b"GET / HTTP/9.9", UNKNOWN_VERSION),
    (b"PRI * HTTP/2.0", UNKNOWN_VERSION),
    (b"GET / HTTP/0.9", BAD),
    (b"GET / HTTP/0.0", BAD),
    (b"GET /", BAD),
    (b"GET / ", BAD),
    (b"GET / http/1.1", BAD),
    (b"GET / Http/1.1", BAD),
    (b"GET / HTTP/1", BAD),
    (b"GET / HTTP/1.", BAD),
    (b"GET / HTTP/.1", BAD),
    (b"GET / HTTP/1.10", BAD),
    (b"GET / HTTP/01.1", BAD),
    (b"GET / HTTP/1,1", BAD),
    (b"GET / HTTP/+1.1", BAD),
    (b"GET / HTTP/1.\xd9\xa1", BAD),
    (b"GET / HTTP /1.1", BAD),
    (b"GET / HTTPS/1.1", BAD),
    (b"GET / HTTP/1.1x", BAD),
    (b"GET / HTTP/1.1\x00", BAD),
    (b"GET / HTTP/1.1\x0b", BAD),
    (b"GET / RTSP/1.0", BAD),
    (b"SOURCE / ICE/1.0", BAD),
    (b"DESCRIBE / RTSP/1.0", BAD),
    # three words, one blank between them
    (b"", BAD),
    (b"GET", BAD),
    (b" ", BAD),
    (b"  ", BAD),
    (b"GET / x HTTP/1.1", BAD),
    (b"GET  / HTTP/1.1", BAD),
    (b"GET /  HTTP/1.1", BAD),
    (b"GET\t/ HTTP/1.1", BAD),
    (b"GET /\tHTTP/1.1", BAD),
    (b" GET / HTTP/1.1", BAD),
    (b"\tGET / HTTP/1.1", BAD),
    (b"GET / HTTP/1.1 ", BAD),
    (b"GET / HTTP/1.1\t", BAD),
    (b"GET\x0b/\x0bHTTP/1.1", BAD),
    (b"GET\xa0/\xa0HTTP/1.1", BAD),
    (b"GET  HTTP/1.1", BAD),
    (b" / HTTP/1.1", BAD),
    # methods
    (b"head / HTTP/1.1", UNKNOWN_METHOD),
    (b"Head / HTTP/1.1", UNKNOWN_METHOD),
    (b"PRI / HTTP/1.1", UNKNOWN_METHOD),
    (b"pri * HTTP/1.1", UNKNOWN_METHOD),
    (b"A" * 33 + b" / HTTP/1.1", UNKNOWN_METHOD),
    (b"connect / HTTP/1.1", NOT_ALLOWED),
    (b"cOnnect shop.miosa.app:443 HTTP/1.1", NOT_ALLOWED),
    (b"DESCRIBE * HTTP/1.1", BAD),
    (b"LIST shop.miosa.app:443 HTTP/1.1", BAD),
    (b"G@T / HTTP/1.1", BAD),
    (b"GET: / HTTP/1.1", BAD),
    (b"GET\x00 / HTTP/1.1", BAD),
    (b'"GET" / HTTP/1.1', BAD),
    (b"G\xc3\x84T / HTTP/1.1", BAD),
    (b"CONNECT shop.miosa.app:443 HTTP/1.1", NOT_ALLOWED),
    (b"CONNECT / HTTP/1.1", NOT_ALLOWED),
    (b"CONNECT shop.miosa.app:443 HTTP/1.0", NOT_ALLOWED),
    # targets
    (b"GET * HTTP/1.1", BAD),
    (b"OPTIONS * HTTP/1.1", BAD),
    (b"GET shop.miosa.app HTTP/1.1", BAD),
    (b"GET shop.miosa.app:443 HTTP/1.1", BAD),
    (b"GET a/b HTTP/1.1", BAD),
    (b"GET ?a HTTP/1.1", BAD),
    (b"GET . HTTP/1.1", BAD),
    (b"GET \\ HTTP/1.1", BAD),
    (b"GET javascript:alert(1) HTTP/1.1", BAD),
    (b"GET mailto:a@b HTTP/1.1", BAD),
    (b"GET /a#b HTTP/1.1", BAD),
    (b"GET # HTTP/1.1", BAD),
    (b"GET /a\x00b HTTP/1.1", BAD),
    (b"GET /a\tb HTTP/1.1", BAD),
    (b"GET /a\x0bb HTTP/1.1", BAD),
    (b"GET /a\x1fb HTTP/1.1", BAD),
    (b"GET /a\x7fb HTTP/1.1", BAD),
    (b"GET /a\rb HTTP/1.1", BAD),
    (b"GET /a\nb HTTP/1.1", BAD),
    (b"GET \xc3\xa4 HTTP/1.1", BAD),
    (b"GET \xa0/ HTTP/1.1", BAD),
    (b"GET /\xc3\xa4#\xa4 HTTP/1.1", BAD),
    (b"GET /\xc3\xa4\x00 HTTP/1.1", BAD),
    (b"GET http://shop.miosa.app\xc3\xa4/ HTTP/1.1", BAD),
    (b"GET http://\xc3\xa4/ HTTP/1.1", BAD),
    (b"GET h\xc3\xa4://shop.miosa.app/ HTTP/1.1", BAD),
    (b"GET http://shop.miosa.app/ HTTP/1.1", TAKEN),
    (b"GET http://other.miosa.app/ HTTP/1.1", BAD),
    (b"GET http://shop.miosa.app:80/ HTTP/1.1", BAD),
    (b"GET http://shop.miosa.app./ HTTP/1.1", BAD),
    (b"GET http://shop.miosa.app.evil/ HTTP/1.1", BAD),
    (b"GET http://user@shop.miosa.app/ HTTP/1.1", BAD),
    (b"GET http://user:pass@shop.miosa.app/ HTTP/1.1", BAD),
    (b"GET http://shop.miosa.app%2f/ HTTP/1.1", BAD),
    (b"GET http://shop.miosa.app\\/ HTTP/1.1", BAD),
    (b"GET http:/shop.miosa.app/ HTTP/1.1", BAD),
    (b"GET http:shop.miosa.app/ HTTP/1.1", BAD),
    (b"GET http:///a HTTP/1.1", BAD),
    (b"GET http:// HTTP/1.1", BAD),
    (b"GET ://shop.miosa.app/ HTTP/1.1", BAD),
    (b"GET ws://shop.miosa.app/ HTTP/1.1", BAD),
    (b"GET ftp://shop.miosa.app/ HTTP/1.1", BAD),
    (b"GET file:///etc/passwd HTTP/1.1", BAD),
    (b"GET xhttp://shop.miosa.app/ HTTP/1.1", BAD),
]


@pytest.mark.parametrize(("first", "outcome"), FIRST_LINES)
def test_first_line(first: bytes, outcome: tuple[int, str]) -> None:
    """Three words with one blank between them, a method, a target of ours and a version that we speak."""
    assert refusal(request(first=first)) == outcome


def test_userinfo_never_agrees_with_host() -> None:
    """Not even where Host has the same user information."""
    assert refusal(request(first=b"GET http://u@a/ HTTP/1.1", host=b"u@a")) == BAD


def test_an_empty_head_is_refused() -> None:
    """Two empty lines are no request."""
    assert refusal(b"\r\n\r\n") == BAD
    assert refusal(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n") == BAD


HOSTS = [
    ([], BAD_HOST),
    ([b"Host: a", b"Host: a"], BAD_HOST),
    ([b"Host: a", b"HOST: b"], BAD_HOST),
    ([b"Host: a", b"X: y", b"Host:"], BAD_HOST),
    ([b"Host:", b"Host: a"], BAD_HOST),
    ([b"Hosts: a"], BAD_HOST),
    ([b"Host_: a"], BAD_HOST),
    ([b"Host: a"], TAKEN),
    ([b"hOST:a"], TAKEN),
]


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
@pytest.mark.parametrize(("lines", "outcome"), HOSTS)
def test_exactly_one_host(lines: list[bytes], outcome: tuple[int, str], version: bytes) -> None:
    """Exactly one Host line, in HTTP/1.0 too: nothing else says whom to route to."""
    assert refusal(request(*lines, first=b"GET / " + version, host=None)) == outcome


HOST_VALUES = [b"a.b", b"A.B:80", b"a b", b"a, b", b"", b"\xff", b"a.b..", b"[::1]:8080", b"u@a", b"a/b"]


@pytest.mark.parametrize("value", HOST_VALUES)
def test_host_is_judged_by_whoever_resolves_it(value: bytes) -> None:
    """The reader takes the value as it is, without blanks around it: the host grammar is another's."""
    head = read(b"X: y", host=b" \t" + value + b"\t ")
    assert head.host == value
    assert head.lines[head.host_at] == b"Host:  \t" + value + b"\t "


BAD_LINES = [
    b"no colon",
    b"x",
    b":",
    b": value",
    b" : value",
    b"Name : value",
    b"Name\t: value",
    b" Name: value",
    b"\tName: value",
    b"Na me: value",
    b"Name\x00: value",
    b"Name\x0b: value",
    b"Na\xc3\xa4me: value",
    b"Name\xa0: value",
    b"Name\x85: value",
    b"Na(me: value",
    b"Na)me: value",
    b"Na@me: value",
    b"Na,me: value",
    b"Na/me: value",
    b"Na[me]: value",
    b'Na"me": value',
    b"Na\\me: value",
    b"Na{me}: value",
    b"Na=me: value",
    b"Name\r: value",
    b"Name\n: value",
    b"Name: a\x00b",
    b"Name: a\x01b",
    b"Name: a\x08b",
    b"Name: a\x0bb",
    b"Name: a\x0cb",
    b"Name: a\x1bb",
    b"Name: a\x7fb",
    b"Name: a\rb",
    b"Name: a\r",
    b"Name: a\nb",
    b"Name: a\n",
    b"Name: a\n\rb",
    b"Name: a\r\r",
    b"Name: a\nSmuggled: b",
    b"Name: a\rSmuggled: b",
    b"Name: a\r\n folded",
    b"Name: a\r\n\tfolded",
    b"Name:\r\n folded",
    b"Name: a\r\n ",
]


@pytest.mark.parametrize("line", BAD_LINES)
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_bad_header_lines(line: bytes, first: bool) -> None:
    """No repair: a line that two readers could read in two ways is refused wherever it stands."""
    lines = [line, b"Host: a"] if first else [b"Host: a", line]
    assert refusal(request(*lines, host=None)) == BAD
    assert refusal(request(*lines, b"Behind: b", host=None)) == BAD


NAME = [
    *range(ord("0"), ord("9") + 1),
    *range(ord("A"), ord("Z") + 1),
    *range(ord("a"), ord("z") + 1),
    *b"!#$%&'*+-.^_`|~",
]
VALUE = [ord("\t"), *range(0x20, 0x7F), *range(0x80, 0x100)]
PLACES = [
    ("in a value", b"X: a%cb", VALUE),
    ("before a value", b"X:%cb", VALUE),
    ("behind a value", b"X: b%c", VALUE),
    ("instead of a value", b"X:%c", VALUE),
    ("in a name", b"X%cY: b", [*NAME, ord(":")]),
    ("before a name", b"%cY: b", NAME),
    ("behind a name", b"X%c: b", [*NAME, ord(":")]),
    ("before a coding", b"Transfer-Encoding:%cchunked", [ord(" ")]),
    ("behind a coding", b"Transfer-Encoding: chunked%c", [ord(" ")]),
    ("before a length", b"Content-Length:%c5", [*b"\t 123456789"]),
    ("behind a length", b"Content-Length: 5%c", [*b"\t 0123456789"]),
    ("in a length", b"Content-Length: 5%c5", [*b"0123456789"]),
    ("before Expect", b"Expect:%c100-continue", [*b"\t "]),
]


@pytest.mark.parametrize(("line", "taken"), [place[1:] for place in PLACES], ids=[place[0] for place in PLACES])
def test_every_byte_in_its_place(line: bytes, taken: list[int]) -> None:
    """Of the 256 bytes, exactly those that RFC 9110 §5 allows there, or fewer."""
    assert [byte for byte in range(256) if refusal(request(line % byte)) == TAKEN] == sorted(taken)


FIRST_BYTES = [
    ("in a method", b"GE%cT / HTTP/1.1", NAME),
    ("before a method", b"%cGET / HTTP/1.1", NAME),
    ("in a target", b"GET /%c HTTP/1.1", [0x21, 0x22, *range(0x24, 0x7F), *range(0x80, 0x100)]),
    ("before a version", b"GET / %cHTTP/1.1", []),
    ("behind a version", b"GET / HTTP/1.1%c", []),
    ("a minor version", b"GET / HTTP/1.%c", [*b"01"]),
    ("a major version", b"GET / HTTP/%c.1", [*b"1"]),
]


@pytest.mark.parametrize(
    ("first", "taken"), [place[1:] for place in FIRST_BYTES], ids=[place[0] for place in FIRST_BYTES]
)
def test_every_byte_in_the_first_line(first: bytes, taken: list[int]) -> None:
    """As above, for the request line."""
    assert [byte for byte in range(256) if refusal(request(first=first % byte)) == TAKEN] == sorted(taken)


def test_lines_go_on_as_they_came() -> None:
    """Order, case, duplicates, blanks and obs-text of header lines are kept, byte by byte."""
    lines = [b"X-B: 1", b"x-a:2", b"X-B:\t3 ", b"X-C: \x80\xff", b"X-D:", b"accept: */*", b"X-B: 1"]
    assert read(*lines).lines == [b"Host: shop.miosa.app", *lines]


@pytest.mark.parametrize(("version", "minor"), [(b"HTTP/1.0", 0), (b"HTTP/1.1", 1)])
def test_version(version: bytes, minor: int) -> None:
    """HTTP/1.1 keeps connections unless told otherwise, HTTP/1.0 only when told."""
    head = read(first=b"GET / " + version)
    assert head.version == minor
    assert head.keep_alive is (minor == 1)


def test_defaults() -> None:
    """What a head does not say."""
    head = read()
    assert (head.framing, head.expect, head.trailers, head.upgrade, head.connection) == (NONE, False, False, b"", ())
    assert (head.forwarding, head.request_id, head.user_agent, head.referer, head.hops) == (None, b"", b"", b"", 0)
    assert head.host_at == 0


def test_value() -> None:
    """A header that few requests need is looked for by its lower-case name; the first one counts."""
    head = read(b"ACCEPT:  text/html ", b"Accept: */*", b"X-Empty:")
    assert head.value(b"accept") == b"text/html"
    assert head.value(b"x-empty") == b""
    assert head.value(b"x-accept") is None


def test_no_head_ends_its_connection() -> None:
    """What never became a request keeps no connection alive and says nothing."""
    assert not NO_HEAD.keep_alive
    assert NO_HEAD.value(b"accept") is None
    assert (NO_HEAD.method, NO_HEAD.target, NO_HEAD.host) == (b"", b"", b"")


_NOISE = st.lists(
    st.sampled_from(
        [
            b"GET",
            b" ",
            b"/",
            b"HTTP/1.1",
            b"\r\n",
            b"Host",
            b":",
            b"a",
            b"\r",
            b"\n",
            b"Content-Length",
            b"5",
            b"Upgrade",
            b"Transfer-Encoding",
            b"chunked",
            b"Connection",
            b"close",
            b"\t",
            b"\x00",
            b",",
            b"http://",
            b"Expect",
        ]
    ),
    max_size=30,
).map(b"".join)


@given(_NOISE | st.binary(max_size=200))
def test_anything_is_a_head_or_refused(raw: bytes) -> None:
    """No bytes raise anything but RefusedError."""
    raw = raw.replace(b"\r\n\r\n", b"\r\n") + b"\r\n\r\n"
    assert refusal(raw)[0] in REFUSALS
    assert refusal(b"GET / HTTP/1.1\r\nHost: a\r\n" + raw)[0] in REFUSALS


@pytest.mark.parametrize(
    ("lines", "limit"),
    [
        ([], NO_LIMIT),
        ([b"Max-Forwards: 0"], 0),
        ([b"Max-Forwards: 0010"], 10),
        ([b"Max-Forwards: 2147483648"], 2**31 - 1),
        ([b"Max-Forwards: 99999999999"], 2**31 - 1),
        ([b"Max-Forwards: "], UNREADABLE),
        ([b"Max-Forwards: -1"], UNREADABLE),
        ([b"Max-Forwards: 1", b"Max-Forwards: 1"], UNREADABLE),
    ],
)
def test_max_forwards(lines: list[bytes], limit: int) -> None:
    """How far a request may go: a number, no limit, or nothing that can be read."""
    head = read(*lines, first=b"TRACE / HTTP/1.1")
    assert head.max_forwards == limit
    assert head.lines[1:] == lines


@pytest.mark.parametrize("method", [b"TRACE", b"OPTIONS"])
def test_a_hop_counts(method: bytes) -> None:
    """The head that goes on is another one, with one hop less; the one that came is unchanged."""
    head = read(b"X-A: 1", b"max-forwards: 3", first=method + b" / HTTP/1.1")
    assert head.one_hop_on().lines[1:] == [b"X-A: 1", b"Max-Forwards: 2"]
    assert head.lines[1:] == [b"X-A: 1", b"max-forwards: 3"]


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1", b"TRACE / HTTP/1.1"])
def test_no_hop_counts(first: bytes) -> None:
    """Of other methods, and without a limit: the same head goes on."""
    lines = [b"Max-Forwards: 3"] if first.startswith(b"GET") else []
    head = read(*lines, first=first)
    assert head.one_hop_on() is head


@pytest.mark.parametrize(
    ("head", "repeated"),
    [
        (read(), True),
        (read(first=b"DELETE / HTTP/1.1"), True),
        (read(first=b"QUERY / HTTP/1.1"), True),
        (read(first=b"get / HTTP/1.1"), False),
        (read(first=b"LIST / HTTP/1.1"), False),
        (read(first=b"POST / HTTP/1.1"), False),
        (read(b"Content-Length: 1", first=b"PUT / HTTP/1.1"), False),
        (read(b"Connection: Upgrade", b"Upgrade: websocket"), False),
    ],
    ids=["GET", "DELETE", "QUERY", "lower case", "LIST", "POST", "with a body", "upgrade"],
)
def test_what_may_be_repeated(head: RequestHead, repeated: bool) -> None:
    """What does nothing twice, has no body and no tunnel."""
    assert may_be_repeated(head) is repeated


def test_a_value() -> None:
    """Of the first line of a name, whatever its case."""
    head = read(b"X-A: 1", b"x-a: 2")
    assert (head.value(b"x-a"), head.value(b"x-b")) == (b"1", None)


def test_what_only_a_proxy_may_say_is_kept_aside() -> None:
    """It does not reach the backend by itself; a name that only reads the same is dropped."""
    head = read(b"X-Real-IP: 192.0.2.1", b"X_Real_IP: 192.0.2.2")
    assert head.asserted == ((b"x-real-ip", b"X-Real-IP: 192.0.2.1"),)
    assert head.lines == [b"Host: shop.miosa.app"]
