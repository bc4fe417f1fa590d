"""The tables beside the nouns: changes, usage, events and answered requests, which only grow and are trimmed or read by
time, and leases."""

import sqlalchemy as sa

from router.store.tables import metadata
from router.store.types import Id, Instant, Json

# How often a routing record changed. Rows stay when records go: a version never starts again.
route_versions = sa.Table(
    "route_versions",
    metadata,
    sa.Column("key", sa.String(300), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
)

# Written in the transaction of the change, so that none is lost. SQLite's plain row ids start again after the newest
# row is deleted; AUTOINCREMENT keeps a follower's position meaningful.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(300), nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("created_at", Instant, nullable=False, index=True),
    sqlite_autoincrement=True,
)

usage_intervals = sa.Table(
    "usage_intervals",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("resource_id", Id, sa.ForeignKey("resources.id"), nullable=False),
    sa.Column("tenant_id", Id, sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("workspace_id", Id, sa.ForeignKey("workspaces.id"), nullable=False),
    sa.Column("project_id", Id, sa.ForeignKey("projects.id"), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("size", sa.String(20)),
    sa.Column("started_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),
    sa.Index("ix_usage_intervals_resource", "resource_id", "ended_at"),
    sa.Index("ix_usage_intervals_workspace", "workspace_id", "started_at"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("type", sa.String(80), nullable=False),
    sa.Column("tenant_id", Id, sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("workspace_id", Id),
    sa.Column("project_id", Id),
    sa.Column("resource_id", Id, index=True),
    sa.Column("data", Json, nullable=False),
    sa.Column("created_at", Instant, nullable=False, index=True),
    sa.Column("domain_id", Id, index=True),
    sa.Index("ix_events_tenant", "tenant_id", "created_at"),
)

# Who does what only one process may do. `expires_at` is of the database's clock, in seconds since 1970.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(80), primary_key=True),
    sa.Column("holder", sa.String(255), nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("owner", sa.String(255), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("token", sa.String(36), nullable=False),
    sa.Column("claimed_at", Instant, nullable=False, index=True),
    sa.Column("status", sa.Integer),
    sa.Column("body", sa.LargeBinary),
)
