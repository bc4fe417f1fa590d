"""Counts records that are lost, by tenant and resource, so that a gap can be stored for each."""

from collections.abc import Mapping
from typing import Final

from router.records.packing import id_bytes, unpack

_MAX_LOST: Final = 10_000  # resources whose lost records are counted apart

Lost = dict[tuple[bytes, bytes], int]  # records by tenant and resource


def tally(pack: bytes) -> Lost:
    """How many records of which resources a pack has."""
    found: Lost = {}
    try:
        for packed in unpack(pack):
            key = (id_bytes(packed[11]), id_bytes(packed[12]))
            found[key] = found.get(key, 0) + 1
    except ValueError:
        found[b"", b""] = found.get((b"", b""), 0) + 1
    return found


def add_lost(to: Lost, lost: Mapping[tuple[bytes, bytes], int]) -> None:
    """Add the numbers of `lost` to `to`. Beyond `_MAX_LOST` resources, records are counted without tenant and resource."""
    for key, number in lost.items():
        where = key if key in to or len(to) < _MAX_LOST else (b"", b"")
        to[where] = to.get(where, 0) + number
