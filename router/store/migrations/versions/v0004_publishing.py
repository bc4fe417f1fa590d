"""Publishing: what a build and a release are counted by, until when a build may run, and where a version came from."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deployment_versions", sa.Column("entrypoint", sa.String(2000), nullable=True))
    op.add_column("deployment_versions", sa.Column("source_snapshot_path", sa.String(2000), nullable=True))
    op.create_index("ix_deployment_versions_source_sandbox_id", "deployment_versions", ["source_sandbox_id"])
    op.add_column("builds", sa.Column("number", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("builds", sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_builds_deadline_at", "builds", ["deadline_at"])
    op.create_index("ix_builds_version_id", "builds", ["version_id"])
    op.add_column("releases", sa.Column("number", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_releases_environment", "releases", ["resource_id", "environment", "number"])
