"""Records for tests: a tenant with two projects, another tenant, and their resources. Every field can be replaced."""

from typing import Any

from router.routes.records import (
    DomainStatus,
    Endpoint,
    Kind,
    NameRecord,
    ResourceRecord,
    Scope,
    State,
    ZoneMember,
    ZoneRecord,
)

PLATFORM = "miosa.app"


def resource(slug: str = "shop", **changes: Any) -> ResourceRecord:
    """A running sandbox of tenant `acme`, workspace `acme-w1`, project `acme-p1`, whose default port is 3000."""
    values: dict[str, Any] = {
        "id": f"id-of-{slug}",
        "kind": Kind.SANDBOX,
        "slug": slug,
        "tenant_id": "acme",
        "workspace_id": "acme-w1",
        "project_id": "acme-p1",
        "state": State.RUNNING,
        "version": 1,
        "default_port": 3000,
        "exposed_ports": frozenset({5173}),
        "endpoint": Endpoint("127.0.0.1", "boot-1"),
    }
    return ResourceRecord(**values | changes)


def name(fqdn: str, target: ResourceRecord | None, **changes: Any) -> NameRecord:
    """An active custom domain of tenant `acme` that leads to `target`."""
    values: dict[str, Any] = {
        "fqdn": fqdn,
        "status": DomainStatus.ACTIVE,
        "suspended": False,
        "tenant_id": "acme",
        "resource": target,
        "version": 1,
    }
    return NameRecord(**values | changes)


def zone(domain: str, *claims: ZoneMember) -> ZoneRecord:
    """A preview domain of these scopes."""
    return ZoneRecord(domain, claims, 1)


def claim(scope: str, scope_id: str, tenant_id: str = "acme", *, verified: bool = True) -> ZoneMember:
    """One scope's use of a preview domain, verified unless said otherwise."""
    return ZoneMember(Scope(scope), scope_id, tenant_id, verified)
