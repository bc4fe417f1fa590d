"""Whether the headers and bodies of a resource's exchanges are captured: since when, until when, and who wanted it."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("resources", sa.Column("capture_since", _INSTANT))
    op.add_column("resources", sa.Column("capture_until", _INSTANT))
    op.add_column("resources", sa.Column("capture_by", sa.String(255)))
