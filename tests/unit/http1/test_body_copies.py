"""Readers that keep the beginning of a body: whatever the pieces, what passes is what would have passed without them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.http1.bodies import ChunkedReader, FramingError, chunk, last_chunk
from router.http1.body_copies import BodyCopy, CopiedBody, CopiedChunks
from router.http1.heads import UNTIL_CLOSE

LIMIT = 16


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in itertools.pairwise(places)]


CUTS = st.lists(st.integers(0, 200), max_size=12)


@given(body=st.binary(max_size=80), behind=st.binary(max_size=10), cuts=CUTS)
def test_a_sized_body(body: bytes, behind: bytes, cuts: list[int]) -> None:
    """It ends after so many bytes; what is behind them is not its."""
    copy = BodyCopy(LIMIT)
    reader = CopiedBody(copy, len(body))
    content = b""
    left = pieces(body + behind, cuts)
    while left and not reader.done:
        content += reader.feed(left.pop(0))
    assert reader.done or not (body + behind)
    assert content == body
    assert reader.rest + b"".join(left) == behind
    assert (copy.kept, copy.size) == (body[:LIMIT], len(body))
    assert not reader.only_end_missing


@given(body=st.binary(max_size=80), cuts=CUTS)
def test_a_body_that_ends_with_its_connection(body: bytes, cuts: list[int]) -> None:
    """It is never done, and complete whenever the connection ends."""
    copy = BodyCopy(LIMIT)
    reader = CopiedBody(copy, UNTIL_CLOSE)
    assert b"".join(map(reader.feed, pieces(body, cuts))) == body
    assert (reader.done, reader.only_end_missing, reader.rest) == (False, True, b"")
    assert (copy.kept, copy.size) == (body[:LIMIT], len(body))


@given(parts=st.lists(st.binary(min_size=1, max_size=30), max_size=6), cuts=CUTS, lenient=st.booleans())
def test_a_chunked_body(parts: list[bytes], cuts: list[int], lenient: bool) -> None:
    """As a ChunkedReader reads it."""
    raw = b"".join(map(chunk, parts)) + last_chunk([b"X-A: b"]) + b"rest"
    copy = BodyCopy(LIMIT)
    plain, copied = ChunkedReader(1000, lenient=lenient), CopiedChunks(copy, 1000, lenient=lenient)
    for piece in pieces(raw, cuts):
        if plain.done:
            break
        assert copied.feed(piece) == plain.feed(piece)
        assert (copied.done, copied.rest, copied.trailers) == (plain.done, plain.rest, plain.trailers)
    assert (copy.kept, copy.size) == (b"".join(parts)[:LIMIT], len(b"".join(parts)))


def test_what_breaks_its_framing_is_refused() -> None:
    """As without a copy."""
    with pytest.raises(FramingError):
        CopiedChunks(BodyCopy(LIMIT), 1000).feed(b"no size\r\n")
