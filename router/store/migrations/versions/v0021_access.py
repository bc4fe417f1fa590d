"""Who may open what: visibilities that hold, how previews are closed, and the secrets that open them.

Previews that say `public` said so because nobody said anything else; from here on they follow their resource and tenant.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def _instant(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.add_column("tenants", sa.Column("default_visibility", sa.String(20), nullable=False, server_default="public"))
    op.add_column("resources", sa.Column("visibility", sa.String(20)))
    for column in (
        sa.Column("always_public", sa.Boolean, nullable=False, server_default=sa.false()),
        _instant("expires_at"),
        sa.Column("hide", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("networks", JSON, nullable=False, server_default="[]"),
        sa.Column("cors", sa.String(20), nullable=False, server_default="passthrough"),
        sa.Column("cors_origins", JSON, nullable=False, server_default="[]"),
        sa.Column("generation", sa.Integer, nullable=False, server_default="0"),
    ):
        op.add_column("previews", column)
    op.create_table(
        "preview_secrets",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("resource_id", sa.String(36), nullable=False),
        sa.Column("preview_id", sa.String(36)),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("name", sa.String(120)),
        sa.Column("prefix", sa.String(24), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        _instant("created_at", nullable=False),
        _instant("expires_at"),
        _instant("last_used_at"),
        _instant("used_at"),
        _instant("revoked_at"),
        sa.ForeignKeyConstraint(
            ["resource_id"], ["resources.id"], name=op.f("fk_preview_secrets_resource_id_resources")
        ),
        sa.ForeignKeyConstraint(
            ["preview_id"],
            ["previews.id"],
            name=op.f("fk_preview_secrets_preview_id_previews"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preview_secrets")),
        sa.UniqueConstraint("digest", name=op.f("uq_preview_secrets_digest")),
    )
    op.create_index(op.f("ix_preview_secrets_resource_id"), "preview_secrets", ["resource_id"])
    op.create_index(op.f("ix_preview_secrets_preview_id"), "preview_secrets", ["preview_id"])
