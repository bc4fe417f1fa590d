"""The tables of certificates whose keys the router holds, and of what it takes to get them.

Private keys are sealed (`base/secret_box.py`). `changed_at` is of the database's clock, as in `certificate_tables.py`. Domains
have no foreign keys: they are preview domains, custom domains or the platform's own zone, and what has removed one stays
visible for the nodes that follow.
"""

import sqlalchemy as sa

from router.store.tables import metadata
from router.store.types import DatabaseTime, Id, Instant, Json

_Domain = sa.String(253)
_Url = sa.String(2000)

delegations = sa.Table(
    "delegations",
    metadata,
    sa.Column("domain", _Domain, primary_key=True),
    sa.Column("tenant_id", Id, index=True),
    sa.Column("token", sa.String(32), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("found", Json),
    sa.Column("checked_at", Instant),
    sa.Column("next_check_at", Instant, nullable=False, index=True),
    sa.Column("created_at", Instant, nullable=False),
    sa.UniqueConstraint("token"),
)

held_certificates = sa.Table(
    "held_certificates",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("domain", _Domain, nullable=False),
    sa.Column("tenant_id", Id),
    sa.Column("origin", sa.String(20), nullable=False),
    sa.Column("names", Json, nullable=False),
    sa.Column("issuer", sa.String(500), nullable=False),
    sa.Column("serial", sa.String(64), nullable=False),
    sa.Column("not_before", Instant, nullable=False),
    sa.Column("not_after", Instant, nullable=False),
    sa.Column("chain", sa.Text, nullable=False),
    sa.Column("sealed_key", sa.Text, nullable=False),
    sa.Column("renew_at", Instant, index=True),
    sa.Column("ari_id", sa.String(200)),
    sa.Column("ari_at", Instant, index=True),
    sa.Column("directory", _Url),
    sa.Column("warned_days", sa.Integer),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("removed_at", Instant, index=True),
    sa.Column("changed_at", sa.Double, nullable=False, default=DatabaseTime(), onupdate=DatabaseTime()),
    sa.UniqueConstraint("domain", "origin"),
    sa.Index("ix_held_certificates_changed", "changed_at", "id"),
    sa.Index("ix_held_certificates_ending", "origin", "not_after", "id"),
)

acme_accounts = sa.Table(
    "acme_accounts",
    metadata,
    sa.Column("directory", _Url, primary_key=True),
    sa.Column("uri", _Url),
    sa.Column("sealed_key", sa.Text, nullable=False),
    sa.Column("next_sealed_key", sa.Text),
    sa.Column("created_at", Instant, nullable=False),
)

_OPEN = "closed_at IS NULL"
UNWITHDRAWN = "closed_at IS NOT NULL AND CAST(txt AS TEXT) <> '[]'"
"""Of which order TXT values may still be answered after its end. Databases use the index where a query has these words."""

acme_orders = sa.Table(
    "acme_orders",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("domain", _Domain, nullable=False),
    sa.Column("tenant_id", Id),
    sa.Column("directory", _Url, nullable=False),
    sa.Column("token", sa.String(32), nullable=False, index=True),
    sa.Column("names", Json, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("url", _Url),
    sa.Column("replaces", sa.String(200)),
    sa.Column("txt", Json, nullable=False),
    sa.Column("sealed_key", sa.Text),
    sa.Column("csr", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("error", Json),
    sa.Column("next_at", Instant, nullable=False),
    sa.Column("deadline_at", Instant, nullable=False),
    sa.Column("opened_at", Instant, nullable=False),
    sa.Column("closed_at", Instant, index=True),
    sa.Index("ix_acme_orders_of_domain", "domain", "opened_at", "id"),
    # A domain has at most one that is open.
    sa.Index(
        "uq_acme_orders_open",
        "domain",
        unique=True,
        postgresql_where=sa.text(_OPEN),
        sqlite_where=sa.text(_OPEN),
    ),
    sa.Index("ix_acme_orders_due", "next_at", postgresql_where=sa.text(_OPEN), sqlite_where=sa.text(_OPEN)),
    sa.Index(
        "ix_acme_orders_unwithdrawn",
        "closed_at",
        "id",
        postgresql_where=sa.text(UNWITHDRAWN),
        sqlite_where=sa.text(UNWITHDRAWN),
    ),
)

certificate_requests = sa.Table(
    "certificate_requests",
    metadata,
    sa.Column("domain", _Domain, primary_key=True),
    sa.Column("tenant_id", Id, nullable=False),
    sa.Column("sealed_key", sa.Text, nullable=False),
    sa.Column("csr", sa.Text, nullable=False),
    sa.Column("names", Json, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
)
