"""What heads of requests and answers have in common."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import BAD_REQUEST, HEADERS_TOO_LARGE
from router.http1 import heads
from router.http1.heads import (
    RefusedError,
    Rule,
    Rules,
    authenticates_connection,
    begins_login,
    drop,
    length_of,
    place_of,
    tokens,
    value_of,
    without,
)
from router.http1.request_sizes import check_sizes
from router.settings import Limits
from tests.support.ntlm import message

LENGTHS = [
    (b"0", 0),
    (b"1", 1),
    (b"10", 10),
    (b"4294967296", 1 << 32),
    (b"9223372036854775807", (1 << 63) - 1),
]

NOT_LENGTHS = [
    b"",
    b" ",
    b"+5",
    b"-5",
    b"-0",
    b"5 5",
    b"5,5",
    b"5, 5",
    b"5;",
    b"0x5",
    b"5f",
    b"5.0",
    b"5e1",
    b"1_0",
    b'"5"',
    b"\x0b5",
    b"5\x0c",
    b"5\x85",
    b"5\xa0",
    b"\xd9\xa5",  # U+0665, a digit for str.isdigit and int
    b"\xc2\xb2",  # U+00B2, superscript two
    b"9223372036854775808",  # 2^63
    b"9999999999999999999",
    b"18446744073709551616",  # 2^64
    b"1" * 5000,  # int() of a str gives up at 4,300 digits
]


@pytest.mark.parametrize(("value", "length"), LENGTHS)
def test_length(value: bytes, length: int) -> None:
    """A Content-Length is decimal ASCII digits, up to what a signed 64-bit reader can hold."""
    assert length_of(value, BAD_REQUEST) == length


@pytest.mark.parametrize("value", NOT_LENGTHS)
def test_no_length(value: bytes) -> None:
    """Whatever else int() or a lenient reader would take is refused with the caller's problem."""
    with pytest.raises(RefusedError) as refusal:
        length_of(value, BAD_REQUEST)
    assert refusal.value.problem is BAD_REQUEST


@given(st.binary(max_size=25))
def test_length_of_anything(value: bytes) -> None:
    """A length that is taken is written by digits only, and no larger than 2^63 - 1."""
    try:
        length = length_of(value, BAD_REQUEST)
    except RefusedError:
        return
    assert set(value) <= set(b"0123456789")
    assert 0 <= length == int(value) < 1 << 63


TOKENS = [
    (b"", ()),
    (b"close", (b"close",)),
    (b"Keep-Alive", (b"keep-alive",)),
    (b"keep-alive, Upgrade", (b"keep-alive", b"upgrade")),
    (b"a,b", (b"a", b"b")),
    (b" a\t,\t b ", (b"a", b"b")),
    (b",,a,,", (b"a",)),
    (b"a b", (b"a b",)),
    (b"a\x0b", (b"a\x0b",)),
    (b"a\xa0,b\x85", (b"a\xa0", b"b\x85")),
    (b", ".join(b"name-%d" % number for number in range(200)), tuple(b"name-%d" % number for number in range(200))),
]


@pytest.mark.parametrize(("value", "members"), TOKENS)
def test_tokens(value: bytes, members: tuple[bytes, ...]) -> None:
    """A list's members are lower-cased, without the blanks of HTTP around them and without empty ones."""
    assert tokens(value) == members


def test_long_lists_are_not_remembered() -> None:
    """What clients choose fills no memory: only short lists are kept, and not many of them."""
    short, long = b"x-short-%d", b"x-long-%d, " + b"a, " * 1000
    before = _remembered()
    assert tokens(long % 1)[-1] == b"a"
    assert _remembered() == before
    tokens(short % 1)
    assert _remembered() == before + 1


def _remembered() -> int:
    return heads._short_tokens.cache_info().currsize


VALUES = [
    (b"Name: value", b"value"),
    (b"Name:value", b"value"),
    (b"Name:", b""),
    (b"Name:  \t value \t", b"value"),
    (b"Name: a: b", b"a: b"),
    (b"Name: \x85a\xa0", b"\x85a\xa0"),  # str.strip and bytes.strip() would take more than HTTP does
    (b"", b""),
]


@pytest.mark.parametrize(("line", "value"), VALUES)
def test_value_of(line: bytes, value: bytes) -> None:
    """A value is what stands behind the first colon, without spaces and tabs around it."""
    assert value_of(line) == value


def test_place_of() -> None:
    """A header is found by its name in any case, the first of several; -1 says that it is not there."""
    lines = [b"Host: a", b"oRiGiN: b", b"Origin: c", b"X-Origin: d"]
    assert place_of(lines, b"origin") == 1
    assert place_of(lines, b"x-origin") == 3
    assert place_of(lines, b"rigin") == -1
    assert place_of([], b"origin") == -1


def test_without() -> None:
    """Lines go by their whole names in any case; the others stay as they are, in their order."""
    lines = [b"A: 1", b"AB: 2", b"a:3", b"B: a"]
    assert without(lines, {b"a"}) == [b"AB: 2", b"B: a"]


def sized(lines: int, length: int) -> tuple[bytes, list[bytes]]:
    """A head of that many header lines, each that long."""
    parts = [b"GET / HTTP/1.1", *[b"x" * length] * lines]
    return b"\r\n".join(parts) + b"\r\n\r\n", parts


AUTHENTICATIONS = [
    (b"NTLM", True),
    (b"ntlm TlRMTVNTUAAB", True),
    (b"Negotiate", True),
    (b"NEGOTIATE oYG2", True),
    (b"Negotiate, NTLM", True),
    (b'Basic realm="a", NTLM', True),
    (b"Basic realm=a,\tNegotiate", True),
    (b"", False),
    (b"Basic TlRMTQ==", False),
    (b"Bearer NTLM", False),
    (b"NTLMv2 x", False),
    (b"Basic realm=NTLM", False),
    (b"X-Negotiate a", False),
]


@pytest.mark.parametrize(("value", "binds"), AUTHENTICATIONS)
def test_what_authenticates_a_connection(value: bytes, binds: bool) -> None:
    """NTLM and Negotiate, as one of several too, in any case."""
    assert authenticates_connection(value) is binds


FIRST = message(1)
BEGINNINGS = [
    (b"NTLM " + FIRST, True),
    (b"negotiate  " + FIRST, True),
    (b"NTLM " + message(1, b"a domain and a machine"), True),
    (b"NTLM " + message(3), False),
    (b"NTLM " + message(257), False),
    (b"NTLM " + message(1 << 24 | 1), False),
    (b"NTLM " + FIRST.lower(), False),
    (b"NTLM", False),
    (b"NTLM " + FIRST + b", NTLM " + message(3), False),
    (b"NTLM " + FIRST + b" " + message(3), False),
    (b"NTLM x" + FIRST, False),
    (b"Basic " + FIRST, False),
    (b"Basic x, NTLM " + FIRST, False),
]


@pytest.mark.parametrize(("value", "begins"), BEGINNINGS)
def test_what_only_begins_a_login(value: bytes, begins: bool) -> None:
    """NTLM's first message alone, by either scheme: nothing else is surely nobody's login."""
    assert begins_login(value) is begins


SMALL = Limits(headers=2048, header=1024, header_count=5)
SIZES = [
    (0, 0, True),
    (5, 10, True),
    (6, 10, False),  # one line too many
    (1, 1024, True),
    (1, 1025, False),  # one byte too long
    (2, 1000, True),
    (2, 1013, True),  # 14 + 2 + 2 * 1015 + 2 = 2048
    (2, 1014, False),
    (5, 1000, False),
]


@pytest.mark.parametrize(("lines", "length", "fits"), SIZES)
def test_sizes(lines: int, length: int, fits: bool) -> None:
    """A head keeps to three limits: bytes in all, bytes of one line, number of lines."""
    raw, parts = sized(lines, length)
    if fits:
        check_sizes(raw, parts, SMALL)
    else:
        with pytest.raises(RefusedError) as refusal:
            check_sizes(raw, parts, SMALL)
        assert refusal.value.problem.code == HEADERS_TOO_LARGE.code


def test_the_first_line_has_a_limit_of_its_own() -> None:
    """A long first line counts for the whole only: its own limit is judged elsewhere."""
    first = b"GET /%b HTTP/1.1" % (b"a" * 1500)
    check_sizes(first + b"\r\n\r\n", [first], SMALL)


def noted(_head: Any, _line: bytes, _value: bytes) -> None:
    """A rule."""


def test_rules_judge_a_spelling_once() -> None:
    """A name is lower-cased and looked up when it is first seen in that spelling, and remembered."""
    asked = []

    def otherwise(name: bytes) -> Rule | None:
        asked.append(name)
        return drop if name.startswith(b"x-ours") else None

    rules = Rules({b"host": noted}, otherwise)
    assert rules.of(b"Host") is rules.of(b"HOST") is rules.of(b"host") is noted
    assert asked == []
    assert rules.of(b"X-Ours-1") is drop
    assert rules.of(b"X-Other") is None
    assert rules.of(b"X-Ours-1") is drop
    assert rules.of(b"X-Other") is None
    assert asked == [b"x-ours-1", b"x-other"]


def test_rules_are_bounded() -> None:
    """Clients choose spellings, so only so many are remembered, and none that is long."""
    rules = Rules({b"host": noted}, lambda _: None)
    for number in range(heads._MAX_NAMES + 10):
        assert rules.of(b"x-%d" % number) is None
        assert len(rules._known) <= heads._MAX_NAMES
    before = len(rules._known)
    assert rules.of(b"x" * 10_000) is None
    assert len(rules._known) == before
    assert rules.of(b"HOST") is noted
