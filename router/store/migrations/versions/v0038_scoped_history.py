"""Events and entries of the audit log by workspace and by project: who has a key of one of them read through all of the tenant's."""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("events", "audit_entries"):
        for scope in ("workspace", "project"):
            op.create_index(f"ix_{table}_{scope}", table, [f"{scope}_id", "created_at"])
