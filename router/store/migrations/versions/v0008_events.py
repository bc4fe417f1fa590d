"""Events know the custom domain that they are about, and are found by their age."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("domain_id", sa.String(36)))
    postgresql = op.get_bind().dialect.name == "postgresql"
    domain_id = "data ->> 'domain_id'" if postgresql else "json_extract(data, '$.domain_id')"
    op.execute(f"UPDATE events SET domain_id = {domain_id}")  # noqa: S608  # of the two lines above
    op.create_index("ix_events_created_at", "events", ["created_at"])
    op.create_index("ix_events_domain_id", "events", ["domain_id"])
