"""Why a preview domain failed."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("preview_domains", sa.Column("failure_reason", sa.String(40), nullable=True))
