"""What is sent of records: the body of an HTTP batch, and syslog messages (RFC 5424, framed as RFC 6587 §3.4.1 has it)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from router.drains.log_drain import BatchFormat
from router.records.fields import fields_of, instant
from router.records.record import CLIENT, EDGE, GAP, Record

MAX_BATCH: Final = 500  # records
MAX_BYTES: Final = 1_000_000  # of a batch; the longest record has a few thousand

CONTENT_TYPES: Final[Mapping[BatchFormat, str]] = {
    BatchFormat.JSON: "application/json",
    BatchFormat.NDJSON: "application/x-ndjson",
}

_LOCAL0: Final = 16  # the facility
_ERROR, _WARNING, _INFORMATIONAL = 3, 4, 6  # severities
_MAX_HOSTNAME: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One record as JSON, with what a syslog message says of it in its head."""

    text: bytes
    severity: int
    at: str
    host: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """`records` of the lines are records; one more in front may say how many were lost. `last` is the id of the last one."""

    id: str
    lines: Sequence[Line]
    records: int
    last: int


def batch_of(drain_id: str, found: Sequence[Record], gap: int, tenant_id: str) -> Batch:
    """A batch of the first of these records, as many as fit, behind a line that says how many were lost, if any were."""
    lines = [line_of(record) for record in found]
    size = records = 0
    for line in lines:
        size += len(line.text)
        if records and size > MAX_BYTES:
            break
        records += 1
    kept = lines[:records]
    last = found[records - 1].id
    if gap:
        kept.insert(
            0, _line({"type": "gap", "ended_at": kept[0].at, "tenant_id": tenant_id, "lost": gap}, _WARNING, "-")
        )
    return Batch(id=f"{drain_id}-{found[0].id}-{last}", lines=kept, records=records, last=last)


def line_of(record: Record) -> Line:
    """A record as JSON, with the fields of the API."""
    fields = fields_of(record)
    severity = _INFORMATIONAL
    if record.ending == GAP or record.fault == CLIENT:
        severity = _WARNING
    elif record.fault >= EDGE:
        severity = _ERROR
    return _line(fields, severity, record.host)


def trial_line(now: int, tenant_id: str) -> Line:
    """What tries an endpoint out. `now` is in microseconds since 1970."""
    return _line({"type": "test", "ended_at": instant(now), "tenant_id": tenant_id}, _INFORMATIONAL, "-")


def http_body(lines: Sequence[Line], form: BatchFormat) -> bytes:
    """The body of one POST."""
    if form is BatchFormat.NDJSON:
        return b"".join(line.text + b"\n" for line in lines)
    return b"[" + b",".join(line.text for line in lines) + b"]"


def syslog_frames(lines: Sequence[Line], structured_data: str | None) -> bytes:
    """Messages with their lengths in front, as TLS and TCP carry them (RFC 5425 §4.3)."""
    frames = []
    for line in lines:
        head = f"<{_LOCAL0 * 8 + line.severity}>1 {line.at} {line.host or '-'} miosa-router - {line.kind} {structured_data or '-'} "
        message = head.encode("ascii") + line.text
        frames.append(b"%d %b" % (len(message), message))
    return b"".join(frames)


def _line(fields: Mapping[str, Any], severity: int, host: str) -> Line:
    plain = host if host.isascii() and host.isprintable() and " " not in host else "-"
    return Line(
        text=json.dumps(fields, separators=(",", ":")).encode("ascii"),
        severity=severity,
        at=fields["ended_at"],
        host=plain[:_MAX_HOSTNAME],
        kind=fields["type"],
    )
