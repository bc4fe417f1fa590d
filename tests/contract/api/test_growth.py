"""No operation costs more because its tenant, or the fleet, has more: each is asked beside a few rows of everything and beside many.

What counts is what SQLite does (`rows_visited.py`): a statement that scans, sorts or counts does more where there are more rows.
What may grow all the same, and why that is bounded, stands in `GROWS`.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from router.api.operations import Counted, Paged
from router.api.table import Table
from router.base.clock import ManualClock
from router.base.key_scopes import KeyScope
from router.base.secret_box import SecretBox
from router.node.rest import credentials_of, handlers_of
from router.node.services import build_services
from router.outbound.health import HttpHealthCheck
from router.settings import Rates, load
from router.store import Store
from router.store.request_records_sqlite import SqliteRecords
from tests.contract.api.conftest import Carried, NoActivity, platform_status
from tests.support.api import serving
from tests.support.calls import request_of
from tests.support.copies import multiply
from tests.support.database import Databases, spoil
from tests.support.holding_numbers import numbers
from tests.support.holdings import mark_project
from tests.support.memory_dns import MemoryFetch
from tests.support.routes import routes_of
from tests.support.rows_visited import Visits
from tests.support.walk import INTERNAL_TOKEN, Asking, in_order, leading_here, one_of_everything

pytestmark = pytest.mark.asyncio

FEW, MANY = 150, 1500  # of everything; more than a page
# Instructions that a statement may do more: what a page's rows differ by, and a B-tree's one level more.
NOISE = 2000

# What a statement has in it, or an operation's name begins with; and why that may grow.
GROWS: Mapping[str, str] = {
    # What changes with it, all of which has to be written, or is asked for whole.
    "INSERT INTO route_versions": "a route for each domain that leads to the resource, or for all that a tenant has",
    "INSERT INTO outbox": "as its versions",
    "SELECT ? || resources.slug": "the same routes: their keys",
    "DELETE /api/v1/computers/{id}": "removes its domains, each with its event; a tenant has `domains_per_tenant`",
    "DELETE /api/v1/deployments/{id}": "as a computer",
    "DELETE /api/v1/webhooks/{id}": "deletes its deliveries; those of `event_retention`",
    "DELETE /internal/v1/tenants/{id}": "of the platform: begins to delete it, and says how much of everything there is",
    "GET /api/v1/audit-log/export": "writes out what is asked for, a batch at a time",
    "UPDATE sessions SET revoked_at": "ends them all; a tenant has 10,000 at most",
    "FROM sessions WHERE": "of 10,000 at most",
    # What is counted.
    "AND projects.is_default": "a workspace that is to be deleted: its projects",
    "count(*) AS held": "a project or workspace that is to be deleted: what is in it",
    "AS anon_2 FROM api_keys WHERE": "keys, which their holders make",
    "AS anon_2 FROM events WHERE": "those of `event_retention`",
    "count(*) AS count_1 FROM audit_entries WHERE": "those of `audit.retention`, and `audit.max_entries_per_tenant` at most",
    "AS anon_2 FROM blocks WHERE": "of the platform: all blocks in force",
    "AS anon_2 FROM webhook_deliveries WHERE": "those of one webhook, of `event_retention`",
    "AS anon_2 FROM builds WHERE": "those of one deployment, and of `removed_retention` but the newest",
    "AS anon_2 FROM releases WHERE": "those of one deployment",
    "AS anon_2 FROM deployment_versions WHERE": "those of one deployment",
    "deployment_versions.source_sandbox_id = ? AND resources.suspended": "versions published from one sandbox",
    "GET /api/v1/projects/{id}/summary": "a report of one project",
    "GET /api/v1/workspaces/{id}/stats": "a report of one workspace",
}


async def test_nothing_grows(databases: Databases, tmp_path: Path) -> None:
    """Beside ten times as many rows of everything no statement of any operation does more."""
    few, many = [await walked(databases, number, tmp_path / str(number)) for number in (FEW, MANY)]
    grown = []
    for operation, statements in many.items():
        for statement, steps in statements.items():
            before = few[operation][statement]
            if steps > before + NOISE and not is_excepted(operation, statement):
                grown.append(f"{operation}: {before:,} -> {steps:,} instructions: {' '.join(statement.split())[:1500]}")
    assert grown == [], "\n".join(grown)


def is_excepted(operation: str, statement: str) -> bool:
    words = " ".join(statement.split())
    return any(operation.startswith(one) or one in words for one in GROWS)


async def walked(databases: Databases, number: int, folder: Path) -> Mapping[str, Counter[str]]:
    """What the statements of each operation do beside that many rows of everything."""
    settings = load(
        environ={
            "MIOSA_ROUTER_INTERNAL_TOKEN": INTERNAL_TOKEN,
            "MIOSA_ROUTER_BACKEND_NETWORKS": "127.0.0.0/8",
            "MIOSA_ROUTER_DOMAINS_PER_TENANT": "1000000",
        }
    )
    settings = settings.model_copy(
        update={"special_domains": ("internal", "onion")}
    )  # names of tests are of all other kinds
    clock, found = ManualClock(), dict[str, Counter[str]]()
    async with databases.new("sqlite") as database:
        spoil(database)
        with Visits() as visits:
            store = await Store.open(database, clock=clock)
            kept = SqliteRecords(folder, settings.records, clock)
            async with HttpHealthCheck() as probe, routes_of(store, settings, clock) as routes:
                services = build_services(
                    store,
                    settings,
                    clock,
                    lookup=leading_here(),
                    fetch=MemoryFetch(),
                    probe=probe,
                    box=SecretBox([bytes(32)]),
                    kept=kept,
                    carrier=Carried(kept),
                )
                handlers = handlers_of(services, settings, NoActivity(), clock, routes.explain, platform_status)
                async with (
                    one_of_everything(services) as held,
                    serving(
                        handlers,
                        credentials_of(services, settings, clock),
                        clock=clock,
                        idempotency=store.idempotency,
                        rates=Rates(workspace=100_000, auth=100_000, anonymous=100_000),
                        audit=services.audit,
                        one_transaction=store.ambient,
                    ) as api,
                ):
                    key, plain = await services.keys.create(held.holder.tenant.id)
                    _, of_platform = await services.keys.create(held.holder.tenant.id, scope=KeyScope.PLATFORM)
                    small = await mark_project(services, held.holder.workspace, "zsmall")
                    _, of_small = await services.keys.create(
                        held.holder.tenant.id, scope=KeyScope.PROJECT, scope_id=small.id
                    )
                    ask = Asking(api, plain, f"key:{key.id}", of_platform)
                    await multiply(database, held, number)
                    for row in [row for row in Table(handlers) if row.response in {Paged, Counted} and not row.places]:
                        visits.taken()
                        answer = await ask(row, request_of(row, held), key=of_small)
                        found[f"{row.method} {row.path} of a small project"] = visits.taken()
                    for row in in_order(list(Table(handlers))):
                        clock.advance(11)  # a domain is looked at once in ten seconds
                        visits.taken()
                        answer = await ask(row, request_of(row, held))
                        assert answer.status < 500, (row, answer.body)
                        found[f"{row.method} {row.path}"] = visits.taken()
                await services.publishing.close()
            kept_numbers, counted = await numbers(database)
            assert kept_numbers == counted
            await kept.close()
            await store.close()
    return found
