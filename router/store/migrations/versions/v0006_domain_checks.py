"""Checks of domains: when each is due, what the last one found; who claims a name, and who had a preview domain last."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_DUE = "2000-01-01 00:00:00.000000"


def _instant(name: str, *, nullable: bool = False, default: str | None = None) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=default)


def upgrade() -> None:
    for table in ("custom_domains", "preview_domains"):
        op.add_column(table, _instant("next_check_at", default=_DUE))
        for name in ("checked_at", "asked_at", "waiting_since", "failing_since"):
            op.add_column(table, _instant(name, nullable=True))
        for name in ("checks", "failures"):
            op.add_column(table, sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
        for name in ("finding", "method"):
            op.add_column(table, sa.Column(name, sa.String(20), nullable=True))
        for name in ("caa_forbidden", "not_pointing"):
            op.add_column(table, sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("custom_domains", sa.Column("proof", sa.String(64), nullable=False, server_default=""))
    op.add_column("custom_domains", sa.Column("detail", JSON, nullable=True))
    living = sa.text("removed_at IS NULL")
    op.create_index(
        "ix_custom_domains_due", "custom_domains", ["next_check_at"], sqlite_where=living, postgresql_where=living
    )
    op.create_index("ix_preview_domains_due", "preview_domains", ["next_check_at"])
    op.create_table(
        "released_zones",
        sa.Column("domain", sa.String(253), nullable=False),
        sa.Column("tenant_id", sa.String(36), nullable=False),
        _instant("released_at"),
        sa.PrimaryKeyConstraint("domain", name="pk_released_zones"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_released_zones_tenant_id"),
    )
    op.create_index("ix_released_zones_released_at", "released_zones", ["released_at"])
    op.create_table(
        "name_claims",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(253), nullable=False),
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("token", sa.String(64), nullable=False),
        sa.Column("wanted", JSON, nullable=False),
        sa.Column("checks", sa.Integer(), nullable=False),
        _instant("next_check_at"),
        _instant("checked_at", nullable=True),
        _instant("created_at"),
        _instant("expires_at"),
        sa.PrimaryKeyConstraint("id", name="pk_name_claims"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_name_claims_tenant_id"),
        sa.UniqueConstraint("name", "tenant_id", name="uq_name_claims_name_tenant_id"),
    )
    op.create_index("ix_name_claims_tenant_id", "name_claims", ["tenant_id"])
    op.create_index("ix_name_claims_next_check_at", "name_claims", ["next_check_at"])
