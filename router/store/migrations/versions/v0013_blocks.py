"""Blocks. What was suspended before gets one, so that it is listed and can be lifted."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_SUSPENDED = (
    ("resource", "resources", "id", "suspended"),
    ("tenant", "tenants", "id", "suspended"),
    ("host", "custom_domains", "fqdn", "suspended AND removed_at IS NULL"),
)


def upgrade() -> None:
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "blocks",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("subject", sa.String(253), nullable=False),
        sa.Column("reason", sa.String(2000), nullable=False),
        sa.Column("public_reason", sa.String(500)),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("tenant_id", sa.String(36)),
        sa.Column("cause_id", sa.String(36)),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("expires_at", instant),
        sa.Column("lifted_at", instant),
        sa.Column("lifted_by", sa.String(255)),
        sa.PrimaryKeyConstraint("id", name="pk_blocks"),
    )
    in_force = sa.text("lifted_at IS NULL")
    for name, columns, unique in (
        ("uq_blocks_subject", ["kind", "subject"], True),
        ("ix_blocks_expires_at", ["expires_at"], False),
    ):
        op.create_index(name, "blocks", columns, unique=unique, sqlite_where=in_force, postgresql_where=in_force)
    op.create_index("ix_blocks_cause_id", "blocks", ["cause_id"])
    for kind, table, subject, suspended in _SUSPENDED:
        # A row's own id will do for its block's: it is unique, and of the same form.
        op.execute(
            "INSERT INTO blocks (id, kind, subject, reason, actor, created_at) "  # noqa: S608  # names from above
            f"SELECT id, '{kind}', {subject}, 'suspended before blocks were kept', 'migration', updated_at "
            f"FROM {table} WHERE {suspended}"
        )
