"""What is sent of records: bodies, syslog lines, and how much of it goes into one batch."""

import json
import re
from typing import Any

import pytest

from router.drains.batch import MAX_BYTES, batch_of, http_body, line_of, syslog_frames, trial_line
from router.drains.log_drain import BatchFormat
from router.records.record import GAP, Record
from tests.support.request_records import ACME, row

TENANT = str(ACME)
# RFC 5424 §6: PRI, VERSION, TIMESTAMP, HOSTNAME, APP-NAME, PROCID, MSGID, STRUCTURED-DATA, MSG.
MESSAGE = re.compile(
    r"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([!-~]{1,255}) ([!-~]{1,48}) (-) ([!-~]{1,32}) (-|\[.+\]) (\{.*\})"
)


def record(number: int = 1, **changes: Any) -> Record:
    return Record(*row(number, **changes))


def messages(frames: bytes) -> list[str]:
    """The messages of a stream, by the lengths in front of them (RFC 6587 §3.4.1)."""
    found = []
    while frames:
        length, _, rest = frames.partition(b" ")
        found.append(rest[: int(length)].decode("ascii"))
        frames = rest[int(length) :]
    return found


def test_a_json_batch_is_an_array_of_request_logs() -> None:
    """With the API's fields."""
    batch = batch_of("d1", [record(1), record(2, status=502, fault=1)], 0, TENANT)
    found = json.loads(http_body(batch.lines, BatchFormat.JSON))
    assert [(one["id"], one["status"], one["fault"]) for one in found] == [("1", 200, None), ("2", 502, "edge")]
    assert (batch.id, batch.records, batch.last) == ("d1-1-2", 2, 2)


def test_an_ndjson_batch_has_a_line_for_each() -> None:
    """And ends with a newline."""
    body = http_body(batch_of("d1", [record(1), record(2)], 0, TENANT).lines, BatchFormat.NDJSON)
    assert body.endswith(b"}\n")
    assert [json.loads(line)["id"] for line in body.splitlines()] == ["1", "2"]


def test_what_was_lost_is_said_first() -> None:
    """A line that is no record, so the batch's number and id are those of the records."""
    batch = batch_of("d1", [record(7)], 12, TENANT)
    first, second = (json.loads(line.text) for line in batch.lines)
    assert (first["type"], first["lost"], first["tenant_id"], second["id"]) == ("gap", 12, TENANT, "7")
    assert (batch.records, batch.last) == (1, 7)


def test_a_batch_has_at_most_so_many_bytes() -> None:
    """The rest goes with the next one; one record always goes."""
    long = "/" + "a" * 16_000
    found = [record(number, path=long) for number in range(1, 101)]
    batch = batch_of("d1", found, 0, TENANT)
    assert 0 < batch.records < 100
    assert batch.last == batch.records
    assert sum(len(line.text) for line in batch.lines) <= MAX_BYTES
    assert batch_of("d1", [record(1, path="/" + "a" * 2 * MAX_BYTES)], 0, TENANT).records == 1


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, 6),
        ({"status": 404, "fault": 0}, 6),
        ({"fault": 1}, 3),
        ({"fault": 2}, 3),
        ({"fault": 3}, 4),
        ({"ending": GAP}, 4),
    ],
    ids=["well", "refused by the program", "edge", "application", "client", "gap"],
)
def test_severity(changes: dict[str, Any], severity: int) -> None:
    """An error where the edge or the application is at fault, a warning for a visitor's or a gap. The facility is local0."""
    (message,) = messages(syslog_frames([line_of(record(**changes))], None))
    found = MESSAGE.fullmatch(message)
    assert found is not None
    assert int(found[1]) == 16 * 8 + severity


@pytest.mark.parametrize(
    "host",
    ["shop.miosa.app", "", "a b", "a\n<14>1 - evil", "\u2028", "ä.example", "x" * 300],
    ids=["name", "none", "blank", "newline", "line separator", "not ASCII", "long"],
)
def test_syslog_lines_stay_lines(host: str) -> None:
    """Whatever a visitor sent as host or path, a message is one line of the right form, and all of it is in the JSON."""
    hostile = record(host=host, path='/"\n<14>1 - evil\x00\u2028ä')
    frames = syslog_frames([line_of(hostile), line_of(record(2))], '[tok@41058 tag="a\\"b"]')
    first, second = messages(frames)
    found = MESSAGE.fullmatch(first)
    assert found is not None
    assert "\n" not in first
    assert found[7] == '[tok@41058 tag="a\\"b"]'
    assert json.loads(found[8])["path"] == hostile.path
    assert json.loads(found[8])["host"] == (host or None)
    assert MESSAGE.fullmatch(second) is not None


def test_a_test_line() -> None:
    """Is no request."""
    line = trial_line(1_700_000_000_000_000, TENANT)
    assert json.loads(line.text) == {"type": "test", "ended_at": "2023-11-14T22:13:20.000Z", "tenant_id": TENANT}
