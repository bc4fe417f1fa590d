"""Previews learn which Host their program takes, unless somebody says otherwise: `preserve` was what nobody had chosen."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    previews = sa.table("previews", sa.column("host_mode"))
    op.execute(sa.update(previews).where(previews.c.host_mode == "preserve").values(host_mode="auto"))
