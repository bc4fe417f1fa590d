"""Who may have a resource woken, whether its traffic counts as use, and the resources that are being woken."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenants", sa.Column("default_wake", sa.String(20), nullable=False, server_default="off"))
    op.add_column("tenants", sa.Column("default_keeps_awake", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("resources", sa.Column("wake", sa.String(20)))
    op.add_column("resources", sa.Column("keeps_awake", sa.Boolean))
    op.create_table(
        "wakes",
        sa.Column("resource_id", sa.String(36), nullable=False),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(10), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("asked_at", sa.Double),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("place", sa.Integer),
        sa.Column("code", sa.Integer),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name=op.f("fk_wakes_resource_id_resources")),
        sa.PrimaryKeyConstraint("resource_id", name=op.f("pk_wakes")),
    )
    op.create_index("ix_wakes_until", "wakes", ["until"])
