"""What the program on a port takes: HTTP/1.1, or HTTP/2."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("resources", sa.Column("protocols", JSON, nullable=False, server_default="{}"))
    op.add_column("previews", sa.Column("protocol", sa.String(5), nullable=False, server_default="http1"))
