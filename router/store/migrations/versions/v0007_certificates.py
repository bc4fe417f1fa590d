"""Certificates: what is known of each host's, and the attempts to get a first one."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _instant(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)


def upgrade() -> None:
    op.create_table(
        "certificates",
        sa.Column("host", sa.String(253), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("tenant_id", sa.String(36), nullable=True),
        sa.Column("domain_id", sa.String(36), nullable=True),
        sa.Column("issuer", sa.String(500), nullable=True),
        sa.Column("serial", sa.String(64), nullable=True),
        _instant("not_before"),
        _instant("not_after"),
        _instant("seen_at"),
        sa.Column("source", sa.String(20), nullable=True),
        sa.Column("last_error", sa.String(2000), nullable=True),
        _instant("retry_at"),
        _instant("due_at"),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("host", name="pk_certificates"),
    )
    op.create_index("ix_certificates_changed_at", "certificates", ["changed_at"])
    op.create_table(
        "certificate_attempts",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("host", sa.String(253), nullable=False),
        sa.Column("domain", sa.String(253), nullable=False),
        sa.Column("tenant_id", sa.String(36), nullable=True),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("closed_at", sa.Double(), nullable=True),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_certificate_attempts"),
    )
    op.create_index("ix_certificate_attempts_opened_at", "certificate_attempts", ["opened_at"])
    op.create_index("ix_certificate_attempts_changed_at", "certificate_attempts", ["changed_at"])
