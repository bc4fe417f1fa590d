"""What is accepted goes on meaning the same, to readers that are stricter and to readers that are more lenient.

The heads here are made from parts that are valid, and from parts that are nearly so; the readers refuse most of the
latter. Whatever they take must come out well-formed, with one framing, and read again as what it was.
"""

import re
from typing import TypeVar

from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.http1.forwarding import (
    ClientInfo,
    Forwarder,
    HeadRules,
    interim_to_client,
    request_to_backend,
    response_framing,
    response_to_client,
)
from router.http1.heads import CHUNKED, NONE, UNTIL_CLOSE, RefusedError, value_of
from router.http1.names import FORWARDING, HOP_BY_HOP
from router.http1.requests import RequestHead, read_request_head
from router.http1.responses import ResponseHead, read_response_head
from router.http1.upgrade import settle_upgrade
from tests.unit.http1.messages import LIMITS

T = TypeVar("T")

FORWARDER = Forwarder(())
CLIENT = ClientInfo("192.0.2.1", b"https", b"a.b", b"")
HOP = HOP_BY_HOP | {b"connection", b"te", b"upgrade"}

# A reader of our own for the tests: it knows nothing but the grammar of RFC 9112.
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)")


def well_formed(raw: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """(first line, headers) of a head, after checks that hold for whatever we write."""
    assert raw.endswith(b"\r\n\r\n")
    assert raw.count(b"\r\n\r\n") == 1
    lines = raw[:-4].split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line or b"\x00" in line for line in lines)
    headers = []
    for line in lines[1:]:
        match = _HEADER.fullmatch(line)
        assert match is not None, line
        headers.append((match[1].lower(), match[2].strip(b" \t")))
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    assert len(lengths) + len(codings) <= 1
    assert all(re.fullmatch(rb"0|[1-9][0-9]{0,18}", value) for value in lengths)
    assert all(value == b"chunked" for value in codings)
    return lines[0], headers


_blank = st.sampled_from([b"", b" ", b"  ", b"\t", b" \t "])
_name = st.sampled_from(
    [
        b"Accept",
        b"x-a",
        b"X-A",
        b"Cookie",
        b"cookie",
        b"Origin",
        b"Set-Cookie",
        b"X_B",
        b"X-Forwarded-For",
        b"Via",
        b"x-forwarded-host",
        b"X_Forwarded_For",
        b"X-Miosa-A",
        b"X-Request-ID",
        b"Keep-Alive",
        b"Proxy-Connection",
        b"TE",
        b"Expect",
        b"Upgrade",
        b"Location",
        b"Forwarded",
        b"Authorization",
        b"Trailer",
        b"Content_Length",
        b"X-Miosa-Hops",
        b"User-Agent",
    ]
)
_value = st.sampled_from(
    [
        b"",
        b"a",
        b"a, b",
        b"100-continue",
        b"websocket",
        b"h2c",
        b"trailers",
        b"a=b; __Host-miosa=c",
        b"\x80\xff",
        b"a:b",
        b"close",
        b"https://a",
        b"/a",
        b"*/*",
        b"1.1 miosa-edge",
        b"3",
        b"a\tb",
        b'"a"',
    ]
)
_connection = st.sampled_from(
    [
        b"close",
        b"keep-alive",
        b"Upgrade",
        b"keep-alive, Upgrade",
        b"x-a",
        b"x-a, host, cookie",
        b"content-length",
        b"TE",
        b"transfer-encoding",
        b"x-forwarded-for",
        b"origin, location",
        b"trailer, close",
    ]
)


def mostly(good: list[T], bad: list[T]) -> st.SearchStrategy[T]:
    """One of `good`, and now and then one of `bad`."""
    return st.integers(0, 15).flatmap(lambda number: st.sampled_from(good if number else bad))


_framing = mostly(
    [
        [],
        [b"Content-Length: 0"],
        [b"content-length:  5 "],
        [b"Content-Length: 9223372036854775807"],
        [b"Transfer-Encoding: chunked"],
        [b"transfer-encoding:Chunked "],
    ],
    [
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Content-Length: 5, 5"],
        [b"Content-Length: 05"],
        [b"Transfer-Encoding:\tchunked"],
    ],
)
_odd = st.sampled_from([b"no colon", b" folded", b"X : y", b"X: a\rb", b"X: a\nb", b"X: \x00", b": x", b"", b"Host: b"])


@st.composite
def _lines(draw: st.DrawFn) -> list[bytes]:
    lines: list[bytes] = draw(_framing)
    for _ in range(draw(st.integers(0, 5))):
        lines = [*lines, draw(_name) + b":" + draw(_blank) + draw(_value) + draw(_blank)]
    for _ in range(draw(st.integers(0, 2))):
        lines = [*lines, b"Connection:" + draw(_blank) + draw(_connection)]
    if draw(st.integers(0, 9)) == 0:
        lines = [*lines, draw(_odd)]
    return draw(st.permutations(lines))


_METHODS = mostly([b"GET", b"HEAD", b"POST", b"DELETE", b"M-SEARCH", b"LIST", b"get", b"DESCRIBE"], [b"head", b"G@T"])
_TARGETS = mostly(
    [b"/\xc3\xbc?\xff", b"/", b"/a?b=c", b"//a/../%2e", b"http://a.b/c", b"HTTP://A.b?c"],
    [b"*", b"a.b:80", b"/a b", b"/a#b"],
)
_VERSIONS = mostly([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"], [b"HTTP/2.0", b"HTTP/0.9"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request's head, mostly a valid one."""
    first = b" ".join([draw(_METHODS), draw(_TARGETS), draw(_VERSIONS)])
    lines = draw(_lines())
    at = draw(st.integers(0, len(lines)))
    return b"\r\n".join([first, *lines[:at], b"Host: a.b", *lines[at:], b"", b""])


_MUTATED = st.tuples(requests(), st.integers(0, 400), st.binary(max_size=3)).map(
    lambda made: made[0][: made[1]] + made[2] + made[0][made[1] + len(made[2]) :]
)


def to_backend(head: RequestHead, host: bytes | None) -> bytes:
    """What the backend reads of a request from an address that nobody trusts."""
    settle_upgrade(head)
    return request_to_backend(head, FORWARDER.client_info(head, "192.0.2.1", trusted=False), b"r-1", HeadRules(host))


@settings(max_examples=400, deadline=None)
@given(requests() | _MUTATED, st.sampled_from([None, b"localhost:3000"]))
@example(b"GET / HTTP/1.1\r\nHost: a.b\r\nUpgrade:a\r\nUpgrade:\r\nConnection:Upgrade\r\n\r\n", None)
def test_requests(raw: bytes, host: bytes | None) -> None:
    """An accepted request means the same to the backend: method, target, framing, upgrade, and what is end to end."""
    if raw.find(b"\r\n\r\n") != len(raw) - 4:
        return  # a reader is given a head that ends with its first empty line
    try:
        head = read_request_head(raw, LIMITS)
    except RefusedError:
        return
    out = to_backend(head, host)
    first, headers = well_formed(out)
    assert first == head.method + b" " + head.target + b" HTTP/1.1"
    assert [value for name, value in headers if name == b"host"] == [host or head.host]
    assert [value for name, value in headers if name == b"x-forwarded-for"] == [b"192.0.2.1"]
    assert [value for name, value in headers if name == b"x-request-id"] == [b"r-1"]
    ours = [name for name, _ in headers if name.startswith(b"x-miosa-") or name in HOP_BY_HOP]
    assert ours == [b"x-miosa-hops"]
    assert not [value for name, value in headers if name == b"cookie" and b"__Host-miosa" in value]
    twins = {name.replace(b"_", b"-") for name, _ in headers if b"_" in name}
    assert not twins & {b"content-length", b"transfer-encoding", *FORWARDING}

    again = read_request_head(out, LIMITS)
    settle_upgrade(again)
    assert (again.method, again.target, again.framing) == (head.method, head.target, head.framing)
    assert (again.upgrade, again.expect, again.version) == (head.upgrade, head.expect, 1)
    if host is None:
        assert again.host == head.host
        assert again.lines == head.lines
        assert again.hops == head.hops + 1
    framed = [name for name, _ in headers if name in (b"content-length", b"transfer-encoding")]
    assert framed or again.framing == NONE


_STATUS_LINES = mostly(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 204 x",
        b"HTTP/1.1 304 x",
        b"HTTP/1.1 426 \xff",
    ],
    [b"HTTP/1.1 103 x", b"HTTP/1.1 099 x", b"HTTP/2.0 200 OK"],
)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """An answer's head, mostly a valid one."""
    return b"\r\n".join([draw(_STATUS_LINES), *draw(_lines()), b"", b""])


def read_answer(raw: bytes, method: bytes) -> ResponseHead | None:
    """None where the answer is refused, or no reader would be given it."""
    if raw.find(b"\r\n\r\n") != len(raw) - 4:
        return None
    try:
        return read_response_head(raw, method, LIMITS)
    except RefusedError:
        return None


@settings(max_examples=400, deadline=None)
@given(responses(), st.sampled_from([b"GET", b"HEAD"]), st.sampled_from([0, 1]), st.booleans(), st.booleans())
def test_answers(raw: bytes, method: bytes, version: int, wanted: bool, rewritten: bool) -> None:
    """An accepted answer means the same to the client: status, what is end to end, and one framing that it can read."""
    head = read_answer(raw, method)
    if head is None or head.status < 200:
        return
    kept, status, reason = list(head.lines), head.status, head.reason
    framing = response_framing(head, method, version)
    keep_alive = wanted and framing != UNTIL_CLOSE
    rules = HeadRules(b"localhost:3000") if rewritten else HeadRules()
    out = response_to_client(
        head, CLIENT, rules, request_id=b"r-1", framing=framing, client_version=version, keep_alive=keep_alive
    )
    first, headers = well_formed(out)
    assert first == b"HTTP/1.1 %d %b" % (status, reason)
    assert not [name for name, _ in headers if name.startswith(b"x-miosa-") or name in HOP_BY_HOP]
    assert (b"connection", b"close") in headers or keep_alive
    again = read_answer(out, method)
    assert again is not None
    # HTTP/1.0 clients are never sent chunks (RFC 9112 §6.1).
    assert (again.status, again.keep_alive) == (status, keep_alive)
    assert again.framing == framing
    assert version == 1 or not [name for name, _ in headers if name == b"transfer-encoding"]
    assert framing != CHUNKED or version == 1
    if not rewritten:
        assert again.lines == (kept if head.has_request_id else [*kept, b"X-Request-ID: r-1"])


@given(responses().map(lambda raw: re.sub(rb" [0-9]{3}", b" 103", raw, count=1)))
def test_interim_answers(raw: bytes) -> None:
    """An interim answer has no framing and no word about the connection."""
    head = read_answer(raw, b"GET")
    if head is None:
        return
    first, headers = well_formed(interim_to_client(head, CLIENT, HeadRules()))
    assert first == b"HTTP/1.1 103 " + head.reason
    names = {name for name, _ in headers}
    assert not names & {b"content-length", b"transfer-encoding", *(HOP - {b"te"})}
    assert [line.partition(b":")[0].lower() for line in head.lines] == [name for name, _ in headers]
    assert [value_of(line) for line in head.lines] == [value for _, value in headers]
