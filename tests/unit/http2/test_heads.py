"""Heads of HTTP/2 and HTTP/1.1, each as the other."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from router.http2.grpc import is_grpc, status_fields
from router.http2.heads import (
    CHUNKED,
    NO_BODY,
    MalformedError,
    bad_field,
    request_to_http1,
    request_to_http2,
    response_to_http1,
    response_to_http2,
    trailers_to_http1,
    trailers_to_http2,
)

PSEUDO = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a.example"), (b":path", b"/x?y")]

# (further fields, whether the stream has ended with the head, the lines behind the request line, the body)
REQUESTS = [
    ([], True, [], NO_BODY),
    ([], False, [b"transfer-encoding: chunked"], CHUNKED),
    ([(b"content-length", b"5")], False, [b"content-length: 5"], 5),
    ([(b"content-length", b"5"), (b"content-length", b"5")], False, [b"content-length: 5"], 5),
    ([(b"content-length", b"0")], True, [b"content-length: 0"], NO_BODY),
    ([(b"te", b"trailers")], True, [b"te: trailers"], NO_BODY),
    ([(b"cookie", b"a"), (b"x", b""), (b"cookie", b"b")], True, [b"x: ", b"cookie: a; b"], NO_BODY),
    ([(b"host", b"A.example")], True, [], NO_BODY),
    ([(b"x", b"\xe3\x81\x97\t.")], True, [b"x: \xe3\x81\x97\t."], NO_BODY),
]


@pytest.mark.parametrize(("fields", "ended", "lines", "body"), REQUESTS)
def test_requests(fields: list[tuple[bytes, bytes]], ended: bool, lines: list[bytes], body: int) -> None:
    """The request line and Host from the pseudo-headers, the rest in its order, a framing where a body follows."""
    head, expected = request_to_http1([*PSEUDO, *fields], ended=ended)
    assert head == b"\r\n".join([b"POST /x?y HTTP/1.1", b"Host: a.example", *lines, b"", b""])
    assert expected == body


def test_a_request_without_authority_has_its_host() -> None:
    """As a translation from HTTP/1.1 may have it (RFC 9113 §8.3.1)."""
    fields = [pair for pair in PSEUDO if pair[0] != b":authority"]
    head, _ = request_to_http1([*fields, (b"host", b"b.example")], ended=True)
    assert b"\r\nHost: b.example\r\n" in head
    with pytest.raises(MalformedError):
        request_to_http1(fields, ended=True)


def test_options_of_the_whole_server() -> None:
    """`*` stands for the server, which behind us is the program."""
    head, _ = request_to_http1([(b":method", b"OPTIONS"), *PSEUDO[1:3], (b":path", b"*")], ended=True)
    assert head.startswith(b"OPTIONS / HTTP/1.1\r\n")
    with pytest.raises(MalformedError):
        request_to_http1([(b":method", b"GET"), *PSEUDO[1:3], (b":path", b"*")], ended=True)


FIELDS = some.lists(some.tuples(some.binary(max_size=12), some.binary(max_size=12)), max_size=6)


@given(fields=FIELDS, path=some.binary(max_size=10), method=some.binary(max_size=6), authority=some.binary(max_size=10))
def test_no_field_ever_becomes_a_line_of_its_own(
    fields: list[tuple[bytes, bytes]], path: bytes, method: bytes, authority: bytes
) -> None:
    """Whatever bytes come, the text has one line for each field, or is refused."""
    pseudo = [(b":method", method), (b":scheme", b"http"), (b":authority", authority), (b":path", path)]
    try:
        head, _ = request_to_http1([*pseudo, *fields], ended=False)
    except MalformedError:
        return
    assert head.endswith(b"\r\n\r\n")
    lines = head[:-4].split(b"\r\n")
    assert len(lines) <= 3 + len(fields)
    assert lines[0].split(b" ") == [method, path, b"HTTP/1.1"]
    assert not any(re.search(rb"[\r\n\0]", line) for line in lines)
    assert sum(line.lower().startswith((b"content-length:", b"transfer-encoding:")) for line in lines) == 1


@given(fields=FIELDS, ended=some.booleans(), method=some.sampled_from((b"GET", b"HEAD")))
def test_nor_in_a_response(fields: list[tuple[bytes, bytes]], ended: bool, method: bytes) -> None:
    """As for requests."""
    try:
        _, head, _ = response_to_http1([(b":status", b"200"), *fields], method, ended=ended)
    except MalformedError:
        return
    assert head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r")
    assert head.index(b"\r\n\r\n") == len(head) - 4


# (status, fields, method, ended, the body, what stands in the head)
RESPONSES = [
    (b"200", [], b"GET", False, CHUNKED, b"transfer-encoding: chunked"),
    (b"200", [], b"GET", True, NO_BODY, b"content-length: 0"),
    (b"200", [(b"content-length", b"3")], b"GET", False, 3, b"content-length: 3"),
    (b"200", [(b"content-length", b"3")], b"HEAD", True, NO_BODY, b"content-length: 3"),
    (b"204", [], b"GET", True, NO_BODY, b"204 No Content"),
    (b"304", [(b"content-length", b"3")], b"GET", True, NO_BODY, b"content-length: 3"),
    (b"103", [(b"link", b"</a>")], b"GET", False, NO_BODY, b"link: </a>"),
    (b"299", [(b"connection", b"close"), (b"x", b" a ")], b"GET", False, CHUNKED, b"\r\nx: a\r\n"),
]


@pytest.mark.parametrize(("status", "fields", "method", "ended", "body", "stands"), RESPONSES)
def test_responses(
    status: bytes, fields: list[tuple[bytes, bytes]], method: bytes, ended: bool, body: int, stands: bytes
) -> None:
    """Framed so that the body ends where the stream does; what concerns a connection is left out."""
    number, head, expected = response_to_http1([(b":status", status), *fields], method, ended=ended)
    assert (number, expected) == (int(status), body)
    assert stands in head
    assert b"connection" not in head


@pytest.mark.parametrize(
    ("fields", "ended"),
    [
        ([], False),
        ([(b":status", b"20")], False),
        ([(b":status", b"abc")], False),
        ([(b":status", b"101")], False),
        ([(b":status", b"100")], True),
        ([(b":status", b"200"), (b":status", b"200")], False),
        ([(b"x", b"y"), (b":status", b"200")], False),
        ([(b":path", b"/")], False),
        ([(b":status", b"200"), (b"content-length", b"4")], True),
    ],
)
def test_malformed_responses(fields: list[tuple[bytes, bytes]], ended: bool) -> None:
    """What no reader could make sense of."""
    with pytest.raises(MalformedError):
        response_to_http1(fields, b"GET", ended=ended)


def test_a_request_for_a_backend() -> None:
    """As the data plane writes it: names in lower case, Host as the authority, what concerns a connection left out."""
    head = (
        b"POST /a HTTP/1.1\r\nHost: a.example\r\nX-Some: Thing\r\nTransfer-Encoding: chunked\r\nConnection: TE\r\n"
        b"TE: trailers\r\n\r\n"
    )
    method, fields, body = request_to_http2(head, b"https")
    assert (method, body) == (b"POST", CHUNKED)
    assert fields == [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"a.example"),
        (b":path", b"/a"),
        (b"x-some", b"Thing"),
        (b"te", b"trailers"),
    ]


@pytest.mark.parametrize(
    ("head", "method", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"GET", 2),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"HEAD", NO_BODY),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", b"GET", CHUNKED),
        (b"HTTP/1.1 304 \r\nContent-Length: 9\r\n\r\n", b"GET", NO_BODY),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", b"GET", NO_BODY),
    ],
)
def test_a_response_for_a_client(head: bytes, method: bytes, body: int) -> None:
    """Its status and its framing."""
    status, fields, found = response_to_http2(head, method)
    assert fields[0] == (b":status", b"%d" % status)
    assert found == body
    assert {b"connection", b"transfer-encoding"}.isdisjoint(name for name, _ in fields)


def test_trailers() -> None:
    """There and back; pseudo-headers have no place in them."""
    text = trailers_to_http1([(b"grpc-status", b"0"), (b"x", b" a ")])
    assert text == b"grpc-status: 0\r\nx: a\r\n\r\n"
    assert trailers_to_http2(text[:-4].split(b"\r\n")) == [(b"grpc-status", b"0"), (b"x", b"a")]
    for fields in ([(b":status", b"200")], [(b"x", b"a\r\nb: c")], [(b"X", b"a")]):
        with pytest.raises(MalformedError):
            trailers_to_http1(fields)


@pytest.mark.parametrize(
    ("content_type", "is_its_own"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;charset=x", True),
        (b"APPLICATION/GRPC", True),
        (b"application/grpc-web", False),
        (b"application/grpc-web+proto", False),
        (b"text/plain", False),
        (None, False),
    ],
)
def test_what_is_grpc(content_type: bytes | None, is_its_own: bool) -> None:
    """grpc-web is HTTP like any other."""
    assert is_grpc(content_type) is is_its_own


@pytest.mark.parametrize(
    ("http_status", "status"), [(401, b"16"), (403, b"7"), (404, b"14"), (410, b"14"), (503, b"14")]
)
def test_a_status_says_whether_to_call_again(http_status: int, status: bytes) -> None:
    """Who may not open a preview is told so: clients call again where something is unavailable."""
    assert dict(status_fields("no", http_status))[b"grpc-status"] == status


def test_a_message_is_percent_encoded() -> None:
    """As gRPC's protocol has it: what is not printable ASCII, and the percent sign."""
    assert dict(status_fields("50 %\n\N{SNOWMAN}~"))[b"grpc-message"] == b"50 %25%0A%E2%98%83~"


@pytest.mark.parametrize(
    ("further", "why", "place"),
    [
        ([(b"a", b"b"), (b"A", b"b"), (b"c", b"d")], "field name", 5),
        ([(b"a", b"b"), (b"c", b"\x00")], "field value", 5),
        ([(b"connection", b"close"), (b"c", b"d")], "a connection's header", 4),
        ([(b"a", b" b")], "blanks around a value", 4),
        ([(b"content-length", b"5"), (b"content-length", b"6")], "content-length", 5),
    ],
)
def test_which_field_was_refused(further: list[tuple[bytes, bytes]], why: str, place: int) -> None:
    fields = PSEUDO + further
    with pytest.raises(MalformedError, match=why):
        request_to_http1(fields, ended=False)
    assert bad_field(len(fields), why, lambda count: request_to_http1(fields[:count], ended=False)) == place


def test_where_a_field_is_missing_it_is_the_end() -> None:
    fields = PSEUDO[1:]
    assert (
        bad_field(len(fields), "no method or scheme", lambda count: request_to_http1(fields[:count], ended=True)) == 3
    )
