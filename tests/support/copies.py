"""Many rows like one that there is, stored past the services: of a tenant that has very many of everything."""

import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from router.settings import Database
from router.store.audit_tables import audit_entries
from router.store.block_tables import blocks
from router.store.deployment_tables import builds, deployment_versions, releases
from router.store.engine import parsed, writing_engine
from router.store.journal_tables import events, usage_intervals
from router.store.login_tables import sessions
from router.store.names_under import reversed_name
from router.store.tables import (
    api_keys,
    custom_domains,
    preview_domains,
    projects,
    resources,
    workspaces,
    zones,
)
from router.store.webhook_tables import webhook_deliveries
from tests.support.holdings import Holdings

Vary = Callable[[int], Mapping[str, Any]]


async def multiply(database: str, held: Holdings, number: int) -> None:
    """Store `number` copies of whatever the holder has one of, and as many of the fleet's other tenants' rows as go with it."""
    ids, mark = held.ids, held.holder.mark
    engine = writing_engine(parsed(database, create=False), Database(statement_time=600))
    long_ago = held.holder.tenant.created_at - timedelta(days=200)

    async def copy(table: sa.Table, which: sa.ColumnElement[bool], vary: Vary) -> None:
        row = dict((await connection.execute(sa.select(table).where(which).limit(1))).one()._mapping)
        rows = []
        for n in range(number):
            new = {**row, **vary(n)}
            if "id" in table.c and "id" not in vary(n):
                new["id"] = str(uuid.uuid4())
            if row.get("created_at") is not None:
                new["created_at"] = row["created_at"] - timedelta(seconds=n + 1)
            rows.append(new)
        for start in range(0, number, 5000):
            await connection.execute(sa.insert(table), rows[start : start + 5000])

    async with engine.begin() as connection:
        for kind in ("sandbox", "computer", "deployment"):
            await copy(
                resources, resources.c.id == ids[kind], lambda n, k=kind: {"slug": f"{k}{n}", "name": f"Copy {n}"}
            )
        for holder in ("computer's domain", "deployment's domain"):
            await copy(
                custom_domains,
                custom_domains.c.id == ids[holder],
                lambda n, h=holder: {
                    "fqdn": f"{h[0]}{n}.{mark}.test",
                    "reversed_name": reversed_name(f"{h[0]}{n}.{mark}.test"),
                    "token": f"{h[0]}{n}",
                    "proof": f"{h[0]}{n}",
                    "status": "verified",
                },
            )
        away = {"removed_at": held.holder.tenant.created_at}
        await copy(
            custom_domains,
            custom_domains.c.id == ids["computer's domain"],
            lambda n: {
                "fqdn": f"gone{n}.{mark}.test",
                "reversed_name": reversed_name(f"gone{n}.{mark}.test"),
                "token": f"g{n}",
                "status": "removed",
                **away,
            },
        )
        await copy(events, events.c.id == ids["event"], lambda _: {})
        await copy(audit_entries, audit_entries.c.id == ids["entry"], lambda _: {})
        await copy(api_keys, api_keys.c.id == ids["key"], lambda n: {"digest": f"copy{n}"})
        await copy(blocks, blocks.c.id == ids["block"], lambda n: {"subject": f"copy{n}.example"})
        await copy(
            workspaces,
            workspaces.c.id == ids["workspace"],
            lambda n: {"slug": f"copy{n}", "external_workspace_id": f"copy{n}", "name": f"Copy {n}"},
        )
        await copy(
            projects, projects.c.id == ids["project"], lambda n: {"slug": f"copy{n}", "external_project_id": f"copy{n}"}
        )
        scattered = list(await connection.scalars(sa.select(projects.c.id).where(projects.c.slug.startswith("copy"))))
        await copy(
            resources,
            resources.c.id == ids["sandbox"],
            lambda n: {"slug": f"scattered{n}", "name": f"Scattered {n}", "project_id": scattered[n]},
        )
        zone = preview_domains.c.scope_id == ids["project"]
        domain = await connection.scalar(sa.select(preview_domains.c.domain).where(zone))
        await copy(
            zones,
            zones.c.domain == domain,
            lambda n: {
                "domain": f"copy{n}.{mark}.test",
                "registered": f"{mark}.test",
                "reversed_name": reversed_name(f"copy{n}.{mark}.test"),
            },
        )
        await copy(
            preview_domains,
            zone,
            lambda n: {
                "domain": f"copy{n}.{mark}.test",
                "scope_id": str(uuid.uuid4()),
                "token": f"c{n}",
                "reversed_name": reversed_name(f"copy{n}.{mark}.test"),
            },
        )
        await copy(
            sessions,
            sessions.c.id == ids["session"],
            lambda n: {"digest": f"copy{n}", "id": f"ses_{uuid.uuid4()}", "subject": f"copy{n}"},
        )
        await copy(deployment_versions, deployment_versions.c.id == ids["version"], lambda n: {"number": -n - 1})
        await copy(releases, releases.c.id == ids["release"], lambda n: {"number": -n - 1})
        of_copies = deployment_versions.c.number <= 0
        versions = list(await connection.scalars(sa.select(deployment_versions.c.id).where(of_copies)))
        await copy(builds, builds.c.id == ids["build"], lambda n: {"number": -n, "version_id": versions[n]})
        happened = list(await connection.scalars(sa.select(events.c.id).where(events.c.tenant_id == ids["tenant"])))
        await copy(
            webhook_deliveries,
            webhook_deliveries.c.id == ids["delivery"],
            lambda n: {"seq": -n - 1, "event_id": happened[n], "lane": happened[n], "state": "delivered"},
        )
        await copy(
            usage_intervals,
            usage_intervals.c.resource_id == ids["computer"],
            lambda n: {"started_at": long_ago, "ended_at": long_ago + timedelta(seconds=n)},
        )
        await connection.execute(sa.text("ANALYZE"))
    await engine.dispose()
