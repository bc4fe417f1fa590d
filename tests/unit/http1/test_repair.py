"""Responses that break a rule and mean one thing all the same: made clean; and those that are refused, with their reason."""

import contextlib
import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

import router.http1
from router.errors import BAD_BACKEND_RESPONSE
from router.http1.bodies import ChunkedReader, FramingError
from router.http1.heads import CHUNKED, NONE, UNTIL_CLOSE, RefusedError
from router.http1.repair import HeadRepair
from router.http1.responses import ResponseHead
from router.settings import Limits

LIMITS: Final = Limits()


def head(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK", end: bytes = b"\r\n") -> bytes:
    return end.join([first, *lines, b"", b""])


def repaired(raw: bytes, step: int = 1000, method: bytes = b"GET", limits: Limits = LIMITS) -> ResponseHead:
    """The head of these bytes, which arrive in pieces of `step`; all of them belong to it."""
    repair = HeadRepair(limits)
    for at in range(step, len(raw) + step, step):
        assert repair.end == -1
        repair.feed(raw[:at])
    assert repair.end == len(raw)
    return repair.head(method)


# A row of the table, heads that show it, and of each: status, reason, version, framing, lines.
REPAIRED: Final = {
    "blanks before a colon": [
        (head(b"X-A : b"), (200, b"OK", 1, UNTIL_CLOSE, [b"X-A: b"])),
        (head(b"X-A \t :b", b"Content-Length\t: 5"), (200, b"OK", 1, 5, [b"X-A:b", b"Content-Length: 5"])),
        (head(b"Transfer-Encoding : chunked"), (200, b"OK", 1, CHUNKED, [])),
        (head(b"X-Miosa-User : a", b"Keep-Alive : a"), (200, b"OK", 1, UNTIL_CLOSE, [])),
    ],
    "a folded header line": [
        (head(b"X-A: a", b" b"), (200, b"OK", 1, UNTIL_CLOSE, [b"X-A: a b"])),
        (head(b"X-A: a  ", b"\t b\t", b" c", b"X-B:"), (200, b"OK", 1, UNTIL_CLOSE, [b"X-A: a b c", b"X-B:"])),
        (head(b"X-A:", b" b: c"), (200, b"OK", 1, UNTIL_CLOSE, [b"X-A: b: c"])),
    ],
    "LF alone at line ends": [
        (head(b"X-A: b", b"Content-Length: 5", end=b"\n"), (200, b"OK", 1, 5, [b"X-A: b", b"Content-Length: 5"])),
        (b"HTTP/1.0 200 OK\r\nServer: x\r\nX-A: b\n\n", (200, b"OK", 0, UNTIL_CLOSE, [b"Server: x", b"X-A: b"])),
        (b"HTTP/1.1 204 No Content\n\n", (204, b"No Content", 1, NONE, [])),
        (b"HTTP/1.1 200 OK\r\nX-A: b\r\n\n", (200, b"OK", 1, UNTIL_CLOSE, [b"X-A: b"])),
    ],
    "a higher minor version": [
        (head(first=b"HTTP/1.2 200 OK"), (200, b"OK", 1, UNTIL_CLOSE, [])),
        (head(b"Transfer-Encoding: chunked", first=b"HTTP/1.9 404"), (404, b"", 1, CHUNKED, [])),
    ],
    "a reason of over 512 bytes": [(head(first=b"HTTP/1.1 500 " + b"x" * 513), (500, b"", 1, UNTIL_CLOSE, []))],
    "equal Content-Lengths": [
        (head(b"Content-Length: 5, 5"), (200, b"OK", 1, 5, [b"Content-Length: 5"])),
        (head(b"content-length: 5", b"X: y", b"Content-Length:5"), (200, b"OK", 1, 5, [b"X: y", b"Content-Length: 5"])),
        (head(b"Content-Length: 5 ,5,\t5"), (200, b"OK", 1, 5, [b"Content-Length: 5"])),
        (head(b"Content-Length: 0", b"Content-Length: 0"), (200, b"OK", 1, 0, [b"Content-Length: 0"])),
    ],
    "leading zeros of a length": [
        (head(b"Content-Length: 005"), (200, b"OK", 1, 5, [b"Content-Length: 5"])),
        (head(b"Content-Length: 00"), (200, b"OK", 1, 0, [b"Content-Length: 0"])),
        (head(b"Content-Length: 5, 05"), (200, b"OK", 1, 5, [b"Content-Length: 5"])),
    ],
    "a length beside chunked": [
        (head(b"Content-Length: 5", b"Transfer-Encoding: chunked"), (200, b"OK", 1, CHUNKED, [])),
        (head(b"Transfer-Encoding: Chunked", b"X: y", b"Content-Length: 0"), (200, b"OK", 1, CHUNKED, [b"X: y"])),
    ],
    "Transfer-Encoding: identity": [
        (head(b"Transfer-Encoding: identity"), (200, b"OK", 1, UNTIL_CLOSE, [])),
        (head(b"Transfer-Encoding: Identity", b"Content-Length: 5"), (200, b"OK", 1, 5, [b"Content-Length: 5"])),
        (head(b"Transfer-Encoding: identity", first=b"HTTP/1.0 200 OK"), (200, b"OK", 0, UNTIL_CLOSE, [])),
    ],
}

# A row of the table, and heads that it refuses, or their beginnings; the reason that is given has these words in it.
REFUSED: Final = {
    "no HTTP/1 status line": [
        (b"SSH-2.0-OpenSSH_9.9\r\n", "status line"),
        (b"<html>", "status line"),
        (b"0\r\n\r\n", "status line"),
        (b"\r\n", "status line"),
        (b"\x15\x03\x01", "status line"),
        (head(first=b"HTTP/2.0 200 OK"), "status line"),
        (head(first=b"HTTP/0.9 200 OK"), "status line"),
        (head(first=b"http/1.1 200 OK"), "status line"),
        (head(first=b"ICY 200 OK"), "status line"),
        (b"HTTP/1.1 200 " + b"x" * 5000, "status line"),
        (head(first=b"HTTP/1.1 200 " + b"x" * 5000), "status line"),
    ],
    "odd blanks in the status line": [
        (head(first=b"HTTP/1.1  200 OK"), "status line"),
        (head(first=b"HTTP/1.1\t200 OK"), "status line"),
        (head(first=b"HTTP/1.1 200\tOK"), "status line"),
        (head(first=b" HTTP/1.1 200 OK"), "status line"),
        (head(first=b"HTTP/1.1 200OK"), "status line"),
        (head(first=b"HTTP/1.1 2000 OK"), "status line"),
        (head(first=b"HTTP/1.10 200 OK"), "status line"),
        (head(first=b"HTTP/1.1 099 OK"), "status line"),
    ],
    "CR without LF": [
        (head(b"X-A: a\rb"), "CR"),
        (head(b"X-A: a\r"), "CR"),
        (head(b"Set-Cookie: a=b\rSet-Cookie: c=d", end=b"\n"), "CR"),
        (head(first=b"HTTP/1.1 200 O\rK"), "status line"),
        (b"HTTP/1.1 200 OK\r\nX-A: a\rb", "CR"),
    ],
    "LF, and CRLF behind it": [
        (head(b"X-A: a\nX-B: c"), "line ends"),
        (b"HTTP/1.1 200 OK\nX-A: b\r\n\r\n", "line ends"),
        (b"HTTP/1.1 200 OK\r\nX-A: b\n\r\n", "line ends"),
    ],
    "NUL and other control characters": [
        (head(b"X-A: a\0b"), "control"),
        (head(b"X\x01-A: a"), "control"),
        (head(b"X-A: a\x7f"), "control"),
        (head(b"X-A: a", b" \x1b[0m"), "control"),
        (b"HTTP/1.1 200 OK\r\nX-A: \0", "control"),
        (head(first=b"HTTP/1.1 200 O\0K"), "status line"),
    ],
    "a header without colon or name": [
        (head(b"X-A"), "colon"),
        (head(b": b"), "name"),
        (head(b"X: y", b"<html>"), "colon"),
    ],
    "bytes that no name may have": [(head(b"X A: b"), "name"), (head(b"X\xe4: b"), "name"), (head(b"X(A): b"), "name")],
    "a line of blanks": [(head(b"X: y", b"  "), "blanks"), (head(b"\t", b"X: y"), "blanks")],
    "a fold before the first header": [(head(b" X-A: b"), "first header"), (head(b"\tx", b"X: y"), "first header")],
    "a fold in a length or coding": [
        (head(b"Content-Length:", b" 5"), "folded"),
        (head(b"Content-Length: 5", b" 5"), "folded"),
        (head(b"Transfer-Encoding :", b"\tchunked"), "folded"),
    ],
    "Content-Lengths that differ": [
        (head(b"Content-Length: 5", b"Content-Length: 6"), "differ"),
        (head(b"Content-Length: 5, 6"), "differ"),
        (head(b"Content-Length: 5, 6", b"Transfer-Encoding: chunked"), "differ"),
        (head(b"Content-Length: 1" + b", 1" * 16), "too many"),
    ],
    "a length that is no number": [
        (head(b"Content-Length:"), "number"),
        (head(b"Content-Length: 5,"), "number"),
        (head(b"Content-Length: +5"), "number"),
        (head(b"Content-Length: 5 5"), "number"),
        (head(b"Content-Length: 0x5"), "number"),
        (head(b"Content-Length: 5_0"), "number"),
        (head(b"Content-Length: \xd9\xa5"), "number"),
        (head(b"Content-Length: " + b"9" * 20), "number"),
        (head(b"Content-Length: 9223372036854775808"), "Content-Length"),
    ],
    "two codings": [
        (head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "more than one"),
        (head(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"), "more than one"),
        (head(b"Transfer-Encoding: identity, chunked"), "else than chunked"),
        (head(b"Transfer-Encoding: gzip, chunked"), "else than chunked"),
        (head(b"Transfer-Encoding: chunked;a=b"), "else than chunked"),
        (head(b"Transfer-Encoding:"), "else than chunked"),
    ],
    "chunked in HTTP/1.0": [(head(b"Transfer-Encoding: chunked", first=b"HTTP/1.0 200 OK"), "HTTP/1.0")],
    "headers over the limit": [
        (head(b"X-Long: " + b"a" * 70_000), "65536 bytes; the longest of them, X-Long, has "),
        (b"HTTP/1.1 200 OK\r\nX: y\r\nX-Long: " + b"a" * 70_000, "the longest of them, X-Long, has at least "),
        (head(b"a" * 70_000), "one without a name"),
        (head(*[b"X: y"] * 1001), "1000 header lines"),
        (head(b"X: y", *[b" y"] * 1001), "1000 header lines"),
    ],
}

# Of chunked bodies: the rows, bodies, and their content; what is refused raises.
CHUNKS: Final = {
    "blanks before a chunk extension": [
        (b"5 ;a=b\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b'5\t \t;a;b="c"\r\nhello\r\n0 ;a\r\n\r\n', b"hello"),
    ],
    "blanks behind a chunk size": [
        (b"5 \r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5       \r\nhello\r\n0 \t\r\n\r\n", b"hello"),
        (b"5 \nhello\n0\t\n\n", b"hello"),
    ],
    "LF alone at chunk lines": [
        (b"5\nhello\n0\n\n", b"hello"),
        (b"5;a\r\nhello\r\n3\na\r\n\n0\n\n", b"helloa\r\n"),
        (b"5\r\nhello\r\n0\n\n", b"hello"),
        (b"5\nhello\n0\n", b"hello"),
    ],
    "LF alone at trailer lines": [
        (b"5\r\nhello\r\n0\r\nX-A: b\n\n", b"hello"),
        (b"0\r\nX-A: b\r\n\n", b""),
        (b"0\r\n\n", b""),
        (b"5\nhello\n0\nX-A: b\nX-B: c\n\n", b"hello"),
    ],
    "no empty line behind chunks": [(b"5\r\nhello\r\n0\r\n", b"hello"), (b"5\r\nhello\r\n0;a\r\n\r", b"hello")],
}
BAD_CHUNKS: Final = {
    "a blank before a chunk size": [b" 5\r\n", b"5 5\r\n", b"\t0\r\n\r\n", b"5" + b" " * 5000 + b"\r\n"],
    "LF alone behind an extension": [b"5;a\nhello\n0\n\n", b"5 ;a\nhello\r\n", b"5\r\nhello\r\n0;\n\r\n"],
    "LF, and CRLF at a later chunk": [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\r\n\r\n",
        b"5\nhello\n0\n\r\n",
        b"5\nhello\n5 \r\nhello\n0\n\n",
        b"5\nhello\n0;a\r\n\r\n",
        b"5\r\nhello\n0\n\n",
        b"0\r\nX-A: b\nX-B: c\r\n\r\n",
        b"0\n\rx\n\n",
    ],
    "an end inside a chunk": [b"", b"5\r\nhell", b"5\r\nhello", b"5\r\nhello\r\n", b"5\r\nhello\r\n0", b"0\r"],
    "an end inside the trailers": [b"5\nhello\n0\n\r", b"0\r\nX-A: b\r\n", b"0\r\nX-A", b"0\r\nX-A: b\r\n\r"],
}


def rows(title: str) -> list[str]:
    """The first column of the table in the package's docstring that has this title."""
    table = (router.http1.__doc__ or "").partition(f"    {title} ")[2].partition("\n\n")[0]
    return [re.split(r"  +", line.strip())[0] for line in table.splitlines()[1:]]


def test_the_tables_are_shown_here() -> None:
    """Each row has its examples, and each example its row."""
    assert rows("what is repaired") == [*REPAIRED, *CHUNKS]
    refused = [*REFUSED, *BAD_CHUNKS]
    assert sorted(rows("what stays refused")) == sorted(refused)
    assert Limits().header_count == 1000
    assert Limits().headers == 64 * 1024


@pytest.mark.parametrize(("raw", "parts"), [case for cases in REPAIRED.values() for case in cases])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_what_is_repaired(raw: bytes, parts: tuple[int, bytes, int, int, list[bytes]], step: int) -> None:
    """However it arrives, it becomes one clean head, whose connection is not used again."""
    found = repaired(raw, step)
    assert (found.status, found.reason, found.version, found.framing, found.lines) == parts
    assert not found.keep_alive


@pytest.mark.parametrize(("raw", "why"), [case for cases in REFUSED.values() for case in cases])
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_what_stays_refused(raw: bytes, why: str, step: int) -> None:
    """With a reason in plain words; most of it as soon as the byte that is wrong has arrived."""
    step = max(step, len(raw) // 10_000)
    with pytest.raises(RefusedError, match=re.escape(why)) as refusal:
        repaired(raw, step)
    assert refusal.value.problem is BAD_BACKEND_RESPONSE


@pytest.mark.parametrize(("body", "content"), [case for cases in CHUNKS.values() for case in cases])
@pytest.mark.parametrize("step", [1, 1000])
def test_chunks_that_are_repaired(body: bytes, content: bytes, step: int) -> None:
    """The content is there, and it is known that something was wrong."""
    chunks = ChunkedReader(65536, lenient=True)
    assert b"".join([chunks.feed(body[at : at + step]) for at in range(0, len(body), step)]) == content
    assert (chunks.done and chunks.repaired) or chunks.only_end_missing


@pytest.mark.parametrize("body", [body for bodies in BAD_CHUNKS.values() for body in bodies])
@pytest.mark.parametrize("step", [1, 1000])
def test_chunks_that_stay_refused(body: bytes, step: int) -> None:
    """Refused at once, or not complete when the connection ends."""
    chunks = ChunkedReader(65536, lenient=True)
    try:
        for at in range(0, len(body), step):
            chunks.feed(body[at : at + step])
    except FramingError:
        return
    assert not chunks.done
    assert not chunks.only_end_missing


@pytest.mark.parametrize("body", [body for title, cases in CHUNKS.items() for body, _ in cases])
def test_chunks_of_requests_are_not_repaired(body: bytes) -> None:
    """What is repaired in responses is refused in requests, or is not complete."""
    chunks = ChunkedReader(65536)
    with contextlib.suppress(FramingError):
        chunks.feed(body)
    assert not chunks.done


# Bodies as lenient servers frame them: the chunks, blanks behind each size, an extension where the line has a CR, and
# from which line on there is none.
_CONTENTS: Final = st.lists(
    st.binary(min_size=1, max_size=20) | st.sampled_from([b"\r\n", b"0\r\n\r\n", b"a\n"]), max_size=5
)
_PADDING: Final = st.lists(st.sampled_from([b"", b" ", b"\t", b"    "]), min_size=6, max_size=6)


@given(
    _CONTENTS,
    _PADDING,
    st.integers(0, 9),
    st.lists(st.sampled_from([b"X-A: b", b"X-B:"]), max_size=2),
    st.binary(max_size=5),
    st.integers(1, 30),
)
def test_any_padded_or_bare_body_has_one_meaning(
    contents: list[bytes], padding: list[bytes], bare_from: int, trailers: list[bytes], behind: bytes, step: int
) -> None:
    """However it arrives: the content, the trailers and what is behind it are the same, and so it is marked as repaired.
    A request's reader never takes it for anything but what a strict writer would have sent."""
    wire = b""
    for number, content in enumerate([*contents, b""]):
        end = b"\n" if number >= bare_from else b"\r\n"
        wire += b"%x%b%b" % (len(content), padding[number], end)
        if content:
            wire += content + end
    for number, line in enumerate([*trailers, b""], len(contents) + 1):
        wire += line + (b"\n" if number >= bare_from else b"\r\n")
    odd = any(padding[: len(contents) + 1]) or bare_from <= len(contents) + 1 + len(trailers)
    chunks, found = ChunkedReader(65536, lenient=True), b""
    data = wire + behind
    at = 0
    while not chunks.done:
        found += chunks.feed(data[at : at + step])
        at += step
    assert (found, chunks.trailers, chunks.rest + data[at:]) == (b"".join(contents), trailers, behind)
    assert chunks.repaired == odd
    strict = ChunkedReader(65536)
    with contextlib.suppress(FramingError):
        strict.feed(wire)
    assert strict.done != odd


_LINE_NOISE: Final = st.lists(
    st.sampled_from([b"0", b"1", b"5", b"a", b"\r\n", b"\r", b"\n", b";", b" ", b"\t", b"X: y", b"hello", b"\0"]),
    max_size=25,
).map(b"".join)


@given(_LINE_NOISE, st.integers(1, 10))
def test_the_lenient_reader_takes_what_the_strict_one_takes(noise: bytes, step: int) -> None:
    """What the strict reader accepts means the same to both and is not marked; and any bytes mean one thing in whatever
    pieces they come."""

    def outcome(*, lenient: bool, size: int) -> tuple[bytes, list[bytes], bytes, bool] | None:
        reader, content, at = ChunkedReader(65536, lenient=lenient), b"", 0
        while at < len(noise) and not reader.done:
            try:
                content += reader.feed(noise[at : at + size])
            except FramingError:
                return None
            at += size
        return (content, reader.trailers, reader.rest + noise[at:], reader.repaired) if reader.done else None

    strict, whole = outcome(lenient=False, size=1000), outcome(lenient=True, size=1000)
    assert outcome(lenient=True, size=step) == whole
    if strict is not None:
        assert whole == strict
        assert not strict[3]
    elif whole is not None:
        assert whole[3]


def test_what_follows_a_head_stays_where_it_is() -> None:
    """The head ends at its first empty line, whatever looks like another end behind it."""
    raw = b"HTTP/1.1 200 OK\nX-A: b\n\n"
    repair = HeadRepair(LIMITS)
    repair.feed(raw + b"HTTP/1.1 200 OK\r\n\r\n")
    assert repair.end == len(raw)
    assert repair.head(b"GET").lines == [b"X-A: b"]


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
def test_where_there_is_no_body(method: bytes) -> None:
    """HEAD, 204, 304 and 1xx have none, repaired or not."""
    status = 200 if method == b"HEAD" else 304
    found = repaired(head(b"Content-Length: 5, 5", first=b"HTTP/1.1 %d" % status), method=method)
    assert (found.framing, found.lines) == (NONE, [b"Content-Length: 5"])


_PARTS: Final = st.sampled_from(
    b"HTTP/1.1|HTTP/1.2| |200|\r\n|\n|\r|:|Content-Length|Transfer-Encoding|chunked|identity|5|05|,|\t|X-A|\0|\x85|\xa0".split(
        b"|"
    )
)


@given(st.lists(_PARTS, max_size=25).map(b"".join), st.integers(1, 30))
def test_any_bytes_become_a_clean_head_or_a_reason(noise: bytes, step: int) -> None:
    """And the same one however they arrive: no byte of a line end, no control character is left in it."""
    raw = b"HTTP/1.1 200 OK\r\n" + noise + b"\n\n"
    outcomes = []
    for size in (step, len(raw)):
        repair = HeadRepair(LIMITS)
        try:
            for at in range(size, len(raw) + size, size):
                if repair.end < 0:
                    repair.feed(raw[:at])
            found = repair.head(b"GET")
        except RefusedError:
            outcomes.append("refused")
            continue
        outcomes.append(repr((repair.end, found.status, found.framing, found.lines)))
        for line in found.lines:
            assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*", line)
            assert line.partition(b":")[0].lower() != b"transfer-encoding"
    assert outcomes[0] == outcomes[1]
