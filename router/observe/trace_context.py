"""Trace Context (W3C Recommendation, `traceparent`): what a request says of the trace that it is part of.

The header goes on as it came, right or wrong, since the router takes part in nobody's trace: a router that put its own span or
its own sampling there would decide what customers' programs record. Only what is read of it here is checked, by §3.2.2: lower
case, no id that is zero, no version ff, and of a version that we don't know the beginning alone.
"""

import re
from typing import Final, NamedTuple

_FORM: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_SAMPLED: Final = 1
_NO_TRACE: Final = b"0" * 32
_NO_PARENT: Final = b"0" * 16

SIZE: Final = 25  # bytes of a context that is packed


class TraceContext(NamedTuple):
    """A trace, the span in it that sent the request, and whether whoever sent it records the trace. `believed` is whether that was
    a trusted proxy."""

    trace_id: bytes
    parent_id: bytes
    sampled: bool
    believed: bool = False


def read(value: bytes) -> TraceContext | None:
    """What a `traceparent` says; None where it is none."""
    found = _FORM.fullmatch(value)
    if found is None:
        return None
    version, trace, parent, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None) or trace == _NO_TRACE or parent == _NO_PARENT:
        return None
    sampled = bool(int(flags, 16) & _SAMPLED)
    return TraceContext(bytes.fromhex(trace.decode()), bytes.fromhex(parent.decode()), sampled)


def trace_id_of(value: bytes) -> str:
    """The trace's id in hexadecimal; empty where there is none."""
    found = read(value)
    return "" if found is None else found.trace_id.hex()


def pack_trace(value: bytes, *, believed: bool) -> bytes:
    """What a `traceparent` says in `SIZE` bytes, empty where it is none, and whether its sender is believed."""
    found = read(value)
    if found is None:
        return b""
    return found.trace_id + found.parent_id + bytes([found.sampled | believed << 1])


def unpack_trace(data: bytes) -> TraceContext | None:
    """What `pack_trace` packed."""
    return TraceContext(data[:16], data[16:24], bool(data[24] & 1), bool(data[24] & 2)) if data else None
