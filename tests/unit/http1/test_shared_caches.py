"""What a cache in front of us may keep of a response that is for some visitors only: nothing."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.http1.responses import ResponseHead, ResponseReader
from router.http1.shared_caches import private_lines, unshared
from tests.unit.http1.messages import LIMITS

# What the program says → what is said of it.
SAID = [
    ([], [b"Cache-Control: private"]),
    ([b"Cache-Control: max-age=60"], [b"Cache-Control: private, max-age=60"]),
    ([b"cache-control:public, max-age=31536000, immutable"], [b"Cache-Control: private, max-age=31536000, immutable"]),
    ([b"Cache-Control: PUBLIC"], [b"Cache-Control: private"]),
    ([b"Cache-Control: s-maxage=60, max-age=5, proxy-revalidate"], [b"Cache-Control: private, max-age=5"]),
    ([b"Cache-Control: no-cache"], [b"Cache-Control: private, no-cache"]),
    ([b"Cache-Control: must-revalidate"], [b"Cache-Control: private, must-revalidate"]),
    ([b"Cache-Control: private"], [b"Cache-Control: private"]),
    ([b"Cache-Control:   Private,max-age=5"], [b"Cache-Control:   Private,max-age=5"]),
    ([b"cache-control: no-store"], [b"cache-control: no-store"]),
    ([b"Cache-Control: public, no-store"], [b"Cache-Control: no-store"]),
    ([b"Cache-Control: private, s-maxage=9"], [b"Cache-Control: private"]),
    ([b'Cache-Control: private="Set-Cookie"'], [b'Cache-Control: private, private="Set-Cookie"']),
    (
        [b'Cache-Control: no-cache="Set-Cookie, private", a'],
        [b'Cache-Control: private, no-cache="Set-Cookie, private", a'],
    ),
    ([b'Cache-Control: x="a\\", private", max-age=1'], [b'Cache-Control: private, x="a\\", private", max-age=1']),
    (
        [b"Cache-Control: stale-while-revalidate = 5 , public ,"],
        [b"Cache-Control: private, stale-while-revalidate = 5"],
    ),
    ([b"Cache-Control: max-age=5; public"], [b"Cache-Control: private"]),
    ([b'Cache-Control: x="a'], [b"Cache-Control: private"]),
    ([b"Cache-Control:"], [b"Cache-Control: private"]),
    (
        [b"Cache-Control: private", b"Cache-Control: max-age=5"],
        [b"Cache-Control: private", b"Cache-Control: max-age=5"],
    ),
    ([b"Cache-Control: public", b"cache-control: max-age=5"], [b"Cache-Control: private, max-age=5"]),
    ([b"Cache-Control: no-store", b"CDN-Cache-Control: max-age=5"], [b"Cache-Control: no-store"]),
    ([b"cloudflare-cdn-cache-control: public"], [b"Cache-Control: private"]),
    ([b"Surrogate-Control: max-age=5", b"X-Accel-Expires: 60"], [b"Cache-Control: private"]),
]


@pytest.mark.parametrize(("said", "shown"), SAID)
def test_what_is_said_of_it(said: list[bytes], shown: list[bytes]) -> None:
    """It has `private` or `no-store`, nothing for shared caches, and for browsers what the program said. Other lines stay."""
    given = [b"A: public", *said, b"Location: /", b"Vary: Cookie"]
    found = private_lines(given)
    assert sorted(found) == sorted([b"A: public", *shown, b"Location: /", b"Vary: Cookie"])
    assert private_lines(found) == found


@given(st.lists(st.binary(max_size=40), max_size=3))
def test_any_value(values: list[bytes]) -> None:
    """Whatever stands there: nothing raises, and done twice it is as done once."""
    once = private_lines([b"Cache-Control: " + value for value in values])
    assert private_lines(once) == once
    assert any(b"private" in line.lower() or b"no-store" in line.lower() for line in once)


@pytest.mark.parametrize(
    "value", [b"a" * 60000, b"," * 60000, b'"' * 60000, b"a=" * 30000, b"a " * 30000, b" " * 60000]
)
def test_a_hostile_value_costs_no_more_than_a_long_one(value: bytes) -> None:
    """Nothing backtracks."""
    before = time.process_time()
    private_lines([b"Cache-Control: " + value])
    assert time.process_time() - before < 0.2


def head(*lines: bytes) -> ResponseHead:
    made = ResponseHead(200, b"OK", 1)
    made.lines = list(lines)
    made.location_at = 1
    made.framing = 5
    made.has_request_id = made.domain_cookies = True
    made.upgrade = b"x"
    return made


def test_a_head_stays_as_it_was() -> None:
    """The changed one is another; what it means is the same, wherever its lines have moved."""
    original = head(b"CDN-Cache-Control: max-age=5", b"Location: /", b"A: b")
    changed = unshared(original)
    assert original.lines == [b"CDN-Cache-Control: max-age=5", b"Location: /", b"A: b"]
    assert changed.lines == [b"Location: /", b"A: b", b"Cache-Control: private"]
    assert (changed.status, changed.location_at, changed.framing, changed.upgrade) == (200, 0, 5, b"x")
    assert changed.has_request_id
    assert changed.domain_cookies


def test_a_usual_head() -> None:
    """Where nothing in it is for caches, or only looks as if, it gets one line more."""
    for line, expected in ((b"Location: /", [b"Location: /"]), (b"X: -control:", [b"X: -control:"])):
        usual = ResponseReader(LIMITS).read(b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 5\r\n\r\n", b"GET")
        assert usual.block is not None
        changed = unshared(usual)
        assert changed.lines == [*expected, b"Content-Length: 5", b"Cache-Control: private"]
        assert (changed.location_at, changed.framing) == (usual.location_at, 5)
    said = ResponseReader(LIMITS).read(b"HTTP/1.1 200 OK\r\nCDN-Cache-Control: max-age=5\r\n\r\n", b"GET")
    assert unshared(said).lines == [b"Cache-Control: private"]


def test_a_head_that_says_it_itself() -> None:
    """It is not copied."""
    original = head(b"Cache-Control: no-store", b"Location: /")
    assert unshared(original) is original
