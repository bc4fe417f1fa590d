"""The node's own copy of the evidence: a file, so that a restart while the store is away forgets no certificate.

    miosa-router certificates 1
    1786190400 shop.example.org          until when, in seconds since 1970, and the name
    …
    end 2 5f3a…                          how many, and the SHA-256 of all lines before

A new file takes the old one's place whole. One that is damaged is as good as none, and says so in the log.
"""

import hashlib
import os
import threading
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import structlog

from router.hostname import InvalidNameError, canonical_name

NAME = "certificates"

_HEAD = "miosa-router certificates 1"
_LARGEST = 64 * 1024 * 1024  # bytes that are read: far more than what is written

_log = structlog.get_logger("router.gate")


class EvidenceCopy:
    """`certificates` in a folder. At most `most` names are written, the newest. Raises nothing: it is a copy only."""

    def __init__(self, folder: Path, *, most: int) -> None:
        self._path = folder / NAME
        self._most = most
        self._one = threading.Lock()  # a node that ends doesn't wait for the write under way, and writes again

    def read(self) -> dict[str, float]:
        """Each name, and until when it has a certificate. Empty where there is no file, or none that can be used."""
        try:
            with self._path.open(encoding="ascii") as file:
                return _parse(file.read(_LARGEST))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            _log.warning("the copy of certificates can't be used", file=str(self._path), error=str(error))
            return {}

    def write(self, live: Mapping[str, float]) -> None:
        """Put these in the place of what is there."""
        newest = islice(live.items(), max(0, len(live) - self._most), None)
        lines = [_HEAD, *(f"{int(until)} {host}" for host, until in newest)]
        body = "\n".join(lines) + "\n"
        body += f"end {len(lines) - 1} {hashlib.sha256(body.encode('ascii')).hexdigest()}\n"
        beside = self._path.with_name(f"{NAME}.new")
        try:
            with self._one:
                with beside.open("w", encoding="ascii") as file:
                    file.write(body)
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(self._path)
        except OSError as error:
            _log.warning("the copy of certificates can't be written", file=str(self._path), error=str(error))


def _parse(text: str) -> dict[str, float]:
    """Raises ValueError where it is not what `write` wrote."""
    body, _, end = text.removesuffix("\n").rpartition("\n")
    body += "\n"
    head, *lines = body.splitlines()
    if head != _HEAD:
        raise ValueError("it is of another kind")
    if end != f"end {len(lines)} {hashlib.sha256(body.encode('ascii')).hexdigest()}":
        raise ValueError("it is damaged")
    found: dict[str, float] = {}
    for line in lines:
        until, _, host = line.partition(" ")
        try:
            found[canonical_name(host)] = float(until)
        except InvalidNameError as error:
            raise ValueError(f"a name {error}") from None
    return found
