"""Usage of days that are over, rolled up."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("usage_intervals", sa.Column("rolled", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(
        "ix_usage_intervals_fine",
        "usage_intervals",
        ["resource_id", "ended_at"],
        sqlite_where=sa.text("rolled = 0"),
        postgresql_where=sa.text("rolled = false"),
    )
