"""How large a request's head may be, and what is refused before it has arrived as a whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.http1.heads import RefusedError
from router.http1.requests import check_start, read_request_head
from router.settings import Limits
from tests.unit.http1.messages import refusal, request

TAKEN = (0, "")
BAD = (400, "bad_request")
TOO_LONG = (414, "uri_too_long")
TOO_LARGE = (431, "headers_too_large")

SMALL = Limits(request_line=1024, header=1024, headers=4096, header_count=10)


def sized_line(length: int) -> bytes:
    """A request line of that length."""
    return b"GET /" + b"a" * (length - 14) + b" HTTP/1.1"


SIZES = [
    ("a request line at the limit", request(first=sized_line(1024)), TAKEN),
    ("a request line over it", request(first=sized_line(1025)), TOO_LONG),
    ("a header at the limit", request(b"X: " + b"a" * 1021), TAKEN),
    ("a header over it", request(b"X: " + b"a" * 1022), TOO_LARGE),
    ("as many headers as may be", request(*[b"X: y"] * 9), TAKEN),
    ("one more", request(*[b"X: y"] * 10), TOO_LARGE),
    ("as large as may be", request(*[b"X: " + b"a" * 989] * 4, b"X:" + b"y" * 76), TAKEN),
    ("one byte more", request(*[b"X: " + b"a" * 989] * 4, b"X:" + b"y" * 77), TOO_LARGE),
]


@pytest.mark.parametrize(("raw", "outcome"), [case[1:] for case in SIZES], ids=[case[0] for case in SIZES])
def test_sizes(raw: bytes, outcome: tuple[int, str]) -> None:
    """Each limit counts to the byte: 414 for the request line, 431 for the headers."""
    assert refusal(raw, SMALL) == outcome


KINDS = [
    [b"X-A: " + b"a" * 60 * 1024],
    [b"X-%d: a" % number for number in range(200)],
    [b"Authorization: Negotiate " + b"A" * 20_000],
    [b"Cookie: a=" + b"A" * 20_000],
    [b"Cookie: a%d=%b" % (number, b"A" * 4000) for number in range(12)],
]


@pytest.mark.parametrize("lines", KINDS, ids=["one line", "many lines", "a ticket", "a cookie", "cookies"])
def test_the_sum_counts_not_the_line(lines: list[bytes]) -> None:
    """By default: whatever fits into 64 KiB together goes on."""
    assert refusal(request(*lines), Limits()) == TAKEN
    assert refusal(request(*lines, b"X-B: " + b"b" * 65_000), Limits()) == TOO_LARGE


MESSAGES = [
    (
        request(b"X: y", b"Cookie: " + b"a" * 1100, b"Accept: text/html"),
        "The request's header Cookie has 1,108 bytes, and may have 1,024. Clear this site's cookies and try again.",
    ),
    (
        request(*[b"X: " + b"a" * 900] * 4, b"Authorization: " + b"a" * 1000),
        (
            "The request's headers have 4,677 bytes together, and may have 4,096. The largest of them is Authorization with "
            "1,015. Use a shorter token."
        ),
    ),
    (request(*[b"X: y"] * 10), "The request has 11 header lines, and may have 10. Shorten it and try again."),
    (request(first=sized_line(1025)), "The request line has 1,025 bytes, and may have 1,024. Shorten the URL."),
    (
        request(b"<b>: " + b"a" * 1100),
        "The request's header without a name has 1,105 bytes, and may have 1,024. Shorten it and try again.",
    ),
]


@pytest.mark.parametrize(("raw", "message"), MESSAGES)
def test_a_refusal_says_what_is_too_large(raw: bytes, message: str) -> None:
    """Which header, how large it is and may be, and what to do. Whole, or at once when the beginning is too much."""
    with pytest.raises(RefusedError) as error:
        read_request_head(raw, SMALL)
    assert error.value.problem.message == message
    assert str(error.value) in message
    assert [line for line in error.value.lines if not line.startswith((b"Accept:", b"Host:"))] == []


def started(partial: bytes, limits: Limits = SMALL) -> tuple[int, str]:
    """(status, code) with which the beginning of a head is refused."""
    try:
        check_start(partial, limits)
    except RefusedError as error:
        return error.problem.status, error.problem.code
    return TAKEN


STARTS = [
    (b"", TAKEN),
    (b"\r", TAKEN),
    (b"G", TAKEN),
    (b"GET", TAKEN),
    (b"GET ", TAKEN),
    (b"GET /", TAKEN),
    (b"GET / ", TAKEN),
    (b"GET / H", TAKEN),
    (b"GET / HTTP/1.1", TAKEN),
    (b"GET / HTTP/1.1\r", TAKEN),
    (b"GET / HTTP/1.1\r\n", TAKEN),
    (b"GET / HTTP/1.1\r\nHost: a\r", TAKEN),
    (sized_line(1024), TAKEN),
    (sized_line(1024) + b"\r", TAKEN),
    (sized_line(1024) + b"\r\n", TAKEN),
    (sized_line(1025) + b"\r", TOO_LONG),
    (sized_line(1025) + b"\r\n", TOO_LONG),
    (b"GET /" + b"a" * 1021, TOO_LONG),
    (b"GET / HTTP/1.1\r\n" + b"a" * 4080, TAKEN),
    (b"GET / HTTP/1.1\r\n" + b"a" * 4081, TOO_LARGE),
    (sized_line(1025) + b"\r\n" + b"a" * 4096, TOO_LONG),
    # another protocol
    (b"\x16\x03\x01\x02\x00\x01", BAD),
    (b"\x00", BAD),
    (b"SSH-2.0-OpenSSH_9.6 ", TAKEN),  # so far it could be a method
    (b"SSH-2.0-OpenSSH_9.6 x y", BAD),
    (b"{", BAD),
    (b"\n", BAD),
    (b"\rx", BAD),
    (b" GET", BAD),
    (b"GET  /", BAD),
    (b"GET\t/", BAD),
    (b"GET / FTP/1.1", BAD),
    (b"GET / HTTP/1.1 ", BAD),
    (b"GET /\xc3\xa4", TAKEN),
    (b"GET\xc3\xa4", BAD),
    (b"A" * 33, BAD),
    (b"GET / HTTP/1.1\n", BAD),
    (b"GET / HTTP/1.1\nHost: a\n\n", BAD),
    (b"GET / HTTP/1.1\r\nHost: a\n\n", BAD),
    (b"GET / HTTP/1.1\r\nHost: a\n\r\n", BAD),
]


@pytest.mark.parametrize(("partial", "outcome"), STARTS)
def test_start(partial: bytes, outcome: tuple[int, str]) -> None:
    """What can no longer become a head is refused when it arrives, not when its end or a deadline does."""
    assert started(partial) == outcome


BEGINNING = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
LATE = [
    (BEGINNING + b"a" * 4067 + b"\n", BAD, BAD),
    (BEGINNING + b"a" * 4067 + b"\r\nX: y", TAKEN, TAKEN),  # a line end that is cut in two there
    (BEGINNING + b"a" * 4068 + b"\n", TAKEN, BAD),
]


@pytest.mark.parametrize(("partial", "early", "whole"), LATE)
def test_only_the_beginning_is_looked_through_again(
    partial: bytes, early: tuple[int, str], whole: tuple[int, str]
) -> None:
    """A head may come byte by byte, so what stands behind its first 4 KiB is judged once, when it is complete."""
    assert started(partial, Limits()) == early
    assert refusal(partial + b"\r\n\r\n") == whole


_HEADER = st.sampled_from([b"Accept: */*", b"X:", b"X: \xff\t", b"cookie: a=b; c=d", b"X-Long: " + b"a" * 900])
_FIRST = st.sampled_from(
    [b"GET / HTTP/1.1", b"M-SEARCH /?a=%b HTTP/1.0", b"POST http://shop.miosa.app HTTP/1.1", sized_line(1024)]
)


@given(_FIRST, st.lists(_HEADER, max_size=6), st.data())
def test_every_start_of_a_head_is_one(first: bytes, lines: list[bytes], data: st.DataObject) -> None:
    """However a head arrives, it is not refused before it is complete if it is taken when it is."""
    raw = request(*lines, first=first)
    if refusal(raw, SMALL) == TAKEN:
        assert started(raw[: data.draw(st.integers(0, len(raw) - 1))]) == TAKEN
