"""The tables of webhooks and their deliveries."""

import sqlalchemy as sa

from router.store.tables import metadata
from router.store.types import Id, Instant, Json

# Workspace and project have no foreign keys: a webhook outlives what it listened to, and hears no more.
webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("tenant_id", Id, sa.ForeignKey("tenants.id"), nullable=False, index=True),
    sa.Column("workspace_id", Id),
    sa.Column("project_id", Id),
    sa.Column("url", sa.String(2000), nullable=False),
    sa.Column("event_types", Json, nullable=False),
    sa.Column("description", sa.String(255), nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("secret", sa.String(80), nullable=False),
    sa.Column("old_secret", sa.String(80)),
    sa.Column("old_secret_until", Instant),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
)

_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_PENDING = sa.text("state = 'pending'")

# `seq` is the order of the events. No foreign key to the webhook: storing an event while its webhook is
# deleted must not fail, and a delivery without a webhook is deleted with its event.
webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    sa.Column("seq", _SEQ, primary_key=True, autoincrement=True),
    sa.Column("id", Id, nullable=False, unique=True),
    sa.Column("webhook_id", Id, nullable=False),
    sa.Column("event_id", Id, sa.ForeignKey("events.id"), nullable=False, index=True),
    sa.Column("lane", sa.String(255), nullable=False),  # tenancy.deliveries.ordering_key_of
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("next_at", Instant),
    sa.Column("last_at", Instant),
    sa.Column("last_status", sa.Integer),
    sa.Column("last_error", sa.String(255)),
    sa.Column("last_answer", sa.String(1024)),
    sa.Index("ix_webhook_deliveries_webhook", "webhook_id", "seq"),
    sa.Index("ix_webhook_deliveries_due", "webhook_id", "next_at", sqlite_where=_PENDING, postgresql_where=_PENDING),
    sa.Index(
        "ix_webhook_deliveries_lane", "webhook_id", "lane", "seq", sqlite_where=_PENDING, postgresql_where=_PENDING
    ),
    sqlite_autoincrement=True,
)
