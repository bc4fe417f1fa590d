"""A table of names in little memory: 61 bytes for each of a million names, where a dict would take some 250.

Names are kept as 64-bit keyed hashes, in open addressing over arrays. A name that was never added is taken for one that
was with a probability of names / 2^64 (a million names: 5e-14), and without the key such a name cannot be searched for.
That is good enough for evidence: the name would have to be one that is served, and gets a certificate for free.

The table is cut into segments, so that growing moves some hundred entries at once and never holds up the event loop.
"""

import hashlib
import secrets
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

VISITED: Final = 1  # it was reached by https; which certificate it has is not known
READ: Final = 2  # the certificate was read
REMOVED: Final = 3  # the name is no longer served

SEGMENTS: Final = 2048
_SMALLEST: Final = 8  # slots of a segment
_FULL: Final = 0.75
_KEPT: Final = 2 * 86400.0  # seconds that it is remembered of a name that it was removed: tunnels live for a day


@dataclass(slots=True)
class Entry:
    """`until` is when the certificate ends. `mark` is of a name that was visited until when others take it to have one,
    of one that was read when its certificate is due for renewal, of one that was removed when it was. `lifetime` is how
    long, in seconds, the certificate lives that was read last; 0 where none was."""

    until: float
    mark: float
    state: int
    lifetime: int = 0


class Segment:
    """Slots in arrays of the same length, a power of two. A key of 0 is an empty slot."""

    __slots__ = ("keys", "lifetimes", "marks", "states", "until", "used")

    def __init__(self, capacity: int) -> None:
        self.keys = array("Q", bytes(8 * capacity))
        self.until = array("d", bytes(8 * capacity))
        self.marks = array("d", bytes(8 * capacity))
        self.states = array("B", bytes(capacity))
        self.lifetimes = array("I", (0,)) * capacity
        self.used = 0

    def slot(self, key: int) -> int:
        """Where this key is, or would be."""
        keys, mask = self.keys, len(self.keys) - 1
        at = (key >> 11) & mask
        while keys[at] and keys[at] != key:
            at = (at + 1) & mask
        return at


class HostTable:
    """Names and their entries. `key` is the secret of the hashes."""

    def __init__(self, key: bytes | None = None) -> None:
        self.key = secrets.token_bytes(16) if key is None else key
        self.segments: list[Segment | None] = [None] * SEGMENTS
        self._removed = 0
        self._used = 0

    def __len__(self) -> int:
        """How many names there are, without those that were removed."""
        return self._used - self._removed

    def get(self, host: str) -> Entry | None:
        """What is known of a name."""
        key = self._hash(host)
        segment = self.segments[key % SEGMENTS]
        if segment is None:
            return None
        at = segment.slot(key)
        if not segment.keys[at]:
            return None
        return Entry(segment.until[at], segment.marks[at], segment.states[at], segment.lifetimes[at])

    def put(self, host: str, entry: Entry, now: float) -> None:
        """Keep this of a name. `now` tells which entries are of no use any more, where room has to be made."""
        key = self._hash(host)
        number = key % SEGMENTS
        segment = self.segments[number]
        if segment is None:
            segment = self.segments[number] = Segment(_SMALLEST)
        at = segment.slot(key)
        if not segment.keys[at]:
            if segment.used + 1 > len(segment.keys) * _FULL:
                segment = self.segments[number] = self._rebuilt(segment, now)
                at = segment.slot(key)
            segment.keys[at] = key
            segment.used += 1
            self._used += 1
        elif segment.states[at] == REMOVED:
            self._removed -= 1
        self._removed += entry.state == REMOVED
        segment.until[at], segment.marks[at], segment.states[at] = entry.until, entry.mark, entry.state
        segment.lifetimes[at] = entry.lifetime

    def put_segment(self, number: int, segment: Segment) -> None:
        """Take a segment from a copy, made with the same key. Raises ValueError where it is none."""
        capacity = len(segment.keys)
        if not 0 <= number < SEGMENTS or capacity < _SMALLEST or capacity & (capacity - 1):
            raise ValueError("a part that is none")
        segment.used = capacity - segment.keys.count(0)
        if segment.used >= capacity:
            raise ValueError("a part that is none")
        self.segments[number] = segment
        self._used += segment.used
        self._removed += segment.states.count(REMOVED)

    def entries(self) -> Iterator[Entry]:
        """Everything that is known, in no order."""
        for segment in self.segments:
            if segment is not None:
                for at, key in enumerate(segment.keys):
                    if key:
                        yield Entry(segment.until[at], segment.marks[at], segment.states[at], segment.lifetimes[at])

    def _hash(self, host: str) -> int:
        digest = hashlib.blake2b(host.encode("utf-8"), digest_size=8, key=self.key).digest()
        return int.from_bytes(digest, "little") or 1

    def _rebuilt(self, old: Segment, now: float) -> Segment:
        """The same with room for one more, without what is of no use any more."""
        kept = [
            at
            for at, key in enumerate(old.keys)
            if key and (old.marks[at] > now - _KEPT if old.states[at] == REMOVED else old.until[at] >= now)
        ]
        capacity = _SMALLEST
        while len(kept) + 1 > capacity * _FULL / 1.5:
            capacity *= 2
        new = Segment(capacity)
        for at in kept:
            slot = new.slot(old.keys[at])
            new.keys[slot], new.until[slot] = old.keys[at], old.until[at]
            new.marks[slot], new.states[slot] = old.marks[at], old.states[at]
            new.lifetimes[slot] = old.lifetimes[at]
        new.used = len(kept)
        self._used += new.used - old.used
        self._removed += new.states.count(REMOVED) - old.states.count(REMOVED)
        return new
