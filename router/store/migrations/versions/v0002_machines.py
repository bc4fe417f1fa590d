"""What customers ask of their machines: when to stop, tags, and the options that only the platform reads."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("resources", sa.Column("auto_stop_seconds", sa.Integer(), nullable=True))
    op.add_column("resources", sa.Column("options", JSON, nullable=False, server_default="{}"))
    op.add_column("resources", sa.Column("tags", JSON, nullable=False, server_default="[]"))
