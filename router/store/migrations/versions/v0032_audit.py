"""The audit log: who did what with which key from where."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_ID = sa.String(36)


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", _ID, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", _ID),
        sa.Column("workspace_id", _ID),
        sa.Column("project_id", _ID),
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
        sa.Column("changes", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("count", sa.Integer, nullable=False, server_default="1"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_tenant", "audit_entries", ["tenant_id", "created_at"])
    op.create_index("ix_audit_entries_created", "audit_entries", ["created_at"])
    op.create_index("ix_audit_entries_thing", "audit_entries", ["resource_id", "created_at"])
