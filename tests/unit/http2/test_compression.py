"""HPACK, beside the library that knows it: what either writes, the other reads."""

import contextlib

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from router.http2.compression import CompressionError, FieldReader, FieldWriter

NAMES = some.sampled_from((b":method", b":path", b"content-type", b"x-some", b"grpc-status", b"x" * 200))
FIELD = some.tuples(NAMES, some.one_of(some.sampled_from((b"GET", b"/", b"")), some.binary(max_size=300)))
BLOCKS = some.lists(some.tuples(some.lists(FIELD, max_size=8), some.booleans()), min_size=1, max_size=12)


@settings(deadline=None)
@given(blocks=BLOCKS)
def test_what_the_library_writes_we_read(blocks: list[tuple[list[tuple[bytes, bytes]], bool]]) -> None:
    """Block after block, with one table, coded or not; fields fall out of the table as new ones come."""
    writer, reader = hpack.Encoder(), FieldReader(1 << 20)
    for number, (fields, coded) in enumerate(blocks):
        if number == 3:
            writer.header_table_size = 100
        if number == 6:
            writer.header_table_size = 4096
        assert reader.read(writer.encode(fields, huffman=coded)) == fields


@settings(deadline=None)
@given(blocks=BLOCKS)
def test_what_we_write_the_library_reads(blocks: list[tuple[list[tuple[bytes, bytes]], bool]]) -> None:
    """Fields that come again are remembered, and are the same bytes."""
    writer, reader = FieldWriter(), hpack.Decoder(max_header_list_size=1 << 20)
    for fields, _ in blocks:
        assert [tuple(field) for field in reader.decode(writer.write(fields), raw=True)] == fields
        assert writer.write(fields) == writer.write(fields)


@settings(deadline=None)
@given(block=some.binary(max_size=60))
def test_any_bytes_are_read_as_the_library_reads_them(block: bytes) -> None:
    """The same fields, or a refusal by both."""
    library = hpack.Decoder(max_header_list_size=2000)
    try:
        expected = [tuple(field) for field in library.decode(block, raw=True)]
    except hpack.HPACKError:
        with pytest.raises(CompressionError):
            FieldReader(2000).read(block)
        return
    found = None
    with contextlib.suppress(CompressionError):  # we may be stricter: see the next test
        found = FieldReader(2000).read(block)
    assert found in (None, expected)


def test_a_table_that_the_other_side_does_not_want() -> None:
    """It hears that there is none (RFC 7541 §4.2), once."""
    writer, reader = FieldWriter(), hpack.Decoder()
    reader.max_allowed_table_size = 0
    writer.limit(0)
    assert writer.write([(b":method", b"GET")]) == b"\x20\x82"
    assert writer.write([(b":method", b"GET")]) == b"\x82"
    assert reader.decode(b"\x20\x82", raw=True) == [(b":method", b"GET")]
    writer.limit(4096)
    assert writer.write([(b":method", b"GET")]) == b"\x82"


REFUSED = {
    "the place 0": b"\x80",
    "a place beyond the table": b"\xbe",
    "a number without an end": b"\xff\xff\xff\xff\xff\xff\xff",
    "a number that breaks off": b"\xff\x80",
    "text that breaks off": b"\0\5ab",
    "a name without a value": b"\0\1a",
    "a table larger than agreed": b"\x3f\xe2\x1f",
    "a table that changes in the middle": b"\x82\x20",
    "a table that changes all the time": b"\x20" * 3 + b"\x82",
    "the end of the text within it": b"\0\1a\x84\xff\xff\xff\xff",
    "padding of a byte": b"\0\1a\x82\x1f\xff",
    "padding of zeros": b"\0\1a\x81\x18",
    "a list that is too large": b"\x82" * 60,
}


@pytest.mark.parametrize("block", REFUSED.values(), ids=REFUSED)
def test_what_is_refused(block: bytes) -> None:
    """RFC 7541 calls these errors (§2.3.3, §4.2, §5, §6.3), or they are more than we take."""
    with pytest.raises(CompressionError):
        FieldReader(2000).read(block)
