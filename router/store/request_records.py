"""What the two stores of request records share: conditions, and the order of records.

A record's id is the instant at which it was stored, in milliseconds since 1970, times 2^20, and a number. Ids only rise, over all
processes: whoever stores some takes them from one row (`request_position`) that it holds until it commits, so they become
visible in their order, and a listener that asks for those after the last one it got misses none.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from router.records.counters import BOUNDS, Counters
from router.records.record import GAP, NOBODY, Record, RecordFilter, Row, size_of
from router.records.totals import Totals

HOUR: Final = 3_600_000_000  # microseconds
_PER_MILLISECOND: Final = 1 << 20
IDS_PER_HOUR: Final = 3_600_000 * _PER_MILLISECOND

_SOON: Final = 600_000_000  # microseconds
READ_TIME: Final = 5.0  # seconds for one question
MAX_FOUND: Final = 1000  # records of one answer

COUNTED: Final = (
    "requests", "errors", "client_errors", "received", "sent", "microseconds", *(f"bucket{n}" for n in range(len(BOUNDS) + 1)),
)  # fmt: skip
_BEFORE_BUCKETS: Final = 8  # values of Counters

RECORD_COLUMNS: Final = Record._fields
TOTALS_COLUMNS: Final = Totals._fields


def first_id(now: int) -> int:
    """The lowest id of records that are stored at `now`, in microseconds since 1970."""
    return now // 1000 * _PER_MILLISECOND


def hour_of_id(record_id: int) -> int:
    """The hour since 1970 in which it was stored."""
    return record_id // IDS_PER_HOUR


def oldest_to_stay(now: datetime, retention_hours: int) -> int:
    """The lowest id of the records that will not be deleted within the next minutes because of their age."""
    soon = int(now.timestamp() * 1e6) + _SOON
    return (soon // HOUR - retention_hours) * IDS_PER_HOUR


def conditions(where: RecordFilter, placed: Callable[[Any], str], instr: str) -> list[str]:
    """The SQL conditions of a filter, without the tenant's. `placed` registers a value and returns the SQL placeholder for it;
    `instr` is the database's function that finds the position of one text in another."""
    found = [
        f"{column} = {placed(value)}"
        for column, value in (
            ("resource", where.resource),
            ("host", where.host),
            ("method", where.method),
            ("ending", where.ending),
            ("fault", where.fault),
            ("request_id", where.request_id),
        )
        if value is not None
    ]
    if where.path_contains is not None:
        found.append(f"{instr}(path, {placed(where.path_contains)}) > 0")
    if where.failed:
        found.append(f"(fault > {NOBODY} OR ending = {placed(GAP)})")
    if where.status is not None:
        found.append(f"status BETWEEN {placed(where.status[0])} AND {placed(where.status[1])}")
    if where.min_total is not None:
        found.append(f"total >= {placed(where.min_total)}")
    if where.since is not None:
        found.append(f"at >= {placed(where.since)}")
    if where.until is not None:
        found.append(f"at < {placed(where.until)}")
    return found


def counters_row(one: Counters) -> tuple[Any, ...]:
    """As it is stored, without the time."""
    return (*one[:_BEFORE_BUCKETS], *one.buckets)


def read_counters(row: Sequence[Any]) -> Counters:
    """From a stored row."""
    return Counters._make((*row[:_BEFORE_BUCKETS], tuple(row[_BEFORE_BUCKETS:])))


def sizes_of(records: Sequence[Row]) -> dict[bytes, list[int]]:
    """Bytes and number of these records by tenant."""
    found: dict[bytes, list[int]] = {}
    for record in records:
        of_tenant = found.get(record[0])
        if of_tenant is None:
            of_tenant = found[record[0]] = [0, 0]
        of_tenant[0] += size_of(record)
        of_tenant[1] += 1
    return found
