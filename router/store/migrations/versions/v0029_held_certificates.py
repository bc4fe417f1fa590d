"""Certificates whose keys the router holds: delegations, the certificates, the account, orders, and requests."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_ID = sa.String(36)
_DOMAIN = sa.String(253)
_URL = sa.String(2000)
_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_INSTANT = sa.DateTime(timezone=True)
_OPEN = sa.text("closed_at IS NULL")
_UNWITHDRAWN = sa.text("closed_at IS NOT NULL AND CAST(txt AS TEXT) <> '[]'")


def upgrade() -> None:
    op.create_table(
        "delegations",
        sa.Column("domain", _DOMAIN, nullable=False),
        sa.Column("tenant_id", _ID),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("found", _JSON),
        sa.Column("checked_at", _INSTANT),
        sa.Column("next_check_at", _INSTANT, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_delegations")),
        sa.UniqueConstraint("token", name=op.f("uq_delegations_token")),
    )
    op.create_index(op.f("ix_delegations_tenant_id"), "delegations", ["tenant_id"])
    op.create_index(op.f("ix_delegations_next_check_at"), "delegations", ["next_check_at"])
    op.create_table(
        "held_certificates",
        sa.Column("id", _ID, nullable=False),
        sa.Column("domain", _DOMAIN, nullable=False),
        sa.Column("tenant_id", _ID),
        sa.Column("origin", sa.String(20), nullable=False),
        sa.Column("names", _JSON, nullable=False),
        sa.Column("issuer", sa.String(500), nullable=False),
        sa.Column("serial", sa.String(64), nullable=False),
        sa.Column("not_before", _INSTANT, nullable=False),
        sa.Column("not_after", _INSTANT, nullable=False),
        sa.Column("chain", sa.Text, nullable=False),
        sa.Column("sealed_key", sa.Text, nullable=False),
        sa.Column("renew_at", _INSTANT),
        sa.Column("ari_id", sa.String(200)),
        sa.Column("ari_at", _INSTANT),
        sa.Column("directory", _URL),
        sa.Column("warned_days", sa.Integer),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("removed_at", _INSTANT),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_held_certificates")),
        sa.UniqueConstraint("domain", "origin", name=op.f("uq_held_certificates_domain_origin")),
    )
    op.create_index(op.f("ix_held_certificates_renew_at"), "held_certificates", ["renew_at"])
    op.create_index(op.f("ix_held_certificates_ari_at"), "held_certificates", ["ari_at"])
    op.create_index(op.f("ix_held_certificates_removed_at"), "held_certificates", ["removed_at"])
    op.create_index("ix_held_certificates_changed", "held_certificates", ["changed_at", "id"])
    op.create_index("ix_held_certificates_ending", "held_certificates", ["origin", "not_after", "id"])
    op.create_table(
        "acme_accounts",
        sa.Column("directory", _URL, nullable=False),
        sa.Column("uri", _URL),
        sa.Column("sealed_key", sa.Text, nullable=False),
        sa.Column("next_sealed_key", sa.Text),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("directory", name=op.f("pk_acme_accounts")),
    )
    op.create_table(
        "acme_orders",
        sa.Column("id", _ID, nullable=False),
        sa.Column("domain", _DOMAIN, nullable=False),
        sa.Column("tenant_id", _ID),
        sa.Column("directory", _URL, nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("names", _JSON, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("url", _URL),
        sa.Column("replaces", sa.String(200)),
        sa.Column("txt", _JSON, nullable=False),
        sa.Column("sealed_key", sa.Text),
        sa.Column("csr", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", _JSON),
        sa.Column("next_at", _INSTANT, nullable=False),
        sa.Column("deadline_at", _INSTANT, nullable=False),
        sa.Column("opened_at", _INSTANT, nullable=False),
        sa.Column("closed_at", _INSTANT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acme_orders")),
    )
    op.create_index(op.f("ix_acme_orders_token"), "acme_orders", ["token"])
    op.create_index(op.f("ix_acme_orders_closed_at"), "acme_orders", ["closed_at"])
    op.create_index("ix_acme_orders_of_domain", "acme_orders", ["domain", "opened_at", "id"])
    op.create_index(
        "uq_acme_orders_open", "acme_orders", ["domain"], unique=True, postgresql_where=_OPEN, sqlite_where=_OPEN
    )
    op.create_index("ix_acme_orders_due", "acme_orders", ["next_at"], postgresql_where=_OPEN, sqlite_where=_OPEN)
    op.create_index(
        "ix_acme_orders_unwithdrawn",
        "acme_orders",
        ["closed_at", "id"],
        postgresql_where=_UNWITHDRAWN,
        sqlite_where=_UNWITHDRAWN,
    )
    op.create_table(
        "certificate_requests",
        sa.Column("domain", _DOMAIN, nullable=False),
        sa.Column("tenant_id", _ID, nullable=False),
        sa.Column("sealed_key", sa.Text, nullable=False),
        sa.Column("csr", sa.Text, nullable=False),
        sa.Column("names", _JSON, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_certificate_requests")),
    )
