"""A record as the world sees it: what the API's responses, its streams and log drains send."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from router.observe.endings import COMBINATIONS
from router.records.record import (
    APPLICATION,
    CAPTURED,
    CLIENT,
    COLD_START,
    EDGE,
    GAP,
    REPLAY,
    TUNNEL,
    Record,
    details_of,
)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FAULTS: Final = {"edge": EDGE, "application": APPLICATION, "client": CLIENT}

_SHOWN_FAULTS: Final[dict[int, Any]] = {number: name for name, number in FAULTS.items()}


def instant(at: int) -> str:
    """`2026-05-17T10:00:00.123Z`"""
    return (EPOCH + timedelta(microseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fields_of(record: Record) -> dict[str, Any]:
    """The fields of a request log, by name; docs/request-logs.md says what each is."""
    rest = details_of(record)
    gap = record.ending == GAP
    return {
        "id": str(record.id),
        "type": "gap" if gap else "request",
        "ended_at": instant(record.at),
        "resource_id": str(UUID(bytes=record.resource)),
        "request_id": record.request_id or None,
        "host": record.host or None,
        "method": record.method or None,
        "path": record.path or None,
        "status": None if gap else record.status,
        "ending": record.ending or None,
        "ending_text": COMBINATIONS.get(record.ending),
        "fault": _SHOWN_FAULTS.get(record.fault),
        "error": rest.error or None,
        "bytes_in": rest.received,
        "bytes_out": rest.sent,
        "duration_ms": record.total / 1000,
        "first_byte_ms": None if rest.first_byte < 0 else rest.first_byte / 1000,
        "queue_ms": rest.queue / 1000,
        "dial_ms": rest.dial / 1000,
        "wake_ms": rest.wake / 1000,
        "cold_start": bool(rest.flags & COLD_START),
        "tunnel": bool(rest.flags & TUNNEL),
        "captured": bool(rest.flags & CAPTURED),
        "replay": bool(rest.flags & REPLAY),
        "client_network": rest.network or None,
        "version_id": rest.version or None,
        "trace_id": rest.trace_id or None,
        "represents": 0 if gap else rest.weight,
        "lost": rest.weight if gap else 0,
    }
