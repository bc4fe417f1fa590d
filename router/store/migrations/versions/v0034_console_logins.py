"""Who may enter the console by their tenant's login, and the sessions of those who have."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("logins", sa.Column("console_role", sa.String(10)))
    op.add_column("logins", sa.Column("console_groups", sa.JSON().with_variant(JSONB(), "postgresql")))
    op.add_column("sessions", sa.Column("console_role", sa.String(10)))
