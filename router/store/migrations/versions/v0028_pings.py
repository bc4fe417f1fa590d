"""Whether a WebSocket on which only pings pass is use of its resource."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenants", sa.Column("pings_keep_awake", sa.Boolean, nullable=False, server_default=sa.true()))
