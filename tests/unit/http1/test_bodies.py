"""Chunked framing: taken apart in any pieces, put on anew, refused where two readers could disagree."""

import contextlib
import itertools
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.http1.bodies import LAST_CHUNK, ChunkedReader, FramingError, chunk, last_chunk

MOST_TRAILERS = 1024  # bytes


def new_reader() -> ChunkedReader:
    return ChunkedReader(MOST_TRAILERS)


def read(data: bytes, *cuts: int) -> tuple[bytes, list[bytes], bytes]:
    """(content, trailers, rest) of `data`, fed in pieces that end at `cuts`. The body must be complete."""
    reader = new_reader()
    content = b""
    places = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(places):
        if reader.done:
            return content, reader.trailers, reader.rest + data[start:]
        content += reader.feed(data[start:end])
    assert reader.done
    return content, reader.trailers, reader.rest


def dribble(reader: ChunkedReader, data: bytes) -> None:
    """Feed byte by byte."""
    for at in range(len(data)):
        reader.feed(data[at : at + 1])


VALID = [
    ("nothing", b"0\r\n\r\n", b"", []),
    ("one chunk", b"5\r\nhello\r\n0\r\n\r\n", b"hello", []),
    ("several chunks", b"1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n", b"abcdef", []),
    ("hexadecimal in both cases", b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", b"01234567890123456789a", []),
    ("leading zeros", b"00000005\r\nhello\r\n000\r\n\r\n", b"hello", []),
    ("sixteen digits", b"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", b"hello", []),
    ("line ends in the content", b"6\r\n\r\n0\r\n\r\r\n0\r\n\r\n", b"\r\n0\r\n\r", []),
    ("an extension", b"5;a\r\nhello\r\n0;b\r\n\r\n", b"hello", []),
    ("an extension with a value", b'5;a=b;c="d, e";;\r\nhello\r\n0\r\n\r\n', b"hello", []),
    ("an empty extension", b"5;\r\nhello\r\n0;\r\n\r\n", b"hello", []),
    ("blanks inside an extension", b"5; a = b\t\r\nhello\r\n0\r\n\r\n", b"hello", []),
    ("obs-text in an extension", b"5;\x80\xff\r\nhello\r\n0\r\n\r\n", b"hello", []),
    ("the longest extension", b"5;" + b"a" * 4094 + b"\r\nhello\r\n0\r\n\r\n", b"hello", []),
    ("a trailer", b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", b"hello", [b"X-Sum: 1"]),
    ("trailers in order", b"0\r\nB: 1\r\na:2\r\nB:\t3 \r\n\r\n", b"", [b"B: 1", b"a:2", b"B:\t3 "]),
    ("an empty trailer", b"0\r\nA:\r\n\r\n", b"", [b"A:"]),
    ("a trailer of obs-text", b"0\r\nA: \x80\xff\r\n\r\n", b"", [b"A: \x80\xff"]),
    ("gRPC's trailers", b"0\r\ngrpc-status: 0\r\ngrpc-message: \r\n\r\n", b"", [b"grpc-status: 0", b"grpc-message: "]),
    ("the longest trailers", b"0\r\nA: %b\r\n\r\n" % (b"a" * 1019), b"", [b"A: " + b"a" * 1019]),
]


@pytest.mark.parametrize(("data", "content", "trailers"), [case[1:] for case in VALID], ids=[case[0] for case in VALID])
def test_valid(data: bytes, content: bytes, trailers: list[bytes]) -> None:
    """A body reads the same whole, byte by byte, cut anywhere, and with another message behind it."""
    assert read(data) == (content, trailers, b"")
    assert read(data, *range(1, len(data))) == (content, trailers, b"")
    for cut in range(len(data)):
        assert read(data, cut) == (content, trailers, b"")
    behind = b"GET / HTTP/1.1\r\n\r\n"
    assert read(data + behind) == (content, trailers, behind)
    assert read(data + behind, *range(1, len(data + behind))) == (content, trailers, behind)


REFUSED = [
    ("an empty size", b"\r\n"),
    ("only an extension", b";a\r\n"),
    ("not hexadecimal", b"g\r\n"),
    ("a letter behind", b"5g\r\n"),
    ("a plus", b"+5\r\n"),
    ("a minus", b"-5\r\n"),
    ("0x", b"0x5\r\n"),
    ("an underscore", b"1_0\r\n"),
    ("a dot", b"5.\r\n"),
    ("a comma", b"5,5\r\n"),
    ("a hash", b"5#\r\n"),
    ("quotes", b'"5"\r\n'),
    ("a blank before", b" 5\r\n"),
    ("a tab before", b"\t5\r\n"),
    ("a blank behind", b"5 \r\n"),
    ("a tab behind", b"5\t\r\n"),
    ("a blank before an extension", b"5 ;a\r\n"),
    ("a blank inside", b"1 0\r\n"),
    ("VT behind", b"5\x0b\r\n"),
    ("NBSP behind", b"5\xa0\r\n"),
    ("another alphabet's digit", "٥".encode() + b"\r\n"),
    ("a full-width digit", "５".encode() + b"\r\n"),
    ("seventeen digits", b"00000000000000005\r\n"),
    ("a number over 2^64", b"10000000000000005\r\n"),
    ("NUL", b"5\x00\r\n"),
    ("bare LF", b"5\nhello\n0\n\n"),
    ("bare CR", b"5\rhello\r\n0\r\n\r\n"),
    ("LF CR", b"5\n\rhello\r\n0\r\n\r\n"),
    ("CR CR LF", b"5\r\r\nhello\r\n0\r\n\r\n"),
    ("LF in an extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("NUL in an extension", b"5;\x00\r\nhello\r\n0\r\n\r\n"),
    ("DEL in an extension", b"5;\x7f\r\nhello\r\n0\r\n\r\n"),
    ("ESC in an extension", b"5;\x1b\r\nhello\r\n0\r\n\r\n"),
    ("an extension over the limit", b"5;" + b"a" * 4095 + b"\r\nhello\r\n0\r\n\r\n"),
    ("an extension without end", b"5;" + b"a" * 10_000),
    ("content too long", b"5\r\nhello!\r\n0\r\n\r\n"),
    ("content too short", b"6\r\nhello\r\n0\r\n\r\n"),
    ("LF behind the content", b"5\r\nhello\n0\r\n\r\n"),
    ("CR behind the content", b"5\r\nhello\r0\r\n\r\n"),
    ("two bytes behind the content", b"5\r\nhelloxx0\r\n\r\n"),
    ("nothing behind the content", b"5\r\nhello0\r\n\r\n"),
    ("two line ends behind the content", b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    ("bad content behind good", b"1\r\na\r\n1\r\nb\r\nx\r\n"),
    ("LF at the end", b"0\r\n\n"),
    ("CR at the end", b"0\r\n\rx"),
    ("LF behind the last size", b"0\n\r\n"),
    ("a trailer without a colon", b"0\r\nA\r\n\r\n"),
    ("a trailer without a name", b"0\r\n: a\r\n\r\n"),
    ("a request for a trailer", b"0\r\nGET / HTTP/1.1\r\n\r\n"),
    ("a blank before a trailer's colon", b"0\r\nA : b\r\n\r\n"),
    ("a blank before a trailer", b"0\r\n A: b\r\n\r\n"),
    ("a folded trailer", b"0\r\nA: b\r\n c\r\n\r\n"),
    ("a blank in a trailer's name", b"0\r\nA B: c\r\n\r\n"),
    ("UTF-8 in a trailer's name", "0\r\nÄ: c\r\n\r\n".encode()),
    ("LF in a trailer", b"0\r\nA: b\nC: d\r\n\r\n"),
    ("CR in a trailer", b"0\r\nA: b\rC: d\r\n\r\n"),
    ("NUL in a trailer", b"0\r\nA: \x00\r\n\r\n"),
    ("VT in a trailer", b"0\r\nA: \x0b\r\n\r\n"),
    ("DEL in a trailer", b"0\r\nA: \x7f\r\n\r\n"),
    ("trailers over the limit", b"0\r\nA: %b\r\n\r\n" % (b"a" * 1020)),
    ("many trailers over the limit", b"0\r\n" + b"A: b\r\n" * 171 + b"\r\n"),
    ("a size over 2^63", b"8000000000000000\r\nhello"),
    ("a size that only unsigned readers hold", b"ffffffffffffffff\r\nhello"),
    ("padded sizes without end", b"0000000000000001\r\nx\r\n" * 20_000),
    ("extensions without end", b"1;abcdefghijklmnopqrst\r\nx\r\n" * 4_000),
    ("long extensions, again and again", (b"1;" + b"a" * 4000 + b"\r\nx\r\n") * 5),
    ("a trailer without end", b"0\r\nA: " + b"a" * 10_000),
]


@pytest.mark.parametrize("data", [case[1] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused(data: bytes) -> None:
    """What two readers could read in two ways is refused, whole and byte by byte."""
    whole = new_reader()
    with pytest.raises(FramingError):
        whole.feed(data)
    assert not whole.done
    slow = new_reader()
    with pytest.raises(FramingError):
        dribble(slow, data)
    assert not slow.done


EARLY = [
    b"g",
    b";",
    b" ",
    b"\n",
    b"5\n",
    b"5\rx",
    b"0\r\n\n",
    b"1\r\naxx",
    b"5;" + b"a" * 4096,
    b"5;" + b"a" * 4095 + b"\r",
]


@pytest.mark.parametrize("data", EARLY)
def test_refused_early(data: bytes) -> None:
    """What can no longer become a line is refused when it arrives, not when its end does."""
    with pytest.raises(FramingError):
        new_reader().feed(data)


def test_the_longest_line_may_be_cut_inside_its_end() -> None:
    """The CR of a line's end is not of the line: the limit is the same in whatever pieces it arrives."""
    reader = new_reader()
    assert reader.feed(b"5;" + b"a" * 4094 + b"\r") == b""
    assert reader.feed(b"\nhello") == b"hello"


INCOMPLETE = [
    b"",
    b"5",
    b"5\r",
    b"5\r\n",
    b"5\r\nhell",
    b"5\r\nhello",
    b"5\r\nhello\r",
    b"5\r\nhello\r\n",
    b"0",
    b"0\r\n",
    b"0\r\n\r",
]


@pytest.mark.parametrize("data", INCOMPLETE)
def test_incomplete(data: bytes) -> None:
    """A body is not done before its last line end: a connection that ends here was cut off."""
    reader = new_reader()
    reader.feed(data)
    assert not reader.done


def test_content_comes_as_it_arrives() -> None:
    """Nothing waits for a chunk to be complete: every feed gives the content that it held."""
    reader = new_reader()
    assert reader.feed(b"a\r\n012") == b"012"
    assert reader.feed(b"345") == b"345"
    assert reader.feed(b"6789") == b"6789"
    assert reader.feed(b"\r\n1\r\nx\r\n2\r\ny") == b"xy"
    assert reader.feed(b"z\r\n0\r\n\r\nrest") == b"z"
    assert reader.done
    assert reader.rest == b"rest"


NOT_KEPT = [
    b"Host: a",
    b"HOST: a",
    b"Content-Length: 5",
    b"content_length: 5",
    b"Transfer-Encoding: chunked",
    b"Transfer_Encoding: chunked",
    b"Trailer: a",
    b"TE: trailers",
    b"Upgrade: websocket",
    b"Connection: close",
    b"Keep-Alive: 5",
    b"Proxy-Connection: close",
    b"Proxy-Authorization: Basic x",
    b"Proxy-Authenticate: Basic",
    b"WWW-Authenticate: Basic",
    b"Authorization: Bearer x",
    b"Cookie: a=b",
    b"Set-Cookie: a=b",
    b"Content-Type: text/html",
    b"Content-Encoding: gzip",
    b"Content-Range: bytes 0-1/2",
    b"Content-Location: /",
    b"Content-Disposition: inline",
    b"Content-Security-Policy: default-src *",
    b"content_type: text/html",
    b"X-Forwarded-For: 192.0.2.1",
    b"X_Forwarded_For: 192.0.2.1",
    b"X-Forwarded-User: root",
    b"X-Real-IP: 192.0.2.1",
    b"Forwarded: for=192.0.2.1",
    b"X-Request-ID: a",
    b"X-Miosa-Tenant: acme",
    b"x_miosa_tenant: acme",
    b"Via: 1.1 a",
    b"Expect: 100-continue",
    b"Cache-Control: public",
    b"Location: /",
    b"Vary: *",
    b"Date: now",
]


@pytest.mark.parametrize("line", NOT_KEPT)
def test_trailers_that_are_not_kept(line: bytes) -> None:
    """Framing, routing, authentication, content and our own are never taken from a trailer (RFC 9110 §6.5.1)."""
    assert read(b"0\r\nA: 1\r\n" + line + b"\r\nB: 2\r\n\r\n") == (b"", [b"A: 1", b"B: 2"], b"")


def test_chunk() -> None:
    """A chunk is its size in hexadecimal, and its content."""
    assert chunk(b"hello") == b"5\r\nhello\r\n"
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


def test_last_chunk() -> None:
    """The end of a body carries its trailers."""
    assert last_chunk([]) == LAST_CHUNK == b"0\r\n\r\n"
    assert last_chunk([b"A: 1", b"B:2"]) == b"0\r\nA: 1\r\nB:2\r\n\r\n"


# Bodies of all kinds, as they are on the wire, with their content and trailers.
_extension = st.lists(st.sampled_from([b";a", b';b="c"', b"; d = e", b";\xff"]), max_size=2).map(b"".join)
_size = st.tuples(st.integers(0, 8), st.booleans())
_chunks = st.lists(st.tuples(st.binary(min_size=1, max_size=40), _size, _extension), max_size=6)
_trailers = st.lists(
    st.tuples(st.sampled_from([b"A", b"x-b", b"GRPC-Status"]), st.sampled_from([b"", b" 1", b"\t\x80 "]))
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes, list[bytes]]:
    """(on the wire, content, trailers)"""
    wire = content = b""
    for piece, (zeros, upper), extension in draw(_chunks):
        digits = b"%X" % len(piece) if upper else b"%x" % len(piece)
        wire += b"0" * zeros + digits + extension + b"\r\n" + piece + b"\r\n"
        content += piece
    trailers = [name + b":" + value for name, value in draw(_trailers)]
    zeros, _ = draw(_size)
    wire += b"0" + b"0" * zeros + draw(_extension) + b"\r\n" + b"".join(line + b"\r\n" for line in trailers) + b"\r\n"
    return wire, content, trailers


@given(bodies(), st.binary(max_size=20), st.lists(st.integers(0, 400), max_size=20))
def test_any_body_in_any_pieces(body: tuple[bytes, bytes, list[bytes]], behind: bytes, cuts: list[int]) -> None:
    """However a body is cut up, its content, its trailers and what comes behind it are the same."""
    wire, content, trailers = body
    data = wire + behind
    assert read(data, *(cut for cut in cuts if cut < len(data))) == (content, trailers, behind)


_NOISE = st.lists(
    st.sampled_from(
        [b"0", b"1", b"2", b"a", b"5", b"\r\n", b"\r", b"\n", b";", b" ", b":", b"X: y", b"\x00", b"hello"]
    ),
    max_size=25,
).map(b"".join)


@given(_NOISE | st.binary(max_size=60), st.lists(st.integers(0, 120), max_size=10))
def test_anything_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    """Any bytes are a body, the beginning of one, or a FramingError; cutting them up changes nothing of that."""

    def outcome(places: list[int]) -> tuple[bytes, list[bytes], bytes] | str:
        reader, content = new_reader(), b""
        for start, end in itertools.pairwise(places):
            if reader.done:
                return content, reader.trailers, reader.rest + data[start:]
            try:
                content += reader.feed(data[start:end])
            except FramingError:
                return "refused"
        return (content, reader.trailers, reader.rest) if reader.done else "incomplete"

    assert outcome([0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]) == outcome([0, len(data)])


def test_trailers_are_counted() -> None:
    """A limit in bytes alone would let in thousands of trailers of four bytes, each of which has to be judged."""
    reader = ChunkedReader(65_536)
    reader.feed(b"0\r\n" + b"A:\r\n" * 256)
    assert len(reader.trailers) == 256
    with pytest.raises(FramingError):
        reader.feed(b"A:\r\n")


PLENTY = [
    ("chunks of one byte", b"1\r\nx\r\n"),
    ("sizes of eight digits", b"00000001\r\nx\r\n"),
    ("short extensions", b"1;a=b\r\nx\r\n"),
    ("extensions of some length, and content that pays for them", b"40;" + b"a" * 120 + b"\r\n" + b"x" * 64 + b"\r\n"),
    ("large chunks", b"8000;a\r\n" + b"x" * 32768 + b"\r\n"),
]


@pytest.mark.parametrize("piece", [case[1] for case in PLENTY], ids=[case[0] for case in PLENTY])
def test_small_chunks_may_go_on_for_ever(piece: bytes) -> None:
    """An event stream or a program's output may come a byte at a time all day: only padding adds up."""
    reader = new_reader()
    for _ in range(200):
        assert reader.feed(piece * 100) == read(piece + b"0\r\n\r\n")[0] * 100
    assert reader.lines == 20_000


_WHOLE = re.compile(rb"(?:[0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")


def slow_read(data: bytes) -> bytes | None:
    """What a reader that looks at one line after the other makes of `data`; None where it refuses or is not done."""
    content, at = b"", 0
    while True:
        match = _WHOLE.match(data, at)
        if match is None:
            return None
        size, at = int(match[0].split(b";")[0], 16), match.end()
        if size == 0:
            end = data.find(b"\r\n", at)
            return content if end == at else None  # trailers are another test's
        if data[at + size : at + size + 2] != b"\r\n":
            return None
        content += data[at : at + size]
        at += size + 2


@given(_NOISE | bodies().map(lambda body: body[0]))
def test_a_slow_reader_agrees(data: bytes) -> None:
    """Places and native integers, and a reader of lines by regular expressions, find the same content."""
    expected = slow_read(data)
    if expected is not None:
        assert read(data)[0] == expected
    else:
        reader = new_reader()
        with contextlib.suppress(FramingError):
            reader.feed(data)
        assert not reader.done or reader.trailers or b":" in data


@given(bodies())
def test_what_goes_on_reads_the_same(body: tuple[bytes, bytes, list[bytes]]) -> None:
    """Re-framed, a body has the same content and trailers, and nothing of its sizes and extensions."""
    wire, content, trailers = body
    again = (chunk(content) if content else b"") + last_chunk(trailers)
    assert read(again) == (content, trailers, b"")
    assert b";" not in again.replace(content, b"") or any(b";" in line for line in trailers)
    assert read(wire)[:2] == read(again)[:2]


# What goes on as it stands. A stream is made of chunks as we write them, of others, and of what is refused.
_written = st.integers(1, 600).map(lambda size: chunk((b"\r\n0\r\nx" * 100)[:size]))
_foreign = st.sampled_from(
    [
        b"5;a\r\nhello\r\n",
        b"05\r\nhello\r\n",
        b"A\r\n0123456789\r\n",
        b"1;" + b"a" * 4000 + b"\r\nx\r\n",
        b"5\r\nhello!\r\n",
        b"5\nhello\n",
        b"5 \r\nhello\r\n",
        b"\r\n",
        b"x",
    ]
)
_ends = st.sampled_from(
    [b"0\r\n\r\n", b"00\r\n\r\n", b"0;a\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\n\r\nHTTP/1.1", b"0\r\n", b""]
)


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """What a program writes, read by read: now a whole number of chunks, now a part of one."""
    parts = draw(
        st.lists(st.lists(st.one_of(_written, _written, _written, _foreign), max_size=7).map(b"".join), max_size=6)
    )
    data = b"".join([*parts, draw(_ends)])
    ends = {
        0,
        len(data),
        *itertools.accumulate(map(len, parts)),
        *draw(st.lists(st.integers(0, len(data)), max_size=4)),
    }
    return [data[start:end] for start, end in itertools.pairwise(sorted(ends))]


def passed(reader: ChunkedReader, data: bytes) -> bytes:
    """As connections do it: on as it stands where that may be, else framed anew."""
    if reader.canonical(data) >= 0:
        return data
    content = reader.feed(data)
    out = chunk(content) if content else b""
    return out + last_chunk(reader.trailers) if reader.done else out


@given(streams(), st.booleans())
def test_what_goes_on_as_it_stands_has_the_same_content(reads: list[bytes], lenient: bool) -> None:
    """Read by read: taken apart and put together or not, the same content goes on, and the same bytes are refused."""
    slow, fast = (ChunkedReader(MOST_TRAILERS, lenient=lenient) for _ in range(2))
    behind = ChunkedReader(MOST_TRAILERS)  # who gets what goes on; as strict as can be
    for data in reads:
        if slow.done:
            break
        try:
            content = slow.feed(data)
        except FramingError as error:
            with pytest.raises(FramingError, match=re.escape(str(error))):
                passed(fast, data)
            assert slow.bad_byte(data) == fast.bad_byte(data)
            break
        out = passed(fast, data)
        assert (behind.feed(out) if out else b"") == content
        assert (fast.done, fast.rest, fast.trailers, fast.lines) == (slow.done, slow.rest, slow.trailers, slow.lines)
        assert (behind.done, behind.rest, behind.trailers) == (slow.done, b"", slow.trailers if slow.done else [])
        assert (fast.repaired, fast.only_end_missing) == (slow.repaired, slow.only_end_missing)


CANONICAL = [
    ("one chunk", b"5\r\nhello\r\n", 5),
    ("the end", b"0\r\n\r\n", 0),
    ("16 chunks and the end", (b"400\r\n" + b"x" * 1024 + b"\r\n") * 16 + b"0\r\n\r\n", 16 * 1024),
    ("a few small ones", b"1\r\na\r\n" * 4 + b"0\r\n\r\n", 4),
    ("the first of two halves", b"5\r\nhel", -1),
    ("a chunk and part of the next", b"5\r\nhello\r\n5\r\n", -1),
    ("a chunk without its line's end", b"5\r\nhello\r", -1),
    ("a capital", b"A\r\n0123456789\r\n", -1),
    ("a leading zero", b"05\r\nhello\r\n", -1),
    ("two zeros at the end", b"00\r\n\r\n", -1),
    ("an extension", b"5;a\r\nhello\r\n", -1),
    ("an extension of the last", b"0;a\r\n\r\n", -1),
    ("a trailer", b"0\r\nX: y\r\n\r\n", -1),
    ("the next message behind it", b"0\r\n\r\nH", -1),
    ("the end without its empty line", b"0\r\n", -1),
    ("bare LF", b"5\nhello\n", -1),
    ("no size", b"\r\n", -1),
    ("LF behind the content", b"5\r\nhello\n\n", -1),
    ("CR behind a size", b"5\r\rhello\r\n", -1),
    ("a size of nine digits", b"100000000\r\n", -1),
    ("many small ones, which are less as one", b"1\r\na\r\n" * 5, -1),
]


@pytest.mark.parametrize(("data", "size"), [case[1:] for case in CANONICAL], ids=[case[0] for case in CANONICAL])
def test_what_may_go_on_as_it_stands(data: bytes, size: int) -> None:
    """Only what we would write ourselves, in whole; of anything else nothing has been read by that."""
    reader = new_reader()
    assert reader.canonical(data) == size
    if size < 0:
        with contextlib.suppress(FramingError):
            assert new_reader().feed(data) == reader.feed(data)


@pytest.mark.parametrize("begun", [b"5", b"5\r", b"5\r\nhe", b"5\r\nhello", b"5\r\nhello\r", b"5;a", b"0\r\n"])
def test_nothing_goes_on_as_it_stands_inside_a_chunk(begun: bytes) -> None:
    """What looks like a chunk may be content there, or the rest of a size."""
    reader = new_reader()
    reader.feed(begun)
    assert reader.canonical(b"5\r\nhello\r\n") == -1


def test_nothing_goes_on_as_it_stands_behind_lf_alone() -> None:
    """A body whose lines end with LF is framed anew to its end."""
    reader = ChunkedReader(MOST_TRAILERS, lenient=True)
    reader.feed(b"5\nhello\n")
    assert reader.canonical(b"5\r\nhello\r\n") == -1


@pytest.mark.parametrize("paid", [chunk(b"x"), chunk(b"x" * 600), chunk(b"x" * 600) * 2])
def test_what_goes_on_as_it_stands_pays_for_other_framing(paid: bytes) -> None:
    """Framing that adds up is refused as late as where nothing goes on so, and no later."""
    long = b"1;" + b"a" * 4000 + b"\r\nx\r\n"

    def taken(read: Callable[[ChunkedReader, bytes], bytes]) -> int:
        reader, count = new_reader(), 0
        with contextlib.suppress(FramingError):
            for count in range(100):
                read(reader, paid if count % 2 else long)
        return count

    assert taken(passed) == taken(ChunkedReader.feed) < 50
