"""Whose programs are told who their visitors are: a preview's own word, and its resource's for those that have none."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("resources", sa.Column("identity", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("previews", sa.Column("identity", sa.Boolean))
