"""What a database's tables look like, of whatever revision, and their rows as values that both databases have in common.

The tables are read from the database itself, so that one that an older version has made can be read and written, too. A row
is written as one line of JSON: a list of its columns' values, instants in UTC to the microsecond, bytes in Base64. The same row
gives the same line on SQLite and PostgreSQL; the sum over a table's lines doesn't depend on their order.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from router.store.types import Instant, Json

REVISION = "alembic_version"
_RECORDS = "request_"  # before the names of the tables of request records: `request_records_postgres.py`
_OWN = "sqlite_"
_KEPT_BY_TRIGGERS = frozenset({"holdings", "holding_changes"})  # numbers of rows, which come with the rows
_BITS = (1 << 128) - 1


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    INSTANT = "instant"
    JSON = "json"
    BYTES = "bytes"


_TYPES: Mapping[Kind, Any] = {
    Kind.TEXT: sa.String(),
    Kind.INTEGER: sa.BigInteger(),
    Kind.NUMBER: sa.Double(),
    Kind.FLAG: sa.Boolean(),
    Kind.INSTANT: Instant(),
    Kind.JSON: Json,
    Kind.BYTES: sa.LargeBinary(),
}
# In this order: a Boolean of one database is no Integer of the other.
_KINDS: Sequence[tuple[type[Any], Kind]] = (
    (sa.Boolean, Kind.FLAG),
    (sa.DateTime, Kind.INSTANT),
    (sa.JSON, Kind.JSON),
    (sa.LargeBinary, Kind.BYTES),
    (sa.Integer, Kind.INTEGER),
    (sa.Float, Kind.NUMBER),
    (sa.Numeric, Kind.NUMBER),
    (sa.String, Kind.TEXT),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A table: its columns and what each holds, and the column that the database numbers rows by, if it does."""

    name: str
    columns: tuple[tuple[str, Kind], ...]
    numbered: str | None = None

    def table(self) -> sa.TableClause:
        """The table for statements."""
        return sa.table(self.name, *(sa.column(name, _TYPES[kind]) for name, kind in self.columns))

    def line(self, row: Sequence[Any]) -> str:
        """A row as a line of JSON, without the line's end."""
        values = list(row)
        for index, encoded, _ in self._forms():
            if values[index] is not None:
                values[index] = encoded(values[index])
        return _dumps(values)

    def row(self, line: str) -> dict[str, Any]:
        """What `line` has made a line of, by column. Raises ValueError."""
        values = json.loads(line)
        if not isinstance(values, list) or len(values) != len(self.columns):
            raise ValueError(f"a row of {self.name} has {len(self.columns)} columns")
        for index, _, decoded in self._forms():
            if values[index] is not None:
                values[index] = decoded(values[index])
        return {name: value for value, (name, _) in zip(values, self.columns, strict=True)}

    def _forms(self) -> Sequence[tuple[int, Callable[[Any], Any], Callable[[Any], Any]]]:
        """The columns whose values are not the same in a line, and how each gets there and back."""
        return _forms(tuple(kind for _, kind in self.columns))


@dataclass(slots=True)
class Sum:
    """How many rows, and the sum over their lines."""

    rows: int = 0
    total: int = field(default=0, repr=False)

    def add(self, line: str) -> None:
        digest = hashlib.sha256(line.encode("utf-8", "surrogatepass")).digest()
        self.total = (self.total + int.from_bytes(digest[:16])) & _BITS
        self.rows += 1

    @property
    def text(self) -> str:
        """The sum in hexadecimal digits."""
        return f"{self.total:032x}"


def read_shapes(connection: sa.Connection) -> Sequence[Shape]:
    """The tables of a router's database, what others refer to first; those of request records are left out, and what the
    database fills itself."""
    metadata = sa.MetaData()
    metadata.reflect(connection, only=lambda name, _: _is_stored(name))
    return [
        Shape(table.name, tuple((column.name, _kind(column)) for column in table.columns), _numbered(table))
        for table in metadata.sorted_tables
    ]


def _is_stored(name: str) -> bool:
    return name != REVISION and name not in _KEPT_BY_TRIGGERS and not name.startswith((_RECORDS, _OWN))


def _numbered(table: sa.Table) -> str | None:
    keys = list(table.primary_key)
    return keys[0].name if len(keys) == 1 and isinstance(keys[0].type, sa.Integer) else None


def _kind(column: sa.Column[Any]) -> Kind:
    for of, kind in _KINDS:
        if isinstance(column.type, of):
            return kind
    raise TypeError(f"{column.table.name}.{column.name}: no form for {column.type!r}")


def _plain(value: Any) -> Any:
    """JSON as both databases keep it: PostgreSQL writes a whole number without its exponent."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


_dumps = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode
_FORMS: Mapping[Kind, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    Kind.INSTANT: (lambda value: value.isoformat(timespec="microseconds"), datetime.fromisoformat),
    Kind.BYTES: (
        lambda value: base64.b64encode(value).decode("ascii"),
        lambda text: base64.b64decode(text, validate=True),
    ),
    Kind.FLAG: (bool, bool),
    Kind.NUMBER: (float, float),
    Kind.JSON: (_plain, lambda value: value),
}


@lru_cache(maxsize=256)
def _forms(kinds: Sequence[Kind]) -> Sequence[tuple[int, Callable[[Any], Any], Callable[[Any], Any]]]:
    return [(index, *_FORMS[kind]) for index, kind in enumerate(kinds) if kind in _FORMS]
