"""The table of the CI systems that tenants trust."""

import sqlalchemy as sa

from router.store.tables import metadata
from router.store.types import Id, Instant, Json

# Workspace and project have no foreign keys: where one is gone, there is nothing left that the rule opens.
trusted_issuers = sa.Table(
    "trusted_issuers",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("tenant_id", Id, sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("workspace_id", Id),
    sa.Column("project_id", Id),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("issuer", sa.String(500), nullable=False),
    sa.Column("audience", sa.String(255), nullable=False),
    sa.Column("claims", Json, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("last_used_at", Instant),
    sa.Index("ix_trusted_issuers_listed", "tenant_id", "created_at", "id"),
)
