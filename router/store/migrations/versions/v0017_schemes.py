"""What the program on a port speaks: http, or https."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("resources", sa.Column("schemes", JSON, nullable=False, server_default="{}"))
    op.add_column("previews", sa.Column("scheme", sa.String(5), nullable=False, server_default="http"))
