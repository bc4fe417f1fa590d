"""How the databases go about a look-up: by index, however many rows there are."""

import asyncio

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg as postgresql

from router.base.clock import ManualClock
from router.routes.records import NameRecord, ResourceRecord, ZoneRecord
from router.settings import Database
from router.store import Store, lookups
from router.store.acme_orders import OPEN_VALUES
from router.store.engine import parsed, reading_engine
from tests.support.crowd import Crowd
from tests.support.database import execute, on_postgresql, on_sqlite, spoil

pytestmark = pytest.mark.asyncio

CROWD = Crowd(tenants=1000, resources=20_000, domains=20_000)
LARGE = (
    *("resources", "endpoints", "custom_domains", "route_versions", "exposed_ports", "previews", "preview_secrets"),
    *("trusted_issuers", "logins", "sessions"),
)
# A private preview of each resource, and a secret that opens it.
PREVIEWS = """
    INSERT INTO previews (id, resource_id, port, visibility, host_mode, metadata, created_at, updated_at)
    SELECT id, id, 5173, 'private', 'auto', '{}', created_at, updated_at FROM resources
"""
SECRETS = """
    INSERT INTO preview_secrets (id, resource_id, preview_id, kind, prefix, digest, created_at)
    SELECT id, id, id, 'link', 'mpl_abcdef', id, created_at FROM resources
"""
# And CI systems that each tenant trusts.
ISSUERS = """
    INSERT INTO trusted_issuers
        (id, tenant_id, name, issuer, audience, claims, enabled, generation, created_at, updated_at)
    SELECT id, tenant_id, 'ci', 'https://ci.example.com', 'a', '{}', true, 1, created_at, updated_at FROM resources
"""
# And a login of each tenant, with somebody who has signed in for each resource.
LOGINS = """
    INSERT INTO logins (tenant_id, id, issuer, client_id, client_secret, email_domains, groups, groups_claim, anyone,
        session_hours, created_at, updated_at)
    SELECT id, id, 'https://login.example.com', 'x', 'x', '[]', '[]', 'groups', true, 12, created_at, updated_at
    FROM tenants
"""
SESSIONS = """
    INSERT INTO sessions (id, tenant_id, login_id, subject, groups, digest, created_at, expires_at)
    SELECT id, tenant_id, id, 'ada', '[]', id, created_at, updated_at FROM resources
"""


@on_postgresql
async def test_postgresql_looks_up_by_index(database: str) -> None:
    """The plan that a reader's statement has, whatever its values, reads no large table from end to end."""
    spoil(database)
    await CROWD.fill(database)
    for rows in (PREVIEWS, SECRETS, ISSUERS, LOGINS, SESSIONS):
        await execute(database, rows)
    await execute(database, "ANALYZE")
    statement = lookups.AT_ONCE.compile(dialect=postgresql.dialect())
    values = {
        "keys": [],
        "names": ["www.site1.com"],
        "slugs": ["box1"],
        "zones": ["preview1.dev"],
        "digests": ["a"],
        "purposes": ["a"],
        "wakes": ["a"],
        "session_ids": ["a"],
    }
    arguments = [_literal(values.get(name, statement.binds[name].value)) for name in statement.positiontup or ()]
    connection = await asyncpg.connect(database)
    try:
        # Only as a plan: what a bare parameter's type is, PostgreSQL can't tell from `''`.
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE look_up AS {statement}")
        rows = await connection.fetch(f"EXPLAIN EXECUTE look_up({', '.join(arguments)})")
    finally:
        await connection.close()
    plan = "\n".join(row[0] for row in rows)
    scanned = [table for table in LARGE if f"Seq Scan on {table}" in plan]
    assert scanned == [], plan


def _literal(value: object) -> str:
    if isinstance(value, list):
        return f"ARRAY[{', '.join(map(_literal, value))}]::varchar[]"
    return f"'{value}'" if isinstance(value, str) else str(value)


@on_sqlite
async def test_sqlite_looks_up_by_index(database: str) -> None:
    """No statement of a look-up reads a large table from end to end."""
    await asyncio.to_thread(CROWD._fill_file, database.removeprefix("sqlite:///"))
    for rows in (PREVIEWS, SECRETS, ISSUERS, LOGINS, SESSIONS):
        await execute(database, rows)
    await execute(database, "ANALYZE")
    engine = reading_engine(parsed(database, create=False), Database())
    values = {
        name: ["a", "b"]
        for name in ("keys", "names", "slugs", "ids", "zones", "digests", "purposes", "session_ids", "tenants")
    }
    for name in (
        "_VERSIONS",
        "_DOMAINS",
        "_RESOURCES",
        "_PORTS",
        "_PREVIEWS",
        "_SECRETS",
        "_ISSUERS",
        "_TOMBSTONES",
        "_CLAIMS",
        "_API_KEYS",
        "_SESSIONS",
    ):
        statement = getattr(lookups, name)
        given = {key: value for key, value in values.items() if key in statement.compile().params}
        sql = str(statement.params(given).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))

        def explain(connection: sa.Connection, sql: str = sql) -> list[str]:
            return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]

        plan = await engine.run(explain)
        assert [step for step in plan if step.startswith("SCAN") and step.split()[1] in (*LARGE, "api_keys")] == [], (
            name,
            plan,
        )
    await engine.dispose()


ORDERS = """
    INSERT INTO acme_orders
        (id, domain, directory, token, names, state, txt, attempts, next_at, deadline_at, opened_at, closed_at)
    SELECT id, id, 'https://ca.example', substr(id, 1, 32), '[]', 'issued', '["a"]', 0, created_at, created_at, created_at,
        created_at
    FROM resources
"""


async def test_open_orders_are_found_by_index(database: str, clock: ManualClock) -> None:
    """Of which there are few among all that were closed: the responder reads them once a second."""
    spoil(database)
    await Crowd(tenants=10, resources=5000, domains=10).fill(database)
    await execute(database, ORDERS)
    await execute(database, "ANALYZE")
    store = await Store.open(database, clock=clock)
    assert await store.txt_source.open_values() == {}
    await store.close()
    engine = reading_engine(parsed(database, create=False), Database())
    on_file = database.startswith("sqlite")
    dialect = sqlite.dialect() if on_file else postgresql.dialect()
    sql = str(OPEN_VALUES.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    explain = "EXPLAIN QUERY PLAN" if on_file else "EXPLAIN"

    def plan(connection: sa.Connection) -> list[str]:
        return [str(row) for row in connection.exec_driver_sql(f"{explain} {sql}")]

    steps = await engine.run(plan)
    await engine.dispose()
    assert any("INDEX" in step.upper() for step in steps), steps
    assert not any("Seq Scan" in step for step in steps), steps


async def test_what_a_crowd_s_hosts_lead_to(database: str, clock: ManualClock) -> None:
    """Among many rows each key finds its own."""
    spoil(database)
    await Crowd(tenants=10, resources=300, domains=900).fill(database)
    store = await Store.open(database, clock=clock)
    found = await store.records.fetch(["name:www.site301.com", "slug:box7", "zone:preview9.dev", "slug:none"])
    name, resource, zone = (found[key] for key in ("name:www.site301.com", "slug:box7", "zone:preview9.dev"))
    assert isinstance(name, NameRecord)
    assert name.resource is not None
    assert name.resource.slug == "box1"
    assert isinstance(resource, ResourceRecord)
    assert resource.endpoint is not None
    assert resource.endpoint.address == "10.0.0.7"
    assert resource.exposed_ports == frozenset({5173})
    assert isinstance(zone, ZoneRecord)
    assert zone.verified
    assert found["slug:none"] is None
    await store.close()
