"""Entries as lines of JSON (NDJSON) and of CSV (RFC 4180), one at a time, for who keeps them elsewhere."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from router.audit.entry import Entry
from router.base.clock import iso

COLUMNS: Final = tuple(item.name for item in fields(Entry))

# What a cell begins with that spreadsheets take for a formula; after the quote it is a text to them. Lists of it (OWASP, "CSV
# Injection") have the tab and the carriage return too, and full-width forms, which some programs read as the others.
_UNSEEN: Final = " \v\f\x00\x1c\x1d\x1e\x1f\x85\xa0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"  # in front of it
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def plain(entry: Entry) -> dict[str, Any]:
    """An entry as JSON has it."""
    found = {name: getattr(entry, name) for name in COLUMNS}
    return {**found, "created_at": iso(entry.created_at), "changes": dict(entry.changes)}


def json_line(values: Mapping[str, Any]) -> bytes:
    """One line of NDJSON."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def csv_head() -> bytes:
    """The first line, with the names of the columns."""
    return _row(COLUMNS)


def csv_line(values: Mapping[str, Any]) -> bytes:
    """One line of CSV; `changes` is JSON. A text that a spreadsheet would run has a quote before it."""
    return _row([_cell(values[name]) for name in COLUMNS])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping) else str(value)
    return f"'{text}" if text.lstrip(_UNSEEN).startswith(_FORMULA) else text


def _row(cells: Any) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().encode("utf-8", "replace")
