"""Names under another are found by a range of an index, on both databases, with those that an older version has added."""

from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from router.store.names_under import at_or_under, is_under, reversed_name
from router.store.tables import released_zones
from tests.support.database import execute, on_postgresql, rows, spoil

pytestmark = pytest.mark.asyncio

DOMAIN = released_zones.c.domain
NAMES = (
    *("example.com", "www.example.com", "a.b.example.com", "wwwexample.com", "example.com.evil.net", "www.example.org"),
    *("xn--bcher-kva.example.com", "a-b.example.com", "0.example.com", "com", "example-com.net", "z.axample.com"),
)


async def fill(database: str, names: Sequence[str], *, known: bool) -> None:
    at = "'2026-01-01 00:00:00.000000'" + ("" if database.startswith("sqlite") else "::timestamptz")
    tenant = (
        "INSERT INTO tenants (id, slug, name, plan, auto_expose, branding, suspended, created_at, updated_at) "  # noqa: S608
        f"VALUES ('a', 'acme', 'Acme', 'free', false, '{{}}', false, {at}, {at})"
    )
    values = ", ".join(f"('{name}', 'a', {at}, '{reversed_name(name) if known else ''}')" for name in names)
    await execute(
        database,
        tenant,
        f"INSERT INTO released_zones (domain, tenant_id, released_at, reversed_name) VALUES {values}",  # noqa: S608
    )


async def found(database: str, where: sa.ColumnElement[bool]) -> set[str]:
    dialect = sqlite.dialect() if database.startswith("sqlite") else postgresql.dialect()
    select = sa.select(DOMAIN).where(where).compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    return {name for (name,) in await rows(database, str(select).replace("%%", "%"))}


@pytest.mark.parametrize("known", [True, False])
async def test_which_names_are_under_one(database: str, known: bool) -> None:
    """Those that end with it behind a dot, and no other; whether or not the row has its name reversed."""
    await fill(database, NAMES, known=known)
    for name in ("example.com", "b.example.com", "com", "net", "example.org", "le.com"):
        under = {one for one in NAMES if one.endswith(f".{name}")}
        assert await found(database, is_under(released_zones, DOMAIN, name)) == under, name
        at = {one for one in NAMES if one == name}
        assert await found(database, at_or_under(released_zones, DOMAIN, name, under=True)) == under | at, name
        assert await found(database, at_or_under(released_zones, DOMAIN, name, under=False)) == at, name


async def test_they_are_read_by_the_index(database: str) -> None:
    """Of many names those under one are a range of the index, and what an older version has added another."""
    spoil(database)
    await fill(database, [f"www.shop{number}.com" for number in range(5000)], known=True)
    await execute(database, "ANALYZE")
    dialect = sqlite.dialect() if database.startswith("sqlite") else postgresql.dialect()
    select = sa.select(DOMAIN).where(is_under(released_zones, DOMAIN, "shop7.com"))
    words = str(select.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    explain = "EXPLAIN QUERY PLAN" if database.startswith("sqlite") else "EXPLAIN"
    plan = "\n".join(str(row[-1]) for row in await rows(database, f"{explain} {words}".replace("%%", "%")))
    assert "ix_released_zones_reversed" in plan, plan
    assert "SCAN" not in plan, plan
    assert "Seq Scan" not in plan, plan


@on_postgresql
async def test_the_database_s_language_does_not_matter(database: str) -> None:
    """The column is compared by its bytes, whatever the database's collation: else a range would have other names."""
    select = (
        "SELECT c.collname FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation "
        "WHERE a.attname = 'reversed_name' AND a.attrelid::regclass::text = '{table}'"
    )
    for table in ("custom_domains", "zones", "released_zones", "preview_domains"):
        assert await rows(database, select.format(table=table)) == [("C",)], table
