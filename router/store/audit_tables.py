"""The table of the audit log. It refers to nothing: an entry outlives the key, the thing and the tenant that it is about."""

import sqlalchemy as sa

from router.store.tables import metadata
from router.store.types import Id, Instant, Json

audit_entries = sa.Table(
    "audit_entries",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("tenant_id", Id),
    sa.Column("workspace_id", Id),
    sa.Column("project_id", Id),
    sa.Column("actor_type", sa.String(20), nullable=False),
    sa.Column("actor_id", sa.String(255), nullable=False),
    sa.Column("actor_name", sa.String(255)),
    sa.Column("actor_scope", sa.String(80)),
    sa.Column("via", sa.String(20), nullable=False),
    sa.Column("action", sa.String(80), nullable=False),
    sa.Column("resource_type", sa.String(40), nullable=False),
    sa.Column("resource_id", sa.String(255)),
    sa.Column("resource_name", sa.String(255)),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("code", sa.String(80)),
    sa.Column("address", sa.String(45)),
    sa.Column("request_id", sa.String(128)),
    sa.Column("user_agent", sa.String(200)),
    sa.Column("changes", Json, nullable=False),
    sa.Column("count", sa.Integer, nullable=False, server_default="1"),
    sa.Index("ix_audit_entries_tenant", "tenant_id", "created_at"),
    sa.Index("ix_audit_entries_workspace", "workspace_id", "created_at"),
    sa.Index("ix_audit_entries_project", "project_id", "created_at"),
    sa.Index("ix_audit_entries_created", "created_at"),
    sa.Index("ix_audit_entries_thing", "resource_id", "created_at"),
)
