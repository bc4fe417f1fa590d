"""Column types that mean the same on SQLite and PostgreSQL."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

# None is SQL's NULL, never JSON's null: "not set" has one spelling.
Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

Id = sa.String(36)


class Instant(sa.types.TypeDecorator[datetime]):
    """A timezone-aware instant in UTC, to the microsecond. SQLite keeps it as text without zone; the zone is added back."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class DatabaseTime(FunctionElement[float]):
    """The database's clock: seconds since 1970, also while a transaction goes on."""

    name = "database_time"
    type = sa.Float()
    inherit_cache = True


@compiles(DatabaseTime, "sqlite")
def _time_on_sqlite(_element: DatabaseTime, _compiler: SQLCompiler, **_options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"  # in days; 2440587.5 is the first of January 1970


@compiles(DatabaseTime, "postgresql")
def _time_on_postgresql(_element: DatabaseTime, _compiler: SQLCompiler, **_options: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


# Only those of our own role can be seen, and only they write our tables. One without `backend_xid` has written nothing.
_OLDEST_WRITER = (
    "(SELECT min(CAST(extract(epoch FROM xact_start) AS double precision)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND backend_xid IS NOT NULL)"
)


class SettledTime(FunctionElement[float]):
    """An instant of the database's clock: what was stamped before it can be seen, or was rolled back. A transaction that removes
    a thousand names stamps its first row seconds before anybody sees it."""

    name = "settled_time"
    type = sa.Float()
    inherit_cache = True


@compiles(SettledTime, "sqlite")
def _settled_on_sqlite(_element: SettledTime, compiler: SQLCompiler, **_options: Any) -> str:
    return compiler.process(DatabaseTime())  # as far as it can be told: readers learn nothing of who writes


@compiles(SettledTime, "postgresql")
def _settled_on_postgresql(_element: SettledTime, compiler: SQLCompiler, **_options: Any) -> str:
    return f"least({_OLDEST_WRITER}, {compiler.process(DatabaseTime())})"


class SecondsOf(FunctionElement[float]):
    """An Instant in seconds since 1970."""

    name = "seconds_of"
    type = sa.Float()
    inherit_cache = True


@compiles(SecondsOf, "sqlite")
def _seconds_on_sqlite(element: SecondsOf, compiler: SQLCompiler, **options: Any) -> str:
    return f"((julianday({_arguments(element, compiler, options)}) - 2440587.5) * 86400.0)"


@compiles(SecondsOf, "postgresql")
def _seconds_on_postgresql(element: SecondsOf, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(extract(epoch FROM {_arguments(element, compiler, options)}) AS double precision)"


class NewId(FunctionElement[str]):
    """A UUID v4 of the database's making."""

    name = "new_id"
    type = sa.String()
    inherit_cache = True


@compiles(NewId, "sqlite")
def _id_on_sqlite(_element: NewId, _compiler: SQLCompiler, **_options: Any) -> str:
    return (
        "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || "
        "substr('89ab', 1 + (abs(random()) % 4), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"
    )


@compiles(NewId, "postgresql")
def _id_on_postgresql(_element: NewId, _compiler: SQLCompiler, **_options: Any) -> str:
    return "CAST(gen_random_uuid() AS VARCHAR)"


class JsonTexts(FunctionElement[Any]):
    """The pairs of an object of texts in JSON, as a table: `JsonTexts(text).table_valued("key", "value")`.

    Some hundred rows in one parameter: each of its own would cost the event loop several times as much.
    """

    name = "json_texts"
    inherit_cache = True


@compiles(JsonTexts, "sqlite")
def _texts_on_sqlite(element: JsonTexts, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({_arguments(element, compiler, options)})"


@compiles(JsonTexts, "postgresql")
def _texts_on_postgresql(element: JsonTexts, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each_text(CAST({_arguments(element, compiler, options)} AS JSON))"


class InstantOf(FunctionElement[datetime]):
    """The Instant that a text is, of the form that `instant_text` makes."""

    name = "instant_of"
    type = Instant()
    inherit_cache = True


def instant_text(instant: datetime) -> str:
    """As SQLite keeps it: 2026-01-01 00:00:00.000000, in UTC. Raises ValueError for an instant without a zone."""
    if instant.tzinfo is None:
        raise ValueError("naive datetime")
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


@compiles(InstantOf, "sqlite")
def _instant_on_sqlite(element: InstantOf, compiler: SQLCompiler, **options: Any) -> str:
    return _arguments(element, compiler, options)


@compiles(InstantOf, "postgresql")
def _instant_on_postgresql(element: InstantOf, compiler: SQLCompiler, **options: Any) -> str:
    return f"(CAST({_arguments(element, compiler, options)} AS TIMESTAMP) AT TIME ZONE 'UTC')"


class JsonHas(FunctionElement[bool]):
    """Whether a list in JSON holds a text: `JsonHas(column, text)`."""

    name = "json_has"
    type = sa.Boolean()
    inherit_cache = True


@compiles(JsonHas, "sqlite")
def _on_sqlite(element: JsonHas, compiler: SQLCompiler, **options: Any) -> str:
    column, text = (compiler.process(clause, **options) for clause in element.clauses)
    return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value = {text})"  # noqa: S608  # both are compiled SQL


@compiles(JsonHas, "postgresql")
def _on_postgresql(element: JsonHas, compiler: SQLCompiler, **options: Any) -> str:
    # What the operator `?` calls; the operator itself reads like a parameter.
    return f"jsonb_exists({_arguments(element, compiler, options)})"


class BytesHave(FunctionElement[bool]):
    """Whether bytes have these bytes: `BytesHave(column, bytes)`."""

    name = "bytes_have"
    type = sa.Boolean()
    inherit_cache = True


@compiles(BytesHave, "sqlite")
def _have_on_sqlite(element: BytesHave, compiler: SQLCompiler, **options: Any) -> str:
    return f"(instr({_arguments(element, compiler, options)}) > 0)"


@compiles(BytesHave, "postgresql")
def _have_on_postgresql(element: BytesHave, compiler: SQLCompiler, **options: Any) -> str:
    column, part = (compiler.process(clause, **options) for clause in element.clauses)
    return f"(position({part} IN {column}) > 0)"


def _arguments(element: FunctionElement[Any], compiler: SQLCompiler, options: Mapping[str, Any]) -> str:
    return ", ".join(compiler.process(clause, **options) for clause in element.clauses)
