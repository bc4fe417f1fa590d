"""How the databases go about a look-up: by index, however many rows there are."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg as postgresql

from router.base.clock import ManualClock
from router.certificates.held import Origin
from router.certificates.order import OrderState
from router.domains.checks.schedule import Slice
from router.routes.records import NameRecord, ResourceRecord, ZoneRecord
from router.settings import Database
from router.store import Store, check_columns, lookups
from router.store.engine import parsed, reading_engine, writing_engine
from router.store.tables import custom_domains
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
    statement = lookups.at_once().compile(dialect=postgresql.dialect())
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


# A delegation, a certificate and a closed order for each tenant's zone, as a fleet has them after a year.
ZONES = (
    """
    INSERT INTO delegations (domain, tenant_id, token, state, next_check_at, created_at)
    SELECT domain, tenant_id, substr(tenant_id, 5, 32), 'present', '2030-01-01 00:00:00', created_at FROM preview_domains
    """,
    """
    INSERT INTO held_certificates
        (id, domain, tenant_id, origin, names, issuer, serial, not_before, not_after, chain, sealed_key, renew_at, ari_at,
        created_at, changed_at)
    SELECT id, domain, tenant_id, 'managed', '[]', 'R1', '0a', created_at, '2030-01-01 00:00:00', '', '',
        '2029-12-01 00:00:00', '2029-12-01 00:00:00', created_at, 1
    FROM preview_domains
    """,
    """
    INSERT INTO acme_orders
        (id, domain, directory, token, names, state, txt, attempts, next_at, deadline_at, opened_at, closed_at)
    SELECT id, domain, 'https://ca.example', substr(tenant_id, 5, 32), '[]', 'issued', '[]', 0, created_at, created_at,
        created_at, created_at
    FROM preview_domains
    """,
    """
    INSERT INTO certificate_requests (domain, tenant_id, sealed_key, csr, names, created_at)
    SELECT domain, tenant_id, '', '', '[]', created_at FROM preview_domains
    """,
)
# Of which only a few rows are open or not withdrawn, whatever there is besides.
FEW = ("uq_acme_orders_open", "ix_acme_orders_due", "ix_acme_orders_unwithdrawn")
# Zones that lack something are found by a look at all zones: by one process of the fleet, each 5 s and each minute.
WHOLE = ("delegations.wanting, first", "delegations.missing")
OF_ZONES = ("delegations", "held_certificates", "acme_orders", "certificate_requests", "zones", "preview_domains")


async def test_zones_certificates_are_found_by_index(database: str, clock: ManualClock) -> None:
    """What the job asks each second, and what nodes and the API ask, reads no table of zones from end to end. What is asked
    for is heard from the real methods, and explained with the values that they gave."""
    spoil(database)
    await Crowd(tenants=5000, resources=1, domains=1).fill(database)
    await execute(database, *ZONES)
    await execute(database, "ANALYZE")
    store = await Store.open(database, clock=clock)
    now, later, zone = clock.now(), clock.now() + timedelta(days=1), "preview7.dev"
    asked: dict[str, tuple[str, Any]] = {}

    def note(name: str) -> Callable[..., None]:
        def hear(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
            if any(table in statement for table in OF_ZONES):
                asked[f"{name} {len(asked)}"] = statement, parameters

        return hear

    async def hear(name: str, work: Awaitable[object]) -> None:
        listener = note(name)
        sa.event.listen(sa.Engine, "before_cursor_execute", listener)
        try:
            await work
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", listener)

    await hear("open_values", store.txt_source.open_values())
    await hear("changes_since", store.held_log.changes_since(5.0, 100))
    await hear("changes_since, page", store.held_log.changes_since(None, 100, (1.0, "a")))
    async with store.read() as tx:
        orders, held, delegations = tx.acme_orders, tx.held_certificates, tx.delegations
        for name, work in {
            "orders.get": orders.get("a"),
            "orders.last": orders.last([zone]),
            "orders.due": orders.due(now, 64),
            "orders.begun": orders.begun(),
            "orders.open_counts": orders.open_counts(now),
            "orders.unwithdrawn": orders.unwithdrawn(4),
            "held.get": held.get(zone, Origin.MANAGED),
            "held.at": held.at([zone]),
            "held.to_ask": held.to_ask(now, 20),
            "held.late": held.late(now, 20),
            "held.ending": held.ending(Origin.UPLOADED, later, (now, "a"), 100),
            "delegations.get": delegations.get(zone),
            "delegations.by_token": delegations.by_token("a"),
            "delegations.of_tenant": delegations.of_tenant("a"),
            "delegations.at": delegations.at([zone]),
            "delegations.due": delegations.due(now, 32),
            "delegations.wanting, renewal": delegations.wanting(now, renewal=True, limit=1000),
            "delegations.wanting, first": delegations.wanting(now, renewal=False, limit=1000),
            "delegations.missing": delegations.missing(1000),
            "requests.get": tx.certificate_requests.get(zone),
        }.items():
            await hear(name, work)
    async with store.begin() as tx:
        orders, held = tx.acme_orders, tx.held_certificates
        order = (await orders.last([zone]))[zone]
        certificate, delegation = await held.get(zone, Origin.MANAGED), await tx.delegations.get(zone)
        assert certificate is not None
        assert delegation is not None
        for name, work in {
            "orders.add": orders.add(replace(order, id="b", state=OrderState.PLANNED, closed_at=None)),
            "orders.save": orders.save(order, OrderState.PLANNED),
            "orders.abandon": orders.abandon(zone, now),
            "orders.withdrawn": orders.withdrawn("a"),
            "held.save": held.save(certificate),
            "held.put": held.put(certificate),
            "delegations.save": tx.delegations.save(delegation),
            "delegations.drop": tx.delegations.drop(zone),
            "held.remove": held.remove(zone, Origin.MANAGED, now),
            "requests.remove": tx.certificate_requests.remove(zone),
        }.items():
            await hear(name, work)
    await store.close()
    found = await _read_whole(database, asked)
    unexpected = {name: steps for name, steps in found.items() if name.rpartition(" ")[0] not in WHOLE}
    assert unexpected == {}, "\n".join(f"{name}: {steps}" for name, steps in unexpected.items())


async def _read_whole(database: str, asked: Mapping[str, tuple[str, Any]]) -> dict[str, list[str]]:
    """The statements that read a table from end to end, with their plans."""
    on_file = database.startswith("sqlite")
    engine = writing_engine(parsed(database, create=False), Database())

    def plan(connection: sa.Connection, statement: str, parameters: Any) -> list[str]:
        if on_file:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            return [row[3] for row in rows]
        rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        return [row[0] for row in rows]

    found = {}
    for name, (statement, parameters) in asked.items():
        steps = await engine.run(partial(plan, statement=statement, parameters=parameters))
        if any(_is_whole(step) for step in steps):
            found[name] = steps
    await engine.dispose()
    return found


def _is_whole(step: str) -> bool:
    """Whether it reads a table from end to end; by the index of nothing but an origin it reads as good as that."""
    scan = step.startswith("SCAN") and "CONSTANT" not in step and not any(index in step for index in FEW)
    return scan or "Seq Scan" in step or step.endswith("(origin=?)")


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


async def test_sqlite_reads_due_checks_from_the_index_on_their_time() -> None:
    """Not all ids of a slice, which are a quarter of all domains: a node that nobody uses asks this again and again."""
    database = sqlite3.connect(":memory:")
    for statement in (sa.schema.CreateTable(custom_domains), *map(sa.schema.CreateIndex, custom_domains.indexes)):
        database.execute(str(statement.compile(dialect=sqlite.dialect())))
    due = check_columns._due(custom_domains, Slice(1, 4)).compile(
        dialect=sqlite.dialect(), compile_kwargs={"render_postcompile": True}
    )
    values = [None] * len(due.positiontup or ())
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {due}", values)]
    database.close()
    read = [step for step in plan if "custom_domains" in step]
    assert len(read) == 3
    assert all("USING INDEX ix_custom_domains_due (next_check_at" in step for step in read), read
