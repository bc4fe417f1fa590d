"""Which changes are only moves."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("moved", sa.Boolean(), nullable=False, server_default=sa.false()))
