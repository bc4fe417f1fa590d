"""The tables beside the nouns: changes, usage, events and answered requests, which only grow and are trimmed or read by
time, and leases."""

import sqlalchemy as sa

from router.store.tables import metadata
from router.store.types import Id, Instant, Json

# How often a routing record changed, counted from the outbox's number at the first change: a version never starts again,
# even where the row of a record that is gone was pruned in between.
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
    # Nothing changed but where a resource listens: until the new record can be had the last known route may be used.
    sa.Column("moved", sa.Boolean, nullable=False, server_default=sa.false()),
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
    sa.Column("rolled", sa.Boolean, nullable=False, server_default=sa.false()),  # no finer than a day any more
    sa.Index("ix_usage_intervals_resource", "resource_id", "ended_at"),
    sa.Index(
        "ix_usage_intervals_fine",
        "resource_id",
        "ended_at",
        sqlite_where=sa.text("rolled = 0"),
        postgresql_where=sa.text("rolled = false"),
    ),
    sa.Index("ix_usage_intervals_workspace", "workspace_id", "started_at"),
    sa.Index("ix_usage_intervals_ended", "workspace_id", "ended_at"),
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
    sa.Index("ix_events_workspace", "workspace_id", "created_at"),
    sa.Index("ix_events_project", "project_id", "created_at"),
)

# Who does what only one process may do. `expires_at`, and `ran_at` when it was last done, are of the database's clock, in
# seconds since 1970.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(80), primary_key=True),
    sa.Column("holder", sa.String(255), nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("ran_at", sa.Double),
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
