"""Many tenants at once: rows for every table that routing reads, made by counting and stored past the verbs.

Tenant t has one workspace, one project, the preview domain `preview<t>.dev`, and every resource r with r % tenants == t,
as `box<r>`; custom domain d is `www.site<d>.com` and leads to resource d % resources.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import asyncpg
import sqlalchemy as sa

from router.domains.preview_domains import PreviewStatus
from router.domains.redirects import RedirectPolicy
from router.routes.policies import Visibility
from router.routes.records import DomainStatus, Kind, Scope, State
from router.routes.wakes import Wake
from router.store.journal_tables import route_versions
from router.store.migrations.versions.v0037_holdings import counts
from router.store.names_under import reversed_name
from router.store.tables import (
    custom_domains,
    endpoints,
    exposed_ports,
    preview_domains,
    projects,
    resources,
    tenants,
    workspaces,
    zones,
)
from router.store.types import Instant, Json

_AT = datetime(2026, 1, 1, tzinfo=UTC)
# No check of their DNS is due while a bench runs. A time further ahead than any check is planned would be mended.
_CHECKS = {
    "next_check_at": datetime.now(UTC) + timedelta(hours=20),
    "checks": 0,
    "failures": 0,
    "caa_forbidden": False,
    "not_pointing": False,
}
_AT_ONCE = 20_000  # rows held in memory

_TENANT, _WORKSPACE, _PROJECT, _RESOURCE, _DOMAIN, _ZONE = range(6)


def _elsewhere(resource: int) -> tuple[str, dict[str, int]]:
    return f"10.{resource >> 16 & 255}.{resource >> 8 & 255}.{resource & 255}", {}


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many of each. `listens` says at which address, and with which ports, a resource does."""

    tenants: int
    resources: int
    domains: int
    listens: Callable[[int], tuple[str, dict[str, int]]] = _elsewhere

    def name(self, domain: int) -> str:
        return f"www.site{domain}.com"

    def slug(self, resource: int) -> str:
        return f"box{resource}"

    def zone(self, tenant: int) -> str:
        return f"preview{tenant}.dev"

    def resource_id(self, resource: int) -> str:
        return _id(_RESOURCE, resource)

    def tenant_id(self, tenant: int) -> str:
        return _id(_TENANT, tenant)

    def workspace_id(self, tenant: int) -> str:
        return _id(_WORKSPACE, tenant)

    def address(self, resource: int) -> str:
        return self.listens(resource)[0]

    def tenant_of(self, resource: int) -> int:
        return resource % self.tenants

    async def fill(self, database: str) -> None:
        """Store all of it in an empty database of this version, and let the database count what it has."""
        if database.startswith("sqlite:"):
            self._fill_file(database.removeprefix("sqlite:///"))
            return
        connection = await asyncpg.connect(database)
        try:
            await connection.execute(
                "SET session_replication_role = replica"
            )  # what refers to what is right by counting
            for table, rows in self._tables():
                names = [column.name for column in table.columns]
                await connection.copy_records_to_table(
                    table.name, records=_values(table, rows, _on_postgresql), columns=names, timeout=3600
                )
            for statement in counts():  # the triggers of a replica don't run
                await connection.execute(statement, timeout=3600)
            await connection.execute("VACUUM ANALYZE", timeout=3600)
        finally:
            await connection.close()

    def _fill_file(self, path: str) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        for table, rows in self._tables():
            marks = ", ".join("?" for _ in table.columns)
            names = ", ".join(f'"{column.name}"' for column in table.columns)
            values = _values(table, rows, _on_sqlite)
            connection.execute("BEGIN")
            while some := list(islice(values, _AT_ONCE)):
                connection.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", some)  # noqa: S608  # our own names
            connection.execute("COMMIT")
        connection.execute("ANALYZE")
        connection.close()

    def _tables(self) -> Iterator[tuple[sa.Table, Iterator[dict[str, Any]]]]:
        """The rows of each table, as far as they are not NULL; tables before those that refer to them."""
        of_tenant = range(self.tenants)
        yield (
            tenants,
            (
                {"id": _id(_TENANT, t), "slug": f"tenant{t}", "name": f"Tenant {t}", "plan": "free", "branding": {}}
                | {"auto_expose": False, "suspended": False, "default_visibility": Visibility.PUBLIC}
                | {"default_wake": Wake.OFF, "default_keeps_awake": True, "pings_keep_awake": True}
                for t in of_tenant
            ),
        )
        group = {"name": "Default", "slug": "default", "metadata": {}, "settings": {}, "is_default": True}
        yield workspaces, (group | {"id": _id(_WORKSPACE, t), "tenant_id": _id(_TENANT, t)} for t in of_tenant)
        yield (
            projects,
            (
                group | {"id": _id(_PROJECT, t), "tenant_id": _id(_TENANT, t), "workspace_id": _id(_WORKSPACE, t)}
                for t in of_tenant
            ),
        )
        yield (
            zones,
            (
                {"domain": self.zone(t), "reversed_name": reversed_name(self.zone(t))}
                | {"tenant_id": _id(_TENANT, t), "registered": self.zone(t)}
                for t in of_tenant
            ),
        )
        yield preview_domains, (self._preview_domain(t) for t in of_tenant)
        yield resources, (self._resource(r) for r in range(self.resources))
        yield exposed_ports, ({"resource_id": _id(_RESOURCE, r), "port": 5173} for r in range(self.resources))
        yield endpoints, (self._endpoint(r) for r in range(self.resources))
        yield custom_domains, (self._custom_domain(d) for d in range(self.domains))
        yield route_versions, ({"key": key, "version": 1} for key in self.keys())

    def keys(self) -> Iterator[str]:
        """Of all records."""
        yield from (f"zone:{self.zone(t)}" for t in range(self.tenants))
        yield from (f"slug:{self.slug(r)}" for r in range(self.resources))
        yield from (f"name:{self.name(d)}" for d in range(self.domains))

    def _preview_domain(self, t: int) -> dict[str, Any]:
        return {
            "id": _id(_ZONE, t),
            "scope": Scope.TENANT,
            "scope_id": _id(_TENANT, t),
            "tenant_id": _id(_TENANT, t),
            "domain": self.zone(t),
            "reversed_name": reversed_name(self.zone(t)),
            "status": PreviewStatus.VERIFIED,
            "dns_status": "ok",
            "verified_at": _AT,
            **_CHECKS,
        }

    def _resource(self, r: int) -> dict[str, Any]:
        t = self.tenant_of(r)
        return {
            "id": _id(_RESOURCE, r),
            "kind": Kind.SANDBOX,
            "slug": self.slug(r),
            "tenant_id": _id(_TENANT, t),
            "workspace_id": _id(_WORKSPACE, t),
            "project_id": _id(_PROJECT, t),
            "state": State.RUNNING,
            "suspended": False,
            "identity": False,
            "default_port": 3000,
            "host_modes": {},
            "schemes": {},
            "protocols": {},
            "options": {},
            "tags": [],
            "metadata": {},
        }

    def _endpoint(self, r: int) -> dict[str, Any]:
        ids = {"holder_id": _id(_RESOURCE, r), "resource_id": _id(_RESOURCE, r)}
        address, ports = self.listens(r)
        return ids | {"address": address, "generation": "1", "ports": ports}

    def _custom_domain(self, d: int) -> dict[str, Any]:
        r = d % self.resources
        return {
            "id": _id(_DOMAIN, d),
            "fqdn": self.name(d),
            "resource_id": _id(_RESOURCE, r),
            "tenant_id": _id(_TENANT, self.tenant_of(r)),
            "status": DomainStatus.ACTIVE,
            "suspended": False,
            "registered": f"site{d}.com",
            "reversed_name": reversed_name(self.name(d)),
            "verification_target": "verify.miosa.ai",
            "token": f"token{d}",
            "proof": f"proof{d}",
            "redirect_policy": RedirectPolicy.NONE,
            "redirect_status": 308,
            "verified_at": _AT,
            **_CHECKS,
        }


def _id(kind: int, number: int) -> str:
    return f"{kind:08x}-0000-4000-8000-{number:012x}"


def _values(table: sa.Table, rows: Iterator[dict[str, Any]], convert: Any) -> Iterator[tuple[Any, ...]]:
    """Each row in the order of the table's columns; `created_at` and `updated_at` are the same for all."""
    columns = [(column.name, column.type) for column in table.columns]
    at = {name: _AT for name, _ in columns if name in ("created_at", "updated_at")}
    # Every column is named, so the database's own defaults don't apply: an empty text where one is required.
    texts = {name: "" for name, kind in columns if isinstance(kind, sa.String) and not table.columns[name].nullable}
    for row in rows:
        full = texts | at | row
        yield tuple(convert(full.get(name), kind) for name, kind in columns)


def _on_postgresql(value: Any, kind: Any) -> Any:
    return json.dumps(value) if isinstance(kind, type(Json)) and value is not None else value


def _on_sqlite(value: Any, kind: Any) -> Any:
    if isinstance(kind, Instant) and value is not None:
        return f"{value:%Y-%m-%d %H:%M:%S.%f}"
    return _on_postgresql(value, kind)
