"""The snapshot of the evidence on disk, so that a restart while the store is away forgets no certificate.

    miosa-router certificates 3
    {"key": …, "shift": …, "at": …, "whole": …,            of the table (`name_table.py`): the secret of its hashes, from its
     "order": "little"}                                    instants to seconds since 1970; when this was written, and
                                                           until when it has all that the store had
    number, slots, keys, until, states                     of each part of the table, as they lie in memory
    …
    the SHA-256 of all before

A new file replaces the old one atomically. A damaged one is ignored, with a line in the log. With a
million names it has 36 MB; it is written and read by a thread, which computes nothing for a single name.
"""

import hashlib
import json
import os
import struct
import sys
import threading
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog

from router.gate.evidence import MemoryEvidence
from router.gate.name_table import Segment
from router.settings import CERTIFICATES as NAME

_HEAD = b"miosa-router certificates 3"
_PART = struct.Struct("<II")
_MAX_LINE = 1024  # bytes of a line

_log = structlog.get_logger("router.gate")


@dataclass(frozen=True, slots=True)
class Copied:
    """What a file says: see `MemoryEvidence.take`. `at` is when it was written, `whole` until when the store had told everything,
    in seconds since 1970."""

    key: bytes
    shift: float
    at: float
    whole: float
    segments: dict[int, Segment]


class EvidenceSnapshot:
    """The file `certificates` in a folder. Raises nothing: the store has the original."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._one = threading.Lock()  # a node that ends doesn't wait for the write under way, and writes again

    def read(self) -> Copied | None:
        """What was written last; None where there is no file, or none that can be used."""
        try:
            with self._path.open("rb") as file:
                return _parse(file, os.fstat(file.fileno()).st_size)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("certificate snapshot not usable", file=str(self._path), error=str(error))
            return None

    def write(self, evidence: MemoryEvidence, at: float, whole: float) -> None:
        """Put what is known now in the place of what is there. In a thread: the table may change meanwhile, but for its
        single parts."""
        facts = {"key": evidence.key.hex(), "shift": evidence.shift, "at": at, "whole": whole, "order": sys.byteorder}
        beside = self._path.with_name(f"{NAME}.new")
        try:
            with self._one:
                summed = hashlib.sha256()
                with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    for block in _blocks(facts, evidence):
                        summed.update(block)
                        file.write(block)
                    file.write(summed.digest())
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(self._path)
        except OSError as error:
            _log.warning("certificate snapshot not written", file=str(self._path), error=str(error))


def _blocks(facts: dict[str, object], evidence: MemoryEvidence) -> Iterator[bytes]:
    yield _HEAD + b"\n" + json.dumps(facts).encode("ascii") + b"\n"
    for number, part in evidence.segments():
        columns = (part.keys.tobytes(), part.until.tobytes(), part.states.tobytes())
        yield b"".join((_PART.pack(number, len(part.keys)), *columns))


class _Summed:
    """A file that is read in order, and the sum of what was read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._sum = hashlib.sha256()
        self.left = size - self._sum.digest_size

    def line(self) -> bytes:
        return self._summed(self._file.readline(_MAX_LINE))[:-1]

    def take(self, count: int) -> bytes:
        """Raises ValueError where there are fewer."""
        if count > self.left:
            raise ValueError("it ends too early")
        return self._summed(self._file.read(count))

    def check(self) -> None:
        """Raises ValueError where the sum at the end is another."""
        if self._file.read() != self._sum.digest():
            raise ValueError("it is damaged")

    def _summed(self, found: bytes) -> bytes:
        self._sum.update(found)
        self.left -= len(found)
        return found


def _parse(file: BinaryIO, size: int) -> Copied:
    """Raises ValueError, KeyError, TypeError or OSError where it is not what `write` wrote."""
    summed = _Summed(file, size)
    if summed.line() != _HEAD:
        raise ValueError("it is of another kind")
    line = summed.line()
    segments: dict[int, Segment] = {}
    while summed.left > 0:
        number, capacity = _PART.unpack(summed.take(_PART.size))
        segments[number] = part = Segment(0)
        for column in (part.keys, part.until, part.states):
            column.frombytes(summed.take(capacity * column.itemsize))
        # Who was told of a visit, when a renewal is due and how long a certificate lives is not known: the store says it.
        part.marks = array("d", (float("-inf"),)) * capacity
        part.lifetimes = array("I", (0,)) * capacity
    summed.check()
    facts = json.loads(line)
    if facts["order"] != sys.byteorder:
        raise ValueError("it is another machine's")
    return Copied(
        bytes.fromhex(facts["key"]), float(facts["shift"]), float(facts["at"]), float(facts["whole"]), segments
    )
