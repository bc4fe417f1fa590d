"""What a node's copy of the evidence says."""

from pathlib import Path

from router.base.clock import SystemClock
from router.gate.evidence import MemoryEvidence
from router.gate.snapshot import EvidenceSnapshot


def is_copied(folder: Path, host: str) -> bool:
    """Whether a node that starts with this copy knows that the host has a certificate."""
    return read_until(folder, host) is not None


def read_until(folder: Path, host: str) -> float | None:
    """Until when it has one, in seconds since 1970."""
    evidence, copied = MemoryEvidence(SystemClock()), EvidenceSnapshot(folder).read()
    if copied is not None:
        evidence.take(copied.key, copied.shift, copied.segments)
    found = evidence.until(host)
    return None if found is None else round(found)
