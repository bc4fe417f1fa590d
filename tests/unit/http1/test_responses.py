"""Heads of backends' answers: taken as HTTP/1.1 has them, or refused as a whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.http1 import responses
from router.http1.heads import CHUNKED, NONE, UNTIL_CLOSE, RefusedError
from router.http1.names import HOP_BY_HOP
from router.http1.responses import HeadBeginning, is_event_stream, read_response_head
from router.settings import Limits
from tests.unit.http1.messages import LIMITS, answer, refused, response

STATUS_LINES = [
    (b"HTTP/1.1 200 OK", (200, b"OK", 1)),
    (b"HTTP/1.0 200 OK", (200, b"OK", 0)),
    (b"HTTP/1.1 200 ", (200, b"", 1)),
    (b"HTTP/1.1 200", (200, b"", 1)),
    (b"HTTP/1.1 404 Not  Found\t!", (404, b"Not  Found\t!", 1)),
    (b"HTTP/1.1 200 \xff\x80", (200, b"\xff\x80", 1)),
    (b"HTTP/1.1 100 Continue", (100, b"Continue", 1)),
    (b"HTTP/1.1 299 x", (299, b"x", 1)),
    (b"HTTP/1.1 599 x", (599, b"x", 1)),
    (b"HTTP/1.1 999 x", (999, b"x", 1)),
    (b"HTTP/1.1 200 " + b"x" * 512, (200, b"x" * 512, 1)),
]


@pytest.mark.parametrize(("first", "parts"), STATUS_LINES)
def test_status_line(first: bytes, parts: tuple[int, bytes, int]) -> None:
    """Any three digits from 100 on; the reason is kept, and may be missing with its blank."""
    head = answer(first=first)
    assert (head.status, head.reason, head.version) == parts
    assert head.keep_alive is (head.version == 1)


BAD_STATUS_LINES = [
    b"",
    b"HTTP/1.1",
    b"HTTP/1.1 ",
    b"HTTP/1.1 OK",
    b"HTTP/1.1 20 OK",
    b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 000 OK",
    b"HTTP/1.1 099 OK",
    b"HTTP/1.1 -20 OK",
    b"HTTP/1.1 +20 OK",
    b"HTTP/1.1 2x0 OK",
    b"HTTP/1.1 0x1 OK",
    b"HTTP/1.1 2_0 OK",
    b"HTTP/1.1 \xd9\xa2\xd9\xa0\xd9\xa0 OK",
    b"HTTP/1.1  200 OK",
    b"HTTP/1.1 200OK",
    b"HTTP/1.1 200.1 OK",
    b"HTTP/1.1\t200 OK",
    b"HTTP/1.1 200\tOK",
    b"HTTP/1.1 200 O\x00K",
    b"HTTP/1.1 200 O\x0bK",
    b"HTTP/1.1 200 O\x7fK",
    b"HTTP/1.1 200 O\rK",
    b"HTTP/1.1 200 O\nK",
    b"HTTP/1.1 200 OK\r",
    b"HTTP/1.1 200 OK\n",
    b" HTTP/1.1 200 OK",
    b"\r\nHTTP/1.1 200 OK",
    b"http/1.1 200 OK",
    b"HTTP/1.2 200 OK",
    b"HTTP/0.9 200 OK",
    b"HTTP/2.0 200 OK",
    b"HTTP/2 200",
    b"HTTP/1 200 OK",
    b"HTTP/1.10 200 OK",
    b"HTTP/1.\xd9\xa1 200 OK",
    b"HTTPS/1.1 200 OK",
    b"ICY 200 OK",
    b"RTSP/1.0 200 OK",
    b"GET / HTTP/1.1",
    b"hello",
    b"SSH-2.0-OpenSSH_9.6",
    b"HTTP/1.1 200 " + b"x" * 513,
]


@pytest.mark.parametrize("first", BAD_STATUS_LINES)
def test_bad_status_line(first: bytes) -> None:
    """Another protocol, another version, or something that only looks like a status."""
    assert refused(response(b"Content-Length: 0", first=first))


def test_endless_reasons_fill_no_memory() -> None:
    """Status lines are remembered, so what a backend chooses of them is short, and there are not many."""
    cache = responses._read_status_line
    assert cache.cache_info().maxsize == 1024
    before = cache.cache_info().currsize
    assert refused(response(first=b"HTTP/1.1 200 " + b"a" * 60_000))
    assert cache.cache_info().currsize == before


FRAMINGS = [
    ([], UNTIL_CLOSE),
    ([b"Content-Length: 0"], 0),
    ([b"content-length:5 "], 5),
    ([b"Content-Length: 9223372036854775807"], (1 << 63) - 1),
    ([b"Transfer-Encoding: chunked"], CHUNKED),
    ([b"transfer-encoding:CHUNKED"], CHUNKED),
]


@pytest.mark.parametrize(("lines", "framing"), FRAMINGS)
@pytest.mark.parametrize("status", [200, 206, 302, 401, 404, 426, 500, 999])
def test_framing(lines: list[bytes], framing: int, status: int) -> None:
    """A length, chunks, or the end of the connection."""
    assert answer(*lines, first=b"HTTP/1.1 %d" % status).framing == framing


@pytest.mark.parametrize(("lines", "framing"), FRAMINGS)
@pytest.mark.parametrize(
    ("method", "status"), [(b"HEAD", 200), (b"HEAD", 404), (b"GET", 204), (b"GET", 304), (b"GET", 100), (b"GET", 103)]
)
def test_answers_without_a_body(lines: list[bytes], framing: int, method: bytes, status: int) -> None:
    """Answers to HEAD, 1xx, 204 and 304 have none, whatever they say (RFC 9112 §6.3)."""
    assert answer(*lines, first=b"HTTP/1.1 %d" % status, method=method).framing == NONE


LENGTHS_KEPT = [
    (b"HEAD", 200, True),
    (b"GET", 304, True),
    (b"GET", 200, True),
    (b"GET", 204, False),
    (b"GET", 100, False),
    (b"GET", 103, False),
]


@pytest.mark.parametrize(("method", "status", "kept"), LENGTHS_KEPT)
def test_lengths_where_there_is_no_body(method: bytes, status: int, kept: bool) -> None:
    """HEAD and 304 say how long the body would be; 1xx and 204 may not (RFC 9110 §8.6)."""
    head = answer(b"Content-Length: 5", b"X: y", first=b"HTTP/1.1 %d" % status, method=method)
    assert head.lines == [*([b"Content-Length: 5"] if kept else []), b"X: y"]


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_codings_end_here(method: bytes) -> None:
    """How the body is coded between us and the backend is no business of the client."""
    assert answer(b"Transfer-Encoding: chunked", b"X: y", method=method).lines == [b"X: y"]


BAD_FRAMINGS = [
    [b"Content-Length:"],
    [b"Content-Length: +5"],
    [b"Content-Length: -5"],
    [b"Content-Length: 05"],
    [b"Content-Length: 5 5"],
    [b"Content-Length: 5, 5"],
    [b"Content-Length: 0x5"],
    [b"Content-Length: 1_0"],
    [b"Content-Length: \xd9\xa5"],
    [b"Content-Length: 9223372036854775808"],
    [b"Content-Length: 5", b"Content-Length: 5"],
    [b"Content-Length: 5", b"Content-Length: 6"],
    [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
    [b"Content-Length: 0", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding:"],
    [b"Transfer-Encoding: identity"],
    [b"Transfer-Encoding: gzip"],
    [b"Transfer-Encoding: gzip, chunked"],
    [b"Transfer-Encoding: chunked, chunked"],
    [b"Transfer-Encoding: chunked;a=b"],
    [b'Transfer-Encoding: "chunked"'],
    [b"Transfer-Encoding: chunked\xa0"],
    [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"],
]


@pytest.mark.parametrize(
    ("method", "status"), [(b"GET", 200), (b"HEAD", 200), (b"GET", 204), (b"GET", 304), (b"GET", 103)]
)
@pytest.mark.parametrize("lines", BAD_FRAMINGS)
def test_ambiguous_framing(lines: list[bytes], method: bytes, status: int) -> None:
    """Conflicting or unknown framing is refused even where no body follows: such a backend is not trusted."""
    assert refused(response(*lines, first=b"HTTP/1.1 %d" % status), method)
    apart = [line for name in lines for line in (name, b"X-Between: a")]
    assert refused(response(b"X: y", *apart, first=b"HTTP/1.1 %d" % status), method)


def test_no_transfer_coding_in_http_1_0() -> None:
    """RFC 9112 §6.1: whoever sends both may mean either."""
    assert refused(response(b"Transfer-Encoding: chunked", first=b"HTTP/1.0 200 OK"))


BAD_LINES = [
    b"no colon",
    b": value",
    b"Name : value",
    b" Name: value",
    b"Na me: value",
    b"Name\x00: value",
    b"Na\xc3\xa4me: value",
    b"Name: a\x00b",
    b"Name: a\x08b",
    b"Name: a\x7fb",
    b"Name: a\rb",
    b"Name: a\nb",
    b"Set-Cookie: a=b\rSet-Cookie: c=d",
    b"Set-Cookie: a=b\nSet-Cookie: c=d",
    b"Name: a\r\n folded",
    b"Name: a\r\n\tfolded",
    b"Name: a\r\r",
]


@pytest.mark.parametrize("line", BAD_LINES)
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_bad_header_lines(line: bytes, first: bool) -> None:
    """A line that splits an answer, or that two readers could read in two ways, is refused wherever it stands."""
    lines = [line, b"Content-Length: 0"] if first else [b"Content-Length: 0", line]
    assert refused(response(*lines))
    assert refused(response(*lines, b"Behind: b"))


def test_lines_go_on_as_they_came() -> None:
    """Order, case, duplicates and obs-text are kept: Set-Cookie above all."""
    lines = [b"Set-Cookie: b=1; Path=/", b"x-a:2", b"set-cookie: a=2", b"Set-Cookie: b=1; Path=/", b"X: \xff", b"X:"]
    assert answer(*lines).lines == lines


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_headers_end_here(name: bytes) -> None:
    """What is for one hop goes without being named by Connection, in any case."""
    assert answer(name + b": a", name.upper() + b":c", b"X: y").lines == [b"X: y"]


def test_only_we_say_our_names() -> None:
    """A backend cannot pass for the edge."""
    assert answer(b"X-Miosa-Error: a", b"x-miosa-user: b", b"X-Miosaic: c").lines == [b"X-Miosaic: c"]


PERSISTENCE = [
    (1, [], True),
    (1, [b"Connection: keep-alive"], True),
    (1, [b"Connection: close"], False),
    (1, [b"connection:CLOSE"], False),
    (1, [b"Connection: close", b"Connection: keep-alive"], False),
    (1, [b"Connection: keep-alive", b"Connection: x, close"], False),
    (0, [], False),
    (0, [b"Connection: keep-alive"], True),
    (0, [b"Connection: Keep-Alive"], True),
    (0, [b"Connection: close, keep-alive"], False),
    (1, [b"Keep-Alive: timeout=5, max=1"], True),
    (1, [b"Keep-Alive: timeout=5, max=0"], False),
    (1, [b"Connection: keep-alive", b"Keep-Alive: timeout=0"], False),
    (0, [b"Connection: keep-alive", b"Keep-Alive: max=0"], False),
]


@pytest.mark.parametrize(("minor", "lines", "kept"), PERSISTENCE)
def test_persistence(minor: int, lines: list[bytes], kept: bool) -> None:
    """Whether the connection may serve again, as the backend says it (RFC 9112 §9.3)."""
    head = answer(*lines, b"Content-Length: 0", first=b"HTTP/1.%d 200 OK" % minor)
    assert head.keep_alive is kept
    assert head.lines == [b"Content-Length: 0"]


KEPT_FOR = [
    ([], 0),
    ([b"Keep-Alive: timeout=5"], 5),
    ([b"keep-alive: Max=100 , TimeOut = 15"], 15),
    ([b'Keep-Alive: timeout="7"'], 7),
    ([b"Keep-Alive: max=100"], 0),
    ([b"Keep-Alive: timeout=5", b"Keep-Alive: max=100"], 5),
    ([b"Keep-Alive: timeout=", b"Keep-Alive: timeout=x, timeout=-1, timeout=1.5, 5"], 0),
    ([b"Keep-Alive: timeout=99999999999999999999"], 0),
]


@pytest.mark.parametrize(("lines", "seconds"), KEPT_FOR)
def test_how_long_a_connection_is_kept(lines: list[bytes], seconds: int) -> None:
    """As the backend says it, and 0 where what it says is no number of seconds (RFC 2068 §19.7.1.1)."""
    head = answer(*lines, b"Content-Length: 0")
    assert (head.keep_for, head.keep_alive) == (seconds, True)


BODIES_OF_204 = [([], True), ([b"Content-Length: 0"], True), ([b"Content-Length: 5"], False)]
BODIES_OF_204 += [([b"Transfer-Encoding: chunked"], False)]


@pytest.mark.parametrize(("lines", "kept"), BODIES_OF_204)
def test_a_204_that_announces_a_body(lines: list[bytes], kept: bool) -> None:
    """What it announces may still come, and would be read as the next answer: that connection serves no more."""
    assert answer(*lines, first=b"HTTP/1.1 204 No Content").keep_alive is kept


BODIES_OF_304 = [([], True), ([b"Content-Length: 5"], True), ([b"Transfer-Encoding: chunked"], False)]


@pytest.mark.parametrize(("lines", "kept"), BODIES_OF_304)
def test_a_304_that_announces_chunks(lines: list[bytes], kept: bool) -> None:
    """As common servers do: the last of them may still come. A length is what a 200 would have."""
    assert answer(*lines, first=b"HTTP/1.1 304 Not Modified").keep_alive is kept


EVENT_STREAMS = [
    (b"Content-Type: text/event-stream", True),
    (b"content-type:Text/Event-Stream ; charset=utf-8", True),
    (b"Content-Type: text/event-streams", False),
    (b"Content-Type: text/html", False),
    (b"X-Content-Type: text/event-stream", False),
]


@pytest.mark.parametrize(("line", "stream"), EVENT_STREAMS)
def test_event_streams(line: bytes, stream: bool) -> None:
    """Known by their type, in any case and with any parameter."""
    assert is_event_stream(answer(b"X: y", line)) is stream


def test_where_else_a_backend_can_be_reached_ends_here() -> None:
    """Alt-Svc names a port of the backend's own network; visitors would look for it at ours."""
    for status in (103, 200, 404):
        head = answer(b'Alt-Svc: h3=":3000"; ma=3600', b"alt-svc: clear", b"X: y", first=b"HTTP/1.1 %d x" % status)
        assert head.lines == [b"X: y"]


def test_nominations() -> None:
    """What Connection names is for one hop only; Set-Cookie, framing and the like stay."""
    lines = [b"X-A: 1", b"Location: /a", b"Set-Cookie: a=b", b"Content-Length: 0"]
    named = b"Connection: x-a, set-cookie, content-length, close"
    head = answer(named, *lines)
    assert head.lines == lines[1:]
    assert head.location_at == 0
    assert not head.keep_alive
    head = answer(b"Connection: location", *lines)
    assert head.lines == [lines[0], *lines[2:]]
    assert head.location_at == -1


def test_location() -> None:
    """Where Location stands is known; -1 where it does not stand at all."""
    assert answer(b"X: y", b"LOCATION: /").location_at == 1
    assert answer(b"X-Location: /").location_at == -1


SMALL = Limits(header=1024, headers=4096, header_count=10)
SIZES = [
    ("one header for all of it", response(b"X: " + b"a" * 4000), False),
    ("as many headers as may be", response(*[b"X: y"] * 10), False),
    ("one more", response(*[b"X: y"] * 11), True),
    ("as large as may be", response(*[b"X: " + b"a" * 989] * 4, b"X:" + b"y" * 97), False),
    ("one byte more", response(*[b"X: " + b"a" * 989] * 4, b"X:" + b"y" * 98), True),
]


@pytest.mark.parametrize(("raw", "too_large"), [case[1:] for case in SIZES], ids=[case[0] for case in SIZES])
def test_sizes(raw: bytes, too_large: bool) -> None:
    """Each limit counts to the byte."""
    assert refused(raw, limits=SMALL) is too_large


_NOISE = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.1",
            b" ",
            b"200",
            b"101",
            b"204",
            b"\r\n",
            b"Content-Length",
            b":",
            b"5",
            b"\r",
            b"\n",
            b"a",
            b"\x00",
            b"Transfer-Encoding",
            b"chunked",
            b"Connection",
            b"close",
            b"Upgrade",
            b"\t",
            b",",
            b"x-miosa-",
            b"Location",
        ]
    ),
    max_size=30,
).map(b"".join)


@given(_NOISE | st.binary(max_size=200), st.sampled_from([b"GET", b"HEAD"]))
def test_anything_is_a_head_or_refused(raw: bytes, method: bytes) -> None:
    """No bytes raise anything but RefusedError with a 502."""
    raw = raw.replace(b"\r\n\r\n", b"\r\n") + b"\r\n\r\n"
    for whole in (raw, b"HTTP/1.1 200 OK\r\n" + raw):
        if not refused(whole, method):
            assert 100 <= read_response_head(whole, method, LIMITS).status <= 999


def test_framing_is_judged_here_too() -> None:
    """llhttp refuses both framings in one head; should it ever not, our own rules do."""
    with pytest.raises(RefusedError, match="conflicting"):
        responses._response_length(answer(b"Transfer-Encoding: chunked"), b"Content-Length: 5", b"5")
    with pytest.raises(RefusedError, match="not exactly one"):
        responses._response_coding(answer(b"Content-Length: 5"), b"Transfer-Encoding: chunked", b"chunked")


# Heads that have not all arrived.


def begin(raw: bytes, step: int) -> HeadBeginning:
    """What has judged a head that arrived in pieces of so many bytes."""
    beginning = HeadBeginning()
    for at in range(0, len(raw), step):
        beginning.feed(raw[at : at + step])
    return beginning


@pytest.mark.parametrize("first", [first for first, _ in STATUS_LINES])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_each_beginning_of_a_head_may_become_one(first: bytes, step: int) -> None:
    """However it is cut, up to the last byte before its end."""
    raw = first + b"\r\nServer: x\r\nContent-Length: 12\r\nSet-Cookie: a=b;\tc\r\n\r"
    assert begin(raw, step).size == len(raw)


NEVER_HEADS = [
    *[first + b"\r\n" for first in BAD_STATUS_LINES],
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"-ERR unknown command 'GET'\r\n",
    b"\x15\x03\x01\x00\x02\x02\x16",
    b"J\x00\x00\x00\x0a8.0.36\x00",
    b"220 mail ESMTP\r\n",
    b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    b"<html>",
    b"RTSP/1.0 200 OK\r\n",
    b"HTTP/1.1 200 OK\n",
    b"HTTP/1.1 200 OK\rA",
    b"HTTP/1.1 200 OK\r\n\n",
    b"HTTP/1.1 200 OK\r\nServer: x\n",
    b"HTTP/1.1 200 OK\r\nServer: x\rA",
    b"HTTP/1.1 200 OK\r\nServer x\r\n",
    b"HTTP/1.1 200 OK\r\nServer: x\r\n folded",
    b"HTTP/1.1 200 OK\r\nServer: \0",
]


@pytest.mark.parametrize("raw", NEVER_HEADS)
@pytest.mark.parametrize("step", [1, 2, 1000])
def test_what_cannot_become_a_head_is_refused_at_once(raw: bytes, step: int) -> None:
    """With the byte that is wrong, and not when the connection ends."""
    with pytest.raises(RefusedError) as refusal:
        begin(raw, step)
    assert refusal.value.problem.code == "bad_backend_response"
