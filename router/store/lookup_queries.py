"""The queries for what routing records are made of. Each is given how to pick its rows, since PostgreSQL and SQLite take lists
in different ways (`lookups.py`)."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from router.store.block_tables import blocks
from router.store.deployment_tables import deployment_versions, deployments
from router.store.issuer_tables import trusted_issuers
from router.store.journal_tables import outbox, route_versions
from router.store.login_tables import logins, sessions
from router.store.tables import (
    api_keys,
    custom_domains,
    endpoints,
    exposed_ports,
    preview_domains,
    preview_secrets,
    previews,
    resources,
    signing_keys,
    tenants,
    tombstones,
)
from router.store.wake_tables import RUNS_BY_NOW, wakes

# A deployment answers where its active version listens; else where the sandbox does that this was published from, and
# then only as far as that sandbox does; else where the platform says of the deployment itself.
_own, _version, _sandboxs = endpoints.alias("own"), endpoints.alias("version"), endpoints.alias("sandboxs")
_active, _sandbox = deployment_versions.alias("active"), resources.alias("sandbox")
_follows = sa.and_(
    _sandbox.c.id.is_not(None),
    _version.c.holder_id.is_(None),
    sa.or_(_sandboxs.c.holder_id.is_not(None), _own.c.holder_id.is_(None)),
)

# The port of hosts without one, where none was chosen: the one that was exposed first.
_main_port = sa.func.coalesce(
    resources.c.default_port,
    sa.select(previews.c.port)
    .where(previews.c.resource_id == resources.c.id)
    .order_by(previews.c.created_at, previews.c.port)
    .limit(1)
    .correlate(resources)
    .scalar_subquery(),
)


def select_resources(of: sa.FromClause) -> sa.Select[Any]:
    """The resources whose ids are in `of`, and what belongs to each. `of` comes first, and is a handful of rows:
    PostgreSQL takes so many joins in the order in which they are written."""
    return (
        sa.select(
            resources,
            _main_port.label("main_port"),
            tenants.c.auto_expose,
            tenants.c.suspended.label("tenant_suspended"),
            tenants.c.branding,
            tenants.c.slug.label("tenant_slug"),
            tenants.c.default_visibility,
            tenants.c.default_wake,
            tenants.c.default_keeps_awake,
            logins.c.id.is_not(None).label("has_login"),
            tenants.c.pings_keep_awake,
            sa.func.coalesce(_version.c.address, _sandboxs.c.address, _own.c.address).label("address"),
            sa.func.coalesce(_version.c.generation, _sandboxs.c.generation, _own.c.generation).label("generation"),
            sa.case(
                (_version.c.holder_id.is_not(None), _version.c.ports),
                (_sandboxs.c.holder_id.is_not(None), _sandboxs.c.ports),
                else_=_own.c.ports,
            ).label("ports"),
            sa.case(
                (_version.c.holder_id.is_not(None), _version.c.listening),
                (_sandboxs.c.holder_id.is_not(None), _sandboxs.c.listening),
                else_=_own.c.listening,
            ).label("listening"),
            deployments.c.active_version_id,
            sa.case((_follows, _sandbox.c.state)).label("followed_state"),
            # What was published from a sandbox that is blocked is blocked too, wherever it listens.
            sa.func.coalesce(_sandbox.c.suspended, sa.false()).label("followed_suspended"),
            sa.func.coalesce(route_versions.c.version, 0).label("version"),
        )
        .select_from(of)
        .join(resources, resources.c.id == of.c.id)
        .join(tenants, tenants.c.id == resources.c.tenant_id)
        .outerjoin(logins, logins.c.tenant_id == resources.c.tenant_id)
        .outerjoin(deployments, deployments.c.resource_id == resources.c.id)
        .outerjoin(_own, _own.c.holder_id == resources.c.id)
        .outerjoin(_version, _version.c.holder_id == deployments.c.active_version_id)
        .outerjoin(_active, _active.c.id == deployments.c.active_version_id)
        .outerjoin(_sandbox, _sandbox.c.id == _active.c.source_sandbox_id)
        .outerjoin(_sandboxs, _sandboxs.c.holder_id == _active.c.source_sandbox_id)
        .outerjoin(route_versions, route_versions.c.key == "slug:" + resources.c.slug)
    )


SEEN = ""  # no record's key: under it stands the newest row of the outbox

Among = Callable[[sa.ColumnElement[str]], sa.ColumnElement[bool]]


def select_versions(of_keys: Among) -> sa.CompoundSelect[Any]:
    newest = sa.select(sa.literal(SEEN), sa.func.coalesce(sa.func.max(outbox.c.id), 0))
    return (
        sa.select(route_versions.c.key, route_versions.c.version).where(of_keys(route_versions.c.key)).union_all(newest)
    )


def select_domains(of_names: Among) -> sa.Select[Any]:
    """The live domain of each name comes before those that were removed, the last removed first."""
    return (
        sa.select(custom_domains, tenants.c.suspended.label("tenant_suspended"))
        .join(tenants, tenants.c.id == custom_domains.c.tenant_id)
        .where(of_names(custom_domains.c.fqdn))
        .order_by(custom_domains.c.removed_at.is_not(None), custom_domains.c.removed_at.desc())
    )


def select_blocks(of_names: Among) -> sa.Select[Any]:
    """The blocks of hosts that are in force, whatever tenant has the names."""
    return sa.select(blocks.c.subject, blocks.c.tenant_id).where(
        blocks.c.kind == "host", of_names(blocks.c.subject), blocks.c.lifted_at.is_(None)
    )


def select_wanted(of_slugs: Among, others: sa.Select[Any]) -> sa.CompoundSelect[Any]:
    """The ids of the slugs' resources and of others. A union, because either half has an index, and SQLite scans where
    an OR mixes them."""
    living = sa.select(resources.c.id).where(of_slugs(resources.c.slug), resources.c.deleted_at.is_(None))
    return living.union(others)


def select_tombstones(of_slugs: Among) -> sa.Select[Any]:
    """Deleted resources have no ports and no endpoint; what they belonged to says whose zone may respond for them."""
    dead = (
        sa.select(tombstones.c.resource_id.label("id"), tombstones.c.slug.label("tombstone_slug"))
        .where(of_slugs(tombstones.c.slug))
        .subquery("dead")
    )
    return select_resources(dead).add_columns(dead.c.tombstone_slug)


def select_claims(of_zones: Among) -> sa.Select[Any]:
    return (
        sa.select(preview_domains)
        .where(of_zones(preview_domains.c.domain))
        .order_by(preview_domains.c.created_at, preview_domains.c.id)
    )


def select_ports(of_ids: Among) -> sa.Select[Any]:
    return sa.select(exposed_ports).where(of_ids(exposed_ports.c.resource_id))


def select_previews(of_ids: Among) -> sa.Select[Any]:
    return sa.select(previews).where(of_ids(previews.c.resource_id))


def select_secrets(of_ids: Among) -> sa.Select[Any]:
    """The oldest first, so that a record has them in the order of its last. Without the hashes of passwords, which no record
    has."""
    columns = [column for column in preview_secrets.c if column.name != "password_hash"]
    return (
        sa.select(*columns)
        .where(of_ids(preview_secrets.c.resource_id))
        .order_by(preview_secrets.c.created_at, preview_secrets.c.id)
    )


def select_issuers(of_tenants: Among) -> sa.Select[Any]:
    """What records have of the CI systems that tenants trust; the oldest first."""
    columns = ("id", "tenant_id", "workspace_id", "project_id", "issuer", "audience", "generation")
    return (
        sa.select(*(trusted_issuers.c[name] for name in columns))
        .where(of_tenants(trusted_issuers.c.tenant_id), trusted_issuers.c.enabled)
        .order_by(trusted_issuers.c.created_at, trusted_issuers.c.id)
    )


def select_api_keys(of_digests: Among) -> sa.Select[Any]:
    """What a record has of a key: nothing that its use changes."""
    columns = ("digest", "id", "tenant_id", "scope", "scope_id", "expires_at", "revoked_at")
    return sa.select(*(api_keys.c[name] for name in columns)).where(of_digests(api_keys.c.digest))


def select_signing_keys(of_purposes: Among) -> sa.Select[Any]:
    """The newest first."""
    return (
        sa.select(signing_keys)
        .where(of_purposes(signing_keys.c.purpose))
        .order_by(signing_keys.c.since.desc(), signing_keys.c.id)
    )


def select_wakes(of_ids: Among) -> sa.Select[Any]:
    """Those of resources that run by now are over."""
    columns = ("resource_id", "state", "since", "until", "place", "code")
    return sa.select(*(wakes.c[name] for name in columns)).where(
        of_ids(wakes.c.resource_id), wakes.c.state != RUNS_BY_NOW
    )


def select_sessions(of_ids: Among) -> sa.Select[Any]:
    """What a record has of a session: nothing that its use changes."""
    columns = ("id", "tenant_id", "subject", "email", "expires_at", "revoked_at")
    return sa.select(*(sessions.c[name] for name in columns)).where(of_ids(sessions.c.id))
