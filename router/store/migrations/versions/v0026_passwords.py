"""Passwords of previews: the hash of one, beside the other secrets."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("preview_secrets", sa.Column("password_hash", sa.String(200), nullable=True))
