"""`traceparent`: what is one, by the examples and rules of W3C's Trace Context."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.observe.trace_context import SIZE, TraceContext, pack_trace, read, trace_id_of, unpack_trace

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
IDS = bytes.fromhex(TRACE), bytes.fromhex(PARENT)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"00-{TRACE}-{PARENT}-01", TraceContext(*IDS, sampled=True)),
        (f"00-{TRACE}-{PARENT}-00", TraceContext(*IDS, sampled=False)),
        (f"00-{TRACE}-{PARENT}-03", TraceContext(*IDS, sampled=True)),  # flags that we don't know
        (f"cc-{TRACE}-{PARENT}-01", TraceContext(*IDS, sampled=True)),  # a version that we don't know
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", TraceContext(*IDS, sampled=True)),
        (f"cc-{TRACE}-{PARENT}-01.what", None),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE}-{PARENT}-1", None),
        (f"00-{TRACE}-{PARENT}", None),
        (f" 00-{TRACE}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}-01\n", None),
        ("", None),
        (", ", None),
    ],
)
def test_what_is_a_traceparent(value: str, expected: TraceContext | None) -> None:
    """By §3.2.2 and §4.3 of the Recommendation."""
    assert read(value.encode()) == expected
    assert trace_id_of(value.encode()) == ("" if expected is None else TRACE)


@given(st.binary(max_size=80))
def test_anything_may_come(value: bytes) -> None:
    """A stranger's header is one or none, and never an error."""
    found = read(value)
    assert found is None or (len(found.trace_id), len(found.parent_id)) == (16, 8)


@pytest.mark.parametrize("believed", [True, False])
@pytest.mark.parametrize("flags", ["00", "01"])
def test_packed_and_read(flags: str, believed: bool) -> None:
    """With who sent it."""
    packed = pack_trace(f"00-{TRACE}-{PARENT}-{flags}".encode(), believed=believed)
    assert len(packed) == SIZE
    assert unpack_trace(packed) == TraceContext(*IDS, sampled=flags == "01", believed=believed)
    assert pack_trace(b"none", believed=True) == b""
    assert unpack_trace(b"") is None
